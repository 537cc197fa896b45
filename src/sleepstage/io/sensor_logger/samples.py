"""What the app Sensor Logger measures, in its recordings and in its pushes to the service.

The app is described at https://github.com/tszheichoi/awesome-sensor-logger (UNITS.md,
CROSSPLATFORM.md). Three of its sensors are used: Heart Rate, Wrist Motion and Pedometer. Tables are
read block by block (a night of motion has 300 MB), and JSON as a stream of objects.
"""

from __future__ import annotations

import csv
import json
import logging
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from sleepstage.errors import DataError
from sleepstage.io.archives import Place
from sleepstage.io.files import MAX_ROWS, MAX_VALUE, explaining, table_errors
from sleepstage.io.source import Floats

if TYPE_CHECKING:
    import polars as pl

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

ZONE: Final = "recording timezone"  # field of the metadata that names a time zone
BEGINNING: Final = 1 << 16
"""Bytes in which it shows what a file is: a first line, or a file of one row."""

ELAPSED: Final = "seconds_elapsed"
"""Field of each sample: seconds since the recording began, negative for a value of before that."""

_PLAIN: Final = str.maketrans("", "", " -_")
_END_OF_TIME: Final = 2.0**63  # ns, in the year 2262: what the app's own clock can hold
_GRAVITY: Final = 9.80665  # m/s², as the app has it
_SLACK: Final = 0.1  # of the length of gravity, in g
_HARDEST: Final = 300.0  # g: no watch measures more
_BLOCK: Final = 1 << 23  # bytes that are read at once
_CHUNK: Final = 1 << 16  # characters of JSON that are read at once
_GAP: Final = re.compile(r"[\s,]*")
_LONGEST_WORD: Final = 10  # characters: of what may be cut in JSON, all but text is shorter


def sensor_named(name: object) -> str:
    """Plain name of a sensor, which the app writes in several ways; empty if it is no text."""
    return name.translate(_PLAIN).lower() if isinstance(name, str) else ""


def sample_row(time: object, values: dict[str, Any], fields: Sequence[str]) -> list[float] | None:
    """Time in seconds, of one in nanoseconds, and values; None if one of them is no number."""
    nanoseconds = number(time)
    if not 0 < nanoseconds < _END_OF_TIME:
        return None
    row = [nanoseconds / 1e9]
    row.extend(number(values.get(name)) for name in fields)
    return row if all(map(math.isfinite, row)) else None


def number(value: Any) -> float:
    """Of a number or its text, in which large ones come; NaN if it is neither."""
    if type(value) not in (float, int, str):
        return math.nan
    try:
        return float(value)
    except (OverflowError, ValueError):
        return math.nan


def motion_in_g(rows: Floats) -> Floats:
    """Acceleration with gravity in Apple's axes: time and x, y, z in g, shape (m, 4).

    The rows, shape (n, 7), hold time, gravity and acceleration without it, in g or, if the app
    standardises, in m/s². Those whose gravity does not show the unit are left out.
    """
    if not len(rows):
        return np.empty((0, 4))
    gravity, own = rows[:, 1:4], rows[:, 4:7]
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is not known
        length = np.linalg.norm(gravity, axis=1)
        # "Standardise Units & Frames" gives m/s² and Android's axes, which are the negative ones.
        in_g, in_si = (np.abs(length / unit - 1) < _SLACK for unit in (1, _GRAVITY))
        factor = np.select([in_g, in_si], [1, -1 / _GRAVITY], 0)
        xyz = (gravity + own) * factor[:, np.newaxis]
        known = (factor != 0) & (np.linalg.norm(xyz, axis=1) < _HARDEST)
    return np.column_stack([rows[known, 0], xyz[known]])


@dataclass
class SensorTable:
    """What one sensor measured, as it is read."""

    sensor: str  # as `sensor_named` calls it
    name: str  # for error messages
    begun: float = -math.inf
    """When the recording began, in Unix seconds; a sensor may give older values first."""
    _n_read: int = 0
    _parts: list[Floats] = field(default_factory=list)

    def note_start(self, time: Any, elapsed: Any) -> None:
        """Take the start of the recording from a row's time and seconds since then."""
        begun = number(time) / 1e9 - number(elapsed)
        if math.isfinite(begun):
            self.begun = begun

    def add(self, rows: Floats) -> None:
        """Add rows of time in seconds and the sensor's fields."""
        self._n_read += len(rows)
        self._parts.append(motion_in_g(rows) if self.sensor == "wristmotion" else rows)

    def joined(self) -> Floats:
        """Rows of time and values, motion in g."""
        rows = np.concatenate(self._parts) if self._parts else np.empty((0, 2))
        n_unknown = self._n_read - len(rows)
        if n_unknown > len(rows):
            raise DataError(
                f"{self.name}: gravity is neither 1 g nor {_GRAVITY} m/s² long in {n_unknown} of "
                f"{self._n_read} samples, so that the unit is not known; are the columns swapped?"
            )
        if n_unknown:
            _log.warning("%s: left out %d samples of unknown unit", self.name, n_unknown)
        return rows


