"""Sections on studies: variations of a model, one thing changed in each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sleepstage.evaluation.report.extracts import scheme_words, schemes
from sleepstage.evaluation.report.tables import Cell, Section, Table, interval
from sleepstage.metrics import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LEAKS", "study_scheme", "study_sections"]

LEAKS: Final = "leaks"
"""The study whose numbers are no results."""

_TITLES: Final = {
    "ablation": "What each choice is worth",
    "look-ahead": "What seeing the future would be worth",
    "network": "Other networks",
    "context": "How much of the past is needed",
    "people": "How many people are needed (learning curve)",
    LEAKS: "What leaks would claim",
}
_TEXT: Final = (
    "Means over runs with the standard deviation over runs beside; the last columns are the mean "
    "over people of the difference of kappa to the unchanged model on the same person. A "
    "difference whose interval holds zero is none for sure."
)
_LEAK_TEXT: Final = (
    "Each line makes a known mistake on purpose, and shows how good it would look. Nobody may "
    "quote these numbers as results."
)


def study_sections(studies: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[Section]:
    """A section for each study that has variations; leaks at the end."""
    order = sorted(studies, key=lambda name: name == LEAKS)
    return [_section(name, studies[name]) for name in order if studies[name]]


def study_scheme(variations: Mapping[str, Mapping[str, Any]]) -> str:
    """The finest scheme in which all variations are told."""
    summaries = [one["summary"] for one in variations.values()]
    return next(name for name in schemes(summaries[0]) if all(name in one for one in summaries))


def _section(name: str, variations: Mapping[str, Mapping[str, Any]]) -> Section:
    scheme = study_scheme(variations)
    counted = any(one["n_people"] is not None for one in variations.values())
    rows = tuple(
        _row(variation, one, scheme, counted=counted) for variation, one in variations.items()
    )
    head = ("variation", "told", *(("training people",) if counted else ()))
    head = (*head, "accuracy", "std", "kappa", "std", "macro F1", "std", "REM recall")
    head = (*head, "difference of kappa", "95 % CI")
    table = Table(scheme_words(scheme), head, rows, text_columns=2)
    leaky = name == LEAKS
    title = _TITLES.get(name, f"Study: {name}")
    text = f"{_LEAK_TEXT} {_TEXT}" if leaky else _TEXT
    return Section(f"study {name}", title, text, (table,), leaky=leaky)


def _row(name: str, one: Mapping[str, Any], scheme: str, *, counted: bool) -> tuple[Cell, ...]:
    summary, difference = one["summary"][scheme], one["difference"]
    return (
        name,
        "live" if one["live"] else "later",
        *((one["n_people"],) if counted else ()),
        *(summary[key][statistic] for key in NUMBERS for statistic in ("mean", "std")),
        summary["recall"].get("rem", {"mean": None})["mean"],
        difference["mean"] if difference else None,
        interval(difference) if difference else None,
    )
