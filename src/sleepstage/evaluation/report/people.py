"""Sections in which people count, not epochs, and their pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from sleepstage.core.agreement import NUMBERS, Agreement, ScoredNight, agreement
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
    section,
)
from sleepstage.evaluation.schema import BlandAltman, Estimate, Numbers
from sleepstage.plotting import STAGE_COLOURS, plot_night
from sleepstage.plotting.style import ACCENT, INK, MUTED, drawable, known, panels
from sleepstage.stages import SCHEMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DRAWN: Final = ("kappa", "accuracy")  # a panel for each; people are sorted by the first
_SIGNIFICANT: Final = 0.05
_MOST_NAMES: Final = 60  # more people than that are not named under the picture
_COLUMNS: Final = 4
_GOLDEN: Final = 0.618  # of a row's height: neighbours lie far apart


def people_section(people: Mapping[str, Mapping[str, Estimate]]) -> Section:
    """Mean over people of each number, as Menghini et al. report it."""
    head = ("number", "people", "mean", "95 % CI", "std")
    tables = tuple(
        Table(
            scheme_words(scheme),
            head,
            tuple(
                (_label(key), one.n, one.mean, interval(one.low, one.high), one.std)
                for key, one in numbers.items()
            ),
        )
        for scheme, numbers in people.items()
    )
    return section("people", tables)


def _label(key: str) -> str:
    """Name of a number: macro F1, sensitivity REM."""
    kind, _, name = key.replace("macro_f1", "macro F1").partition(" ")
    return f"{kind} {class_label(name)}" if name else kind


def spread_section(model: str, people: Mapping[str, Numbers], scheme: str) -> Section:
    """Every person's numbers."""
    names = (*NUMBERS, *(f"sensitivity {name}" for name in SCHEMES[scheme].classes))
    rows = tuple((person, *(one[name] for name in names)) for person, one in people.items())
    table = Table("", ("person", *number_labels(scheme)), rows)
    drawn = Picture("kappa and accuracy of each person", partial(plot_people, {model: people}))
    return section("spread", (table,), (drawn,))


def plot_people(models: Mapping[str, Mapping[str, Numbers]]) -> Figure:
    """Draw each person's numbers: sorted, for one model, or box and points for each of several."""
    if len(models) == 1:
        figure, axes = panels(len(_DRAWN), 1, height=1.6 + 2 * len(_DRAWN), sharex=True)
        _sorted_people(list(axes[:, 0]), next(iter(models.values())))
    else:
        height = 1.2 + 0.45 * len(models)
        figure, axes = panels(1, len(_DRAWN), height=height, sharey=True)
        for axis, drawn in zip(axes[0], _DRAWN, strict=True):
            _boxes(axis, models, drawn)
    return figure


def _sorted_people(axes: Sequence[Axes], people: Mapping[str, Numbers]) -> None:
    first = [known(one[_DRAWN[0]]) for one in people.values()]
    order = [list(people)[place] for place in np.argsort(first, kind="stable")]  # NaN at the end
    places = range(len(order))
    for axis, drawn in zip(axes, _DRAWN, strict=True):
        values = np.array([known(people[name][drawn]) for name in order])
        axis.vlines(places, 0, values, color="0.85", linewidth=1.5)
        axis.plot(places, values, "o", color=INK, markersize=6)
        if not np.isnan(values).all():
            mean = float(np.nanmean(values))
            axis.axhline(mean, color=ACCENT, linewidth=1, linestyle="--", label=f"mean {mean:.3f}")
            axis.legend(frameon=False, fontsize="small", loc="upper left")
        axis.set_ylabel(drawn)
        axis.set_ylim(min(0.0, np.min(values, initial=0.0, where=~np.isnan(values))) - 0.03, 1.03)
    named = [drawable(name) for name in order] if len(order) <= _MOST_NAMES else []
    axes[-1].set_xticks(places[: len(named)], named, rotation=90)
    axes[-1].set_xlabel("person")


def _boxes(axis: Axes, models: Mapping[str, Mapping[str, Numbers]], drawn: str) -> None:
    for place, people in enumerate(models.values()):
        values = [value for one in people.values() if (value := one[drawn]) is not None]
        axis.boxplot(
            values,
            positions=[place],
            orientation="horizontal",
            widths=0.55,
            showfliers=False,
            medianprops={"color": ACCENT},
            boxprops={"color": MUTED},
            whiskerprops={"color": MUTED},
            capprops={"color": MUTED},
        )
        spread = 0.36 * (np.arange(len(values)) * _GOLDEN % 1 - 0.5)  # even, and not by chance
        axis.plot(values, place + spread, "o", color=INK, alpha=0.6, markersize=3.5)
    name_rows(axis, list(models))
    axis.set_xlabel(drawn)


def name_rows(axis: Axes, names: Sequence[str]) -> None:
    """Names on the left, the first one on top."""
    axis.set_yticks(range(len(names)), [drawable(name) for name in names])
    axis.set_ylim(len(names) - 0.4, -0.6)


