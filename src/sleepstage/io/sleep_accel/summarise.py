"""Raw motion to summary files, once: 2 GB of text become 2 MB that read in no time."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import polars as pl

from sleepstage._utils.files import fingerprint, write_atomically
from sleepstage._utils.parallel import in_threads
from sleepstage.errors import DataError
from sleepstage.io.sleep_accel.read import (
    LAYOUT,
    find_subjects,
    subject_files,
    summarise_file,
    summary_source,
)
from sleepstage.io.source import Progress


@dataclass(frozen=True)
class PrepareReport:
    """Subjects whose summary was made, was up to date, or can't be made for want of raw motion."""

    made: tuple[str, ...]
    kept: tuple[str, ...]
    without_motion: tuple[str, ...]


def prepare(
    directory: str | Path, *, jobs: int | None = None, on_progress: Progress | None = None
) -> PrepareReport:
    """Summarise the raw motion of a dataset, `jobs` nights at once, only where it changed.

    By default one night a core is summarised at a time. Raises `DataError`, when the other nights
    are finished, if raw motion is broken, a summary was not made here or can't be written.
    """
    files = {subject: subject_files(directory, subject) for subject in find_subjects(directory)}
    calls = {
        subject: (paths["motion"], LAYOUT["summary"].path(directory, subject))
        for subject, paths in files.items()
        if "motion" in paths
    }
    outcomes = in_threads(_prepare_one, calls, jobs or os.cpu_count(), DataError, on_progress)
    failures = [str(one) for one in outcomes.values() if isinstance(one, DataError)]
    if failures:
        count = f"{len(failures)} of {len(calls)} nights not prepared:"
        raise DataError("\n".join([count, *sorted(set(failures))]))
    made = tuple(sorted(subject for subject, is_new in outcomes.items() if is_new))
    kept = tuple(sorted(outcomes.keys() - set(made)))
    return PrepareReport(made, kept, tuple(one for one in files if one not in calls))


def _prepare_one(raw: Path, summary: Path) -> bool:
    """Make one summary; false if there is one already that was made from the same file."""
    source = fingerprint(raw)
    if summary.is_file() and summary_source(summary) == source:
        return False
    if _is_of_others(summary):
        raise DataError(f"{summary} was not made from raw motion by this program: move it away")
    _require_writable(summary.parent)
    summaries = summarise_file(raw)
    columns = LAYOUT["summary"].columns
    frame = pl.DataFrame(dict(zip(columns, (summaries.times, *summaries.values.T), strict=True)))
    with write_atomically(summary) as temporary:
        frame.write_parquet(temporary, metadata={"source": source})
    as_csv = summary.with_suffix(".csv")  # which earlier versions wrote on request
    if as_csv.exists() and summary_source(as_csv) not in {source, None}:
        as_csv.unlink()  # made from an earlier state of the raw file
    return True


def _require_writable(folder: Path) -> None:
    """Refuse a folder before a night is summarised for it."""
    try:
        folder.mkdir(exist_ok=True)
        TemporaryFile(dir=folder).close()
    except OSError as error:
        raise DataError(
            f"{folder}: summaries can't be written to this folder ({error.strerror}); make it "
            "writable, or copy the dataset to where you can write"
        ) from error


def _is_of_others(summary: Path) -> bool:
    """Recognise a whole table that does not state its source; a damaged one is replaced."""
    if summary.is_file() and summary_source(summary) is None:
        with suppress(DataError):
            LAYOUT["summary"].read(summary)
            return True
    return False
