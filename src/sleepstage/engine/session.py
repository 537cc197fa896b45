"""Sleep as it happens: samples go in as they arrive, epochs and events come out as they end.

Nothing is worked out here. Samples wait until the watermark has passed them, and then take the way
that a whole recording takes: `sleepstage.core.motion`, `sleepstage.engine.features`, the model's
step. So the same night gives the same epochs, bit for bit, however it was cut into pushes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from sleepstage._utils.arrays import Codes, Floats, Floats32
from sleepstage.core.hypnogram import Epoch, show_time, staged
from sleepstage.core.motion import (
    MOTION_COLUMNS,
    UNIT_SAMPLES,
    MotionState,
    check_unit,
    is_implausible,
    summarise_motion,
)
from sleepstage.core.periods import SleepEvent, SleepPeriod, SleepState, follow
from sleepstage.core.samples import Samples, Time, to_time
from sleepstage.core.signals import Given, clean_heart_rate, clean_motion, clean_steps
from sleepstage.engine.buffer import RAW_COLUMNS, IngestStats, SampleBuffer
from sleepstage.engine.features import FeatureState, push
from sleepstage.engine.snapshot import pack, unpack
from sleepstage.engine.wear import unscored_reasons
from sleepstage.errors import DataError
from sleepstage.stages import EPOCH_SECONDS, Scheme

ModelState = tuple[NDArray[Any], ...]
"""What a model remembers from epoch to epoch, the graph first, then the prior correction; all
zeros at the start."""

AHEAD_SECONDS: Final = 60.0
"""So far may a sample's time be ahead of `now`; what is further ahead comes from a wrong clock."""

LONGEST_SILENCE: Final = 24 * 3600.0
"""So many seconds may a session go on at once; a clock that is further ahead is a wrong one. It
bounds the work of a push, too: the epochs of a silence are emitted as any others."""

_STRETCH: Final = 250  # samples of acceleration summarised at a time: each time has a fixed cost


class LiveModel(Protocol):
    """What a session needs of its model; see `sleepstage.Stager`."""

    scheme: Scheme
    digest: str

    @property
    def look_ahead(self) -> int: ...  # noqa: D102
    def initial_state(self) -> ModelState: ...  # noqa: D102
    def step(self, rows: Floats32, state: ModelState) -> tuple[Floats32, ModelState]: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class _State:
    """All that a session remembers. Replaced as a whole: what fails changes nothing."""

    lateness: float
    weights: Floats
    """Probabilities are multiplied by these before the largest is taken."""
    motion: MotionState
    features: FeatureState
    model: ModelState
    reasons: Codes
    """Why the epochs that a model looks ahead for can't be staged; shape (look_ahead,)."""
    clock: float = -math.inf
    """The largest `now`."""
    motion_columns: int = 0
    """3 for raw acceleration, 4 for summaries, 0 before the first."""
    n_lengths: int = 0
    """Samples of acceleration since its unit was last judged."""
    n_long: int = 0
    """Those of them that are too long, or too short, to be in g and with gravity."""
    waiting: SampleBuffer = field(default_factory=SampleBuffer)
    sleep: SleepState = field(default_factory=SleepState)
    intake: IngestStats = field(default_factory=IngestStats)

    @property
    def watermark(self) -> float:
        """All samples before this time have been given; before the night begins there is none."""
        time = self.clock - self.lateness
        if self.features.n_epochs:  # `Session.finish` does not wait for late samples
            return max(time, self.features.time)
        return time if time >= self.features.start else -math.inf

    @property
    def horizon(self) -> float:
        """Times beyond this one come from a wrong clock, or belong in another session."""
        return max(self.clock, self.features.time) + LONGEST_SILENCE


