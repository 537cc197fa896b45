"""A signal in a table: its columns found by name, its times in whatever unit and form."""

from __future__ import annotations

import re
from contextlib import suppress
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sleepstage.core.motion import MOTION_COLUMNS
from sleepstage.core.recording import LONGEST_NIGHT
from sleepstage.errors import DataError
from sleepstage.io.clocks import (
    DATE,
    TIME_OF_DAY,
    offset_at,
    seconds_of_numbers,
    seconds_of_texts,
)
from sleepstage.io.files import MAX_ROWS, reading, table_errors
from sleepstage.io.source import NO_OPTIONS, Options
from sleepstage.io.text import layout_of, line_of, read_frame, split
from sleepstage.stages import UNIX_TIME

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import polars as pl
    from numpy.typing import NDArray

    from sleepstage.io.text import Layout

    _Place = Callable[[int], str]

# Names are compared in small letters, without signs between words and without a unit.
_TIME_NAMES: Final = (
    *("time", "seconds", "t", "timestamp", "datetime", "date", "dateandtime", "ts", "unixtime"),
    *("unixtimestamp", "unix", "epoch", "epochtime", "starttime", "startdate", "localtime"),
    *("utctime", "recordedat", "secs", "sec", "timeofday", "clock", "day", "clocktime"),
)
_PEOPLE: Final = frozenset(
    (
        *("subject", "subjectid", "person", "personid", "participant", "participantid", "user"),
        *("userid", "patient", "patientid", "pid", "id", "name", "device", "deviceid"),
    )
)
_SYNONYMS: Final = {
    **dict.fromkeys(("bpm", "heartrate", "hr", "pulse", "pulserate", "heartbeat"), "bpm"),
    **dict.fromkeys(("steps", "stepcount", "step", "stepscount", "numberofsteps"), "steps"),
    **{name.removesuffix("_g").replace("_", ""): name for name in MOTION_COLUMNS},
    "axis1": "x",
    "axis2": "y",
    "axis3": "z",
}
_AXIS: Final = re.compile(r"(?:a|acc|accel|acceleration|accelerometer|gf|gforce)?([xyz])(?:axis)?")
_ANY: Final = ("value", "values", "val")  # of a file that is named after its signal
# Of each signal, its columns, in each of the ways to have them.
_SIGNALS: Final = {
    "heart_rate": (("bpm",),),
    "motion": (("x", "y", "z"), MOTION_COLUMNS),
    "steps": (("steps",),),
}
_TIME_UNITS: Final = {
    **dict.fromkeys(("ms", "msec", "millis", "milliseconds"), 1e-3),
    **dict.fromkeys(("us", "µs", "microseconds"), 1e-6),
    **dict.fromkeys(("ns", "nanoseconds"), 1e-9),
    **dict.fromkeys(("min", "minutes"), 60.0),
    **dict.fromkeys(("h", "hours"), 3600.0),
}
_PER_MINUTE: Final = ("bpm", "1/min", "/min", "count/min", "counts/min", "beats/min", "min-1")
_UNITS: Final = {
    "bpm": dict.fromkeys(_PER_MINUTE, 1.0) | dict.fromkeys(("hz", "count/s", "1/s"), 60.0),
    "steps": dict.fromkeys(("count", "steps", "step", "n"), 1.0),
    "counts": dict.fromkeys(("count", "counts"), 1.0),
    "time": _TIME_UNITS,
}
_IN_G: Final = {"g": 1.0, "mg": 1e-3} | dict.fromkeys(
    ("m/s2", "m/s^2", "m/s²", "m/s/s", "ms-2"), 1 / 9.80665
)
_BRACKETS: Final = re.compile(r"(.*?)\s*[(\[]\s*([^()\[\]]*?)\s*[)\]]")
_ENDING: Final = 1 << 12  # bytes in which the last row is
_ROW: Final = "row of the file"
_LONGEST_TEXT: Final = 1000  # bytes: a longer one is no number and no time
_SUFFIXES: Final = frozenset((".csv", ".tsv", ".txt", ".parquet"))
_MIXED: Final = 0.2  # share of heart rates at the time of another one
_APART: Final = 10.0  # beats per minute between them: more are two hearts


