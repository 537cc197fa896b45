"""A signal in a table: its columns found by name, its times in whatever unit and form."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sleepstage.core.recording import LONGEST_NIGHT
from sleepstage.errors import DataError
from sleepstage.io.clocks import DATE, TIME_OF_DAY, offset_at, seconds_of_numbers, seconds_of_texts
from sleepstage.io.files import MAX_ROWS, explaining, reading, table_errors
from sleepstage.io.names import SIGNALS, Name, columns_for, describe, parse_name
from sleepstage.io.source import NO_OPTIONS, Floats, Mask, Options
from sleepstage.io.text import Layout, layout_of, read_frame, split
from sleepstage.stages import UNIX_TIME

if TYPE_CHECKING:
    import polars as pl

    _Place = Callable[[int], str]

_ENDING: Final = 1 << 12  # bytes in which the last row is
_ROW: Final = "row of the file"
_LONGEST_TEXT: Final = 1000  # bytes: a longer one is no number and no time
_SUFFIXES: Final = frozenset((".csv", ".tsv", ".txt", ".parquet"))
_MIXED: Final = 0.2  # share of heart rates at the time of another one
_APART: Final = 10.0  # beats per minute between them: more are two hearts


class Columns(NamedTuple):
    """A signal as a file has it."""

    times: Floats
    values: Floats
    utc_offset: int
    local: bool
    """True if times are of a clock whose time zone is not known; then they are as if in UTC."""
    people: NDArray[np.object_] | None
    """Whose each row is, where a column names more than one person."""

    def of(self, person: str) -> Columns:
        """The rows of somebody; all where nobody is named."""
        return self if self.people is None else self._only(self.people == person)

    def between(self, start: float, end: float) -> Columns:
        """The rows of a time, its ends included."""
        return self._only((self.times >= start) & (self.times <= end))

    def _only(self, rows: Mask) -> Columns:
        return self._replace(times=self.times[rows], values=self.values[rows], people=None)


def _layout(path: Path) -> Layout:
    import polars as pl

    if path.suffix != ".parquet":
        return layout_of(path)
    with _reading_parquet(path), path.open("rb") as file:
        names = list(map(parse_name, pl.read_parquet_schema(file)))
    return Layout(path, names, len(names))


def _frame(layout: Layout, chosen: Sequence[int]) -> pl.DataFrame:
    """Columns of the file, called 0, 1, ...; of Parquet, only those that are needed."""
    if layout.encoding:
        return read_frame(layout)
    wanted = {layout.names[at].text: str(at) for at in chosen}
    with _reading_parquet(layout.path):
        return read_parquet(layout.path, list(wanted)).rename(wanted)


@contextmanager
def _reading_parquet(path: Path) -> Iterator[None]:
    what = f"{path}: not a table of numbers in Parquet"
    with explaining(what, "write it again", *table_errors()), reading(path):
        yield


def read_columns(
    path: Path,
    signal: str,
    options: Options = NO_OPTIONS,
    *,
    in_order: bool = False,
    sampling: tuple[float, float] | None = None,
) -> Columns:
    """Times and values of a signal, by the first way to call it whose columns the file has.

    The file is text or, by its ending, Parquet; the signal is heart_rate, motion or steps. If its
    columns are `in_order`, time first, their names mean nothing. Rows without times have a
    `sampling`: the Unix time of the first, and Hz. Raises `DataError` if columns are missing or
    broken; names the line.
    """
    import polars as pl

    layout = _layout(path)
    names = layout.names
    n_times, width = 0 if sampling else 1, len(SIGNALS[signal][0])
    if in_order and len(names) >= n_times + width:
        times, values = list(range(n_times)), list(range(n_times, n_times + width))
    else:
        times, values = _chosen(layout, signal)
    people = [at for at, one in enumerate(names) if one.meaning == "person"]
    frame = _frame(layout, [*times, *values, *people])
    dated = (pl.Date, pl.Time, pl.Datetime)
    numbers = [at for at in (*times, *values) if not isinstance(frame[str(at)].dtype, dated)]
    for at in {*numbers, *values}:
        require_numbers(path, frame.select(pl.col(str(at)).alias(layout.label(at))))
    needed = list(map(str, values))
    blank = [pl.col(one).fill_nan(None) for one in needed if frame[one].dtype.is_float()]
    measured = frame.with_row_index(_ROW).with_columns(blank).drop_nulls(subset=needed)
    rows = measured[_ROW]

    def place(at: int) -> str:
        return layout.place(rows[at])

    def columns(chosen: Sequence[int]) -> list[pl.Series]:
        return [measured[str(at)].alias(layout.label(at)) for at in chosen]

    if sampling:
        seconds, local = sampling[0] + rows.to_numpy() / sampling[1], not options.timezone
        utc_offset = 0 if local else offset_at(sampling[0], options.timezone)
    else:
        factors = [names[at].factor for at in times]
        seconds, utc_offset, local = _times(columns(times), factors, options, place)
    signals = [
        _numbers(column, place) * _factor(path, names[at])
        for at, column in zip(values, columns(values), strict=True)
    ]
    array = signals[0] if len(signals) == 1 else np.column_stack(signals)
    whose = _people(columns(people))
    if signal == "heart_rate" and whose is None:
        _require_one_heart(path, seconds, array)
    return Columns(seconds, array, utc_offset, local, whose)


def _chosen(layout: Layout, signal: str) -> tuple[list[int], list[int]]:
    """Columns of time and of a signal; without a header, all in their order."""
    path, names = layout.path, layout.names
    times, values = columns_for(names, signal)
    if times and values:
        return times, values
    expected = " or ".join(", ".join(("time", *way)) for way in SIGNALS[signal])
    if layout.is_named:
        raise DataError(f"{path}: has columns {describe(names)}; expected {expected}")
    if len(names) - 1 not in map(len, SIGNALS[signal]):
        found = f"expected numbers ({expected}), found {layout.found!r:.60}"
        raise DataError(f"{path}, line {layout.first}: {found}")
    return [0], list(range(1, len(names)))


def _factor(path: Path, name: Name) -> float:
    """To the unit that is used here."""
    if name.unit and name.units and name.factor is None:
        expected = " or ".join(name.units)
        raise DataError(f"{path}: column {name.text!r} is in {name.unit!r}; expected {expected}")
    return name.factor or 1.0


def _as_numbers(column: pl.Series) -> pl.Series:
    """Numbers, and null for what is none."""
    return column.cast(float, strict=False)


def _numbers(column: pl.Series, place: _Place) -> Floats:
    numbers = _as_numbers(column)
    wrong = numbers.is_null() if numbers.is_null().any() else numbers.is_finite().not_()
    if wrong.any():
        at = wrong.arg_max() or 0
        raise DataError(
            f"{place(at)}: expected a number as {column.name!r}, found {column[at]!r:.60}; correct "
            "it, or leave it blank where nothing was measured"
        )
    return np.asarray(numbers.to_numpy(), dtype=np.float64)


def _times(
    columns: Sequence[pl.Series], factors: Sequence[float | None], options: Options, place: _Place
) -> tuple[Floats, int, bool]:
    """Seconds; by how many clocks were ahead of UTC at the first; whether that is unknown.

    Of several columns, Unix time goes before dates with a time, these before a date and a time
    in two columns, and all before seconds since any start.
    """
    import polars as pl

    elapsed = None
    texts = []
    for column, factor in zip(columns, factors, strict=True):
        is_text = column.dtype == pl.String
        if column.dtype.is_numeric() or (is_text and not _as_numbers(column).is_null().any()):
            numbers = _numbers(column, place)
            seconds = numbers * factor if factor else seconds_of_numbers(numbers)
            if len(seconds) and np.median(seconds) >= UNIX_TIME:
                ahead = offset_at(seconds[0], options.timezone) if options.timezone else 0
                return seconds, ahead, False
            elapsed = seconds if elapsed is None else elapsed
        elif isinstance(column.dtype, pl.Datetime):
            zone = column.dtype.time_zone
            return _numbers(column.dt.epoch("us") / 1e6, place), 0, zone is None
        else:
            texts.append(column.cast(pl.String))
    moments = [one for one in texts if re.match(DATE, one[0] or "") and ":" in one[0]]
    if not moments:
        dates = [one for one in texts if re.match(DATE, one[0] or "")]
        clocks = [one for one in texts if re.match(TIME_OF_DAY, one[0] or "")]
        moments = [(a + " " + b).alias(a.name) for a, b in zip(dates, clocks, strict=False)]
    if moments:
        return seconds_of_texts(moments[0], options, place)
    if elapsed is not None:
        return elapsed, 0, False
    if columns[0].dtype in (pl.Date, pl.Time) or re.match(TIME_OF_DAY, texts[0][0] or ""):
        found = f"{columns[0].name!r}, found {columns[0][0]}"
        raise DataError(f"{place(0)}: expected a date and a time as {found}")
    if _as_numbers(texts[0])[0] is not None:
        return _numbers(texts[0], place), 0, False
    return seconds_of_texts(texts[0], options, place)


def _people(columns: Sequence[pl.Series]) -> NDArray[np.object_] | None:
    """Who each row is of, by the first column that names several, and each more than once."""
    for column in columns:
        whose = column.cast(str).fill_null("")
        if 1 < whose.n_unique() <= len(whose) / 2:
            return np.asarray(whose.to_numpy(), dtype=object)
    return None


def _require_one_heart(path: Path, times: Floats, bpm: Floats) -> None:
    """Refuse two people, or two watches, in one column."""
    order = np.argsort(times, kind="stable")
    apart = np.abs(np.diff(bpm[order]))[np.diff(times[order]) == 0]
    n_mixed = np.count_nonzero(apart > _APART)
    if n_mixed > _MIXED * len(times):
        raise DataError(
            f"{path}: {n_mixed} of {len(times)} heart rates are at the time of another one and "
            f"more than {_APART:g} beats per minute apart: is it of two people? name them in a "
            "column 'person', or give a file for each"
        )


def signals_of(path: Path, named: str | None) -> list[str]:
    """Signals that a file, local or remote, can hold, by the names of its columns.

    Where they have none, it is the signal that the file is `named` after, if any.
    """
    if path.suffix not in _SUFFIXES:
        return []
    layout = _layout(path)
    if not layout.is_named:
        return [named] if named else []
    return [one for one in SIGNALS if all(columns_for(layout.names, one, value=one == named))]


def described(path: Path) -> str:
    """Names of a table's columns and what they may mean; empty for what is none."""
    with suppress(DataError):
        layout = _layout(path) if path.suffix in _SUFFIXES else None
        if layout and layout.is_named and len(layout.names) > 1:
            return describe(layout.names)
    return ""


