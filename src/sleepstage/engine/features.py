"""Heart rate, motion summaries and steps to one row of numbers per 30 s epoch.

Live by construction: a row is made at its epoch's end from what was known by then, by one
function that looks back from there. State goes in and comes out, so that a night pushed in any
pieces gives the same rows, bit for bit, as the night at once. What is not known is NaN; the
model is trained with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sleepstage.core.motion import MOTION_COLUMNS
from sleepstage.core.samples import Samples
from sleepstage.errors import DataError
from sleepstage.stages import EPOCH_SECONDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sleepstage.core.recording import Recording

__all__ = [
    "FEATURES",
    "FEATURE_NAMES",
    "SUMMARIES",
    "TRACE",
    "Feature",
    "FeatureState",
    "extract_features",
    "has_signal",
    "push",
]

_NAN: Final = math.nan
_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_MEMORY: Final = 30 * _MINUTE  # s of heart rate and motion that are looked back on
_DAY: Final = 24 * _HOUR
_TURN_FLOOR: Final = 1e-3  # g, about the noise of a watch that lies still


_TRACE_STEPS: Final = 10.0 * np.arange(30)[::-1]
_TRACE_AGE: Final = 20.0  # s for which a heart rate holds
_LOOKS_BACK: Final = np.array([0.5, 1, 2, 5, 10, 30])  # min, on heart rate
_MOVED_BACK: Final = np.array([0.5, 5, 20])  # min, on motion

_Column = tuple[str, str, str, float]
"""A feature where it is computed: name, unit, what it is for, and its value of this epoch."""


class Feature(NamedTuple):
    """One column of the feature table."""

    name: str
    signal: str
    unit: str
    reason: str


@dataclass(frozen=True, eq=False)
class FeatureState:
    """All that is remembered between two pushes."""

    start: float
    """Start of the first epoch, in seconds on the recording's clock."""
    n_epochs: int
    """Epochs closed so far."""
    heart_rate: Samples
    motion: Samples
    steps: Samples
    """All three: samples that later epochs look back on, and those of epochs not closed yet."""
    night: NDArray[np.float64]
    """Mean heart rate of each epoch since `start` that had any, the running baseline."""
    last_movement: float
    """Time of the last summary with an activity count, NaN before the first."""

    @classmethod
    def initial(cls, start: float) -> FeatureState:
        """State at the start of a night."""
        return cls(
            start=start,
            n_epochs=0,
            heart_rate=Samples.empty(),
            motion=Samples.empty(len(MOTION_COLUMNS)),
            steps=Samples.empty(),
            night=np.empty(0),
            last_movement=_NAN,
        )

    @property
    def time(self) -> float:
        """End of the last closed epoch."""
        return self.start + self.n_epochs * EPOCH_SECONDS

    @property
    def next_time(self) -> float:
        """End of the epoch that is open."""
        return self.start + (self.n_epochs + 1) * EPOCH_SECONDS


def push(
    state: FeatureState,
    *,
    until: float,
    heart_rate: Samples | None = None,
    motion: Samples | None = None,
    steps: Samples | None = None,
) -> tuple[NDArray[np.float32], FeatureState]:
    """Rows of all epochs that end by `until`, and what to remember for the next call.

    Parameters
    ----------
    state : FeatureState
        From the call before, or `FeatureState.begin`.
    until : float
        Seconds on the recording's clock up to which all samples have been given.
    heart_rate, motion, steps : Samples, optional
        New samples, as in `sleepstage.core.recording.Recording`; those later than the last closed
        epoch wait in the state.

    Returns
    -------
    rows : ndarray of float32, shape (n_new_epochs, n_features)
        Values of `FEATURES`, NaN where unknown.
    state : FeatureState
        For the next call.

    Raises
    ------
    DataError
        If a sample is older than one given before or belongs to an epoch that is closed.
    """
    state = replace(
        state,
        heart_rate=_append(state, state.heart_rate, heart_rate, "heart rate"),
        motion=_append(state, state.motion, motion, "motion", at_end=True),
        steps=_append(state, state.steps, steps, "steps"),
    )
    rows = []
    while state.next_time <= until:
        row, state = _close_epoch(state)
        rows.append(row)
    table = np.array(rows, dtype=np.float32).reshape(len(rows), len(FEATURES))
    return table, _forget(state)


def extract_features(recording: Recording) -> NDArray[np.float32]:
    """Rows for all epochs of a recording: one large `push`, shape (n_epochs, n_features)."""
    rows, _ = push(
        FeatureState.initial(recording.start),
        until=recording.start + recording.n_epochs * EPOCH_SECONDS,
        heart_rate=recording.heart_rate,
        motion=recording.motion,
        steps=recording.steps,
    )
    return rows


