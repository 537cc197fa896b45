"""Running counts of steps to steps since the sample before, as they arrive: state in, state out.

A pedometer counts from where its recording began. So the first count that is seen is itself the
steps since then, and so is one that is lower than the count before: the pedometer began anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from sleepstage.core.samples import Samples

__all__ = ["Pedometer", "count_steps"]


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
    order to those of earlier calls; all counts up to `until`, in seconds, have come.
    """
    fresh = new.between(state.until, math.inf)
    counts = Samples.clean(
        np.concatenate([state.waiting.times, fresh.times]),
        np.concatenate([state.waiting.values, fresh.values]),
        name="step counts",
    )
    until = max(state.until, until)
    ready = counts.between(-math.inf, until)
    steps = np.diff(ready.values, prepend=state.last)
    steps = np.where(steps < 0, ready.values, steps)
    last = float(ready.values[-1]) if len(ready) else state.last
    return Samples(ready.times, steps), Pedometer(last, until, counts.between(until, math.inf))
