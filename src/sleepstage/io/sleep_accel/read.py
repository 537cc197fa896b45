"""The PhysioNet set sleep-accel (Walch 2019, DOI 10.13026/hmhs-py35), as downloaded or prepared.

Layout: ``heart_rate/<id>_heartrate.txt``, ``labels/<id>_labeled_sleep.txt``,
``steps/<id>_steps.txt`` and ``motion/<id>_acceleration.txt`` or, in place of the latter, its
summary ``motion_15s/<id>_motion_15s.parquet`` (or ``.csv``). Any of them may be missing.
"""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sleepstage._utils.files import fingerprint
from sleepstage.core.motion import MOTION_COLUMNS, summarise_night
from sleepstage.core.recording import LONGEST_NIGHT, Recording
from sleepstage.core.samples import Samples
from sleepstage.errors import DataError
from sleepstage.io.columns import read_parquet, require_numbers
from sleepstage.io.files import explaining, read_text_table, reading, table_errors
from sleepstage.io.source import Floats, Signal, Source, attribution, times_and_values
from sleepstage.stages import EPOCH_SECONDS, Stage, stages_from_codes

ATTRIBUTION: Final = attribution(
    "PhysioNet sleep-accel 1.0.0",
    "10.13026/hmhs-py35",
    "'Motion and heart rate from a wrist-worn wearable and labeled sleep from polysomnography' "
    "(Walch 2019)",
)
"""What a model file states about the dataset."""

CHECKSUMS: Final = "SHA256SUMS.txt"
"""The published list of files, which `sleepstage data fetch` leaves beside them."""

ENVIRONMENT_VARIABLE: Final = "SLEEPSTAGE_DATA"
"""Names the folder of the dataset, if no option does."""

GRID_TOLERANCE: Final = 1e-6  # epochs: label times are decimal numbers
STEP_BIN_SECONDS: Final = 600
"""Steps are stamped with the start of a bin of this length, and known at its end."""

SIMULATED_MARKER: Final = "SIMULATED.txt"
"""A file of this name in the dataset's folder marks its nights as simulated."""


@dataclass(frozen=True)
class Table:
    """One kind of file of the dataset."""

    folder: str
    ending: str
    separator: str
    columns: tuple[str, ...]
    header: bool = False

    def path(self, directory: str | Path, subject: str) -> Path:
        """Where the file of a subject is, or would be."""
        return Path(directory) / self.folder / f"{subject}{self.ending}"

    def read(self, path: Path) -> Floats:
        """All rows of a file of this kind, shape (n_rows, n_columns).

        Raises `DataError` if it is missing or broken; names the line of a text file.
        """
        if path.suffix != ".parquet":
            return read_text_table(path, self.columns, separator=self.separator, header=self.header)
        what = f"{path}: not a motion summary"
        with explaining(what, "prepare it again", *table_errors()), reading(path):
            frame = read_parquet(path, self.columns)
            require_numbers(path, frame)
            return np.column_stack([column.cast(float).to_numpy() for column in frame])


_SUMMARY_COLUMNS: Final = ("t_s", *MOTION_COLUMNS)
LAYOUT: Final = {
    "heart_rate": Table("heart_rate", "_heartrate.txt", ",", ("seconds", "bpm")),
    "labels": Table("labels", "_labeled_sleep.txt", " ", ("seconds", "stage")),
    "steps": Table("steps", "_steps.txt", ",", ("seconds", "steps")),
    "motion": Table("motion", "_acceleration.txt", " ", ("seconds", "x", "y", "z")),
    "summary": Table("motion_15s", "_motion_15s.parquet", ",", _SUMMARY_COLUMNS, header=True),
    "summary_csv": Table("motion_15s", "_motion_15s.csv", ",", _SUMMARY_COLUMNS, header=True),
}
"""Every kind of file by its name."""


def find_data(given: str | Path | None = None) -> Path:
    """Where the dataset lies: in `given` or, without it, in `ENVIRONMENT_VARIABLE`.

    Without both, it is looked for in ``data/sleep-accel`` and ``../shared/sleep-accel``. Raises
    `DataError` if there is none.
    """
    if given is None:
        given = os.environ.get(ENVIRONMENT_VARIABLE) or None
    usual = ("data/sleep-accel", "../shared/sleep-accel")
    places = [Path(place) for place in (usual if given is None else (given,))]
    for place in places:
        if place.is_dir():
            return place
    raise DataError(
        f"no dataset at {' or '.join(map(str, places))}; name its folder with --data or "
        f"${ENVIRONMENT_VARIABLE}, or get it with: sleepstage data fetch"
    )


def find_subjects(directory: str | Path) -> list[str]:
    """Ids of all subjects of whom any signal or label is there, sorted.

    Raises `DataError` if `directory` has none of the dataset's files.
    """
    directory = Path(directory)
    subjects = [found.name for found in find(directory, ())]
    if not subjects:
        folders = ", ".join(dict.fromkeys(f"{table.folder}/" for table in LAYOUT.values()))
        raise DataError(f"{directory}: not a sleep-accel dataset; expected files in {folders}")
    return subjects


def subject_files(directory: str | Path, subject: str) -> dict[str, Path]:
    """Paths of the files that are there of a subject, by the names of `LAYOUT`."""
    paths = {name: table.path(directory, subject) for name, table in LAYOUT.items()}
    return {name: path for name, path in paths.items() if path.exists()}


