"""Heart rate, motion summaries and steps to one row of numbers per 30 s epoch.

Live by construction: a row is made of what was known by its epoch's end, looking back from there,
ten hours at most, so that a row depends as little as possible on when the recording began. State
goes in and comes out, so that a recording pushed in any pieces gives the same rows, bit for bit, as
all of it at once. What is not known is NaN; the model is trained with it.
"""

import bisect
import math
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sleepstage._utils.arrays import Codes, Counts, Floats, Floats32
from sleepstage.core.motion import MOTION_COLUMNS, WINDOW_SECONDS
from sleepstage.core.recording import Recording
from sleepstage.core.samples import Samples
from sleepstage.engine.lookback import Lookback, Windows
from sleepstage.errors import DataError
from sleepstage.stages import EPOCH_SECONDS

_MINUTE: Final = 60.0
_DAY: Final = 86400.0
_MEMORY: Final = 30 * _MINUTE  # s of heart rate and motion that are looked back on
_PER_HOUR: Final = 3600 / EPOCH_SECONDS
_N_LEVELS: Final = 1200  # epochs whose heart rate makes the baseline: ten hours
_AT_REST: Final = 8.0  # bpm above the floor: what people asleep or resting keep within
_N_CALM: Final = 960  # epochs whose calm is remembered: eight hours
_CALM_SHARE: Final = 0.1  # of windows with movement: .02 asleep, .23 awake in bed, more out of it
_UP_EPOCHS: Final = 20  # without calm, one after the other: somebody is up
_N_UP: Final = 900  # epochs in which that is looked for, fewer than are remembered
_TOGETHER: Final = 256  # epochs that are computed at a time: more take memory, and no less time
_TURN_FLOOR: Final = 1e-3  # g, about the noise of a watch that lies still
_COVERED: Final = 0.8  # of a stretch have to be known to tell that nothing moved in it
_TRACE_STEPS: Final = 10.0 * np.arange(30)[::-1]
_TRACE_AGE: Final = 20.0  # s for which a heart rate holds


class Feature(NamedTuple):
    """One column of the feature table."""

    name: str
    signal: str
    unit: str
    reason: str


_Column = tuple[str, str, str, Floats]
"""A feature where it is computed: name, unit, what it is for, and its values."""


@dataclass(frozen=True, eq=False)
class FeatureState:
    """All that is remembered between two pushes; of a night that begins, only its start."""

    start: float
    """Start of the first epoch, in seconds on the recording's clock."""
    n_epochs: int = 0
    """Epochs closed so far."""
    heart_rate: Samples = field(default_factory=Samples.empty)
    motion: Samples = field(default_factory=lambda: Samples.empty(len(MOTION_COLUMNS)))
    steps: Samples = field(default_factory=Samples.empty)
    """All three: samples that later epochs look back on, and those of epochs not closed yet."""
    levels: Floats = field(default_factory=lambda: np.empty(0))
    """Mean heart rate of each of the last epochs, NaN where there was none: the baseline."""
    calm: Codes = field(default_factory=lambda: np.empty(0, dtype=np.int8))
    """Of each of the last epochs: 1 calm, -1 not, 0 where there was no motion."""
    last_movement: float = math.nan
    """Time of the last summary with an activity count, NaN before the first."""
    last_steps: float = math.nan
    last_walk: float = math.nan
    """Times of the last sample of steps, and of the last with any, NaN before the first."""

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
) -> tuple[Floats32, FeatureState]:
    """Rows of all epochs that end by `until`, and the state for the next call.

    Rows have shape (n_new_epochs, n_features): values of `FEATURES`, NaN where unknown. Samples
    are as in `sleepstage.core.recording.Recording`; all of them up to `until` have been given, and
    those of epochs that are still open wait in the state.

    Raises `DataError` if a sample is older than one given before, or of an epoch that is closed.
    """
    beats = _append(state, state.heart_rate, heart_rate, "heart rate")
    moved = _append(state, state.motion, motion, "motion", window_ends=True)
    walked = _append(state, state.steps, steps, "steps", after=state.last_steps)
    state = _forget(replace(state, heart_rate=beats, motion=moved, steps=walked))
    tables = [np.empty((0, len(FEATURES)))]
    while state.next_time <= until:
        ahead = np.arange(1.0, _TOGETHER + 1)
        ends = state.start + (state.n_epochs + ahead) * EPOCH_SECONDS
        columns, trace, state = _describe_epochs(state, ends[ends <= until])
        state = _forget(state)
        summaries = [values for group in columns.values() for *_, values in group]
        tables.append(np.column_stack([*summaries, trace]))
    return np.concatenate(tables, dtype=np.float32), state


