"""Records of heart rate, steps and sleep, as phones and apps keep them, and how they are collected.

Those that can't be right are left out, and counted.
"""

from __future__ import annotations

import logging
import re
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from sleepstage.core.hypnogram import show_time
from sleepstage.core.signals import MAX_STEPS
from sleepstage.errors import DataError
from sleepstage.io.files import MAX_ROWS
from sleepstage.io.names import KNOWN

_Columns: TypeAlias = "tuple[array[Any], array[Any], array[Any], array[Any]]"
"""Starts, ends, values and offsets of one source as they come; see `Series`."""
_Record = TypeVar("_Record")

_log = logging.getLogger(__name__)

HEART_RATE, STEPS, SLEEP = "heart_rate", "steps", "sleep"
"""Kinds of records."""

APPLE_TYPES: Final = {
    "HKQuantityTypeIdentifierHeartRate": HEART_RATE,
    "HKQuantityTypeIdentifierStepCount": STEPS,
    "HKCategoryTypeIdentifierSleepAnalysis": SLEEP,
}
"""Kinds by the names that Apple Health has for them."""

BPM: Final = {"count/min": 1.0, "count/s": 60.0, "bpm": 1.0}
"""Units of heart rate, and their factors."""

_DAY: Final = 86400.0  # s: no sleep is longer, but some apps begin records and never end them
_LAST: Final = 4e9  # Unix seconds, in 2096
_MOST_SOURCES: Final = 1000  # watches, phones and apps
_MOST_SLEEP: Final = 1_000_000  # records: a century of stages
_CHECKED: Final = 1 << 12  # records after which it is checked that nothing grows without end
_ODD: Final = (AttributeError, KeyError, IndexError, OverflowError, TypeError, ValueError)
_APPLE: Final = "hkcategoryvaluesleepanalysis"
_STAGES: Final[dict[str, str]] = {
    word: stage for stage, words in KNOWN["stages"].items() for word in words
}


class Row(NamedTuple):
    """One record."""

    kind: str
    start: float  # Unix seconds, like `end`
    end: float
    value: float | str  # beats per minute, steps, or a stage by any of its names
    offset: int = 0  # seconds by which the clock was ahead of UTC
    source: str = ""
    person: str = ""


@dataclass(frozen=True, eq=False)
class Series:
    """Samples of one source, in order of their ends; all columns are of shape (n,)."""

    starts: NDArray[np.float64]  # Unix seconds: a sample was measured from its start to its end
    ends: NDArray[np.float64]
    values: NDArray[np.float32]  # beats per minute, or steps
    offsets: NDArray[np.int16]  # minutes by which clocks were ahead of UTC

    def between(self, start: float, end: float) -> Series:
        """Samples that end within, as views."""
        first, last = np.searchsorted(self.ends, [start, end])
        return self.take(slice(int(first), int(last)))

    def take(self, rows: slice | NDArray[np.intp] | NDArray[np.bool_]) -> Series:
        """Some of the samples."""
        return Series(self.starts[rows], self.ends[rows], self.values[rows], self.offsets[rows])

    def apart_from(self, other: Series, seconds: float) -> Series:
        """Those samples that are further than this from any of another series."""
        after = other.ends.searchsorted(self.ends)
        known = np.concatenate([[-np.inf], other.ends, [np.inf]])
        distance = np.minimum(self.ends - known[after], known[after + 1] - self.ends)
        return self.take(distance > seconds)

    @classmethod
    def joined(cls, *parts: Series) -> Series:
        """The samples of all."""
        columns = zip(*(vars(one).values() for one in parts or [_NOTHING]), strict=True)
        return cls(*map(np.concatenate, columns)).in_order()

    def in_order(self) -> Series:
        """The same samples, sorted."""
        if (self.ends[1:] >= self.ends[:-1]).all():
            return self
        return self.take(np.argsort(self.ends, kind="stable"))


_NOTHING: Final = Series(*(np.empty(0, kind) for kind in ("f8", "f8", "f4", "i2")))