def may_hold_several(path: Path, options: Options) -> bool:
    """Whether a table names people, or goes on for more than a day, by its first and last rows."""
    import polars as pl

    layout = _layout(path)
    if any(one.meaning == "person" for one in layout.names):
        return True
    times = columns_for(layout.names, "steps")[0] or [0]
    if not layout.encoding:
        frame = _frame(layout, times)
        columns = [frame[str(at)].drop_nulls() for at in times]
    else:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _ENDING))
            last = file.read().decode(layout.encoding, errors="replace").strip()
        lines = layout.found, last.splitlines()[-1]
        rows = [split(line, layout.separator) for line in lines]
        # A row that ends early is refused when the table is read.
        columns = [pl.Series(str(at), ["".join(row[at : at + 1]) for row in rows]) for at in times]
    factors = [layout.names[at].factor for at in times]
    seconds, _, _ = _times(columns, factors, options, lambda row: f"{path}, row {row + 1}")
    return bool(len(seconds) and np.ptp(seconds) > LONGEST_NIGHT)


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
            raise DataError(f"{path}, row {at + 1}: expected a number, found {found}; correct it")
    return frame


def require_numbers(path: Path, frame: pl.DataFrame) -> None:
    """Refuse columns, other than text, of which a cast to numbers fails or gives odd ones."""
    for name, kind in frame.schema.items():
        if not (kind.is_numeric() or str(kind) in ("String", "Null")):
            msg = f"{path}: column {name!r} is of type {str(kind)[:60]}; write it as numbers"
            raise DataError(msg)