def _append(
    state: FeatureState, known: Samples, new: Samples | None, name: str, *, at_end: bool = False
) -> Samples:
    if new is None or not len(new):
        return known
    newest = known.times[-1] if len(known) else -math.inf
    # History from before the night may come with the first push only.
    closed = state.time if state.n_epochs else -math.inf
    first = new.times[0]
    if first < newest or first < closed or (at_end and first == closed):
        msg = f"{name} at {first:.3f} s comes after that time was closed; push samples in order"
        raise DataError(msg)
    return known.followed_by(new)


def _forget(state: FeatureState) -> FeatureState:
    """Drop what no later epoch looks back on."""
    first_open = state.next_time
    return replace(
        state,
        heart_rate=state.heart_rate.between(first_open - _MEMORY, math.inf),
        motion=state.motion.between(first_open - _MEMORY, math.inf),
        steps=state.steps.between(first_open - _DAY, math.inf),
    )


def _close_epoch(state: FeatureState) -> tuple[list[float], FeatureState]:
    columns, trace, state = _describe_epoch(state)
    return [value for group in columns.values() for *_, value in group] + trace, state


def _describe_epoch(
    state: FeatureState,
) -> tuple[dict[str, list[_Column]], list[float], FeatureState]:
    """Columns of the open epoch by their signal, the trace, and the state once it is closed."""
    now = state.next_time
    recent = state.heart_rate.between(now - _MEMORY, now)
    heart_rate, night = _heart_rate_columns(recent, state.night, now)
    motion, last_movement = _motion_columns(state, now)
    hours = (now - state.start) / _HOUR
    columns = {
        "heart_rate": heart_rate,
        "motion": motion,
        "time": [
            ("elapsed", "h", "since recording start: deep sleep comes early, REM late", hours)
        ],
        "steps": _step_columns(state.steps, now),
    }
    state = replace(state, n_epochs=state.n_epochs + 1, night=night, last_movement=last_movement)
    return columns, _trace(recent, now), state


def _mean(values: NDArray[np.float64]) -> float:
    # What the methods mean and std compute, without what they cost on a few numbers.
    return float(np.add.reduce(values)) / len(values) if len(values) else _NAN


def _spread(values: NDArray[np.float64]) -> float:
    if len(values) < 3:
        return _NAN
    apart = values - np.add.reduce(values) / len(values)
    return math.sqrt(np.add.reduce(apart * apart) / len(values))


def _trend(samples: Samples) -> float:
    """Slope of a least-squares line per minute, from samples that span at least two minutes."""
    times = samples.times
    if len(times) < 6 or times[-1] - times[0] < 2 * _MINUTE:
        return _NAN
    centred = times - times.mean()
    return float(centred @ samples.values / (centred @ centred)) * _MINUTE


def _heart_rate_columns(
    recent: Samples, night: NDArray[np.float64], now: float
) -> tuple[list[_Column], NDArray[np.float64]]:
    firsts = np.searchsorted(recent.times, now - _LOOKS_BACK * _MINUTE).tolist()
    last = {
        minutes: recent.values[first:]
        for minutes, first in zip(_LOOKS_BACK.tolist(), firsts, strict=True)
    }
    level, one, five, ten, thirty = (_mean(last[minutes]) for minutes in (0.5, 1, 5, 10, 30))
    night = night if math.isnan(level) else np.append(night, level)
    median, low = _quantiles(night)
    jumps = last[5][1:] - last[5][:-1]
    trend = _trend(recent.between(now - 10 * _MINUTE, now))
    age = math.log1p(now - recent.times[-1]) if len(recent) else _NAN
    columns = [
        ("hr_30s", "bpm", "level of this epoch", level),
        ("hr_sd_2m", "bpm", "REM and wake make it restless, deep sleep steady", _spread(last[2])),
        ("hr_sd_10m", "bpm", "the same over a stage's length", _spread(last[10])),
        (
            "hr_step_sd_5m",
            "bpm",
            "fast changes, as far as averaged heart rate shows",
            _spread(jumps),
        ),
        ("hr_trend_10m", "bpm/min", "falls into deep sleep, rises out of it", trend),
        ("hr_1m_vs_10m", "bpm", "arousals and the onset of wake", one - ten),
        ("hr_5m_vs_30m", "bpm", "slow changes across a sleep cycle", five - thirty),
        ("hr_1m_vs_night", "bpm", "against the running median of this night", one - median),
        ("hr_10m_vs_night", "bpm", "the same, smoother", ten - median),
        ("hr_night_p5", "bpm", "running 5th percentile: this person's floor tonight", low),
        ("hr_samples_1m", "count", "how much heart rate the row rests on", float(len(last[1]))),
        ("hr_age", "log s", "how old the newest heart rate is", age),
    ]
    return columns, night


