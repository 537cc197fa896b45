"""Sections in which people count, not epochs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from sleepstage.core.agreement import NUMBERS, agreement
from sleepstage.evaluation.report.tables import (
    Picture,
    Section,
    Table,
    class_label,
    interval,
    number,
    number_labels,
    p_value,
    scheme_words,
)
from sleepstage.plotting import plot_bland_altman, plot_night, plot_people
from sleepstage.plotting.style import drawable
from sleepstage.stages import SCHEMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

    from sleepstage.core.agreement import Agreement, ScoredNight


def people_section(people: Mapping[str, Mapping[str, Any]], own: Sequence[str]) -> Section:
    """Mean over people of each number, as Menghini et al. report it."""
    head = ("number", "people", "mean", "95 % CI", "std")
    tables = tuple(
        Table(
            scheme_words(scheme),
            head,
            tuple(
                (_label(key), one["n"], one["mean"], interval(one), one["std"])
                for key, one in people[scheme].items()
            ),
        )
        for scheme in own
    )
    text = (
        "What to expect of the next person: each person counts once, however long the night "
        "(as Menghini et al. 2021 ask for). A person without a stage is left out of its numbers."
    )
    return Section("people", "Over people", text, tables)


def _label(key: str) -> str:
    """Name of a number: macro F1, sensitivity REM."""
    kind, _, name = key.replace("macro_f1", "macro F1").partition(" ")
    return f"{kind} {class_label(name)}" if name else kind


def spread_section(
    model: str, people: Mapping[str, Mapping[str, float | None]], scheme: str
) -> Section:
    """Every person's numbers."""
    names = (*NUMBERS, *(f"sensitivity {name}" for name in SCHEMES[scheme].classes))
    rows = tuple((person, *(one[name] for name in names)) for person, one in people.items())
    text = "Each person on their own, the lowest kappa first."
    table = Table("", ("person", *number_labels(scheme)), rows)
    drawn = Picture("kappa and accuracy of each person", partial(plot_people, {model: people}))
    return Section("spread", "Person by person", text, (table,), (drawn,))


def nights_section(nights: Mapping[str, ScoredNight], scheme: str) -> Section | None:
    """Which nights are drawn; None if none has a kappa."""
    chosen = chosen_nights(nights, scheme)
    if not chosen:
        return None
    rows = tuple((which, key, one.accuracy, one.kappa, one.macro_f1) for which, key, one in chosen)
    table = Table("", ("night", "person", "accuracy", "kappa", "macro F1"), rows, text_columns=2)
    text = "By kappa. The expert's stages, the model's, and the probabilities that it gave."
    pictures = tuple(
        Picture(
            f"hypnogram of the {which} night, {key}",
            partial(_draw, nights[key], which, key, one.kappa),
        )
        for which, key, one in chosen
    )
    return Section("nights", "Best, median and worst night", text, (table,), pictures)


def chosen_nights(
    nights: Mapping[str, ScoredNight], scheme: str
) -> list[tuple[str, str, Agreement]]:
    """Worst, median and best night by kappa: which, its key and its agreement.

    Nights without a kappa are left out; of two nights there is no median, one night is the only.
    """
    classes = SCHEMES[scheme]
    found = {key: agreement(*night.pair(classes), classes) for key, night in nights.items()}
    kappas = {key: one.kappa for key, one in found.items() if one.kappa is not None}
    order = sorted(kappas, key=kappas.__getitem__)
    last = len(order) - 1
    places = {"best": last, "median": last // 2, "worst": 0}
    if last < 2:
        places = {"best": 1, "worst": 0} if last == 1 else {"only": 0} if order else {}
    return [(which, order[place], found[order[place]]) for which, place in places.items()]


def _draw(night: ScoredNight, which: str, key: str, kappa: float | None) -> Figure:
    predicted = night.predicted
    return plot_night(
        predicted.times,
        [("expert", night.reference.merge(predicted.scheme).codes), ("model", predicted.codes)],
        predicted.scheme,
        probabilities=predicted.probabilities,
        title=f"{which} night: {drawable(key)}, kappa {number(kappa)}",
    )


def bland_altman_section(measures: Mapping[str, Mapping[str, Any]]) -> Section:
    """Bias, limits of agreement and slope of each sleep statistic."""
    head = ("statistic", "people", "bias", "95 % CI of bias", "limits of agreement", "slope", "p")
    rows = tuple(
        (
            _measure_label(name),
            one["bias"]["n"],
            one["bias"]["mean"],
            interval(one["bias"]),
            interval(one, "lower_limit", "upper_limit"),
            one["slope"],
            p_value(one["p_value"]),
        )
        for name, one in measures.items()
    )
    text = (
        "Predicted minus expert, night by night, over the epochs that both scored. 95 % of the "
        "differences are expected within the limits (bias ± 1.96 std). A slope of the difference "
        "on the expert's value other than zero is a bias that grows with size; p is its t-test."
    )
    labelled = {_measure_label(name): one for name, one in measures.items()}
    return Section(
        "bland-altman",
        "Sleep statistics (Bland-Altman)",
        text,
        (Table("", head, rows),),
        (Picture("Bland-Altman plots", partial(plot_bland_altman, labelled)),),
    )


def _measure_label(name: str) -> str:
    """Name of a sleep statistic with its unit."""
    unit = "share" if name == "sleep_efficiency" else "min"
    words = class_label(name.removeprefix("minutes ")).replace("_", " ")
    return f"{words} ({unit})"
