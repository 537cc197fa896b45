from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from sleepstage.core.motion import MOTION_COLUMNS
from sleepstage.errors import DataError
from sleepstage.io import open_nights
from sleepstage.io.source import Options
from sleepstage.io.tables import read_tables

if TYPE_CHECKING:
    from pathlib import Path

SUMMARIES = ("time", *MOTION_COLUMNS)


def text(folder: Path, *lines: str, name: str = "signal.csv", end: str = "\n") -> Path:
    path = folder / name
    path.write_text("".join(line + end for line in lines), newline="")
    return path


def beats_of(path: Path) -> list[list[float]]:
    samples = read_tables(heart_rate=path).heart_rate
    return np.column_stack([samples.times, samples.values]).tolist()  # type: ignore[no-any-return]


GOOD = [[0.0, 60.0], [40.0, 61.0]]


@pytest.mark.parametrize(
    "lines",
    [
        ("0,60", "40,61"),
        ("0;60", "40;61"),
        ("0\t60", "40\t61"),
        ("0 60", "40 61"),
        ("40,61", "0,60", "40,61"),
        ("time,bpm", "0,60", "40,61"),
        ("Seconds;BPM", "0;60", "40;61"),
        ("t\tbpm", "0\t60", "40\t61"),
        ("timestamp bpm", "0 60", "40 61"),
        ("time, bpm", "0, 60", "40, 61"),
        ("bpm,time", "60,0", "61,40"),
        ("quality,bpm,time", "1,60,0", "2,61,40"),
        ("time,bpm", "", "0,60", "", "40,61", ""),
        ('"time","bpm"', "0,60", "40,61"),  # as R writes
        ("\ufefftime,bpm", "0,60", "40,61"),  # as Excel writes
        ("time,bpm", "# paused", "0,60", "40,61"),
        ("time;bpm", "0;60,0", "40;61,0"),  # as Excel writes in most of Europe
        ("0;60,000", "40;61,000"),
        ("time,bpm", '0,"60,0"', '40,"61,0"'),
        ("sep=;", "time;bpm", "0;60", "40;61"),
        ("my.app.heart_rate,611,2", "time,bpm", "0,60", "40,61"),
        ("Device: Watch", "Made at 22:00", "", "time,bpm", "0,60", "40,61"),
        ("time,bpm", "0,60", "10,NA", "20,NaN", "30,", "35,n/a", "40,61"),
        ("time,bpm", "0,60", "10,0", "20,-1", "30,0", "40,61"),
        ("time (s),heart rate (bpm)", "0,60", "40,61"),
        ("time [ms],HR [1/min]", "0,60", "40000,61"),
        ("time_ms,pulse_bpm", "0,60", "40000,61"),
        ("time,HR (Hz)", "0,1", "40,1.0166666666666666"),
        ("Timestamp,Value", "0,60", "40,61"),
        ("app.x.start_time,app.x.heart_rate", "0,60", "40,61"),
        ("time,bpm", "0,60,", "40,61,"),  # as Samsung Health writes
    ],
    ids=ascii,
)
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=ascii)
def test_heart_rate_is_found_in_any_table(tmp_path: Path, lines: tuple[str, ...], end: str) -> None:
    assert beats_of(text(tmp_path, *lines, end=end)) == GOOD


@pytest.mark.parametrize("kind", [pl.Float64, pl.Float32, pl.Int64, pl.UInt16])
def test_parquet_of_any_number_type(tmp_path: Path, kind: Any) -> None:
    path = tmp_path / "signal.parquet"
    frame = pl.DataFrame({"BPM": [60, 61], "Time": [0, 40]}).cast(kind)
    frame.write_parquet(path)
    assert beats_of(path) == GOOD


