"""What people export from apps and services: JSON and CSV of their records.

- Health Auto Export: JSON (https://github.com/Lybron/health-auto-export/wiki) and a wide CSV.
- Tables made from Apple Health: ``startDate,endDate,value,unit``, with the names of its export.
- Fitbit in Google Takeout, as folder or zip: ``heart_rate-*.json`` and ``steps-*.json`` in UTC,
  ``sleep-*.json`` in the zone that the profile names, and the newer CSV in UTC.
- Fitabase: CSV of heart rate, steps and sleep by the local clock, many people by ``Id``.

Times that name no offset are taken as UTC. What Takeout and Fitabase write is not documented in
full by their makers; it is read as in public exports.
"""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from sleepstage._utils.files import read_toml
from sleepstage.errors import DataError
from sleepstage.io.archives import Place, places_in
from sleepstage.io.clocks import moment
from sleepstage.io.health import APPLE_TYPES, BPM, HEART_RATE, SLEEP, STEPS, Records, Row, stage_of
from sleepstage.io.nights import nights_of_all
from sleepstage.io.source import Options, Source, StoredNight

_log = logging.getLogger(__name__)

_MINUTE: Final = 60.0
_ALL, _ZONE = "all", "zone"  # kinds of files: with all kinds of records, and with the time zone
_OTHER: Final = "other"  # kind of a record that is not used
_AUTO_EXPORT: Final = re.compile(r'\s*\{\s*"data"\s*:\s*\{.*?"metrics"\s*:', re.DOTALL)
_BEATS: Final = re.compile(r'\s*\[\s*\{\s*"dateTime".{0,100}?"bpm"\s*:', re.DOTALL)
_TAKEOUT: Final = re.compile(
    r"(heart_rate|steps|sleep|UserSleepStages)[-_]\d{4}-\d\d-\d\d\.(?:json|csv)", re.IGNORECASE
)
_PROFILE: Final = "Your Profile/Profile.csv"
_BESIDE: Final = (_PROFILE, "*_GoogleData/UserSleepStages_*.csv")
_DATE: Final = re.compile(r"\d{4}-?\d\d-?\d\d(?:T\d{6}Z)?(?:-\d{3})?")
_SIGNAL: Final = re.compile(r"[ _-]*(?:heart|hr|pulse|minute|30second|sleep|step).*", re.IGNORECASE)
_MINUTE_SLEEP: Final = {"1": "asleep", "2": "restless", "3": "awake"}


class _Table(NamedTuple):
    """Columns of one kind of record."""

    kind: str
    start: str
    end: str | float  # a column, or seconds from the start
    value: str
    beside: str = ""  # another column that there must be


_TABLES: Final = tuple(_Table(**one) for one in read_toml(__package__, "tables.toml")["tables"])


def _tables_of(row: dict[str, str]) -> list[_Table]:
    found = []
    for table in _TABLES:
        needed = {table.start, table.value, table.beside or table.start}
        if needed <= row.keys():
            try:
                moment(row[table.start])
            except (AttributeError, KeyError, ValueError):
                continue
            found.append(table)
    return found


def _apple_kind(row: dict[str, str]) -> str:
    """Kind of a row of Apple Health; empty if it is unknown."""
    if row.get("type"):
        return APPLE_TYPES.get(row["type"], _OTHER)
    if stage_of(row["value"] or ""):
        return SLEEP
    unit = row.get("unit")
    return HEART_RATE if unit in BPM else STEPS if unit == "count" else ""


def _kinds(place: Place) -> set[str]:
    """What a file holds; nothing if it is none of these. In archives, only names count."""
    name = place.name.lower()
    if (place.member or place.path.as_posix()).endswith(_PROFILE):
        return {_ZONE}
    if found := _TAKEOUT.fullmatch(name):
        return {SLEEP if "sleep" in found[1] else found[1]}
    if place.member:
        return set()
    if name.endswith(".json"):
        text = place.beginning()
        return {_ALL} if _AUTO_EXPORT.match(text) else {HEART_RATE} if _BEATS.match(text) else set()
    row = place.first_row() if name.endswith(".csv") else {}
    kinds = {_apple_kind(row) if one.kind == _ALL else one.kind for one in _tables_of(row)}
    return {_ALL if kind == _OTHER else kind for kind in kinds if kind}  # a table of all types


def find(folder: Path, files: Sequence[Path]) -> list[Source]:
    """Files of a person: all, if each has something else, or else those that are named alike."""
    kinds = {path: set().union(*map(_kinds, places_in(path))) - {_ZONE} for path in files}
    ours = [path for path, found in kinds.items() if found]
    count = Counter(kind for path in ours for kind in kinds[path])
    groups: defaultdict[str, list[Path]] = defaultdict(list)
    for path in ours:
        person = _SIGNAL.sub("", _DATE.sub("", path.stem)).strip(" _-")
        groups[person if max(count.values()) > 1 else ""].append(path)
    found = []
    for person, paths in groups.items():
        if any(kinds[path] & {HEART_RATE, _ALL} for path in paths):
            takeout = any(_TAKEOUT.fullmatch(path.name) for path in paths)
            beside = [one for form in _BESIDE for one in folder.parent.glob(form) if takeout]
            more = sorted(set(beside) - set(paths))
            name = paths[0].stem if len(paths) == 1 else person
            found.append(Source(name, (*paths, *more)))
    return found


