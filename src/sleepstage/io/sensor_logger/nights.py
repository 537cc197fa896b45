"""Recordings of the app Sensor Logger: a zip of CSV files, the same unpacked, or JSON.

The app and its formats are described at https://github.com/tszheichoi/awesome-sensor-logger
(README.md). `sleepstage.io.sensor_logger.samples` has which sensors are used, and their units.
"""

import logging
import math
import re
from array import array
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np

from sleepstage.core.recording import Recording
from sleepstage.core.samples import Samples
from sleepstage.core.signals import Pedometer, count_steps
from sleepstage.errors import DataError
from sleepstage.io.archives import Place, member_names, places_in
from sleepstage.io.clocks import offset_at
from sleepstage.io.files import beginning_of
from sleepstage.io.sensor_logger import samples
from sleepstage.io.source import Source, times_and_values

_log = logging.getLogger(__name__)

_NEEDED: Final = frozenset(("heartrate", "wristmotion"))  # one of them
_METADATA: Final = "metadata"
_SENSOR: Final = re.compile(
    r"[ _.-]*(heart[ _-]?rate|hr|bpm|wrist[ _-]?motion|motion|pedometer|steps?)$", re.IGNORECASE
)
_NAMED: Final = 100  # sensors, and characters of their names, that an error may name
_ARRAY: Final = re.compile(rb"\s*\[\s*\{")
_KEYS: Final = (re.compile(rb'"sensor"\s*:'), re.compile(rb'"time"\s*:'))


def find(_: Path, files: Sequence[Path]) -> list[Source]:
    """Recordings in archives, in JSON and unpacked."""
    found = [Source(path.stem, (path,)) for path in files if _holds_recording(path)]
    return [*found, *_unpacked(files)]


def _holds_recording(path: Path) -> bool:
    if path.suffix.lower() == ".zip":
        return not _NEEDED.isdisjoint(_sensor_of(one)[0] for one in places_in(path) if one.member)
    if path.suffix.lower() != ".json":
        return False
    beginning = beginning_of(path, samples.BEGINNING)
    return _ARRAY.match(beginning) is not None and all(key.search(beginning) for key in _KEYS)


def _unpacked(files: Sequence[Path]) -> list[Source]:
    """Recordings in a folder: the other sensors' files too, lest they be taken for tables.

    Tables are recognised by their columns, for people rename them; what precedes the sensor in a
    name distinguishes recordings.
    """
    tables = {path: _sensor_of(Place(path)) for path in files if path.suffix.lower() == ".csv"}
    needed = [path for path, (sensor, ours) in tables.items() if ours and sensor in _NEEDED]
    groups: dict[str, list[Path]] = {_SENSOR.sub("", path.stem): [] for path in needed}
    for path, (sensor, ours) in tables.items():
        fitting = [prefix for prefix in groups if path.stem.startswith(prefix)]
        if fitting and (ours or sensor in (*samples.FIELDS, _METADATA)):
            groups[max(fitting, key=len)].append(path)
    return [Source(prefix, tuple(paths)) for prefix, paths in groups.items()]


def _sensor_of(place: Place) -> tuple[str, bool]:
    """Sensor of a table by its columns, else by its name; whether it has columns of the app.

    In archives, which may be far away, only names are looked at; empty if it is no table.
    """
    path = PurePosixPath((place.member or place.name).replace("\\", "/"))
    named = samples.sensor_named(path.stem)
    if place.member:
        return named if path.suffix.lower() == ".csv" and len(path.parts) <= 2 else "", False
    # Remote files limit no readline.
    header = set(samples.header_of(beginning_of(place.path, samples.BEGINNING)))
    if not {"time", samples.ELAPSED} <= header:
        return _METADATA if named.endswith(_METADATA) else named, False
    known = (sensor for sensor, fields in samples.FIELDS.items() if set(fields) <= header)
    return next(known, named), True


_Content = tuple[dict[str, samples.SensorTable], str, Sequence[str]]
"""What is in a recording: tables by sensor, its time zone, and all sensors it has."""


