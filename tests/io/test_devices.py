"""Recordings of research devices, written in the layouts of their makers."""

from __future__ import annotations

import sqlite3
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from sleepstage import open_nights
from sleepstage.errors import DataError
from sleepstage.io.source import Options
from tests.helpers.recordings import nights, only, peaks

START = 1710280800.0  # 2024-03-12 22:00:00 UTC


# Empatica E4


def e4(hertz: int = 32, seconds: int = 600) -> dict[str, str]:
    acc = [f"{START},{START},{START}", ",".join([f"{hertz}.000000"] * 3)]
    acc += ["-16,0,62"] * (hertz * seconds)
    beats = [f"{START}", "1.000000", *["61.50"] * seconds]
    return {"ACC.csv": "\n".join(acc), "HR.csv": "\n".join(beats), "TEMP.csv": f"{START}\n4\n30.1"}


def test_empatica_e4_is_read_from_a_folder_in_g(tmp_path: Path) -> None:
    for name, text in e4().items():
        (tmp_path / name).write_text(text)
    night = only(tmp_path, "empatica-e4")
    assert (night.start, night.end) == (START, START + 600 - 1 / 32)
    assert (len(night.heart_rate), night.heart_rate.times[1]) == (600, START + 1)
    assert peaks(night) == [0.25, 0, 0.969]
    assert len(night.motion) == 40


def test_empatica_e4_is_read_from_its_zip_but_not_two_sessions(tmp_path: Path) -> None:
    path = tmp_path / "1710280800_A01234.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in e4(seconds=60).items():
            archive.writestr(name, text)
    assert len(only(path, "empatica-e4").heart_rate) == 60
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("second/HR.csv", e4(seconds=60)["HR.csv"])
    with pytest.raises(DataError, match="holds 2 sessions; unpack it"):
        list(open_nights(path))


def test_people_of_empatica_e4_in_one_folder_stay_apart(tmp_path: Path) -> None:
    for person in ("P1", "P2"):
        for name, text in e4(seconds=60).items():
            (tmp_path / f"{person}_{name}").write_text(text)
    assert list(nights(tmp_path, "empatica-e4")) == ["P1", "P2"]


@pytest.mark.parametrize(
    ("below", "told"),
    [("", "expected lines of 3 numbers"), ("1,2\n", "expected lines of 3"), ("1,x,2\n", "'x'")],
)
def test_a_broken_file_of_empatica_e4_is_named(tmp_path: Path, below: str, told: str) -> None:
    head = "\n".join(e4()["ACC.csv"].splitlines()[:2])
    (tmp_path / "ACC.csv").write_text(f"{head}\n{below}")
    with pytest.raises(DataError, match=f"ACC.csv, below line 2: .*{told}"):
        list(open_nights(tmp_path))


# ActiGraph and Axivity


def actigraph(
    rows: list[str],
    names: str = "Accelerometer X,Accelerometer Y,Accelerometer Z",
    *,
    form: str = "M/d/yyyy",
    date: str = "3/12/2024",
    epoch: str = "00:00:00",
) -> str:
    head = f"""\
------------ Data File Created By ActiGraph GT3X+ ActiLife v6.13.3 Firmware v3.2.1 date format \
{form} at 30 Hz  Filter Normal -----------
Serial Number: NEO1F18120387
Start Time 22:00:00
Start Date {date}
Epoch Period (hh:mm:ss) {epoch}
Download Time 10:31:05
Download Date {date}
Current Memory Address: 0
Current Battery Voltage: 4.07     Mode = 12
--------------------------------------------------
"""
    return "\n".join([head + names, *rows] if names else [head + rows[0], *rows[1:]])


STILL = ["0.012,-0.600,0.800"] * (30 * 60)


@pytest.mark.parametrize(
    "text",
    [
        actigraph(STILL),
        actigraph(STILL, "Axis1,Axis2,Axis3"),
        actigraph(STILL, ""),
        actigraph(STILL, form="dd/MM/yyyy", date="12/03/2024"),
        actigraph(STILL, form="yyyy-MM-dd", date="2024-03-12"),
    ],
    ids=["names", "axes", "no names", "day first", "ISO"],
)
def test_actigraph_without_times_begins_when_its_preamble_says(tmp_path: Path, text: str) -> None:
    (tmp_path / "accel.csv").write_text(text)
    night = only(tmp_path, "raw-csv")
    assert night.start == START
    assert night.end == pytest.approx(START + 60 - 1 / 30)
    assert peaks(night) == [0.012, 0.6, 0.8]


