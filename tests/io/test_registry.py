from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from upath import UPath

from sleepstage import open_nights
from sleepstage.errors import DataError
from sleepstage.io.registry import FORMATS, find_sources
from sleepstage.io.tables import table_signals
from sleepstage.simulate.nights import simulate_night, write_dataset
from tests.helpers.apple_export import beats as apple_beats
from tests.helpers.apple_export import moment, sleep, write_zip

BED = moment("2024-03-12 23:00:00 +0100")
BEATS = "time,bpm\n" + "".join(f"{BED + 5 * n},{60 + n % 3}\n" for n in range(600))


def motion_csv(start: float = BED, head: str = "Timestamp,x,y,z") -> str:
    times = start + np.arange(0, 3000, 0.1)
    return f"{head}\n" + "".join(f"{time:.2f},0,0,1\n" for time in times)


def fill(folder: Path) -> None:
    """One of everything."""
    end = BED + 8 * 3600
    health = apple_beats(BED, end) + sleep(BED, end, "InBed")
    write_zip(folder / "export.zip", health)
    (folder / "app").mkdir()
    (folder / "app" / f"{BED:.0f}_acceleration.csv").write_text(motion_csv())
    (folder / "app" / f"{BED:.0f}_hr.csv").write_text(BEATS.partition("\n")[2])
    (folder / "app" / "readme.txt").write_text("nothing")
    (folder / "study" / "p1").mkdir(parents=True)
    (folder / "study" / "p1" / "heart_rate.csv").write_text(BEATS)
    (folder / "study" / "p1" / "motion.csv").write_text(motion_csv(head="time,x,y,z"))
    (folder / "study" / "p2_night.csv").write_text(BEATS)
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "secret_hr.csv").write_text(BEATS)
    write_dataset(folder / "data", 2, hours=1)


def found(path: Path) -> dict[str, str]:
    sources, broken = find_sources(path)
    assert not broken
    return {source.name: source.format for source in sources}


def test_everything_in_a_folder_is_told_apart_by_its_content(tmp_path: Path) -> None:
    fill(tmp_path)
    names = found(tmp_path)
    people = [name for name, kind in names.items() if kind == "sleep-accel"]
    assert len(people) == 2
    assert {name: names[name] for name in set(names) - set(people)} == {
        "export": "apple-health",
        f"app-{BED:.0f}": "sleep-accel-app",
        "study-p1": "tables",
        "study-p2_night": "tables",
    }


def test_all_of_them_are_recordings(tmp_path: Path) -> None:
    fill(tmp_path)
    nights = {night.name: night.read() for night in open_nights(tmp_path)}
    assert nights["export-2024-03-13"].utc_offset == 3600
    for name in ("study-p1", f"app-{BED:.0f}"):
        assert (len(nights[name].heart_rate), nights[name].start) == (600, BED)
        assert len(nights[name].motion) > 100
    assert len(nights["study-p2_night"].motion) == 0


def test_a_remote_folder_is_searched_likewise(tmp_path: Path) -> None:
    fill(tmp_path)
    far = UPath("memory://formats")
    for file in tmp_path.rglob("*"):
        if file.is_file():
            target = far / str(file.relative_to(tmp_path))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    assert found(far) == found(tmp_path)  # type: ignore[arg-type]


def test_a_folder_that_is_a_night_gives_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "Monday"
    folder.mkdir()
    (folder / "hr.csv").write_text(BEATS)
    assert found(folder) == {"Monday": "tables"}
    assert found(folder / "hr.csv") == {"Monday": "tables"}


def test_a_single_file_is_found(tmp_path: Path) -> None:
    fill(tmp_path)
    assert found(tmp_path / "export.zip") == {"export": "apple-health"}
    assert found(tmp_path / "study" / "p2_night.csv") == {"p2_night": "tables"}


def test_a_damaged_archive_is_told_beside_the_rest(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "cut.zip").write_bytes((tmp_path / "export.zip").read_bytes()[:-40])
    sources, broken = find_sources(tmp_path)
    assert "export" in {source.name for source in sources}
    ((name, error),) = broken
    assert name == "cut.zip"
    assert "damaged zip archive" in str(error)
    with pytest.raises(DataError, match="damaged zip archive"):
        list(open_nights(tmp_path))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00\x01" * 50, b"PK\x03\x04"])
@pytest.mark.parametrize("ending", [".csv", ".xml", ".json", ".txt", ".parquet", ".bin"])
def test_a_file_of_no_format_is_refused_with_what_is_known(
    tmp_path: Path, content: bytes, ending: str
) -> None:
    path = tmp_path / f"thing{ending}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"nothing that can be staged; expected one of these: an e"):
        find_sources(path)


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a.jpg", b"")
    with pytest.raises(DataError, match="nothing that can be staged"):
        find_sources(tmp_path / "photos.zip")


