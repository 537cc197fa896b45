"""What happens in a simulated person: stages of a night, movements, heart rate, posture, steps.

Constants name their sources; what is *set by eye* was chosen so that whole nights resemble those
of Walch et al. 2019 (Sleep 42(12) zsz180) in their shares of stages, spread of heart rate and
share of windows with movement.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sleepstage.readers.sleep_accel import STEP_BIN_SECONDS
from sleepstage.stages import EPOCH_SECONDS, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.random import Generator
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Stages = NDArray[np.int8]
    Bouts = list[tuple[Stage, int]]  # a stage and how many epochs it lasts

__all__ = [
    "Movements",
    "Person",
    "draw_day_heart_rate",
    "draw_heart_rate",
    "draw_movements",
    "draw_posture",
    "draw_shaking",
    "draw_stages",
    "draw_steps",
]

_DAY: Final = 86_400  # s, before the night
_UP: Final = (-16 * 3600, -1800)  # s, from getting up to the last walk before lights out
_GRID: Final = 5  # s, between heart rates


class _Traits(NamedTuple):
    """What a stage does to body and watch."""

    bout: float  # min: mean length in sleep, shortest in wake
    bpm: float  # level against N2
    bpm_sd: float  # of changes within a minute or so
    movements: float  # per hour
    reach: float  # g, median acceleration of a movement


# Bouts: sleep stages last exponentially long (Lo et al. 2002, Europhys Lett 57:625-631; Kishi et
# al. 2008, Am J Physiol 294:R1980-R1987); means set by eye. Heart rate: higher and most variable
# in REM and wake, steadiest in N3 (Snyder et al. 1964, J Appl Physiol 19:417-422; Cajochen et al.
# 1994, Physiol Behav 55:769-774; Bonnet & Arand 1997, Electroencephalogr Clin Neurophysiol
# 102:390-396). Movements: about 11 an hour of sleep, N1 and REM > N2 > N3 (Wilde-Frenz & Schulz
# 1983, Percept Mot Skills 56:275-283; Montini et al. 2024, Sleep 47(9) zsae138); how strongly
# they reach the wrist is set by eye.
_TRAITS: Final[Mapping[Stage, _Traits]] = {
    Stage.WAKE: _Traits(bout=0.5, bpm=1.5, bpm_sd=2.5, movements=70, reach=0.11),
    Stage.N1: _Traits(bout=1.2, bpm=1.0, bpm_sd=1.3, movements=25, reach=0.06),
    Stage.N2: _Traits(bout=9.0, bpm=0.0, bpm_sd=1.2, movements=9, reach=0.035),
    Stage.N3: _Traits(bout=12.0, bpm=-0.5, bpm_sd=0.8, movements=5, reach=0.035),
    Stage.REM: _Traits(bout=14.0, bpm=3.5, bpm_sd=3.2, movements=13, reach=0.035),
}

# Wakings last as a power law, density t^-2.2 (Lo et al. 2004, PNAS 101:17545-17548).
_WAKE_EXPONENT: Final = 2.2
_LONGEST_WAKE: Final = 60.0  # min

# Deep sleep prevails early, REM late; the first REM period is short and sometimes left out
# (Feinberg & Floyd 1979, Psychophysiology 16:283-291; Carskadon & Dement, "Normal human sleep",
# in Principles and Practice of Sleep Medicine, whence the limits of a cycle). Set by eye so that
# the shares of whole nights come out in the range of Ohayon et al. 2004 (Sleep 27:1255-1273).
_CYCLE_LIMITS: Final = (70.0, 110.0)  # min
_DEEP_MINUTES: Final = (38.0, 22.0, 11.0, 4.0, 0.0)  # of cycle 1, 2, ...; the last one repeats
_REM_SHARE: Final = (0.13, 0.27, 0.34, 0.40, 0.42)
_NO_FIRST_REM: Final = 0.15  # probability

# What interrupts the main stage of a phase, and how often against each other; set by eye.
_BREAKS: Final[Mapping[Stage, Mapping[Stage, float]]] = {
    Stage.N1: {Stage.N2: 0.7, Stage.WAKE: 0.3},
    Stage.N2: {Stage.N1: 0.5, Stage.WAKE: 0.5},
    Stage.N3: {Stage.N2: 0.9, Stage.WAKE: 0.1},
    Stage.REM: {Stage.N1: 0.3, Stage.N2: 0.2, Stage.WAKE: 0.5},
}
_BREAK_MINUTES: Final = 1.2  # mean of a break that is sleep


@dataclass(frozen=True)
class Person:
    """What makes one person's night differ from another's; spreads are set by eye.

    Attributes
    ----------
    resting_bpm : float
        Heart rate in N2 at lights out (Ostchega et al. 2011, Natl Health Stat Report 41, less
        some).
    overnight_fall : float
        Its fall by the morning, beats per minute, that goes with time and not with stages
        (Trinder et al. 2001, J Sleep Res 10:253-264).
    variability, movement, wakefulness, deep_drive : float
        Factors, about 1, on changes of heart rate, the rate of movements, the odds of waking and
        the length of deep sleep.
    latency, cycle : float
        Minutes from lights out to sleep (Ohayon et al. 2004), and of a sleep cycle (Carskadon &
        Dement).
    daily_steps : float
        Steps of the day before (Tudor-Locke & Bassett 2004, Sports Med 34:1-8).
    """

    resting_bpm: float
    overnight_fall: float
    variability: float
    movement: float
    wakefulness: float
    deep_drive: float
    latency: float
    cycle: float
    daily_steps: float

    @classmethod
    def draw(cls, rng: Generator) -> Person:
        """Someone at random."""
        return cls(
            resting_bpm=float(np.clip(rng.normal(67, 9), 48, 92)),
            overnight_fall=float(np.clip(rng.normal(6, 2.5), 0, 12)),
            variability=rng.lognormal(0, 0.25),
            movement=rng.lognormal(0, 0.35),
            wakefulness=rng.lognormal(0, 0.4),
            deep_drive=float(np.clip(rng.normal(1, 0.3), 0.2, 1.7)),
            latency=float(np.clip(rng.lognormal(math.log(9), 0.7), 1, 45)),
            cycle=float(np.clip(rng.normal(92, 8), *_CYCLE_LIMITS)),
            daily_steps=rng.lognormal(math.log(8000), 0.4),
        )


class Movements(NamedTuple):
    """Movements and arousals in order of time; many are too weak for the wrist to show."""

    onset: Floats  # s
    duration: Floats  # s
    strength: Floats  # g


def draw_stages(rng: Generator, person: Person, n_epochs: int) -> Stages:
    """Lights out, then cycle after cycle, cut where the night ends."""
    bouts = [(Stage.WAKE, _epochs(person.latency))]
    cycle = 0
    while sum(length for _, length in bouts) < n_epochs:
        bouts += _draw_cycle(rng, person, cycle)
        cycle += 1
    stages, lengths = zip(*bouts, strict=True)
    return np.repeat(np.array(stages, dtype=np.int8), lengths)[:n_epochs]


def _draw_cycle(rng: Generator, person: Person, cycle: int) -> Bouts:
    """Into light sleep, deep sleep, light sleep again and REM."""
    number = min(cycle, len(_DEEP_MINUTES) - 1)
    minutes = float(np.clip(rng.normal(person.cycle, 8), *_CYCLE_LIMITS))
    deep = min(_DEEP_MINUTES[number] * person.deep_drive * rng.uniform(0.6, 1.4), 0.6 * minutes)
    rem = minutes * _REM_SHARE[number] * rng.uniform(0.6, 1.4)
    if cycle == 0 and rng.random() < _NO_FIRST_REM:
        rem = 0.0
    descent = rng.uniform(6, 16)
    ascent = max(minutes - descent - deep - rem, 10.0)
    phases = (
        (Stage.N1, 2.0),
        (Stage.N2, descent),
        (Stage.N3, deep),
        (Stage.N2, ascent),
        (Stage.REM, rem),
    )
    return [bout for phase in phases for bout in _draw_phase(rng, person, *phase)]


def _draw_phase(rng: Generator, person: Person, main: Stage, minutes: float) -> Bouts:
    """Bouts of the main stage with breaks; after a waking one falls asleep through N1."""
    others = list(_BREAKS[main])
    odds = np.array([*_BREAKS[main].values()])
    odds[others.index(Stage.WAKE)] *= person.wakefulness
    bouts: Bouts = []
    left = _epochs(minutes)
    while left > 0:
        bouts.append((main, min(_epochs(rng.exponential(_TRAITS[main].bout)), left)))
        left -= bouts[-1][1]
        if left > 0:
            other = others[rng.choice(len(others), p=odds / odds.sum())]
            if other is Stage.WAKE:
                waking = _TRAITS[Stage.WAKE].bout * (1 + rng.pareto(_WAKE_EXPONENT - 1))
                bouts.append((Stage.WAKE, _epochs(min(waking, _LONGEST_WAKE))))
                other = Stage.N1
            bouts.append((other, min(_epochs(rng.exponential(_BREAK_MINUTES)), left)))
            left -= bouts[-1][1]
    return bouts


def _epochs(minutes: float) -> int:
    """Whole epochs; one at least if it is any time at all."""
    return max(round(minutes * 60 / EPOCH_SECONDS), 1) if minutes > 0 else 0


def _trait(name: str, stages: Stages) -> Floats:
    """One of the `_Traits` for each epoch."""
    table = np.zeros(max(Stage) + 1)
    for stage, traits in _TRAITS.items():
        table[stage] = getattr(traits, name)
    return table[stages]


def draw_movements(rng: Generator, person: Person, stages: Stages) -> Movements:
    """Movements of a night at the rate of its stages."""
    number = rng.poisson(person.movement * _trait("movements", stages) * EPOCH_SECONDS / 3600)
    number += (stages == Stage.WAKE) & (np.roll(stages, 1) != Stage.WAKE)  # one wakes with a stir
    epoch = np.repeat(np.arange(len(stages)), number)
    onset = np.sort((epoch + rng.random(len(epoch))) * EPOCH_SECONDS)
    duration = rng.lognormal(math.log(4), 0.7, len(epoch))  # median of Montini et al. 2024
    strength = _trait("reach", stages)[epoch] * rng.lognormal(0, 1, len(epoch))
    return Movements(onset, np.clip(duration, 1, 60), np.minimum(strength, 2.0))


def draw_shaking(rng: Generator, movements: Movements, end: int) -> Floats:
    """Largest acceleration besides gravity in each second and on each axis, in g."""
    strength = np.zeros(end)
    for onset, duration, this in zip(*movements, strict=True):
        during = slice(int(onset), math.ceil(onset + duration))
        strength[during] = np.maximum(strength[during], this)
    return strength[:, np.newaxis] * rng.uniform(0.3, 1, (end, 3))


def draw_posture(rng: Generator, movements: Movements, end: int) -> Floats:
    """Gravity on the three axes in each second, in g: the wrist lies otherwise once it moved."""
    size = np.minimum(1.5 * movements.strength, 0.8)[:, np.newaxis]
    gravity = [_unit(rng.normal(0, 1, 3))]
    for turn in size * rng.normal(0, 1, (len(size), 3)):
        gravity.append(_unit(gravity[-1] + turn))
    since = np.searchsorted(movements.onset + 0.5, np.arange(end))
    return np.array(gravity)[since]


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / np.linalg.norm(vector))


def draw_heart_rate(
    rng: Generator, person: Person, stages: Stages, movements: Movements
) -> tuple[Floats, Floats]:
    """Times, each 5 s of the night, and beats per minute."""
    times = np.arange(0.0, len(stages) * EPOCH_SECONDS, _GRID)
    stages = stages[(times // EPOCH_SECONDS).astype(np.int64)]
    restless = _smooth(_trait("bpm_sd", stages)) * _wander(rng, len(times), seconds=30)
    drift = 1.5 * _wander(rng, len(times), seconds=1200)
    bpm = person.resting_bpm + _smooth(_trait("bpm", stages))
    bpm -= person.overnight_fall * (1 - np.exp(-times / (3 * 3600)))
    return times, bpm + person.variability * (restless + drift + _surges(movements, len(times)))


def _surges(movements: Movements, n: int) -> Floats:
    """Faster at arousals, more so the stronger (Sforza et al. 2000, Clin Neurophysiol 111:1611).

    Up within 10 s and over after a minute; sizes set by eye.
    """
    size = 3 + 20 * np.minimum(movements.strength, 0.6)
    pulses = np.bincount((movements.onset // _GRID).astype(np.int64), size, n)
    since = np.arange(0, 90, _GRID) / 10
    return np.convolve(pulses, since * np.exp(1 - since))[:n].clip(max=25.0)


def draw_day_heart_rate(
    rng: Generator, person: Person, bins: Floats, counts: Floats
) -> tuple[Floats, Floats]:
    """The day before, a sample in about 5 minutes: higher when up, more so when walking."""
    times = np.arange(-_DAY, 0, 300.0)
    times = np.round(times + rng.uniform(0, 299, len(times)), 5)
    walked = counts[np.clip(np.searchsorted(bins, times) - 1, 0, None)]
    bpm = person.resting_bpm + 8 * (times > _UP[0]) + np.minimum(0.04 * walked, 60)
    return times, bpm + person.variability * rng.normal(0, 5, len(times))


def draw_steps(rng: Generator, person: Person, end: int) -> tuple[Floats, Floats]:
    """Starts of the bins until `end` and the steps in each: walks by day, none in bed."""
    first = -_DAY + rng.integers(STEP_BIN_SECONDS)
    bins = np.arange(first, end - STEP_BIN_SECONDS, STEP_BIN_SECONDS, dtype=np.float64)
    walking = (bins > _UP[0]) & (bins < _UP[1]) & (rng.random(len(bins)) < 0.5)
    counts = walking * rng.lognormal(0, 1.1, len(bins))
    return bins, np.floor(np.minimum(counts / counts.sum() * person.daily_steps, 1200))


def _wander(rng: Generator, n: int, *, seconds: float) -> Floats:
    """Noise of unit variance that forgets within `seconds`, on the grid of `_GRID`."""
    kernel = np.exp(-np.arange(0, 4 * seconds, _GRID) / seconds)
    kernel /= np.linalg.norm(kernel)
    return np.convolve(rng.normal(0, 1, n + len(kernel) - 1), kernel, mode="valid")


def _smooth(values: Floats) -> Floats:
    """Mean over a minute, for no stage sets in at once."""
    half = 30 // _GRID
    window = np.full(2 * half + 1, 1 / (2 * half + 1))
    return np.convolve(np.pad(values, half, mode="edge"), window, mode="valid")
