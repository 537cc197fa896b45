"""Files of Sensor Logger: a table as CSV, block by block (a night of motion has 300 MB), and JSON.

A recording as JSON is read as a stream of objects.
"""

from __future__ import annotations

import csv
import math
from io import StringIO
from itertools import chain
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from sleepstage.errors import DataError, needs_extra
from sleepstage.io.files import MAX_ROWS, MAX_VALUE, reading, table_errors
from sleepstage.io.sensor_logger.samples import (
    END_OF_TIME,
    FIELDS,
    ZONE,
    SensorTable,
    no_number,
    number,
    sample_row,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import polars as pl
    from numpy.typing import NDArray

__all__ = ["header_of", "json_row", "objects_of", "read_table", "told_zone"]

_BEGINNING: Final = 1 << 16  # bytes: a first line, or a file of one row
_BLOCK: Final = 1 << 23  # bytes that are read at once
_BEGINS: Final = frozenset(("start_map", "start_array"))
_ENDS: Final = frozenset(("end_map", "end_array"))
_DEEPEST: Final = 100  # a recording has 3
_USED: Final = frozenset(("sensor", "time", ZONE, *chain(*FIELDS.values())))


def header_of(file: IO[bytes]) -> list[str]:
    """Names in the first line; what is no text gives names that nobody looks for."""
    line = file.readline(_BEGINNING).decode("utf-8-sig", errors="replace").strip()
    return [name.strip() for name in next(csv.reader([line]), [])]


def told_zone(file: IO[bytes]) -> str:
    """Time zone that the app's table of metadata names; empty if it names none."""
    text = file.read(_BEGINNING).decode("utf-8-sig", errors="replace")
    try:
        row = next(csv.DictReader(StringIO(text, newline="")), {})
    except csv.Error:
        return ""
    return (row.get(ZONE) or "").strip()


def read_table(file: IO[bytes], columns: Sequence[str], table: SensorTable) -> None:
    """Read the columns that are needed, block by block."""
    import polars as pl

    header = header_of(file)
    if not header:
        return  # a sensor that was on and recorded nothing
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
        except table_errors() as error:
            what = str(error).splitlines()[0][:100]
            msg = f"{table.name}, from line {line} on: no table ({what}); export it again"
            raise DataError(msg) from error
        texts = frame.select(chosen).rename(dict(zip(chosen, columns, strict=True)))
        table.add(_rows(texts, line, table.name))
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


def _rows(texts: pl.DataFrame, line: int, name: str) -> NDArray[np.float64]:
    """Numbers of the rows in which something was measured, time in seconds."""
    import polars as pl

    texts = texts.select(pl.all().str.strip_chars().replace("", None))
    measured = texts.select(pl.any_horizontal(pl.exclude("time").is_not_null())).to_series()
    table = texts.cast(pl.Float64, strict=False).to_numpy()
    right = np.isfinite(table)
    right[:, 0] &= (table[:, 0] > 0) & (table[:, 0] < END_OF_TIME)
    wrong = ~right & measured.to_numpy()[:, np.newaxis]
    if wrong.any():
        row = int(np.argmax(wrong.any(axis=1)))
        column = texts.columns[int(np.argmax(wrong[row]))]
        place = f"{name}, line {line + row}"
        raise no_number(place, column, texts[column][row])
    table = table[measured.to_numpy()]
    return np.column_stack([table[:, 0] / 1e9, table[:, 1:]])


def json_row(item: dict[str, Any], sensor: str, place: str) -> list[float] | None:
    """Time in seconds and values; None if nothing was measured."""
    fields = FIELDS[sensor]
    if all(item.get(name) in (None, "") for name in fields):
        return None
    row = sample_row(item.get("time"), item, fields)
    if row is None:
        wrong = (name for name in fields if not math.isfinite(number(item.get(name))))
        column = next(wrong, "time")
        raise no_number(place, column, item.get(column))
    return row


def objects_of(path: Path) -> Iterator[dict[str, Any]]:
    """Objects of an array with the fields that are used, without what is nested in them.

    They are built from single events: `ijson.items` remembers the whole way to each, of which a
    file of brackets alone makes more than there is memory.
    """
    with needs_extra("reading JSON recordings", "score"):
        import ijson
    n_read = 0
    item: dict[str, Any] = {}
    key = ""
    try:
        with reading(path), path.open("rb") as file:
            stream = _Stream(file, path)
            events = ijson.basic_parse(stream, use_float=True)
            for depth, event, value in _with_depth(events, stream):
                if event in _ENDS:
                    if depth == 1:
                        yield item
                        n_read += 1
                        item = {}
                elif depth == 2 and event == "map_key":
                    key = value
                elif depth == 2 and event not in _BEGINS and key in _USED:
                    item[key] = value
    except ijson.JSONError as error:
        msg = f"{path}: malformed JSON after object {n_read} ({_told(error)}); export it again"
        raise DataError(msg) from error


def _with_depth(
    events: Iterable[tuple[str, Any]], stream: _Stream
) -> Iterator[tuple[int, str, Any]]:
    """Events of a stream, and within how many arrays and objects each leaves it."""
    depth = 0
    for event, value in events:
        stream.n_unparsed = 0
        if event in _BEGINS:
            depth += 1
            if depth > _DEEPEST:
                msg = f"{stream.path}: arrays or objects more than {_DEEPEST} deep; export it again"
                raise DataError(msg)
        elif event in _ENDS:
            depth -= 1
        yield depth, event, value


class _Stream:
    """A file for the parser, which keeps in memory what it has read and not yet parsed."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self.path = file, path
        self.n_unparsed = 0

    def read(self, size: int) -> bytes:
        MAX_VALUE.require(self.n_unparsed, f"{self.path}, at byte {self._file.tell()}")
        data = self._file.read(size)
        self.n_unparsed += len(data)
        return data


def _told(error: Exception) -> str:
    """The text of a parser's error: text or, if there was something odd in it, bytes."""
    said = error.args[0] if error.args else ""
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    return text.strip().splitlines()[0] if text.strip() else "no JSON"
