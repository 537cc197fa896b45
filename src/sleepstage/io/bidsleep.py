"""Nights of the PhysioNet set BIDSleep (Song 2026, DOI 10.13026/hace-p847).

Layout: ``<person>/<night>/`` with ``motion.csv`` (Unix seconds and g, about 50 Hz), ``hr.csv``
(Unix seconds and beats per minute, no header) and ``labels.mat`` (MATLAB 5). A person has several
nights. The watch was started and stopped by hand: its signals begin some minutes before or up to
most of an hour after the labels, and may go on for days.
"""

import struct
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from sleepstage.core.hypnogram import show_time
from sleepstage.core.recording import OF_PERSON, Recording
from sleepstage.errors import DataError, needs_extra
from sleepstage.io.clocks import offset_at
from sleepstage.io.files import MAX_MATLAB_BYTES, explaining, read_text_table, reading
from sleepstage.io.source import Floats, Source, attribution, times_and_values
from sleepstage.stages import EPOCH_SECONDS, Stage

ATTRIBUTION: Final = attribution(
    "PhysioNet BIDSleep 1.0.0",
    "10.13026/hace-p847",
    "'A Multi-Night Instantaneous Heart Rate and Accelerometry Dataset with EEG Sleep Stage "
    "Labels' (Song 2026)",
)
"""What a model file states about the dataset."""

_LABELS: Final = "labels.mat"
_FILES: Final = {"motion": "motion.csv", "heart_rate": "hr.csv"}
_COLUMNS: Final = {"motion": ("Timestamp", "x", "y", "z"), "heart_rate": ("seconds", "bpm")}
_HEADER: Final = 128  # bytes before the first element of a MATLAB file
_MATRIX, _COMPRESSED = 14, 15  # kinds of elements
_ZONE: Final = "America/New_York"
_EARLIEST, _LATEST = -600.0, 2940.0  # s from the first label to the first sample, in all nights
_CLOCK: Final = "%Y-%m-%d %H:%M:%S"
_FIRST_YEAR, _LAST_YEAR = 1970, 2262
_STAGES: Final = (Stage.WAKE, Stage.N1, Stage.N2, Stage.N3, Stage.REM, Stage.UNSCORED)
"""By their codes in ``labels.mat``."""


def read_night(files: Sequence[Path]) -> Recording:
    """One night of the dataset, in Unix seconds, from the first labelled epoch to the last.

    The files are of one folder; either signal may be missing. Samples from before are kept
    as history, those from after are left out. The headband's own labels are not read.

    Raises `DataError` if a file is broken, naming it, or if signals and labels are not of the same
    night; `MissingExtraError` if scipy is not installed.
    """
    folder = files[0].parent
    clock, stages = _read_labels(folder / _LABELS)
    signals = _read_signals(folder)
    first = float(next(iter(signals.values()))[:, 0].min())
    start, utc_offset = _moment(clock, first)
    end = start + EPOCH_SECONDS * len(stages)
    _require_overlap(folder, signals, start, end)
    before = {name: rows[rows[:, 0] < end] for name, rows in signals.items()}
    kept = {name: times_and_values(rows) for name, rows in before.items() if len(rows)}
    return Recording.from_arrays(
        heart_rate=kept.get("heart_rate"),
        motion=kept.get("motion"),
        start=start,
        end=end,
        stages=stages,
        subject=f"{folder.absolute().parent.name}{OF_PERSON}{folder.absolute().name}",
        dataset=ATTRIBUTION["name"],
        utc_offset=utc_offset,
        names={name: str(folder / file) for name, file in _FILES.items()},
    )


def _read_signals(folder: Path) -> dict[str, Floats]:
    """Rows of the files that are there, motion first, which alone has a header."""
    paths = {name: folder / file for name, file in _FILES.items() if (folder / file).exists()}
    if not paths:
        msg = f"{folder}: a recording needs heart rate or motion; expected hr.csv, motion.csv"
        raise DataError(msg)
    return {
        name: read_text_table(path, _COLUMNS[name], separator=",", header=name == "motion")
        for name, path in paths.items()
    }


