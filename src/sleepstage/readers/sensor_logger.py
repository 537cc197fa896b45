"""Recordings of the app Sensor Logger: a zip of CSV files, the same unpacked, or JSON.

The app and its formats are described at https://github.com/tszheichoi/awesome-sensor-logger
(README.md, UNITS.md, CROSSPLATFORM.md). Of a recording, three sensors are used: Heart Rate, Wrist
Motion and Pedometer. What the app pushes to the service has the same sensors, fields and units;
they are told here for both.
"""

from __future__ import annotations

import csv
import logging
import math
import re
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from sleepstage.errors import DataError, MissingExtraError
from sleepstage.pedometer import Pedometer, count_steps
from sleepstage.readers.archive import member_names, open_member
from sleepstage.readers.source import Format, Found, Night
from sleepstage.readers.text import open_error
from sleepstage.recording import Recording
from sleepstage.samples import Samples

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl
    from numpy.typing import NDArray

    from sleepstage.readers.source import Progress

__all__ = ["FIELDS", "FORMAT", "motion_in_g", "sample_row", "sensor_named", "times_and_values"]

_log = logging.getLogger(__name__)

FIELDS: Final = {
    "heartrate": ("bpm",),
    "wristmotion": (
        *("gravityX", "gravityY", "gravityZ"),
        *("accelerationX", "accelerationY", "accelerationZ"),
    ),
    "pedometer": ("steps",),
}
"""Of each sensor that is used, as `sensor_named` calls it, the fields that are."""

_NEEDED: Final = frozenset(("heartrate", "wristmotion"))  # one of them
_METADATA: Final = "metadata"
_ZONE: Final = "recording timezone"
_PLAIN: Final = str.maketrans("", "", " -_")

_END_OF_TIME: Final = 2.0**63  # ns, the year 2262: what the app's own clock can hold
_GRAVITY: Final = 9.80665  # m/s², as the app has it
_SLACK: Final = 0.1  # of the length of gravity, in g
_HARDEST: Final = 300.0  # g: no watch measures more

_BEGINNING: Final = 1 << 16  # bytes in which it shows what a file is
_BLOCK: Final = 1 << 23  # bytes of CSV, and
_ROWS: Final = 1 << 14  # rows of JSON that are read at once: a night of motion has 300 MB
_ARRAY: Final = re.compile(rb"\s*\[\s*\{")
_KEYS: Final = (re.compile(rb'"sensor"\s*:'), re.compile(rb'"time"\s*:'))


# What a sample is, in files and in pushes


def sensor_named(name: object) -> str:
    """Plain name of a sensor, which the app writes in several ways; empty if it is no text."""
    return name.translate(_PLAIN).lower() if isinstance(name, str) else ""


def sample_row(time: object, values: dict[str, Any], fields: Sequence[str]) -> list[float] | None:
    """Time in seconds, of one in nanoseconds, and values; None if one of them is no number."""
    nanoseconds = _number(time)
    if not 0 < nanoseconds < _END_OF_TIME:
        return None
    row = [nanoseconds / 1e9]
    row.extend(_number(values.get(name)) for name in fields)
    return row if all(map(math.isfinite, row)) else None


def _number(value: Any) -> float:
    """Of a number or its text, in which large ones come; NaN if it is neither."""
    if type(value) not in (float, int, str):
        return math.nan
    try:
        return float(value)
    except (OverflowError, ValueError):
        return math.nan


def motion_in_g(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Acceleration with gravity in Apple's axes; left out is where gravity does not tell the unit.

    Parameters
    ----------
    rows : ndarray of float64, shape (n, 7)
        Time, gravity and acceleration without it, in g or, if the app standardises, in m/s².

    Returns
    -------
    ndarray of float64, shape (m, 4)
        Time and x, y, z in g.
    """
    if not len(rows):
        return np.empty((0, 4))
    gravity, own = rows[:, 1:4], rows[:, 4:7]
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is not known
        length = np.linalg.norm(gravity, axis=1)
        # "Standardise Units & Frames" gives m/s² and Android's axes, which are the negative ones.
        factor = np.select([_near_one(length), _near_one(length / _GRAVITY)], [1, -1 / _GRAVITY], 0)
        xyz = (gravity + own) * factor[:, np.newaxis]
        known = (factor != 0) & (np.linalg.norm(xyz, axis=1) < _HARDEST)
    table: NDArray[np.float64] = np.column_stack([rows[known, 0], xyz[known]])
    return table


def _near_one(length: NDArray[np.float64]) -> NDArray[np.bool_]:
    near: NDArray[np.bool_] = np.abs(length - 1) < _SLACK
    return near


def times_and_values(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows as `Samples` take them."""
    return rows[:, 0], rows[:, 1] if rows.shape[1] == 2 else rows[:, 1:]


# Which files are recordings


class _Place(NamedTuple):
    """A file, or one in an archive."""

    path: Path
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}, {self.member}" if self.member else str(self.path)


