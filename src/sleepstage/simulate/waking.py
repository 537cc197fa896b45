"""Signals of somebody up and about, for hours of which a recording has none or few.

Recordings of sleep seldom begin before bedtime: what a wrist does in waking life is drawn here,
around the steps and the rare heart rates that are there. Constants name their sources; what is
*set by eye* was chosen so that a third of the windows has a count, more than awake in bed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sleepstage.core.motion import MOTION_COLUMNS, WINDOW_SECONDS
from sleepstage.core.samples import Samples
from sleepstage.core.signals import PLAUSIBLE_BPM
from sleepstage.io.sleep_accel.read import STEP_BIN_SECONDS
from sleepstage.simulate import watch
from sleepstage.simulate.physiology import (
    GRID,
    Movements,
    draw_motion,
    scatter_movements,
    wander,
)
from sleepstage.stages import EPOCH_SECONDS

if TYPE_CHECKING:
    from numpy.random import Generator


class _Occupation(NamedTuple):
    """What the hands do for a while."""

    share: float  # of all bouts
    bout: float  # min, mean length
    movements: float  # per hour
    reach: float  # g, median acceleration of a movement


# Set by eye; more than half of waking life is sedentary (Matthews et al. 2008, Am J Epidemiol
# 167:875-881).
_OCCUPATIONS: Final = (
    _Occupation(share=0.6, bout=25, movements=60, reach=0.10),  # quiet: reads, watches
    _Occupation(share=0.4, bout=12, movements=400, reach=0.15),  # busy: cooks, types, washes up
)
_RESTLESSNESS_SD: Final = 0.5  # of the logarithm, between people and days; set by eye

_CADENCE: Final = 100 / 60  # steps a second (Tudor-Locke et al. 2018, Br J Sports Med 52:776-788)
_SWING: Final = 0.35  # g, median acceleration of a walker's wrist; set by eye
_SWING_SD: Final = 0.4  # of its logarithm
_LAID_ANEW: Final = 10.0  # s of walking between two positions of the wrist; set by eye

_MINUTE_SD: Final = 3.0  # bpm, of changes within a minute; set by eye
_TEN_MINUTES_SD: Final = 2.0  # bpm


def waking_motion(rng: Generator, start: float, end: float, steps: Samples) -> Samples:
    """Draw motion of somebody awake: bouts of quiet and of busy hands, and walking.

    Parameters
    ----------
    rng : Generator
        The same state gives the same motion.
    start, end : float
        Seconds; windows lie from `start` on, and none reaches beyond `end`.
    steps : Samples
        Counts of the last 600 s, or since the sample before if that is later. As long as they
        take is walked, at any time of the bin.

    Returns
    -------
    Samples, values of shape (n_windows, 4)
        `MOTION_COLUMNS` at the end of each 15 s window; none if no window fits.
    """
    n_windows = max(0, int((end - start) // WINDOW_SECONDS))
    if not n_windows:
        return Samples.empty(len(MOTION_COLUMNS))
    seconds = n_windows * WINDOW_SECONDS
    parts = (
        _draw_hands(rng, math.ceil(seconds / EPOCH_SECONDS)),
        _draw_walks(rng, start, end, steps),
    )
    movements = Movements(*map(np.concatenate, zip(*parts, strict=True)))
    times, values = watch.summaries(*draw_motion(rng, movements, seconds))
    return Samples(start + times, values)


def waking_heart_rate(rng: Generator, start: float, end: float, heart_rate: Samples) -> Samples:
    """Draw heart rate of somebody awake, one in about 5 s, around the rare ones measured.

    Parameters
    ----------
    rng : Generator
        The same state gives the same heart rate.
    start, end : float
        Seconds; samples lie from `start` up to, not at, `end`.
    heart_rate : Samples
        Measured now and then, before `start` and after `end` too: the drawn ones change about the
        line from each of these to the next, and stand in place of those from `start` to `end`.

    Returns
    -------
    Samples
        Whole beats per minute; none if none were measured.
    """
    seconds = max(0, int(end - start))
    if not (len(heart_rate) and seconds):
        return Samples.empty()
    grid = np.arange(0.0, seconds, GRID)
    bpm = np.interp(start + grid, heart_rate.times, heart_rate.values)
    bpm += _MINUTE_SD * wander(rng, len(grid), seconds=60)
    bpm += _TEN_MINUTES_SD * wander(rng, len(grid), seconds=600)
    times, values = watch.beats(rng, (grid, bpm), seconds)
    return Samples(start + times, values.clip(*PLAUSIBLE_BPM).round())


def _draw_hands(rng: Generator, n_epochs: int) -> Movements:
    """One occupation after the other."""
    shares = [occupation.share for occupation in _OCCUPATIONS]
    rate, reach = np.zeros((2, n_epochs))
    at = 0
    while at < n_epochs:
        occupation = _OCCUPATIONS[rng.choice(len(_OCCUPATIONS), p=shares)]
        bout = slice(at, at + 1 + int(rng.exponential(occupation.bout) * 60 / EPOCH_SECONDS))
        rate[bout], reach[bout] = occupation.movements, occupation.reach
        at = bout.stop
    restlessness = rng.lognormal(0, _RESTLESSNESS_SD)
    return scatter_movements(rng, rng.poisson(restlessness * rate * EPOCH_SECONDS / 3600), reach)


def _draw_walks(rng: Generator, start: float, end: float, steps: Samples) -> Movements:
    """One walk in each bin with steps, as pieces between two positions of the wrist."""
    bins = np.maximum(np.append(-np.inf, steps.times[:-1]), steps.times - STEP_BIN_SECONDS)
    walked = (steps.values > 0) & (steps.times > start) & (bins < end)
    bins, lasts = bins[walked], (steps.times - bins)[walked]
    takes = np.minimum(steps.values[walked] / _CADENCE, lasts)
    begins = bins + rng.random(len(bins)) * (lasts - takes) - start
    ends = begins + takes
    pieces = [np.arange(*walk, _LAID_ANEW) for walk in zip(begins, ends, strict=True)]
    onset = np.concatenate([np.empty(0), *pieces])
    duration = np.minimum(np.repeat(ends, [len(each) for each in pieces]) - onset, _LAID_ANEW)
    strength = rng.lognormal(math.log(_SWING), _SWING_SD, len(onset))
    inside = onset >= 0
    return Movements(onset[inside], duration[inside], strength[inside])
