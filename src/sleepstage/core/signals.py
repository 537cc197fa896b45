"""Heart rate, motion and steps as a watch or a file gives them, checked.

The bounds here hold for files and for the live service alike. They are far beyond what bodies and
watches do, and far within float32, in which features are computed.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from sleepstage._utils.arrays import Floats, Mask
from sleepstage.core.motion import MOTION_COLUMNS
from sleepstage.core.samples import Samples, Times
from sleepstage.errors import DataError

PLAUSIBLE_BPM: Final = (25.0, 240.0)
"""Heart rates outside are no heart rates: a watch writes 0 when it has lost the pulse."""

MAX_ACCELERATION: Final = 1000.0
"""g, in either direction: accelerometers of watches end at 32 g, shock sensors at some hundreds."""

MAX_COUNTS: Final = 1e7
"""Activity counts of a 15 s window; the summaries of this package reach 6000."""

MAX_STEPS: Final = 1e7
"""Steps of one sample, or since a pedometer was started: years of walking."""

Given = tuple["Times", ArrayLike]
"""Times and what was measured at them, or a single time and what was measured then."""


def clean_heart_rate(given: Given | None, name: str = "heart rate") -> tuple[Samples, int]:
    """Heart rates in beats per minute, without those outside `PLAUSIBLE_BPM`, and their number.

    All functions here sort by time, drop exact duplicates, and begin an error with `name`.

    Raises `DataError` if shapes do not fit or something is no finite number.
    """
    if given is None:
        return Samples.empty(), 0
    samples = Samples.clean(*_arrays(given, name), name=name)
    plausible = is_plausible(samples.values)
    return samples.keep(plausible), len(samples) - int(plausible.sum())


def is_plausible(bpm: Floats) -> Mask:
    """Which heart rates lie within `PLAUSIBLE_BPM`."""
    low, high = PLAUSIBLE_BPM
    return np.asarray((bpm >= low) & (bpm <= high))


def clean_motion(given: Given | None, name: str = "motion") -> Samples:
    """Raw acceleration in g, values of shape (n, 3), or 15 s summaries, (n, 4).

    Raises `DataError` as for heart rate; or if a count is negative or more than `MAX_COUNTS`,
    or acceleration is beyond `MAX_ACCELERATION`.
    """
    if given is None:
        return Samples.empty(len(MOTION_COLUMNS))
    times, values = _arrays(given, name, row=True)
    columns = np.shape(values)[-1] if np.ndim(values) == 2 else 0
    if columns not in (3, len(MOTION_COLUMNS)):
        raise DataError(
            f"{name}: values have shape {np.shape(values)}, expected (n, 3) for x, y, z in g "
            f"or (n, {len(MOTION_COLUMNS)}) for {', '.join(MOTION_COLUMNS)}"
        )
    samples = Samples.clean(times, values, name=name, columns=columns)
    if columns == len(MOTION_COLUMNS):
        _check_count(f"{name}: activity count", samples.times, samples.values[:, 0], MAX_COUNTS)
    too_large = np.abs(samples.values[:, -3:]).max(axis=1) > MAX_ACCELERATION
    if too_large.any():
        at = int(np.argmax(too_large))
        xyz = ", ".join(f"{value:g}" for value in samples.values[at, -3:])
        raise DataError(
            f"{name}: acceleration {xyz} at {samples.times[at]:.10g} s; no watch measures more "
            f"than {MAX_ACCELERATION:g} g: convert it to g, or delete the sample"
        )
    return samples


def clean_steps(given: Given | None, name: str = "steps") -> Samples:
    """Steps since the sample before, at the time when the count was known.

    Raises `DataError` as for heart rate; or if a count is negative or more than `MAX_STEPS`.
    """
    if given is None:
        return Samples.empty()
    samples = Samples.clean(*_arrays(given, name), name=name)
    _check_count(f"{name}:", samples.times, samples.values, MAX_STEPS)
    return samples


def _check_count(what: str, times: Floats, counts: Floats, limit: float) -> None:
    wrong = (counts < 0) | (counts > limit)
    if wrong.any():
        at = int(np.argmax(wrong))
        why = "no count is negative" if counts[at] < 0 else f"the limit is {limit:g}"
        msg = f"{what} {counts[at]:g} at {times[at]:.10g} s; {why}: correct or delete the sample"
        raise DataError(msg)


def _arrays(given: Any, name: str, *, row: bool = False) -> tuple[Any, Any]:
    """Times and values; a single sample becomes arrays of one."""
    try:
        times, values = given
        if np.ndim(times) == 0 and np.ndim(values) == int(row):
            times, values = [times], [values]
        np.shape(values)  # a ragged list has none
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: expected a pair of arrays, times and values ({error})") from error
    return times, values


@dataclass(frozen=True, eq=False)
class Pedometer:
    """All that is remembered between two pushes of counts."""

    last: float = 0.0
    """The newest count that was turned into steps."""
    until: float = -math.inf
    """Counts older than this come too late. None is lost: the next one has their steps."""
    waiting: Samples = field(default_factory=Samples.empty)
    """Counts from `until` on."""


def count_steps(state: Pedometer, new: Samples, until: float) -> tuple[Samples, Pedometer]:
    """Steps at the counts before `until`, and what to remember for the next call.

    The first state is ``Pedometer()``. New samples are counts since the recording began, in any
    order to those of earlier calls; all counts up to `until`, in seconds, have come. So the first
    one is itself steps, and so is one that is lower than before: the pedometer began anew.
    """
    counts = state.waiting.merged(new.between(state.until, math.inf))
    until = max(state.until, until)
    ready = counts.between(-math.inf, until)
    steps = np.diff(ready.values, prepend=state.last)
    steps = np.where(steps < 0, ready.values, steps)
    last = float(ready.values[-1]) if len(ready) else state.last
    return Samples(ready.times, steps), Pedometer(last, until, counts.between(until, math.inf))
