"""What each choice is worth: a model with one thing changed, on the same splits.

``python -m research.studies ablation leaks`` trains them, shows a table of each, and writes a
report beside the runs; what is done is not done again. ``make results`` puts all of them into
docs/results.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import click
import numpy as np

from research.changes import CHANGES, LEAK_COLUMN
from research.study_report import VariationResult, study_results, study_sections
from sleepstage._utils.files import write_json
from sleepstage.cli.console import console, progress_bar
from sleepstage.cli.evaluate import choose, raise_failed, show
from sleepstage.cli.evaluate import evaluate as verb
from sleepstage.cli.train import load_and_announce
from sleepstage.core.recording import person_of
from sleepstage.engine.features import SUMMARIES
from sleepstage.errors import DataError, SleepstageError
from sleepstage.evaluation.experiment import Task, evaluate, plan
from sleepstage.evaluation.report import write_report
from sleepstage.evaluation.results import by_model, failed_runs, nights_of, results
from sleepstage.evaluation.run import Outcome
from sleepstage.evaluation.schema import Results
from sleepstage.evaluation.splits import Split
from sleepstage.io.sleep_accel.read import find_data
from sleepstage.ml.config import DEFAULT_FEATURES, override
from sleepstage.ml.networks import RecurrentConfig, TransformerConfig
from sleepstage.ml.neural import Neural

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sleepstage.ml.dataset import PreparedNight

    Outcomes = Mapping[Task, Outcome | SleepstageError]
    Progress = Callable[[int, int, str], None]

__all__ = [
    "STUDIES",
    "StudyResults",
    "Variation",
    "Varied",
    "evaluate_varied",
    "fewer",
    "results_of",
    "run_studies",
    "study_tasks",
]

_TESTED: Final = " tested"  # ends the name of a night that is changed for testing


@dataclass(frozen=True)
class Variation:
    """One thing changed.

    Attributes
    ----------
    settings : tuple of str
        As for ``--set``.
    network : RecurrentConfig or TransformerConfig, optional
        In place of the model's own.
    change : str
        What is done to the nights; see `research.changes.CHANGES`.
    people : int
        Training people that are kept; 0 for all.
    """

    settings: tuple[str, ...] = ()
    network: RecurrentConfig | TransformerConfig | None = None
    change: str = ""
    people: int = 0


def _features(*signals: str, without: tuple[str, ...] = ()) -> tuple[str, ...]:
    names = [
        feature.name
        for feature in SUMMARIES
        if feature.signal in signals
        and feature.name in DEFAULT_FEATURES
        and not any(part in feature.name for part in without)
    ]
    trace = "true" if "heart_rate" in signals else "false"
    return (f"features={','.join(names)}", f"trace={trace}")


_ALL: Final = ("heart_rate", "motion", "steps")

# What is changed in a night is not in its variants.
_AS_RECORDED: Final = ("evenings=0", "late_starts=0", "thinning=0")
_TOLD: Final = (f"features={','.join([*DEFAULT_FEATURES, LEAK_COLUMN])}",)

STUDIES: Final[Mapping[str, Mapping[str, Variation]]] = MappingProxyType(
    {
        "ablation": {
            "no steps": Variation(_features("heart_rate", "motion")),
            "no motion": Variation(_features("heart_rate", "steps")),
            "no heart rate": Variation(_features("motion", "steps")),
            "heart rate alone": Variation(_features("heart_rate")),
            "motion alone": Variation(_features("motion")),
            "steps alone": Variation(_features("steps")),
            "no calm clocks": Variation(_features(*_ALL, without=("calm_", "since_up", "hr_rest"))),
            "no trace of heart rate": Variation(("trace=false",)),
            "no resting heart rate": Variation(_features(*_ALL, without=("_vs_rest", "floor"))),
            "no evenings": Variation(("evenings=0",)),
            "no late starts": Variation(("late_starts=0",)),
            "heart rate each minute": Variation(change="heart rate each minute"),
            "heart rate each 5 minutes": Variation(change="heart rate each 5 minutes"),
            "no prior correction": Variation(("prior_correction=false",)),
            "no class weights": Variation(("class_balance=0",)),
            "five classes": Variation(("scheme=five_class",)),
        },
        "look-ahead": {
            "1 minute": Variation(("look_ahead=2",)),
            "2.5 minutes": Variation(("look_ahead=5",)),
            "5 minutes": Variation(("look_ahead=10",)),
            "the whole night": Variation(("whole_night=true",)),
        },
        "network": {
            "GRU": Variation(network=RecurrentConfig(cell="gru")),
            "Transformer": Variation(network=TransformerConfig()),
        },
        "context": {
            f"Transformer of one layer, {minutes} minutes": Variation(
                network=TransformerConfig(layers=1, context=2 * minutes)
            )
            for minutes in (5, 60)
        },
        "people": {f"{people} people": Variation(people=people) for people in (5, 10, 15)},
        "leaks": {
            "whole-night normalisation": Variation(
                _AS_RECORDED, change="whole-night normalisation"
            ),
            "random epochs": Variation(_AS_RECORDED, change="random epochs"),
            "true stage before": Variation((*_AS_RECORDED, *_TOLD), change="true stage before"),
        },
    }
)
"""Studies by name, each with its variations by name."""


@dataclass(frozen=True)
class Varied(Task):
    """A task of a study: its name is that of the variation."""

    study: str = ""
    change: str = ""

    @property
    def plain(self) -> Task:
        """The task as it is run: nothing of it lies outside the package, as workers ask for."""
        split = self.split
        if self.change:
            split = replace(split, test=tuple(f"{subject}{_TESTED}" for subject in split.test))
        return Task(f"{self.study}/{self.name}", self.number, self.classifier, split)


def study_tasks(names: Sequence[str], baseline: Sequence[Task]) -> list[Varied]:
    """Tasks of studies on the splits of a baseline.

    Parameters
    ----------
    names : sequence of str
        Of `STUDIES`.
    baseline : sequence of Task
        Of one network, from `sleepstage.evaluation.experiment.plan`; each variation begins from
        its settings.

    Raises
    ------
    DataError
        If there is no such study, or the baseline is no network.
    """
    unknown = ", ".join(name for name in names if name not in STUDIES)
    if unknown:
        msg = f"no study {unknown}; there are {', '.join(STUDIES)}"
        raise DataError(msg)
    return [
        _vary(task, study, name, variation)
        for study in names
        for name, variation in STUDIES[study].items()
        for task in baseline
    ]


def _vary(task: Task, study: str, name: str, variation: Variation) -> Varied:
    classifier = task.classifier
    if not isinstance(classifier, Neural):
        msg = f"studies vary a network, and {task.name} is none; name one first, as lstm"
        raise DataError(msg)
    if variation.network is not None:
        classifier = replace(classifier, network=variation.network)
    return Varied(
        name,
        task.number,
        override(classifier, variation.settings),
        _split(task.split, variation, task.number),
        study,
        variation.change,
    )


def _split(split: Split, variation: Variation, seed: int) -> Split:
    if variation.change == "random epochs":  # everybody trains, and everybody tests
        everyone = (*split.train, *split.test)
        return replace(split, train=everyone, validation=(*split.validation, split.test))
    return fewer(split, variation.people, seed=seed) if variation.people else split


def fewer(split: Split, people: int, *, seed: int) -> Split:
    """Split with a random part of its training people; the test people stay.

    Raises
    ------
    DataError
        If there are not that many, or fewer than two are asked for.
    """
    there = sorted(set(map(person_of, split.train)))
    if not 2 <= people <= len(there):
        msg = f"{people} of {len(there)} training people; choose 2 to {len(there)}"
        raise DataError(msg)
    kept = np.random.default_rng(seed).permutation(there)[:people].tolist()
    n_groups = min(len(split.validation), people)

    def nights(people: Sequence[str]) -> tuple[str, ...]:
        return tuple(sorted(one for one in split.train if person_of(one) in people))

    groups = tuple(nights(kept[start::n_groups]) for start in range(n_groups))
    return Split(nights(kept), groups, split.test)


def evaluate_varied(
    nights: Sequence[PreparedNight],
    tasks: Sequence[Task],
    out: Path,
    *,
    jobs: int = -1,
    cluster: str | None = None,
    on_run: Progress | None = None,
) -> dict[Task, Outcome | SleepstageError]:
    """Like `evaluate`, with each task on the nights changed as its variation states."""
    found: dict[Task, Outcome | SleepstageError] = {}
    for change in dict.fromkeys(map(_change, tasks)):
        mine = [task for task in tasks if _change(task) == change]
        outcomes = evaluate(
            _changed(nights, change),
            list(map(_plain, mine)),
            out,
            jobs=jobs,
            cluster=cluster,
            on_run=on_run and partial(_advance, on_run, len(found), len(tasks)),
        )
        found |= zip(mine, map(_as_named, mine, outcomes.values()), strict=True)
    return {task: found[task] for task in tasks}


def _plain(task: Task) -> Task:
    return task.plain if isinstance(task, Varied) else task


def _change(task: Task) -> str:
    return task.change if isinstance(task, Varied) else ""


def _changed(nights: Sequence[PreparedNight], change: str) -> list[PreparedNight]:
    """Nights to train on, and beside them those to test on, which have names of their own."""
    if not change:
        return list(nights)
    of_training, of_test = CHANGES[change]
    tested = [of_test(night) for night in nights]
    return [of_training(night) for night in nights] + [
        replace(night, recording=replace(night.recording, subject=f"{night.subject}{_TESTED}"))
        for night in tested
    ]


def _advance(on_run: Progress, before: int, total: int, done: int, _: int, remark: str) -> None:
    on_run(before + done, total, remark)


def _as_named(task: Task, outcome: Outcome | SleepstageError) -> Outcome | SleepstageError:
    """Give the test nights the names again that they have in the task."""
    if not isinstance(outcome, Outcome):
        return outcome
    scored = {subject.removesuffix(_TESTED): night for subject, night in outcome.scored.items()}
    return replace(outcome, split=task.split, scored=scored)


@dataclass(frozen=True)
class StudyResults(Results):
    """Results of the unchanged model, all runs that failed, and the studies."""

    studies: dict[str, dict[str, VariationResult]]
    """See `research.study_report.study_results`."""


def results_of(outcomes: Outcomes) -> StudyResults:
    """Results of the unchanged model and of each study."""
    unchanged: dict[Task, Outcome | SleepstageError] = {}
    studies: dict[str, dict[Task, Outcome | SleepstageError]] = {}
    for task, one in outcomes.items():
        mine = studies.setdefault(task.study, {}) if isinstance(task, Varied) else unchanged
        mine[task] = one
    content = results(unchanged)
    default = next(iter(by_model(unchanged).values()))
    variations = {study: by_model(mine) for study, mine in studies.items()}
    return StudyResults(
        runs=content.runs,
        failed=failed_runs({_plain(task): one for task, one in outcomes.items()}),
        summary=content.summary,
        models=content.models,
        studies=study_results(default, variations),
    )


def run_studies(
    names: Sequence[str],
    nights: Sequence[PreparedNight],
    baseline: Sequence[Task],
    out: Path,
    *,
    title: str,
    **where: Any,
) -> StudyResults:
    """Do what is not done yet of studies, and write results and report.

    Parameters
    ----------
    names, baseline
        See `study_tasks`.
    nights : sequence of PreparedNight
        Of all people.
    out : path
        Folder of the runs, of ``results.json`` and of the report.
    title : str
        Of the report.
    **where
        ``jobs``, ``cluster`` and ``on_run`` of `evaluate`.

    Returns
    -------
    StudyResults
        `results_of` all runs.
    """
    outcomes = evaluate_varied(nights, [*baseline, *study_tasks(names, baseline)], out, **where)
    content = results_of(outcomes)
    write_json(out / "results.json", content)
    unchanged = by_model({task: outcomes[task] for task in baseline})
    tested = nights_of(next(iter(unchanged.values())))
    write_report(
        content,
        tested,
        out,
        title=title,
        simulated=any(night.recording.simulated for night in nights),
        more=study_sections(content.studies),
    )
    return content


@click.command(
    context_settings={"show_default": True},
    params=[
        click.Argument(["names"], nargs=-1, metavar="[STUDY]..."),
        click.Option(["--model"], default="lstm", help="A network."),
        *(one for one in verb.params if one.name not in {"models", "out"}),
        click.Option(
            ["--out"],
            type=click.Path(path_type=Path),
            help="Default: runs/studies-PROTOCOL-seedSEED.",
        ),
    ],
)
def main(
    names: tuple[str, ...],
    model: str,
    data: Path | None,
    protocol: str,
    repeats: int,
    folds: int,
    seed: int,
    settings: tuple[str, ...],
    jobs: int | None,
    cluster: str | None,
    out: Path | None,
) -> None:
    """Train variations of a network, one thing changed in each; all studies if none is named."""
    try:
        classifiers = choose((model,), settings)
        study_tasks(names, [])  # before the long work
        nights, simulated = load_and_announce(find_data(data))
        subjects = [night.subject for night in nights]
        number = folds if protocol == "kfold" else repeats
        baseline = plan(subjects, protocol, classifiers, number=number, seed=seed)
        chosen = names or tuple(STUDIES)
        n_runs = len(baseline) + len(study_tasks(chosen, baseline))
        out = out or Path("runs") / f"studies-{protocol}-seed{seed}"
        title = f"Studies: {len(baseline)} runs, {protocol}, {len(nights)} nights"
        with progress_bar("studies") as progress:
            content = run_studies(
                chosen,
                nights,
                baseline,
                out,
                title=title,
                jobs=jobs or -1,
                cluster=cluster,
                on_run=progress,
            )
        for section in study_sections(content.studies):
            mark = "LEAK, these are no results: " if section.leaky else ""
            show(f"{mark}{section.title}", section.tables, simulated=simulated)
        console.print(f"report: {out / 'report.html'}\neverything: {out}/")
        raise_failed(content.failed, n_runs)
    except SleepstageError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