class Columns(NamedTuple):
    """A signal as a file has it."""

    times: NDArray[np.float64]
    values: NDArray[np.float64]
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

    def _only(self, rows: NDArray[np.bool_]) -> Columns:
        return self._replace(times=self.times[rows], values=self.values[rows], people=None)


class _Name(NamedTuple):
    """A name of a column, taken apart."""

    plain: str
    meaning: str
    """``time``, a column of a signal, or empty if it is not known."""
    unit: str


def _parsed(name: str) -> _Name:
    text = name.strip().lower()
    if text.count(".") > 1:  # com.samsung.health.heart_rate.start_time
        text = text.rpartition(".")[2]
    bracketed = _BRACKETS.fullmatch(text)
    unit = bracketed[2] if bracketed else ""
    words = re.findall(r"[^\W_]+", bracketed[1] if bracketed else text)
    plain = "".join(words)
    if not _meaning(plain) and len(words) > 1 and not unit:
        shorter, last = "".join(words[:-1]), words[-1]
        if last in _units(_meaning(shorter)):
            plain, unit = shorter, last
    return _Name(plain, _meaning(plain), unit)


def _meaning(plain: str) -> str:
    axis = _AXIS.fullmatch(plain)
    if plain in _TIME_NAMES:
        return "time"
    return axis[1] if axis else _SYNONYMS.get(plain, "")


def _units(meaning: str) -> dict[str, float]:
    return _UNITS.get(meaning, _IN_G) if meaning else {}


def read_columns(
    path: Path,
    signal: str,
    options: Options = NO_OPTIONS,
    *,
    sampling: tuple[float, float] | None = None,
) -> Columns:
    """Times and values of a signal, by the first way to call it whose columns the file has.

    The file is text or, by its ending, Parquet; the signal is heart_rate, motion or steps. Rows
    without times have a `sampling`: the Unix time of the first, and Hz. Raises `DataError` if
    columns are missing or broken; names the line.
    """
    import polars as pl

    names, layout = _header(path)
    parsed = [_parsed(name) for name in names]
    times, values = _chosen(path, parsed, names, layout, signal, n_times=0 if sampling else 1)
    people = [at for at, one in enumerate(parsed) if one.plain in _PEOPLE]
    frame = _frame(path, names, layout, [*times, *values, *people])
    dated = (pl.Date, pl.Time, pl.Datetime)
    numbers = [at for at in (*times, *values) if not isinstance(frame[str(at)].dtype, dated)]
    for at in {*numbers, *values}:
        require_numbers(path, frame.select(pl.col(str(at)).alias(names[at] or str(at + 1))))
    needed = list(map(str, values))
    blank = [pl.col(one).fill_nan(None) for one in needed if frame[one].dtype.is_float()]
    measured = frame.with_row_index(_ROW).with_columns(blank).drop_nulls(subset=needed)
    place = partial(_place, path, layout, measured[_ROW])

    def columns(chosen: Sequence[int]) -> list[pl.Series]:
        return [measured[str(at)].alias(names[at] or str(at + 1)) for at in chosen]

    if sampling:
        start, rate = sampling
        seconds = start + measured[_ROW].to_numpy() / rate
        utc_offset, local = 0, False
    else:
        units = [parsed[at].unit for at in times]
        seconds, utc_offset, local = _times(columns(times), units, options, place)
    signals = [
        _numbers(column, place) * _factor(path, column.name, parsed[at])
        for at, column in zip(values, columns(values), strict=True)
    ]
    array = signals[0] if len(signals) == 1 else np.column_stack(signals)
    whose = _people(columns(people))
    if signal == "heart_rate" and whose is None:
        _require_one_heart(path, seconds, array)
    return Columns(seconds, array, utc_offset, local, whose)


