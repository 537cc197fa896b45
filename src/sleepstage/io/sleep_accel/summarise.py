"""Raw motion to summary files, once: 2 GB of text become 2 MB that read in no time."""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from sleepstage._utils.files import fingerprint, write_atomically
from sleepstage._utils.parallel import in_threads
from sleepstage.errors import DataError
from sleepstage.io.sleep_accel.read import (
    LAYOUT,
    SIMULATED_MARKER,
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
    directory: str | Path,
    out: str | Path | None = None,
    *,
    form: Literal["parquet", "csv"] = "parquet",
    jobs: int | None = None,
    on_progress: Progress | None = None,
) -> PrepareReport:
    """Summarise the raw motion of a dataset, `jobs` nights at once, only where it changed.

    Summaries go into `directory` or, beside copies of the small files, into `out`, so that it is a
    dataset of its own. By default one night a core is summarised at a time.

    Raises `DataError` if `out` holds another dataset; and, when the other nights are finished, if
    raw motion is broken or a summary was not made here.
    """
    directory = Path(directory)
    target = Path(out) if out is not None else directory
    files = {subject: subject_files(directory, subject) for subject in find_subjects(directory)}
    raw = {subject: paths["motion"] for subject, paths in files.items() if "motion" in paths}
    without_motion = tuple(subject for subject in files if subject not in raw)
    if target.resolve() != directory.resolve():
        _copy_small_files(files, directory, target)
    table = LAYOUT["summary_csv" if form == "csv" else "summary"]
    targets = {subject: (path, table.path(target, subject)) for subject, path in raw.items()}
    outcomes = in_threads(_prepare_one, targets, jobs or os.cpu_count(), DataError, on_progress)
    failures = sorted(str(one) for one in outcomes.values() if isinstance(one, DataError))
    if failures:
        msg = "\n".join([f"{len(failures)} of {len(raw)} nights not prepared:", *failures])
        raise DataError(msg)
    made = tuple(sorted(subject for subject, is_new in outcomes.items() if is_new))
    kept = tuple(sorted(outcomes.keys() - set(made)))
    return PrepareReport(made, kept, without_motion)


def _copy_small_files(
    subjects: Mapping[str, Mapping[str, Path]], directory: Path, target: Path
) -> None:
    """Copy all but raw motion, and the summaries that will be made of it; never over others."""
    marker, folders = directory / SIMULATED_MARKER, {one.folder for one in LAYOUT.values()}
    taken = any((target / folder).exists() for folder in folders)
    copies = {marker: target / SIMULATED_MARKER} if marker.exists() else {}
    if taken and marker.exists() != (target / SIMULATED_MARKER).exists():
        msg = f"either {directory} or {target} is simulated: name an empty folder with --out"
        raise DataError(msg)
    for files in subjects.values():
        made_here = {"motion", "summary", "summary_csv"} if "motion" in files else {}
        for name, path in files.items():
            if name not in made_here:
                copies[path] = target / LAYOUT[name].folder / path.name
    missing = {path: copy for path, copy in copies.items() if not copy.exists()}
    for path, copy in copies.items():
        if path not in missing and fingerprint(path) != fingerprint(copy):
            raise DataError(
                f"{copy} differs from {path}: remove it if it is an old copy, or name another "
                "folder with --out"
            )
    for path, copy in missing.items():
        with write_atomically(copy) as temporary:
            shutil.copyfile(path, temporary)


def _prepare_one(raw: Path, summary: Path) -> bool:
    """Make one summary; false if there is one already that was made from the same file."""
    source = fingerprint(raw)
    if summary.is_file() and summary_source(summary) == source:
        return False
    if _is_of_others(summary):
        raise DataError(f"{summary} was not made from raw motion by this program: move it away")
    summaries = summarise_file(raw)
    columns = LAYOUT["summary"].columns
    frame = pl.DataFrame(dict(zip(columns, (summaries.times, *summaries.values.T), strict=True)))
    with write_atomically(summary) as temporary:
        if summary.suffix == ".parquet":
            frame.write_parquet(temporary, metadata={"source": source})
        else:
            body = frame.write_csv(float_precision=5)
            temporary.write_text(f"# source {source}\n{body}", encoding="utf-8")
    other = summary.with_suffix(".csv" if summary.suffix == ".parquet" else ".parquet")
    if other.exists() and summary_source(other) not in {source, None}:
        other.unlink()  # made from an earlier state of the raw file
    return True


def _is_of_others(summary: Path) -> bool:
    """Recognise a whole table that does not state its source; a damaged one is replaced."""
    if summary.is_file() and summary_source(summary) is None:
        with suppress(DataError):
            LAYOUT["summary"].read(summary)
            return True
    return False