def _find(_: Path, files: Sequence[Path]) -> list[Found]:
    found = [Found(_stem(path), (path,)) for path in files if _holds_recording(path)]
    together = _unpacked(files)
    return [*found, Found("", together)] if together else found


def _stem(path: Path) -> str:
    return path.name.removesuffix(path.suffix)


def _holds_recording(path: Path) -> bool:
    if path.suffix.lower() == ".zip":
        try:
            names = member_names(path)
        except DataError:  # who looked for files says so
            return False
        return names is not None and not _NEEDED.isdisjoint(
            sensor for sensor, _ in map(_sensor_of, names)
        )
    if path.suffix.lower() != ".json":
        return False
    with path.open("rb") as file:
        beginning = file.read(_BEGINNING)
    return _ARRAY.match(beginning) is not None and all(key.search(beginning) for key in _KEYS)


def _unpacked(files: Sequence[Path]) -> tuple[Path, ...]:
    """Files of a recording in a folder: the other sensors' too, lest they be taken for tables."""
    sensors = {path: _sensor_of(path.name)[0] for path in files}
    if _NEEDED.isdisjoint(sensors.values()):
        return ()
    ours = tuple(
        path
        for path, sensor in sensors.items()
        if sensor == _METADATA or (sensor and _has_times(path))
    )
    return () if _NEEDED.isdisjoint(map(sensors.__getitem__, ours)) else ours


def _has_times(path: Path) -> bool:
    with path.open("rb") as file:
        return {"time", "seconds_elapsed"} <= set(_header(file))


def _sensor_of(name: str) -> tuple[str, PurePosixPath]:
    """Sensor whose table a file is by its name, and where it lies; empty if it is no table."""
    path = PurePosixPath(name.replace("\\", "/"))
    known = path.suffix.lower() == ".csv" and len(path.parts) <= 2
    return sensor_named(path.stem) if known else "", path.parent


def _header(file: IO[bytes]) -> list[str]:
    """Names in the first line; what is no text gives names that nobody looks for."""
    line = file.readline(_BEGINNING).decode("utf-8-sig", errors="replace").strip()
    return [name.strip() for name in next(csv.reader([line]), [])]


# Reading


@dataclass
class _Table:
    """What one sensor measured, as it is read.

    Attributes
    ----------
    sensor, name : str
        As `sensor_named` calls it, and for error messages.
    """

    sensor: str
    name: str
    _n_read: int = 0
    _parts: list[NDArray[np.float64]] = field(default_factory=list)
    _waiting: list[list[float]] = field(default_factory=list)

    def add(self, rows: NDArray[np.float64]) -> None:
        """Add rows of time in seconds and the sensor's fields."""
        self._n_read += len(rows)
        self._parts.append(motion_in_g(rows) if self.sensor == "wristmotion" else rows)

    def add_row(self, row: list[float]) -> None:
        """Add a single row; many are kept in an array, which takes less."""
        self._waiting.append(row)
        if len(self._waiting) == _ROWS:
            self._settle()

    def _settle(self) -> None:
        if self._waiting:
            self.add(np.array(self._waiting))
            self._waiting.clear()

    def joined(self) -> NDArray[np.float64]:
        """Rows of time and values, motion in g."""
        self._settle()
        rows = np.concatenate(self._parts) if self._parts else np.empty((0, 2))
        n_unknown = self._n_read - len(rows)
        if n_unknown > len(rows):
            msg = (
                f"{self.name}: gravity is neither 1 g nor {_GRAVITY} m/s² long in {n_unknown} of "
                f"{self._n_read} samples, so that the unit is not known; are the columns swapped?"
            )
            raise DataError(msg)
        if n_unknown:
            _log.warning("%s: left out %d samples of unknown unit", self.name, n_unknown)
        return rows


class _Content(NamedTuple):
    """What is in a recording: tables by sensor, its time zone, and all sensors it has."""

    tables: dict[str, _Table]
    zone: str
    has: Sequence[str]


def _read(files: Sequence[Path], _: Progress | None) -> list[Night]:
    return [Night("", partial(_read_night, tuple(files)))]


