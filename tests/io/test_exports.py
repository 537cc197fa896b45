"""Exports of a person's records, in the layouts of their makers: nights as of Apple Health."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from sleepstage import open_nights
from sleepstage.core.recording import Recording
from sleepstage.errors import DataError
from tests.helpers.apple_export import moment
from tests.helpers.recordings import nights, only

BED = moment("2024-03-12 23:00:00 +0100")
HOURS = 3
TIMES = [BED + 300 * n for n in range(12 * HOURS)]
BERLIN = timezone(timedelta(hours=1))


def stamp(time: float, form: str = "%Y-%m-%d %H:%M:%S %z", zone: timezone = BERLIN) -> str:
    return datetime.fromtimestamp(time, zone).strftime(form)


def minutes(recording: Recording) -> dict[str, float]:
    """Minutes of each stage of the watch."""
    watch = recording.watch_stages
    assert watch is not None
    names = watch.scheme.classes
    return {name: float((watch.codes == code).sum() / 2) for code, name in enumerate(names)}


# Health Auto Export


def auto_export(sleep: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    beats = [
        {"date": stamp(time), "Min": 50, "Avg": 58.5, "Max": 70, "source": "W"} for time in TIMES
    ]
    steps = [{"date": stamp(BED - 3600 + 60 * n), "qty": 7, "source": "W"} for n in range(3)]
    metrics = [
        {"name": "heart_rate", "units": "count/min", "data": beats, **changes},
        {"data": steps, "units": "count", "name": "step_count"},  # in any order
        {"name": "sleep_analysis", "units": "hr", "data": sleep},
    ]
    return {"data": {"metrics": metrics, "workouts": []}}


def stages() -> list[dict[str, Any]]:
    return [
        {
            "startDate": stamp(BED + 3600 * hour),
            "endDate": stamp(BED + 3600 * (hour + 1)),
            "value": value,
            "qty": 1,
            "source": "W",
        }
        for hour, value in enumerate(("Core", "Deep", "REM"))
    ]


def test_json_of_health_auto_export_is_a_night_with_the_stages_of_the_watch(
    tmp_path: Path,
) -> None:
    path = tmp_path / "any.json"
    path.write_text(json.dumps(auto_export(stages())))
    night = only(path, "records")
    assert (night.start, night.end, night.utc_offset) == (BED, BED + 3600 * HOURS, 3600)
    assert set(night.heart_rate.values) == {58.5}
    assert list(night.steps.times) == [BED - 3600 + 60 * n for n in (1, 2, 3)]
    assert minutes(night) == {"wake": 0, "light": 60, "deep": 60, "rem": 60}


def test_nights_that_health_auto_export_aggregates_are_found_too(tmp_path: Path) -> None:
    night = {"inBedStart": stamp(BED), "inBedEnd": stamp(BED + 10800), "asleep": 0, "source": "W"}
    path = tmp_path / "HealthAutoExport-2024.json"
    path.write_text(json.dumps(auto_export([night])))
    assert only(path, "records").end == BED + 10800


def test_daily_files_of_health_auto_export_are_read_together(tmp_path: Path) -> None:
    whole = auto_export(stages())
    for day in (12, 13):
        part = json.loads(json.dumps(whole))
        for metric in part["data"]["metrics"]:
            first = "startDate" if metric["name"] == "sleep_analysis" else "date"
            metric["data"] = [one for one in metric["data"] if f"-{day} " in one[first]]
        (tmp_path / f"HealthAutoExport-2024-03-{day}.json").write_text(json.dumps(part))
    assert len(only(tmp_path, "records").heart_rate) == len(TIMES)


def test_twelve_hour_clocks_are_read_and_odd_records_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    export = auto_export(stages())
    beats = export["data"]["metrics"][0]["data"]
    beats[0]["date"] = "2024-03-12 11:00:00\u202fPM +0100"
    beats[1]["Avg"] = "none"
    path = tmp_path / "a.json"
    path.write_text(json.dumps(export))
    with caplog.at_level(logging.WARNING):
        night = only(path, "records")
    assert night.heart_rate.times[0] == BED
    assert len(night.heart_rate) == len(TIMES) - 1
    assert "left out 1 records that can't be read, the first in" in caplog.text
    assert "a.json, record 2: could not convert string to float: 'none'" in caplog.text


def test_another_unit_or_layout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(auto_export([], units="Hz")))
    with pytest.raises(DataError, match=r"'Hz'\)\); heart rate is expected in count/min"):
        list(open_nights(path))
    path.write_text('{"data": {"metrics": [3]}}')
    with pytest.raises(DataError, match="not as Health Auto Export writes it"):
        list(open_nights(path))
    path.write_text('{"data": {"metrics": [')
    with pytest.raises(DataError, match="malformed JSON"):
        list(open_nights(path))


def test_csv_of_health_auto_export(tmp_path: Path) -> None:
    names = "Date/Time,Active Energy (kJ),Heart Rate [Min] (count/min),Heart Rate [Avg] (count/min)"
    rows = [f"{stamp(time, '%Y-%m-%d %H:%M:%S')},1,50,61," for time in TIMES]
    rows[3] = rows[3].replace(",61,", ",,")  # nothing was measured
    text = "\n".join([f"{names},Step Count (count)", *rows])
    path = tmp_path / "HealthAutoExport.csv"
    path.write_text(text)
    night = only(path, "records")
    assert night.start == BED + 3600  # by its clock, taken as UTC
    assert set(night.heart_rate.values) == {61}
    assert len(night.heart_rate) == len(TIMES) - 1


# CSV made from Apple Health


def apple_rows(unit: str, values: Iterable[tuple[float, float, object]]) -> str:
    rows = [f"{stamp(start)},{stamp(end)},{value},{unit}" for start, end, value in values]
    return "\n".join(["startDate,endDate,value,unit", *rows])


@pytest.mark.parametrize("deep", ["HKCategoryValueSleepAnalysisAsleepDeep", "AsleepDeep", "Deep"])
def test_tables_made_from_apple_health_are_one_person(tmp_path: Path, deep: str) -> None:
    beats = apple_rows("count/min", [(time, time, 55) for time in TIMES])
    (tmp_path / "pulse.csv").write_text("sep=,\n" + beats)
    (tmp_path / "walked.csv").write_text(apple_rows("count", [(BED - 600, BED - 300, 40)]))
    (tmp_path / "sleep.csv").write_text(apple_rows("", [(BED, BED + 10800, deep)]))
    night = only(tmp_path, "records")
    assert (night.start, night.end, night.utc_offset) == (BED, BED + 10800, 3600)
    assert (len(night.heart_rate), len(night.steps)) == (len(TIMES), 1)
    assert minutes(night)["deep"] == 180


def test_two_tables_of_heart_rate_may_be_two_people_and_stay_apart(tmp_path: Path) -> None:
    for name in ("kim", "lee"):
        beats = apple_rows("count/min", [(time, time, 55) for time in TIMES])
        (tmp_path / f"{name}.csv").write_text(beats)
    assert list(nights(tmp_path, "records")) == ["kim", "lee"]


def test_types_name_what_the_rows_are(tmp_path: Path) -> None:
    head = "type;sourceName;startDate;endDate;value;unit"
    kinds = (("RespiratoryRate", 14), ("HeartRate", 58))
    rows = [
        f"HKQuantityTypeIdentifier{kind};W;{stamp(time)};{stamp(time)};{value};count/min"
        for time in TIMES
        for kind, value in kinds
    ]
    path = tmp_path / "all.csv"
    path.write_text("\n".join([head, *rows]))
    night = only(path, "records")
    assert list(night.heart_rate.values) == [58] * len(TIMES)


# Fitbit


def takeout(zone: str = "Europe/Berlin") -> dict[str, str]:
    clock, iso = "%m/%d/%y %H:%M:%S", "%Y-%m-%dT%H:%M:%S.000"
    beats = [
        {"dateTime": stamp(time, clock, UTC), "value": {"bpm": 57, "confidence": min(n, 2)}}
        for n, time in enumerate(TIMES)
    ]
    steps = [{"dateTime": stamp(BED - 60, clock, UTC), "value": "12"}]
    data = [
        {"dateTime": stamp(BED, iso), "level": "light", "seconds": 7200},
        {"dateTime": stamp(BED + 7200, iso), "level": "rem", "seconds": 3600},
    ]
    short = [{"dateTime": stamp(BED + 3600, iso), "level": "wake", "seconds": 60}]
    sleep = {
        "logId": 1,
        "startTime": stamp(BED, iso),
        "endTime": stamp(BED + 10800, iso),
        "type": "stages",
        "levels": {"summary": {}, "data": data, "shortData": short},
    }
    folder = "Takeout/Fitbit/Global Export Data"
    return {
        f"{folder}/heart_rate-2024-03-12.json": json.dumps(beats),
        f"{folder}/steps-2024-03-12.json": json.dumps(steps),
        f"{folder}/sleep-2024-03-01.json": json.dumps([sleep]),
        f"{folder}/calories-2024-03-01.json": json.dumps(steps),
        "Takeout/Fitbit/Your Profile/Profile.csv": f"id,timezone\nX,{zone}\n",
    }


def unpack(files: dict[str, str], folder: Path) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize("packed", [True, False])
def test_takeout_of_fitbit_with_local_sleep_placed_by_the_profile(
    tmp_path: Path, packed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if packed:
        with zipfile.ZipFile(tmp_path / "takeout.zip", "w") as archive:
            for name, text in takeout().items():
                archive.writestr(name, text)
    else:
        unpack(takeout(), tmp_path)
    with caplog.at_level(logging.WARNING):
        night = only(tmp_path, "records")
    assert (night.start, night.end, night.utc_offset) == (BED, BED + 10800, 3600)
    assert len(night.heart_rate) == len(TIMES) - 1  # the first has no confidence
    assert "of confidence 0: not measured" in caplog.text
    assert list(night.steps.values) == [12]
    assert minutes(night) == {"wake": 1, "light": 119, "deep": 0, "rem": 60}


def test_without_a_time_zone_local_sleep_is_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = takeout()
    del files["Takeout/Fitbit/Your Profile/Profile.csv"]
    unpack({name: text for name, text in files.items() if "steps" not in name}, tmp_path)
    with caplog.at_level(logging.WARNING):
        night = only(tmp_path, "records")
    assert (night.start, night.watch_stages) == (TIMES[1], None)
    assert "left out 1 files of sleep, in local time" in caplog.text


def test_a_renamed_file_of_heart_rate_is_known_by_its_content(tmp_path: Path) -> None:
    files = takeout()
    path = tmp_path / "mine.json"
    path.write_text(next(iter(files.values())))
    assert len(only(path, "records").heart_rate) == len(TIMES) - 1


def test_csv_of_a_newer_takeout(tmp_path: Path) -> None:
    iso = "%Y-%m-%dT%H:%M:%SZ"
    beats = [f"{stamp(time, iso, UTC)},61.0,Charge 6" for time in TIMES]
    stage = [
        f"1,{n},{kind},+01:00,{stamp(BED + 5400 * n, iso, UTC)},+01:00,"
        f"{stamp(BED + 5400 * (n + 1), iso, UTC)},DERIVED"
        for n, kind in enumerate(("LIGHT", "DEEP"))
    ]
    columns = "sleep_id,sleep_stage_id,sleep_stage_type,start_utc_offset,sleep_stage_start,"
    unpack(
        {
            "Physical Activity_GoogleData/heart_rate_2024-03-12.csv": "\n".join(
                ["timestamp,beats per minute,data source", *beats]
            ),
            "Health Fitness Data_GoogleData/UserSleepStages_2024-03-12.csv": "\n".join(
                [f"{columns}end_utc_offset,sleep_stage_end,data_source", *stage]
            ),
        },
        tmp_path,
    )
    night = only(tmp_path, "records")
    assert (night.start, night.end, night.utc_offset) == (BED, BED + 10800, 3600)
    assert minutes(night) == {"wake": 0, "light": 90, "deep": 90, "rem": 0}


def test_people_of_fitabase_are_nights_of_their_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = "%m/%d/%Y %I:%M:%S %p"
    beats = [f"{who},{stamp(time, clock)},{60 + who}" for who in (1, 2) for time in TIMES]
    asleep = [f"{who},{stamp(BED + 60 * n, clock)},1,9" for who in (1, 2, 3) for n in range(180)]
    (tmp_path / "heartrate_seconds_merged.csv").write_text("\n".join(["Id,Time,Value", *beats]))
    (tmp_path / "minuteSleep_merged.csv").write_text(
        "\n".join(["Id,date,value,logId", *asleep, "3,none,1,9"])
    )
    with caplog.at_level(logging.WARNING):
        found = nights(tmp_path, "records")
    day = "2024-03-13"
    assert [name.rpartition(f"-{day}")[0][-1] for name in found] == ["1", "2"]
    first, second = found.values()
    assert (first.heart_rate.values[0], second.heart_rate.values[0]) == (61, 62)
    assert first.end - first.start == 10800
    assert "3: has no heart rate" in caplog.text
    assert "left out 1 records" in caplog.text


def test_days_of_heart_rate_alone_are_cut_at_noon_and_said_to_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = "%m/%d/%y %H:%M:%S"
    noon = moment("2024-03-12 12:00:00 +0000")
    beats = [
        {"dateTime": stamp(noon + 300 * n, clock, UTC), "value": {"bpm": 60, "confidence": 3}}
        for n in range(2 * 288 + 6)
    ]
    path = tmp_path / "heart_rate-2024-03-12.json"
    path.write_text(json.dumps(beats))
    with caplog.at_level(logging.WARNING):
        found = nights(path, "records")
    assert [name.removeprefix(f"{path.stem}-") for name in found] == ["2024-03-13", "2024-03-14"]
    assert {len(night.heart_rate) for night in found.values()} == {288}
    assert "add records of sleep or steps, which tell nights from days" in caplog.text
    assert "left out 1 days of less than 2 h" in caplog.text