def test_raw_motion_and_its_summaries_are_told_apart(tmp_path: Path) -> None:
    times = np.arange(0, 60, 0.02)
    raw = text(tmp_path, *(f"{t:.2f},0,0,1" for t in times), name="raw.csv")
    rows = [f"{t},0,0,0,1" for t in (15, 30, 45, 60)]
    plain = text(tmp_path, *rows, name="plain.csv")
    named = text(tmp_path, ",".join(SUMMARIES), *rows, name="named.csv")
    for path in (raw, plain, named):
        night = read_tables(motion=path)
        assert night.motion.times.tolist() == [15, 30, 45, 60]
        assert night.motion.values.tolist() == [[0, 0, 0, 1]] * 4
        assert night.start == 0


def test_axes_are_found_by_name(tmp_path: Path) -> None:
    path = text(tmp_path, "z,y,x,time", *(f"1,0.5,0.25,{t}" for t in range(60)))
    assert read_tables(motion=path).motion.values[0].tolist() == [0, 0.25, 0.5, 1]


def test_all_three_signals_make_a_night(tmp_path: Path) -> None:
    night = read_tables(
        heart_rate=text(tmp_path, "100,60", "170,61", name="h.csv"),
        motion=text(tmp_path, "115,0,0,0,1", "190,3.07,0,0,1", name="m.csv"),
        steps=text(tmp_path, "-500,12", "100,0", name="s.csv"),
        subject="me",
    )
    assert (night.start, night.end, night.subject) == (100, 190, "me")
    assert night.steps.values.tolist() == [12, 0]
    assert not night.simulated


def test_start_and_end_may_be_given(tmp_path: Path) -> None:
    path = text(tmp_path, "0,60", "40,61")
    night = read_tables(heart_rate=path, start=-60, end=60)
    assert (night.start, night.end) == (-60, 60)


def test_counts_of_axes_are_not_taken_for_acceleration(tmp_path: Path) -> None:
    rows = [f"{t},{t % 7},3,40,60" for t in range(0, 600, 60)]
    path = text(tmp_path, "time,axis1,axis2,axis3,hr", *rows)
    (night,) = open_nights(path)
    assert (len(night.read().heart_rate), len(night.read().motion)) == (10, 0)


