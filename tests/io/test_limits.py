"""Files made to hurt: small ones here, with lowered limits. Each gives a night or a clear error."""

from __future__ import annotations

import datetime as dt
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.io import savemat
from upath import UPath

from sleepstage import open_nights
from sleepstage.errors import DataError
from sleepstage.io.files import MAX_ROWS
from sleepstage.io.registry import find_sources
from sleepstage.io.sleep_accel.read import LAYOUT, read_subject
from sleepstage.io.tables import read_tables
from sleepstage.simulate.nights import write_dataset
from tests.helpers.apple_export import HEAD, TAIL, beat, beats, moment, record, sleep

BED = moment("2024-03-12 23:00:00 +0100")
UP = BED + 8 * 3600
TIMES = [BED + 5 * n for n in range(600)]
BEATS = "time,bpm\n" + "".join(f"{time},60\n" for time in TIMES)
SENSOR = {"sensor": "HeartRate", "time": str(int(BED) * 10**9), "bpm": "60"}


def n_nights(path: Path) -> int:
    """How many recordings are in it."""
    return len([night.read() for night in open_nights(path)])


def refuse(path: Path, said: str) -> None:
    """Reading it must fail with this."""
    with pytest.raises(DataError, match=said) as caught:
        n_nights(path)
    assert path.name in str(caught.value)
    assert len(str(caught.value)) < 600


def set_limit(patch: pytest.MonkeyPatch, name: str, value: object) -> None:
    patch.setenv(f"SLEEPSTAGE_MAX_{name}", str(value))


# Limits


@pytest.mark.parametrize("value", ["many", "0", "-1", "1e6", "9" * 30])
def test_a_limit_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    set_limit(monkeypatch, "ROWS", value)
    with pytest.raises(DataError, match=r"SLEEPSTAGE_MAX_ROWS='.*': expected a number of rows"):
        MAX_ROWS.require(1, "x")


def test_a_limit_can_be_reached_and_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    MAX_ROWS.require(MAX_ROWS.default, "x.csv")
    said = r"x\.csv: 64000001 rows, more than the limit of 64000000, .* with SLEEPSTAGE_MAX_ROWS"
    with pytest.raises(DataError, match=said):
        MAX_ROWS.require(MAX_ROWS.default + 1, "x.csv")
    set_limit(monkeypatch, "ROWS", MAX_ROWS.default + 1)
    MAX_ROWS.require(MAX_ROWS.default + 1, "x.csv")


# Folders


def test_a_link_to_a_folder_above_is_not_followed_again(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "week" / "nights").mkdir(parents=True)
    (top / "week" / "nights" / "kim_hr.csv").write_text(BEATS)
    (top / "week" / "again").symlink_to(top, target_is_directory=True)
    (top / "a").symlink_to(top / "week" / "nights", target_is_directory=True)
    (top / "itself").symlink_to(top / "itself")
    sources, broken = find_sources(top)
    assert not broken
    assert [source.name for source in sources] == ["week-nights-kim"]


def test_links_to_a_folder_elsewhere_lead_there_once(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "kim_hr.csv").write_text(BEATS)
    (tmp_path / "top").mkdir()
    for name in ("one", "two"):
        (tmp_path / "top" / name).symlink_to(tmp_path / "far", target_is_directory=True)
    sources, _ = find_sources(tmp_path / "top")
    assert [source.name for source in sources] == ["one-kim"]


def test_a_night_is_found_once_and_a_file_of_two_nights_in_both(tmp_path: Path) -> None:
    for name in ("kim", "lee"):
        (tmp_path / f"{name}_hr.csv").write_text(BEATS)
        (tmp_path / f"{name}_steps.csv").symlink_to(tmp_path / ".steps.csv")
    (tmp_path / ".steps.csv").write_text("time,steps\n1,2\n")
    (tmp_path / "pat_hr.csv").symlink_to(tmp_path / "kim_hr.csv")
    (tmp_path / "pat_steps.csv").symlink_to(tmp_path / "kim_steps.csv")
    sources, _ = find_sources(tmp_path)
    assert [(source.name, len(source.files)) for source in sources] == [("kim", 2), ("lee", 2)]


@pytest.mark.parametrize("where", ["local", "memory"])
def test_a_deep_tree_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    top: Any = tmp_path if where == "local" else UPath("memory://deep")
    folder = top / "a" / "b" / "c"
    folder.mkdir(parents=True)
    (folder / "hr.csv").write_text(BEATS)
    set_limit(monkeypatch, "DEPTH", 3)
    assert len(find_sources(top)[0]) == 1
    set_limit(monkeypatch, "DEPTH", 2)
    with pytest.raises(DataError, match=r"/c: 3 folders within each other.*SLEEPSTAGE_MAX_DEPTH"):
        find_sources(top)


