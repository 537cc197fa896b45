"""A pretend Sensor Logger: what the app would push of a real person's night.

Real are heart rate, with its times and gaps, how many steps were walked by when, where motion has
gaps, the wrist's posture and how much it moved in every 15 s. Made is acceleration, because of that
of the dataset only 15 s summaries are at hand: at a lower rate than a watch's and at irregular
times, a still wrist in the posture of the real peaks (whose signs are not known), with a burst of
movement wherever and as strong as the real counts say. Made is also that the pedometer is read
once a minute; the real counts are of ten minutes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sleepstage.core.motion import WINDOW_SECONDS
from sleepstage.core.recording import Recording
from sleepstage.core.samples import Samples

GRAVITY = 9.80665  # m/s²
BEDTIME = 1_700_000_000_000_000_000  # ns
RATE = 10  # Hz: a fifth of a watch's, to be quick
BURST = 5.0  # s
NOISE = 0.002  # g


@dataclass(frozen=True, eq=False)
class Night:
    """A night as the watch measures it: times in ns, and values."""

    heart_rate: tuple[NDArray[np.int64], NDArray[np.float64]]
    gravity: tuple[NDArray[np.int64], NDArray[np.float64]]
    acceleration: NDArray[np.float64]
    step_counts: tuple[NDArray[np.int64], NDArray[np.int64]]

    @classmethod
    def of(cls, recording: Recording, seed: int = 0) -> Night:
        """Make acceleration for a night that has summaries; its clock begins at `BEDTIME`."""
        rng = np.random.default_rng(seed)
        summaries = recording.motion.between(recording.start + WINDOW_SECONDS, recording.end)
        shape = (len(summaries), WINDOW_SECONDS * RATE)
        within = np.sort(rng.uniform(0, WINDOW_SECONDS, shape), axis=1)
        times = summaries.times[:, np.newaxis] - WINDOW_SECONDS + within
        peaks = summaries.values[:, np.newaxis, 1:]
        posture = peaks / np.maximum(np.linalg.norm(peaks, axis=2, keepdims=True), 0.1)
        strength = NOISE + _strength(summaries.values[:, 0], within, rng)
        moved = rng.normal(size=(*shape, 3)) * strength[:, :, np.newaxis]
        beats = recording.heart_rate.between(recording.start, recording.end)
        readings = np.arange(recording.start + 20, beats.times[-1], 60)
        walked = recording.steps.between(recording.start, recording.end)
        sums = np.append(0, np.cumsum(walked.values)).astype(np.int64)
        counts = sums[np.searchsorted(walked.times, readings, side="right")]
        return cls(
            heart_rate=(_clock(beats.times - recording.start), beats.values),
            gravity=(
                _clock(times.ravel() - recording.start),
                np.broadcast_to(posture, moved.shape).reshape(-1, 3).round(6),
            ),
            acceleration=moved.reshape(-1, 3).round(6),
            step_counts=(_clock(readings - recording.start), counts),
        )

    @property
    def xyz(self) -> NDArray[np.float64]:
        """Gravity and movement together, in g."""
        return self.gravity[1] + self.acceleration

    @property
    def steps(self) -> Samples:
        """Steps since the count before, in seconds."""
        times, counts = self.step_counts
        return Samples(times / 1e9, np.diff(counts, prepend=0).astype(np.float64))

    @property
    def n_samples(self) -> int:
        """Samples that staging can use."""
        return sum(len(one[0]) for one in (self.heart_rate, self.gravity, self.step_counts))

    def newest_before(self, seconds: float) -> float:
        """Time of the newest sample in the night's first seconds."""
        end = BEDTIME + int(seconds * 1e9)
        signals = (self.heart_rate, self.gravity, self.step_counts)
        return max(int(times[times < end][-1]) for times, _ in signals) / 1e9

    def write_tables(self, folder: Path) -> dict[str, Path]:
        """The same samples as files for `sleepstage predict`, in g and seconds."""
        return {
            "heart-rate": write_table(
                folder / "heart-rate.csv", "bpm", self.heart_rate[0] / 1e9, self.heart_rate[1]
            ),
            "motion": write_table(folder / "motion.csv", "x,y,z", self.gravity[0] / 1e9, self.xyz),
            "steps": write_table(
                folder / "steps.csv", "steps", self.steps.times, self.steps.values
            ),
        }

    def pushes(self, every: float, *, standardised: bool = False) -> Iterator[bytes]:
        """Bodies of the app's messages, one for each stretch of so many seconds.

        With `standardised` as by the app's "Standardise Units & Frames": m/s², signs flipped.
        """
        last = max(int(one[0][-1]) for one in (self.heart_rate, self.gravity, self.step_counts))
        step = int(every * 1e9)
        for number, begin in enumerate(range(BEDTIME, last + 1, step)):
            span = begin, begin + step
            payload = [
                *self._wrist(*span, -GRAVITY if standardised else 1.0),
                *_readings("heart rate", "bpm", self.heart_rate, *span),
                *_readings("pedometer", "steps", self.step_counts, *span),
                *_others(begin),
            ]
            message = {"messageId": number, "sessionId": "bed", "deviceId": "phone"}
            yield json.dumps({**message, "payload": payload}).encode()

    def _wrist(self, begin: int, end: int, factor: float) -> Iterator[dict[str, Any]]:
        rows = slice(*np.searchsorted(self.gravity[0], [begin, end]))
        named = [f"{kind}{axis}" for kind in ("gravity", "acceleration") for axis in "XYZ"]
        table = factor * np.hstack([self.gravity[1][rows], self.acceleration[rows]])
        for time, row in zip(self.gravity[0][rows].tolist(), table.tolist(), strict=True):
            values = dict(zip(named, row, strict=True))
            yield {
                "name": "wrist motion",
                "time": time,
                "values": {**values, "rotationRateX": 0.01, "quaternionW": 1.0},
            }


def write_table(path: Path, names: str, times: Any, values: Any) -> Path:
    """Write samples with all their digits."""
    table = np.column_stack([times, values])
    np.savetxt(path, table, fmt="%.17g", delimiter=",", header=f"time,{names}", comments="")
    return path


def _strength(
    counts: NDArray[np.float64], within: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Movement in g of each sample, so that a burst in each window gives about these counts."""
    # Counts are the sum of each second's strength in bins, scaled, less some: the other way round.
    bins = np.where(counts > 0, counts / 3.07 + 3, 0) / BURST
    begins = rng.uniform(0, WINDOW_SECONDS - BURST, (len(counts), 1))
    moves = (within >= begins) & (within < begins + BURST)
    return np.asarray(bins[:, np.newaxis] * 5 / 128 * moves)


def _clock(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    # In microseconds, as seconds in double precision hold them.
    return BEDTIME + (seconds * 1e6).astype(np.int64) * 1000


def _readings(
    name: str, field: str, signal: tuple[NDArray[np.int64], NDArray[Any]], begin: int, end: int
) -> list[dict[str, Any]]:
    rows = slice(*np.searchsorted(signal[0], [begin, end]))
    pairs = zip(signal[0][rows].tolist(), signal[1][rows].tolist(), strict=True)
    return [{"name": name, "time": time, "values": {field: value}} for time, value in pairs]


def _others(time: int) -> list[dict[str, Any]]:
    """What the phone measures besides, and nobody needs."""
    return [
        {"name": "battery", "time": time, "values": {"batteryLevel": 0.5}},
        {"name": "accelerometer", "time": time, "values": {"x": 0.1, "y": 9.0, "z": 1.0}},
    ]
