"""A message of a watch: samples as JSON or in binary, checked; and as the bytes that are stored.

The binary form is a row of blocks, one for each signal, everything little-endian: a header of 8
bytes (signal, values a sample, bytes a value, a zero byte, number of samples as uint32), the times
as float64 (seconds), the values as float32 or float64, sample by sample. 50 Hz acceleration takes
20 bytes a sample in it, a third of JSON.
"""

import hashlib
import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import chain
from typing import Any, Final

import numpy as np
import orjson

from sleepstage.core.motion import MOTION_COLUMNS, UNIT_SAMPLES, check_unit
from sleepstage.core.samples import Samples
from sleepstage.core.signals import clean_motion, clean_steps
from sleepstage.errors import DataError

_HEADER: Final = struct.Struct("<BBBxI")
_CODES: Final = {"heart_rate": 1, "motion": 2, "steps": 3, "step_counts": 4}
_SIGNALS: Final = {code: name for name, code in _CODES.items()}
_WIDTHS: Final = {"heart_rate": (1,), "motion": (3, 4), "steps": (1,), "step_counts": (1,)}
_JSON_SIGNALS: Final = ("heart_rate", "motion", "steps")
_DIGEST_BYTES: Final = 16


class TooManyError(DataError):
    """A message of more samples than allowed."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Message:
    """Samples of any signals, each sorted by time."""

    heart_rate: Samples = field(default_factory=Samples.empty)  # beats per minute
    # Acceleration in g, of shape (n, 3), or 15 s summaries at the end of their windows, (n, 4).
    motion: Samples = field(default_factory=lambda: Samples.empty(len(MOTION_COLUMNS)))
    # Steps since the sample before, at the time when they were known.
    steps: Samples = field(default_factory=Samples.empty)
    # Steps since the recording began, as a pedometer counts them.
    step_counts: Samples = field(default_factory=Samples.empty)

    @classmethod
    def clean(cls, **given: tuple[Any, Any]) -> "Message":
        """Check pairs of times and values, named as the attributes are.

        Raises `DataError` if shapes do not fit, something is no finite number, a count is
        negative, or acceleration is clearly not in g.
        """
        signals = {name: _clean(name, pair) for name, pair in given.items() if len(pair[0])}
        return cls(**signals)

    @classmethod
    def from_json(cls, body: bytes, limit: float = math.inf) -> "Message":
        """Read the JSON of what `from_object` takes."""
        return cls.from_object(read_json(body), limit)

    @classmethod
    def from_object(cls, content: Any, limit: float = math.inf) -> "Message":
        """Read ``{"heart_rate": [[time, bpm], ...], "motion": [[time, x, y, z], ...], ...}``.

        Raises `DataError`, which names the signal and the sample, if it is no such object, and
        `TooManyError` if it has more samples than `limit`.
        """
        if not isinstance(content, dict) or not set(content) <= set(_JSON_SIGNALS):
            msg = f"expected an object with some of {', '.join(_JSON_SIGNALS)}"
            if isinstance(content, dict):
                msg += f"; got {', '.join(sorted(set(content) - set(_JSON_SIGNALS)))[:80]}"
            raise DataError(msg)
        check_count(sum(len(rows) for rows in content.values() if isinstance(rows, list)), limit)
        return cls.clean(**{name: _columns(name, rows) for name, rows in content.items()})

    @classmethod
    def from_bytes(cls, body: bytes, limit: float = math.inf) -> "Message":
        """Read the binary form.

        Raises `DataError` if it is cut short, has an unknown block, or its samples are not what
        they should be, and `TooManyError` if it has more samples than `limit`.
        """
        given: dict[str, tuple[Any, Any]] = {}
        for name, times, values in _blocks(body):
            if name in given:
                raise DataError(f"two blocks of {name}; put all its samples into one")
            given[name] = times, values
        check_count(sum(len(times) for times, _ in given.values()), limit)
        return cls.clean(**given)

    def to_bytes(self) -> bytes:
        """Write the binary form, with values as float64."""
        parts = []
        for name, samples in self.signals.items():
            columns = 1 if samples.values.ndim == 1 else samples.values.shape[1]
            parts.append(_HEADER.pack(_CODES[name], columns, 8, len(samples)))
            parts.append(samples.times.astype("<f8").tobytes())
            parts.append(samples.values.astype("<f8").tobytes())
        return b"".join(parts)

    @cached_property
    def signals(self) -> dict[str, Samples]:
        """Samples of each signal that is there, by name."""
        named = ((one.name, getattr(self, one.name)) for one in fields(self))
        return {name: samples for name, samples in named if len(samples)}

    def between(self, start: float, end: float) -> "Message":
        """Samples with ``start <= time < end``."""
        if start <= self.oldest and self.newest < end:
            return self
        return Message(**{name: one.between(start, end) for name, one in self.signals.items()})

    @cached_property
    def digest(self) -> bytes:
        """The same for the same samples, whatever form and order they came in."""
        return hashlib.sha256(self.to_bytes()).digest()[:_DIGEST_BYTES]

    @cached_property
    def oldest(self) -> float:
        """Time of the oldest sample; infinity if there is none."""
        times = (samples.times[0] for samples in self.signals.values())
        return float(min(times, default=math.inf))

    @cached_property
    def newest(self) -> float:
        """Time of the newest sample; minus infinity if there is none."""
        times = (samples.times[-1] for samples in self.signals.values())
        return float(max(times, default=-math.inf))

    @property
    def n_samples(self) -> int:
        """Number of samples of all signals."""
        return sum(map(len, self.signals.values()))


def join(bodies: Iterable[bytes]) -> dict[str, tuple[Any, Any]]:
    """Times and values of each signal in many messages, one after the other, in no order of time.

    Raises `DataError` if some have acceleration and others summaries.
    """
    parts: dict[str, list[tuple[Any, Any]]] = {}
    for name, times, values in chain.from_iterable(map(_blocks, bodies)):
        parts.setdefault(name, []).append((times, values))
    if len({values.shape[1] for _, values in parts.get("motion", [])}) > 1:
        raise DataError("motion: acceleration and summaries are mixed; a session takes either")
    return {
        name: (np.concatenate([one for one, _ in pairs]), np.concatenate([two for _, two in pairs]))
        for name, pairs in parts.items()
    }


def newest_in(body: bytes) -> float:
    """Time of the newest sample in a stored message; minus infinity if there is none."""
    newest = (float(times.max()) for _, times, _ in _blocks(body) if len(times))
    return max(newest, default=-math.inf)


def read_json(body: bytes) -> Any:
    """Values of JSON. Raises `DataError` if it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise DataError(f"not JSON ({error})") from error


