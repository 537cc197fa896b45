"""What the readers of exports share: their files, and samples that become nights.

Exports of a person's records become nights as those of Apple Health do. Recordings of a device are
one night, or are cut at noon where they are longer than a day.
"""

from __future__ import annotations

import csv
import json
import logging
import warnings
from array import array
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache, partial
from io import TextIOWrapper
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import numpy as np

from sleepstage.core.recording import LONGEST_NIGHT, Recording
from sleepstage.core.signals import MAX_STEPS
from sleepstage.errors import DataError
from sleepstage.io.apple_health.nights import _nights as nights_of
from sleepstage.io.apple_health.xml import Export, Series, SleepRecord
from sleepstage.io.files import MAX_ROWS, Limit, bounded_lines, member_names, open_member, reading
from sleepstage.io.source import StoredNight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    Signal = tuple[NDArray[np.float64], NDArray[np.float64]]
    """Times in seconds and values, as `Recording.from_arrays` takes them."""

_log = logging.getLogger(__name__)
_Record = TypeVar("_Record")

MAX_JSON: Final = Limit("SLEEPSTAGE_MAX_JSON_BYTES", 1 << 27, "bytes of JSON")
"""Of one file, which is parsed as a whole: a year of minutes has some 60 MB."""

BEGINNING: Final = 1 << 14
"""Bytes in which it shows what a file is."""

_DAY: Final = 86400.0
_SHORTEST: Final = 2 * 3600.0  # s of a day's recording
_LONG: Final = 12 * 3600.0  # s: who measures for longer measured more than a night
_YEARS: Final = (0.0, 4e9)  # Unix seconds, to 2096
_ODD: Final = (AttributeError, KeyError, OverflowError, TypeError, ValueError)


class Place(NamedTuple):
    """A file, or one in an archive."""

    path: Path
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}, {self.member}" if self.member else str(self.path)

    @property
    def name(self) -> str:
        """Without folders."""
        return PurePosixPath(self.member).name or self.path.name

    @contextmanager
    def open(self) -> Iterator[tuple[IO[bytes], int]]:
        """The open file and its size; see `open_member`."""
        with open_member(self.path, self.member) as opened:
            yield opened

    def beginning(self) -> str:
        """Text of the first bytes."""
        with self.open() as (file, _):
            return file.read(BEGINNING).decode("utf-8-sig", errors="replace")


def places_in(files: Iterable[Path]) -> list[Place]:
    """Files, and those in archives among them; hidden ones are left out."""
    found = []
    for path in files:
        members = member_names(path) if path.suffix.lower() == ".zip" else None
        found += [Place(path)] if members is None else [Place(path, name) for name in members]
    return [one for one in found if not one.name.startswith(".") and "__MACOSX" not in one.member]


def readable_places(path: Path) -> list[Place]:
    """`places_in` one file, for whoever looks for a format: nothing of a damaged archive."""
    try:
        return places_in([path])
    except DataError:  # the search for files reports it
        return []


def load_json(place: Place) -> Any:
    """Content of a file; refuses one that is too large or malformed."""
    with place.open() as (file, size):
        MAX_JSON.require(size, str(place))
        content = file.read()
    try:
        return json.loads(content)
    except (RecursionError, ValueError) as error:
        msg = f"{place}: malformed JSON ({str(error)[:100]}); export it again"
        raise DataError(msg) from error