def no_number(place: str, column: str, value: object) -> DataError:
    """The message about a value that is no number, or no time."""
    expected = "Unix time in nanoseconds" if column == "time" else "a number"
    found = "nothing" if value is None else repr(value)[:60]
    return DataError(
        f"{place}: expected {expected} as {column!r}, found {found}; correct or delete it"
    )


def header_of(beginning: bytes) -> list[str]:
    """Names in the first line; what is no text gives names that nobody looks for."""
    text = beginning.decode("utf-8-sig", errors="replace").strip()
    line = next(iter(text.splitlines()), "")  # of old computers, it ends with a \r
    return [name.strip() for name in next(csv.reader([line]), [])]


def read_table(file: IO[bytes], columns: Sequence[str], table: SensorTable) -> None:
    """Read the columns that are needed, block by block."""
    import polars as pl

    header = header_of(file.readline(BEGINNING))
    if not header:
        return  # a sensor that was on and recorded nothing
    if not set(columns) <= set(header):
        found = ", ".join(header)[:200]
        raise DataError(f"{table.name}: has columns {found}; expected {', '.join(columns)}")
    names = list(map(str, range(len(header))))  # for two may have one name
    chosen = {names[header.index(name)]: name for name in (*columns, ELAPSED) if name in header}
    line = 2
    for block in _blocks(file, table.name):
        what = f"{table.name}, from line {line} on: no table"
        with explaining(what, "export it again", *table_errors()):
            frame = pl.read_csv(
                ",".join(names).encode() + b"\n" + block,
                schema=dict.fromkeys(names, pl.String),
                columns=list(chosen),
                encoding="utf8-lossy",
                glob=False,
            )
        texts = frame.rename(chosen)
        if ELAPSED in header:
            table.note_start(texts["time"][0], texts[ELAPSED][0])
        table.add(_rows(texts.select(columns), line, table.name))
        line += len(frame)
        MAX_ROWS.require(line - 2, table.name)


def _blocks(file: IO[bytes], name: str) -> Iterator[bytes]:
    """Whole lines, many at once."""
    rest = b""
    while more := file.read(_BLOCK):
        lines, newline, rest = (rest + more).rpartition(b"\n")
        MAX_VALUE.require(len(rest), f"{name}, a line")
        if newline:
            yield lines + newline
    if rest:
        yield rest


def _rows(texts: pl.DataFrame, line: int, name: str) -> Floats:
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
        raise no_number(place, column, texts[column][row])
    table = table[measured.to_numpy()]
    return np.column_stack([table[:, 0] / 1e9, table[:, 1:]])


def objects_of(path: Path) -> Iterator[dict[str, Any]]:
    """Objects of an array, one by one: with motion, a night has 500 MB of them."""
    n_read = 0
    with Place(path).text() as file:
        text, at = file.read(_CHUNK).lstrip(), 1
        if not text.startswith("["):
            raise _malformed(path, n_read, "no array")
        while (gap := _GAP.match(text, at)) and not text.startswith("]", gap.end()):
            try:
                item, end = _DECODER.raw_decode(text, gap.end())
            except (RecursionError, ValueError) as error:
                more = file.read(_CHUNK) if _is_cut(text, error) else ""
                if not more:
                    raise _malformed(path, n_read, error) from error
                MAX_VALUE.require(len(text) - at, f"{path}, after object {n_read}")
                text, at = text[at:] + more, 0
                continue
            MAX_VALUE.require(end - at, f"{path}, after object {n_read}")
            n_read, at = n_read + 1, end
            if isinstance(item, dict):
                yield item
        if (text[at:] + file.read(_CHUNK)).strip() != "]":
            raise _malformed(path, n_read, "something after the array")


def _is_cut(text: str, error: Exception) -> bool:
    """Whether it may only be that the text goes on."""
    return isinstance(error, json.JSONDecodeError) and (
        error.pos > len(text) - _LONGEST_WORD or error.msg.startswith("Unterminated")
    )


def _malformed(path: Path, n_read: int, why: object) -> DataError:
    msg = f"{path}: malformed JSON after object {n_read} ({str(why)[:100]}); export it again"
    return DataError(msg)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


_DECODER: Final = json.JSONDecoder(parse_int=float, parse_constant=_refuse)
