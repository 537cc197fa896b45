"""When the nights of an Apple Health export were."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from sleepstage.readers.apple_xml import Export, Series, SleepRecord

__all__ = ["SHORTEST_NIGHT", "Span", "find_nights"]

SHORTEST_NIGHT: Final = 2 * 3600.0
"""Seconds: what is shorter is a nap, which the models were not made for."""

_BREAK: Final = 3600.0  # s: who is up for longer begins another night
_LEAST_REST: Final = 4 * 3600.0  # s without a step that can be a night
_WORN: Final = 0.5  # share of the ten minutes of a rest with heart rate
_BIN: Final = 600.0
_DAY: Final = 86400.0


@dataclass(frozen=True)
class Span:
    """A night.

    Attributes
    ----------
    start, end : float
        Unix seconds.
    utc_offset : int
        Seconds by which clocks were ahead of UTC at the start.
    """

    start: float
    end: float
    utc_offset: int

    @property
    def morning(self) -> str:
        """Date on which it ended, as Health names it."""
        return datetime.fromtimestamp(self.end + self.utc_offset, UTC).date().isoformat()


def find_nights(export: Export) -> list[Span]:
    """Nights in order of time, naps among them.

    Where somebody was told to be in bed, awake in bed or asleep, by any source, that is a night;
    breaks of less than an hour are part of it. On days without such records, noon to noon, it is
    the longest rest: four hours or more without a step, during half of which or more the watch
    measured heart rate.
    """
    told = _join(export.sleep)
    return sorted([*told, *_rests(export, told)], key=lambda span: span.start)


def _join(records: Sequence[SleepRecord]) -> list[Span]:
    """Records, in order of their starts, put together where they overlap or nearly meet."""
    spans: list[Span] = []
    for record in records:
        if spans and record.start - spans[-1].end <= _BREAK:
            last = spans.pop()
            spans.append(Span(last.start, max(last.end, record.end), last.utc_offset))
        else:
            spans.append(Span(record.start, record.end, record.utc_offset))
    return spans


def _rests(export: Export, told: Sequence[Span]) -> list[Span]:
    """The longest rest of each day of which no sleep is told."""
    beats = np.sort(_joined(series.ends for series in export.heart_rate.values()))
    taken = {_day(span) for span in told if span.end - span.start >= SHORTEST_NIGHT}
    longest: dict[int, Span] = {}
    for span in _stepless(list(export.steps.values())):
        day = _day(span)
        known = longest.get(day)
        if (
            day not in taken
            and (known is None or span.end - span.start > known.end - known.start)
            and _share_worn(span, beats) >= _WORN
        ):
            longest[day] = span
    return list(longest.values())


def _stepless(sources: Sequence[Series]) -> list[Span]:
    """Stretches between steps of whatever source, long enough for a night."""
    starts, ends = (_joined(getattr(one, name) for one in sources) for name in ("starts", "ends"))
    offsets = _joined(one.offsets for one in sources)
    walked = _joined(one.values for one in sources) > 0
    order = np.argsort(starts[walked], kind="stable")
    starts, ends, offsets = (column[walked][order] for column in (starts, ends, offsets))
    until = np.maximum.accumulate(ends) if len(ends) else ends
    rest = starts[1:] - until[:-1]
    return [
        Span(float(until[at]), float(starts[at + 1]), 60 * int(offsets[at]))
        for at in np.flatnonzero((rest >= _LEAST_REST) & (rest < _DAY))
    ]


def _joined(columns: Iterable[NDArray[np.generic]]) -> NDArray[np.float64]:
    return np.concatenate([np.empty(0), *columns])


def _day(span: Span) -> int:
    """The day, from noon to noon by the clock, in which its middle lies."""
    middle = (span.start + span.end) / 2 + span.utc_offset
    return int((middle - _DAY / 2) // _DAY)


def _share_worn(span: Span, beats: NDArray[np.float64]) -> float:
    edges = np.arange(span.start, span.end, _BIN)
    return float((np.diff(np.searchsorted(beats, edges)) > 0).mean())