def _quantiles(values: NDArray[np.float64]) -> tuple[float, float]:
    """Median and 5th percentile as numpy has them, from one sort."""
    n = len(values)
    if not n:
        return _NAN, _NAN
    ordered = np.sort(values)
    median = float(ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    at = 0.05 * (n - 1)
    below = int(at)
    low, high = float(ordered[below]), float(ordered[min(below + 1, n - 1)])
    share = at - below
    step = high - low
    return median, low + step * share if share < 0.5 else high - step * (1 - share)


def _trace(recent: Samples, now: float) -> list[float]:
    """Last heart rate before the end of each step, if it is young enough, less their mean."""
    ends = now - _TRACE_STEPS
    last = np.searchsorted(recent.times, ends) - 1
    held = np.full(len(ends), _NAN)
    known = last >= 0
    known[known] = ends[known] - recent.times[last[known]] <= _TRACE_AGE
    held[known] = recent.values[last[known]]
    if known.any():
        held -= held[known].mean()
    return held.tolist()


def _motion_columns(state: FeatureState, now: float) -> tuple[list[_Column], float]:
    # A summary is stamped with its window's end: one at the epoch's end belongs to it.
    first, end = np.searchsorted(state.motion.times, [now - _MEMORY, now], side="right")
    times, summaries = state.motion.times[first:end], state.motion.values[first:end]
    counts, peaks = np.log1p(summaries[:, 0]), summaries[:, 1:]
    turns = np.abs(peaks[1:] - peaks[:-1]).sum(axis=1)
    since = np.searchsorted(times, now - _MOVED_BACK * _MINUTE, side="right").tolist()
    epoch, five, twenty = since

    def turning(first: int) -> float:
        # Not further back than the first summary there is to compare with.
        return math.log(_mean(turns[max(first - 1, 0) :]) + _TURN_FLOOR)

    moved = np.flatnonzero(summaries[epoch:, 0] > 0)
    last_movement = float(times[epoch + moved[-1]]) if len(moved) else state.last_movement
    still_since = state.start if math.isnan(last_movement) else last_movement
    still = math.log1p((now - still_since) / _MINUTE) if len(times) else _NAN
    most = float(counts[twenty:].max()) if twenty < len(times) else _NAN
    turned = turning(epoch) if epoch < len(times) else _NAN
    length = _mean(np.linalg.norm(peaks[epoch:], axis=1))
    columns = [
        ("counts_30s", "log count", "movement in this epoch", _mean(counts[epoch:])),
        ("counts_5m", "log count", "movement lately", _mean(counts[five:])),
        ("counts_max_20m", "log count", "the largest movement lately", most),
        ("still", "log min", "since the last movement: sleep is stillness that lasts", still),
        ("posture_30s", "log g", "change of the wrist's angle within the epoch", turned),
        ("posture_5m", "log g", "changes of the wrist's angle lately", turning(five)),
        ("peak_length", "g", "length of the per-second peaks: 1 at rest, more in motion", length),
        (
            "motion_windows_5m",
            "count",
            "how much motion the row rests on",
            float(len(times) - five),
        ),
    ]
    return columns, last_movement


def _step_columns(steps: Samples, now: float) -> list[_Column]:
    day = steps.between(now - _DAY, now)
    walked = day.times[day.values > 0]
    since_walk = now - walked[-1] if len(walked) else _DAY
    total = math.log1p(float(day.values.sum())) if len(day) else _NAN
    minutes = math.log1p(since_walk / _MINUTE) if len(day) else _NAN
    return [
        ("steps_24h", "log count", "how active the last 24 hours were", total),
        ("since_walk", "log min", "since the last steps", minutes),
    ]


SUMMARIES: Final = tuple(
    Feature(name, signal, unit, reason)
    for signal, columns in _describe_epoch(FeatureState.initial(0.0))[0].items()
    for name, unit, reason, _ in columns
)
"""Numbers that describe the epoch and what was before it, as they are listed where computed."""

TRACE: Final = tuple(
    Feature(f"hr_trace_{number:02d}", "heart_rate", "bpm", "the shape of the last 5 minutes")
    for number in range(len(_TRACE_STEPS))
)
"""Heart rate in steps of 10 s, oldest first, about its mean: for networks that find shapes."""

FEATURES: Final = (*SUMMARIES, *TRACE)
"""All features, in the order of the columns."""

FEATURE_NAMES: Final = tuple(feature.name for feature in FEATURES)


def has_signal(rows: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Epochs that rest on anything at all: heart rate of the last 30 minutes, or motion of five."""
    age = rows[:, FEATURE_NAMES.index("hr_age")]
    windows = rows[:, FEATURE_NAMES.index("motion_windows_5m")]
    return np.asarray(~np.isnan(age) | (windows > 0))