def test_a_format_may_be_named(tmp_path: Path) -> None:
    fill(tmp_path)
    sources, _ = find_sources(tmp_path / "app", as_format="tables")
    assert [source.format for source in sources] == ["tables"]
    with pytest.raises(DataError, match="not an export of Apple Health"):
        find_sources(tmp_path / "app", as_format="apple-health")
    with pytest.raises(DataError, match=f"unknown format 'csv'; choose from {next(iter(FORMATS))}"):
        find_sources(tmp_path, as_format="csv")


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.csv: no such file or folder"):
        find_sources(tmp_path / "gone.csv")


def test_one_table_may_hold_all_signals_with_blanks(tmp_path: Path) -> None:
    lines = ["time,bpm,x,y,z,steps"]
    for n in range(6000):
        bpm = 60 if n % 50 == 0 else ""
        lines.append(f"2024-03-12T23:{n // 600:02}:{n / 10 % 60:06.3f}+01:00,{bpm},0,0,1,")
    (tmp_path / "all.csv").write_text("\n".join([*lines, "2024-03-12T23:09:59.95+01:00,,,,,7"]))
    (night,) = open_nights(tmp_path)
    recording = night.read()
    assert (len(recording.heart_rate), len(recording.steps)) == (120, 1)
    assert (recording.start, recording.utc_offset) == (BED, 3600)
    assert recording.motion.times[0] == BED + 15


@pytest.mark.parametrize(
    ("factor", "kind"),
    [(1, pl.Float64), (1e3, pl.Int64), (1e6, pl.Int64), (1e9, pl.Int64), (1e3, pl.String)],
)
def test_units_of_time_are_told_apart(tmp_path: Path, factor: float, kind: pl.DataType) -> None:
    times = [BED + 5 * n for n in range(10)]
    column = pl.Series("timestamp", [time * factor for time in times]).cast(pl.Int64)
    pl.DataFrame({"timestamp": column.cast(kind), "hr": 60.0}).write_parquet(tmp_path / "a.parquet")
    (night,) = open_nights(tmp_path)
    assert night.read().heart_rate.times.tolist() == pytest.approx(times, abs=1e-3)


def test_times_of_parquet_may_be_moments(tmp_path: Path) -> None:
    times = [BED + 5 * n for n in range(10)]
    column = pl.from_epoch(pl.Series("time", [int(time) for time in times]), time_unit="s")
    pl.DataFrame({"time": column, "bpm": 60.0}).write_parquet(tmp_path / "a.parquet")
    (night,) = open_nights(tmp_path)
    assert night.read().heart_rate.times.tolist() == times


@pytest.mark.parametrize("time", ["yesterday", "2024-13-01T00:00:00", ""])
def test_a_time_that_is_none_is_refused_by_its_line(tmp_path: Path, time: str) -> None:
    lines = ["# made by hand", "time,bpm", "2024-03-12T23:00:00Z,60", "", "# odd", f"{time},61"]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    (night,) = open_nights(tmp_path)
    with pytest.raises(DataError, match=r"a\.csv, line 6: expected seconds or a time as 2026-"):
        night.read()


def test_a_signal_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(BEATS)
    (tmp_path / "a_hr.csv").write_text(BEATS)
    (night,) = open_nights(tmp_path)
    with pytest.raises(DataError, match=r"a_hr\.csv: has heart rate, and so has a\.csv"):
        night.read()


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "Time;BPM\n0;60", ["heart_rate"]),
        ("a.csv", "time,x,y,z,heart_rate\n", ["heart_rate", "motion"]),
        ("night_hr.csv", "0,60", ["heart_rate"]),
        ("night acceleration.csv", "0,0,0,1", ["motion"]),
        ("steps.csv", "0,3", ["steps"]),
        ("chr.csv", "0,3", []),
        ("a.csv", "bpm,x\n", []),
        ("notes.txt", "time to sleep", []),
        ("hr.md", "time,bpm", []),
    ],
)
def test_what_a_table_holds(tmp_path: Path, name: str, content: str, expected: list[str]) -> None:
    (tmp_path / name).write_text(content)
    assert table_signals(tmp_path / name) == expected


def test_simulated_people_stay_simulated(tmp_path: Path) -> None:
    write_dataset(tmp_path, 1, hours=1)
    (night,) = open_nights(tmp_path)
    assert night.read().simulated
    assert simulate_night(0, hours=1).simulated


def test_the_columns_of_a_table_that_nobody_knows_are_named(tmp_path: Path) -> None:
    path = tmp_path / "signal.csv"
    path.write_text("when,heart_rat\n0,60\n")
    with pytest.raises(
        DataError, match=r"signal.csv has columns when, heart_rat .rename to heartrate"
    ):
        find_sources(path)
    with pytest.raises(DataError, match=r"signal\.csv has columns when"):
        find_sources(tmp_path)
