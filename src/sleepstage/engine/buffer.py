"""Samples on their way into a session: put in order, counted, and kept until the watermark passes.

The watermark is the time before which all samples are held to have come; stream processing calls it
so (Akidau et al. 2015, VLDB 8(12) 1792-1803).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Final, Self

from sleepstage.core.motion import MOTION_COLUMNS
from sleepstage.core.samples import Samples

RAW_COLUMNS: Final = 3
"""Values of a sample of acceleration."""

_WINDOWS: Final = "summaries"
"""The signal whose samples are stamped with the end of a window."""


@dataclass(frozen=True)
class IngestStats:
    """What became of all samples pushed so far."""

    taken: int = 0
    """Samples that count."""
    duplicate: int = 0
    """The same sample once more, dropped."""
    late: int = 0
    """Older than the watermark, dropped."""
    ahead: int = 0
    """Further ahead of the clock than can be, dropped."""
    implausible: int = 0
    """Heart rates that are none, as the 0 of a watch that has lost the pulse, dropped."""
    clock_back: float = 0.0
    """Seconds by which `now` has gone back at most. A session's time does not go back with it."""
    clock_ahead: float = 0.0
    """Longest step of `now` between two pushes, in seconds: a silence, or a clock put forward."""


@dataclass(frozen=True, eq=False)
class SampleBuffer:
    """Samples that the watermark has not passed, or that no epoch has asked for."""

    heart_rate: Samples = field(default_factory=Samples.empty)
    steps: Samples = field(default_factory=Samples.empty)
    acceleration: Samples = field(default_factory=lambda: Samples.empty(RAW_COLUMNS))
    summaries: Samples = field(default_factory=lambda: Samples.empty(len(MOTION_COLUMNS)))

    def signals(self) -> Iterator[tuple[str, Samples]]:
        """Each signal's name and samples."""
        return ((one.name, getattr(self, one.name)) for one in fields(self))

    def insert(
        self, given: Self, intake: IngestStats, *, watermark: float, limit: float
    ) -> "tuple[SampleBuffer, IngestStats]":
        """Add the given samples, and count what becomes of them on top of the intake so far.

        Samples older than the watermark are late, those from the limit on are ahead.
        """
        joined, counts = {}, {"taken": 0, "duplicate": 0, "late": 0, "ahead": 0}
        for name, new in given.signals():
            if not len(new):
                continue
            first = new.n_before(watermark, window_ends=name == _WINDOWS)
            last = new.n_before(limit)
            known: Samples = getattr(self, name)
            fresh = Samples(new.times[first:last], new.values[first:last])
            joined[name] = both = known.merged(fresh)
            counts["late"] += int(first)
            counts["ahead"] += len(new) - int(last)
            counts["taken"] += len(both) - len(known)
            counts["duplicate"] += len(known) + len(fresh) - len(both)
        if not joined:
            return self, intake
        counted = {name: getattr(intake, name) + count for name, count in counts.items()}
        return replace(self, **joined), replace(intake, **counted)

    def divide(self, time: float) -> "tuple[SampleBuffer, SampleBuffer]":
        """Samples that an epoch or a window which ends at `time` rests on, and later ones."""
        before, after = {}, {}
        for name, samples in self.signals():
            is_window = name == _WINDOWS
            before[name] = samples.between(-math.inf, time, window_ends=is_window)
            after[name] = samples.between(time, math.inf, window_ends=is_window)
        return SampleBuffer(**before), SampleBuffer(**after)