def extract_features(recording: Recording) -> Floats32:
    """Rows for all epochs of a recording: one large `push`, shape (n_epochs, n_features)."""
    return rows_until(FeatureState(recording.start), recording, recording.n_epochs)[0]


def rows_until(
    state: FeatureState, recording: Recording, n_epochs: int
) -> tuple[Floats32, FeatureState]:
    """Rows of the epochs from where `state` stands up to so many, and the state there."""
    end = recording.start + n_epochs * EPOCH_SECONDS
    start = state.time if state.n_epochs else -math.inf  # history comes with the first
    return push(
        state,
        until=end,
        heart_rate=recording.heart_rate.between(start, end),
        motion=recording.motion.between(start, end, window_ends=True),
        steps=recording.steps.between(start, end),
    )


def mark_known(rows: NDArray[np.floating]) -> Floats32:
    """Rows (..., n) as networks read them (..., 2 n): zero where unknown, then which are known.

    Not every runtime keeps a NaN.
    """
    known = ~np.isnan(rows)
    return np.concatenate([np.where(known, rows, 0), known], axis=-1, dtype=np.float32)


def _append(
    state: FeatureState,
    known: Samples,
    new: Samples | None,
    name: str,
    *,
    after: float = -math.inf,
    window_ends: bool = False,
) -> Samples:
    if new is None or not len(new):
        return known
    newest = known.times[-1] if len(known) else after
    # History from before the night may come with the first push only.
    closed = state.time if state.n_epochs else -math.inf
    if new.times[0] < newest or new.n_before(closed, window_ends=window_ends):
        at = f"{name} at {new.times[0]:.3f} s"
        raise DataError(f"{at} comes after that time was closed; push samples in order")
    return known.followed_by(new)


def _forget(state: FeatureState) -> FeatureState:
    """Drop what no later epoch looks back on, but for the times of the last movement and steps."""
    first_open = state.next_time
    moved, seen, walked = (float(time[0]) for time in _last_times(state, np.array([state.time])))
    return replace(
        state,
        heart_rate=state.heart_rate.between(first_open - _MEMORY, math.inf),
        motion=state.motion.between(first_open - _MEMORY, math.inf),
        steps=state.steps.between(state.time, math.inf),
        last_movement=moved,
        last_steps=seen,
        last_walk=walked,
    )


def _last_times(state: FeatureState, ends: Floats) -> tuple[Floats, ...]:
    """Times of the last movement, sample of steps, and walk before the end of each epoch."""

    def latest(before: float, samples: Samples, *, window_ends: bool = False) -> Floats:
        seen = Lookback(samples, ends, window_ends=window_ends)
        return np.fmax(before, seen.held(ends, math.inf, of=seen.times))

    moved = state.motion.keep(state.motion.values[:, 0] > 0)
    walked = state.steps.keep(state.steps.values > 0)
    return (
        latest(state.last_movement, moved, window_ends=True),
        latest(state.last_steps, state.steps),
        latest(state.last_walk, walked),
    )


def _describe_epochs(
    state: FeatureState, ends: Floats
) -> tuple[dict[str, list[_Column]], Floats, FeatureState]:
    """Columns of the epochs by their signal, the trace, and the state behind them."""
    heart_rate = Lookback(state.heart_rate, ends)
    motion = Lookback(state.motion, ends, window_ends=True)
    level = heart_rate.last(EPOCH_SECONDS).mean(heart_rate.values)
    moved, seen, walked = _last_times(state, ends)
    levels = np.concatenate([state.levels, level])
    calm = np.concatenate([state.calm, _calm(motion)])
    n_epochs = state.n_epochs + np.arange(1, len(ends) + 1)
    columns = {
        "heart_rate": _heart_rate_columns(heart_rate, level, *_baseline(levels, len(ends))),
        "motion": _motion_columns(motion, np.where(np.isnan(moved), state.start, moved))
        + _rest_columns(calm, n_epochs),
        "steps": _step_columns(ends - seen, ends - walked),
    }
    closed = state.n_epochs + len(ends)
    state = replace(state, n_epochs=closed, levels=levels[-_N_LEVELS:], calm=calm[-_N_CALM:])
    return columns, _trace(heart_rate), state


