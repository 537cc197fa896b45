"""Records of heart rate, steps and sleep, as phones and apps keep them, and how they are collected.

Those that can't be right are left out, and counted.
"""

from __future__ import annotations

import logging
from array import array
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sleepstage.core.hypnogram import show_time
from sleepstage.core.signals import MAX_STEPS

Columns: TypeAlias = "tuple[array[Any], array[Any], array[Any], array[Any]]"
"""Starts, ends, values and offsets of one source as they come; see `Series`."""

_log = logging.getLogger(__name__)

HEART_RATE, STEPS, SLEEP = "heart_rate", "steps", "sleep"
"""Kinds of records."""

_LONGEST_SLEEP: Final = 86400.0  # s: some apps begin records and never end them


class SleepRecord(NamedTuple):
    """Somebody in bed, awake or asleep."""

    start: float
    end: float
    value: str
    """``InBed``, ``Awake``, ``Asleep``, ``AsleepCore``, ..."""
    source: str
    utc_offset: int
    """Seconds, at the start."""


@dataclass(frozen=True, eq=False)
class Series:
    """Samples of one source, in order of their ends; all columns are of shape (n,)."""

    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    """Unix seconds, like `starts`: each sample was measured between the two."""
    values: NDArray[np.float32]
    """Beats per minute, or steps."""
    offsets: NDArray[np.int16]
    """Minutes by which clocks were ahead of UTC."""

    def between(self, start: float, end: float) -> Series:
        """Samples that end within, as views."""
        first, last = np.searchsorted(self.ends, [start, end])
        return self._take(slice(int(first), int(last)))

    def apart_from(self, other: Series, seconds: float) -> Series:
        """Those samples that are further than this from any of another series."""
        after = other.ends.searchsorted(self.ends)
        known = np.concatenate([[-np.inf], other.ends, [np.inf]])
        distance = np.minimum(self.ends - known[after], known[after + 1] - self.ends)
        return self._take(distance > seconds)

    @classmethod
    def joined(cls, *parts: Series) -> Series:
        """The samples of all."""
        columns = zip(*(vars(one).values() for one in parts or [_NOTHING]), strict=True)
        return cls(*map(np.concatenate, columns)).in_order()

    def above_zero(self) -> Series:
        """Those samples in which something was counted."""
        return self._take(self.values > 0)

    def in_order(self) -> Series:
        """The same samples, sorted."""
        if (self.ends[1:] >= self.ends[:-1]).all():
            return self
        return self._take(np.argsort(self.ends, kind="stable"))

    def _take(self, rows: slice | NDArray[np.intp] | NDArray[np.bool_]) -> Series:
        return Series(self.starts[rows], self.ends[rows], self.values[rows], self.offsets[rows])


_NOTHING: Final = Series(*(np.empty(0, kind) for kind in ("f8", "f8", "f4", "i2")))


@dataclass(frozen=True, eq=False)
class Export:
    """What an export holds of sleep, by the names of the sources that wrote it."""

    heart_rate: dict[str, Series]
    steps: dict[str, Series]
    sleep: list[SleepRecord]
    zones: dict[int, str]
    """Time zones that records name, by hours of Unix time. The offsets that times are written with
    say little: they are those in force where and when the export was made."""


class Collector:
    """Records of one person, as they come."""

    def __init__(self) -> None:
        self.heart_rate: defaultdict[str, Columns] = defaultdict(_new_columns)
        self.steps: defaultdict[str, Columns] = defaultdict(_new_columns)
        self.sleep: list[SleepRecord] = []

    def export(self, zones: dict[int, str] | None = None) -> Export:
        """All that was added."""
        return Export(
            _series(self.heart_rate), _series(self.steps), sorted(self.sleep), zones or {}
        )

    def add_sleep(self, record: SleepRecord) -> None:
        """Add a record; raises ValueError if it can't be right."""
        seconds = record.end - record.start
        if not seconds >= 0:
            raise ValueError(f"sleep that ends, {show_time(record.end)}, before it begins")
        if seconds > _LONGEST_SLEEP:
            raise ValueError(f"sleep of {seconds / 3600:.0f} h")
        self.sleep.append(record)


def add_sample(columns: Columns, start: float, end: float, value: float, minutes: int) -> None:
    """Add to the columns of a source; raises ValueError for a sample that can't be right."""
    if not (0 <= value <= MAX_STEPS and start <= end):
        raise ValueError(f"value {value:g} from {show_time(start)} to {show_time(end)}")
    for column, part in zip(columns, (start, end, value, minutes), strict=True):
        column.append(part)


def _new_columns() -> Columns:
    return array("d"), array("d"), array("f"), array("h")


def _series(sources: defaultdict[str, Columns]) -> dict[str, Series]:
    return {
        source: Series(*(np.frombuffer(column, column.typecode) for column in columns)).in_order()
        for source, columns in sources.items()
        if len(columns[0])
    }


class Odd:
    """How many records were left out, and what was wrong with the first."""

    def __init__(self) -> None:
        self._n = 0
        self._first = ""

    def count(self, place: str, problem: Exception | str) -> None:
        """Count a record that can't be read."""
        self._n += 1
        what = f"no {problem}" if isinstance(problem, KeyError) else str(problem)
        self._first = self._first or f"{place}: {what[:200]}"

    def report(self, name: str) -> None:
        """Log them, if there are any, of what is called so."""
        if self._n:
            message = "%s: left out %d records that can't be read, the first in %s"
            _log.warning(message, name, self._n, self._first)
