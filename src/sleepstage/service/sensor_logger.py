"""What the app Sensor Logger pushes, as a message.

The app and its format are described at https://github.com/tszheichoi/awesome-sensor-logger
(PUSHING.md, UNITS.md, CROSSPLATFORM.md). Of a recording, three sensors are used: Heart Rate,
Wrist Motion and Pedometer. All others are counted, and neither kept nor logged.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sleepstage.errors import DataError
from sleepstage.service.message import Message, read_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Push", "read_push"]

_MAX_ID: Final = 200  # characters
_END_OF_TIME: Final = 2.0**63  # ns, the year 2262: what the app's own clock can hold
_GRAVITY: Final = 9.80665  # m/s², as the app has it
_SLACK: Final = 0.1  # of the length of gravity, in g
_HARDEST: Final = 300.0  # g: no watch measures more

_FIELDS: Final = {
    "heartrate": ("bpm",),
    "wristmotion": (
        *("gravityX", "gravityY", "gravityZ"),
        *("accelerationX", "accelerationY", "accelerationZ"),
    ),
    "pedometer": ("steps",),
}
_PLAIN: Final = str.maketrans("", "", " -_")


@dataclass(frozen=True, eq=False)
class Push:
    """One push of the app.

    Attributes
    ----------
    device, session, message_id : str
        As the app says them; without a message's id, the SHA-256 of its body. Device and session
        may be empty where there are no samples.
    message : Message
        Heart rate, motion in g and in Apple's axes, and counts of steps.
    n_ignored : int
        Number of items that are not used: other sensors, and samples that make no sense.
    """

    device: str
    session: str
    message_id: str
    message: Message
    n_ignored: int


def read_push(body: bytes) -> Push:
    """Read the body of a push.

    A sample that makes no sense is ignored: a phone can't mend it, and the others count. An object
    without samples, as the app sends to try the address, gives an empty message.

    Raises
    ------
    DataError
        If it is no JSON object, its payload is no array of objects, or an id is no text or number,
        too long, or missing where there are samples. Or if most acceleration is too strong to be
        in g.
    """
    said = read_json(body)
    if not isinstance(said, dict):
        msg = "expected an object with messageId, sessionId, deviceId and payload"
        raise DataError(msg)
    items = _items(said)
    signals = _signals(items)
    needed = len(signals) > 0
    return Push(
        device=_id(said, "deviceId", needed=needed),
        session=_id(said, "sessionId", needed=needed),
        message_id=_id(said, "messageId", needed=False) or hashlib.sha256(body).hexdigest(),
        message=Message.clean(
            **{name: (rows[:, 0], _values(rows)) for name, rows in signals.items()}
        ),
        n_ignored=len(items) - sum(map(len, signals.values())),
    )


def _items(said: dict[str, Any]) -> list[dict[str, Any]]:
    items = said.get("payload")
    if items is None:
        return []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        msg = "payload: expected an array of objects with name, time and values"
        raise DataError(msg)
    return items


def _id(said: dict[str, Any], name: str, *, needed: bool) -> str:
    value = said.get(name)
    if type(value) is int:
        value = str(value)
    if value is None or value == "":
        if needed:
            msg = f"{name}: missing; what pushes samples says which {name.removesuffix('Id')} it is"
            raise DataError(msg)
        return ""
    if not isinstance(value, str) or len(value) > _MAX_ID:
        msg = f"{name}: expected a number or a text of {_MAX_ID} characters or fewer"
        raise DataError(msg)
    return value


def _signals(items: list[dict[str, Any]]) -> dict[str, NDArray[np.float64]]:
    """Rows of time and values of each signal that has some."""
    rows: dict[str, list[list[float]]] = {name: [] for name in _FIELDS}
    for item in items:
        name = item.get("name")
        sensor = name.translate(_PLAIN).lower() if isinstance(name, str) else ""
        row = _row(item, _FIELDS[sensor]) if sensor in _FIELDS else None
        if row is not None:
            rows[sensor].append(row)
    tables = {
        "heart_rate": np.array(rows["heartrate"]),
        "motion": _wrist(np.array(rows["wristmotion"])),
        "step_counts": np.array([row for row in rows["pedometer"] if row[1] >= 0]),
    }
    return {name: table for name, table in tables.items() if len(table)}


def _row(item: dict[str, Any], fields: tuple[str, ...]) -> list[float] | None:
    """Time in seconds and values; None if one is no number."""
    values = item.get("values", item)  # an older form has them beside name and time
    nanoseconds = _number(item.get("time"))
    if not isinstance(values, dict) or not 0 < nanoseconds < _END_OF_TIME:
        return None
    row = [nanoseconds / 1e9]
    row.extend(_number(values.get(field)) for field in fields)
    return row if all(map(math.isfinite, row)) else None


def _number(value: Any) -> float:
    """Of a number or its text, in which large ones come; NaN if it is neither."""
    if type(value) is float or type(value) is int:
        return float(value)
    try:
        return float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return math.nan


def _wrist(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Time and acceleration with gravity in g, in Apple's axes, where gravity tells the unit."""
    if not len(rows):
        return rows
    gravity, own = rows[:, 1:4], rows[:, 4:7]
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is not known
        length = np.linalg.norm(gravity, axis=1)
        # "Standardise Units & Frames" gives m/s² and Android's axes, which are the negative ones.
        factor = np.select([_near_one(length), _near_one(length / _GRAVITY)], [1, -1 / _GRAVITY], 0)
        xyz = (gravity + own) * factor[:, np.newaxis]
        known = (factor != 0) & (np.linalg.norm(xyz, axis=1) < _HARDEST)
    table: NDArray[np.float64] = np.column_stack([rows[known, 0], xyz[known]])
    return table


def _near_one(length: NDArray[np.float64]) -> NDArray[np.bool_]:
    near: NDArray[np.bool_] = np.abs(length - 1) < _SLACK
    return near


def _values(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows[:, 1] if rows.shape[1] == 2 else rows[:, 1:]
