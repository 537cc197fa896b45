"""A simulated person: stages, movements, heart rate, the day before; and what a watch makes of it.

Constants name their sources; what is *set by eye* was chosen so that whole nights resemble those
of Walch et al. 2019 (Sleep 42(12) zsz180) in their shares of stages, spread of heart rate and
share of windows with movement.
"""

import math
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sleepstage.core.motion import WINDOW_SECONDS
from sleepstage.core.samples import Samples
from sleepstage.core.signals import PLAUSIBLE_BPM
from sleepstage.io.sleep_accel.read import STEP_BIN_SECONDS
from sleepstage.stages import EPOCH_SECONDS, Stage

Floats = NDArray[np.float64]
Stages = NDArray[np.int8]
Signal = tuple[Floats, Floats]  # times and values
Tables = dict[str, Samples]  # by names of `LAYOUT`; steps at the ends of their bins
Bouts = list[tuple[Stage, float]]  # a stage and the minutes it lasts

_DAY: Final = 86_400  # s, before the night
GETTING_UP: Final = -16 * 3600  # s before lights out
_GOING_TO_BED: Final = -1800
GRID: Final = 5  # s, between heart rates
_DRIFT_SD: Final = 1.5e-4  # g in a second; set by the range of still 5 minutes, median 13 mg

_RATE: Final = 50  # Hz, of raw acceleration
_COUNT_BIN: Final = 5 / 128  # g; counts as in `sleepstage.core.motion`
_STILL_SD: Final = 0.0015  # g, sensor noise; set by eye
_STILL_PEAK: Final = 2.25 * _STILL_SD  # the expected largest of 50 normal samples


class _Traits(NamedTuple):
    """What a stage does to body and watch."""

    bout: float  # min, mean length
    waking: float  # probability that a waking ends a bout
    lighter: Stage  # what interrupts it otherwise
    bpm: float  # level against N2
    bpm_sd: float  # of changes within a minute or so
    movements: float  # per hour
    reach: float  # g, median acceleration of a movement


# Bouts: sleep stages last exponentially long (Lo et al. 2002, Europhys Lett 57:625-631; Kishi et
# al. 2008, Am J Physiol 294:R1980-R1987); means, and what interrupts them, set by eye. Heart rate:
# higher and most variable in REM and wake, steadiest in N3 (Snyder et al. 1964, J Appl Physiol
# 19:417-422; Cajochen et al. 1994, Physiol Behav 55:769-774; Bonnet & Arand 1997,
# Electroencephalogr Clin Neurophysiol 102:390-396). Movements: about 11 an hour of sleep, N1 and
# REM > N2 > N3 (Wilde-Frenz & Schulz 1983, Percept Mot Skills 56:275-283; Montini et al. 2024,
# Sleep 47(9) zsae138); how strongly they reach the wrist is set by eye.
_TRAITS: Final = {
    Stage.WAKE: _Traits(0.0, 0.0, Stage.N1, bpm=1.5, bpm_sd=2.5, movements=70, reach=0.11),
    Stage.N1: _Traits(1.2, 0.2, Stage.N2, bpm=1.0, bpm_sd=1.3, movements=25, reach=0.06),
    Stage.N2: _Traits(10.0, 0.35, Stage.N1, bpm=0.0, bpm_sd=1.2, movements=9, reach=0.035),
    Stage.N3: _Traits(12.0, 0.1, Stage.N2, bpm=-0.5, bpm_sd=0.8, movements=5, reach=0.035),
    Stage.REM: _Traits(14.0, 0.3, Stage.N1, bpm=3.5, bpm_sd=3.2, movements=13, reach=0.035),
}
_PAUSE_MINUTES: Final = 1.0  # mean of sleep that interrupts a bout

# Wakings last as a power law, density t^-2.2 (Lo et al. 2004, PNAS 101:17545-17548).
_WAKE_EXPONENT: Final = 2.2
_SHORTEST_WAKE: Final = 0.5  # min
_LONGEST_WAKE: Final = 60.0

