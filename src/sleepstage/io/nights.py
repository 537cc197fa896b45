"""Nights among the records of months, as Apple Health and other exports hold them.

Several sources may have written the same kind of record: watch, phone and apps. They are never
mixed: each night has the heart rate of the source that covers most of it (and, while that has none,
of another watch that was worn then), the steps of the source that counted most, and the stages of
the source that has most. Where neither sleep nor steps tell nights from days, the whole is one
night, or is cut at noon if it is longer than a day.
"""

import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple

import numpy as np

from sleepstage.core.hypnogram import Hypnogram
from sleepstage.core.recording import LONGEST_NIGHT, Recording
from sleepstage.errors import DataError
from sleepstage.io.clocks import offset_at
from sleepstage.io.health import HEART_RATE, Export, Records, Row, Series
from sleepstage.io.source import NO_OPTIONS, Floats, Options, StoredNight, nights_in
from sleepstage.stages import EPOCH_SECONDS, FOUR_CLASS, UNSCORED

_log = logging.getLogger(__name__)

_LONG: Final = 12 * 3600.0  # s: who measures for longer measured more than a night
_BEFORE: Final = 1800.0  # s of heart rate before a night that features look back on
_DAY: Final = 86400.0
_COVER: Final = 300.0  # s: a watch at rest measures about that often
_SHORTEST_NIGHT: Final = 2 * 3600.0  # s: a shorter one is a nap, which no model was made for
_BREAK: Final = 3600.0  # s: who is up for longer begins another night
_LEAST_REST: Final = 4 * 3600.0  # s without a step that can be a night
_PIECE: Final = 3600.0  # s without a step that may be a part of one, between visits to the bathroom
_FEW_STEPS: Final = 250.0  # of such a visit
_ALIKE: Final = 1.15  # ratio of heart rates before and after it
_TURN: Final = 900.0  # s without a sample after which another watch is on the wrist
_WORN: Final = 0.5  # share of the ten minutes of a rest with heart rate
_BIN: Final = 600.0
_CLASSES: Final = {"Awake": "wake", "AsleepCore": "light", "AsleepDeep": "deep", "AsleepREM": "rem"}
_SLEPT: Final = _CLASSES.keys() - {"Awake"}


class _Span(NamedTuple):
    """When a night was, in Unix seconds."""

    start: float
    end: float
    utc_offset: int  # seconds by which clocks were ahead of UTC at the start

    @property
    def morning(self) -> str:
        """Date on which it ended, as Health names it."""
        return datetime.fromtimestamp(self.end + self.utc_offset, UTC).date().isoformat()


def nights_of_all(records: Records, options: Options = NO_OPTIONS) -> list[StoredNight]:
    """Nights of everybody, named after the person too if there are several; logs what is not.

    Raises `DataError` if nobody has heart rate.
    """
    records.report()
    if len(records.people) < 2:
        export = records.export(next(iter(records.people), ""))
        return _of_person(export, records.name, options)
    found = []
    for person in records.people:
        try:
            nights = _of_person(records.export(person), f"{records.name}, {person}", options)
        except DataError as error:
            _log.warning("left out %s", error)
            continue
        found += [replace(one, name=f"{person}-{one.name}".rstrip("-")) for one in nights]
    return found


def _of_person(export: Export, name: str, options: Options) -> list[StoredNight]:
    beats = export.heart_rate
    if not beats:
        raise DataError(f"{name}: has no heart rate; export it as well")
    if export.steps or export.sleep:
        return _nights_of(export, name, options)
    most = max(beats.values(), key=lambda series: len(series.ends))
    if len(beats) > 1:
        _log.warning("%s: has heart rate of %d sources; used the largest", name, len(beats))
    if most.ends[-1] - most.ends[0] > _LONG:
        _log.warning("%s: add records of sleep or steps, which tell nights from days", name)
    signal = most.ends, most.values.astype(np.float64)
    return nights_in(name, {HEART_RATE: signal}, utc_offset=60 * int(most.offsets[0]))


