"""Text that research devices and apps write: Empatica E4, ActiGraph and Axivity.

- Empatica E4: ``ACC.csv`` in 1/64 g and ``HR.csv`` in a folder or the zip of a session; each begins
  with the Unix time of its first sample and its rate in Hz, once a column
  (https://support.empatica.com/hc/en-us/articles/201608896).
- ActiGraph's ActiLife, and Axivity's omconvert: tables of raw acceleration in g, with times or
  below a preamble with the start, the rate and the form of dates. Counts per epoch are refused.
- Sensor Logger's SQLite, whose columns are not documented: what to export instead.
"""

import re
import warnings
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Final, NoReturn
from zoneinfo import ZoneInfo

import numpy as np

from sleepstage.errors import DataError
from sleepstage.io.archives import Place, places_in
from sleepstage.io.columns import read_columns
from sleepstage.io.files import beginning_of, bounded_lines
from sleepstage.io.source import Options, Signal, Source, StoredNight, nights_in

_E4_NAME: Final = re.compile(r"(.*?)[ _-]?(ACC|HR)\.csv", re.IGNORECASE)
_E4_ZIPPED: Final = "ACC.csv"  # in archives, which may be far away, only names are looked at
_E4_SIGNALS: Final = {"ACC": ("motion", 3, 64.0), "HR": ("heart_rate", 1, 1.0)}
"""Name of the signal, number of columns and units in one g or beat."""
_E4_FIRST: Final = 1.3e9  # Unix seconds, in 2011: no E4 is older


def _series(place: Place) -> tuple[str, float, float] | None:
    """What a file of the E4 holds, its start and its rate; None if it is none."""
    named = _E4_NAME.fullmatch(place.name)
    if named is None:
        return None
    signal = named[2].upper()
    try:
        rows = [line.split(",") for line in place.beginning().splitlines()[:2]]
        ((start,), (rate,)) = ({float(field) for field in row} for row in rows)
    except ValueError:
        return None
    right = len(rows[0]) == len(rows[1]) == _E4_SIGNALS[signal][1] and start > _E4_FIRST
    return (signal, start, rate) if right and rate > 0 else None


def find_e4(_: Path, files: Sequence[Path]) -> list[Source]:
    """A zip is a session, and so are the files of a folder that are named alike."""
    groups = defaultdict(list)
    for path in files:
        places = places_in(path)
        if any(one.name == _E4_ZIPPED for one in places if one.member) or _series(Place(path)):
            named = _E4_NAME.fullmatch(path.name)
            groups[named[1] if named else path.stem].append(path)
    return [Source(name, tuple(paths)) for name, paths in groups.items()]


def read_e4(files: Sequence[Path], *_: object) -> list[StoredNight]:
    """A session of the E4."""
    places = [place for path in files for place in places_in(path)]
    found = {place: series for place in places if (series := _series(place))}
    folders = {PurePosixPath(place.member).parent for place in found}
    if len(folders) > 1:
        msg = f"{files[0]}: holds {len(folders)} sessions; unpack it, and give the folder"
        raise DataError(msg)
    signals = {_E4_SIGNALS[one[0]][0]: _values(place, *one) for place, one in found.items()}
    return nights_in(str(files[0]), signals)


def _values(place: Place, signal: str, start: float, rate: float) -> Signal:
    _, width, units = _E4_SIGNALS[signal]
    try:
        with place.text() as text, warnings.catch_warnings(action="ignore"):  # of an empty file
            lines = bounded_lines(text, place.path)
            table = np.loadtxt(lines, delimiter=",", skiprows=2, ndmin=2, comments=None)
    except ValueError as error:  # it names the row
        raise DataError(f"{place}, below line 2: {error}; export it again") from error
    if not table.size or table.shape[1] != width or not np.isfinite(table).all():
        msg = f"{place}, below line 2: expected lines of {width} numbers; export it again"
        raise DataError(msg)
    times = start + np.arange(len(table)) / rate
    return times, (table[:, 0] if width == 1 else table) / units


_MADE: Final = re.compile(r"-+ *Data File Created By ActiGraph|Time,Accel-X \(g\)", re.IGNORECASE)
_RATE: Final = re.compile(r"\bat (\d+) Hz")
_DATES: Final = re.compile(r"date format ([Mdy/.-]+)")


def is_raw(path: Path) -> bool:
    """Recognise a table of raw acceleration."""
    return path.suffix.lower() == ".csv" and bool(_MADE.match(Place(path).beginning()))


def read_raw(files: Sequence[Path], _: object, options: Options) -> list[StoredNight]:
    """Its acceleration, by day if it is longer."""
    (path,) = files
    lines = [line.strip() for line in Place(path).beginning().splitlines()[:12]]
    said = dict(line.rsplit(maxsplit=1) for line in lines if " " in line)
    if said.get("Epoch Period (hh:mm:ss)", "00:00:00") != "00:00:00":
        raise DataError(f"{path}: holds counts per epoch; export raw data, which are in g")
    form = dates[1] if (dates := _DATES.search(lines[0])) else "yyyy-MM-dd"
    timed = any(line.lower().startswith(("timestamp,", "time,")) for line in lines)
    found = read_columns(
        path,
        "motion",
        options._replace(day_first=form.startswith("d")),
        in_order=True,
        sampling=None if timed else _sampling(path, lines[0], said, form, options),
    )
    motion = found.times, found.values
    return nights_in(str(path), {"motion": motion}, utc_offset=found.utc_offset)


def _sampling(
    path: Path, line: str, said: dict[str, str], form: str, options: Options
) -> tuple[float, float]:
    """Unix seconds of the first row and Hz, as a preamble has them."""
    zone = ZoneInfo(options.timezone or "UTC")
    for letter, code in (("y", "%Y"), ("M", "%m"), ("d", "%d")):
        form = re.sub(f"{letter}+", code, form)
    try:
        clock = f"{said['Start Date']} {said['Start Time']}"
        start = datetime.strptime(clock, f"{form} %H:%M:%S").replace(tzinfo=zone).timestamp()
        return start, float(_RATE.findall(line)[0])
    except (IndexError, KeyError, ValueError) as error:
        raise DataError(
            f"{path}: expected a rate (at 30 Hz), Start Time, and Start Date as {form}, above"
        ) from error


_SQLITE: Final = b"SQLite format 3\x00"


def is_sqlite(path: Path) -> bool:
    """Recognise a recording of Sensor Logger."""
    pages = beginning_of(path, 1 << 16)  # the first declare the tables
    return pages.startswith(_SQLITE) and b"seconds_elapsed" in pages


def refuse_sqlite(files: Sequence[Path], *_: object) -> NoReturn:
    """Say what to export in its place."""
    msg = f"{files[0]}: Sensor Logger's SQLite is not read; export it as zip or JSON from the app"
    raise DataError(msg)