# Deep sleep prevails early, REM late, and the first REM period is short (Feinberg & Floyd 1979,
# Psychophysiology 16:283-291; Carskadon & Dement, "Normal human sleep", in Principles and Practice
# of Sleep Medicine, whence the length of a cycle). Set by eye so that the shares of whole nights
# come out in the range of Ohayon et al. 2004 (Sleep 27:1255-1273).
_CYCLE_LIMITS: Final = (70.0, 110.0)  # min
# Minutes of N3 and of REM in cycle 1, 2, ...; the last one repeats.
_DEEP_AND_REM: Final = ((38, 12), (22, 22), (12, 28), (4, 32), (0, 34))


class Person(NamedTuple):
    """What makes one person's night differ from another's; spreads are set by eye."""

    resting_bpm: float
    """Heart rate in N2 at lights out (Ostchega et al. 2011, Natl Health Stat Report 41, less some).
    """
    restlessness: float
    """Factor, about 1, on the rate of movements and the odds of waking."""

    @classmethod
    def draw(cls, rng: Generator) -> Self:
        """Someone at random."""
        return cls(float(np.clip(rng.normal(67, 9), 48, 92)), rng.lognormal(0, 0.35))


class Movements(NamedTuple):
    """Movements and arousals; many are too weak for the wrist to show."""

    onset: Floats  # s
    duration: Floats  # s
    strength: Floats  # g


def draw_stages(rng: Generator, person: Person, n_epochs: int) -> Stages:
    """Lights out, then cycle after cycle; an epoch has the stage of its middle."""
    middles = (np.arange(n_epochs) + 0.5) * EPOCH_SECONDS / 60
    latency = min(rng.lognormal(math.log(9), 0.7), 30)  # Ohayon et al. 2004
    bouts = [(Stage.WAKE, latency), (Stage.N1, 2.0)]
    for cycle in range(math.ceil(middles[-1] / _CYCLE_LIMITS[0])):
        bouts += _draw_cycle(rng, person, cycle)
    stages, minutes = zip(*bouts, strict=True)
    return np.array(stages, dtype=np.int8)[np.searchsorted(np.cumsum(minutes), middles)]


def _draw_cycle(rng: Generator, person: Person, cycle: int) -> Bouts:
    """Into light sleep, deep sleep, light sleep again and REM."""
    usual = _DEEP_AND_REM[min(cycle, len(_DEEP_AND_REM) - 1)]
    deep, rem = usual * rng.uniform(0.5, 1.5, 2)
    before = rng.uniform(6, 16)
    after = max(np.clip(rng.normal(86, 10), *_CYCLE_LIMITS) - before - deep - rem, 10)
    phases = ((Stage.N2, before), (Stage.N3, deep), (Stage.N2, after), (Stage.REM, rem))
    return [bout for phase in phases for bout in _draw_phase(rng, person, *phase)]


def _draw_phase(rng: Generator, person: Person, stage: Stage, minutes: float) -> Bouts:
    """Bouts of a stage, each ended by lighter sleep, or by a waking and falling asleep again."""
    traits = _TRAITS[stage]
    bouts: Bouts = []
    while minutes > 0:
        length, pause = rng.exponential((traits.bout, _PAUSE_MINUTES))
        bouts.append((stage, min(length, minutes)))
        if rng.random() < traits.waking * person.restlessness:
            waking = _SHORTEST_WAKE * (1 + rng.pareto(_WAKE_EXPONENT - 1))
            bouts += [(Stage.WAKE, min(waking, _LONGEST_WAKE)), (Stage.N1, pause)]
        else:
            bouts.append((traits.lighter, pause))
        minutes -= length + pause
    return bouts


def _trait(name: str, stages: Stages) -> Floats:
    """One of the `_Traits` for each epoch."""
    return np.array([getattr(_TRAITS[Stage(stage)], name) for stage in stages])


def draw_movements(rng: Generator, person: Person, stages: Stages) -> Movements:
    """Movements of a night at the rate of its stages."""
    number = rng.poisson(person.restlessness * _trait("movements", stages) * EPOCH_SECONDS / 3600)
    # One wakes with a stir.
    number += (stages == Stage.WAKE) & (np.roll(stages, 1) != Stage.WAKE)
    return scatter_movements(rng, number, _trait("reach", stages))


