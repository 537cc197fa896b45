"""Classifiers on splits: every run on its own, kept as soon as it is done, and read again."""

import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from secrets import token_hex
from typing import Final

import polars as pl

import sleepstage
from sleepstage._utils.files import write_atomically, write_json
from sleepstage._utils.parallel import run_tasks
from sleepstage.core.agreement import ScoredNight
from sleepstage.core.hypnogram import Hypnogram, likeliest
from sleepstage.core.recording import person_of
from sleepstage.errors import DataError, SleepstageError
from sleepstage.evaluation import PROTOCOLS
from sleepstage.evaluation.run import MODEL_FILE, Outcome, save, train_and_test
from sleepstage.evaluation.splits import Split, holdout, kfold
from sleepstage.io.source import Progress
from sleepstage.ml.classifier import Classifier
from sleepstage.ml.dataset import PreparedNight
from sleepstage.stages import SCHEMES, UNSCORED

_log = logging.getLogger(__name__)

_ONLY_SHOWS: Final = ("batch", "cli", "evaluation", "plotting.py", "server")
"""Parts of the package that change no prediction, except these modules of theirs."""
_PREDICTS: Final = ("evaluation/run.py", "evaluation/splits.py")
_PREDICTIONS: Final = "predictions.parquet"
_STAMP: Final = "run.json"


@dataclass(frozen=True)
class Task:
    """One classifier on one split."""

    name: str
    """What the results are listed under; a ``/`` in it makes folders in folders."""
    number: int
    """Of the run, from 1."""
    classifier: Classifier = field(hash=False)
    split: Split

    @property
    def folder(self) -> Path:
        """Where the run's files lie, within the evaluation's folder."""
        return Path(re.sub("[^a-z0-9./]+", "-", self.name.lower()), f"run-{self.number}")

    def fingerprint(self, data_and_code: str) -> str:
        """SHA-256 of all that a result depends on; never the same for a class of one's own."""
        packaged = type(self.classifier).__module__.startswith("sleepstage.")
        code = "" if packaged else token_hex()  # what it imports may have changed
        content = (data_and_code, code, repr(self.classifier), repr(self.split))
        return hashlib.sha256("\n".join(content).encode()).hexdigest()


def plan(
    subjects: Sequence[str],
    protocol: str,
    classifiers: Mapping[str, Classifier],
    *,
    number: int,
    seed: int,
) -> list[Task]:
    """Tasks of a protocol: every classifier on the same splits.

    ``holdout``: `number` fresh random 90/10 splits, whose seeds, and those of the classifiers,
    count up from `seed`. ``kfold``: `number` folds in which each person tests once. ``loso``: each
    person alone, with all their nights (leave one subject out). These two have one seed.

    Raises `DataError` if there is no such protocol, or there are too few people for it.
    """
    if protocol not in PROTOCOLS:
        raise DataError(f"no protocol {protocol!r}; choose from {', '.join(PROTOCOLS)}")
    if protocol == "holdout":
        seeds = list(range(seed, seed + number))
        splits = [holdout(subjects, seed=one) for one in seeds]
    else:
        n_folds = len(set(map(person_of, subjects))) if protocol == "loso" else number
        splits = kfold(subjects, n_folds=n_folds, seed=seed)
        seeds = [seed] * len(splits)
    return [
        # A copy for each, so that whatever a classifier keeps of one run is not there in the next.
        Task(name, index, replace(deepcopy(classifier), seed=one), split)  # type: ignore[type-var]
        for name, classifier in classifiers.items()
        for index, (split, one) in enumerate(zip(splits, seeds, strict=True), start=1)
    ]