class Session:
    """One person, live: a night, or as many days and nights as the watch is worn.

    `sleepstage.Stager.session` begins one, and describes what it takes; `class_weights` are those
    of `sleepstage.Hypnogram.decide`.
    """

    passed: SampleBuffer
    """What the epochs of the last push were made from, acceleration as 15 s summaries.

    Kept from push to push, these make the recording that a whole-night model reads.
    """
    events: tuple[SleepEvent, ...]
    """What the epochs of the last push decided: falling asleep, waking up, the onset of REM.

    That a watch is not worn any more is among them. The rules are those of
    `sleepstage.core.periods`. Read them after each push; the next one replaces them.
    """

    def __init__(
        self,
        model: LiveModel,
        *,
        start: Time,
        lateness: float = 5.0,
        class_weights: Mapping[str, float] | None = None,
    ) -> None:
        start = to_time(start, "start")
        if to_time(lateness, "lateness") < 0:
            raise DataError(f"lateness={lateness}: expected 0 s or more")
        self.model = model
        weights = [(class_weights or {}).get(name, 1.0) for name in model.scheme.classes]
        self._state = _State(
            lateness=float(lateness),
            weights=np.array(weights, dtype=np.float64),
            motion=MotionState(start),
            features=FeatureState(start),
            model=model.initial_state(),
            reasons=np.zeros(model.look_ahead, dtype=np.int8),
        )
        self.passed, self.events = SampleBuffer(), ()

    def __repr__(self) -> str:
        n_epochs, n_samples = self._state.features.n_epochs - self._n_delayed, self.intake.taken
        start, time = show_time(self.start), show_time(self.time)
        return f"<Session from {start}: {n_epochs} epochs up to {time}, {n_samples} samples>"

    @property
    def start(self) -> float:
        """Start of the first epoch."""
        return self._state.features.start

    @property
    def time(self) -> float:
        """End of the last epoch that was emitted, or start of the first."""
        return self._state.features.time - EPOCH_SECONDS * self._n_delayed

    @property
    def watermark(self) -> float:
        """Samples older than this come too late; minus infinity before the night has begun."""
        return self._state.watermark

    @property
    def ended(self) -> float:
        """End of the last epoch that is over by the newest time; minus infinity for none."""
        end = _last_end(self._state.features, self._state.clock)
        return end if end > self.start else -math.inf

    @property
    def due(self) -> float:
        """The next epoch is emitted once `now` is as late as this."""
        return self._state.features.next_time + self._state.lateness

    @property
    def motion_columns(self) -> int:
        """3 if it gets raw acceleration, 4 if summaries, 0 before the first."""
        return self._state.motion_columns

    @property
    def intake(self) -> IngestStats:
        """What became of all samples so far."""
        return self._state.intake

    @property
    def sleep_period(self) -> SleepPeriod | None:
        """The newest sleep period, as far as it has come; None before the first."""
        return self._state.sleep.period

    @property
    def _n_delayed(self) -> int:
        return min(self.model.look_ahead, self._state.features.n_epochs)

    def push(
        self,
        *,
        heart_rate: Given | None = None,
        motion: Given | None = None,
        steps: Given | None = None,
        now: Time | None = None,
    ) -> list[Epoch]:
        """Take in samples, in any order, and emit the epochs that have ended.

        An epoch is emitted once `now` is past its end by the session's lateness. Wrong arguments
        are refused before anything is taken in, so that the session goes on unharmed.

        Parameters
        ----------
        heart_rate : (times, bpm), optional
            Beats per minute, each of shape (n,), or one of each. Times are seconds on the samples'
            clock, or moments; see `sleepstage.core.samples.Times`.
        motion : (times, xyz) or (times, summaries), optional
            Raw acceleration in g, shape (n, 3), at any rate; or 15 s summaries, shape (n, 4), at
            the end of their windows. A session gets one or the other.
        steps : (times, steps), optional
            Steps since the sample before, at the time when the count was known.
        now : float or moment, optional
            The time on the samples' clock; by default that of the newest sample. Call with
            nothing else to have epochs emitted although no samples come.

        Returns
        -------
        list of Epoch
            Those that were not emitted before, oldest first.

        Raises
        ------
        DataError
            If shapes do not fit, something is no finite number, acceleration is not in g, raw
            acceleration and summaries are mixed, or `now`, or the newest sample where it is not
            given, is more than 24 h ahead of the session.
        """
        beats, n_implausible = clean_heart_rate(heart_rate)
        moved, walked = clean_motion(motion), clean_steps(steps)
        now = None if now is None else to_time(now, "now")
        self._check_kind(moved)
        kind = "acceleration" if moved.values.shape[1] == RAW_COLUMNS else "summaries"
        given = SampleBuffer(heart_rate=beats, steps=walked, **{kind: moved})
        self._check_clock(given, now)
        n_given = sum(
            np.asarray(one[0]).size for one in (heart_rate, motion, steps) if one is not None
        )
        n_clean = len(beats) + len(walked) + len(moved)
        before = self._state.intake
        implausible = before.implausible + n_implausible
        duplicate = before.duplicate + n_given - n_implausible - n_clean
        intake = replace(before, implausible=implausible, duplicate=duplicate)
        limit = math.inf if now is None else now + AHEAD_SECONDS
        state = _insert(self._state, given, intake, now, limit)
        state = _judge_motion(state, self._state.watermark, limit, given)
        return self._emit(state, state.watermark)

    def finish(self) -> list[Epoch]:
        """Emit the epochs that are over by the newest time, without waiting for late samples.

        The session can go on afterwards: samples from the end of the last epoch on still count.
        """
        return self._emit(self._state, self.ended)

    def _emit(self, state: _State, mark: float) -> list[Epoch]:
        """Release samples behind the watermark `mark`, and stage the epochs that end by then."""
        end = _last_end(state.features, mark)
        ends = end > state.features.time
        if ends or state.waiting.acceleration.n_before(mark) >= _STRETCH:
            state = _summarise(state, mark)
        passed, epochs = SampleBuffer(), list[Epoch]()
        if ends:
            state, epochs, passed = _stage(self.model, state, end)
        sleep, events = state.sleep, list[SleepEvent]()
        for epoch in epochs:
            sleep, decided = follow(sleep, epoch, look_ahead=self.model.look_ahead)
            events += decided
        self._state = replace(state, sleep=sleep)
        self.passed, self.events = passed, tuple(events)
        return epochs

    def _check_clock(self, given: SampleBuffer, now: float | None) -> None:
        """Refuse a push that bridges more than a day."""
        name, time, horizon = "now", now, self._state.horizon
        if time is None:
            newest = [float(samples.times[-1]) for _, samples in given.signals() if len(samples)]
            name, time = "the newest sample", max(newest, default=horizon)
        if time > horizon:
            raise DataError(
                f"{name} is at {show_time(time)}, the session at "
                f"{show_time(horizon - LONGEST_SILENCE)}: a push goes on by at most 24 h. Give "
                "times in seconds, not milliseconds, and in one time zone; push long histories a "
                "day at a time; after a longer silence begin another session"
            )

    def _check_kind(self, moved: Samples) -> None:
        columns, before = moved.values.shape[1], self._state.motion_columns
        if len(moved) and before and columns != before:
            raise DataError(
                f"motion: {columns} values a sample, and {before} before; a session takes either "
                f"raw acceleration ({RAW_COLUMNS}) or summaries ({len(MOTION_COLUMNS)})"
            )
        if columns == RAW_COLUMNS:
            check_unit(moved.values)

    def snapshot(self, **beside: object) -> bytes:
        """The session as bytes, for `sleepstage.Stager.restore`.

        States of others that are given `beside` it are kept with it, for
        `sleepstage.engine.snapshot.unpack` to read by their names.
        """
        return pack({**vars(self._state), **beside}, self.model.digest)

    @classmethod
    def restore(cls, model: LiveModel, snapshot: bytes) -> Self:
        """Go on exactly where `snapshot` was taken.

        Raises `SnapshotError` if it is damaged, of another version, or was taken with
        another model.
        """
        session = cls(model, start=0.0)
        session._state = unpack(snapshot, session._state, model.digest)
        return session