def scatter_movements(rng: Generator, number: NDArray[np.int64], reach: Floats) -> Movements:
    """So many movements in each epoch, of this median strength in g."""
    epoch = np.repeat(np.arange(len(number)), number)
    onset = np.sort((epoch + rng.random(len(epoch))) * EPOCH_SECONDS)
    duration = rng.lognormal(math.log(4), 0.7, len(epoch))  # median of Montini et al. 2024
    strength = reach[epoch] * rng.lognormal(0, 1, len(epoch))
    return Movements(onset, duration.clip(1, 60), strength.clip(max=2))


def draw_motion(rng: Generator, movements: Movements, end: int) -> tuple[Floats, Floats]:
    """Gravity, and the largest acceleration besides, in each second and on each axis, in g."""
    # A strong movement lays the wrist anew.
    turns = np.sort(movements.onset[movements.strength > 0.1])
    gravity = rng.normal(0, 1, (len(turns) + 1, 3))
    gravity /= np.linalg.norm(gravity, axis=1, keepdims=True)
    strength = np.zeros((end, 1))
    for onset, duration, this in zip(*movements, strict=True):
        during = slice(int(onset), math.ceil(onset + duration))
        strength[during] = np.maximum(strength[during], this)
    since = np.searchsorted(turns, np.arange(end))
    # A sleeping wrist drifts; one that lies still to the milli-g would be a table.
    drift = rng.spawn(1)[0].normal(0, _DRIFT_SD, (end, 3)).cumsum(axis=0)
    return gravity[since] + drift, strength * rng.uniform(0.3, 1, (end, 3))


def draw_beats(rng: Generator, person: Person, stages: Stages, movements: Movements) -> Signal:
    """Beats per minute, each 5 s of the night."""
    times = np.arange(0.0, len(stages) * EPOCH_SECONDS, GRID)
    n_times = EPOCH_SECONDS // GRID
    # Smooth, for no stage sets in at once.
    level = _moving_mean(_trait("bpm", stages).repeat(n_times), seconds=60)
    restless = _moving_mean(_trait("bpm_sd", stages).repeat(n_times), seconds=60)
    # It falls with the hours, whatever the stage (Trinder et al. 2001, J Sleep Res 10:253-264).
    bpm = person.resting_bpm + level - 6 * (1 - np.exp(-times / (3 * 3600)))
    bpm += restless * wander(rng, len(times), seconds=30)
    bpm += 1.5 * wander(rng, len(times), seconds=1200)
    return times, bpm + _surges(movements, len(times))