def test_a_tree_of_very_many_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abcd":
        (tmp_path / f"{name}.csv").write_text(BEATS)
    set_limit(monkeypatch, "FILES", 4)
    assert len(find_sources(tmp_path)[0]) == 4
    (tmp_path / "more").mkdir()
    with pytest.raises(DataError, match=r"5 files and folders.*SLEEPSTAGE_MAX_FILES"):
        find_sources(tmp_path)


# Tables

ODD: dict[str, pl.Series] = {
    "Struct": pl.Series([{"a": 60}] * 600),
    "List": pl.Series([[60.0]] * 600),
    "Array": pl.Series([[60.0, 1.0]] * 600, dtype=pl.Array(pl.Float64, 2)),
    "Boolean": pl.Series([True] * 600),
    "Categorical": pl.Series(["60"] * 600, dtype=pl.Categorical),
    "Enum": pl.Series(["60"] * 600, dtype=pl.Enum(["60"])),
    "Binary": pl.Series([b"60"] * 600),
    "Duration": pl.Series([dt.timedelta(seconds=60)] * 600),
}
DATED: dict[str, pl.Series] = {
    "Date": pl.Series([dt.date(2024, 1, 1)] * 600),
    "Time": pl.Series([dt.time(1)] * 600),
    "Datetime": pl.Series([dt.datetime(2024, 1, 1)] * 600),
}


@pytest.mark.parametrize(
    ("kind", "column"),
    [*((kind, "time") for kind in ODD), *((kind, "bpm") for kind in ODD | DATED)],
)
def test_columns_that_are_no_numbers_are_refused(tmp_path: Path, kind: str, column: str) -> None:
    path = tmp_path / "hr.parquet"
    columns = {"time": pl.Series(TIMES), "bpm": pl.Series([60.0] * 600)}
    pl.DataFrame({**columns, column: (ODD | DATED)[kind]}).write_parquet(path)
    refuse(path, rf"column '{column}' is of type {kind}.*write it as numbers")


def test_other_columns_may_be_of_any_kind(tmp_path: Path) -> None:
    path = tmp_path / "hr.parquet"
    pl.DataFrame({"time": TIMES, "bpm": [60] * 600, "note": ODD["Struct"]}).write_parquet(path)
    assert len(read_tables(heart_rate=path).heart_rate) == 600


@pytest.mark.parametrize("kind", ["Struct", "Boolean"])
def test_a_summary_of_another_kind_is_refused(tmp_path: Path, kind: str) -> None:
    names = ("t_s", "counts", "peak_x_g", "peak_y_g")
    path = tmp_path / "1_motion_15s.parquet"
    frame = pl.DataFrame({**dict.fromkeys(names, [1.0] * 600), "peak_z_g": ODD[kind]})
    frame.write_parquet(path)
    with pytest.raises(DataError, match=rf"1_motion_15s.*'peak_z_g' is of type {kind}"):
        LAYOUT["summary"].read(path)


def test_truth_in_text_is_no_heart_rate(tmp_path: Path) -> None:
    path = tmp_path / "hr.csv"
    path.write_text("time,bpm\n0,true\n30,false\n")
    refuse(path, "column 'bpm' is of type Boolean")


@pytest.mark.parametrize("ending", ["csv", "parquet", "txt"])
def test_too_many_rows_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    path = tmp_path / f"hr.{ending}"
    if ending == "parquet":
        pl.DataFrame({"time": TIMES, "bpm": [60] * 600}).write_parquet(path)
    else:
        path.write_text(BEATS if ending == "csv" else BEATS.partition("\n")[2])
    set_limit(monkeypatch, "ROWS", 601)
    assert n_nights(path) == 1
    set_limit(monkeypatch, "ROWS", 599)
    refuse(path, r"60[01] rows, more than the limit of 599.*SLEEPSTAGE_MAX_ROWS")


def test_lines_that_only_python_sees_are_counted_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "hr.csv"
    path.write_bytes(BEATS.partition("\n")[2].replace("\n", "\r").encode())
    assert len(read_tables(heart_rate=path).heart_rate) == 600
    set_limit(monkeypatch, "ROWS", 599)
    refuse(path, "600 rows, more than the limit of 599")