def csv_rows(place: Place) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows by the names in the header, and the numbers of their lines.

    A first line ``sep=,``, which Excel wants, is passed over.
    """
    with place.open() as (file, _), reading(place.path):
        text = TextIOWrapper(file, "utf-8-sig", errors="replace", newline="")
        lines = bounded_lines(text, place.path)
        header = next(lines, "")
        if header.lower().startswith("sep="):
            header = next(lines, "")
        mark = next((mark for mark in ";\t" if mark in header), ",")
        names = [name.strip() for name in next(csv.reader([header], delimiter=mark), [])]
        reader = csv.DictReader(lines, names, delimiter=mark)
        try:
            yield from ((reader.line_num + 1, row) for row in reader)
        except csv.Error as error:
            msg = f"{place}, line {reader.line_num + 1}: {error}; export it again"
            raise DataError(msg) from error


def read_numbers(lines: IO[str], place: Place, *, skip: int, columns: int) -> NDArray[np.float64]:
    """Table of finite numbers, shape (n, columns), between commas below `skip` lines."""
    bounded = bounded_lines(lines, place.path)
    try:
        with warnings.catch_warnings(action="ignore"):  # over an empty file
            table = np.loadtxt(bounded, delimiter=",", skiprows=skip, ndmin=2, comments=None)
    except ValueError as error:  # it names the row
        msg = f"{place}, below line {skip}: {error}; export it again"
        raise DataError(msg) from error
    MAX_ROWS.require(len(table), str(place))
    if not table.size or table.shape[1] != columns or not np.isfinite(table).all():
        msg = f"{place}, below line {skip}: expected lines of {columns} numbers; export it again"
        raise DataError(msg)
    return table


def header_of(text: str) -> list[str]:
    """Names in the first line of a table, but for ``sep=,``; fewer than two if it is none."""
    lines = [line for line in text.splitlines()[:2] if not line.lower().startswith("sep=")]
    mark = next((mark for mark in ";\t" if lines and mark in lines[0]), ",")
    return [field.strip().strip('"') for field in lines[0].split(mark)] if lines else []


def moment(text: str, zone: tzinfo = UTC) -> tuple[float, int]:
    """Unix seconds of ISO 8601, in this zone if it names no offset, and the offset in seconds."""
    plain = text.strip().replace(" +", "+").replace(" -", "-").replace("\u202f", " ")
    try:
        time = datetime.fromisoformat(plain)
    except ValueError:  # on phones that show 12 hours
        time = datetime.strptime(plain, "%Y-%m-%d %I:%M:%S %p%z")
    if time.tzinfo is None:
        time = time.replace(tzinfo=zone)
    return time.timestamp(), int((time.utcoffset() or timedelta()).total_seconds())


def american(text: str) -> float:
    """Seconds of ``3/12/2024 10:15:30 PM`` or ``03/12/24 22:15:30``, as if it were in UTC."""
    day, _, clock = text.strip().partition(" ")
    clock, _, half = clock.partition(" ")
    hours, minutes, seconds = map(int, clock.split(":"))
    if half:
        hours = hours % 12 + {"AM": 0, "PM": 12}[half.upper()]
    return _midnight(day) + 3600 * hours + 60 * minutes + seconds


@lru_cache(maxsize=64)
def _midnight(day: str) -> float:
    form = "%m/%d/%y" if len(day.rpartition("/")[2]) == 2 else "%m/%d/%Y"
    return datetime.strptime(day, form).replace(tzinfo=UTC).timestamp()


def _row_buffer() -> array[float]:
    return array("d")


class Gathered:
    """Records of one person, by the sources that wrote them; those that can't be read are counted.

    Parameters
    ----------
    name : str
        What the export is called in messages.
    advice : str
        What to do where nothing in it tells nights from days.
    """

    def __init__(self, name: str, advice: str) -> None:
        self._name, self._advice = name, advice
        self._beats: defaultdict[str, array[float]] = defaultdict(_row_buffer)
        self._steps: defaultdict[str, array[float]] = defaultdict(_row_buffer)
        self._sleep: list[SleepRecord] = []
        self._n_odd, self._first_odd = 0, ""

    def take(
        self, add: Callable[[_Record], None], records: Iterable[tuple[int, _Record]], place: Place
    ) -> None:
        """Have each of the numbered records added; counts those over which `add` stumbles."""
        number = 0
        for number, record in records:
            try:
                add(record)
            except _ODD as error:
                self._n_odd += 1
                what = f"no {error}" if isinstance(error, KeyError) else str(error)
                self._first_odd = self._first_odd or f"{place}, record {number}: {what[:200]}"
        MAX_ROWS.require(number, str(place))

    def add_heart_rate(self, source: str, time: float, bpm: float, offset: int = 0) -> None:
        """Add beats per minute; the offset of the clock from UTC is in seconds."""
        self._add(self._beats[source], time, time, float(bpm), offset)

    def add_steps(
        self, source: str, start: float, end: float, steps: float, offset: int = 0
    ) -> None:
        """Add steps between two times."""
        self._add(self._steps[source], start, end, float(steps), offset)

    def _add(self, rows: array[float], start: float, end: float, value: float, offset: int) -> None:
        if not (_YEARS[0] < start <= end < _YEARS[1] and 0 <= value <= MAX_STEPS):
            msg = f"value {value:g} from {start:.10g} to {end:.10g} s"
            raise ValueError(msg)
        rows.extend((start, end, value, offset))

    def add_sleep(self, source: str, start: float, end: float, value: str, offset: int = 0) -> None:
        """Add a `SleepRecord`."""
        if not _YEARS[0] < start <= end < _YEARS[1]:
            msg = f"sleep from {start:.10g} to {end:.10g} s"
            raise ValueError(msg)
        self._sleep.append(SleepRecord(start, end, value, source, offset))

    def report(self) -> None:
        """Log what was left out."""
        if self._n_odd:
            message = "%s: left out %d records, the first of them %s"
            _log.warning(message, self._name, self._n_odd, self._first_odd)

    def nights(self) -> list[StoredNight]:
        """Nights by records of sleep and rests between steps; logs what was left out."""
        self.report()
        beats, steps = map(_series, (self._beats, self._steps))
        if not beats:
            msg = f"{self._name}: has no heart rate; export it as well"
            raise DataError(msg)
        if self._sleep or steps:
            return nights_of(Export(beats, steps, sorted(self._sleep)), self._name)
        source, most = max(beats.items(), key=lambda item: len(item[1].ends))
        if most.ends[-1] - most.ends[0] > _LONG:
            _log.warning("%s: nothing tells nights from days; %s", self._name, self._advice)
        if len(beats) > 1:
            _log.warning("%s: heart rate is that of %s; there are others", self._name, source)
        signal = most.ends, most.values.astype(np.float64)
        return nights_in(self._name, heart_rate=signal, utc_offset=60 * int(most.offsets[0]))


def _series(sources: dict[str, array[float]]) -> dict[str, Series]:
    found = {}
    for source, rows in sources.items():
        if rows:
            starts, ends, values, offsets = np.frombuffer(rows).reshape(-1, 4).T
            minutes = (offsets / 60).astype(np.int16)
            series = Series(starts, ends, values.astype(np.float32), minutes)
            found[source] = series.in_order()
    return found


def nights_in(
    name: str,
    *,
    heart_rate: Signal | None = None,
    motion: Signal | None = None,
    steps: Signal | None = None,
    utc_offset: int = 0,
) -> list[StoredNight]:
    """A recording as one night; one longer than a day from noon to noon of its clock.

    Days of less than two hours are left out and counted.
    """
    given = {"heart_rate": heart_rate, "motion": motion, "steps": steps}
    signals = {
        signal: _in_order(*one) for signal, one in given.items() if one is not None and len(one[0])
    }
    times = [signals[one][0] for one in ("heart_rate", "motion") if one in signals]
    if not times:
        msg = f"{name}: has neither heart rate nor motion"
        raise DataError(msg)
    if max(one[-1] for one in times) - min(one[0] for one in times) <= LONGEST_NIGHT:
        return [_night("", signals, name, utc_offset)]
    days = np.unique(np.concatenate([np.unique(_day(one, utc_offset)) for one in times]))
    found = []
    for noon in days * _DAY + _DAY / 2 - utc_offset:
        part = {signal: _between(*one, noon, noon + _DAY) for signal, one in signals.items()}
        if any(_lasts(part[one][0]) for one in ("heart_rate", "motion") if one in part):
            date = datetime.fromtimestamp(noon + utc_offset, UTC).date().isoformat()
            found.append(_night(date, part, name, utc_offset))
    if len(found) < len(days):
        _log.warning("%s: left out %d days of less than 2 h", name, len(days) - len(found))
    return found


def _in_order(times: NDArray[np.float64], values: NDArray[np.float64]) -> Signal:
    if (times[1:] >= times[:-1]).all():
        return times, values
    order = np.argsort(times, kind="stable")
    return times[order], values[order]


def _day(times: NDArray[np.float64], utc_offset: int) -> NDArray[np.float64]:
    return np.floor((times + utc_offset) / _DAY - 0.5)


def _between(
    times: NDArray[np.float64], values: NDArray[np.float64], start: float, end: float
) -> Signal:
    first, last = np.searchsorted(times, [start, end])
    return times[first:last], values[first:last]


def _lasts(times: NDArray[np.float64]) -> bool:
    return len(times) > 0 and bool(times[-1] - times[0] >= _SHORTEST)


def _night(label: str, signals: dict[str, Signal], name: str, utc_offset: int) -> StoredNight:
    recording = Recording.from_arrays(
        **{signal: one for signal, one in signals.items() if len(one[0])},  # type: ignore[arg-type]
        subject=label,
        utc_offset=utc_offset,
        names=dict.fromkeys(signals, name),
    )
    return StoredNight(label, partial(replace, recording))
