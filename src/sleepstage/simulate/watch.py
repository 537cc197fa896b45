"""What a watch makes of a simulated person: heart rates, motion, and gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sleepstage.core.motion import WINDOW_SECONDS

if TYPE_CHECKING:
    from numpy.random import Generator

    from sleepstage.simulate.physiology import Floats, Signal

_RATE: Final = 50  # Hz, of raw acceleration
_COUNT_BIN: Final = 5 / 128  # g; counts as in `sleepstage.core.motion`
_STILL_SD: Final = 0.0015  # g, sensor noise; set by eye
_STILL_PEAK: Final = 2.25 * _STILL_SD  # the expected largest of 50 normal samples


def beats(rng: Generator, pulse: Signal, end: int) -> Signal:
    """A noisy sample every 5 s or so."""
    times = np.round(np.cumsum(rng.integers(3, 8, end // 3)) - rng.random(), 5)
    times = times[times < end]
    return times, np.interp(times, *pulse) + rng.normal(0, 0.4, len(times))


def with_gaps(rng: Generator, end: int, n_gaps: int, times: Floats, values: Floats) -> Signal:
    """Lose stretches of half a minute or, rarely, up to 20; whole windows, stamped at their end."""
    lengths = np.minimum(2 * (1 + rng.pareto(1.2, (n_gaps, 1))), 80).round() * WINDOW_SECONDS
    starts = rng.uniform(0, end - lengths) // WINDOW_SECONDS * WINDOW_SECONDS
    kept = ((times <= starts) | (times > starts + lengths)).all(axis=0)
    return times[kept], values[kept]


def summaries(gravity: Floats, shaking: Floats) -> Signal:
    """`MOTION_COLUMNS` as `sleepstage.core.motion` would find them, without the samples between."""
    bins = np.floor(shaking[:, 2] / _COUNT_BIN).reshape(-1, WINDOW_SECONDS).sum(axis=1)
    counts = 3.07 * np.maximum(bins + WINDOW_SECONDS - 18, 0)
    peaks = (np.abs(gravity) + shaking + _STILL_PEAK).reshape(-1, WINDOW_SECONDS, 3).mean(axis=1)
    ends = WINDOW_SECONDS * np.arange(1.0, len(counts) + 1)
    return ends, np.column_stack([np.round(counts, 2), np.round(peaks, 5)])


def raw_motion(rng: Generator, gravity: Floats, shaking: Floats) -> Signal:
    """Acceleration in g at about 50 Hz: gravity, shaking at 4 to 8 Hz, and noise."""
    n = _RATE * len(shaking)
    times = (np.arange(n) + rng.uniform(0.1, 0.9, n)) / _RATE
    swing = np.sin(np.cumsum(np.repeat(rng.uniform(4, 8, len(shaking)), _RATE)) * 2 * np.pi / _RATE)
    xyz = np.repeat(shaking, _RATE, axis=0) * swing[:, np.newaxis]
    xyz += np.column_stack([np.interp(times, range(len(axis)), axis) for axis in gravity.T])
    xyz += rng.normal(0, _STILL_SD, xyz.shape)
    return np.round(times, 6), np.round(xyz, 6)
