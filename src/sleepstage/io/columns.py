"""A signal in a table: its columns found by name, its times in whatever unit."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sleepstage.core.motion import MOTION_COLUMNS
from sleepstage.errors import DataError
from sleepstage.io.files import (
    MAX_ROWS,
    bounded_lines,
    first_fields,
    read_text_table,
    reading,
    require_rows,
    table_errors,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import polars as pl
    from numpy.typing import NDArray

    _Place = Callable[[int], str]

_TIME_NAMES: Final = ("time", "seconds", "t", "t_s", "timestamp", "date", "datetime")
# Of each signal, the names of its columns, in each of the ways to call them.
_SIGNALS: Final = {
    "heart_rate": (("bpm",), ("heart_rate",), ("heartrate",), ("hr",)),
    "motion": (("x", "y", "z"), MOTION_COLUMNS),
    "steps": (("steps",), ("step_count",)),
}
_ROW: Final = "row of the file"
_LONGEST_TEXT: Final = 1000  # bytes: a longer one is no number and no time
_SUFFIXES: Final = frozenset((".csv", ".tsv", ".txt", ".parquet"))
_LARGEST_UNIT: Final = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3))
"""Numbers beyond the first are Unix time in units of the second: today is 1.7e9 s. Seconds since
any start, and Unix seconds until the year 5138, are less than the last."""


class Columns(NamedTuple):
    """A signal as a file has it."""

    times: NDArray[np.float64]
    values: NDArray[np.float64]
    utc_offset: int


def read_columns(path: Path, signal: str) -> Columns:
    """Times and values of a signal, by the first way to call it whose columns the file has.

    The file is text or, by its ending, Parquet; the signal is heart_rate, motion or steps. Raises
    `DataError` if they are missing or broken; names the line.
    """
    import polars as pl

    read = _parquet_frame if path.suffix == ".parquet" else _text_frame
    frame = read(path, signal)
    time, values = _found(path, frame.columns, signal)
    dated = isinstance(frame[time].dtype, pl.Date | pl.Time | pl.Datetime)
    require_numbers(path, frame.select(values if dated else [time, *values]))
    measured = frame.with_row_index(_ROW).drop_nulls(subset=values)
    place = partial(_place, path, measured[_ROW])
    times, utc_offset = _seconds(measured[time], place)
    table = np.column_stack([_numbers(measured[name], place) for name in values])
    return Columns(times, table[:, 0] if len(values) == 1 else table, utc_offset)


def _expected(signal: str) -> str:
    """Columns of a signal, by the first of its names; motion has two kinds."""
    kinds = {len(way): way for way in reversed(_SIGNALS[signal])}
    return " or ".join(", ".join(("time", *kinds[width])) for width in sorted(kinds))


def _place(path: Path, rows: pl.Series, at: int) -> str:
    """Where in a file a value stands: its line if it is text."""
    row = int(rows[at])
    if path.suffix == ".parquet":
        return f"{path}, row {row + 1}"
    _, fields = first_fields(path)
    with path.open("rb") as file:
        # Blank lines are rows, too, once there was a first one; remarks are not.
        numbered = enumerate(bounded_lines(file, path), 1)
        lines = (number for number, line in numbered if not line.startswith(b"#"))
        if _is_header(fields):
            next(lines, None)
        line = next(islice(lines, row, None), None)
    return f"{path}, row {row + 1}" if line is None else f"{path}, line {line}"


def _columns(names: Sequence[str], signal: str) -> tuple[str | None, list[str] | None]:
    """Names, as the file has them, of the columns of time and of a signal; None if missing."""
    known = {name.strip().lower(): name for name in reversed(names)}
    time = next((known[name] for name in _TIME_NAMES if name in known), None)
    values = next(
        ([known[name] for name in way] for way in _SIGNALS[signal] if set(way) <= set(known)), None
    )
    return time, values


def _found(path: Path, names: Sequence[str], signal: str) -> tuple[str, list[str]]:
    time, values = _columns(names, signal)
    if time is None or values is None:
        msg = f"{path}: has columns {', '.join(names)[:200]}; expected {_expected(signal)}"
        raise DataError(msg)
    return time, values


def _text_frame(path: Path, signal: str) -> pl.DataFrame:
    import polars as pl

    separator, fields = first_fields(path)
    if not _is_header(fields):
        for wanted in _SIGNALS[signal]:
            if len(fields) == 1 + len(wanted):
                names = ["time", *wanted]
                table = read_text_table(path, names, separator=separator)
                return pl.DataFrame(table, schema=names, orient="row")
        found = separator.join(fields)[:60]
        msg = f"{path}, line 1: expected numbers ({_expected(signal)}), found {found!r}"
        raise DataError(msg)
    try:
        with reading(path):
            require_rows(path)
            frame = _read_csv(path, separator)
    except table_errors():
        # Read line by line, it finds the line to blame.
        table = read_text_table(path, fields, separator=separator, header=True)
        return pl.DataFrame(table, schema=fields, orient="row")
    if not len(frame):
        msg = f"{path}: the file is empty below its header"
        raise DataError(msg)
    return frame


def _is_header(fields: Sequence[str]) -> bool:
    return any(field[:1].isalpha() and field.lower() != "nan" for field in fields)


def _read_csv(path: Path, separator: str) -> pl.DataFrame:
    """Numbers as numbers where all are; else as text, for `_numbers` to report which is none."""
    import polars as pl

    def read(n_rows: int) -> pl.DataFrame:
        frame = pl.read_csv(
            path,
            separator=separator,
            comment_prefix="#",
            infer_schema_length=n_rows,
            glob=False,
        )
        blank = pl.col(pl.String).str.strip_chars().replace("", None)
        return frame.with_columns(blank)

    try:
        return read(1000)
    except table_errors():
        return read(0)  # all text


def _parquet_frame(path: Path, signal: str) -> pl.DataFrame:
    try:
        with reading(path):
            time, values = _found(path, column_names(path), signal)
            return read_parquet(path, [time, *values])
    except table_errors() as error:
        msg = f"{path}: not a table of numbers in Parquet ({str(error).splitlines()[0]})"
        raise DataError(msg) from error


def _numbers(column: pl.Series, place: _Place) -> NDArray[np.float64]:
    import polars as pl

    numbers = column.cast(pl.Float64, strict=False)
    wrong = numbers.is_null() if numbers.is_null().any() else numbers.is_finite().not_()
    if wrong.any():
        at = wrong.arg_max() or 0
        msg = (
            f"{place(at)}: expected a number as {column.name!r}, found {column[at]!r:.60}; correct "
            "it, or leave it blank where nothing was measured"
        )
        raise DataError(msg)
    return np.asarray(numbers.to_numpy(), dtype=np.float64)


def _seconds(column: pl.Series, place: _Place) -> tuple[NDArray[np.float64], int]:
    """Seconds, and by how many clocks were ahead of UTC at the first of them, if that is known."""
    import polars as pl

    if column.dtype in (pl.Date, pl.Time):
        msg = f"{place(0)}: expected a date and a time as {column.name!r}, found {column[0]}"
        raise DataError(msg)
    if isinstance(column.dtype, pl.Datetime):
        return _numbers(column.dt.epoch("us") / 1e6, place), 0
    if column.dtype == pl.String and column.cast(pl.Float64, strict=False).is_null().any():
        return _iso_seconds(column, place)
    times = _numbers(column, place)
    typical = float(np.median(np.abs(times))) if len(times) else 0.0
    factor = next((factor for limit, factor in _LARGEST_UNIT if typical >= limit), 1.0)
    return times * factor, 0


def _iso_seconds(column: pl.Series, place: _Place) -> tuple[NDArray[np.float64], int]:
    times = np.empty(len(column))
    offset = 0
    for row, text in enumerate(column):
        try:
            moment = datetime.fromisoformat(text)
        except (TypeError, ValueError) as error:
            msg = (
                f"{place(row)}: expected seconds or a time as 2026-03-29T01:30:00+01:00 as "
                f"{column.name!r}, found {text!r:.60}; correct or delete the row"
            )
            raise DataError(msg) from error
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        times[row] = moment.timestamp()
        ahead = moment.utcoffset()
        if row == 0 and ahead is not None:
            offset = int(ahead.total_seconds())
    return times, offset


def signals_of(path: Path, named: str | None) -> list[str]:
    """Signals that a file, local or remote, can hold, by the names of its columns.

    Where they have none, it is the signal that the file is `named` after, if any.
    """
    if path.suffix == ".parquet":
        try:
            names = column_names(path)
        except table_errors():
            return []
    elif path.suffix in _SUFFIXES:
        _, names = first_fields(path)
        if not _is_header(names):
            return [named] if named else []
    else:
        return []
    return [signal for signal in _SIGNALS if None not in _columns(names, signal)]


def column_names(path: Path) -> list[str]:
    """Names of all columns; the path may be remote."""
    import polars as pl

    with path.open("rb") as file:
        return list(pl.read_parquet_schema(file))


def read_parquet(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Some columns of a table; refuses too many rows, and a text too long for a number or a time.

    What can't be read raises OSError or one of `sleepstage.io.files.table_errors`.
    """
    import polars as pl

    table = pl.scan_parquet(path, glob=False)
    # Equal rows take next to nothing in a file, and all their width in memory.
    MAX_ROWS.require(int(table.select(pl.len()).collect().item()), str(path))
    frame = table.select(columns).collect()
    for column in frame.select(pl.col(pl.String)):
        # Of dictionaries, millions of rows can have one long text, which is parsed in each.
        lengths = column.str.len_bytes()
        if (lengths > _LONGEST_TEXT).any():
            at = lengths.arg_max() or 0
            found = f"{lengths[at]} bytes of text as {column.name!r}"
            msg = f"{path}, row {at + 1}: expected a number, found {found}; correct it"
            raise DataError(msg)
    return frame


def require_numbers(path: Path, frame: pl.DataFrame) -> None:
    """Refuse columns, other than text, of which a cast to numbers fails or gives odd ones."""
    import polars as pl

    for name, kind in frame.schema.items():
        if not (kind.is_numeric() or isinstance(kind, pl.String | pl.Null)):
            msg = f"{path}: column {name!r} is of type {str(kind)[:60]}; write it as numbers"
            raise DataError(msg)