def _read_night(files: Sequence[Path]) -> Recording:
    first = files[0]
    names = member_names(first)
    if names is not None:
        return _recording(_read_csv(_members(first, names)), first)
    if first.suffix.lower() == ".json":
        return _recording(_read_json(first), first)
    places = {_sensor_of(path.name)[0]: _Place(path) for path in files}
    return _recording(_read_csv(places), first.parent)


def _recording(content: _Content, path: Path) -> Recording:
    tables = {sensor: table.joined() for sensor, table in content.tables.items()}
    pairs = {sensor: times_and_values(rows) for sensor, rows in tables.items() if len(rows)}
    if _NEEDED.isdisjoint(pairs):
        msg = (
            f"{path}: has {', '.join(content.has)[:200] or 'nothing'}, and no samples of Heart "
            "Rate or Wrist Motion; record at least one of them with the app on the watch"
        )
        raise DataError(msg)
    names = {sensor: table.name for sensor, table in content.tables.items()}
    steps = None
    if "pedometer" in pairs:
        counts = Samples.clean(*pairs["pedometer"], name=names["pedometer"])
        walked, _ = count_steps(Pedometer(), counts, math.inf)
        steps = walked.times, walked.values
    signals = {"heart_rate": "heartrate", "motion": "wristmotion", "steps": "pedometer"}
    recording = Recording.from_arrays(
        heart_rate=pairs.get("heartrate"),
        motion=pairs.get("wristmotion"),
        steps=steps,
        names={signal: names[sensor] for signal, sensor in signals.items() if sensor in names},
    )
    return replace(recording, utc_offset=_utc_offset(content.zone, recording.start, path))


def _utc_offset(zone: str, time: float, path: Path) -> int:
    """Seconds by which clocks there were ahead of UTC; 0 if that is not known."""
    if not zone:
        return 0
    try:
        ahead = datetime.fromtimestamp(time, ZoneInfo(zone)).utcoffset()
    except (KeyError, OSError, ValueError):  # a continent alone is a folder
        _log.warning("%s: unknown time zone %.60r; times are told in UTC", path, zone)
        return 0
    return int(ahead.total_seconds()) if ahead is not None else 0


# CSV


def _members(path: Path, names: Sequence[str]) -> dict[str, _Place]:
    """Tables in an archive by sensor; those of one folder, which has what is needed."""
    folders: dict[PurePosixPath, dict[str, _Place]] = {}
    for name in names:
        sensor, folder = _sensor_of(name)
        if sensor:
            folders.setdefault(folder, {})[sensor] = _Place(path, name)
    usable = [places for places in folders.values() if not _NEEDED.isdisjoint(places)]
    if len(usable) > 1:
        msg = f"{path}: holds {len(usable)} recordings; unpack it, and give the folder"
        raise DataError(msg)
    return usable[0] if usable else {}


@contextmanager
def _opened(place: _Place) -> Iterator[IO[bytes]]:
    if place.member:
        with open_member(*place) as (file, _):
            yield file
        return
    try:
        with place.path.open("rb") as file:
            yield file
    except OSError as error:
        raise open_error(place.path, error) from error


def _read_csv(places: dict[str, _Place]) -> _Content:
    tables = {}
    for sensor, fields in FIELDS.items():
        if sensor in places:
            table = tables[sensor] = _Table(sensor, str(places[sensor]))
            with _opened(places[sensor]) as file:
                _read_table(file, ("time", *fields), table)
    zone = ""
    if _METADATA in places:
        with _opened(places[_METADATA]) as file:
            zone = _told_zone(file)
    return _Content(tables, zone, [one.member or one.path.name for one in places.values()])


def _told_zone(file: IO[bytes]) -> str:
    text = file.read(_BEGINNING).decode("utf-8-sig", errors="replace")
    try:
        row = next(csv.DictReader(StringIO(text, newline="")), {})
    except csv.Error:
        return ""
    return (row.get(_ZONE) or "").strip()


def _read_table(file: IO[bytes], columns: Sequence[str], table: _Table) -> None:
    """Read the columns that are needed, block by block."""
    import polars as pl

    header = _header(file)
    if not header:
        return  # a sensor that was on and told nothing
    if not set(columns) <= set(header):
        msg = f"{table.name}: has columns {', '.join(header)[:200]}; expected {', '.join(columns)}"
        raise DataError(msg)
    names = [str(number) for number in range(len(header))]
    chosen = [names[header.index(column)] for column in columns]
    line = 2
    for block in _blocks(file, table.name):
        try:
            frame = pl.read_csv(
                ",".join(names).encode() + b"\n" + block,
                schema=dict.fromkeys(names, pl.String),
                columns=chosen,
                encoding="utf8-lossy",
                glob=False,
            )
        except pl.exceptions.PolarsError as error:
            what = str(error).splitlines()[0][:100]
            msg = f"{table.name}, from line {line} on: no table ({what}); export it again"
            raise DataError(msg) from error
        texts = frame.select(chosen).rename(dict(zip(chosen, columns, strict=True)))
        table.add(_rows(texts, line, table.name))
        line += len(frame)


