"""Simulated nights: stages, and the heart rate, motion and steps that a watch would give of them.

For trying things out without data, and for tests. How well simulated nights are staged says
nothing about real ones. Constants name their sources; what is *set by eye* was chosen so that
whole nights resemble those of Walch et al. 2019 (Sleep 42(12) zsz180) in their shares of stages,
spread of heart rate and share of windows with movement.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sleepstage.errors import DataError
from sleepstage.files import write_atomically
from sleepstage.motion import MOTION_COLUMNS, WINDOW_SECONDS
from sleepstage.recording import PLAUSIBLE_BPM, Recording
from sleepstage.stages import EPOCH_SECONDS, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.random import Generator
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Stages = NDArray[np.int8]
    Bouts = list[tuple[Stage, int]]  # a stage and how many epochs it lasts

__all__ = ["MARKER", "Person", "simulate_night", "write_dataset"]

MARKER: Final = "SIMULATED.txt"
"""Name of the file that says that a dataset's nights are simulated."""

_NOTICE: Final = "The nights in this folder are simulated by sleepstage; no person was measured.\n"
_FIRST_ID: Final = 900001
_HOURS: Final = (0.5, 24.0)
_DAY: Final = 86_400  # s
_UP: Final = (-16 * 3600, -1800)  # s, from getting up to the last walk before lights out
_STEP_BIN: Final = 600  # s
_GRID: Final = 5  # s, of the heart rate before it is sampled
_RATE: Final = 50  # Hz, of raw acceleration
_COUNT_BIN: Final = 5 / 128  # g; counts as in `sleepstage.motion`
_STILL_SD: Final = 0.0015  # g, sensor noise; set by eye
_STILL_PEAK: Final = 2.25 * _STILL_SD  # the expected largest of 50 normal samples


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
    """What makes one person's night differ from another's; factors are about 1, set by eye.

    Attributes
    ----------
    resting_bpm : float
        Heart rate in N2 at lights out, beats per minute: that of adults at rest, less some
        (Ostchega et al. 2011, Natl Health Stat Report 41).
    overnight_fall : float
        Its fall by the morning, beats per minute, that goes with time and not with stages
        (Trinder et al. 2001, J Sleep Res 10:253-264); size set by eye.
    variability : float
        Factor on all changes of heart rate.
    movement : float
        Factor on the rate of movements.
    wakefulness : float
        Factor on the odds of a waking.
    deep_drive : float
        Factor on the length of deep sleep, which differs much between people.
    latency : float
        Minutes from lights out to sleep (Ohayon et al. 2004).
    cycle : float
        Mean length of a sleep cycle in minutes (Carskadon & Dement).
    daily_steps : float
        Steps of this day (Tudor-Locke & Bassett 2004, Sports Med 34:1-8).
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


class _Movements(NamedTuple):
    """Movements and arousals in order of time; many are too weak for the wrist to show."""

    onset: Floats  # s
    duration: Floats  # s
    strength: Floats  # g


class _Night(NamedTuple):
    """A night as it is written; steps are at the start of their bins."""

    stages: Stages
    heart_rate: tuple[Floats, Floats]
    motion: tuple[Floats, Floats]
    steps: tuple[Floats, Floats]


def simulate_night(
    seed: int, *, hours: float = 8.0, raw_motion: bool = False, subject: str | None = None
) -> Recording:
    """One simulated night: the first of `write_dataset` with the same seed.

    Parameters
    ----------
    seed : int
        Not negative. The same seed gives the same person and the same night.
    hours : float
        From lights out, at time zero, to the end; more than 0.5 and at most 24.
    raw_motion : bool
        Make acceleration at about 50 Hz and summarise it, rather than summaries at once: the
        same movements, a hundred times the work.
    subject : str, optional
        Name; by default made from the seed.

    Returns
    -------
    Recording
        With the true stages and the day before, marked as simulated.

    Raises
    ------
    DataError
        If `seed` or `hours` is out of range.
    """
    night = _simulate(seed, 0, hours, raw_motion=raw_motion)
    bins, steps = night.steps
    return Recording.from_arrays(
        heart_rate=night.heart_rate,
        motion=night.motion,
        steps=(bins + _STEP_BIN, steps),
        start=0.0,
        stages=night.stages,
        subject=f"simulated-{seed:04d}" if subject is None else subject,
        simulated=True,
    )


def write_dataset(
    directory: str | Path,
    n_subjects: int,
    *,
    seed: int = 0,
    hours: float = 8.0,
    raw_motion: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Write simulated nights in the layout of PhysioNet sleep-accel, and `MARKER` beside them.

    Parameters
    ----------
    directory : path
        Made if missing; nights simulated there before are overwritten, others never.
    n_subjects : int
        At least one.
    seed : int
        Not negative. The same seed gives the same bytes.
    hours : float
        Length of each night; more than 0.5 and at most 24.
    raw_motion : bool
        Write ``motion/`` (about 60 MB a night) rather than ``motion_15s/``.
    on_progress : callable, optional
        Called after each night with the number of nights done and `n_subjects`.

    Returns
    -------
    list of str
        Names of the subjects.

    Raises
    ------
    DataError
        If a number is out of range, or `directory` holds other nights.
    """
    if n_subjects < 1:
        msg = f"n_subjects is {n_subjects}: at least one night must be simulated"
        raise DataError(msg)
    _check(seed, hours)
    directory = Path(directory)
    if (directory / "heart_rate").exists() and not (directory / MARKER).exists():
        msg = f"{directory} holds nights that are not marked as simulated; name another folder"
        raise DataError(msg)
    with write_atomically(directory / MARKER) as temporary:
        temporary.write_text(_NOTICE, encoding="utf-8")
    subjects = [str(_FIRST_ID + number) for number in range(n_subjects)]
    for number, subject in enumerate(subjects):
        _write_night(directory, subject, _simulate(seed, number, hours, raw_motion=raw_motion))
        if on_progress is not None:
            on_progress(number + 1, n_subjects)
    return subjects


