"""Exports of the app Health Auto Export: JSON, or a wide CSV of metrics.

The JSON is described at https://github.com/Lybron/health-auto-export/wiki/API-Export---JSON-Format.
Heart rate is the average of each interval at its start. Sleep comes as single records or, if the
app aggregates, as one object a night. The CSV has local times without a zone, taken as UTC.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sleepstage.errors import DataError
from sleepstage.io.exports.gather import (
    Gathered,
    Place,
    csv_rows,
    header_of,
    load_json,
    moment,
    readable_places,
)
from sleepstage.io.source import Format, Found, StoredNight

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sleepstage.io.source import Progress

_TITLE: Final = "Health Auto Export"
_KEYS: Final = re.compile(r'\s*\{\s*"data"\s*:\s*\{.*"(?:metrics|workouts)"\s*:', re.DOTALL)
_DATES: Final = ("Date/Time", "Date")
_BEATS: Final = re.compile(r"Heart Rate \[Avg\] \((?:count/min|bpm)\)")
_STEPS: Final = re.compile(r"Step(?:s| Count) \((?:count|steps)\)")
_BPM: Final = {"count/min": 1.0, "bpm": 1.0, "count/s": 60.0}
_SLEEP: Final = {
    "core": "AsleepCore",
    "deep": "AsleepDeep",
    "rem": "AsleepREM",
    "awake": "Awake",
    "inbed": "InBed",
    "asleep": "Asleep",
    "unspecified": "AsleepUnspecified",
    "asleepunspecified": "AsleepUnspecified",
}
_MINUTE, _HOUR = 60.0, 3600.0
_ADVICE: Final = "export Sleep Analysis and Step Count as well"


def _find(_: Path, files: Sequence[Path]) -> list[Found]:
    """The app's own names, of one person's days, belong together; others are apart."""
    ours = [path for path in files if _is_export(path)]
    together = tuple(path for path in ours if path.name.startswith("HealthAutoExport"))
    groups = [together] if together else []
    groups += [(path,) for path in ours if path not in together]
    return [Found(one[0].stem if len(one) == 1 else "", one) for one in groups]


def _is_export(path: Path) -> bool:
    return any(map(_is_ours, readable_places(path)))


def _is_ours(place: Place) -> bool:
    name = place.name.lower()
    if name.endswith(".json"):
        return _KEYS.match(place.beginning()) is not None
    return name.endswith(".csv") and _columns(header_of(place.beginning())) is not None


def _columns(names: Sequence[str]) -> tuple[str, str, str] | None:
    """Names of the columns of time, heart rate and steps, where empty is missing."""
    time = next((name for name in _DATES if name in names), "")
    beats, steps = (
        next((name for name in names if pattern.fullmatch(name)), "")
        for pattern in (_BEATS, _STEPS)
    )
    return (time, beats, steps) if time and (beats or steps) else None


def _read(files: Sequence[Path], _: Progress | None) -> list[StoredNight]:
    gathered = Gathered(str(files[0]), _ADVICE)
    for path in files:
        for place in filter(_is_ours, readable_places(path)):
            if place.name.lower().endswith(".json"):
                _read_json(place, gathered)
            else:
                _read_csv(place, gathered)
    return gathered.nights()


def _read_json(place: Place, gathered: Gathered) -> None:
    try:
        metrics = load_json(place)["data"].get("metrics", [])
        named = {str(metric["name"]): (metric.get("units"), metric["data"]) for metric in metrics}
        unit, beats = named.get("heart_rate", ("bpm", []))
        steps = named.get("step_count", ("", []))[1]
        sleep = named.get("sleep_analysis", ("", []))[1]
        width = _width([moment(record["date"])[0] for record in steps])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        msg = f"{place}: not the layout of {_TITLE} ({error!r:.100}); export it again"
        raise DataError(msg) from error
    factor = _BPM.get(unit)
    if factor is None:
        msg = f"{place}: heart rate in {unit!r:.40}; expected {', '.join(_BPM)}"
        raise DataError(msg)
    gathered.take(partial(_add_beats, gathered, factor), enumerate(beats, 1), place)
    gathered.take(partial(_add_steps, gathered, width), enumerate(steps, 1), place)
    gathered.take(partial(_add_sleep, gathered), enumerate(sleep, 1), place)


def _width(times: Sequence[float]) -> float:
    """Seconds of the intervals in which steps are counted, of which only starts are given."""
    apart = np.diff(np.unique(times))
    return float(np.clip(apart.min(), _MINUTE, _HOUR)) if len(apart) else _MINUTE


def _add_beats(gathered: Gathered, factor: float, record: dict[str, Any]) -> None:
    time, offset = moment(record["date"])
    bpm = record["Avg"] if "Avg" in record else record["qty"]
    gathered.add_heart_rate(str(record.get("source", "")), time, factor * float(bpm), offset)


def _add_steps(gathered: Gathered, width: float, record: dict[str, Any]) -> None:
    time, offset = moment(record["date"])
    gathered.add_steps(str(record.get("source", "")), time, time + width, record["qty"], offset)


def _add_sleep(gathered: Gathered, record: dict[str, Any]) -> None:
    source = str(record.get("source", ""))
    if "value" in record:
        spans = [(_SLEEP[_plain(record["value"])], record["startDate"], record["endDate"])]
    else:
        given = (("InBed", "inBedStart", "inBedEnd"), ("Asleep", "sleepStart", "sleepEnd"))
        spans = [
            (value, record[first], record[last])
            for value, first, last in given
            if record.get(first) and record.get(last)
        ]
        if not spans:
            msg = "sleepStart"
            raise KeyError(msg)
    for value, first, last in spans:
        start, offset = moment(first)
        gathered.add_sleep(source, start, moment(last)[0], value, offset)


def _plain(value: str) -> str:
    return re.sub(r"[^a-z]", "", value.lower())


def _read_csv(place: Place, gathered: Gathered) -> None:
    columns = _columns(header_of(place.beginning()))
    if columns is None:  # pragma: no cover - it was found by its columns
        return
    time, beats, steps = columns
    rows = list(csv_rows(place))
    width = _width([moment(row[time])[0] for _, row in rows if steps and row.get(steps)])

    def add(row: dict[str, str]) -> None:
        at, offset = moment(row[time])
        if beats and row[beats]:
            gathered.add_heart_rate("", at, float(row[beats]), offset)
        if steps and row[steps]:
            gathered.add_steps("", at, at + width, float(row[steps]), offset)

    gathered.take(add, rows, place)


FORMAT: Final = Format(
    "health-auto-export",
    "an export of the app Health Auto Export (JSON or CSV)",
    _find,
    _read,
    many=True,
)
