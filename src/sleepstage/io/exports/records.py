"""Records of people, from whatever export, and the nights in them.

They become nights as those of Apple Health do. Where neither sleep nor steps tell nights from days,
and in recordings of devices, the whole is one night, or is cut at noon if it is longer than a day.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from sleepstage.core.recording import Recording
from sleepstage.errors import DataError
from sleepstage.io.apple_health.nights import nights_of
from sleepstage.io.archives import Place
from sleepstage.io.files import MAX_ROWS
from sleepstage.io.health import (
    HEART_RATE,
    SLEEP,
    STEPS,
    Collector,
    Odd,
    SleepRecord,
    add_sample,
)
from sleepstage.io.source import NO_OPTIONS, Options, StoredNight, days_in

Signal = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Times in seconds and values, as `Recording.from_arrays` takes them."""

_log = logging.getLogger(__name__)
_Record = TypeVar("_Record")

_LAST: Final = 4e9  # Unix seconds, in 2096
_LONG: Final = 12 * 3600.0  # s: who measures for longer measured more than a night
_ODD: Final = (AttributeError, KeyError, IndexError, OverflowError, TypeError, ValueError)
_APPLE: Final = "hkcategoryvaluesleepanalysis"
_STAGES: Final = {
    **dict.fromkeys(("core", "light", "asleepcore"), "AsleepCore"),
    **dict.fromkeys(("deep", "asleepdeep"), "AsleepDeep"),
    **dict.fromkeys(("rem", "asleeprem"), "AsleepREM"),
    **dict.fromkeys(("wake", "awake"), "Awake"),
    **dict.fromkeys(("asleep", "unspecified", "asleepunspecified"), "Asleep"),
    **dict.fromkeys(("inbed", "restless", "unmeasurable"), "InBed"),
}


class Row(NamedTuple):
    """One record."""

    kind: str
    start: float
    """Unix seconds, like `end`."""
    end: float
    value: float | str
    """Beats per minute, steps, or a stage by any of its names."""
    offset: int = 0
    """Seconds by which the clock was ahead of UTC."""
    source: str = ""
    person: str = ""


def stage_of(text: str) -> str:
    """Stage of Apple Health that a word in some export means; empty if it is none."""
    return _STAGES.get(re.sub("[^a-z]", "", text.lower()).removeprefix(_APPLE), "")


class Records:
    """Records of an export as they are read, by person; those that can't be are counted."""

    def __init__(self, name: str, options: Options = NO_OPTIONS) -> None:
        self._name, self._options = name, options
        self._people: defaultdict[str, Collector] = defaultdict(Collector)
        self._odd = Odd()

    def take(
        self,
        place: Place,
        records: Iterable[tuple[int, _Record]],
        parse: Callable[[_Record], Iterable[Row]],
    ) -> None:
        """Add the rows of numbered records."""
        number = 0
        for number, record in records:
            try:
                for row in parse(record):
                    self._add(row)
            except _ODD as error:
                self._odd.count(f"{place}, record {number}", error)
        MAX_ROWS.require(number, str(place))

    def _add(self, row: Row) -> None:
        if not 0 < row.start <= row.end < _LAST:
            raise ValueError(f"from {row.start:.10g} to {row.end:.10g} s")
        person = self._people[row.person]
        if row.kind == SLEEP:
            stage = stage_of(str(row.value))
            if not stage:
                raise ValueError(f"unknown stage {row.value!r:.60}")
            person.add_sleep(SleepRecord(row.start, row.end, stage, row.source, row.offset))
            return
        if row.kind not in (HEART_RATE, STEPS):
            raise ValueError(f"value {row.value!r:.60}")
        sources = person.heart_rate if row.kind == HEART_RATE else person.steps
        add_sample(sources[row.source], row.start, row.end, float(row.value), row.offset // 60)

    def nights(self) -> list[StoredNight]:
        """Nights of everybody, named after the person too if there are several; logs what is not.

        Raises `DataError` if nobody has heart rate.
        """
        self._odd.report(self._name)
        if len(self._people) < 2:
            return self._nights_of(next(iter(self._people), ""), self._name)
        found = []
        for person in self._people:
            try:
                nights = self._nights_of(person, f"{self._name}, {person}")
            except DataError as error:
                _log.warning("left out %s", error)
                continue
            found += [replace(one, name=f"{person}-{one.name}".rstrip("-")) for one in nights]
        return found

    def _nights_of(self, person: str, name: str) -> list[StoredNight]:
        export = self._people[person].export()
        beats = export.heart_rate
        if not beats:
            raise DataError(f"{name}: has no heart rate; export it as well")
        if export.steps or export.sleep:
            return nights_of(export, name, self._options)
        most = max(beats.values(), key=lambda series: len(series.ends))
        if len(beats) > 1:
            _log.warning("%s: has heart rate of %d sources; used the largest", name, len(beats))
        if most.ends[-1] - most.ends[0] > _LONG:
            _log.warning("%s: add records of sleep or steps, which tell nights from days", name)
        signal = most.ends, most.values.astype(np.float64)
        return nights_in(name, {HEART_RATE: signal}, utc_offset=60 * int(most.offsets[0]))


def nights_in(
    name: str, signals: Mapping[str, Signal], *, utc_offset: int = 0
) -> list[StoredNight]:
    """A recording as one night, or from noon to noon if it is longer than a day.

    The `signals` are by the names that `Recording.from_arrays` has for them.
    """
    main = [times for times, _ in signals.values()]
    found = []
    for day, start, end in days_in(np.concatenate([[], *main]), name, utc_offset):
        part = {}
        for signal, (times, values) in signals.items():
            inside = (times >= start) & (times <= end)
            if inside.any():
                part[signal] = times[inside], values[inside]
        recording = Recording.from_arrays(
            **part,  # type: ignore[arg-type]  # its keywords are the signals
            subject=day,
            utc_offset=utc_offset,
            names=dict.fromkeys(part, name),
        )
        found.append(StoredNight(day, partial(replace, recording), whole_day=bool(day)))
    return found
