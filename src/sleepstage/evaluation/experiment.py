"""Classifiers on splits: every run on its own, kept as soon as it is done."""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sleepstage
from sleepstage.errors import SleepstageError
from sleepstage.evaluation.run import Outcome, train_and_test
from sleepstage.evaluation.split import holdout, kfold
from sleepstage.evaluation.store import recall, remember
from sleepstage.recording import person_of
from sleepstage.scale import run_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sleepstage.classifiers.contract import Classifier
    from sleepstage.evaluation.split import Split
    from sleepstage.training.nights import Night

__all__ = ["Task", "evaluate", "plan"]

_log = logging.getLogger(__name__)

_ONLY_SHOWS: Final = ("cli", "evaluation", "plotting", "scoring", "service")
"""Parts of the package that change no prediction, except these modules of theirs."""
_PREDICTS: Final = ("evaluation/run.py", "evaluation/split.py")


@dataclass(frozen=True)
class Task:
    """One classifier on one split.

    Attributes
    ----------
    name : str
        What the results are listed under; a ``/`` in it makes folders in folders.
    number : int
        Of the run, from 1.
    classifier : Classifier
        What is fitted.
    split : Split
        Who trains, who tests.
    """

    name: str
    number: int
    classifier: Classifier
    split: Split

    @property
    def folder(self) -> Path:
        """Where the run's files lie, within the evaluation's folder."""
        return Path(re.sub("[^a-z0-9./]+", "-", self.name.lower()), f"run-{self.number}")

    def fingerprint(self, data_and_code: str) -> str:
        """SHA-256 of all that a result depends on."""
        told = (data_and_code, repr(self.classifier), repr(self.split))
        return hashlib.sha256("\n".join(told).encode()).hexdigest()


def plan(
    subjects: Sequence[str],
    protocol: str,
    classifiers: Mapping[str, Classifier],
    *,
    number: int,
    seed: int,
) -> list[Task]:
    """Tasks of a protocol: every classifier on the same splits.

    Parameters
    ----------
    subjects : sequence of str
        Of all nights.
    protocol : {"holdout", "kfold", "loso"}
        `number` fresh random 90/10 splits, with seeds that count up; `number` folds in which each
        person tests once; or each person alone, with all their nights (leave one subject out).
    classifiers : mapping of str to Classifier
        By name.
    number : int
        How many; not used by ``loso``.
    seed : int
        Of the first split and of the classifiers.
    """
    if protocol == "holdout":
        seeds = list(range(seed, seed + number))
        splits = [holdout(subjects, seed=one) for one in seeds]
    else:
        n_folds = len(set(map(person_of, subjects))) if protocol == "loso" else number
        splits = kfold(subjects, n_folds=n_folds, seed=seed)
        seeds = [seed] * len(splits)
    return [
        Task(name, index, replace(classifier, seed=one), split)  # type: ignore[type-var]
        for name, classifier in classifiers.items()
        for index, (split, one) in enumerate(zip(splits, seeds, strict=True), start=1)
    ]


def evaluate(
    nights: Sequence[Night],
    tasks: Sequence[Task],
    out: Path,
    *,
    jobs: int = -1,
    cluster: str | None = None,
    on_run: Callable[[int, int, str], None] | None = None,
) -> dict[Task, Outcome | SleepstageError]:
    """Do all tasks that are not done yet; what is done is written at once.

    Parameters
    ----------
    nights : sequence of Night
        Of all people.
    tasks : sequence of Task
        From `plan`.
    out : path
        Gets a folder for each run. A run that lies there already, of the same data, settings,
        split and code, is not done again.
    jobs, cluster
        Where; see `run_tasks`.
    on_run : callable, optional
        Called with runs done, of all, and a remark.

    Returns
    -------
    dict
        Each task with what came out, in the order given: an error where it can't be done, as when
        a stage is missing in its training part.
    """
    people = {night.subject: night for night in nights}
    data_and_code = _data(nights) + _code()
    stamps = {task: task.fingerprint(data_and_code) for task in tasks}
    results: dict[Task, Outcome | SleepstageError | None] = {
        task: recall(out / task.folder, stamp, task.classifier, task.split, people)
        for task, stamp in stamps.items()
    }
    missing = [task for task, outcome in results.items() if outcome is None]
    if len(missing) < len(tasks):
        _log.info("%d of %d runs lie in %s", len(tasks) - len(missing), len(tasks), out)
        if not missing:
            cluster = None  # nothing to ask it
    for done, (index, outcome) in enumerate(
        run_tasks(_do, list(nights), missing, jobs=jobs, cluster=cluster), start=1
    ):
        task = missing[index]
        results[task] = outcome
        if isinstance(outcome, Outcome):
            remember(outcome, out / task.folder, stamps[task])
        if on_run:
            on_run(len(tasks) - len(missing) + done, len(tasks), f"{task.name}, run {task.number}")
    return {task: outcome for task, outcome in results.items() if outcome is not None}


def _do(nights: Sequence[Night], task: Task) -> Outcome | SleepstageError:
    try:
        return train_and_test(nights, task.classifier, task.split)
    except SleepstageError as error:  # the other runs go on
        return error


def _data(nights: Sequence[Night]) -> str:
    """SHA-256 of all that is trained on and tested; features and stages need not be as recorded."""
    digest = hashlib.sha256()
    for night in sorted(nights, key=lambda night: night.subject):
        digest.update(night.recording.fingerprint().encode())
        rows = (night.rows, *night.thinned_rows)
        digest.update(b"".join([night.codes.tobytes(), *(one.tobytes() for one in rows)]))
    return digest.hexdigest()


def _code() -> str:
    """SHA-256 of the code that makes a prediction; what shows results may change."""
    root = Path(sleepstage.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        path = file.relative_to(root)
        if path.parts[0] not in _ONLY_SHOWS or path.as_posix() in _PREDICTS:
            digest.update(file.read_bytes())
    return digest.hexdigest()