def test_a_dataset_has_the_same_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = write_dataset(tmp_path, 1, hours=1)[0]
    read_subject(tmp_path, subject)
    set_limit(monkeypatch, "ROWS", 50)
    with pytest.raises(DataError, match=r"\.txt: \d+ rows, more than the limit of 50"):
        read_subject(tmp_path, subject)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("time,bpm" + ",c" * 1000 + "\n" + BEATS, 1),
        ("0,60\n1," + "6" * 1500 + "\n", 2),
        ("time,bpm\n0,60\n1,60" + ",1" * 1000 + "\n", 3),
    ],
)
def test_a_long_line_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, line: int
) -> None:
    set_limit(monkeypatch, "VALUE_BYTES", 1000)
    path = tmp_path / "hr.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=rf"hr\.csv, line {line}: 1001 bytes in one piece, more"):
        read_tables(heart_rate=path)


@pytest.mark.parametrize("text", ["1e999999999", "9" * 100_000, "-" * 5000, "x" * 5000])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_an_absurd_number_is_named_in_short(tmp_path: Path, text: str, ending: str) -> None:
    path = tmp_path / f"hr.{ending}"
    frame = pl.DataFrame({"time": [0, 40, 80], "bpm": ["60", "61", text]})
    frame.write_csv(path) if ending == "csv" else frame.write_parquet(path)
    refuse(path, "(line 4|row 3): expected a number")


# Apple Health


def export(path: Path, body: str) -> Path:
    path.write_text(HEAD + body + TAIL)
    return path


GOOD = beats(BED, UP) + sleep(BED, UP, "AsleepCore")
BIG = "a" * 600_000


@pytest.mark.parametrize(
    "piece", [f'<Record type="{BIG}"/>', f"<!--{BIG}-->", f"<Record {' ' * 600_000}/>"]
)
def test_a_long_piece_of_xml_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: str
) -> None:
    path = export(tmp_path / "export.xml", GOOD + piece + "\n" + GOOD)
    assert n_nights(path) == 1
    set_limit(monkeypatch, "VALUE_BYTES", 300_000)
    refuse(path, r"export\.xml, line \d+: \d{6} bytes in one piece.*SLEEPSTAGE_MAX_VALUE_BYTES")


def test_long_text_between_records_is_no_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_limit(monkeypatch, "VALUE_BYTES", 300_000)
    path = export(tmp_path / "export.xml", BIG + GOOD + "\n" * 600_000)
    assert n_nights(path) == 1


def test_elements_within_each_other_cost_nothing(tmp_path: Path) -> None:
    assert n_nights(export(tmp_path / "export.xml", "<a>" * 100_000 + GOOD)) == 1


def test_an_export_of_what_no_phone_writes_is_refused(tmp_path: Path) -> None:
    body = "".join(beat(BED, 60, source=f"watch {n}") for n in range(1001))
    said = "1001 sources of heart rate and steps, more than 1000"
    refuse(export(tmp_path / "export.xml", body), said)


def test_records_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_limit(monkeypatch, "ROWS", 100)
    refuse(export(tmp_path / "export.xml", GOOD), "120 rows, more than the limit of 100")


BPM = "HKQuantityTypeIdentifierHeartRate"
STEPS = "HKQuantityTypeIdentifierStepCount"


@pytest.mark.parametrize(
    "odd",
    [
        record(BPM, BED, BED, "1e39", unit="count/min"),
        record(BPM, BED, BED, "1e999999999", unit="count/min"),
        record(STEPS, BED, BED, "9" * 400),
        beat(BED, 60, source="w" * 1001),
        sleep(BED, UP, "AsleepCore").replace('startDate="2024', 'startDate="0002'),
        beat(BED, 60).replace("2024", "9999"),
    ],
)
def test_an_absurd_record_is_left_out(
    tmp_path: Path, odd: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = export(tmp_path / "export.xml", odd + GOOD)
    (night,) = open_nights(path)
    assert len(night.read().heart_rate) == 120
    assert "left out 1 records that can't be read" in caplog.text
    assert len(caplog.text) < 600


# Years of sleep are no night, but other nights go on.
def test_a_sleep_of_decades_is_refused_by_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ages = sleep(BED, BED + 70 * 365.25 * 86400, "AsleepCore")
    (night,) = open_nights(export(tmp_path / "export.xml", ages + beats(BED, UP)))
    recording = night.read()
    assert BED <= recording.start < recording.end <= UP  # as of heart rate alone
    assert recording.watch_stages is None
    assert "sleep of 613620 h" in caplog.text


# Sensor Logger


def write_json(path: Path, inner: str) -> Path:
    one = json.dumps(SENSOR)
    path.write_text(f"[{one},{inner},{one}]")
    return path


@pytest.mark.parametrize(
    "inner",
    [
        '{"sensor":"HeartRate","time":' + "1" * 300_000 + "}",
        '{"' + "a" * 300_000 + '":1}',
        " " * 300_000 + "1",
    ],
)
def test_a_long_piece_of_json_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inner: str
) -> None:
    set_limit(monkeypatch, "VALUE_BYTES", 100_000)
    path = write_json(tmp_path / "night.json", inner)
    said = r"night\.json, after object \d: \d+ bytes in one piece, more than the limit of 100000"
    refuse(path, said)