def _require_overlap(folder: Path, signals: Mapping[str, Floats], start: float, end: float) -> None:
    times = np.concatenate([rows[:, 0] for rows in signals.values()])
    if not ((times >= start) & (times < end)).any():
        raise DataError(
            f"{folder}: no sample while it was scored: labels go from {show_time(start)} to "
            f"{show_time(end)}, signals from {show_time(times.min())} to {show_time(times.max())}; "
            "are they of one night?"
        )


def _moment(clock: datetime, first: float) -> tuple[float, int]:
    """Unix time of a local time, and seconds by which its clocks are ahead of UTC.

    In autumn an hour comes twice: then the time is meant from which on the first sample comes when
    first samples come.
    """
    try:
        zone = ZoneInfo(_ZONE)
    except ZoneInfoNotFoundError as error:
        msg = f"this computer does not know the time zone {_ZONE}: pip install tzdata"
        raise DataError(msg) from error
    readings = [clock.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1)]
    # By how much the first sample would be earlier, or later, than in any night.
    start = min(readings, key=lambda at: max(_EARLIEST - (first - at), first - at - _LATEST, 0.0))
    return start, offset_at(start, _ZONE)


def _read_labels(path: Path) -> tuple[datetime, NDArray[np.int8]]:
    """When the first epoch began, by the local clock, and the expert's stages."""
    with needs_extra("reading BIDSleep", "train"):
        from scipy.io import loadmat
    wanted = ["recStart", "expert_label"]
    with reading(path):
        MAX_MATLAB_BYTES.require(path.stat().st_size, str(path))
        content = path.read_bytes()
    # scipy fails in many ways over a damaged file.
    with explaining(f"{path}: can't be read as a file of MATLAB 5", "get it again", Exception):
        MAX_MATLAB_BYTES.require(_unpacked_size(content), str(path))
        found = loadmat(BytesIO(content), variable_names=wanted)
    for name in wanted:
        if name not in found:
            raise DataError(f"{path}: has no {name}; expected {' and '.join(wanted)}")
    return _clock(path, found["recStart"]), _stages(path, found["expert_label"])


def _unpacked_size(content: bytes) -> int:
    """Follow the elements to the end of the file: over one that is cut short, scipy may crash.

    Their bytes, those of compressed ones unpacked, are counted until they are too many.
    """
    most = MAX_MATLAB_BYTES.value + 1
    total = 0
    order = "<" if content[_HEADER - 2 : _HEADER] == b"IM" else ">"
    at = _HEADER
    while at < len(content):
        kind, size = struct.unpack_from(f"{order}II", content, at)
        if kind not in (_MATRIX, _COMPRESSED):
            raise ValueError(f"unknown element {kind}")
        if kind == _COMPRESSED and total < most:
            packed = content[at + 8 : at + 8 + size]
            total += len(zlib.decompressobj().decompress(packed, most - total))
        at += 8 + size
    if at != len(content):
        raise ValueError("cut short")
    return total


def _clock(path: Path, value: Any) -> datetime:
    while isinstance(value, np.ndarray) and value.size == 1:  # a string, or a cell that holds one
        value = value.item()
    try:
        clock = datetime.strptime(value, _CLOCK)
    except (TypeError, ValueError):
        clock = datetime.min
    if not _FIRST_YEAR <= clock.year <= _LAST_YEAR:
        raise DataError(
            f"{path}: expected a time such as 2024-03-12 23:00:00 as recStart, found {value!r:.60}"
        )
    return clock


def _stages(path: Path, codes: NDArray[Any]) -> NDArray[np.int8]:
    codes = np.ravel(codes)
    if not len(codes) or codes.dtype.kind not in "uif":
        msg = f"{path}: expected a number for each epoch as expert_label, found {codes!r:.60}"
        raise DataError(msg)
    unknown = ~np.isin(codes, range(len(_STAGES)))
    if unknown.any():
        at = int(np.argmax(unknown))
        raise DataError(
            f"{path}: unknown code {codes[at]:g} at epoch {at + 1} of expert_label; expected 0 to 5"
        )
    return np.array(_STAGES, dtype=np.int8)[codes.astype(np.intp)]


def find(_: Path, files: Sequence[Path]) -> list[Source]:
    """The night of a folder."""
    here = {path.name: path for path in files}
    together = tuple(here[name] for name in (*_FILES.values(), _LABELS) if name in here)
    # By their names: where the labels are damaged, it shall not be taken for a night without any.
    return [Source("", together)] if _LABELS in here and len(together) > 1 else []