@pytest.mark.parametrize("timed", [True, False])
def test_clocks_of_actigraph_are_of_the_zone_that_is_stated(tmp_path: Path, *, timed: bool) -> None:
    text = actigraph(STILL)
    if timed:
        rows = [f"3/12/2024 22:00:{n:02d}.000,0.01,0.6,0.8" for n in range(60)]
        text = actigraph(rows, "Timestamp,Accelerometer X,Accelerometer Y,Accelerometer Z")
    (tmp_path / "accel.csv").write_text(text)
    options = Options(timezone="America/New_York")
    (night,) = (one.read() for one in open_nights(tmp_path, options=options))
    assert (night.start, night.utc_offset) == (START + 4 * 3600, -4 * 3600)


@pytest.mark.parametrize(
    "axes", ["Accelerometer X,Accelerometer Y,Accelerometer Z", "Axis1,Axis2,Axis3"]
)
def test_gaps_between_timestamps_of_actigraph_stay_gaps(tmp_path: Path, axes: str) -> None:
    clock = "%m/%d/%Y %H:%M:%S.000"
    times = [START + n + (7200 if n >= 600 else 0) for n in range(1200)]
    rows = [f"{datetime.fromtimestamp(time, UTC).strftime(clock)},0.01,0.6,0.8" for time in times]
    names = f"Timestamp,{axes}"
    (tmp_path / "accel.csv").write_text(actigraph(rows, names))
    night = only(tmp_path, "raw-csv")
    assert night.end == START + 7200 + 1199
    assert np.diff(night.motion.times).max() == 7200 + 15


def test_axivity_names_its_units(tmp_path: Path) -> None:
    rows = [f"2024-03-12 22:00:{n:02d}.500,0.25,-0.5,0.8" for n in range(60)]
    names = "Time,Accel-X (g), Accel-Y (g), Accel-Z (g)"
    (tmp_path / "wrist.csv").write_text("\n".join([names, *rows]))
    night = only(tmp_path, "raw-csv")
    assert (night.start, peaks(night)) == (START + 0.5, [0.25, 0.5, 0.8])


def test_counts_and_broken_lines_of_actigraph_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "accel.csv"
    path.write_text(actigraph(["3,4,5"] * 60, "Axis1,Axis2,Axis3", epoch="00:01:00"))
    with pytest.raises(DataError, match="holds counts per epoch; export raw data"):
        list(open_nights(path))
    path.write_text(actigraph([*STILL[:3], "0.1,?,0.9"]))
    with pytest.raises(
        DataError, match=r"accel.csv, line 15: expected a number as 'Accelerometer Y', found '\?'"
    ):
        list(open_nights(path))
    path.write_text(actigraph(STILL, date="2024-03-12"))
    with pytest.raises(DataError, match="Start Time, and Start Date as %m/%d/%Y"):
        list(open_nights(path))


def test_days_of_a_device_are_cut_at_noon(tmp_path: Path) -> None:
    clock = "%m/%d/%Y %H:%M:%S.000"
    times = START + np.arange(0, 2 * 86400, 20.0)
    rows = [f"{datetime.fromtimestamp(time, UTC).strftime(clock)},0.01,0.6,0.8" for time in times]
    names = "Timestamp,Accelerometer X,Accelerometer Y,Accelerometer Z"
    (tmp_path / "week.csv").write_text(actigraph(rows, names))
    found = nights(tmp_path, "raw-csv")
    assert list(found) == ["week-2024-03-13", "week-2024-03-14", "week-2024-03-15"]
    hours = [(night.end - night.start) / 3600 for night in found.values()]
    assert hours == pytest.approx([14, 24, 10], abs=0.01)


# Sensor Logger as SQLite


def test_sqlite_of_sensor_logger_says_what_to_export(tmp_path: Path) -> None:
    path = tmp_path / "rec.sqlite"
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE HeartRate(time text, seconds_elapsed text, bpm text)")
    base.close()
    with pytest.raises(DataError, match="export it as zip or JSON"):
        list(open_nights(path))
