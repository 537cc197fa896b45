"""Raw acceleration in CSV of ActiGraph (ActiLife) and of Axivity (omconvert).

ActiLife writes ten lines of preamble with the start, the rate and the form of dates, then names of
columns, with or without timestamps; omconvert writes the same, or names with units alone. Values
are in g with gravity, times are of the local clock and taken as UTC. Counts per epoch are refused.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sleepstage.errors import DataError
from sleepstage.io.exports.gather import Place, nights_in
from sleepstage.io.files import MAX_ROWS, table_errors
from sleepstage.io.source import Format, Found, StoredNight

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sleepstage.io.source import Progress

_MADE: Final = re.compile(r"-+ *Data (?:Table )?File Created By ActiGraph", re.IGNORECASE)
_HEADER: Final = re.compile(
    r'(?P<time>"?(?:Timestamp|Time)"?,)?'
    r'(?:"?Accelerometer [XYZ]"?,?|"?Axis[123]"?,?| ?Accel-[XYZ] \(g\),?){3}(?:,.*| Gyro.*)?'
)
_RATE: Final = re.compile(r"\bat (\d+) Hz")
_DATES: Final = re.compile(r"date format ([Mdy/.-]+)")
_PREAMBLE: Final = 12  # lines at most


class _Layout(NamedTuple):
    """What the beginning of a file says."""

    n_before: int  # lines above the first values
    timed: bool  # the first column is a time
    form: str  # of its dates, for strptime
    start: float  # Unix seconds of the first sample, where there are no times
    rate: float  # Hz


def _find(_: Path, files: Sequence[Path]) -> list[Found]:
    return [
        Found(path.stem, (path,))
        for path in files
        if path.suffix.lower() == ".csv" and _is_ours(_first_lines(path))
    ]


def _first_lines(path: Path) -> list[str]:
    text = Place(path).beginning()
    return [line.strip() for line in islice(text.splitlines(), _PREAMBLE)]


def _is_ours(lines: Sequence[str]) -> bool:
    made = bool(lines) and _MADE.match(lines[0]) is not None
    return made or any("Accel-X (g)" in line for line in lines[:1])


def _layout(path: Path) -> _Layout:
    lines = _first_lines(path)
    fields = dict(line.rsplit(maxsplit=1) for line in lines if len(line.split()) > 1)
    if fields.get("Epoch Period (hh:mm:ss)", "00:00:00") != "00:00:00":
        msg = f"{path}: holds counts per epoch; export raw data, which are in g, from ActiLife"
        raise DataError(msg)
    named = next((n for n, line in enumerate(lines) if _HEADER.fullmatch(line)), None)
    dates = _DATES.search(lines[0])
    form = _strptime(dates[1]) if dates else "%Y-%m-%d" if named == 0 else "%m/%d/%Y"
    ruled = (n for n, line in enumerate(lines[1:], 1) if line.startswith("----"))
    n_before = next(ruled, -1) + 1 if named is None else named + 1
    timed = lines[named].startswith(("Time", '"Time')) if named is not None else False
    start, rate = 0.0, _RATE.search(lines[0])
    if not timed:
        try:
            clock = f"{fields['Start Date']} {fields['Start Time']}"
            start = datetime.strptime(clock, f"{form} %H:%M:%S").replace(tzinfo=UTC).timestamp()
        except (KeyError, ValueError) as error:
            msg = f"{path}: expected Start Date, as {form}, and Start Time in the first lines"
            raise DataError(msg) from error
    if not n_before or not (timed or (rate and int(rate[1]))):
        msg = f"{path}: no names of columns, or no rate 'at … Hz', in the first {_PREAMBLE} lines"
        raise DataError(msg)
    return _Layout(n_before, timed, form, start, float(rate[1]) if rate else 0.0)


def _strptime(form: str) -> str:
    for letter, code in (("y", "%Y"), ("M", "%m"), ("d", "%d")):
        form = re.sub(f"{letter}+", code, form)
    return form


def _read(files: Sequence[Path], _: Progress | None) -> list[StoredNight]:
    import polars as pl

    (path,) = files
    layout = _layout(path)
    names = [*(["time"] if layout.timed else []), "x", "y", "z"]
    try:
        frame = pl.read_csv(
            path,
            has_header=False,
            skip_rows=layout.n_before,
            columns=list(range(len(names))),
            new_columns=names,
            schema_overrides=[pl.String] * len(names),
            glob=False,
        )
    except table_errors() as error:
        what = str(error).splitlines()[0][:100]
        msg = f"{path}, below line {layout.n_before}: no table ({what}); export it again"
        raise DataError(msg) from error
    MAX_ROWS.require(len(frame), str(path))
    texts = frame.select(pl.all().str.strip_chars())
    columns = [pl.col("x", "y", "z").cast(pl.Float64, strict=False)]
    if layout.timed:
        form = f"{layout.form} %H:%M:%S%.f"
        time = pl.col("time").str.to_datetime(form, time_unit="us", strict=False)
        columns.append(time.dt.epoch("us").cast(pl.Float64) / 1e6)
    table = texts.select(columns)
    wrong = table.select(pl.any_horizontal(pl.all().is_null() | ~pl.all().is_finite())).to_series()
    if wrong.any():
        row = wrong.arg_max() or 0
        msg = (
            f"{path}, line {layout.n_before + row + 1}: expected {', '.join(names)}, found "
            f"{','.join(map(str, frame.row(row)))[:60]!r}; correct or delete the line"
        )
        raise DataError(msg)
    times = layout.start + np.arange(len(table)) / (layout.rate or 1.0)
    if layout.timed:
        times = table["time"].to_numpy()
    return nights_in(str(path), motion=(times, table.select("x", "y", "z").to_numpy()))


FORMAT: Final = Format(
    "actigraph-csv",
    "raw acceleration of ActiGraph or Axivity (CSV with a preamble or units in its names)",
    _find,
    _read,
    many=True,
)