class _Clock:
    """Which time zone somebody was in, by what records name, or by what the user states."""

    def __init__(self, export: Export, options: Options) -> None:
        self._zones = export.zones
        self._hours = sorted(export.zones)
        self._stated = options.timezone
        self.used: Counter[str] = Counter()

    def set(self, span: _Span) -> _Span:
        """The span, with the offset from UTC that was in force."""
        near = bisect_left(self._hours, span.start // 3600)
        at_night = [one for one in self._hours[near : near + 1] if 3600 * one <= span.end]
        by_distance = sorted(
            self._hours[max(near - 1, 0) : near + 1], key=lambda one: abs(3600 * one - span.start)
        )
        choices = [("HKTimeZone", self._zones[one]) for one in at_night]
        if self._stated:
            choices.append(("--timezone", self._stated))
        choices += [("HKTimeZone of other records", self._zones[one]) for one in by_distance]
        for source, zone in choices:
            with suppress(DataError):  # a name that this machine does not know
                span = span._replace(utc_offset=offset_at(span.start, zone))
                self.used[source] += 1
                return span
        self.used["the offset that the export is written with"] += 1
        return span


def _nights_of(export: Export, name: str, options: Options) -> list[StoredNight]:
    """Nights that have heart rate during half of their time; logs how many do not."""
    clock = _Clock(export, options)
    spans = _find_spans(export, clock)
    if not spans:
        msg = f"{name}: has neither records of sleep nor rests of four hours between steps"
        raise DataError(msg)
    nights = [span for span in spans if span.end - span.start >= _SHORTEST_NIGHT]
    measured = [(span, _heart_rate(export, span)) for span in nights]
    kept = [(span, beats) for span, beats in measured if beats is not None]
    for n_left, reason in (
        (len(spans) - len(nights), f"shorter than {_SHORTEST_NIGHT / 3600:.0f} h"),
        (len(nights) - len(kept), "without heart rate for half of it or more"),
    ):
        if n_left:
            nights_left = "1 night" if n_left == 1 else f"{n_left} nights"
            _log.warning("%s: left out %s %s", name, nights_left, reason)
    used = ", ".join(f"{source} ({n})" for source, n in clock.used.items())
    level = logging.WARNING if clock.used.keys() - {"HKTimeZone", "--timezone"} else logging.INFO
    _log.log(level, "%s: time zones of nights by %s; --timezone names one", name, used)
    return _named([(span, _recording(export, span, beats)) for span, beats in kept])


def _find_spans(export: Export, clock: _Clock) -> list[_Span]:
    """Nights in order of time, naps among them.

    Where somebody was recorded as in bed, awake in bed or asleep, by any source, that is a night;
    breaks of less than an hour are part of it. On days without such records, noon to noon, it is
    the longest rest: four hours or more without a step, but for visits to the bathroom, during half
    of which or more the watch measured heart rate.
    """
    recorded = [clock.set(span) for span in _join(export.sleep)]
    return sorted([*recorded, *_rests(export, recorded, clock)], key=lambda span: span.start)


def _join(records: Sequence[Row]) -> list[_Span]:
    """Records, in order of their starts, put together where they overlap or nearly meet."""
    spans: list[_Span] = []
    for record in records:
        if spans and record.start - spans[-1].end <= _BREAK:
            last = spans.pop()
            spans.append(_Span(last.start, max(last.end, record.end), last.utc_offset))
        else:
            spans.append(_Span(record.start, record.end, record.offset))
    return spans


def _rests(export: Export, recorded: Sequence[_Span], clock: _Clock) -> list[_Span]:
    """The longest rest of each day of which no sleep is recorded."""
    beats = Series.joined(*export.heart_rate.values())
    walked = Series.joined(*export.steps.values())
    walked = walked.take(walked.values > 0)
    taken = {_day(span) for span in recorded if span.end - span.start >= _SHORTEST_NIGHT}
    longest: dict[int, _Span] = {}
    for found in sorted(_stepless(walked, beats), key=lambda span: span.start - span.end):
        if _share_worn(found, beats.ends) >= _WORN:
            span = clock.set(found)
            if _day(span) not in {*taken, *longest}:
                longest[_day(span)] = span
    return list(longest.values())


def _stepless(walked: Series, beats: Series) -> list[_Span]:
    """Stretches between steps of whatever source, long enough for a night.

    Two with few steps between them are one, unless the heart rate of one is higher: whoever goes
    to bed after an evening on the sofa takes few steps, too.
    """
    nexts = np.minimum.accumulate(walked.starts[::-1])[::-1]  # the first start of what ends later
    n_steps = np.cumsum(walked.values, dtype=np.float64)
    spans: list[_Span] = []
    taken = 0.0  # steps up to the end of the last of them
    for at in np.flatnonzero(nexts[1:] - walked.ends[:-1] >= _PIECE):
        span = _Span(float(walked.ends[at]), float(nexts[at + 1]), 60 * int(walked.offsets[at]))
        if (
            spans
            and span.start - spans[-1].end <= _BREAK
            and n_steps[at] - taken <= _FEW_STEPS
            and _are_alike(spans[-1], span, beats)
        ):
            last = spans.pop()
            span = last._replace(end=span.end)
        spans.append(span)
        taken = n_steps[at]
    return [span for span in spans if _LEAST_REST <= span.end - span.start < _DAY]


def _are_alike(first: _Span, second: _Span, beats: Series) -> bool:
    """Whether the heart rate of two rests is about the same."""
    bpm = [beats.between(span.start, span.end).values for span in (first, second)]
    if not all(map(len, bpm)):
        return False
    low, high = sorted(float(np.median(one)) for one in bpm)
    return high <= _ALIKE * low


def _day(span: _Span) -> int:
    """The day, from noon to noon by the clock, in which its middle lies."""
    middle = (span.start + span.end) / 2 + span.utc_offset
    return int((middle - _DAY / 2) // _DAY)


def _share_worn(span: _Span, beats: Floats) -> float:
    edges = np.arange(span.start, span.end, _BIN)
    return float((np.diff(np.searchsorted(beats, edges)) > 0).mean())


def _named(nights: Sequence[tuple[_Span, partial[Recording]]]) -> list[StoredNight]:
    """By the date of the morning; further nights that end on the same day are numbered."""
    seen: dict[str, int] = {}
    named = []
    for span, read in nights:
        number = seen[span.morning] = seen.get(span.morning, 0) + 1
        name = span.morning if number == 1 else f"{span.morning}-{number}"
        named.append(StoredNight(name, partial(read, subject=name)))
    return named


def _heart_rate(export: Export, span: _Span) -> Series | None:
    """Heart rate of the source that covers most of a night, and of others while that has none.

    None if there is heart rate during less than half of it.
    """
    sources = [one.between(span.start - _BEFORE, span.end) for one in export.heart_rate.values()]
    sources.sort(key=lambda series: _cover(series, span), reverse=True)
    if not sources:
        return None
    taken = sources[0]
    for other in sources[1:]:
        taken = Series.joined(taken, other.apart_from(taken, _TURN))
    return taken if _share_worn(span, taken.ends) >= _WORN else None


def _cover(series: Series, span: _Span) -> tuple[int, int]:
    """Five minutes of a night in which there are samples, and number of samples."""
    inside = series.ends[series.ends >= span.start]
    return len(np.unique((inside - span.start) // _COVER)), len(inside)


def _recording(export: Export, span: _Span, beats: Series) -> partial[Recording]:
    """What builds the recording; it holds views of this night's samples, and no more."""
    walked = [one.between(span.start - _DAY, span.end) for one in export.steps.values()]
    steps = max(walked, key=lambda series: float(series.values.sum()), default=None)
    # They are in order of their starts, and one that began a day before is over.
    first, last = (
        bisect_left(export.sleep, time, key=lambda one: one.start)
        for time in (span.start - _DAY, span.end)
    )
    recorded = [one for one in export.sleep[first:last] if one.end > span.start]
    return partial(
        Recording.from_arrays,
        heart_rate=(beats.ends, beats.values),
        steps=None if steps is None else (steps.ends, steps.values),
        start=span.start,
        end=span.end,
        watch_stages=_watch_stages(recorded, span),
        utc_offset=span.utc_offset,
    )


def _watch_stages(recorded: Sequence[Row], span: _Span) -> Hypnogram | None:
    """Stages of the source that has most of them; an epoch has the stage of its middle."""
    minutes: dict[str, float] = {}
    for one in recorded:
        if one.value in _SLEPT:
            minutes[one.source] = minutes.get(one.source, 0) + one.end - one.start
    if not minutes:
        return None
    source = max(sorted(minutes), key=minutes.__getitem__)
    if span.end - span.start > LONGEST_NIGHT:
        return None  # the recording is refused
    n_epochs = int((span.end - span.start) / EPOCH_SECONDS + 1e-6)
    middles = span.start + EPOCH_SECONDS * (np.arange(n_epochs) + 0.5)
    codes = np.full(n_epochs, UNSCORED, dtype=np.int8)
    for one in recorded:
        if one.source == source and (name := _CLASSES.get(str(one.value))):
            first, last = np.searchsorted(middles, [one.start, one.end])
            codes[first:last] = FOUR_CLASS.classes.index(name)
    return Hypnogram(span.start, codes, FOUR_CLASS, subject=source, utc_offset=span.utc_offset)
