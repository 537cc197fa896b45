"""Waking life: its signals, where recordings have few or none, and days around simulated nights.

Constants name their sources; what is *set by eye* was chosen so that a third of the windows of
waking life has a count, against a quarter awake in bed and a fiftieth asleep.
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.random import Generator

from sleepstage.core.motion import MOTION_COLUMNS, WINDOW_SECONDS
from sleepstage.core.recording import LONGEST_NIGHT
from sleepstage.core.samples import Samples
from sleepstage.errors import DataError
from sleepstage.io.sleep_accel.read import STEP_BIN_SECONDS
from sleepstage.simulate import physiology
from sleepstage.simulate.physiology import GRID, Movements, Person, Tables
from sleepstage.stages import EPOCH_SECONDS, Stage

# Bouts of quiet hands and of busy ones. Set by eye; more than half of waking life is sedentary
# (Matthews et al. 2008, Am J Epidemiol 167:875-881).
_SHARE_OF_BOUTS: Final = (0.6, 0.4)
_BOUT_MINUTES: Final = np.array([25.0, 12.0])
_MOVEMENTS_AN_HOUR: Final = np.array([60.0, 400.0])
_REACH: Final = np.array([0.10, 0.15])  # g, median acceleration of a movement
_RESTLESSNESS_SD: Final = 0.5  # of the logarithm, between people and days; set by eye

_CADENCE: Final = 100 / 60  # steps a second (Tudor-Locke et al. 2018, Br J Sports Med 52:776-788)
_SWING: Final = 0.35  # g, median acceleration of a walker's wrist; set by eye
_SWING_SD: Final = 0.4  # of its logarithm
_TURN: Final = 10.0  # s of walking between two positions of the wrist; set by eye

_NAP_HOURS: Final = (0.75, 1.5)  # in bed; set by eye
_BEFORE_NAP: Final = 3.0  # hours before lights off that a nap needs


def waking_motion(rng: Generator, start: float, end: float, steps: Samples) -> Samples:
    """Draw `MOTION_COLUMNS` at the ends of the 15 s windows from `start` that end by `end`.

    Steps are counts of the last 600 s, or since the sample before if that is later: as long as
    they take is walked at some time in between. For the rest, quiet and busy hands alternate.
    """
    seconds = max(0, int((end - start) // WINDOW_SECONDS)) * WINDOW_SECONDS
    hands = _draw_hands(rng, math.ceil(seconds / EPOCH_SECONDS))
    walks = _draw_walks(rng, start, end, steps)
    movements = Movements(*map(np.concatenate, zip(hands, walks, strict=True)))
    motion = physiology.summaries(*physiology.draw_motion(rng, movements, seconds))
    return _later(motion, start)


def waking_heart_rate(rng: Generator, start: float, end: float, heart_rate: Samples) -> Samples:
    """Draw a heart rate in about 5 s, from `start` and before `end`; none if none was measured.

    It changes about the line between the rare samples of `heart_rate`, those before `start` and
    after `end` among them; how much is set by eye.
    """
    if not len(heart_rate):
        return heart_rate
    seconds = max(0, int(end - start))
    grid = np.arange(0.0, seconds + GRID, GRID)
    bpm = np.interp(start + grid, heart_rate.times, heart_rate.values)
    bpm += 3 * physiology.wander(rng, len(grid), seconds=60)
    bpm += 2 * physiology.wander(rng, len(grid), seconds=600)
    return _later(physiology.watch_beats(rng, (grid, bpm), seconds), start)


def _draw_hands(rng: Generator, n_epochs: int) -> Movements:
    kinds = rng.choice(len(_SHARE_OF_BOUTS), n_epochs, p=_SHARE_OF_BOUTS)
    lengths = 1 + rng.exponential(_BOUT_MINUTES[kinds] * 60 / EPOCH_SECONDS).astype(np.int64)
    kind = np.repeat(kinds, lengths)[:n_epochs]
    rate = rng.lognormal(0, _RESTLESSNESS_SD) * _MOVEMENTS_AN_HOUR[kind]
    number = rng.poisson(rate * EPOCH_SECONDS / 3600)
    return physiology.scatter_movements(rng, number, _REACH[kind])


def _draw_walks(rng: Generator, start: float, end: float, steps: Samples) -> Movements:
    """A walk in each bin with steps, of movements between two positions of the wrist."""
    bins = np.maximum(np.append(-np.inf, steps.times)[:-1], steps.times - STEP_BIN_SECONDS)
    walked = (steps.values > 0) & (steps.times > start) & (bins < end)
    lengths = (steps.times - bins)[walked]
    walks = np.minimum(steps.values[walked] / _CADENCE, lengths)
    begins = bins[walked] - start + rng.random(len(walks)) * (lengths - walks)
    turns = [np.arange(*walk, _TURN) for walk in zip(begins, begins + walks, strict=True)]
    onset = np.concatenate([np.empty(0), *turns])
    onset = onset[onset >= 0]
    strength = rng.lognormal(math.log(_SWING), _SWING_SD, len(onset))
    return Movements(onset, np.full(len(onset), _TURN), strength)


class Day(NamedTuple):
    """What a recording has besides its night; times are hours since lights off."""

    before: float = 0.0
    """Hours before lights off at which the recording begins."""
    after: float = 0.0
    """Hours after getting up at which it ends; at most 24 with the night and those before."""
    nap: bool = False
    """Whether the middle of the hours before, then at least 3, is slept."""
    off_wrist: tuple[tuple[float, float], ...] = ()
    """From and to when the watch lies still, without heart rate and steps; not scored."""
    no_data: tuple[tuple[float, float], ...] = ()
    """From and to when nothing arrives from the watch; scored all the same."""

    def check(self, hours: float) -> None:
        """Raise `DataError` if this does not fit around a night of so many hours."""
        begin, end = 0 - self.before, hours + self.after
        msg = ""
        if not (begin <= 0 and self.after >= 0 and end - begin <= LONGEST_NIGHT / 3600):
            msg = f"expected 0 or more hours each, and {LONGEST_NIGHT // 3600} with the night"
        elif self.nap and self.before < _BEFORE_NAP:
            msg = f"a nap needs {_BEFORE_NAP:g} or more hours before lights off"
        for first, last in (*self.off_wrist, *self.no_data):
            if not begin <= first < last <= end:
                msg = f"expected {first:g} to {last:g} in order and between {begin:g} and {end:g}"
        if msg:
            raise DataError(f"before={self.before:g}, after={self.after:g}: {msg}")


def extend(rng: Generator, person: Person, night: Tables, day: Day) -> None:
    """Put the day around the night, which has motion summaries and is changed in place."""
    start, up = -_seconds(day.before), EPOCH_SECONDS * len(night["labels"])
    history = night["heart_rate"].between(-math.inf, 0)

    def put(first: int, last: int, parts: Tables, shift: int = 0) -> None:
        for name, part in parts.items():
            ends = name in {"steps", "summary_csv"}
            before = night[name].between(-math.inf, first, window_ends=ends)
            after = night[name].between(last, math.inf, window_ends=ends)
            night[name] = before.followed_by(_later(part, shift)).followed_by(after)

    def put_waking(first: int, last: int, shift: int = 0) -> None:
        """What was done at that time or, with `shift`, so many seconds before."""
        then = first - shift, last - shift
        parts = {
            "heart_rate": waking_heart_rate(rng, *then, history),
            "labels": _scored(*then, Stage.WAKE),
            "steps": night["steps"].between(*then, window_ends=True),
            "summary_csv": waking_motion(rng, *then, night["steps"]),
        }
        put(first, last, parts, shift)

    woken = start
    if day.nap:
        length = _seconds(rng.uniform(*_NAP_HOURS))
        asleep = (start - length) // (2 * EPOCH_SECONDS) * EPOCH_SECONDS
        woken = asleep + length
        steps = night["steps"].between(asleep, woken, window_ends=True)
        put(asleep, woken, {"steps": Samples(steps.times, 0 * steps.values)})
        put(asleep, woken, physiology.draw_sleep(rng, person, length // EPOCH_SECONDS), asleep)
        put_waking(start, asleep)
    put_waking(woken, 0)
    # The morning is that of the day before once more; steps stay on their grid.
    again = STEP_BIN_SECONDS * math.ceil((up - physiology.GETTING_UP) / STEP_BIN_SECONDS)
    put_waking(up, up + _seconds(day.after), again)

    nothing = {"heart_rate": Samples.empty(), "steps": Samples.empty()}
    for stretch in day.off_wrist:
        first, last = map(_seconds, stretch)
        gravity, shaking = physiology.draw_motion(rng, Movements(*np.empty((3, 0))), last - first)
        untouched = np.broadcast_to(gravity[0], gravity.shape), shaking  # nothing drifts
        put(first, last, {"labels": _scored(first, last, Stage.UNSCORED), **nothing})
        put(first, last, {"summary_csv": physiology.summaries(*untouched)}, first)
    for stretch in day.no_data:
        first, last = map(_seconds, stretch)
        put(first, last, {"summary_csv": Samples.empty(len(MOTION_COLUMNS)), **nothing})


def _scored(first: int, last: int, stage: Stage) -> Samples:
    times = np.arange(first, last, EPOCH_SECONDS, dtype=np.float64)
    return Samples(times, np.full(len(times), float(stage)))


def _later(samples: Samples, seconds: float) -> Samples:
    return Samples(samples.times + seconds, samples.values)


def _seconds(hours: float) -> int:
    return EPOCH_SECONDS * round(hours * 3600 / EPOCH_SECONDS)