def _judge_motion(state: _State, watermark: float, limit: float, given: SampleBuffer) -> _State:
    """Fix the kind of motion by the first sample that counts, and refuse what is not in g.

    What comes too late or from a wrong clock decides nothing.
    """
    if not state.motion_columns and len(state.waiting.summaries):
        return replace(state, motion_columns=len(MOTION_COLUMNS))
    acceleration = given.acceleration.between(watermark, limit)
    if not len(acceleration):
        return state
    lengths = np.sqrt(np.einsum("ij,ij->i", acceleration.values, acceleration.values))
    n_long = int(np.count_nonzero(is_implausible(lengths)))
    n_all_lengths, n_all_long = state.n_lengths + len(lengths), state.n_long + n_long
    # Some hundred samples are judged at a time: fewer may be one movement. Those of this push must
    # be implausible as well, so that a sender who has changed to g goes on.
    if n_all_lengths >= UNIT_SAMPLES:
        if 2 * n_all_long > n_all_lengths and 2 * n_long > len(lengths):
            check_unit(acceleration.values, least=1)
        n_all_lengths = n_all_long = 0
    return replace(state, motion_columns=RAW_COLUMNS, n_lengths=n_all_lengths, n_long=n_all_long)


def _insert(
    state: _State, given: SampleBuffer, intake: IngestStats, now: float | None, limit: float
) -> _State:
    """Put samples up to the limit among those that wait, count them, and set the clock."""
    waiting, intake = state.waiting.insert(given, intake, watermark=state.watermark, limit=limit)
    times = [one.times[-1] for _, one in waiting.signals() if len(one)] if now is None else [now]
    if now is not None and math.isfinite(state.clock):
        back = max(intake.clock_back, state.clock - now)
        ahead = max(intake.clock_ahead, now - state.clock)
        intake = replace(intake, clock_back=back, clock_ahead=ahead)
    return replace(state, waiting=waiting, intake=intake, clock=float(max([state.clock, *times])))


