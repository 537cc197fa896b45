"""Results of studies as numbers and sections: variations of a model, one thing changed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from research.study_plots import plot_ablation, plot_learning_curve
from sleepstage.core.recording import person_of
from sleepstage.evaluation.report.tables import (
    Cell,
    Picture,
    Section,
    Table,
    interval,
    scheme_words,
)
from sleepstage.evaluation.results import paired, summarise
from sleepstage.stages import FOUR_CLASS, THREE_CLASS, TWO_CLASS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sleepstage.evaluation.experiment import Task
    from sleepstage.evaluation.run import Outcome
    from sleepstage.evaluation.schema import Estimate, SchemeSummary

    Runs = Mapping[Task, Outcome]

__all__ = ["LEAKS", "VariationResult", "study_results", "study_sections"]

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


@dataclass(frozen=True)
class VariationResult:
    """All runs of a variation."""

    summary: dict[str, SchemeSummary]
    """By scheme."""
    difference: Estimate | None
    """Of kappa to the unchanged model, person by person; None for itself and where the people are
    not the same."""
    live: bool
    n_people: int | None
    """Who trained, where that differs within a study."""


def study_results(
    default: Runs, studies: Mapping[str, Mapping[str, Runs]]
) -> dict[str, dict[str, VariationResult]]:
    """Each study's variations, in summary and against the unchanged model on the same people.

    Parameters
    ----------
    default : mapping of Task to Outcome
        Runs of the unchanged model.
    studies : mapping of str to mapping of str to mapping of Task to Outcome
        Runs that could be done, by name of study and of variation.

    Returns
    -------
    dict
        By study and variation, of which the unchanged model is the first.
    """
    return {
        study: _variations({"nothing changed": default, **variations}, default)
        for study, variations in studies.items()
    }


def _variations(variations: Mapping[str, Runs], default: Runs) -> dict[str, VariationResult]:
    people = {
        name: len(set(map(person_of, next(iter(runs)).split.train)))
        for name, runs in variations.items()
    }
    differs = len(set(people.values())) > 1
    return {
        name: _variation(runs, default, people[name] if differs else None)
        for name, runs in variations.items()
    }


def _variation(runs: Runs, default: Runs, n_people: int | None) -> VariationResult:
    against = paired(runs, default)
    metrics = [outcome.metrics for outcome in runs.values()]
    return VariationResult(
        summary=summarise(metrics, [FOUR_CLASS, THREE_CLASS, TWO_CLASS]),
        difference=against["kappa"].difference if against else None,
        live=next(iter(runs)).classifier.live,
        n_people=n_people,
    )


def study_sections(studies: Mapping[str, Mapping[str, VariationResult]]) -> list[Section]:
    """A section for each study that has variations; leaks at the end."""
    order = sorted(studies, key=lambda name: name == LEAKS)
    return [_section(name, studies[name]) for name in order if studies[name]]


def _scheme(variations: Mapping[str, VariationResult]) -> str:
    """The finest scheme in which all variations predict."""
    summaries = [one.summary for one in variations.values()]
    return next(name for name in summaries[0] if all(name in one for one in summaries))


def _section(name: str, variations: Mapping[str, VariationResult]) -> Section:
    scheme = _scheme(variations)
    counted = any(one.n_people is not None for one in variations.values())
    rows = tuple(
        _row(variation, one, scheme, counted=counted) for variation, one in variations.items()
    )
    head = ("variation", "decided", *(("training people",) if counted else ()))
    head = (*head, "accuracy", "std", "kappa", "std", "macro F1", "std", "REM recall")
    head = (*head, "difference of kappa", "95 % CI")
    table = Table(scheme_words(scheme), head, rows, text_columns=2)
    leaky = name == LEAKS
    title = _TITLES.get(name, f"Study: {name}")
    text = f"{_LEAK_TEXT} {_TEXT}" if leaky else _TEXT
    pictures = () if leaky else _pictures(variations, scheme)
    return Section(f"study {name}", title, text, (table,), pictures, leaky)


def _row(name: str, one: VariationResult, scheme: str, *, counted: bool) -> tuple[Cell, ...]:
    summary, difference = one.summary[scheme], one.difference
    spreads = (summary.accuracy, summary.kappa, summary.macro_f1)
    return (
        name,
        "live" if one.live else "later",
        *((one.n_people,) if counted else ()),
        *(number for spread in spreads for number in (spread.mean, spread.std)),
        summary.rem_recall,
        difference.mean if difference else None,
        interval(difference.low, difference.high) if difference else None,
    )


def _pictures(variations: Mapping[str, VariationResult], scheme: str) -> tuple[Picture, ...]:
    """Learning curve where numbers of people differ, else differences to the unchanged model."""
    points = [
        (one.n_people, one.summary[scheme].kappa)
        for one in variations.values()
        if one.n_people is not None
    ]
    if len({n_people for n_people, _ in points}) > 1:
        return (Picture("learning curve", partial(plot_learning_curve, points)),)
    differences = {name: one.difference for name, one in variations.items()}
    if not any(differences.values()):
        return ()
    shows = "difference of kappa to the unchanged model"
    return (Picture(shows, partial(plot_ablation, differences)),)