def _heart_rate_columns(
    rate: Lookback, level: Floats, floor: Floats, resting: Floats, rested: Floats
) -> list[_Column]:
    one, two, five, ten, thirty = (rate.last(n * _MINUTE) for n in (1, 2, 5, 10, 30))
    mean_1, mean_5, mean_10, mean_30 = (n.mean(rate.values) for n in (one, five, ten, thirty))
    jumps = five.pairs.spread(rate.values[1:] - rate.values[:-1])
    age = rate.ends - rate.held(rate.ends, _MEMORY, of=rate.times)
    usual = np.nan_to_num(thirty.pairs.mean(rate.times[1:] - rate.times[:-1]))
    n_1m = one.n.astype(np.float64)
    restless, unsteady = two.spread(rate.values), ten.spread(rate.values)
    return [
        ("hr_30s", "bpm", "level of this epoch", level),
        ("hr_sd_2m", "bpm", "REM and wake make it restless, deep sleep steady", restless),
        ("hr_sd_10m", "bpm", "the same over a stage's length", unsteady),
        ("hr_step_sd_5m", "bpm", "fast changes, as far as averaged heart rate shows", jumps),
        ("hr_1m_vs_10m", "bpm", "arousals and the onset of wake", mean_1 - mean_10),
        ("hr_5m_vs_30m", "bpm", "slow changes across a sleep cycle", mean_5 - mean_30),
        ("hr_1m_vs_rest", "bpm", "against the resting heart rate of this person", mean_1 - resting),
        ("hr_10m_vs_rest", "bpm", "the same, smoother", mean_10 - resting),
        ("hr_floor_10h", "bpm", "5th percentile of the last hours: this person's floor", floor),
        ("hr_rest_10h", "h", "near the floor: how long this person has rested", rested),
        ("hr_samples_1m", "count", "how much heart rate the row rests on", n_1m),
        ("hr_age", "log s", "how old the newest heart rate is", np.log1p(age)),
        ("hr_overdue", "s", "its age less the usual gap: is it worn?", age - usual),
    ]


def _baseline(levels: Floats, n_epochs: int) -> tuple[Floats, ...]:
    """Of the last epochs up to each of the newest `n_epochs`: floor, resting level, hours near it.

    The floor is the 5th percentile. What lies near it is rest, awake or asleep, and its median the
    resting level: hours of activity before the night move neither.
    """
    values = levels.tolist()
    first = len(values) - n_epochs
    ordered = sorted(level for level in values[max(first - _N_LEVELS, 0) : first] if level == level)
    found = []
    for newest in range(first, len(values)):
        if not math.isnan(level := values[newest]):
            bisect.insort(ordered, level)
        if newest >= _N_LEVELS and not math.isnan(level := values[newest - _N_LEVELS]):
            del ordered[bisect.bisect_left(ordered, level)]
        found.append(_rest(ordered))
    return tuple(np.array(found).T)