def _check(seed: int, hours: float) -> None:
    shortest, longest = _HOURS
    if not shortest < hours <= longest:
        msg = f"a night of {hours} hours: expected more than {shortest:g} and at most {longest:g}"
        raise DataError(msg)
    if seed < 0:
        msg = f"seed is {seed}: expected 0 or more"
        raise DataError(msg)


def _write_night(directory: Path, subject: str, night: _Night) -> None:
    def write(name: str, columns: tuple[NDArray[np.generic], ...], line: str, head: str) -> None:
        with write_atomically(directory / name) as temporary:
            np.savetxt(temporary, np.column_stack(columns), line, header=head, comments="")

    epochs = EPOCH_SECONDS * np.arange(len(night.stages))
    write(f"heart_rate/{subject}_heartrate.txt", night.heart_rate, "%.5f,%d", "")
    write(f"labels/{subject}_labeled_sleep.txt", (epochs, night.stages), "%d %d", "")
    write(f"steps/{subject}_steps.txt", night.steps, "%d,%d", "")
    raw = f"motion/{subject}_acceleration.txt"
    summary = f"motion_15s/{subject}_motion_15s.csv"
    # Of an earlier night by this name the other kind of motion must not stay.
    if night.motion[1].shape[1] == 3:
        write(raw, night.motion, "%.6f %.6f %.6f %.6f", "")
        (directory / summary).unlink(missing_ok=True)
    else:
        write(summary, night.motion, "%d,%s,%s,%s,%s", ",".join(("t_s", *MOTION_COLUMNS)))
        (directory / raw).unlink(missing_ok=True)


