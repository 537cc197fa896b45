"""Tables made from Apple Health: ``startDate,endDate,value,unit``, one row a record.

Scripts and apps such as Simple Health Export CSV write them, with the names of Apple's export.
What the rows are is shown by the column ``type`` or else by the unit or value. Times without an
offset are taken as UTC.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final

from sleepstage.io.exports.gather import (
    Gathered,
    Place,
    csv_rows,
    header_of,
    moment,
    readable_places,
)
from sleepstage.io.source import Format, Found, StoredNight

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sleepstage.io.source import Progress

_COLUMNS: Final = frozenset(("startDate", "endDate", "value"))
_SLEEP: Final = "HKCategoryValueSleepAnalysis"
_SLEEP_CODES: Final = ("InBed", "Asleep", "Awake", "AsleepCore", "AsleepDeep", "AsleepREM")
"""By the numbers of HKCategoryValueSleepAnalysis, which some apps write."""
_FACTORS: Final = {"count/min": 1.0, "bpm": 1.0, "count/s": 60.0}
_TYPES: Final = {
    "HKQuantityTypeIdentifierHeartRate": "heart_rate",
    "HKQuantityTypeIdentifierStepCount": "steps",
    "HKCategoryTypeIdentifierSleepAnalysis": "sleep",
}
_ADVICE: Final = "give the tables of sleep and steps in the same folder"


def _find(_: Path, files: Sequence[Path]) -> list[Found]:
    """Tables of a folder belong together, unless two hold the same: those may be two people's."""
    ours = [path for path in files if any(map(_kinds, readable_places(path)))]
    count = Counter(
        kind for path in ours for place in readable_places(path) for kind in _kinds(place)
    )
    if len(ours) > 1 and max(count.values()) == 1:
        return [Found("", tuple(ours))]
    return [Found(path.stem, (path,)) for path in ours]


def _kinds(place: Place) -> set[str]:
    """What the first rows of a table are; nothing if it is no such table."""
    if not place.name.lower().endswith((".csv", ".tsv", ".txt")):
        return set()
    if not set(header_of(place.beginning())) >= _COLUMNS:
        return set()
    rows = (row for (_, row), _ in zip(csv_rows(place), range(20), strict=False))
    return {kind for row in rows if (kind := _kind(row))}


def _kind(row: dict[str, str]) -> str:
    """Signal of a row; empty if it is of another type."""
    if row.get("type"):
        return _TYPES.get(row["type"], "")
    if (row.get("value") or "").startswith(_SLEEP):
        return "sleep"
    unit = row.get("unit")
    return "heart_rate" if unit in _FACTORS else "steps" if unit == "count" else ""


def _read(files: Sequence[Path], _: Progress | None) -> list[StoredNight]:
    gathered = Gathered(str(files[0]), _ADVICE)
    for path in files:
        for place in filter(_kinds, readable_places(path)):
            gathered.take(partial(_add, gathered), csv_rows(place), place)
    return gathered.nights()


def _add(gathered: Gathered, row: dict[str, str]) -> None:
    kind, source = _kind(row), row.get("sourceName") or ""
    if not kind:
        if row.get("type"):  # a table of all types
            return
        msg = f"value {row['value']!r:.60} of unit {row.get('unit')!r:.60}"
        raise ValueError(msg)
    start, offset = moment(row["startDate"])
    end, _ = moment(row["endDate"] or row["startDate"])
    if kind == "heart_rate":
        factor = _FACTORS[row.get("unit") or "count/min"]
        gathered.add_heart_rate(source, end, factor * float(row["value"]), offset)
    elif kind == "steps":
        gathered.add_steps(source, start, end, float(row["value"]), offset)
    else:
        value = row["value"].removeprefix(_SLEEP)
        value = _SLEEP_CODES[int(value)] if value.isdecimal() else value
        gathered.add_sleep(source, start, end, value, offset)


FORMAT: Final = Format(
    "apple-health-csv",
    "tables made from Apple Health (startDate, endDate, value, unit)",
    _find,
    _read,
    many=True,
)
