"""A signal as a watch gives it: values at irregular times."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sleepstage._utils.arrays import Floats
from sleepstage.errors import DataError

_END_OF_TIME: Final = 1e12  # s: in milliseconds, today is later
_UNIX: Final = (1e9, 4e9)  # s: from 2001 to 2096
_UNITS: Final = {1e3: "milliseconds", 1e6: "microseconds", 1e9: "nanoseconds"}

_EPOCH: Final = np.datetime64(0, "s")
_SECOND: Final = np.timedelta64(1, "s")
_OF_NUMPY: Final = (np.ndarray, np.generic)
_NAIVE: Final = "has no time zone; name one, as datetime.astimezone() does, or give Unix time"

Time = float | datetime | np.datetime64
"""Seconds on the recording's clock, or a moment that becomes Unix time."""

Times: TypeAlias = "ArrayLike | Sequence[datetime] | datetime"
"""Many of them, or one: also as columns of pandas or polars.

A `datetime64` of numpy is in UTC; all other moments need a time zone.
"""


def to_seconds(times: Times) -> Floats:
    """`Times` as numbers, of the same shape.

    Raises `OverflowError`, `TypeError` or `ValueError` for what is no time or has no time zone.
    """
    array = np.asarray(times)
    if array.dtype.kind in "fiu":
        return array.astype(np.float64, copy=False)
    dtype = getattr(times, "dtype", None)
    if getattr(dtype, "tz", None) or getattr(dtype, "time_zone", None):  # of pandas, of polars
        array = np.asarray(times, dtype="datetime64[us]")
    elif array.dtype.kind == "M" and not (dtype is None or isinstance(times, _OF_NUMPY)):
        raise ValueError(f"a column of {dtype} {_NAIVE}")
    if array.dtype.kind == "O":
        array = np.vectorize(_moment, otypes=[np.float64])(array)
    elif array.dtype.kind == "M":
        whole = array.astype("datetime64[s]")  # a float has not as many digits as nanoseconds
        array = (whole - _EPOCH) / _SECOND + (array - whole) / _SECOND
    elif array.dtype.kind == "m":
        array = array / _SECOND
    return np.asarray(array, dtype=np.float64)


def to_time(time: Time, name: str) -> float:
    """`Time` as a number.

    Raises `DataError`, with name and value, if it is none or a moment without a time zone.
    """
    reason = ""
    try:
        is_moment = isinstance(time, datetime | np.datetime64)
        number = float(to_seconds(time) if is_moment else time)  # type: ignore[arg-type]
    except (OverflowError, TypeError, ValueError) as error:
        number, reason = math.nan, f" ({error})"
    if not math.isfinite(number):
        msg = f"{name}={time!r:.40}: expected seconds as a finite number, or a datetime{reason}"
        raise DataError(msg)
    return number


