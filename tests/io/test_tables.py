from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from sleepstage.core.motion import MOTION_COLUMNS
from sleepstage.errors import DataError
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


def test_nothing_is_no_night() -> None:
    with pytest.raises(DataError, match="needs heart rate or motion"):
        read_tables()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((), "empty"),
        (("time,bpm",), "the file is empty"),
        (("time,pulse", "0,60"), "has columns time, pulse; expected time, bpm"),
        (("when,bpm", "0,60"), "has columns when, bpm; expected time, bpm"),
        (("0,60,1", "5,60,1"), r"line 1: expected numbers \(time, bpm\), found '0,60,1'"),
        (("0", "5"), "line 1: expected numbers"),
        (("time,bpm", "0,60", "5,x", "9,60"), "line 3: expected a number as 'bpm', found 'x'"),
        (("0,60", "5,nan", "9,60"), "line 2: .* found '5,nan'"),
        (("nan,60", "5,60"), "line 1: .* found 'nan,60'"),
        (("time;bpm", "0;60,5"), "line 2: .* found '60,5'"),
        (("0,60", "1_000,61"), "line 2: .* found '1_000,61'"),
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
        ({"time": [0.0, 40.0], "pulse": [60.0, 61.0]}, "has columns time, pulse"),
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