def plot_models(
    models: Mapping[str, Mapping[str, Estimate]], *, live: Mapping[str, bool]
) -> Figure:
    """Draw mean over people and 95 % interval of each model; those not live are hollow."""
    figure, axes = panels(1, len(_DRAWN), height=1.3 + 0.4 * len(models), sharey=True)
    for axis, drawn in zip(axes[0], _DRAWN, strict=True):
        for place, (name, found) in enumerate(models.items()):
            draw_interval(axis, place, found[drawn], INK, hollow=not live[name])
        name_rows(axis, list(models))
        axis.grid(axis="x", color="0.92")
        axis.set_axisbelow(True)
        axis.set_xlabel(f"{drawn}: mean over people, 95 % CI")
    if not all(live.values()):
        note = "hollow: needs the whole night"
        axes[0, 0].set_title(note, loc="left", fontsize="small", color="0.35")
    return figure


def draw_interval(
    axis: Axes, place: int, found: Estimate, colour: str, *, hollow: bool = False
) -> None:
    """Mean and confidence interval, in a row."""
    axis.hlines(place, known(found.low), known(found.high), color=colour, linewidth=2)
    face = "white" if hollow else colour
    axis.plot([known(found.mean)], [place], "o", color=colour, markerfacecolor=face, markersize=7)


def nights_section(nights: Mapping[str, ScoredNight], scheme: str) -> Section | None:
    """Which nights are drawn; None if none has a kappa."""
    chosen = chosen_nights(nights, scheme)
    if not chosen:
        return None
    rows = tuple((which, key, one.accuracy, one.kappa, one.macro_f1) for which, key, one in chosen)
    table = Table("", ("night", "person", "accuracy", "kappa", "macro F1"), rows, text_columns=2)
    pictures = tuple(
        Picture(
            f"hypnogram of the {which} night, {key}",
            partial(_draw, nights[key], which, key, one.kappa),
        )
        for which, key, one in chosen
    )
    return section("nights", (table,), pictures)


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


def bland_altman_section(measures: Mapping[str, BlandAltman]) -> Section:
    """Bias, limits of agreement and slope of each sleep statistic."""
    head = ("statistic", "people", "bias", "95 % CI of bias", "limits of agreement", "slope", "p")
    rows = tuple(
        (
            _measure_label(name),
            one.bias.n,
            one.bias.mean,
            interval(one.bias.low, one.bias.high),
            interval(one.lower_limit, one.upper_limit),
            one.slope,
            p_value(one.p_value),
        )
        for name, one in measures.items()
    )
    labelled = {_measure_label(name): one for name, one in measures.items()}
    return section(
        "bland-altman",
        (Table("", head, rows),),
        (Picture("Bland-Altman plots", partial(plot_bland_altman, labelled)),),
    )


def _measure_label(name: str) -> str:
    """Name of a sleep statistic with its unit."""
    unit = "share" if name == "sleep_efficiency" else "min"
    words = " ".join(map(class_label, name.removeprefix("minutes ").split("_")))
    return f"{words} ({unit})"


def plot_bland_altman(measures: Mapping[str, BlandAltman]) -> Figure:
    """Draw a panel for each sleep statistic: predicted minus the expert's, against the expert's.

    Bias, limits of agreement and, where it is significant (p < 0.05), the line of the difference
    on the expert's value. A label that is a class, such as ``REM (min)``, gives its colour.
    """
    n_rows = max(1, math.ceil(len(measures) / _COLUMNS))
    figure, axes = panels(n_rows, _COLUMNS, height=0.6 + 2.5 * n_rows)
    for axis, (name, measure) in zip(axes.flat, measures.items(), strict=False):
        colour = STAGE_COLOURS.get(name.removesuffix(" (min)").lower(), INK)
        _differences(axis, measure, colour)
        axis.set_title(drawable(name), loc="left", fontsize="medium")
    for axis in axes.flat[len(measures) :]:
        axis.set_axis_off()
    figure.supxlabel("expert", fontsize="medium")
    figure.supylabel("predicted minus expert", fontsize="medium")
    return figure


def _differences(axis: Axes, measure: BlandAltman, colour: str) -> None:
    reference = np.array(measure.reference, dtype=np.float64)
    axis.axhline(0, color="0.8", linewidth=1)
    differences = np.array(measure.predicted) - reference
    axis.plot(reference, differences, "o", color=colour, markersize=4)
    if measure.bias.mean is not None:
        axis.axhline(measure.bias.mean, color="0.25", linewidth=1.2)
    for limit in (measure.lower_limit, measure.upper_limit):
        if limit is not None:
            axis.axhline(limit, color="0.25", linewidth=1, linestyle="--")
    if measure.p_value is not None and measure.p_value < _SIGNIFICANT:
        ends = np.array([reference.min(), reference.max()])
        line = known(measure.intercept) + known(measure.slope) * ends
        axis.plot(ends, line, color=ACCENT, linewidth=1.2)
