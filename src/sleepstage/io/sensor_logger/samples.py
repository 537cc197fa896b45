"""What the app Sensor Logger measures, in its recordings and in its pushes to the service.

The app is described at https://github.com/tszheichoi/awesome-sensor-logger (UNITS.md,
CROSSPLATFORM.md). Three of its sensors are used: Heart Rate, Wrist Motion and Pedometer.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sleepstage.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "END_OF_TIME",
    "FIELDS",
    "ZONE",
    "SensorTable",
    "motion_in_g",
    "no_number",
    "number",
    "sample_row",
    "sensor_named",
    "times_and_values",
]

_log = logging.getLogger(__name__)

FIELDS: Final = {
    "heartrate": ("bpm",),
    "wristmotion": (
        *("gravityX", "gravityY", "gravityZ"),
        *("accelerationX", "accelerationY", "accelerationZ"),
    ),
    "pedometer": ("steps",),
}
"""Of each sensor that is used, as `sensor_named` calls it, the fields that are."""

ZONE: Final = "recording timezone"
"""Field of the metadata that names a time zone."""

_PLAIN: Final = str.maketrans("", "", " -_")

END_OF_TIME: Final = 2.0**63
"""Nanoseconds, in the year 2262: what the app's own clock can hold."""

_GRAVITY: Final = 9.80665  # m/s², as the app has it
_SLACK: Final = 0.1  # of the length of gravity, in g
_HARDEST: Final = 300.0  # g: no watch measures more
_ROWS: Final = 1 << 14  # that wait as lists: in an array, a night of motion takes a third


def sensor_named(name: object) -> str:
    """Plain name of a sensor, which the app writes in several ways; empty if it is no text."""
    return name.translate(_PLAIN).lower() if isinstance(name, str) else ""


def sample_row(time: object, values: dict[str, Any], fields: Sequence[str]) -> list[float] | None:
    """Time in seconds, of one in nanoseconds, and values; None if one of them is no number."""
    nanoseconds = number(time)
    if not 0 < nanoseconds < END_OF_TIME:
        return None
    row = [nanoseconds / 1e9]
    row.extend(number(values.get(name)) for name in fields)
    return row if all(map(math.isfinite, row)) else None


def number(value: Any) -> float:
    """Of a number or its text, in which large ones come; NaN if it is neither."""
    if type(value) not in (float, int, str):
        return math.nan
    try:
        return float(value)
    except (OverflowError, ValueError):
        return math.nan


def motion_in_g(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Acceleration with gravity in Apple's axes; left out is where gravity does not show the unit.

    Parameters
    ----------
    rows : ndarray of float64, shape (n, 7)
        Time, gravity and acceleration without it, in g or, if the app standardises, in m/s².

    Returns
    -------
    ndarray of float64, shape (m, 4)
        Time and x, y, z in g.
    """
    if not len(rows):
        return np.empty((0, 4))
    gravity, own = rows[:, 1:4], rows[:, 4:7]
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is not known
        length = np.linalg.norm(gravity, axis=1)
        # "Standardise Units & Frames" gives m/s² and Android's axes, which are the negative ones.
        in_g, in_si = (np.abs(length / unit - 1) < _SLACK for unit in (1, _GRAVITY))
        factor = np.select([in_g, in_si], [1, -1 / _GRAVITY], 0)
        xyz = (gravity + own) * factor[:, np.newaxis]
        known = (factor != 0) & (np.linalg.norm(xyz, axis=1) < _HARDEST)
    table: NDArray[np.float64] = np.column_stack([rows[known, 0], xyz[known]])
    return table


def times_and_values(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows as `Samples` take them."""
    return rows[:, 0], rows[:, 1] if rows.shape[1] == 2 else rows[:, 1:]


@dataclass
class SensorTable:
    """What one sensor measured, as it is read."""

    sensor: str  # as `sensor_named` calls it
    name: str  # for error messages
    _n_read: int = 0
    _parts: list[NDArray[np.float64]] = field(default_factory=list)
    _waiting: list[list[float]] = field(default_factory=list)

    def add(self, rows: NDArray[np.float64]) -> None:
        """Add rows of time in seconds and the sensor's fields."""
        self._n_read += len(rows)
        self._parts.append(motion_in_g(rows) if self.sensor == "wristmotion" else rows)

    def add_row(self, row: list[float]) -> None:
        """Add a single row; many are kept in an array, which takes less."""
        self._waiting.append(row)
        if len(self._waiting) == _ROWS:
            self._settle()

    def _settle(self) -> None:
        if self._waiting:
            self.add(np.array(self._waiting))
            self._waiting.clear()

    def joined(self) -> NDArray[np.float64]:
        """Rows of time and values, motion in g."""
        self._settle()
        rows = np.concatenate(self._parts) if self._parts else np.empty((0, 2))
        n_unknown = self._n_read - len(rows)
        if n_unknown > len(rows):
            msg = (
                f"{self.name}: gravity is neither 1 g nor {_GRAVITY} m/s² long in {n_unknown} of "
                f"{self._n_read} samples, so that the unit is not known; are the columns swapped?"
            )
            raise DataError(msg)
        if n_unknown:
            _log.warning("%s: left out %d samples of unknown unit", self.name, n_unknown)
        return rows


def no_number(place: str, column: str, value: object) -> DataError:
    """The message about a value that is no number, or no time."""
    expected = "Unix time in nanoseconds" if column == "time" else "a number"
    found = "nothing" if value is None else repr(value)[:60]
    return DataError(
        f"{place}: expected {expected} as {column!r}, found {found}; correct or delete it"
    )