def _header(path: Path) -> tuple[Sequence[str], Layout | None]:
    """Names of all columns, empty ones without a header; and of text, where they are."""
    if path.suffix == ".parquet":
        try:
            with reading(path):
                return column_names(path), None
        except table_errors() as error:
            raise _no_parquet(path, error) from error
    layout = layout_of(path, _is_known)
    return layout.names, layout


def _no_parquet(path: Path, error: BaseException) -> DataError:
    return DataError(f"{path}: not a table of numbers in Parquet ({str(error).splitlines()[0]})")


def _chosen(
    path: Path,
    parsed: Sequence[_Name],
    names: Sequence[str],
    layout: Layout | None,
    signal: str,
    *,
    n_times: int,
) -> tuple[list[int], list[int]]:
    """Columns of time and of a signal; without a header, all in their order."""
    times, values = _columns(parsed, signal, value=True)
    if len(times) >= n_times and values:
        return times if n_times else [], values
    expected = " or ".join(", ".join(("time", *way)) for way in _SIGNALS[signal])
    if layout is None or any(names):
        msg = f"{path}: has columns {_describe(names)}; expected {expected}"
    elif len(names) - n_times in map(len, _SIGNALS[signal]):
        return list(range(n_times)), list(range(n_times, len(names)))
    else:
        found = f"expected numbers ({expected}), found {layout.found!r:.60}"
        msg = f"{path}, line {layout.first}: {found}"
    raise DataError(msg)


def _frame(
    path: Path, names: Sequence[str], layout: Layout | None, chosen: Sequence[int]
) -> pl.DataFrame:
    """Columns of a file, called 0, 1, ...; of Parquet, only those that are needed."""
    if layout is not None:
        return read_frame(path, layout)
    try:
        with reading(path):
            wanted = {names[at]: str(at) for at in chosen}
            return read_parquet(path, list(wanted)).rename(wanted)
    except table_errors() as error:
        raise _no_parquet(path, error) from error


def _factor(path: Path, name: str, parsed: _Name) -> float:
    """To the unit that is used here."""
    known = _units(parsed.meaning) if parsed.meaning else {}
    if parsed.unit and parsed.meaning and parsed.unit not in known:
        msg = f"{path}: column {name!r} is in {parsed.unit!r}; expected {' or '.join(known)}"
        raise DataError(msg)
    return known.get(parsed.unit, 1.0)


def _columns(
    parsed: Sequence[_Name], signal: str, *, value: bool = False
) -> tuple[list[int], list[int]]:
    """Columns of time, the usual ones first, and of a signal; empty where they are missing.

    With `value`, a column of that name is the signal's.
    """
    times = [at for at, one in enumerate(parsed) if one.meaning == "time"]
    times.sort(key=lambda at: _TIME_NAMES.index(parsed[at].plain))
    known = {one.meaning: at for at, one in reversed(list(enumerate(parsed)))}
    for way in _SIGNALS[signal]:
        if set(way) <= set(known):
            return times, [known[name] for name in way]
    others = [at for at, one in enumerate(parsed) if one.plain in _ANY]
    return times, others[:1] if value and signal != "motion" else []


def _is_known(fields: Sequence[str]) -> bool:
    """Recognise a header, in which time and some signal have names."""
    parsed = [_parsed(field) for field in fields]
    return any(all(_columns(parsed, signal, value=True)) for signal in _SIGNALS)


def _describe(names: Sequence[str]) -> str:
    """Names of columns, and of those nobody knows the nearest that would do."""
    known = [*_TIME_NAMES[:6], *_SYNONYMS, "x", "y", "z"]
    nearest = []
    for name in names[:20]:
        one = _parsed(name)
        if not one.meaning and (found := get_close_matches(one.plain, known, 1)):
            nearest.append(f"{found[0]} for {name!r:.40}")
    hint = f" (rename to {', '.join(nearest)}?)" if nearest else ""
    return ", ".join(names)[:200] + hint