def _simulate(seed: int, number: int, hours: float, *, raw_motion: bool) -> _Night:
    _check(seed, hours)
    rng = np.random.default_rng([seed, number])
    person = Person.draw(rng)
    stages = _draw_stages(rng, person, int(hours * 3600 // EPOCH_SECONDS))
    end = len(stages) * EPOCH_SECONDS
    movements = _draw_movements(rng, person, stages)
    steps = _draw_steps(rng, person, end)
    heart_rate = np.hstack(
        [_day_heart_rate(rng, person, *steps), _night_heart_rate(rng, person, stages, movements)]
    )
    # Drawn last, so that raw and summarised motion go with the same rest of the night.
    motion = _draw_motion(rng, movements, end, raw=raw_motion)
    return _Night(stages, (heart_rate[0], heart_rate[1]), motion, steps)


def _draw_stages(rng: Generator, person: Person, n_epochs: int) -> Stages:
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
                bouts.append((Stage.WAKE, _draw_waking(rng)))
                other = Stage.N1
            bouts.append((other, min(_epochs(rng.exponential(_BREAK_MINUTES)), left)))
            left -= bouts[-1][1]
    return bouts


def _draw_waking(rng: Generator) -> int:
    minutes = _TRAITS[Stage.WAKE].bout * (1 + rng.pareto(_WAKE_EXPONENT - 1))
    return _epochs(min(minutes, _LONGEST_WAKE))


def _epochs(minutes: float) -> int:
    """Whole epochs; one at least if it is any time at all."""
    return max(round(minutes * 60 / EPOCH_SECONDS), 1) if minutes > 0 else 0


def _trait(name: str, stages: Stages) -> Floats:
    """One of the `_Traits` for each epoch."""
    table = np.zeros(max(Stage) + 1)
    for stage, traits in _TRAITS.items():
        table[stage] = getattr(traits, name)
    return table[stages]


def _draw_movements(rng: Generator, person: Person, stages: Stages) -> _Movements:
    number = rng.poisson(person.movement * _trait("movements", stages) * EPOCH_SECONDS / 3600)
    number += (stages == Stage.WAKE) & (np.roll(stages, 1) != Stage.WAKE)  # one wakes with a stir
    epoch = np.repeat(np.arange(len(stages)), number)
    onset = np.sort((epoch + rng.random(len(epoch))) * EPOCH_SECONDS)
    duration = rng.lognormal(math.log(4), 0.7, len(epoch))  # median of Montini et al. 2024
    strength = _trait("reach", stages)[epoch] * rng.lognormal(0, 1, len(epoch))
    return _Movements(onset, np.clip(duration, 1, 60), np.minimum(strength, 2.0))


def _draw_motion(
    rng: Generator, movements: _Movements, end: int, *, raw: bool
) -> tuple[Floats, Floats]:
    """Summaries or raw acceleration; in one night of ten a stretch of it is lost."""
    shaking = _draw_shaking(rng, movements, end)
    posture = _draw_posture(rng, movements, end)
    gaps = np.round(_draw_gaps(rng, end, n_short=0) / WINDOW_SECONDS) * WINDOW_SECONDS
    times, values = _raw(rng, shaking, posture) if raw else _summaries(shaking, posture)
    kept = ~_within(times if raw else times - WINDOW_SECONDS / 2, gaps)
    return times[kept], values[kept]


def _draw_shaking(rng: Generator, movements: _Movements, end: int) -> Floats:
    """Largest acceleration besides gravity in each second and on each axis, in g."""
    strength = np.zeros(end)
    for onset, duration, this in zip(*movements, strict=True):
        during = slice(int(onset), math.ceil(onset + duration))
        strength[during] = np.maximum(strength[during], this)
    return strength[:, np.newaxis] * rng.uniform(0.3, 1, (end, 3))


def _draw_posture(rng: Generator, movements: _Movements, end: int) -> Floats:
    """Gravity on the three axes in each second, in g: the wrist lies otherwise once it moved."""
    size = np.minimum(1.5 * movements.strength, 0.8)[:, np.newaxis]
    gravity = [_unit(rng.normal(0, 1, 3))]
    for turn in size * rng.normal(0, 1, (len(size), 3)):
        gravity.append(_unit(gravity[-1] + turn))
    since = np.searchsorted(movements.onset + 0.5, np.arange(end))
    return np.array(gravity)[since]


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / np.linalg.norm(vector))


def _summaries(shaking: Floats, posture: Floats) -> tuple[Floats, Floats]:
    """`MOTION_COLUMNS` as `sleepstage.motion` would find them, without the samples between."""
    bins = np.floor(shaking[:, 2] / _COUNT_BIN).reshape(-1, WINDOW_SECONDS).sum(axis=1)
    counts = 3.07 * np.maximum(bins + WINDOW_SECONDS - 18, 0)
    peaks = (np.abs(posture) + shaking + _STILL_PEAK).reshape(-1, WINDOW_SECONDS, 3).mean(axis=1)
    ends = WINDOW_SECONDS * np.arange(1.0, len(counts) + 1)
    return ends, np.column_stack([np.round(counts, 2), np.round(peaks, 5)])


def _raw(rng: Generator, shaking: Floats, posture: Floats) -> tuple[Floats, Floats]:
    """Acceleration in g at about 50 Hz: gravity, shaking at 4 to 8 Hz, and noise."""
    n = _RATE * len(shaking)
    times = (np.arange(n) + np.clip(rng.normal(0.5, 0.1, n), 0.1, 0.9)) / _RATE
    swing = np.sin(np.cumsum(np.repeat(rng.uniform(4, 8, len(shaking)), _RATE)) * math.tau / _RATE)
    seconds = np.arange(len(shaking))
    xyz = np.column_stack([np.interp(times, seconds, axis) for axis in posture.T])
    xyz += np.repeat(shaking, _RATE, axis=0) * swing[:, np.newaxis]
    xyz += rng.normal(0, _STILL_SD, xyz.shape)
    return np.round(times, 6), np.round(xyz, 6)


def _night_heart_rate(
    rng: Generator, person: Person, stages: Stages, movements: _Movements
) -> tuple[Floats, Floats]:
    """Times and whole beats per minute, every 5 s or so, with gaps."""
    end = len(stages) * EPOCH_SECONDS
    grid = np.arange(0.0, end, _GRID)
    epoch = (grid // EPOCH_SECONDS).astype(np.int64)
    restless = _smooth(_trait("bpm_sd", stages)[epoch]) * _wander(rng, len(grid), seconds=30)
    drift = 1.5 * _wander(rng, len(grid), seconds=1200)
    bpm = person.resting_bpm + _smooth(_trait("bpm", stages)[epoch])
    bpm -= person.overnight_fall * (1 - np.exp(-grid / (3 * 3600)))
    bpm += person.variability * (restless + drift + _surges(movements, len(grid)))
    steps = rng.choice([2, 4, 5, 6, 7, 9], end // 2, p=[0.05, 0.15, 0.5, 0.15, 0.1, 0.05])
    times = np.round(rng.uniform(0, 5) + np.cumsum(steps), 5)
    lost = _within(times, _draw_gaps(rng, end, n_short=1 + rng.poisson(end / 14_400)))
    times = times[(times < end) & ~lost]
    bpm = np.interp(times, grid, bpm) + rng.normal(0, 0.4, len(times))
    return times, _whole(bpm)


def _whole(bpm: NDArray[np.floating]) -> Floats:
    low, high = PLAUSIBLE_BPM
    return bpm.clip(low, high).round().astype(np.float64)


def _surges(movements: _Movements, n: int) -> Floats:
    """Faster at arousals, more so the stronger (Sforza et al. 2000, Clin Neurophysiol 111:1611).

    Up within 10 s and over after a minute; sizes set by eye.
    """
    size = 3 + 20 * np.minimum(movements.strength, 0.6)
    pulses = np.bincount((movements.onset // _GRID).astype(np.int64), size, n)
    since = np.arange(0, 90, _GRID) / 10
    return np.convolve(pulses, since * np.exp(1 - since))[:n].clip(max=25.0)


def _day_heart_rate(
    rng: Generator, person: Person, bins: Floats, counts: Floats
) -> tuple[Floats, Floats]:
    """The day before, a sample in about 5 minutes: higher when up, more so when walking."""
    times = np.arange(-_DAY, 0, 300.0)
    times = np.round(times + rng.uniform(0, 299, len(times)), 5)
    walked = counts[np.clip(np.searchsorted(bins, times) - 1, 0, None)]
    bpm = person.resting_bpm + 8 * (times > _UP[0]) + np.minimum(0.04 * walked, 60)
    bpm += person.variability * rng.normal(0, 5, len(times))
    return times, _whole(bpm)


def _draw_steps(rng: Generator, person: Person, end: int) -> tuple[Floats, Floats]:
    """Starts of the 600 s bins and the steps in each: walks by day, none in bed."""
    bins = np.arange(-_DAY + rng.integers(_STEP_BIN), end - _STEP_BIN, _STEP_BIN, dtype=np.float64)
    walking = (bins > _UP[0]) & (bins < _UP[1]) & (rng.random(len(bins)) < 0.5)
    counts = walking * rng.lognormal(0, 1.1, len(bins))
    return bins, np.floor(np.minimum(counts / counts.sum() * person.daily_steps, 1200))


def _draw_gaps(rng: Generator, end: int, *, n_short: int) -> Floats:
    """Starts and ends of lost stretches, shape (n, 2): short ones, one night of ten a long one."""
    lengths = np.append(30 + rng.exponential(60, n_short), rng.uniform(300, 1200))
    lengths[-1] *= rng.random() < 0.1
    starts = rng.uniform(0, end - lengths)
    return np.column_stack([starts, starts + lengths])


def _within(times: Floats, gaps: Floats) -> NDArray[np.bool_]:
    return np.asarray(((gaps[:, :1] <= times) & (times < gaps[:, 1:])).any(axis=0))


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