def _surges(movements: Movements, n: int) -> Floats:
    """Faster at arousals, more so the stronger (Sforza et al. 2000, Clin Neurophysiol 111:1611).

    Up within 10 s and over after a minute; sizes set by eye.
    """
    size = 3 + 20 * movements.strength.clip(max=0.6)
    pulses = np.bincount((movements.onset // GRID).astype(np.int64), size, n)
    since = np.arange(0, 90, GRID) / 10
    return np.convolve(pulses, since * np.exp(1 - since))[:n].clip(max=25)


def wander(rng: Generator, n: int, *, seconds: int) -> Floats:
    """Noise of unit variance that forgets within `seconds`."""
    return _moving_mean(rng.normal(0, math.sqrt(seconds / GRID), n), seconds=seconds)


def _moving_mean(values: Floats, *, seconds: int) -> Floats:
    width = seconds // GRID
    return np.convolve(values, np.full(width, 1 / width), mode="same")[: len(values)]


def draw_day(rng: Generator, person: Person, end: int) -> tuple[Samples, Samples]:
    """Heart rate of the day before, and steps at the ends of their bins until `end`."""
    first = -_DAY + rng.integers(STEP_BIN_SECONDS)
    bins = np.arange(first, end - STEP_BIN_SECONDS, STEP_BIN_SECONDS, dtype=np.float64)
    is_up = (bins > GETTING_UP) & (bins < _GOING_TO_BED)
    walks = is_up * (rng.random(len(bins)) < 0.5) * rng.lognormal(0, 1.1, len(bins))
    total = rng.lognormal(math.log(8000), 0.4)  # Tudor-Locke & Bassett 2004, Sports Med 34:1-8
    steps = np.floor(np.minimum(walks / walks.sum() * total, 1200))
    # A sample in about 5 minutes: higher when up, more so when walking.
    times = np.round(np.arange(-_DAY, 0, 300) + rng.uniform(0, 299, _DAY // 300), 5)
    bpm = person.resting_bpm + 8 * (times > GETTING_UP) + rng.normal(0, 5, len(times))
    bpm += np.minimum(0.04 * np.interp(times, bins, steps), 60)
    heart_rate = Samples(times, bpm.clip(*PLAUSIBLE_BPM).round())
    return heart_rate, Samples(bins + STEP_BIN_SECONDS, steps)


def draw_sleep(
    rng: Generator, person: Person, n_epochs: int, *, raw_motion: bool = False
) -> Tables:
    """Stages from lights out, and what a watch records of them: all but the steps."""
    end = n_epochs * EPOCH_SECONDS
    stages = draw_stages(rng, person, n_epochs)
    movements = draw_movements(rng, person, stages)
    beats = watch_beats(rng, draw_beats(rng, person, stages, movements), end)
    beats = _with_gaps(rng, end, 1 + rng.poisson(end / 14_400), beats)
    moved = draw_motion(rng, movements, end)
    # Raw motion has noise of its own, so that summaries go with the same gaps.
    motion = _raw_motion(rng.spawn(1)[0], *moved) if raw_motion else summaries(*moved)
    return {
        "heart_rate": beats,
        "labels": Samples(np.arange(0.0, end, EPOCH_SECONDS), stages.astype(np.float64)),
        "motion" if raw_motion else "summary_csv": _with_gaps(rng, end, rng.poisson(0.1), motion),
    }


def watch_beats(rng: Generator, pulse: Signal, end: int) -> Samples:
    """A noisy sample every 5 s or so."""
    times = np.round(np.cumsum(rng.integers(3, 8, end // 3)) - rng.random(), 5)
    times = times[times < end]
    bpm = np.interp(times, *pulse) + rng.normal(0, 0.4, len(times))
    return Samples(times, bpm.clip(*PLAUSIBLE_BPM).round())


def _with_gaps(rng: Generator, end: int, n_gaps: int, samples: Samples) -> Samples:
    """Lose stretches of half a minute or, rarely, up to 20; whole windows, stamped at their end."""
    lengths = np.minimum(2 * (1 + rng.pareto(1.2, (n_gaps, 1))), 80).round() * WINDOW_SECONDS
    starts = rng.uniform(0, end - lengths) // WINDOW_SECONDS * WINDOW_SECONDS
    return samples.keep(
        ((samples.times <= starts) | (samples.times > starts + lengths)).all(axis=0)
    )


def summaries(gravity: Floats, shaking: Floats) -> Samples:
    """`MOTION_COLUMNS` as `sleepstage.core.motion` would find them, without the samples between."""
    bins = np.floor(shaking[:, 2] / _COUNT_BIN).reshape(-1, WINDOW_SECONDS).sum(axis=1)
    counts = 3.07 * np.maximum(bins + WINDOW_SECONDS - 18, 0)
    peaks = (np.abs(gravity) + shaking + _STILL_PEAK).reshape(-1, WINDOW_SECONDS, 3).mean(axis=1)
    ends = WINDOW_SECONDS * np.arange(1.0, len(counts) + 1)
    return Samples(ends, np.column_stack([np.round(counts, 2), np.round(peaks, 5)]))


def _raw_motion(rng: Generator, gravity: Floats, shaking: Floats) -> Samples:
    """Acceleration in g at about 50 Hz: gravity, shaking at 4 to 8 Hz, and noise."""
    n = _RATE * len(shaking)
    times = (np.arange(n) + rng.uniform(0.1, 0.9, n)) / _RATE
    swing = np.sin(np.cumsum(np.repeat(rng.uniform(4, 8, len(shaking)), _RATE)) * 2 * np.pi / _RATE)
    xyz = np.repeat(shaking, _RATE, axis=0) * swing[:, np.newaxis]
    xyz += np.column_stack([np.interp(times, range(len(axis)), axis) for axis in gravity.T])
    xyz += rng.normal(0, _STILL_SD, xyz.shape)
    return Samples(np.round(times, 6), np.round(xyz, 6))