def _place(path: Path, layout: Layout | None, rows: pl.Series, at: int) -> str:
    """Where in a file a value stands: its line if it is text."""
    row = int(rows[at])
    line = None if layout is None else line_of(path, layout, row)
    return f"{path}, row {row + 1}" if line is None else f"{path}, line {line}"


def _as_numbers(column: pl.Series) -> pl.Series:
    """Numbers, and null for what is none."""
    import polars as pl

    return column.cast(pl.Float64, strict=False)


def _numbers(column: pl.Series, place: _Place) -> NDArray[np.float64]:
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
    columns: Sequence[pl.Series], units: Sequence[str], options: Options, place: _Place
) -> tuple[NDArray[np.float64], int, bool]:
    """Seconds; by how many clocks were ahead of UTC at the first; whether that is unknown.

    Of several columns, Unix time goes before dates with a time, these before a date and a time
    in two columns, and all before seconds since any start.
    """
    import polars as pl

    elapsed = None
    texts = []
    for column, unit in zip(columns, units, strict=True):
        is_text = column.dtype == pl.String
        if column.dtype.is_numeric() or (is_text and not _as_numbers(column).is_null().any()):
            numbers = _numbers(column, place)
            factor = _TIME_UNITS.get(unit)
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
    import polars as pl

    for column in columns:
        whose = column.cast(pl.String).fill_null("")
        if 1 < whose.n_unique() <= len(whose) / 2:
            return np.asarray(whose.to_numpy(), dtype=object)
    return None


def _require_one_heart(path: Path, times: NDArray[np.float64], bpm: NDArray[np.float64]) -> None:
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
    names, _ = _header(path)
    parsed = [_parsed(name) for name in names]
    if not any(names):
        return [named] if named else []
    return [one for one in _SIGNALS if all(_columns(parsed, one, value=one == named))]


def described(path: Path) -> str:
    """Names of a table's columns and what they may mean; empty for what is none."""
    with suppress(DataError):
        names, _ = _header(path) if path.suffix in _SUFFIXES else ((), None)
        return _describe(names) if len(names) > 1 and any(names) else ""
    return ""


def may_hold_several(path: Path, options: Options) -> bool:
    """Whether a table names people, or goes on for more than a day, by its first and last rows."""
    import polars as pl

    names, layout = _header(path)
    parsed = [_parsed(name) for name in names]
    if any(one.plain in _PEOPLE for one in parsed):
        return True
    times = _columns(parsed, "steps")[0] or [0]
    if layout is None:
        frame = _frame(path, names, None, times)
        columns = [frame[str(at)].drop_nulls() for at in times]
    else:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _ENDING))
            last = file.read().decode(layout.encoding, errors="replace").strip().splitlines()[-1]
        rows = [split(line, layout.separator) for line in (layout.found, last)]
        columns = [pl.Series(str(at), [row[at] for row in rows]) for at in times]
    units = [parsed[at].unit for at in times]
    seconds, _, _ = _times(columns, units, options, lambda row: f"{path}, row {row + 1}")
    return bool(len(seconds) and np.ptp(seconds) > LONGEST_NIGHT)


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
            raise DataError(f"{path}, row {at + 1}: expected a number, found {found}; correct it")
    return frame


def require_numbers(path: Path, frame: pl.DataFrame) -> None:
    """Refuse columns, other than text, of which a cast to numbers fails or gives odd ones."""
    import polars as pl

    for name, kind in frame.schema.items():
        if not (kind.is_numeric() or isinstance(kind, pl.String | pl.Null)):
            msg = f"{path}: column {name!r} is of type {str(kind)[:60]}; write it as numbers"
            raise DataError(msg)
