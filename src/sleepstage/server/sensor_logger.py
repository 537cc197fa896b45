"""What the app Sensor Logger pushes, as a message.

The app and its format are described at https://github.com/tszheichoi/awesome-sensor-logger
(PUSHING.md, UNITS.md, CROSSPLATFORM.md). Of a recording, three sensors are used: Heart Rate,
Wrist Motion and Pedometer. All others are counted, and neither kept nor logged.
"""

import hashlib
import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sleepstage.core.signals import MAX_STEPS
from sleepstage.errors import DataError
from sleepstage.io.sensor_logger import samples
from sleepstage.io.source import times_and_values
from sleepstage.server.message import Message, check_count, read_json

_MAX_ID: Final = 200  # characters


@dataclass(frozen=True, eq=False)
class Push:
    """One push of the app; device and session may be empty where there are no samples."""

    device: str
    session: str
    message_id: str  # as the app gives it; without one, the SHA-256 of the body
    message: Message  # heart rate, motion in g and in Apple's axes, and counts of steps
    n_ignored: int  # items that are not used: other sensors, and samples that make no sense


def read_push(body: bytes, limit: float = math.inf) -> Push:
    """Read the body of a push.

    A sample that makes no sense is ignored: a phone can't correct it, and the others count. An
    object without samples, as the app sends to try the address, gives an empty message.

    Raises `DataError` if it is no JSON object, its payload is no array of objects, an id is no text
    or number, too long, or missing where there are samples, or most acceleration is too strong to
    be in g; `TooManyError` if it has more items than `limit`.
    """
    content = read_json(body)
    if not isinstance(content, dict):
        raise DataError("expected an object with messageId, sessionId, deviceId and payload")
    items = [] if content.get("payload") is None else content["payload"]
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise DataError("payload: expected an array of objects with name, time and values")
    check_count(len(items), limit)
    signals = _signals(items)
    given = {name: times_and_values(rows) for name, rows in signals.items()}
    needed = len(signals) > 0
    return Push(
        device=_id(content, "deviceId", needed=needed),
        session=_id(content, "sessionId", needed=needed),
        message_id=_id(content, "messageId", needed=False) or hashlib.sha256(body).hexdigest(),
        message=Message.clean(**given),
        n_ignored=len(items) - sum(map(len, signals.values())),
    )


def _id(content: dict[str, Any], name: str, *, needed: bool) -> str:
    value = "" if content.get(name) is None else content[name]
    if type(value) is int:
        value = str(value)
    if needed and value == "":
        msg = f"{name}: missing; samples need it, to know which {name.removesuffix('Id')} it is"
        raise DataError(msg)
    if not isinstance(value, str) or len(value) > _MAX_ID:
        raise DataError(f"{name}: expected a number or a text of {_MAX_ID} characters or fewer")
    return value


def _signals(items: list[dict[str, Any]]) -> dict[str, NDArray[np.float64]]:
    """Rows of time and values of each signal that has some."""
    rows: dict[str, list[list[float]]] = {name: [] for name in samples.FIELDS}
    for item in items:
        sensor = samples.sensor_named(item.get("name"))
        values = item.get("values", item)  # an older form has them beside name and time
        if sensor in samples.FIELDS and isinstance(values, dict):
            row = samples.sample_row(item.get("time"), values, samples.FIELDS[sensor])
            rows[sensor] += [] if row is None else [row]
    tables = {
        "heart_rate": np.array(rows["heartrate"]),
        "motion": samples.motion_in_g(np.array(rows["wristmotion"])),
        "step_counts": np.array([row for row in rows["pedometer"] if 0 <= row[1] <= MAX_STEPS]),
    }
    return {name: table for name, table in tables.items() if len(table)}