def read_night(files: Sequence[Path]) -> Recording:
    """What is recorded in files of one recording."""
    first = files[0]
    if first.suffix.lower() == ".json":
        return _recording(_read_json(first), first)
    folders: defaultdict[PurePosixPath, dict[str, Place]] = defaultdict(dict)
    packed = member_names(first)
    for place in map(Place, files) if packed is None else [Place(first, name) for name in packed]:
        sensor, _ = _sensor_of(place)
        places = folders[PurePosixPath(place.member.replace("\\", "/")).parent]
        if sensor in samples.FIELDS and sensor in places:
            raise DataError(f"{place}: is of the same sensor as {places[sensor]}; keep one of them")
        places[sensor] = place
    usable = [places for places in folders.values() if not _NEEDED.isdisjoint(places)]
    if len(usable) > 1:
        raise DataError(f"{first}: holds {len(usable)} recordings; unpack it, and give the folder")
    content = _read_csv(usable[0] if usable else {})
    return _recording(content, first.parent if packed is None else first)


def _recording(content: _Content, path: Path) -> Recording:
    tables, zone, has = content
    joined = {sensor: table.joined() for sensor, table in tables.items()}
    pairs = {sensor: times_and_values(rows) for sensor, rows in joined.items() if len(rows)}
    if _NEEDED.isdisjoint(pairs):
        raise DataError(
            f"{path}: has {', '.join(has)[:200] or 'nothing'}, and no samples of Heart "
            "Rate or Wrist Motion; record at least one of them with the app on the watch"
        )
    names = {sensor: table.name for sensor, table in tables.items()}
    steps = None
    if "pedometer" in pairs:
        counts = Samples.clean(*pairs["pedometer"], name=names["pedometer"])
        walked, _ = count_steps(Pedometer(), counts, math.inf)
        steps = walked.times, walked.values
    signals = {"heart_rate": "heartrate", "motion": "wristmotion", "steps": "pedometer"}
    start = None
    if "wristmotion" not in pairs:
        times = pairs["heartrate"][0]
        of_it = times[times >= tables["heartrate"].begun]
        start = float(of_it.min()) if len(of_it) else None
    recording = Recording.from_arrays(
        start=start,
        heart_rate=pairs.get("heartrate"),
        motion=pairs.get("wristmotion"),
        steps=steps,
        names={signal: names[sensor] for signal, sensor in signals.items() if sensor in names},
    )
    return replace(recording, utc_offset=_utc_offset(zone, recording.start, path))


def _utc_offset(zone: str, time: float, path: Path) -> int:
    """Seconds by which clocks there were ahead of UTC; 0 if that is not known."""
    try:
        return offset_at(time, zone) if zone else 0
    except DataError as error:
        _log.warning("%s: %s; times are shown in UTC", path, error)
        return 0


def _read_csv(places: dict[str, Place]) -> _Content:
    tables = {}
    for sensor, fields in samples.FIELDS.items():
        if sensor in places:
            table = tables[sensor] = samples.SensorTable(sensor, str(places[sensor]))
            with places[sensor].open() as (file, _):
                samples.read_table(file, ("time", *fields), table)
    metadata = places[_METADATA].first_row() if _METADATA in places else {}
    zone = (metadata.get(samples.ZONE) or "").strip()
    return tables, zone, [one.member or one.name for one in places.values()]


def _read_json(path: Path) -> _Content:
    tables: dict[str, samples.SensorTable] = {}
    rows: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))
    has: dict[str, None] = {}  # in the order of the file
    zone = ""
    for position, item in enumerate(samples.objects_of(path), start=1):
        name = item.get("sensor")
        sensor = samples.sensor_named(name)
        if sensor in samples.FIELDS:
            table = tables.setdefault(sensor, samples.SensorTable(sensor, f"{path}, {name}"))
            table.note_start(item.get("time"), item.get(samples.ELAPSED))
            row = _json_row(item, sensor, f"{path}, object {position}")
            if row is not None:
                rows[sensor].extend(row)
        elif sensor == _METADATA:
            zone = str(item.get(samples.ZONE) or "")
        if len(has) < _NAMED:
            has[str(name)[:_NAMED]] = None
    for sensor, values in rows.items():
        tables[sensor].add(np.frombuffer(values).reshape(-1, 1 + len(samples.FIELDS[sensor])))
    return tables, zone, list(has)


def _json_row(item: dict[str, Any], sensor: str, place: str) -> list[float] | None:
    """Time in seconds and values; None if nothing was measured."""
    fields = samples.FIELDS[sensor]
    if all(item.get(name) in (None, "") for name in fields):
        return None
    row = samples.sample_row(item.get("time"), item, fields)
    if row is None:
        wrong = (name for name in fields if not math.isfinite(samples.number(item.get(name))))
        column = next(wrong, "time")
        raise samples.no_number(place, column, item.get(column))
    return row
