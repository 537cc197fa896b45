"""A table of Sensor Logger as CSV, read block by block: a night of motion has 300 MB."""

from __future__ import annotations

import csv
from io import StringIO
from typing import IO, TYPE_CHECKING, Final

import numpy as np

from sleepstage.errors import DataError
from sleepstage.readers.limits import MAX_ROWS, MAX_VALUE
from sleepstage.readers.sensor_samples import END_OF_TIME, ZONE, SensorTable, no_number
from sleepstage.readers.text import table_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl
    from numpy.typing import NDArray

__all__ = ["header_of", "read_table", "told_zone"]

_BEGINNING: Final = 1 << 16  # bytes: a first line, or a file of one row
_BLOCK: Final = 1 << 23  # bytes that are read at once


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
