"""Nights of an Apple Health export: ``export.zip`` as the iPhone makes it, or ``export.xml``.

Several sources may have written the same kind of record: watch, phone and apps. They are never
mixed: each night has the heart rate of the source that covers most of it, the steps of the source
that counted most, and the stages of the source that has most.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from datetime import UTC, datetime
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sleepstage.core.hypnogram import Hypnogram
from sleepstage.core.recording import LONGEST_NIGHT, Recording
from sleepstage.errors import DataError
from sleepstage.io.apple_health.xml import BEGINNING, is_export, read_export
from sleepstage.io.files import member_names, open_member
from sleepstage.io.source import Format, Found, Options, StoredNight
from sleepstage.stages import EPOCH_SECONDS, FOUR_CLASS, UNSCORED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from sleepstage.io.apple_health.xml import Export, Series, SleepRecord
    from sleepstage.io.source import Progress

_log = logging.getLogger(__name__)

_BEFORE: Final = 1800.0  # s of heart rate before a night that features look back on
_DAY: Final = 86400.0
_COVER: Final = 300.0  # s: a watch at rest measures about that often
_SHORTEST_NIGHT: Final = 2 * 3600.0  # s: a shorter one is a nap, which no model was made for
_BREAK: Final = 3600.0  # s: who is up for longer begins another night
_LEAST_REST: Final = 4 * 3600.0  # s without a step that can be a night
_WORN: Final = 0.5  # share of the ten minutes of a rest with heart rate
_BIN: Final = 600.0
_CLASSES: Final = {"Awake": "wake", "AsleepCore": "light", "AsleepDeep": "deep", "AsleepREM": "rem"}
_SLEPT: Final = frozenset(("AsleepCore", "AsleepDeep", "AsleepREM"))


class _Span(NamedTuple):
    """When a night was, in Unix seconds."""

    start: float
    end: float
    utc_offset: int  # seconds by which clocks were ahead of UTC at the start

    @property
    def morning(self) -> str:
        """Date on which it ended, as Health names it."""
        return datetime.fromtimestamp(self.end + self.utc_offset, UTC).date().isoformat()


def _find(_: Path, files: Sequence[Path]) -> list[Found]:
    return [Found(path.stem, (path,)) for path in files if _holds_export(path)]


def _holds_export(path: Path) -> bool:
    if path.suffix.lower() == ".zip":
        names = member_names(path)
        return names is not None and _export_in(names) is not None
    if path.suffix.lower() != ".xml":
        return False
    with path.open("rb") as file:
        return is_export(file.read(BEGINNING))


def _export_in(names: Sequence[str]) -> str | None:
    """The export among the files of an archive: its name depends on the language of the phone.

    Beside it lies ``export_cda.xml``, the same in the form of clinical documents.
    """
    found = [
        name
        for name in names
        if name.lower().endswith(".xml")
        and not name.lower().endswith("_cda.xml")
        and len(PurePosixPath(name).parts) <= 2
    ]
    return found[0] if len(found) == 1 else None


def _read(
    files: Sequence[Path], on_progress: Progress | None, options: Options
) -> list[StoredNight]:
    (path,) = files
    names = member_names(path)
    member = "" if names is None else _export_in(names)
    if member is None:
        msg = f"{path}: has no export.xml; give the export.zip that the app Health makes"
        raise DataError(msg)
    with open_member(path, member) as (file, size):
        name = f"{path}, {member}" if member else str(path)
        export = read_export(file, size, name, on_progress)
    return _nights(export, str(path))


def _nights(export: Export, name: str) -> list[StoredNight]:
    """Nights that have heart rate; logs how many do not."""
    spans = _find_spans(export)
    if not spans:
        msg = f"{name}: has neither records of sleep nor rests of four hours between steps"
        raise DataError(msg)
    nights = [span for span in spans if span.end - span.start >= _SHORTEST_NIGHT]
    measured = [(span, _heart_rate(export, span)) for span in nights]
    kept = [(span, beats) for span, beats in measured if beats is not None]
    for n_left, reason in (
        (len(spans) - len(nights), f"shorter than {_SHORTEST_NIGHT / 3600:.0f} h"),
        (len(nights) - len(kept), "without heart rate"),
    ):
        if n_left:
            nights_left = "1 night" if n_left == 1 else f"{n_left} nights"
            _log.warning("%s: left out %s %s", name, nights_left, reason)
    return _named([(span, _recording(export, span, beats)) for span, beats in kept])


def _find_spans(export: Export) -> list[_Span]:
    """Nights in order of time, naps among them.

    Where somebody was recorded as in bed, awake in bed or asleep, by any source, that is a night;
    breaks of less than an hour are part of it. On days without such records, noon to noon, it is
    the longest rest: four hours or more without a step, during half of which or more the watch
    measured heart rate.
    """
    recorded = _join(export.sleep)
    return sorted([*recorded, *_rests(export, recorded)], key=lambda span: span.start)


def _join(records: Sequence[SleepRecord]) -> list[_Span]:
    """Records, in order of their starts, put together where they overlap or nearly meet."""
    spans: list[_Span] = []
    for record in records:
        if spans and record.start - spans[-1].end <= _BREAK:
            last = spans.pop()
            spans.append(_Span(last.start, max(last.end, record.end), last.utc_offset))
        else:
            spans.append(_Span(record.start, record.end, record.utc_offset))
    return spans


def _rests(export: Export, recorded: Sequence[_Span]) -> list[_Span]:
    """The longest rest of each day of which no sleep is recorded."""
    beats = np.sort(_joined(series.ends for series in export.heart_rate.values()))
    taken = {_day(span) for span in recorded if span.end - span.start >= _SHORTEST_NIGHT}
    longest: dict[int, _Span] = {}
    rests = _stepless(list(export.steps.values()))
    for span in sorted(rests, key=lambda span: span.start - span.end):
        if _day(span) not in {*taken, *longest} and _share_worn(span, beats) >= _WORN:
            longest[_day(span)] = span
    return list(longest.values())


def _stepless(sources: Sequence[Series]) -> list[_Span]:
    """Stretches between steps of whatever source, long enough for a night."""
    starts, ends = (_joined(getattr(one, name) for one in sources) for name in ("starts", "ends"))
    offsets = _joined(one.offsets for one in sources)
    walked = _joined(one.values for one in sources) > 0
    order = np.argsort(starts[walked], kind="stable")
    starts, ends, offsets = (column[walked][order] for column in (starts, ends, offsets))
    until = np.maximum.accumulate(ends) if len(ends) else ends
    rest = starts[1:] - until[:-1]
    return [
        _Span(float(until[at]), float(starts[at + 1]), 60 * int(offsets[at]))
        for at in np.flatnonzero((rest >= _LEAST_REST) & (rest < _DAY))
    ]


def _joined(columns: Iterable[NDArray[np.generic]]) -> NDArray[np.float64]:
    return np.concatenate([np.empty(0), *columns])


def _day(span: _Span) -> int:
    """The day, from noon to noon by the clock, in which its middle lies."""
    middle = (span.start + span.end) / 2 + span.utc_offset
    return int((middle - _DAY / 2) // _DAY)


def _share_worn(span: _Span, beats: NDArray[np.float64]) -> float:
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
    """Heart rate of the source that covers most of a night."""
    sources = [
        series.between(span.start - _BEFORE, span.end) for series in export.heart_rate.values()
    ]
    best = max(sources, key=lambda series: _cover(series, span), default=None)
    return best if best is not None and _cover(best, span)[0] else None


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


def _watch_stages(recorded: Sequence[SleepRecord], span: _Span) -> Hypnogram | None:
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
        if one.source == source and one.value in _CLASSES:
            first, last = np.searchsorted(middles, [one.start, one.end])
            codes[first:last] = FOUR_CLASS.classes.index(_CLASSES[one.value])
    return Hypnogram(span.start, codes, FOUR_CLASS, subject=source, utc_offset=span.utc_offset)


FORMAT: Final = Format(
    "apple-health",
    "an export of Apple Health (export.zip or export.xml)",
    _find,
    _read,
    several=lambda *_: True,
)
