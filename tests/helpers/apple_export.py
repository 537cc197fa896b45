"""Writes exports in the layout of Apple Health, as HealthKit Export Version 13 has it."""

from __future__ import annotations

import datetime as dt
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

BERLIN = dt.timezone(dt.timedelta(hours=1))
WATCH = "Kim\u2019s Apple\xa0Watch"
PHONE = "iPhone"

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE HealthData [
<!-- HealthKit Export Version: 13 -->
<!ELEMENT HealthData (ExportDate,Me,(Record|Correlation|Workout|ActivitySummary)*)>
<!ATTLIST HealthData
  locale CDATA #REQUIRED
>
<!ELEMENT Record ((MetadataEntry|HeartRateVariabilityMetadataList)*)>
]>
<HealthData locale="de_DE">
 <ExportDate value="2024-04-02 09:00:00 +0200"/>
 <Me HKCharacteristicTypeIdentifierDateOfBirth="1990-01-01"/>
"""
TAIL = "</HealthData>\n"

_DEVICE = "<<HKDevice: 0x2822>, name:Apple Watch, manufacturer:Apple Inc., model:Watch>"


def moment(text: str) -> float:
    """Unix seconds of ``2024-03-31 02:15:00 +0100``."""
    return dt.datetime.strptime(text, "%Y-%m-%d %H:%M:%S %z").timestamp()


def stamp(time: float, zone: dt.timezone = BERLIN) -> str:
    return dt.datetime.fromtimestamp(time, zone).strftime("%Y-%m-%d %H:%M:%S %z")


def record(
    kind: str,
    start: float,
    end: float,
    value: object,
    *,
    source: str = WATCH,
    unit: str | None = None,
    zone: dt.timezone = BERLIN,
) -> str:
    written = stamp(end, zone)
    unit_told = "" if unit is None else f" unit={quoteattr(unit)}"
    return (
        f' <Record type="{kind}" sourceName={quoteattr(source)} sourceVersion="10.3"'
        f" device={quoteattr(_DEVICE)}{unit_told}"
        f' creationDate="{written}" startDate="{stamp(start, zone)}" endDate="{written}"'
        f' value="{value}"/>\n'
    )


def beat(time: float, bpm: float, *, unit: str = "count/min", **more: object) -> str:
    plain = record(
        "HKQuantityTypeIdentifierHeartRate",
        time,
        time,
        bpm,
        unit=unit,
        **more,  # type: ignore[arg-type]
    )
    context = '  <MetadataEntry key="HKMetadataKeyHeartRateMotionContext" value="1"/>\n'
    return plain.replace("/>\n", ">\n") + context + " </Record>\n"


def beats(start: float, end: float, every: float = 240, bpm: float = 58, **more: object) -> str:
    times = [start + every * n for n in range(int((end - start) / every))]
    return "".join(beat(time, bpm + (n % 5), **more) for n, time in enumerate(times))  # type: ignore[arg-type]


def steps(start: float, end: float, number: int, **more: object) -> str:
    kind = "HKQuantityTypeIdentifierStepCount"
    return record(kind, start, end, number, unit="count", **more)  # type: ignore[arg-type]


def sleep(start: float, end: float, value: str, **more: object) -> str:
    kind = "HKCategoryTypeIdentifierSleepAnalysis"
    return record(kind, start, end, f"HKCategoryValueSleepAnalysis{value}", **more)  # type: ignore[arg-type]


def staged(start: float, minutes: Sequence[tuple[str, float]], **more: object) -> str:
    """One record a stage, one after the other, as the watch writes them."""
    written, at = [], start
    for value, length in minutes:
        written.append(sleep(at, at + 60 * length, value, **more))
        at += 60 * length
    return "".join(written)


def document(*parts: str, head: str = HEAD) -> str:
    return head + "".join(parts) + TAIL


def write_xml(path: Path, *parts: str, head: str = HEAD) -> Path:
    path.write_text(document(*parts, head=head), encoding="utf-8")
    return path


def write_zip(
    path: Path, *parts: str, name: str = "apple_health_export/export.xml", more: Iterable[str] = ()
) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("apple_health_export/export_cda.xml", "<ClinicalDocument/>")
        for other in more:
            archive.writestr(other, "")
        archive.writestr(name, document(*parts))
    return path
