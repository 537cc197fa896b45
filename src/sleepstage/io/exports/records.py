"""Records of people, from whatever export, and the nights in them.

They become nights as those of Apple Health do. Where neither sleep nor steps tell nights from days,
and in recordings of devices, the whole is one night, or is cut at noon if it is longer than a day.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sleepstage.core.recording import Recording
from sleepstage.errors import DataError
from sleepstage.io.apple_health.nights import nights_of
from sleepstage.io.health import HEART_RATE, Export, Records
from sleepstage.io.source import NO_OPTIONS, Options, StoredNight, days_in

Signal = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Times in seconds and values, as `Recording.from_arrays` takes them."""

_log = logging.getLogger(__name__)
_LONG: Final = 12 * 3600.0  # s: who measures for longer measured more than a night


def nights_of_all(records: Records, options: Options = NO_OPTIONS) -> list[StoredNight]:
    """Nights of everybody, named after the person too if there are several; logs what is not.

    Raises `DataError` if nobody has heart rate.
    """
    records.report()
    if len(records.people) < 2:
        export = records.export(next(iter(records.people), ""))
        return _nights_of(export, records.name, options)
    found = []
    for person in records.people:
        try:
            nights = _nights_of(records.export(person), f"{records.name}, {person}", options)
        except DataError as error:
            _log.warning("left out %s", error)
            continue
        found += [replace(one, name=f"{person}-{one.name}".rstrip("-")) for one in nights]
    return found


def _nights_of(export: Export, name: str, options: Options) -> list[StoredNight]:
    beats = export.heart_rate
    if not beats:
        raise DataError(f"{name}: has no heart rate; export it as well")
    if export.steps or export.sleep:
        return nights_of(export, name, options)
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
