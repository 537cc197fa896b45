"""Fitbit: its part of Google Takeout as zip or folder, and tables of the service Fitabase.

Takeout has one file a day or month: ``heart_rate-*.json`` and ``steps-*.json`` in UTC, and
``sleep-*.json`` in local time without a zone, which the profile beside them names; newer ones also
have CSV in UTC (``heart_rate_*.csv``, ``steps_*.csv``, ``UserSleepStages_*.csv``). Fitabase
(https://www.fitabase.com, data dictionary) has CSV in local time, one person a file or many by
``Id``, taken as UTC. No layout is documented by its maker in full; these are as in public exports.
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime, tzinfo
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from sleepstage.errors import DataError
from sleepstage.io.exports.gather import (
    Gathered,
    Place,
    american,
    csv_rows,
    header_of,
    load_json,
    moment,
    places_in,
    readable_places,
)
from sleepstage.io.source import Format, Found, StoredNight

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sleepstage.io.source import Progress

_log = logging.getLogger(__name__)

_HEART_RATE, _STEPS, _SLEEP, _ZONE = "heart rate", "steps", "sleep", "zone"
_JSON: Final = re.compile(r"(heart_rate|steps|sleep)-\d{4}-\d\d-\d\d\.json", re.IGNORECASE)
_CSV: Final = re.compile(r"(heart_rate|steps|UserSleepStages)_\d{4}-\d\d-\d\d\.csv")
_KINDS: Final = {
    "heart_rate": _HEART_RATE,
    "steps": _STEPS,
    "sleep": _SLEEP,
    "usersleepstages": _SLEEP,
}
_BEATS: Final = re.compile(r'\s*\[\s*\{\s*"dateTime".{0,100}?"bpm"\s*:', re.DOTALL)
_PROFILE: Final = "Your Profile/Profile.csv"
_ELSEWHERE: Final = (_PROFILE, "*_GoogleData/UserSleepStages_*.csv")
_LEVELS: Final = {
    "wake": "Awake",
    "awake": "Awake",
    "light": "AsleepCore",
    "deep": "AsleepDeep",
    "rem": "AsleepREM",
    "asleep": "Asleep",
    "restless": "InBed",
}
_MINUTE: Final = 60.0
_ADVICE: Final = "give the files of sleep and steps in the same folder"


def _kind(place: Place) -> str:
    """What a file of Takeout holds; empty if it is none. Heart rate also goes by other names."""
    name = place.name
    if (place.member or str(place.path)).replace("\\", "/").endswith(_PROFILE):
        return _ZONE
    if found := _JSON.fullmatch(name) or _CSV.fullmatch(name):
        return _KINDS[found[1].lower()]
    is_json = name.lower().endswith(".json") and not place.member
    return _HEART_RATE if is_json and _BEATS.match(place.beginning()) else ""


def _find(folder: Path, files: Sequence[Path]) -> list[Found]:
    kinds = {path: set(map(_kind, readable_places(path))) for path in files}
    ours = [path for path, found in kinds.items() if found - {"", _ZONE}]
    if not any(_HEART_RATE in kinds[path] for path in ours):
        return []
    name = ours[0].stem if len(ours) == 1 else ""
    if ours[0].suffix.lower() != ".zip":
        more = [path for pattern in _ELSEWHERE for path in sorted(folder.parent.glob(pattern))]
        ours += [path for path in more if path not in ours]
    return [Found(name, tuple(ours))]


def _read(files: Sequence[Path], _: Progress | None) -> list[StoredNight]:
    gathered = Gathered(str(files[0]), _ADVICE)
    places = {place: kind for place in places_in(files) if (kind := _kind(place))}
    zone = next((_zone_in(place) for place, kind in places.items() if kind == _ZONE), None)
    n_unplaced = 0
    for place, kind in places.items():
        if place.name.lower().endswith(".csv"):
            if kind != _ZONE:
                gathered.take(partial(_add_row, gathered, kind), csv_rows(place), place)
        elif kind == _SLEEP and zone is None:
            n_unplaced += 1
        else:
            _read_json(place, kind, zone or UTC, gathered)
    if n_unplaced:
        _log.warning(
            "%s: left out %d files of sleep: their times are local, and no %s names the time zone",
            *(files[0], n_unplaced, _PROFILE),
        )
    return gathered.nights()


def _zone_in(profile: Place) -> tzinfo | None:
    name = next((row.get("timezone") or "" for _, row in csv_rows(profile)), "")
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        _log.warning("%s: unknown time zone %.60r", profile, name)
        return None


def _read_json(place: Place, kind: str, zone: tzinfo, gathered: Gathered) -> None:
    records = load_json(place)
    if not isinstance(records, list):
        msg = f"{place}: expected a list of records, found {str(records)[:60]!r}; export it again"
        raise DataError(msg)
    add: Callable[[dict[str, Any]], None] = partial(_ADDERS[kind], gathered, zone)
    gathered.take(add, enumerate(records, 1), place)


@lru_cache(maxsize=1024)
def _offset(hour: int, zone: tzinfo) -> int:
    ahead = datetime.fromtimestamp(3600 * hour, zone).utcoffset()
    return int(ahead.total_seconds()) if ahead is not None else 0


def _add_heart_rate(gathered: Gathered, zone: tzinfo, record: dict[str, Any]) -> None:
    value = record["value"]
    if value.get("confidence") == 0:
        msg = "of confidence 0: not measured"
        raise ValueError(msg)
    time = american(record["dateTime"])
    gathered.add_heart_rate("Fitbit", time, value["bpm"], _offset(int(time // 3600), zone))


def _add_steps(gathered: Gathered, zone: tzinfo, record: dict[str, Any]) -> None:
    time = american(record["dateTime"])
    offset = _offset(int(time // 3600), zone)
    gathered.add_steps("Fitbit", time, time + _MINUTE, record["value"], offset)


def _add_sleep(gathered: Gathered, zone: tzinfo, record: dict[str, Any]) -> None:
    """One night; short awakenings lie over the longer stages."""
    start, offset = moment(record["startTime"], zone)
    gathered.add_sleep("Fitbit", start, moment(record["endTime"], zone)[0], "InBed", offset)
    levels = record["levels"]
    for level in (*levels["data"], *levels.get("shortData", ())):
        time, offset = moment(level["dateTime"], zone)
        value = _LEVELS[level["level"]]
        gathered.add_sleep("Fitbit", time, time + float(level["seconds"]), value, offset)


_ADDERS: Final = {_HEART_RATE: _add_heart_rate, _STEPS: _add_steps, _SLEEP: _add_sleep}


def _add_row(gathered: Gathered, kind: str, row: dict[str, str]) -> None:
    """A row of the CSV, whose times are in UTC."""
    source = row.get("data source") or row.get("data_source") or "Fitbit"
    if kind == _SLEEP:
        (start, _), (end, _) = moment(row["sleep_stage_start"]), moment(row["sleep_stage_end"])
        local = f"2000-01-01T00:00{row['start_utc_offset']}"
        value = _LEVELS[row["sleep_stage_type"].lower()]
        gathered.add_sleep(source, start, end, value, moment(local)[1])
        return
    time, _ = moment(row["timestamp"])
    if kind == _HEART_RATE:
        gathered.add_heart_rate(source, time, float(row["beats per minute"]))
    else:
        gathered.add_steps(source, time, time + _MINUTE, float(row["steps"]))


FORMAT: Final = Format(
    "fitbit", "Fitbit's part of Google Takeout (zip or folder)", _find, _read, many=True
)


_TABLES: Final = {
    _HEART_RATE: frozenset(("Time", "Value")),
    _STEPS: frozenset(("ActivityMinute", "Steps")),
    _SLEEP: frozenset(("date", "value", "logId")),
    "stages": frozenset(("LogId", "Time", "Level")),
}
_MINUTES: Final = {"1": "Asleep", "2": "InBed", "3": "Awake"}
_PERSON: Final = re.compile(r"(.*?)_?(?:heartrate|minute|30second|sleep)", re.IGNORECASE)


def _table(place: Place) -> str:
    """What a table of Fitabase holds; empty if it is none."""
    if not place.name.lower().endswith(".csv"):
        return ""
    names = set(header_of(place.beginning())) - {"Id"}
    exact = _TABLES[_HEART_RATE] == names
    others = (kind for kind in (_STEPS, _SLEEP, "stages") if names >= _TABLES[kind])
    return _HEART_RATE if exact else next(others, "")


def _find_tables(_: Path, files: Sequence[Path]) -> list[Found]:
    kinds = {path: set(map(_table, readable_places(path))) for path in files}
    ours = tuple(path for path, found in kinds.items() if found - {""})
    if not any(_HEART_RATE in kinds[path] for path in ours):
        return []
    return [Found(ours[0].stem if len(ours) == 1 else "", ours)]


def _read_tables(files: Sequence[Path], _: Progress | None) -> list[StoredNight]:
    """Nights of everybody, named after the person as well where there are several."""
    people: dict[str, Gathered] = {}

    def add(kind: str, person: str, row: dict[str, str]) -> None:
        person = row.get("Id") or person
        if person not in people:
            people[person] = Gathered(f"{files[0]}, {person}" if person else name, _ADVICE)
        _add_table_row(people[person], kind, row)

    name = str(files[0])
    rows = Gathered(name, _ADVICE)
    for place in places_in(files):
        if kind := _table(place):
            found = _PERSON.match(place.name)
            rows.take(partial(add, kind, found[1] if found else ""), csv_rows(place), place)
    rows.report()
    found_nights = []
    for person, gathered in people.items():
        label = person if len(people) > 1 else ""
        try:
            nights = gathered.nights()
        except DataError as error:
            if len(people) == 1:
                raise
            _log.warning("left out %s", error)
            continue
        found_nights += [
            StoredNight("-".join(filter(None, (label, night.name))), night.read) for night in nights
        ]
    return found_nights


def _add_table_row(gathered: Gathered, kind: str, row: dict[str, str]) -> None:
    if kind == _HEART_RATE:
        gathered.add_heart_rate("Fitbit", american(row["Time"]), float(row["Value"]))
    elif kind == _STEPS:
        time = american(row["ActivityMinute"])
        gathered.add_steps("Fitbit", time, time + _MINUTE, float(row["Steps"]))
    elif kind == _SLEEP:
        time = american(row["date"])
        gathered.add_sleep("Fitbit", time, time + _MINUTE, _MINUTES[row["value"]])
    else:
        time = american(row["Time"])
        level = _LEVELS[row.get("SleepStage") or row["Level"]]
        gathered.add_sleep("Fitbit", time, time + _MINUTE / 2, level)


FITABASE: Final = Format(
    "fitabase",
    "tables of Fitabase (heartrate, minuteSteps, minuteSleep)",
    _find_tables,
    _read_tables,
    many=True,
)