def check_count(count: int, limit: float) -> None:
    """Raise `TooManyError` if there are more samples than `limit`."""
    if count > limit:
        raise TooManyError(f"{count} samples; a message has at most {limit:.0f}: divide it")


def _clean(name: str, pair: tuple[Any, Any]) -> Samples:
    if name == "motion":
        motion = clean_motion(pair)
        # As many as show the unit may never be in one message: a tenth of them, at rest, do.
        if motion.values.shape[1] == 3:
            check_unit(motion.values, least=UNIT_SAMPLES // 10)
        return motion
    if name == "heart_rate":  # what is no heart rate is counted by the session
        return Samples.clean(*pair, name="heart rate")
    return clean_steps(pair, name.replace("_", " "))


def _columns(name: str, rows: Any) -> tuple[Any, Any]:
    widths = [1 + width for width in _WIDTHS[name]]
    expected = f"{name}: expected an array of rows of {' or '.join(map(str, widths))} numbers"
    if not isinstance(rows, list):
        raise DataError(expected)
    if not rows:
        return [], []
    width = len(rows[0]) if isinstance(rows[0], list) else 0
    if width not in widths:
        raise DataError(f"{expected}, time first; got {str(rows[0])[:60]}")
    if not _are_rows(rows, width):
        number = next(at for at, row in enumerate(rows) if not _are_rows([row], width))
        raise DataError(f"{expected}, all alike; row {number} is {str(rows[number])[:60]}")
    numbers = np.fromiter(chain.from_iterable(rows), np.float64, len(rows) * width)
    table = numbers.reshape(-1, width)
    return table[:, 0], table[:, 1] if width == 2 else table[:, 1:]


def _are_rows(rows: list[Any], width: int) -> bool:
    # The types at once, not row by row: nothing else runs while many are looked at.
    return (
        set(map(type, rows)) == {list}
        and set(map(len, rows)) == {width}
        and set(map(type, chain.from_iterable(rows))) <= {int, float}
    )


def _blocks(body: bytes) -> Iterator[tuple[str, Any, Any]]:
    begin = 0
    while begin < len(body):
        try:
            code, columns, size, count = _HEADER.unpack_from(body, begin)
        except struct.error as error:
            msg = f"byte {begin}: cut short within a block's header of {_HEADER.size} bytes"
            raise DataError(msg) from error
        name = _SIGNALS.get(code)
        if name is None or columns not in _WIDTHS[name] or size not in (4, 8):
            msg = f"byte {begin}: no block has signal {code} with {columns} values of {size} bytes"
            raise DataError(msg)
        middle = begin + _HEADER.size + 8 * count
        end = middle + size * columns * count
        if end > len(body):
            msg = f"byte {begin}: {count} samples of {name} end at byte {end} of {len(body)}"
            raise DataError(msg)
        times = np.frombuffer(body, "<f8", count, begin + _HEADER.size)
        values = np.frombuffer(body, f"<f{size}", columns * count, middle)
        yield name, times, values if columns == 1 else values.reshape(count, columns)
        begin = end