def _blocks(file: IO[bytes], name: str) -> Iterator[bytes]:
    """Whole lines, many at once."""
    rest = b""
    while more := file.read(_BLOCK):
        lines, newline, rest = (rest + more).rpartition(b"\n")
        if not newline and len(rest) >= _BLOCK:
            msg = f"{name}: has a line of {len(rest)} bytes or more, and is no table of numbers"
            raise DataError(msg)
        if newline:
            yield lines + newline
    if rest:
        yield rest


def _rows(texts: pl.DataFrame, line: int, name: str) -> NDArray[np.float64]:
    """Numbers of the rows in which something was measured, time in seconds."""
    import polars as pl

    texts = texts.select(pl.all().str.strip_chars().replace("", None))
    measured = texts.select(pl.any_horizontal(pl.exclude("time").is_not_null())).to_series()
    table = texts.cast(pl.Float64, strict=False).to_numpy()
    right = np.isfinite(table)
    right[:, 0] &= (table[:, 0] > 0) & (table[:, 0] < _END_OF_TIME)
    wrong = ~right & measured.to_numpy()[:, np.newaxis]
    if wrong.any():
        row = int(np.argmax(wrong.any(axis=1)))
        column = texts.columns[int(np.argmax(wrong[row]))]
        place = f"{name}, line {line + row}"
        raise _no_number(place, column, texts[column][row])
    table = table[measured.to_numpy()]
    return np.column_stack([table[:, 0] / 1e9, table[:, 1:]])


def _no_number(place: str, column: str, value: object) -> DataError:
    expected = "Unix time in nanoseconds" if column == "time" else "a number"
    found = "nothing" if value is None else repr(value)[:60]
    return DataError(
        f"{place}: expected {expected} as {column!r}, found {found}; correct or delete it"
    )


# JSON


def _read_json(path: Path) -> _Content:
    tables: dict[str, _Table] = {}
    has: dict[str, None] = {}  # in the order of the file
    zone = ""
    for number, item in enumerate(_objects(path), start=1):
        name = item.get("sensor")
        sensor = sensor_named(name)
        if sensor in FIELDS:
            table = tables.setdefault(sensor, _Table(sensor, f"{path}, {name}"))
            row = _json_row(item, sensor, f"{path}, object {number}")
            if row is not None:
                table.add_row(row)
        elif sensor == _METADATA:
            zone = str(item.get(_ZONE) or "")
        has[str(name)] = None
    return _Content(tables, zone, list(has))


def _json_row(item: dict[str, Any], sensor: str, place: str) -> list[float] | None:
    """Time in seconds and values; None if nothing was measured."""
    fields = FIELDS[sensor]
    if all(item.get(name) in (None, "") for name in fields):
        return None
    row = sample_row(item.get("time"), item, fields)
    if row is None:
        wrong = (name for name in fields if not math.isfinite(_number(item.get(name))))
        column = next(wrong, "time")
        raise _no_number(place, column, item.get(column))
    return row


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    """Objects of an array, without what is nested in them.

    They are built from single events: `ijson.items` remembers the whole way to each, of which a
    file of brackets alone makes more than there is memory.
    """
    try:
        import ijson  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError(purpose="reading JSON recordings", extra="score") from error
    n_read = depth = 0
    item: dict[str, Any] = {}
    key = ""
    try:
        with path.open("rb") as file:
            for event, value in ijson.basic_parse(file, use_float=True):
                if event in ("start_map", "start_array"):
                    depth += 1
                elif event in ("end_map", "end_array"):
                    depth -= 1
                    if depth == 1:
                        yield item
                        n_read += 1
                        item = {}
                elif depth == 2 and event == "map_key":
                    key = value
                elif depth == 2:
                    item[key] = value
    except ijson.JSONError as error:
        msg = f"{path}: malformed JSON after object {n_read} ({_told(error)}); export it again"
        raise DataError(msg) from error
    except OSError as error:
        raise open_error(path, error) from error


def _told(error: Exception) -> str:
    """What a parser says of an error: text or, if there was something odd in it, bytes."""
    said = error.args[0] if error.args else ""
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    return text.strip().splitlines()[0] if text.strip() else "no JSON"


FORMAT: Final = Format(
    "sensor-logger", "a recording of Sensor Logger (zip, folder of CSV or JSON)", _find, _read
)