def _rest(ordered: list[float]) -> tuple[float, float, float]:
    """Floor, resting level and hours near it of sorted levels."""
    if not ordered:
        return math.nan, math.nan, math.nan
    floor = ordered[int(0.05 * (len(ordered) - 1))]
    n = bisect.bisect_right(ordered, floor + _AT_REST)
    return floor, (ordered[(n - 1) // 2] + ordered[n // 2]) / 2, n / _PER_HOUR


def _trace(rate: Lookback) -> Floats:
    """Last heart rate before the end of each step, if it is young enough, less their mean."""
    held = rate.held(rate.ends[:, None] - _TRACE_STEPS, _TRACE_AGE, of=rate.values)
    known = ~np.isnan(held)
    n_known = np.maximum(known.sum(axis=1, keepdims=True), 1)
    return np.asarray(held - np.where(known, held, 0).sum(axis=1, keepdims=True) / n_known)


def _motion_columns(motion: Lookback, still_since: Floats) -> list[_Column]:
    epoch, five, twenty = (motion.last(n * _MINUTE) for n in (0.5, 5, 20))
    all_known = motion.last(_MEMORY)
    counts, peaks = np.log1p(motion.values[:, 0]), motion.values[:, 1:]
    turns = np.abs(peaks[1:] - peaks[:-1]).sum(axis=1)

    def turning(windows: Windows) -> Floats:
        # The first summary is compared with the one before, if that is known.
        before = np.maximum(windows.first - 1, all_known.first)
        turned = np.log(Windows(before, windows.last).pairs.mean(turns) + _TURN_FLOOR)
        return np.where(windows.n > 0, turned, np.nan)

    # Where motion has stopped, what was known last holds on until it is forgotten.
    newest = motion.held(motion.ends, 5 * _MINUTE, of=motion.times)
    until_newest = Lookback(Samples(motion.times, motion.values), newest, window_ends=True)

    def drift(seconds: float) -> Floats:
        windows = until_newest.last(seconds)
        ranges = [windows.max(axis) + windows.max(-axis) for axis in peaks.T]
        covered = windows.n * WINDOW_SECONDS >= _COVERED * seconds
        return np.where(covered, np.sum(ranges, axis=0), np.nan)

    still = np.log1p((motion.ends - still_since) / _MINUTE)
    still = np.where(all_known.n > 0, still, np.nan)
    length = epoch.mean(np.sqrt((peaks * peaks).sum(axis=1)))
    n_5m = five.n.astype(np.float64)
    return [
        ("counts_30s", "log count", "movement in this epoch", epoch.mean(counts)),
        ("counts_5m", "log count", "movement lately", five.mean(counts)),
        ("counts_max_20m", "log count", "the largest movement lately", twenty.max(counts)),
        ("still", "log min", "since the last movement: sleep is stillness that lasts", still),
        ("posture_30s", "log g", "change of the wrist's angle within the epoch", turning(epoch)),
        ("posture_5m", "log g", "changes of the wrist's angle lately", turning(five)),
        ("peak_length", "g", "length of the per-second peaks: 1 at rest, more in motion", length),
        ("motion_windows_5m", "count", "how much motion the row rests on", n_5m),
        ("drift_5m", "g", "range of the wrist's angle: a table has none", drift(5 * _MINUTE)),
        ("drift_15m", "g", "the same, for a sensor with more noise", drift(15 * _MINUTE)),
    ]


def _calm(motion: Lookback) -> Codes:
    """Whether there was hardly any movement in the last ten minutes; see `FeatureState`."""
    share = motion.last(10 * _MINUTE).mean((motion.values[:, 0] > 0).astype(np.float64))
    return np.where(np.isnan(share), 0, np.where(share <= _CALM_SHARE, 1, -1)).astype(np.int8)


def _rest_columns(calm: Codes, n_epochs: Counts) -> list[_Column]:
    """How calm the last hours were, up to each of the newest epochs, of so many since the start."""
    at = np.arange(len(calm) - len(n_epochs), len(calm)) + 1
    n_calm, n_stirring = (np.append(0, np.cumsum(calm == kind)) for kind in (1, -1))
    stirring = n_stirring[_UP_EPOCHS:] - n_stirring[:-_UP_EPOCHS] == _UP_EPOCHS
    ends_up = np.append(-_N_UP, np.flatnonzero(stirring) + _UP_EPOCHS)
    last_up = ends_up[np.searchsorted(ends_up, at, side="right") - 1]
    since_up = np.minimum(np.minimum(at - last_up, n_epochs), _N_UP) / _PER_HOUR

    def hours_of_calm(n: int) -> Floats:
        return np.asarray((n_calm[at] - n_calm[np.maximum(at - n, 0)]) / _PER_HOUR)

    known = calm[at - 1] != 0
    hours = (hours_of_calm(240), hours_of_calm(_N_CALM), since_up)
    two, eight, up = (np.where(known, one, np.nan) for one in hours)
    return [
        ("calm_2h", "h", "how much of the last two hours was calm", two),
        ("calm_8h", "h", "of the last eight: how far the night has come", eight),
        ("since_up", "h", "since the last ten minutes without calm", up),
    ]


def _step_columns(seen: Floats, walked: Floats) -> list[_Column]:
    """Of seconds since the newest sample of steps, and since the last that had any."""
    minutes = np.log1p(np.fmin(walked, _DAY) / _MINUTE)
    since_walk = np.where(seen <= _DAY, minutes, np.nan)
    return [("since_walk", "log min", "since the last steps, a day at most", since_walk)]


SUMMARIES: Final = tuple(
    Feature(name, signal, unit, reason)
    for signal, columns in _describe_epochs(FeatureState(0.0), np.zeros(1))[0].items()
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
