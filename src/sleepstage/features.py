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

from sleepstage.errors import DataError
from sleepstage.motion import MOTION_COLUMNS
from sleepstage.samples import Samples
from sleepstage.stages import EPOCH_SECONDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sleepstage.recording import Recording

__all__ = ["FEATURES", "FEATURE_NAMES", "Feature", "FeatureState", "extract_features", "push"]

_NAN: Final = math.nan
_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_MEMORY: Final = 30 * _MINUTE  # s of heart rate and motion that are looked back on
_DAY: Final = 24 * _HOUR


class Feature(NamedTuple):
    """One column of the feature table."""

    name: str
    unit: str
    reason: str


FEATURES: Final = (
    Feature("hr_30s", "bpm", "level of this epoch"),
    Feature("hr_sd_2m", "bpm", "REM and wake make it restless, deep sleep steady"),
    Feature("hr_sd_10m", "bpm", "the same over a stage's length"),
    Feature("hr_step_sd_5m", "bpm", "beat-to-beat changes as far as averaged heart rate has them"),
    Feature("hr_trend_10m", "bpm/min", "falls into deep sleep, rises out of it"),
    Feature("hr_1m_vs_10m", "bpm", "arousals and the onset of wake"),
    Feature("hr_5m_vs_30m", "bpm", "slow changes across a sleep cycle"),
    Feature("hr_1m_vs_night", "bpm", "against the running median of this night"),
    Feature("hr_10m_vs_night", "bpm", "the same, smoother"),
    Feature("hr_night_p5", "bpm", "running 5th percentile: this person's floor tonight"),
    Feature("hr_samples_1m", "count", "how much heart rate the row rests on"),
    Feature("hr_age", "log s", "how old the newest heart rate is"),
    Feature("counts_30s", "log count", "movement in this epoch"),
    Feature("counts_5m", "log count", "movement lately"),
    Feature("counts_max_20m", "log count", "the largest movement lately"),
    Feature("still", "log min", "since the last movement: sleep is stillness that lasts"),
    Feature("posture_30s", "g", "change of the wrist's angle within the epoch"),
    Feature("posture_5m", "g", "changes of the wrist's angle lately"),
    Feature("peak_length", "g", "length of the per-second peaks: 1 at rest, more in motion"),
    Feature("motion_windows_5m", "count", "how much motion the row rests on"),
    Feature("elapsed", "h", "since recording start: deep sleep comes early, REM late"),
    Feature("steps_24h", "log count", "how active the last 24 hours were"),
    Feature("since_walk", "log min", "since the last steps"),
)
"""The table of features, in the order of the columns."""

FEATURE_NAMES: Final = tuple(feature.name for feature in FEATURES)


@dataclass(frozen=True, eq=False)
class FeatureState:
    """All that is remembered between two pushes.

    Attributes
    ----------
    start : float
        Start of the first epoch, in seconds on the recording's clock.
    n_epochs : int
        Epochs closed so far.
    heart_rate, motion, steps : Samples
        Samples that later epochs look back on, and those of epochs not closed yet.
    night : ndarray, shape (n,)
        Mean heart rate of each epoch since `start` that had any: the running baseline.
    last_movement : float
        Time of the last summary with an activity count, NaN before the first.
    """

    start: float
    n_epochs: int
    heart_rate: Samples
    motion: Samples
    steps: Samples
    night: NDArray[np.float64]
    last_movement: float

    @classmethod
    def begin(cls, start: float) -> FeatureState:
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
        New samples, as in `sleepstage.recording.Recording`; those later than the last closed
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
    while state.time + EPOCH_SECONDS <= until:
        row, state = _close_epoch(state)
        rows.append(row)
    table = np.array(rows, dtype=np.float32).reshape(len(rows), len(FEATURES))
    return table, _forget(state)


def extract_features(recording: Recording) -> NDArray[np.float32]:
    """Rows for all epochs of a recording: one large `push`, shape (n_epochs, n_features)."""
    rows, _ = push(
        FeatureState.begin(recording.start),
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
    first_open = state.time + EPOCH_SECONDS
    steps = state.steps
    return replace(
        state,
        heart_rate=state.heart_rate.between(first_open - _MEMORY, math.inf),
        motion=state.motion.between(first_open - _MEMORY, math.inf),
        steps=steps.between(first_open - _DAY, math.inf) if len(steps) > 1 else steps,
    )


def _close_epoch(state: FeatureState) -> tuple[list[float], FeatureState]:
    now = state.time + EPOCH_SECONDS
    heart_rate, night = _heart_rate_features(state, now)
    motion, last_movement = _motion_features(state, now)
    row = [
        *heart_rate,
        *motion,
        (now - state.start) / _HOUR,
        *_step_features(state.steps, now),
    ]
    state = replace(state, n_epochs=state.n_epochs + 1, night=night, last_movement=last_movement)
    return row, state


def _log1p(value: float) -> float:
    return math.log1p(value) if value >= 0 else _NAN
