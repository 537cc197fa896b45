"""A night from tables: CSV or Parquet, one file a signal or all in one.

Columns are found by name, in any order and case. A file without names may hold one signal, whose
columns are taken in the order of `read_tables`.

The app that recorded the dataset sleep-accel (github.com/ojwalch/sleep_accel) writes two tables a
night, named after the Unix second in which the recording began: ``<start>_acceleration.csv``, in g
and with a header, and ``<start>_hr.csv`` without one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sleepstage.core.recording import Recording
from sleepstage.errors import DataError
from sleepstage.io.columns import read_columns, signals_of
from sleepstage.io.source import Format, Found, one_night

if TYPE_CHECKING:
    from collections.abc import Sequence

_ENDINGS: Final = {
    "heart_rate": "hr|heart[ _-]?rate|bpm",
    "motion": "motion|acc|accel|acceleration|accelerometer",
    "steps": "steps?",
}
_APP_NAME: Final = re.compile(r"(\d{9,10})_(?:acceleration|hr)\.csv")
_APP_HEADER: Final = b"Timestamp,x,y,z"


def read_tables(
    *,
    heart_rate: str | Path | None = None,
    motion: str | Path | None = None,
    steps: str | Path | None = None,
    start: float | None = None,
    end: float | None = None,
    subject: str = "",
) -> Recording:
    """Read a night from up to three files, which may be one and the same.

    A file is Parquet by its ending, else text: separated by comma, semicolon, tab or space. With
    a header the columns are found by name, without one they are taken in this order: ``time, bpm``;
    ``time, x, y, z`` in g, or 15 s summaries ``time, counts, peak_x_g, peak_y_g, peak_z_g``;
    ``time, steps``, those since the row before. Times are on one clock: Unix time in seconds,
    milli-, micro- or nanoseconds, recognised by their size; seconds since any start; or ISO 8601,
    which is UTC where it names no offset. A row may leave a signal blank.

    For `start`, `end` and `subject` see `Recording.from_arrays`. Raises `DataError` if a file is
    broken, naming its line or column, or if nothing is given.
    """
    given = {"heart_rate": heart_rate, "motion": motion, "steps": steps}
    files = {name: Path(path) for name, path in given.items() if path is not None}
    signals = {name: read_columns(path, name) for name, path in files.items()}
    pairs: dict[str, Any] = {name: (one.times, one.values) for name, one in signals.items()}
    return Recording.from_arrays(
        **pairs,
        start=start,
        end=end,
        subject=subject,
        utc_offset=next((one.utc_offset for one in signals.values()), 0),
        names={name: str(path) for name, path in files.items()},
    )


def table_signals(path: Path) -> list[str]:
    """Signals that a file can hold, by its columns or its name."""
    return signals_of(path, _split(path)[1])


def _split(path: Path) -> tuple[str, str | None]:
    """Name of a file without the part that names its signal, and that signal."""
    stem = path.name.removesuffix(path.suffix)
    for signal, endings in _ENDINGS.items():
        found = re.fullmatch(rf"(.*?)(?:^|[ _.-])(?:{endings})", stem, re.IGNORECASE)
        if found:
            return found[1].rstrip(" _.-"), signal
    return stem, None


def _find(_: Path, files: Sequence[Path]) -> list[Found]:
    """Files whose names differ only in the signal belong together."""
    groups = defaultdict(list)
    for path in files:
        try:
            signals = table_signals(path)
        except DataError:  # an empty file is no table
            continue
        if signals:
            groups[_split(path)[0]].append(path)
    return [Found(name, tuple(paths)) for name, paths in groups.items()]


def _read_together(files: Sequence[Path]) -> Recording:
    chosen: dict[str, Path] = {}
    for path in files:
        for signal in table_signals(path):
            if signal in chosen:
                name = signal.replace("_", " ")
                msg = f"{path}: has {name}, and so has {chosen[signal].name}; keep one of them"
                raise DataError(msg)
            chosen[signal] = path
    return read_tables(**chosen)  # type: ignore[arg-type]  # its keywords are the signals


FORMAT: Final = Format(
    "tables",
    "tables (CSV or Parquet with time, bpm, x, y, z or steps)",
    _find,
    one_night(_read_together),
)


def _find_app(_: Path, files: Sequence[Path]) -> list[Found]:
    nights = defaultdict(list)
    for path in files:
        found = _APP_NAME.fullmatch(path.name)
        if found:
            nights[found[1]].append(path)
    return [
        Found(name, tuple(one)) for name, one in nights.items() if any(map(_is_app_motion, one))
    ]


def _is_app_motion(path: Path) -> bool:
    if not path.name.endswith("_acceleration.csv"):
        return False
    with path.open("rb") as file:
        return file.read(len(_APP_HEADER)) == _APP_HEADER


def _read_app(files: Sequence[Path]) -> Recording:
    return read_tables(**{_split(path)[1]: path for path in files})  # type: ignore[arg-type]


APP_FORMAT: Final = Format(
    "sleep-accel-app",
    "a night of the app sleep_accel (<start>_acceleration.csv, <start>_hr.csv)",
    _find_app,
    one_night(_read_app),
)