def read_subject(directory: str | Path, subject: str) -> Recording:
    """One night of the dataset, in seconds since the start of polysomnography.

    Raw motion is summarised on the way, unless there is a summary that was made from it. Raises
    `DataError` if the subject is unknown or a file is broken; names file and line.
    """
    files = subject_files(directory, subject)
    if not files:
        known = ", ".join(find_subjects(directory)[:5])
        raise DataError(f"{directory}: no subject {subject!r}; there are {known}, …")
    beats, steps = (
        times_and_values(LAYOUT[name].read(files[name])) if name in files else None
        for name in ("heart_rate", "steps")
    )
    start, stages = read_labels(files["labels"]) if "labels" in files else (None, None)
    motion_file, motion = _read_motion(files)
    if beats is None and motion is None and stages is None:
        raise DataError(f"{directory}, subject {subject}: a recording needs heart rate or motion")
    return Recording.from_arrays(
        heart_rate=beats,
        motion=motion,
        steps=None if steps is None else (steps[0] + STEP_BIN_SECONDS, steps[1]),
        start=start,
        stages=stages,
        subject=subject,
        simulated=(Path(directory) / SIMULATED_MARKER).exists(),
        dataset=_dataset(Path(directory), files),
        names={name: str(path) for name, path in files.items()} | {"motion": str(motion_file)},
    )


def _dataset(directory: Path, files: Mapping[str, Path]) -> str:
    """Name of the published set, if its list of checksums has these labels; else nothing.

    Other people's nights may lie in the same layout, and then are not the published set.
    """
    sums = directory / CHECKSUMS
    if "labels" not in files or not sums.is_file():
        return ""
    digest = fingerprint(files["labels"])
    with reading(sums):
        listed = sums.read_text(encoding="utf-8", errors="replace").lower().split()
    return ATTRIBUTION["name"] if digest in listed else ""


def read_labels(path: Path) -> tuple[float, NDArray[np.int8]]:
    """Start of the first epoch and the stage of each epoch; epochs without a line are unscored.

    Raises `DataError` if a line is broken, off the 30 s grid, twice there or holds an unknown
    stage.
    """
    times, codes = LAYOUT["labels"].read(path).T
    start = float(times.min())
    with np.errstate(all="ignore"):  # absurd times are found here
        epochs = (times - start) / EPOCH_SECONDS
        too_late = ~(epochs * EPOCH_SECONDS < LONGEST_NIGHT)
        off_grid = np.abs(epochs - np.round(epochs)) > GRID_TOLERANCE
    for wrong, reason in (
        (too_late, f"more than {LONGEST_NIGHT // 3600} h after the first label"),
        (off_grid, f"off the {EPOCH_SECONDS} s grid of the labels before"),
    ):
        if wrong.any():
            at = int(np.argmax(wrong))
            msg = f"{path}, row {at + 1}: {times[at]:.10g} s is {reason}; correct the time"
            raise DataError(msg)
    position = np.round(epochs).astype(np.int64)
    if len(np.unique(position)) < len(position):
        repeated = float(times[np.argmax(np.bincount(position)[position] > 1)])
        raise DataError(f"{path}: the epoch at {repeated:g} s is labelled twice")
    try:
        known = stages_from_codes(codes)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    stages = np.full(int(position.max()) + 1, Stage.UNSCORED, dtype=np.int8)
    stages[position] = known
    return start, stages


def _read_motion(files: Mapping[str, Path]) -> tuple[Path | None, Signal | None]:
    """The file and its summaries; from raw motion if no summary was made from it as it is."""
    raw = files.get("motion")
    source = None if raw is None else fingerprint(raw)
    for name in ("summary", "summary_csv"):
        path = files.get(name)
        if path is not None and (raw is None or summary_source(path) == source):
            return path, times_and_values(LAYOUT[name].read(path))
    if raw is None:
        return None, None
    summaries = summarise_file(raw)
    return raw, (summaries.times, summaries.values)


def summarise_file(path: Path) -> Samples:
    """Summaries of a file of raw motion in g, on the grid of the dataset's clock."""
    rows = LAYOUT["motion"].read(path)
    acceleration = Samples.clean(rows[:, 0], rows[:, 1:], name=str(path), columns=3)
    return summarise_night(acceleration, name=str(path))


def summary_source(path: Path) -> str | None:
    """Fingerprint of the raw motion that a summary was made from, None if it is not stated."""
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", errors="replace") as file:
            first = file.readline().split()
        return first[-1] if first[:2] == ["#", "source"] else None
    import polars as pl

    with suppress(OSError, *table_errors()):
        return pl.read_parquet_metadata(path).get("source")
    return None


def find(directory: Path, _: Sequence[Path]) -> list[Source]:
    """People by the names of their files; the folder is the dataset's own."""
    files = defaultdict(list)
    for table in LAYOUT.values():
        folder = directory / table.folder
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name.endswith(table.ending) and not path.name.startswith("."):
                files[path.name.removesuffix(table.ending)].append(path)
    # Wherever the files are copied to, they must go on saying that they are simulated.
    marker = [one for one in (directory / SIMULATED_MARKER,) if files and one.is_file()]
    subjects = sorted(files, key=lambda name: (len(name), name))
    return [Source(subject, (*files[subject], *marker)) for subject in subjects]


def read_files(files: Sequence[Path]) -> Recording:
    """The night of somebody, by one of the files."""
    path = files[0]
    (ending,) = (table.ending for table in LAYOUT.values() if path.name.endswith(table.ending))
    return read_subject(path.parents[1], path.name.removesuffix(ending))