def read(files: Sequence[Path], _: object, options: Options) -> list[StoredNight]:
    """Nights of everybody."""
    records = Records(str(files[0]))
    stated = ZoneInfo(options.timezone) if options.timezone else None
    places = {
        place: kinds for path in files for place in places_in(path) if (kinds := _kinds(place))
    }
    zones = [_zone_in(place) for place, kinds in places.items() if kinds == {_ZONE}]
    zone = next(filter(None, zones), stated)
    n_unplaced = 0
    for place, kinds in places.items():
        if place.name.lower().endswith(".csv"):
            for table in _tables_of(place.first_row()) if kinds != {_ZONE} else ():
                records.take(
                    f"{place}, record", place.rows(), partial(_of_table, table, stated or UTC)
                )
        elif kinds == {_ALL}:
            _take_auto_export(place, records)
        elif kinds == {SLEEP} and zone is None:
            n_unplaced += 1
        else:
            _take_takeout(place, records, kinds, zone or UTC)
    if n_unplaced:
        message = "%s: left out %d files of sleep, in local time: name the zone (%s, --timezone)"
        _log.warning(message, files[0], n_unplaced, _PROFILE)
    return nights_of_all(records, options)


def _zone_in(profile: Place) -> tzinfo | None:
    name = profile.first_row().get("timezone") or ""
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        _log.warning("%s: unknown time zone %.60r", profile, name)
        return None


def _of_table(table: _Table, zone: tzinfo, row: dict[str, str]) -> Iterator[Row]:
    kind, value = table.kind, row[table.value]
    if kind == _ALL:
        kind = _apple_kind(row)
        if kind == HEART_RATE:
            value = str(float(value) * BPM[row.get("unit") or "bpm"])
        elif kind == _OTHER:
            return
    start, offset = moment(row[table.start], zone)
    if isinstance(table.end, float):
        if not value:  # nothing was measured
            return
        end = start + table.end
    else:
        end, _ = moment(row[table.end] or row[table.start], zone)
    if row.get("start_utc_offset"):
        _, offset = moment(f"2000-01-01T00:00{row['start_utc_offset']}")
    value = _MINUTE_SLEEP[value] if table.beside == "logId" else value
    source = row.get("sourceName") or row.get("data source") or row.get("data_source") or ""
    yield Row(kind, start, end, value, offset, source, row.get("Id") or "")


def _take_auto_export(place: Place, records: Records) -> None:
    try:
        metrics = {one["name"]: one for one in place.json()["data"]["metrics"]}
        unit = metrics.get("heart_rate", {}).get("units", "bpm")
        parsers: dict[str, Callable[[Any], Iterator[Row]]] = {
            "heart_rate": partial(_auto_value, HEART_RATE, BPM[unit], 0.0),
            "step_count": partial(_auto_value, STEPS, 1.0, _MINUTE),
            "sleep_analysis": _auto_sleep,
        }
        found = [(metrics[name]["data"], parsers[name]) for name in parsers if name in metrics]
        for data, parse in found:
            records.take(f"{place}, record", enumerate(data, 1), parse)
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(
            f"{place}: not as Health Auto Export writes it ({error!r:.60}); heart rate is expected "
            f"in {', '.join(BPM)}"
        ) from error


def _auto_value(kind: str, factor: float, width: float, record: dict[str, Any]) -> Iterator[Row]:
    start, offset = moment(record["date"])
    value = factor * float(record["Avg"] if "Avg" in record else record["qty"])
    yield Row(kind, start, start + width, value, offset, str(record.get("source", "")))


def _auto_sleep(record: dict[str, Any]) -> Iterator[Row]:
    """A record of its own or, if the app aggregates, a night."""
    spans = [("value", "startDate", "endDate")]
    if "value" not in record:
        spans = [("inBed", "inBedStart", "inBedEnd"), ("asleep", "sleepStart", "sleepEnd")]
    for value, first, last in spans:
        if value == "value" or (record.get(first) and record.get(last)):
            start, offset = moment(record[first])
            stage = record["value"] if value == "value" else value
            source = str(record.get("source", ""))
            yield Row(SLEEP, start, moment(record[last])[0], stage, offset, source)


def _take_takeout(place: Place, records: Records, kinds: set[str], zone: tzinfo) -> None:
    content = place.json()
    if not isinstance(content, list):
        msg = f"{place}: expected a list of records, found {str(content)[:60]!r}; export it again"
        raise DataError(msg)
    (kind,) = kinds
    sleep, value = partial(_takeout_sleep, zone), partial(_takeout_value, kind, zone)
    records.take(f"{place}, record", enumerate(content, 1), sleep if kind == SLEEP else value)


def _takeout_value(kind: str, zone: tzinfo, record: dict[str, Any]) -> Iterator[Row]:
    start, _ = moment(record["dateTime"])
    value, end = record["value"], start + _MINUTE
    if kind == HEART_RATE:
        if value.get("confidence") == 0:
            raise ValueError("of confidence 0: not measured")
        value, end = value["bpm"], start
    ahead = datetime.fromtimestamp(start, zone).utcoffset()
    yield Row(kind, start, end, value, int(ahead.total_seconds()) if ahead else 0)


def _takeout_sleep(zone: tzinfo, record: dict[str, Any]) -> Iterator[Row]:
    """A night; short awakenings lie over the longer stages."""
    start, offset = moment(record["startTime"], zone)
    yield Row(SLEEP, start, moment(record["endTime"], zone)[0], "inBed", offset)
    levels = record["levels"]
    for level in (*levels["data"], *levels.get("shortData", ())):
        time, offset = moment(level["dateTime"], zone)
        yield Row(SLEEP, time, time + float(level["seconds"]), level["level"], offset)