def test_nothing_is_no_night() -> None:
    with pytest.raises(DataError, match="needs heart rate or motion"):
        read_tables()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((), "empty"),
        (("sep=;",), "the file is empty"),
        (("0,60", "5,61", "time,bpm", "9,60"), "line 3: expected a number as"),
        (("time,bpm",), "the file is empty"),
        (("time,puls", "0,60"), "has columns time, puls .rename to pulse for 'puls'.*; expected"),
        (("time,bpm (km)", "0,60", "40,61"), "column 'bpm .km.' is in 'km'; expected bpm or"),
        (("time,bpm", "0,60", "5,61,7", "9,60"), "line 3: expected 2 fields, found 3 in '5,61,7'"),
        (("a preamble", "", "time,bpm", "", "0,60", "5,x"), "line 6: .*found 'x'"),
        (("time,bpm,note", "0,60,ok", '5,61,"ok', "9,60,ok"), "line 3: expected 3 fields"),
        (
            ("time,bpm", "22:00:00,60", "22:00:40,61"),
            "expected a date and a time .* found 22:00:00",
        ),
        (("when,bpm", "0,60"), "has columns when, bpm; expected time, bpm"),
        (("0,60,1", "5,60,1"), r"line 1: expected numbers \(time, bpm\), found '0,60,1'"),
        (("0", "5"), "line 1: expected numbers"),
        (("time,bpm", "0,60", "5,x", "9,60"), "line 3: expected a number as 'bpm', found 'x'"),
        (("nan,60", "5,60"), "line 1: expected a number as '1', found"),
        (("0,60", "1_000,61"), "line 2: .* found '1_000'"),
        (("time,bpm", '0,"1,060"', '40,"1,061"'), "line 2: .* found '1,060'"),
        (("0,400", "40,401"), "2 of 2 values lie outside 25 to 240"),
        (("60,1000", "61,1005"), "2 of 2 values .*swapped"),
    ],
    ids=str,
)
def test_broken_heart_rate_is_refused_by_file_and_line(
    tmp_path: Path, lines: tuple[str, ...], expected: str
) -> None:
    path = text(tmp_path, *lines)
    with pytest.raises(DataError, match=expected) as caught:
        read_tables(heart_rate=path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("signal", "lines", "expected"),
    [
        ("motion", ("time,x,y", "0,0,0"), "has columns time, x, y; expected time, x, y, z or time"),
        ("motion", ("0,0,0", "1,0,0"), r"line 1: expected numbers \(time, x, y, z or time, counts"),
        (
            "motion",
            tuple(f"{t / 50},0,0,9.81" for t in range(1500)),
            "must be in g; divide m/s² by 9",
        ),
        ("steps", ("0,5", "600,-1"), "-1 at 600 s"),
        ("steps", ("time,bpm", "0,5"), "expected time, steps"),
    ],
    ids=["no z", "three columns", "unit", "negative", "other name"],
)
def test_broken_motion_and_steps_are_refused_by_file(
    tmp_path: Path, signal: str, lines: tuple[str, ...], expected: str
) -> None:
    given: Any = {"heart_rate": text(tmp_path, "0,60", "40,61", name="good.csv")}
    given[signal] = path = text(tmp_path, *lines)
    with pytest.raises(DataError, match=expected) as caught:
        read_tables(**given)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"time": [0.0, math.nan], "bpm": [60.0, 61.0]}, "nan"),
        ({"time": [0.0, 40.0], "bpm": ["60", "high"]}, "high"),
        ({"time": [0.0, 40.0], "rate": [60.0, 61.0]}, "has columns time, rate"),
        ({"time": [dt.date(2024, 1, 1)] * 2, "bpm": [60.0, 61.0]}, "row 1: .* as 'time'"),
    ],
    ids=str,
)
def test_broken_parquet_is_refused_by_file(
    tmp_path: Path, columns: dict[str, Any], expected: str
) -> None:
    path = tmp_path / "signal.parquet"
    pl.DataFrame(columns).write_parquet(path)
    with pytest.raises(DataError, match=expected) as caught:
        read_tables(heart_rate=path)
    assert str(path) in str(caught.value)