def _stage(model: LiveModel, state: _State, end: float) -> tuple[_State, list[Epoch], SampleBuffer]:
    """Stage the epochs up to `end`; the state then, the epochs, and what they were made from."""
    passed, waiting = state.waiting.divide(end)
    rows, features = push(
        state.features,
        until=end,
        heart_rate=passed.heart_rate,
        motion=passed.summaries,
        steps=passed.steps,
    )
    probabilities, of_model = model.step(rows, state.model)
    reasons = np.append(state.reasons, unscored_reasons(rows))
    first = state.features.n_epochs - model.look_ahead
    epochs = staged(model.scheme, features.start, first, probabilities, reasons, state.weights)
    ahead = reasons[len(rows) :]
    state = replace(state, waiting=waiting, features=features, model=of_model, reasons=ahead)
    return state, epochs, passed


def _last_end(features: FeatureState, time: float) -> float:
    """End of the last epoch that is over by this time."""
    if time < features.next_time:
        return features.time
    n_epochs = int((time - features.start) // EPOCH_SECONDS)
    # Rounded as the ends of epochs are, the quotient may be one off.
    ends = [features.start + n * EPOCH_SECONDS for n in range(n_epochs - 1, n_epochs + 2)]
    return max(end for end in ends if end <= time)


def _summarise(state: _State, mark: float) -> _State:
    """Turn acceleration that the watermark has passed into summaries."""
    if state.motion_columns != RAW_COLUMNS:
        return state
    waiting = state.waiting
    passed = waiting.acceleration.between(-math.inf, mark)
    summaries, motion = summarise_motion(passed, state.motion, until=mark)
    later = waiting.acceleration.between(mark, math.inf)
    summaries = waiting.summaries.followed_by(summaries)
    waiting = replace(waiting, acceleration=later, summaries=summaries)
    return replace(state, waiting=waiting, motion=motion)
