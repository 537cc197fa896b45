"""A pretend Sensor Logger: what the app would push of a real person's night.

Heart rate and steps are those of the person. Acceleration is made: that of the dataset is not at
hand, only its 15 s summaries. Posture is theirs, and movement is as strong as their counts say.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sleepstage.recording import Recording

GRAVITY = 9.80665  # m/s²
BEDTIME = 1_700_000_000_000_000_000  # ns
RATE = 5  # Hz: a tenth of a watch's, to be quick


@dataclass(frozen=True, eq=False)
class Night:
    """A night as the watch measures it: times in ns, and values."""

    heart_rate: tuple[NDArray[np.int64], NDArray[np.float64]]
    gravity: tuple[NDArray[np.int64], NDArray[np.float64]]
    acceleration: NDArray[np.float64]
    step_counts: tuple[NDArray[np.int64], NDArray[np.int64]]

    @classmethod
    def of(cls, recording: Recording, seed: int = 0) -> Night:
        rng = np.random.default_rng(seed)
        summaries = recording.motion.between(recording.start + 15, recording.end)
        begins = np.repeat(summaries.times - 15, 15 * RATE)
        within = np.sort(rng.uniform(0, 15, (len(summaries), 15 * RATE)), axis=1).ravel()
        peaks = np.repeat(summaries.values[:, 1:], 15 * RATE, axis=0)
        lengths = np.maximum(np.linalg.norm(peaks, axis=1, keepdims=True), 0.1)
        strength = np.repeat(summaries.values[:, :1], 15 * RATE, axis=0) / 300
        moved = rng.normal(0, 0.003 + strength, peaks.shape)
        beats = recording.heart_rate.between(recording.start, summaries.times[-1] - 15)
        walked = recording.steps.between(recording.start, summaries.times[-1] - 15)
        counts = np.cumsum(walked.values + rng.integers(0, 3, len(walked))).astype(np.int64)
        return cls(
            heart_rate=(_clock(beats.times - recording.start), beats.values),
            gravity=(_clock(begins + within - recording.start), (peaks / lengths).round(6)),
            acceleration=moved.round(6),
            step_counts=(_clock(walked.times - recording.start), counts),
        )

    def write_tables(self, folder: Path) -> dict[str, Path]:
        """The same samples as files for `sleepstage predict`, in g and seconds."""
        walked = self.step_counts[1]
        tables = {
            "heart-rate": ("time,bpm", *_seconds(self.heart_rate)),
            "motion": ("time,x,y,z", *_seconds((self.gravity[0], self.xyz))),
            "steps": (
                "time,steps",
                *_seconds((self.step_counts[0], np.diff(walked, prepend=0).astype(np.float64))),
            ),
        }
        paths = {}
        for name, (head, times, values) in tables.items():
            rows = zip(times.tolist(), values.reshape(len(times), -1).tolist(), strict=True)
            lines = [",".join(map(repr, (time, *row))) for time, row in rows]
            paths[name] = folder / f"{name}.csv"
            paths[name].write_text("\n".join([head, *lines]) + "\n")
        return paths

    @property
    def xyz(self) -> NDArray[np.float64]:
        """Gravity and movement together, in g."""
        return self.gravity[1] + self.acceleration

    def pushes(self, every: float, *, standardised: bool = False) -> Iterator[bytes]:
        """Bodies of the app's messages, one for each stretch of so many seconds."""
        last = int(max(self.heart_rate[0][-1], self.gravity[0][-1]))
        step = int(every * 1e9)
        for number, begin in enumerate(range(BEDTIME, last + 1, step)):
            payload = [
                *self._wrist(begin, begin + step, standardised=standardised),
                *_readings("heart rate", "bpm", self.heart_rate, begin, begin + step),
                *_readings("pedometer", "steps", self.step_counts, begin, begin + step),
                {"name": "battery", "time": begin, "values": {"batteryLevel": 0.5}},
            ]
            message = {"messageId": number, "sessionId": "bed", "deviceId": "phone"}
            yield json.dumps({**message, "payload": payload}).encode()

    def _wrist(self, begin: int, end: int, *, standardised: bool) -> Iterator[dict[str, Any]]:
        factor = -GRAVITY if standardised else 1.0
        first, last = np.searchsorted(self.gravity[0], [begin, end])
        for row in range(first, last):
            values = {
                f"{kind}{axis}": float(factor * given[row, column])
                for kind, given in (
                    ("gravity", self.gravity[1]),
                    ("acceleration", self.acceleration),
                )
                for column, axis in enumerate("XYZ")
            }
            yield {
                "name": "wrist motion",
                "time": int(self.gravity[0][row]),
                "values": {**values, "rotationRateX": 0.01, "quaternionW": 1.0},
            }


def _clock(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    # In microseconds, as seconds in double precision hold them.
    return BEDTIME + (seconds * 1e6).astype(np.int64) * 1000


def _seconds(
    signal: tuple[NDArray[np.int64], NDArray[np.float64]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return signal[0] / 1e9, signal[1]


def _readings(
    name: str, field: str, signal: tuple[NDArray[np.int64], NDArray[Any]], begin: int, end: int
) -> list[dict[str, Any]]:
    first, last = np.searchsorted(signal[0], [begin, end])
    return [
        {"name": name, "time": int(time), "values": {field: value}}
        for time, value in zip(
            signal[0][first:last].tolist(), signal[1][first:last].tolist(), strict=True
        )
    ]