@dataclass(frozen=True, eq=False)
class Export:
    """What an export holds of sleep, by the names of the sources that wrote it."""

    heart_rate: dict[str, Series]
    steps: dict[str, Series]
    sleep: list[Row]
    """In order of their starts; values are ``InBed``, ``Awake``, ``Asleep``, ``AsleepCore``, ..."""
    zones: dict[int, str]
    """Time zones that records name, by hours of Unix time. The offsets that times are written with
    say little: they are those in force where and when the export was made."""


def stage_of(text: str) -> str:
    """Stage of Apple Health that a word in some export means; empty if it is none."""
    return _STAGES.get(re.sub("[^a-z]", "", text.lower()).removeprefix(_APPLE), "")


class _Person:
    """Records of somebody, as they come; samples are by kind and source."""

    def __init__(self) -> None:
        self.samples: defaultdict[tuple[str, str], _Columns] = defaultdict(
            lambda: (array("d"), array("d"), array("f"), array("h"))
        )
        self.sleep: list[Row] = []


class Records:
    """Records of an export as they are read, by person; those that can't be are counted."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.people: defaultdict[str, _Person] = defaultdict(_Person)
        self.zones: dict[int, str] = {}  # see `Export`
        self._n_odd = 0
        self._first_odd = ""

    def take(
        self,
        place: str,
        records: Iterable[tuple[int, _Record]],
        parse: Callable[[_Record], Iterable[Row]],
    ) -> None:
        """Add the rows of numbered records."""
        number = 0
        for n, (number, record) in enumerate(records, 1):
            try:
                for row in parse(record):
                    self._add(row)
            except _ODD as error:
                self._n_odd += 1
                what = f"no {error}" if isinstance(error, KeyError) else str(error)
                self._first_odd = self._first_odd or f"{place} {number}: {what[:200]}"
            if n % _CHECKED == 0:
                self._require_bounded(f"{self.name}, {place} {number}")
        self._require_bounded(f"{self.name}, {place} {number}")

    def _add(self, row: Row) -> None:
        """Add a row; raises ValueError if it can't be right."""
        kind, start, end, value, offset, source, name = row
        if not (0 < start <= end < _LAST and abs(offset) <= _DAY):
            span = f"from {start:.10g} to {end:.10g} s"
            raise ValueError(f"{kind} {span}: ends before it begins, or is not of this age")
        person = self.people[name]
        if kind == SLEEP:
            if not (stage := stage_of(str(value))):
                raise ValueError(f"unknown sleep {value!r:.60}")
            if end - start > _DAY:
                raise ValueError(f"sleep of {(end - start) / 3600:.0f} h")
            person.sleep.append(row._replace(value=stage))
            return
        if kind not in (HEART_RATE, STEPS) or not 0 <= (number := float(value)) <= MAX_STEPS:
            raise ValueError(f"value {value!r:.60} at {show_time(start)}")
        columns = person.samples[kind, source]
        for column, part in zip(columns, (start, end, number, offset // 60), strict=True):
            column.append(part)

    def _require_bounded(self, place: str) -> None:
        """Refuse what grows without end."""
        n_rows = 0
        for person in self.people.values():
            n_rows += sum(len(ends) for _, ends, *_ in person.samples.values())
            for found, limit, what in (
                (len(person.samples), _MOST_SOURCES, "sources of heart rate and steps"),
                (len(person.sleep), _MOST_SLEEP, "records of sleep"),
            ):
                if found > limit:
                    raise DataError(f"{place}: {found} {what}, more than {limit} of one person")
        MAX_ROWS.require(n_rows, place)

    def export(self, person: str) -> Export:
        """All that was taken of somebody."""
        found = self.people[person]
        series: dict[str, dict[str, Series]] = {HEART_RATE: {}, STEPS: {}}
        for (kind, source), columns in found.samples.items():
            arrays = (np.frombuffer(one, one.typecode) for one in columns)
            series[kind][source] = Series(*arrays).in_order()
        return Export(**series, sleep=sorted(found.sleep), zones=self.zones)

    def report(self) -> None:
        """Log how many were left out, if any, and what was wrong with the first."""
        if self._n_odd:
            message = "%s: left out %d records that can't be read, the first in %s"
            _log.warning(message, self.name, self._n_odd, self._first_odd)
