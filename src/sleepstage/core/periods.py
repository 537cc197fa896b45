"""Sleep periods and events, found as they happen: epochs go in one by one, state in and state out.

The rules:

- Somebody **falls asleep** with the first of 20 consecutive epochs of sleep, 10 minutes: the
  *persistent sleep* of trials of hypnotics (Rosenberg et al. 2019, JAMA Netw Open 2(12),
  e1918254). One epoch of wake, or one without a stage, and the count begins anew.
- They **wake up** with the first of 10 epochs of wake, 5 minutes, with no sleep between them.
  Epochs without a stage count neither way: what was not seen is no awakening.
- A **sleep period** begins with falling asleep and ends with the last epoch of sleep before waking
  up. Sleep that is resumed less than 60 minutes later continues the period, as do the blocks of van
  Hees et al. (2018), Sci Rep 8, 12975; later, it is a new one. Periods shorter than 3 hours are
  naps.
- **REM begins** with the first of 4 consecutive epochs of REM of somebody asleep, and again only
  after 15 minutes without REM, the shortest NREM period of Feinberg and Floyd (1979),
  Psychophysiology 16(3), 283-291.
- A watch is **not worn** from the first epoch that is unscored for this reason, and again only
  after 10 epochs with a stage, 5 minutes, with no such epoch between them.

The 5 minutes of an awakening and the 2 of REM are chosen on real nights: `docs/live.md`.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any, Final

from numpy.typing import NDArray

from sleepstage.core.hypnogram import Epoch, Hypnogram
from sleepstage.core.statistics import PERSISTENT_EPOCHS
from sleepstage.stages import EPOCH_SECONDS, NOT_WORN, REASONS

_AWAKE_EPOCHS: Final = 10
_REM_EPOCHS: Final = 4
_REM_FREE_EPOCHS: Final = 30
_WORN_EPOCHS: Final = 10
_GAP: Final = 3600.0  # s without sleep that end a period
PERIOD_OVER: Final = _GAP + EPOCH_SECONDS * PERSISTENT_EPOCHS
"""Seconds after its end from which no sleep can continue a period."""
_NAP: Final = 3 * 3600.0  # s


@dataclass(frozen=True)
class SleepEvent:
    """What happened to a sleeper, and when it was known."""

    kind: str
    """``fell_asleep``, ``woke_up``, ``rem_began`` or ``not_worn``."""
    time: float
    """When it happened: start of the first epoch of that state, in seconds on the session's
    clock."""
    known: float
    """End of the epoch that decided it, and of those that the model looks ahead for. A session
    emits it once `now` is past that by its lateness."""
    confidence: float
    """Mean probability of sleep, wake or REM over the epochs that decided it, 0 to 1; 1 for a watch
    that is not worn, which is measured and not predicted."""

    @property
    def delay(self) -> float:
        """Seconds from when it happened to when it was known."""
        return self.known - self.time

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold."""
        return {name: getattr(self, name) for name in ("kind", "time", "delay", "confidence")}


@dataclass(frozen=True)
class SleepPeriod:
    """Sleep from its onset to the final awakening, with the awakenings in between."""

    start: float
    """Start of the first epoch, in seconds on the hypnogram's clock."""
    end: float
    """End of the last epoch of sleep."""

    @property
    def nap(self) -> bool:
        """Whether it is shorter than three hours."""
        return self.end - self.start < _NAP

    def mask(self, hypnogram: Hypnogram) -> NDArray[Any]:
        """Epochs inside, for `Hypnogram.statistics`; shape (n_epochs,) of bool."""
        middles = hypnogram.times + EPOCH_SECONDS / 2
        return (middles > self.start) & (middles < self.end)


@dataclass(frozen=True)
class _Switch:
    """A state, and the epochs of the other one since then: how many, since when, how probable."""

    on: bool = False
    n: int = 0
    since: float = math.nan
    total: float = 0.0

    def follow(
        self, time: float, share: float, *, on: bool, needed: float
    ) -> "tuple[_Switch, _Switch | None]":
        """The state after an epoch, and the epochs that made it another if so many are enough."""
        if on == self.on:
            return _Switch(on), None
        since = self.since if self.n else time
        counted = _Switch(self.on, self.n + 1, since, self.total + share)
        return (counted, None) if counted.n < needed else (_Switch(on), counted)