def _moment(time: Any) -> float:
    if not isinstance(time, datetime):
        return float(time)
    if time.utcoffset() is None:
        raise ValueError(f"{time} {_NAIVE}")
    return time.timestamp()


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples of one signal, sorted by time, without exact duplicates."""

    times: NDArray[np.float64]
    """Seconds on the recording's clock, ascending; equal times with different values may occur;
    shape (n,)."""
    values: NDArray[np.float64]
    """What was measured at those times; shape (n,) or (n, k)."""

    @classmethod
    def clean(cls, times: Times, values: ArrayLike, *, name: str, columns: int = 1) -> "Samples":
        """Check raw arrays, sort them by time and drop exact duplicates.

        Parameters
        ----------
        times : `Times`, shape (n,)
            In any order.
        values : array_like, shape (n,) or (n, columns)
            Measured values.
        name : str
            What the signal is called in error messages.
        columns : int
            Number of values per sample.

        Raises
        ------
        DataError
            If shapes do not fit, a time or value is no finite number, or a time is beyond all
            seconds of the calendar: then it is in another unit.
        """
        try:
            times = to_seconds(times)
            values = np.asarray(values, dtype=np.float64)
        except (OverflowError, TypeError, ValueError) as error:
            msg = f"{name}: expected times and values as arrays of numbers ({error})"
            raise DataError(msg) from error
        expected = times.shape if columns == 1 else (*times.shape, columns)
        if times.ndim != 1 or values.shape != expected:
            msg = f"{name}: times have shape {times.shape}, values {values.shape}, expected (n,) "
            raise DataError(msg + ("and (n,)" if columns == 1 else f"and (n, {columns})"))
        if not (np.isfinite(times).all() and np.isfinite(values).all()):
            table = np.column_stack([times, values])
            at = int(np.argmin(np.isfinite(table).all(axis=1)))
            msg = f"{name}: sample {at} is {table[at].tolist()}; remove what is not a finite number"
            raise DataError(msg)
        if len(times) and np.abs(times).max() > _END_OF_TIME:
            at = int(np.abs(times).argmax())
            msg = f"{name}: sample {at} is at {times[at]:.10g} s: give times in seconds"
            raise DataError(msg + _unit_hint(float(times[at])))
        return cls(*_distinct(times, values))

    @classmethod
    def empty(cls, columns: int = 1) -> "Samples":
        """No samples at all: the signal is missing."""
        return cls(np.empty(0), np.empty(0) if columns == 1 else np.empty((0, columns)))

    def __len__(self) -> int:
        return len(self.times)

    def n_before(self, edges: ArrayLike, *, window_ends: bool = False) -> NDArray[np.intp]:
        """Number of samples that belong to what ends at each edge, shape as that of `edges`.

        A sample stands for its moment: at an edge it belongs to what begins there. With
        `window_ends`, samples are stamped with the end of what they stand for, as motion summaries
        are: at an edge they belong to what ends there.
        """
        side: Literal["left", "right"] = "right" if window_ends else "left"
        return np.asarray(self.times.searchsorted(edges, side))

    def between(self, start: float, end: float, *, window_ends: bool = False) -> "Samples":
        """Samples that belong to what goes from `start` to `end`; see `n_before`."""
        first, last = self.n_before([start, end], window_ends=window_ends)
        return Samples(self.times[first:last], self.values[first:last])

    def keep(self, mask: NDArray[np.bool_]) -> "Samples":
        """Samples for which `mask` is true."""
        return Samples(self.times[mask], self.values[mask])

    def thinned(self, seconds: float) -> "Samples":
        """The first sample, and each that comes so many seconds or more after the last one kept."""
        kept, last = [], -np.inf
        for index, time in enumerate(self.times.tolist()):
            if time - last >= seconds:
                kept.append(index)
                last = time
        return Samples(self.times[kept], self.values[kept])

    def followed_by(self, later: "Samples") -> "Samples":
        """These samples and then the `later` ones, which must not be older; see `merged`."""
        times = np.concatenate([self.times, later.times])
        return Samples(times, np.concatenate([self.values, later.values]))

    def merged(self, others: "Samples") -> "Samples":
        """These samples and others, in order of time, without exact duplicates."""
        both = self.followed_by(others)
        return Samples(*_distinct(both.times, both.values))


def _distinct(times: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Sort by time, then by values, and drop copies; `np.unique` takes ten times as long."""
    if (times[1:] > times[:-1]).all():
        return times, values
    columns = values.reshape(len(times), -1)
    order = np.lexsort((*columns.T[::-1], times))
    times, values, columns = times[order], values[order], columns[order]
    copies = (times[1:] == times[:-1]) & (columns[1:] == columns[:-1]).all(axis=1)
    fresh = np.append(True, ~copies)
    return times[fresh], values[fresh]


def _unit_hint(time: float) -> str:
    low, high = _UNIX
    for factor, unit in _UNITS.items():
        if low < time / factor < high:
            return f"; these look like {unit}: divide them by {factor:.0f}"
    return ""