def evaluate(
    nights: Sequence[PreparedNight],
    tasks: Sequence[Task],
    out: Path,
    *,
    jobs: int = -1,
    cluster: str | None = None,
    on_run: Progress | None = None,
) -> dict[Task, Outcome | SleepstageError]:
    """Do all tasks that are not done yet; what is done is written at once.

    Each run has a folder in `out`. One that lies there already, of the same data, settings, split
    and code, is not done again. For `jobs` and `cluster` see `run_tasks`.

    Returns each task with what came out, in the order given: an error where it can't be done, as
    when a stage is missing in its training part.
    """
    people = {night.subject: night for night in nights}
    data_and_code = _data(nights) + _code()
    stamps = {task: task.fingerprint(data_and_code) for task in tasks}
    results: dict[Task, Outcome | SleepstageError | None] = {
        task: recall(out / task.folder, stamp, task, people) for task, stamp in stamps.items()
    }
    missing = [task for task, outcome in results.items() if outcome is None]
    if len(missing) < len(tasks):
        _log.info("%d of %d runs lie in %s", len(tasks) - len(missing), len(tasks), out)
    asked = cluster if missing else None
    finished = run_tasks(_do, list(nights), missing, jobs=jobs, cluster=asked)
    for done, (index, outcome) in enumerate(finished, start=1):
        task = missing[index]
        results[task] = outcome
        if isinstance(outcome, Outcome):
            remember(outcome, out / task.folder, stamps[task])
        if on_run:
            on_run(len(tasks) - len(missing) + done, len(tasks), f"{task.name}, run {task.number}")
    return {task: outcome for task, outcome in results.items() if outcome is not None}


def _do(nights: Sequence[PreparedNight], task: Task) -> Outcome | SleepstageError:
    try:
        return train_and_test(nights, task.classifier, task.split)
    except SleepstageError as error:  # the other runs go on
        return error


def remember(outcome: Outcome, out: Path, fingerprint: str) -> None:
    """Write the run's files and predictions, and last of all the stamp that marks them as whole."""
    (out / _STAMP).unlink(missing_ok=True)
    save(outcome, out)
    tables = [
        night.predicted.to_frame().with_columns(subject=pl.lit(subject))
        for subject, night in outcome.scored.items()
    ]
    frame = pl.concat(tables, how="diagonal")  # `reason` is there only where one is needed
    with write_atomically(out / _PREDICTIONS) as temporary:
        frame.write_parquet(temporary)
    scheme = next(iter(outcome.scored.values())).predicted.scheme.name
    stamp = {"fingerprint": fingerprint, "scheme": scheme, "factors": outcome.class_weights}
    write_json(out / _STAMP, stamp)


def recall(
    out: Path, fingerprint: str, task: Task, nights: Mapping[str, PreparedNight]
) -> Outcome | None:
    """What `remember` wrote, or None if it is of another run, or was not finished."""
    try:
        stamp = json.loads((out / _STAMP).read_text(encoding="utf-8"))
        if stamp["fingerprint"] != fingerprint:
            return None
        frame = pl.read_parquet(out / _PREDICTIONS)
        model_file = out / MODEL_FILE
        model = model_file.read_bytes() if model_file.exists() else b""
    except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError):
        return None
    scheme = SCHEMES[stamp["scheme"]]
    scored = {}
    for subject in task.split.test:
        night, mine = nights[subject], frame.filter(pl.col("subject") == subject)
        reference = night.recording.reference
        if reference is None or len(mine) != len(night.codes):
            return None
        probabilities = mine.select(f"p_{name}" for name in scheme.classes).to_numpy()
        predicted = Hypnogram(
            night.recording.start,
            likeliest(probabilities),
            scheme,
            probabilities,
            subject=subject,
            simulated="simulated" in mine.columns,
        )
        scored[subject] = ScoredNight(predicted, reference, night.codes != UNSCORED)
    return Outcome(task.classifier, task.split, scored, stamp["factors"], model)


def _data(nights: Sequence[PreparedNight]) -> str:
    """SHA-256 of all that is trained on and tested; features and stages need not be as recorded."""
    digest = hashlib.sha256()
    for night in sorted(nights, key=lambda night: night.subject):
        digest.update(night.recording.fingerprint().encode())
        digest.update(night.codes.tobytes() + night.rows.tobytes())
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