@dataclass(frozen=True)
class SleepState:
    """All that is remembered between two epochs."""

    sleep: _Switch = field(default_factory=_Switch)
    rem: _Switch = field(default_factory=_Switch)
    off: _Switch = field(default_factory=_Switch)
    """Whether the watch is not worn."""
    start: float = math.nan
    """Start of the newest sleep period."""
    end: float = math.nan
    """End of the newest epoch of sleep in it."""

    @property
    def period(self) -> SleepPeriod | None:
        """The newest sleep period, as far as it has come; None before the first."""
        return None if math.isnan(self.start) else SleepPeriod(self.start, self.end)


def follow(
    state: SleepState, epoch: Epoch, *, look_ahead: int = 0
) -> tuple[SleepState, list[SleepEvent]]:
    """Take in the next epoch, emitted `look_ahead` epochs after its end; what it decides."""
    known = epoch.time + EPOCH_SECONDS * (1 + look_ahead)
    state, change = _follow_sleep(state, epoch)
    rem, rem_began = _follow_rem(state.rem, epoch, asleep=state.sleep.on)
    off, not_worn = _follow_wear(state.off, epoch)
    changes = {
        "fell_asleep" if state.sleep.on else "woke_up": change,
        "rem_began": rem_began,
        "not_worn": not_worn,
    }
    events = [
        SleepEvent(kind, epochs.since, known, epochs.total / epochs.n)
        for kind, epochs in changes.items()
        if epochs is not None
    ]
    return replace(state, rem=rem, off=off), events


def _follow_sleep(state: SleepState, epoch: Epoch) -> tuple[SleepState, _Switch | None]:
    """The state, and the epochs that made it another if this one decides that."""
    if epoch.stage == "unscored":
        return (state if state.sleep.on else replace(state, sleep=_Switch())), None
    sleeps, start, end = epoch.stage != "wake", state.start, state.end
    if state.sleep.on and sleeps and epoch.time - end >= _GAP:  # nothing was seen for so long
        state = replace(state, sleep=_Switch())
    awake = epoch.probabilities["wake"]
    share, needed = (1 - awake, PERSISTENT_EPOCHS) if sleeps else (awake, _AWAKE_EPOCHS)
    sleep, change = state.sleep.follow(epoch.time, share, on=sleeps, needed=needed)
    if sleeps and change is not None and not change.since - end < _GAP:
        start = change.since
    if sleeps and sleep.on:
        end = epoch.time + EPOCH_SECONDS
    return replace(state, sleep=sleep, start=start, end=end), change


def _follow_rem(rem: _Switch, epoch: Epoch, *, asleep: bool) -> tuple[_Switch, _Switch | None]:
    """The same of REM, of which only the beginning counts."""
    if epoch.stage != "rem":
        return rem.follow(epoch.time, 0.0, on=False, needed=_REM_FREE_EPOCHS)[0], None
    needed = _REM_EPOCHS if asleep else math.inf
    return rem.follow(epoch.time, epoch.probabilities["rem"], on=True, needed=needed)


def _follow_wear(off: _Switch, epoch: Epoch) -> tuple[_Switch, _Switch | None]:
    """The same of a watch that is not worn."""
    if epoch.reason == REASONS[NOT_WORN]:
        return off.follow(epoch.time, 1.0, on=True, needed=1)
    if epoch.stage == "unscored":
        return off, None
    return off.follow(epoch.time, 1.0, on=False, needed=_WORN_EPOCHS)[0], None


def sleep_periods(hypnogram: Hypnogram) -> tuple[SleepPeriod, ...]:
    """Sleep periods of a hypnogram, naps among them; `sleepstage.core.periods` has the rules.

    The last one may not be over where the hypnogram ends.
    """
    state, found = SleepState(), dict[float, SleepPeriod]()
    for epoch in hypnogram.epochs():
        state, _ = follow(state, epoch)
        if state.period is not None:
            found[state.start] = state.period
    return tuple(found.values())
