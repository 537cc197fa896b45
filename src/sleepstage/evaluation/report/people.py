"""Sections in which people count, not epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sleepstage.evaluation.report.extracts import (
    chosen_nights,
    class_label,
    measure_label,
    scheme_words,
)
from sleepstage.evaluation.report.tables import Section, Table, interval, p_value
from sleepstage.metrics import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sleepstage.metrics import ScoredNight

__all__ = ["bland_altman_section", "nights_section", "people_section", "spread_section"]


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
    number, _, name = key.replace("macro_f1", "macro F1").partition(" ")
    return f"{number} {class_label(name)}" if name else number


def spread_section(people: Mapping[str, Mapping[str, float | None]]) -> Section:
    """Every person's numbers."""
    head = tuple(_label(key) for key in next(iter(people.values())))
    rows = tuple((person, *numbers.values()) for person, numbers in people.items())
    text = "Each person on their own, the lowest kappa first."
    return Section("spread", "Person by person", text, (Table("", ("person", *head), rows),))


def nights_section(nights: Mapping[str, ScoredNight], scheme: str) -> Section | None:
    """Which nights are drawn; None if none has a kappa."""
    chosen = chosen_nights(nights, scheme)
    if not chosen:
        return None
    rows = tuple(
        (which, key, *(numbers[name] for name in NUMBERS)) for which, key, numbers in chosen
    )
    table = Table("", ("night", "person", "accuracy", "kappa", "macro F1"), rows, text_columns=2)
    text = "By kappa. The expert's stages, the model's, and the probabilities that it gave."
    return Section("nights", "Best, median and worst night", text, (table,))


def bland_altman_section(measures: Mapping[str, Mapping[str, Any]]) -> Section:
    """Bias, limits of agreement and slope of each sleep statistic."""
    head = ("statistic", "people", "bias", "95 % CI of bias", "limits of agreement", "slope", "p")
    rows = tuple(
        (
            measure_label(name),
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
    return Section(
        "bland-altman", "Sleep statistics (Bland-Altman)", text, (Table("", head, rows),)
    )
