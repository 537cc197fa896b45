"""From one subject's files, each by itself and all together, to the whole dataset."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from sleepstage.checks.findings import DatasetReport, Facts, Finding, Severity, SubjectReport
from sleepstage.checks.night import Night, check_coverage, check_labels
from sleepstage.checks.signals import check_heart_rate, check_motion, check_steps
from sleepstage.errors import DataError
from sleepstage.files import fingerprint
from sleepstage.readers.sleep_accel import LAYOUT, SIMULATED_MARKER, find_subjects, subject_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["check_dataset", "check_subject"]

_WITHOUT: Final = {
    "labels": "nothing to train on or to compare with",
    "heart_rate": "the night is staged from motion alone",
    "motion": "the night is staged from heart rate alone",
    "steps": "the day before the night is unknown",
}


def check_dataset(
    directory: str | Path, *, on_progress: Callable[[int, int, str], None] | None = None
) -> DatasetReport:
    """Check all subjects of a dataset.

    Parameters
    ----------
    directory : path
        Folder in the layout of `sleepstage.readers.sleep_accel`.
    on_progress : callable, optional
        Called with the number of finished subjects, of all subjects, and the one just finished.

    Raises
    ------
    DataError
        If `directory` has none of the dataset's files.
    """
    directory = Path(directory)
    subjects = find_subjects(directory)
    reports = []
    for subject in subjects:
        reports.append(check_subject(directory, subject))
        if on_progress is not None:
            on_progress(len(reports), len(subjects), subject)
    twins = tuple(_find_twins(directory, subjects))
    return DatasetReport(directory, tuple(reports), twins, (directory / SIMULATED_MARKER).exists())


def check_subject(directory: str | Path, subject: str) -> SubjectReport:
    """Check one subject's files, each by itself and how they fit together.

    Raises
    ------
    DataError
        If there is no file of `subject`.
    """
    files = subject_files(directory, subject)
    if not files:
        msg = f"{directory}: no file of subject {subject!r}; is the name right?"
        raise DataError(msg)
    night = Night(list(_missing_files(Path(directory), subject, files)))
    with np.errstate(all="ignore"):  # absurd numbers are just what is looked for
        if "labels" in files:
            check_labels(files["labels"], night)
        check_motion(files, night)
        if "heart_rate" in files:
            check_heart_rate(files["heart_rate"], night)
        if "steps" in files:
            check_steps(files["steps"], night)
        if "labels" in files:
            check_coverage(files["labels"], night)
    return SubjectReport(subject, tuple(night.findings), Facts(**night.facts))


def _missing_files(directory: Path, subject: str, files: Mapping[str, Path]) -> Iterator[Finding]:
    have = {"motion" if name.startswith("summary") else name for name in files}
    for name, without in _WITHOUT.items():
        if name not in have:
            path = LAYOUT[name].path(directory, subject)
            if {"heart_rate", "motion"} & have or name not in ("heart_rate", "motion"):
                yield Finding(Severity.WARNING, "missing-file", f"no such file: {without}", path)
            else:
                text = f"no {name} file, and neither heart rate nor motion: get one of them"
                yield Finding(Severity.ERROR, "missing-file", text, path)


def _find_twins(directory: Path, subjects: list[str]) -> Iterator[Finding]:
    """Find nights that are there under two names: they end up in training and in test."""
    seen: dict[str, Path] = {}
    for subject in subjects:
        path = subject_files(directory, subject).get("heart_rate")
        if path is not None and os.access(path, os.R_OK) and path.stat().st_size:
            twin = seen.setdefault(fingerprint(path), path)
            if twin is not path:
                text = f"the same as {twin.name}: one night under two names; delete one"
                yield Finding(Severity.ERROR, "same-night", text, path)