@pytest.mark.parametrize("sign", ["[", '{"a":'])
def test_deep_json_is_refused(tmp_path: Path, sign: str) -> None:
    refuse(write_json(tmp_path / "night.json", sign * 200), "malformed JSON after object 1")


@pytest.mark.parametrize(
    ("time", "said"),
    [
        ('"1e999999999"', "object 2: expected Unix time"),
        ("1e999999999", "object 2: expected Unix time"),
        ("9" * 5000, "object 2: expected Unix time"),
        (f'"{"9" * 5000}"', "object 2: expected Unix time"),
    ],
)
def test_absurd_numbers_in_json_are_refused(tmp_path: Path, time: str, said: str) -> None:
    item = f'{{"sensor":"HeartRate","time":{time},"bpm":60}}'
    refuse(write_json(tmp_path / "night.json", item), said)


def zipped(path: Path, table: str, method: int = zipfile.ZIP_DEFLATED, **more: str) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("HeartRate.csv", table)
        for name, content in more.items():
            file.writestr(f"{name}.csv", content)
    return path


PULSE = "time,seconds_elapsed,bpm\n" + "".join(f"{time * 10**9:.0f},1,60\n" for time in TIMES)


def test_what_is_packed_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "night.zip", PULSE)
    set_limit(monkeypatch, "UNPACKED_BYTES", len(PULSE))
    assert n_nights(path) == 1
    set_limit(monkeypatch, "UNPACKED_BYTES", len(PULSE) - 1)
    refuse(path, rf"night\.zip, HeartRate\.csv: {len(PULSE)} bytes unpacked, more than the limit")


@pytest.mark.parametrize(
    ("name", "limit", "more", "said"),
    [
        ("ROWS", 599, "", "HeartRate.csv: 600 rows, more than the limit of 599"),
        ("VALUE_BYTES", 500, "1" * 501, "a line: 501 bytes in one piece, more than"),
    ],
)
def test_tables_in_an_archive_are_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, limit: int, more: str, said: str
) -> None:
    set_limit(monkeypatch, name, limit)
    refuse(zipped(tmp_path / "night.zip", PULSE + more), said)


def test_endless_metadata_is_not_read(tmp_path: Path) -> None:
    path = zipped(tmp_path / "night.zip", PULSE, Metadata="a\n" + "b" * 1_000_000)
    (night,) = open_nights(path)
    assert len(night.read().heart_rate) == 600


def test_a_damaged_archive_of_another_method_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "night.zip", PULSE, zipfile.ZIP_LZMA)
    content = bytearray(path.read_bytes())
    at = content.index(b".csv") + 20
    content[at : at + 8] = b"\xff" * 8
    path.write_bytes(content)
    refuse(path, r"HeartRate\.csv is damaged")


# BIDSleep


@pytest.mark.parametrize(
    ("clock", "limit", "said"),
    [
        ("2024-03-12 23:00:00", 10_000, r"10001 bytes unpacked.*SLEEPSTAGE_MAX_MATLAB_BYTES"),
        ("9999-12-31 23:59:59", 1_000_000, "expected a time such as .*found '9999-12-31"),
        ("0001-01-01 00:00:00", 1_000_000, "expected a time such as .*found '0001-01-01"),
    ],
)
def test_absurd_labels_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: str, limit: int, said: str
) -> None:
    labels = {"recStart": clock, "expert_label": np.zeros(100_000, dtype=np.uint8)}
    savemat(tmp_path / "labels.mat", labels, do_compression=True)
    (tmp_path / "hr.csv").write_text(BEATS.partition("\n")[2])
    set_limit(monkeypatch, "MATLAB_BYTES", limit)
    with pytest.raises(DataError, match=said):
        next(iter(open_nights(tmp_path))).read()
