"""Recordings that the app Sensor Logger exports, in their true layouts."""

from __future__ import annotations

import csv
import io
import json
import logging
import pickle
import random
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from upath import UPath

from sleepstage.core.motion import summarise_night
from sleepstage.core.recording import Recording
from sleepstage.errors import DataError
from sleepstage.io.registry import FORMATS
from sleepstage.io.sensor_logger.samples import sample_row
from sleepstage.io.source import Options
from sleepstage.server.sensor_logger import read_push

FORMAT = FORMATS["sensor-logger"]

T0 = 1_711_843_200_123_456_789  # ns: 2024-03-31 01:00 in Berlin, where clocks change at 02:00
G = 9.80665
SECONDS = 120
RATE = 10

Sample = dict[str, Any]
Samples = Mapping[str, Sequence[Sample]]

METADATA = {
    "version": "3",
    "device name": "iPhone 15",
    "recording epoch time": str(T0 // 1_000_000),
    "recording time": "2024-03-31_00-00-00",
    "recording timezone": "Europe/Berlin",
    "platform": "ios",
    "sensors": "Heart Rate|Wrist Motion, Pedometer",
}


def sample(seconds: float, **values: float) -> Sample:
    time = T0 + round(seconds * 1e9)
    return {"time": time, "seconds_elapsed": (time - T0) / 1e9, **values}


def axes(prefix: str, values: Iterable[float]) -> dict[str, float]:
    return {f"{prefix}{axis}": value for axis, value in zip("XYZ", values, strict=True)}


def recorded(factor: float = 1.0) -> dict[str, list[Sample]]:
    """Two minutes of a moving wrist; with a factor as "Standardise Units & Frames" writes it."""
    rng = np.random.default_rng(5)
    gravity = rng.normal(size=(SECONDS * RATE, 3))
    gravity /= np.linalg.norm(gravity, axis=1, keepdims=True)
    own = rng.normal(0, 0.1, gravity.shape)
    wrist = [
        sample(
            number / RATE,
            **axes("rotationRate", (0.1, -0.2, 0.3)),
            **axes("gravity", (factor * gravity[number]).tolist()),
            **axes("acceleration", (factor * own[number]).tolist()),
            **{f"quaternion{axis}": 0.5 for axis in "WXYZ"},
        )
        for number in range(len(gravity))
    ]
    return {
        "HeartRate": [sample(-3 + 5 * n, bpm=55 + n % 7) for n in range(SECONDS // 5)],
        "WristMotion": wrist,
        "Pedometer": [sample(60, steps=12), sample(90, steps=12), sample(110, steps=30)],
        "Accelerometer": [sample(n, z=0.1, y=0.2, x=0.3) for n in range(5)],
    }


def table(rows: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, names or list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def csv_files(samples: Samples, metadata: Mapping[str, str] = METADATA) -> dict[str, bytes]:
    tables = {f"{name}.csv": table(rows) for name, rows in samples.items()}
    return {**tables, "Metadata.csv": table([metadata])}


def write_folder(folder: Path, files: Mapping[str, bytes]) -> tuple[Path, ...]:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return tuple(sorted(folder.iterdir()))


def write_zip(path: Path, files: Mapping[str, bytes], folder: str = "") -> tuple[Path, ...]:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(folder + name, content)
    return (path,)


def objects(samples: Samples, metadata: Mapping[str, str] = METADATA) -> list[dict[str, str]]:
    told = [
        {"sensor": name, **{key: str(value) for key, value in row.items()}}
        for name, rows in samples.items()
        for row in rows
    ]
    return [{"sensor": "Metadata", **metadata}, *told]


def write_json(path: Path, said: Any) -> tuple[Path, ...]:
    path.write_text(json.dumps(said, indent=2), encoding="utf-8")
    return (path,)


def read(files: Sequence[Path]) -> Recording:
    (night,) = FORMAT.read(files, None, Options())
    assert night.name == ""
    return night.read()


def same(one: Recording, other: Recording) -> bool:
    return one.fingerprint() == other.fingerprint() and one.utc_offset == other.utc_offset


# What is read


def test_a_recording(tmp_path: Path) -> None:
    samples = recorded()
    recording = read(write_zip(tmp_path / "night.zip", csv_files(samples)))
    assert recording.start == pytest.approx(T0 / 1e9, abs=1e-6)
    assert recording.end == pytest.approx(T0 / 1e9 + SECONDS - 1 / RATE, abs=1e-6)
    assert recording.utc_offset == 3600
    assert recording.heart_rate.values.tolist() == [row["bpm"] for row in samples["HeartRate"]]
    assert recording.heart_rate.times[0] == pytest.approx(T0 / 1e9 - 3, abs=1e-6)
    assert recording.steps.values.tolist() == [12, 0, 18]
    assert len(recording.motion) == SECONDS // 15


def test_zip_folder_and_json_are_the_same(tmp_path: Path) -> None:
    files = csv_files(recorded())
    packed = read(write_zip(tmp_path / "night.zip", files))
    below = read(write_zip(tmp_path / "below.zip", files, folder="2024-03-31/"))
    unpacked = read(write_folder(tmp_path / "night", files))
    told = read(write_json(tmp_path / "night.json", objects(recorded())))
    assert same(packed, below)
    assert same(packed, unpacked)
    assert same(packed, told)


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_both_units_are_the_same(tmp_path: Path, kind: str) -> None:
    def written(name: str, samples: Samples) -> Recording:
        if kind == "csv":
            return read(write_folder(tmp_path / name, csv_files(samples)))
        return read(write_json(tmp_path / name, objects(samples)))

    apple, standardised = written("a.json", recorded()), written("b.json", recorded(-G))
    np.testing.assert_allclose(standardised.motion.values, apple.motion.values, atol=1e-9)
    np.testing.assert_array_equal(standardised.motion.times, apple.motion.times)


def test_a_push_of_the_same_samples_is_the_same(tmp_path: Path) -> None:
    samples = recorded()
    times = ("time", "seconds_elapsed")
    payload = [
        {
            "name": name.lower(),
            "time": row["time"],
            "values": {key: value for key, value in row.items() if key not in times},
        }
        for name, rows in samples.items()
        for row in rows
    ]
    said = {"messageId": 1, "sessionId": "night", "deviceId": "phone", "payload": payload}
    message = read_push(json.dumps(said).encode()).message
    recording = read(write_zip(tmp_path / "night.zip", csv_files(samples)))
    pushed = summarise_night(message.motion, origin=recording.start, name="push")
    np.testing.assert_array_equal(recording.motion.times, pushed.times)
    np.testing.assert_array_equal(recording.motion.values, pushed.values)
    np.testing.assert_array_equal(recording.heart_rate.times, message.heart_rate.times)
    np.testing.assert_array_equal(recording.steps.times, message.step_counts.times)
    assert recording.steps.values.sum() == message.step_counts.values[-1]


def test_columns_in_any_order_and_more_of_them(tmp_path: Path) -> None:
    samples = recorded()
    files = csv_files(samples)
    mixed = dict(files)
    chance = random.Random(2)
    for name in ("HeartRate", "WristMotion", "Pedometer"):
        rows = [{"Human, readable": 'at "one", local', **row} for row in samples[name]]
        names = list(rows[0])
        chance.shuffle(names)
        mixed[f"{name}.csv"] = b"\xef\xbb\xbf" + table(rows, names).replace(b"\n", b"\r\n")
    plain = read(write_folder(tmp_path / "plain", files))
    assert same(read(write_folder(tmp_path / "mixed", mixed)), plain)


def test_blank_rows_are_passed_over(tmp_path: Path) -> None:
    plain = csv_files(recorded())
    head, rest = plain["HeartRate.csv"].split(b"\n", 1)
    blank = b"\n,,\n  , ,\n%d,0.5,\n" % T0
    spaced = {**plain, "HeartRate.csv": head + b"\n" + blank + rest + b"\n\n"}
    recording = read(write_folder(tmp_path / "plain", plain))
    assert same(read(write_folder(tmp_path / "spaced", spaced)), recording)
    nothing = {"sensor": "HeartRate", "time": str(T0), "bpm": ""}
    told = [*objects(recorded()), nothing, {"sensor": "HeartRate"}]
    assert same(read(write_json(tmp_path / "spaced.json", told)), recording)


@pytest.mark.parametrize("size", [300, 1000, 40_000])
def test_any_size_of_blocks_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    samples = recorded()
    samples["WristMotion"] = samples["WristMotion"][: 30 * RATE]
    files = write_folder(tmp_path / "night", csv_files(samples))
    told = write_json(tmp_path / "night.json", objects(samples))
    expected = read(files)
    monkeypatch.setattr("sleepstage.io.sensor_logger.samples._BLOCK", size)
    assert same(read(files), expected)
    assert same(read(told), expected)


@pytest.mark.parametrize("lacking", ["HeartRate", "WristMotion", "Pedometer"])
@pytest.mark.parametrize("empty", [True, False])
def test_a_sensor_may_be_missing_or_silent(tmp_path: Path, lacking: str, *, empty: bool) -> None:
    files = csv_files(recorded())
    content = files.pop(f"{lacking}.csv")
    expected = read(write_folder(tmp_path / "night", files))
    if empty:
        files[f"{lacking}.csv"] = b""
        assert same(read(write_zip(tmp_path / "empty.zip", files)), expected)
        files[f"{lacking}.csv"] = content.split(b"\n")[0] + b"\n"
    told = {name: rows for name, rows in recorded().items() if name != lacking}
    assert same(read(write_zip(tmp_path / "night.zip", files)), expected)
    assert same(read(write_json(tmp_path / "night.json", objects(told))), expected)


def test_some_motion_of_unknown_unit_is_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    samples = recorded()
    for row in samples["WristMotion"][-30:]:
        row.update(axes("gravity", (0.0, 0.0, 0.0)))
    cut = {**samples, "WristMotion": samples["WristMotion"][:-30]}
    with caplog.at_level(logging.WARNING):
        recording = read(write_folder(tmp_path / "night", csv_files(samples)))
    assert "WristMotion.csv: left out 30 samples of unknown unit" in caplog.text
    assert same(recording, read(write_folder(tmp_path / "cut", csv_files(cut))))


@pytest.mark.parametrize(
    ("zone", "seconds"),
    [
        ("Asia/Kolkata", 19800),
        ("America/New_York", -14400),
        ("", 0),
        ("Europe", 0),
        ("../../etc/passwd", 0),
        ("Middle/Earth", 0),
    ],
)
def test_the_clock_of_the_bed(tmp_path: Path, zone: str, seconds: int) -> None:
    metadata = {**METADATA, "recording timezone": zone}
    files = csv_files(recorded(), metadata)
    assert read(write_zip(tmp_path / "night.zip", files)).utc_offset == seconds
    told = objects(recorded(), metadata)
    assert read(write_json(tmp_path / "night.json", told)).utc_offset == seconds


@pytest.mark.parametrize("content", [b"", b"\n", b"a,b\n1\n", b"\xff\xfe\x00" * 1000, b'"\n' * 9])
def test_without_metadata_times_are_utc(tmp_path: Path, content: bytes) -> None:
    files = csv_files(recorded())
    files["Metadata.csv"] = content
    assert read(write_folder(tmp_path / "night", files)).utc_offset == 0
    del files["Metadata.csv"]
    assert read(write_zip(tmp_path / "night.zip", files)).utc_offset == 0


@pytest.mark.parametrize("kind", ["zip", "folder", "json"])
def test_a_night_can_be_sent_elsewhere(tmp_path: Path, kind: str) -> None:
    files = {
        "zip": lambda: write_zip(tmp_path / "night.zip", csv_files(recorded())),
        "folder": lambda: write_folder(tmp_path / "night", csv_files(recorded())),
        "json": lambda: write_json(tmp_path / "night.json", objects(recorded())),
    }[kind]()
    (night,) = FORMAT.read(files, None, Options())
    sent = pickle.dumps(night)
    assert len(sent) < 2000
    assert same(pickle.loads(sent).read(), night.read())


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(st.tuples(st.integers(0, 3600), st.integers(30, 200)), min_size=2, max_size=30),
    st.lists(st.tuples(st.integers(0, 3600), st.integers(0, 500)), max_size=10),
    st.randoms(use_true_random=False),
)
def test_all_layouts_and_any_order_of_rows_give_the_same(
    tmp_path: Path,
    beats: list[tuple[int, int]],
    counts: list[tuple[int, int]],
    chance: random.Random,
) -> None:
    beats = [*beats, (0, 60), (3600, 60)]
    samples = {
        "HeartRate": [sample(time, bpm=bpm) for time, bpm in beats],
        **({"Pedometer": [sample(time, steps=n) for time, n in counts]} if counts else {}),
    }
    told = objects(samples)
    chance.shuffle(told)
    packed = read(write_zip(tmp_path / "night.zip", csv_files(samples)))
    assert same(read(write_json(tmp_path / "night.json", told)), packed)
    assert (packed.steps.values >= 0).all()


# What is broken


def damaged(name: str, change: Callable[[bytes], bytes]) -> dict[str, bytes]:
    files = csv_files(recorded())
    changed = change(files[name])
    assert changed != files[name]
    return {**files, name: changed}


BPM, WRIST, STEPS = "HeartRate.csv", "WristMotion.csv", "Pedometer.csv"
LINE_4 = re.compile(rb"\A((?:.*\n){3})(.*)\n")


def line_4(text: bytes) -> Callable[[bytes], bytes]:
    return lambda content: LINE_4.sub(lambda found: found[1] + text + b"\n", content, count=1)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (BPM, line_4(b"%d,1,fast" % T0), r"line 4: expected a number as 'bpm', found 'fast'"),
        (BPM, line_4(b"%d,1,nan" % T0), "line 4: expected a number as 'bpm', found 'nan'"),
        (BPM, line_4(b"%d,1,1_0" % T0), "line 4: expected a number as 'bpm', found '1_0'"),
        (BPM, line_4(b"%d,1,\xff" % T0), "line 4: expected a number as 'bpm'"),
        (BPM, line_4(b"0,1,60"), "line 4: expected Unix time in nanoseconds as 'time', found '0'"),
        (BPM, line_4(b"2024-03-31,1,60"), "line 4: expected Unix time .* found '2024-03-31'"),
        (BPM, line_4(b"1e30,1,60"), "line 4: expected Unix time .* found '1e30'"),
        (BPM, line_4(b",1,60"), "line 4: expected Unix time .* found nothing"),
        (BPM, lambda content: content.replace(b"bpm", b"rate"), "has columns time, seconds_elap"),
        (BPM, lambda content: b"\x89PNG\n" * 9, "has columns .*; expected time, bpm"),
        (BPM, lambda content: content + b'1,2,"3\n', "from line 2 on: no table"),
        (BPM, lambda content: content.replace(b",5", b",1"), "values lie outside 25 to 240"),
        (WRIST, lambda content: content[: content.rindex(b",", 0, -90)], "line 1201: expected a n"),
        (WRIST, lambda content: content.replace(b"gravityX", b"gX"), "has columns .* gX.*; expec"),
        (
            WRIST,
            lambda content: content + b"0" * (1 << 24),
            r"a line: \d+ bytes in one piece",
        ),
        (STEPS, line_4(b"%d,1,-4" % T0), "-4 at .* no count is negative"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_a_broken_table_is_refused(
    tmp_path: Path, name: str, change: Callable[[bytes], bytes], said: str, *, packed: bool
) -> None:
    files = damaged(name, change)
    if packed:
        paths = write_zip(tmp_path / "night.zip", files)
    else:
        paths = write_folder(tmp_path / "night", files)
    with pytest.raises(DataError, match=said) as caught:
        read(paths)
    place = tmp_path / (f"night.zip, {name}" if packed else f"night/{name}")
    assert str(caught.value).startswith(str(place))


def test_motion_that_is_none_is_refused(tmp_path: Path) -> None:
    samples = recorded(factor=3)
    for paths in (
        write_folder(tmp_path / "night", csv_files(samples)),
        write_json(tmp_path / "night.json", objects(samples)),
    ):
        with pytest.raises(
            DataError, match=r"Motion.*: gravity is neither 1 g nor .* 1200 of 1200"
        ):
            read(paths)


def test_a_damaged_member_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "night.zip"
    write_zip(path, csv_files(recorded()))
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        begin = archive.getinfo(WRIST).header_offset + 30 + len(WRIST)
    content[begin + 2000 : begin + 2400] = b"\x00" * 400
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"night\.zip"):
        read([path])


def test_a_cut_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "night.zip"
    write_zip(path, csv_files(recorded()))
    path.write_bytes(path.read_bytes()[:-500])
    assert FORMAT.find(tmp_path, [path]) == []
    with pytest.raises(DataError, match="a damaged zip archive"):
        read([path])


def test_an_archive_of_several_recordings_is_refused(tmp_path: Path) -> None:
    files = csv_files(recorded())
    both = {f"{folder}/{name}": content for folder in "ab" for name, content in files.items()}
    with pytest.raises(DataError, match=r"night\.zip: holds 2 recordings; unpack it"):
        read(write_zip(tmp_path / "night.zip", both))


def test_a_recording_without_what_is_needed_is_refused(tmp_path: Path) -> None:
    silent = {**csv_files(recorded()), BPM: b"time,seconds_elapsed,bpm\n", WRIST: b""}
    with pytest.raises(DataError, match=r"night\.zip: has HeartRate.*Pedometer.*, and no samples"):
        read(write_zip(tmp_path / "night.zip", silent))
    with pytest.raises(DataError, match=r"night: has Acc.*, and no samples of Heart Rate or"):
        read(write_folder(tmp_path / "night", silent))
    phone = objects({"Accelerometer": recorded()["Accelerometer"]})
    with pytest.raises(
        DataError, match=r"night\.json: has Metadata, Accelerometer, and no samples"
    ):
        read(write_json(tmp_path / "night.json", phone))


def test_a_file_that_has_gone_is_told(tmp_path: Path) -> None:
    files = write_folder(tmp_path / "night", csv_files(recorded()))
    (tmp_path / "night" / WRIST).unlink()
    with pytest.raises(DataError, match=r"WristMotion\.csv: can't be read"):
        read(files)
    (told,) = write_json(tmp_path / "night.json", objects(recorded()))
    (night,) = FORMAT.read([told], None, Options())
    told.unlink()
    with pytest.raises(DataError, match=r"night\.json: can't be read"):
        night.read()


FIRST = {"sensor": "HeartRate", "time": str(T0), "bpm": "60"}


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({**FIRST, "bpm": "fast"}, "object 2: expected a number as 'bpm', found 'fast'"),
        ({**FIRST, "time": "soon"}, "object 2: expected Unix time in nanosec.* found 'soon'"),
        ({**FIRST, "time": None}, "object 2: expected Unix time .* found nothing"),
        ({**FIRST, "time": -5}, "object 2: expected Unix time .* found -5"),
        ({**FIRST, "sensor": "Wrist Motion", "gravityX": "1"}, "as 'gravityY', found nothing"),
    ],
)
def test_a_broken_object_is_refused(tmp_path: Path, item: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(write_json(tmp_path / "night.json", [FIRST, item]))


ONE = json.dumps([FIRST, FIRST, FIRST]).encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (ONE[:-1], "malformed JSON after object 3"),
        (ONE[:-20], "malformed JSON after object 2"),
        (ONE.replace(b'"60"', b"NaN", 1), "malformed JSON after object 0"),
        (ONE.replace(b'"60"', b"6x", 1), "malformed JSON after object 0"),
        (ONE + b"]", "malformed JSON after object 3"),
        (b"", "malformed JSON after object 0"),
        (
            b'[{"sensor": "HeartRate", "time":' + b"[" * 300_000,
            "malformed JSON after object 0",
        ),
        (b"{}", "malformed JSON after object 0"),
        (b"[]", "has nothing, and no samples"),
        (b"[1, [2, 3]]", "has nothing, and no samples"),
    ],
    ids=["open", "cut", "nan", "number", "more", "empty", "deep", "object", "none", "rows"],
)
def test_malformed_json_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "night.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"night\.json: {said}"):
        read([path])


