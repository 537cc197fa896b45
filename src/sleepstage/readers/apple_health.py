"""Nights of an Apple Health export: ``export.zip`` as the iPhone makes it, or ``export.xml``.

Several sources may have written the same kind of record: watch, phone and apps. They are never
mixed: each night has the heart rate of the source that covers most of it, the steps of the source
that counted most, and the stages of the source that told most.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

import numpy as np

from sleepstage.errors import DataError
from sleepstage.hypnogram import Hypnogram
from sleepstage.readers.apple_nights import SHORTEST_NIGHT, Span, find_nights
from sleepstage.readers.apple_xml import BEGINNING, is_export, read_export
from sleepstage.readers.archive import member_names, open_member
from sleepstage.readers.source import Format, Found, Night
from sleepstage.recording import LONGEST_NIGHT, Recording
from sleepstage.stages import EPOCH_SECONDS, FOUR_CLASS, UNSCORED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sleepstage.readers.apple_xml import Export, Series, SleepRecord
    from sleepstage.readers.source import Progress

__all__ = ["FORMAT"]

_log = logging.getLogger(__name__)

_BEFORE: Final = 1800.0  # s of heart rate before a night that features look back on
_DAY: Final = 86400.0
_COVER: Final = 300.0  # s: a watch at rest measures about that often
_CLASSES: Final = {"Awake": "wake", "AsleepCore": "light", "AsleepDeep": "deep", "AsleepREM": "rem"}
_SLEPT: Final = frozenset(("AsleepCore", "AsleepDeep", "AsleepREM"))


def _find(_: Path, files: Sequence[Path]) -> list[Found]:
    return [Found(_name(path), (path,)) for path in files if _holds_export(path)]


def _name(path: Path) -> str:
    return path.name.removesuffix(path.suffix)


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


def _read(files: Sequence[Path], on_progress: Progress | None) -> list[Night]:
    (path,) = files
    return _nights(_load(path, on_progress), str(path))


def _load(path: Path, on_progress: Progress | None) -> Export:
    names = member_names(path)
    member = "" if names is None else _export_in(names)
    if member is None:
        msg = f"{path}: has no export.xml; give the export.zip that the app Health makes"
        raise DataError(msg)
    with open_member(path, member) as (file, size):
        return read_export(file, size, f"{path}, {member}" if member else str(path), on_progress)


def _nights(export: Export, name: str) -> list[Night]:
    """Nights that have heart rate; says how many do not."""
    spans = find_nights(export)
    if not spans:
        msg = f"{name}: has neither records of sleep nor rests of four hours between steps"
        raise DataError(msg)
    nights = [span for span in spans if span.end - span.start >= SHORTEST_NIGHT]
    measured = [(span, _heart_rate(export, span)) for span in nights]
    kept = [(span, beats) for span, beats in measured if beats is not None]
    for n_left, reason in (
        (len(spans) - len(nights), f"shorter than {SHORTEST_NIGHT / 3600:.0f} h"),
        (len(nights) - len(kept), "without heart rate"),
    ):
        if n_left:
            nights_left = "1 night" if n_left == 1 else f"{n_left} nights"
            _log.warning("%s: left out %s %s", name, nights_left, reason)
    return _named([(span, _recording(export, span, beats)) for span, beats in kept])


def _named(nights: Sequence[tuple[Span, partial[Recording]]]) -> list[Night]:
    """By the date of the morning; further nights that end on the same day are numbered."""
    seen: dict[str, int] = {}
    named = []
    for span, read in nights:
        number = seen[span.morning] = seen.get(span.morning, 0) + 1
        name = span.morning if number == 1 else f"{span.morning}-{number}"
        named.append(Night(name, partial(read, subject=name)))
    return named


def _heart_rate(export: Export, span: Span) -> Series | None:
    """Heart rate of the source that covers most of a night."""
    sources = [
        series.between(span.start - _BEFORE, span.end) for series in export.heart_rate.values()
    ]
    best = max(sources, key=lambda series: _cover(series, span), default=None)
    return best if best is not None and _cover(best, span)[0] else None


def _cover(series: Series, span: Span) -> tuple[int, int]:
    """Five minutes of a night in which there are samples, and number of samples."""
    inside = series.ends[series.ends >= span.start]
    return len(np.unique((inside - span.start) // _COVER)), len(inside)


def _recording(export: Export, span: Span, beats: Series) -> partial[Recording]:
    """What builds the recording; it holds views of this night's samples, and no more."""
    walked = [one.between(span.start - _DAY, span.end) for one in export.steps.values()]
    steps = max(walked, key=lambda series: float(series.values.sum()), default=None)
    # They are in order of their starts, and one that began a day before is over.
    first, last = (
        bisect_left(export.sleep, time, key=lambda one: one.start)
        for time in (span.start - _DAY, span.end)
    )
    told = [one for one in export.sleep[first:last] if one.end > span.start]
    return partial(
        Recording.from_arrays,
        heart_rate=(beats.ends, beats.values),
        steps=None if steps is None else (steps.ends, steps.values),
        start=span.start,
        end=span.end,
        watch_stages=_watch_stages(told, span),
        utc_offset=span.utc_offset,
    )


def _watch_stages(told: Sequence[SleepRecord], span: Span) -> Hypnogram | None:
    """Stages of the source that told most of them; an epoch has the stage of its middle."""
    minutes: dict[str, float] = {}
    for one in told:
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
    for one in told:
        if one.source == source and one.value in _CLASSES:
            first, last = np.searchsorted(middles, [one.start, one.end])
            codes[first:last] = FOUR_CLASS.classes.index(_CLASSES[one.value])
    return Hypnogram(span.start, codes, FOUR_CLASS, subject=source, utc_offset=span.utc_offset)


FORMAT: Final = Format(
    "apple-health",
    "an export of Apple Health (export.zip or export.xml)",
    _find,
    _read,
    many=True,
)