def test_text_under_a_parquet_name_is_refused(tmp_path: Path) -> None:
    path = text(tmp_path, "0,60", "40,61", name="signal.parquet")
    with pytest.raises(DataError, match=r"signal\.parquet: not a table of numbers in Parquet"):
        read_tables(heart_rate=path)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_files_that_can_not_be_opened_are_named(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"signal{ending}"
    with pytest.raises(DataError, match=rf"signal\{ending}: can't be read \(No such file"):
        read_tables(heart_rate=path)
    path.mkdir()
    with pytest.raises(DataError, match=rf"signal\{ending}: "):
        read_tables(heart_rate=path)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize("name", ["a*", "a?", "a[1]"])
def test_signs_in_a_folders_name_mean_nothing(tmp_path: Path, name: str, ending: str) -> None:
    for folder, bpm in (("a1", 99), (name, 60)):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / f"signal{ending}"
        frame = pl.DataFrame({"time": [0, 40], "bpm": [bpm, bpm + 1]})
        frame.write_csv(path) if ending == ".csv" else frame.write_parquet(path)
    assert beats_of(tmp_path / name / f"signal{ending}") == GOOD


# Text of other kinds


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig"])
def test_other_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "signal.csv"
    path.write_bytes("time,bpm,note\r\n0,60,ö\r\n40,61,ü\r\n".encode(encoding))
    assert beats_of(path) == GOOD


@pytest.mark.parametrize("unit", ["g", "mg", "m/s²", "m/s^2"])
def test_acceleration_in_a_unit_that_is_named(tmp_path: Path, unit: str) -> None:
    one = {"g": 1, "mg": 1000}.get(unit, 9.80665)
    names = ",".join(f"acc{axis} ({unit})" for axis in "XYZ")
    path = text(tmp_path, f"time,{names}", *(f"{t},0,0,{one}" for t in range(60)))
    assert read_tables(motion=path).motion.values[0].tolist() == [0, 0, 0, 1]


def test_angular_rate_is_no_motion(tmp_path: Path) -> None:
    path = text(tmp_path, "time,x (rad/s),y (rad/s),z (rad/s)", "0,0,0,1", "60,0,0,1")
    with pytest.raises(DataError, match=r"column 'x \(rad/s\)' is in 'rad/s'; expected g or mg or"):
        read_tables(motion=path)


# Clocks

TEN = 1710280800.0  # 2024-03-12 22:00 UTC


@pytest.mark.parametrize(
    "lines",
    [
        ("2024-03-12 22:00:00,60", "2024-03-12 22:00:40,61"),
        ("time,bpm", "2024-03-12T23:00:00+01:00,60", "2024-03-12T23:00:40+01:00,61"),
        ("time,bpm", "2024-03-12T22:00:00.000Z,60", "2024-03-12T22:00:40.000Z,61"),
        ("time,bpm", "3/12/2024 10:00:00 PM,60", "3/12/2024 10:00:40 PM,61"),
        ("time,bpm", "12/03/2024 22:00:00,60", "12/03/2024 22:00:40,61", "13/03/2024 01:00:00,62"),
        ("time,bpm", "12.03.2024 22:00:00,60", "12.03.2024 22:00:40,61"),
        ("time,bpm", "12-Mar-2024 22:00:00,60", "12-Mar-2024 22:00:40,61"),
        ("date,time,bpm", "2024-03-12,22:00:00,60", "2024-03-12,22:00:40,61"),
        ("time,timestamp,bpm", "22:00:00,1710280800,60", "22:00:40,1710280840,61"),
        ("datetime,unix,bpm", "3/12/2024 11 PM,1710280800000,60", ",1710280840000,61"),
    ],
    ids=lambda lines: lines[-1],
)
def test_times_are_read_as_they_are_written(tmp_path: Path, lines: tuple[str, ...]) -> None:
    assert beats_of(text(tmp_path, *lines))[:2] == [[TEN, 60], [TEN + 40, 61]]


@pytest.mark.parametrize(
    ("days", "first"), [(("3/4", "4/4"), "2024-04-03"), (("4/3", "4/4"), "2024-04-03")]
)
def test_the_column_shows_whether_days_come_first(
    tmp_path: Path, days: tuple[str, str], first: str
) -> None:
    path = text(tmp_path, "time,bpm", *(f"{day}/2024 0{n}:00:00,60" for n, day in enumerate(days)))
    start = dt.datetime.fromisoformat(first).replace(tzinfo=dt.UTC).timestamp()
    assert read_tables(heart_rate=path, end=start + 60).start == start


def test_dates_of_two_meanings_are_asked_for(tmp_path: Path) -> None:
    path = text(tmp_path, "time,bpm", "3/4/2024 01:00:00,60", "3/4/2024 02:00:00,61")
    with pytest.raises(DataError, match="choose with --dates day-first or --dates month-first"):
        read_tables(heart_rate=path)
    days = [
        dt.datetime.fromtimestamp(
            read_tables(heart_rate=path, options=Options(day_first=first)).start, dt.UTC
        )
        for first in (True, False)
    ]
    assert [(day.day, day.month) for day in days] == [(3, 4), (4, 3)]


def test_a_time_zone_may_be_stated(tmp_path: Path) -> None:
    path = text(tmp_path, "time,bpm", "2024-03-30 23:00:00,60", "2024-03-31 04:00:00,61")
    night = read_tables(heart_rate=path, options=Options("Europe/Berlin"))
    assert (night.utc_offset, night.end - night.start) == (3600, 4 * 3600)  # clocks went forward


def table(start: float, hours: float, every: float = 60, bpm: float = 60) -> list[str]:
    times = np.arange(start, start + 3600 * hours, every).tolist()
    return [f"{time:.0f},{bpm + n % 5}" for n, time in enumerate(times)]


def still(start: float, hours: float) -> list[str]:
    return [f"{start + 30 * n:.0f},0,{n % 2 / 100},1" for n in range(int(120 * hours))]


def test_clocks_that_are_hours_apart_are_refused(tmp_path: Path) -> None:
    beats = text(tmp_path, "time,bpm", *table(TEN, 3), name="hr.csv")
    moved = text(tmp_path, "time,x,y,z", *still(TEN + 7200, 3), name="motion.csv")
    with pytest.raises(DataError, match=r"hr\.csv from .* overlap by only 1\.0 h; .* time zone"):
        read_tables(heart_rate=beats, motion=moved)
    moved = text(tmp_path, "time,x,y,z", *still(TEN, 2), name="motion.csv")
    local = [f"2024-03-12 2{2 + n // 60}:{n % 60:02d}:00,60" for n in range(120)]
    beats = text(tmp_path, "time,bpm", *local, name="hr.csv")
    with pytest.raises(DataError, match=r"hr\.csv: has clock times without .* name the zone with"):
        read_tables(heart_rate=beats, motion=moved)
    read_tables(heart_rate=beats, motion=moved, options=Options("UTC"))


# Several people and days


def test_motion_says_when_the_night_was_where_heart_rate_goes_on_by_day(tmp_path: Path) -> None:
    text(tmp_path, "time,bpm", *table(TEN - 3 * 86400, 80, every=600), name="one_hr.csv")
    summaries = [f"{TEN + 15 * n},0,0.1,0.1,0.9" for n in range(1, 1921)]
    header = "time,counts,peak_x_g,peak_y_g,peak_z_g"
    text(tmp_path, header, *summaries, name="one_motion.csv")
    (found,) = open_nights(tmp_path)
    night = found.read()
    assert (night.start, night.end - night.start) == (TEN, 8 * 3600)
    assert night.heart_rate.times[0] < TEN - 86400
    assert not found.whole_day


def test_each_person_of_a_table_has_a_night(tmp_path: Path) -> None:
    rows = [f"{who},{row}" for who, bpm in (("A", 55), ("B", 90)) for row in table(TEN, 1, bpm=bpm)]
    found = list(open_nights(text(tmp_path, "subject,time,bpm", *rows, name="hr.csv")))
    assert [one.name.removeprefix(f"{tmp_path.name}-") for one in found] == ["A", "B"]
    nights = [one.read() for one in found]
    assert [night.subject for night in nights] == ["A", "B"]
    assert nights[0].heart_rate.values.max() < 60 < 90 <= nights[1].heart_rate.values.min()


def test_two_hearts_in_one_column_are_refused(tmp_path: Path) -> None:
    path = text(tmp_path, "time,bpm", *table(TEN, 1, bpm=55), *table(TEN, 1, bpm=90))
    with pytest.raises(DataError, match="60 of 120 heart rates are at the time of another one"):
        read_tables(heart_rate=path)


def test_each_day_of_a_table_is_read_by_itself(tmp_path: Path) -> None:
    path = text(tmp_path, "time,bpm", *table(TEN, 62, every=300), name="hr.csv")
    found = list(open_nights(path))
    assert [one.name[-10:] for one in found] == ["2024-03-13", "2024-03-14", "2024-03-15"]
    nights = [one.read() for one in found]
    assert nights[1].start == nights[0].end + 300 == TEN + 14 * 3600
    assert nights[1].heart_rate.times[0] == TEN  # what was before helps
    assert all(one.whole_day for one in found)


def test_a_last_row_that_ends_early_is_refused_and_no_traceback(tmp_path: Path) -> None:
    path = tmp_path / "night.csv"
    path.write_text("bpm,time\n60,2024-03-12T23:00:00Z\n61,2024-03-12T23:05:00Z\n62\n")
    with pytest.raises(DataError, match="line 4"):
        [night.read() for night in open_nights(path)]