def test_what_is_nested_is_passed_over(tmp_path: Path) -> None:
    told = objects(recorded())
    plain = read(write_json(tmp_path / "plain.json", told))
    odd: list[Any] = [{**one, "more": {"bpm": [1, {"time": 2}]}} for one in told]
    odd.append({"sensor": "Bluetooth", "time": 1, "found": [{"sensor": "HeartRate"}]})
    assert same(read(write_json(tmp_path / "odd.json", odd)), plain)


def test_a_number_beyond_all_bounds_is_none() -> None:
    assert sample_row(T0, {"bpm": 10**400}, ("bpm",)) is None
    assert sample_row(T0, {"bpm": "60"}, ("bpm",)) == [T0 / 1e9, 60]


# What is found


@pytest.mark.parametrize("kind", [Path, UPath])
def test_recordings_are_found_by_what_is_in_them(tmp_path: Path, kind: type[Path]) -> None:
    files = csv_files(recorded())
    files["Annotation.csv"] = b"time,seconds_elapsed,text\n"
    ours = write_folder(tmp_path, files)
    write_zip(tmp_path / "one.zip", files)
    write_zip(tmp_path / "two.zip", files, folder="night/")
    write_json(tmp_path / "three.json", objects(recorded()))
    (tmp_path / "notes.csv").write_text("a,b\n")
    directory = kind(tmp_path)
    found = FORMAT.find(directory, sorted(directory.iterdir()))
    assert [(one.name, [path.name for path in one.files]) for one in found] == [
        ("one", ["one.zip"]),
        ("three", ["three.json"]),
        ("two", ["two.zip"]),
        ("", [path.name for path in ours]),
    ]
    nights = [
        FORMAT.read([Path(str(path)) for path in one.files], None, Options()) for one in found
    ]
    assert len({night.read().fingerprint() for (night,) in nights}) == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("HeartRate.csv", b"time,bpm\n1,60\n"),
        ("HeartRate.csv", b""),
        ("HeartRate.csv", b"\xff\xfe\x00"),
        ("HeartRate.csv", b"\n"),
        ("HeartRate.txt", b"time,seconds_elapsed,bpm\n"),
        ("Accelerometer.csv", b"time,seconds_elapsed,z,y,x\n"),
        ("Pedometer.csv", b"time,seconds_elapsed,steps\n"),
        ("night.zip", b""),
        ("night.zip", b"PK\x03\x04 cut"),
        ("night.zip", b"time,seconds_elapsed,bpm\n"),
        ("night.json", b""),
        ("night.json", b'{"sensor": "HeartRate", "time": "1"}'),
        ("night.json", b'[["sensor", "time"]]'),
        ("night.json", b'[{"name": "HeartRate", "time": "1"}]'),
        ("night.json", b'[{"sensor": "HeartRate", "at": "1"}]'),
        ("night.json", b" " * 100_000 + b'[{"sensor": "HeartRate", "time": "1"}]'),
        ("night.txt", b'[{"sensor": "HeartRate", "time": "1"}]'),
    ],
)
def test_what_is_no_recording_is_left_to_others(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert FORMAT.find(tmp_path, [path]) == []


def test_an_archive_of_something_else_is_left_to_others(tmp_path: Path) -> None:
    other = {"apple_health_export/export.xml": b"<HealthData/>", "a/b/HeartRate.csv": b""}
    (path,) = write_zip(tmp_path / "export.zip", other)
    (phone,) = write_zip(tmp_path / "phone.zip", {"Accelerometer.csv": b"", "Metadata.csv": b""})
    assert FORMAT.find(tmp_path, [path, phone]) == []


# Names and values that people and sensors add


def test_renamed_tables_are_known_by_their_columns(tmp_path: Path) -> None:
    files = csv_files(recorded())
    renamed = {f"Night1_{name}": content for name, content in files.items()}
    renamed |= {f"other {name}": content for name, content in files.items()}
    folder = tmp_path / "night"
    write_folder(folder, renamed)
    found = FORMAT.find(folder, sorted(folder.iterdir()))
    assert [one.name for one in found] == ["Night1", "other"]
    assert [len(one.files) for one in found] == [len(files)] * 2
    expected = read(write_folder(tmp_path / "plain", files))
    assert all(same(read(one.files), expected) for one in found)


def test_two_tables_of_a_sensor_are_refused(tmp_path: Path) -> None:
    beats = table(recorded()["HeartRate"])
    files = write_folder(tmp_path / "night", {"HeartRate.csv": beats, "Heart Rate.csv": beats})
    with pytest.raises(DataError, match="is of the same sensor as"):
        read(files)


@pytest.mark.parametrize("hours", [3, 48])
@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_value_of_before_the_recording_does_not_begin_it(
    tmp_path: Path, hours: int, kind: str
) -> None:
    beats = [sample(-3600 * hours, bpm=70), *(sample(5 * n, bpm=60) for n in range(60))]
    samples = {"HeartRate": beats}
    if kind == "csv":
        files = write_folder(tmp_path / "night", csv_files(samples))
    else:
        files = write_json(tmp_path / "night.json", objects(samples))
    assert read(files).start == pytest.approx(T0 / 1e9)
