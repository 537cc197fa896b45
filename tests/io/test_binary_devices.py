"""Binary files of devices, written in the layouts of their makers."""

from __future__ import annotations

import json
import struct
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sleepstage import open_nights
from sleepstage.errors import DataError, MissingExtraError
from sleepstage.io.source import nights_in
from tests.helpers.recordings import only, peaks

START = 1710280800  # 2024-03-12 22:00:00 UTC
XYZ = (0.25, -0.5, 0.75)
KIND = "raw-binary"


# Axivity


def cwa_time(time: float) -> int:
    at = datetime.fromtimestamp(time, UTC)
    parts = ((at.year - 2000, 26), (at.month, 22), (at.day, 17), (at.hour, 12), (at.minute, 6))
    return sum(value << shift for value, shift in parts) + at.second


def cwa_block(sequence: int, time: float, hertz: int = 100) -> bytes:
    """Eighty samples in three axes of 16 bits, 256 to the g."""
    rate = 0x40 | int(15 - np.log2(3200 / hertz)) if hertz != 100 else 0x4A
    head = struct.pack(
        "<HHHIIIHHBBBBhH",
        *(0x5841, 508, 0, 0, sequence, cwa_time(time), 0, 512, 0, 200, rate, 0x32, 0, 80),
    )
    block = head + struct.pack("<3h", *(int(256 * one) for one in XYZ)) * 80
    total = sum(struct.unpack(f"<{len(block) // 2}H", block))
    return block + struct.pack("<H", -total & 0xFFFF)


def cwa(seconds: list[int]) -> bytes:
    """A header of two sectors, and blocks that begin at these seconds."""
    header = struct.pack("<HH", 0x444D, 1020) + b"\xff" * 32 + bytes([0x4A]) + b"\xff" * 987
    blocks = (cwa_block(n, START + second) for n, second in enumerate(seconds))
    return header + b"".join(blocks)


def test_axivity_is_in_g_and_its_gaps_stay(tmp_path: Path) -> None:
    pytest.importorskip("cwa_reader_rs")
    seconds = [*range(60), *range(660, 720)]
    (tmp_path / "wrist.cwa").write_bytes(cwa(seconds))
    night = only(tmp_path, KIND)
    assert (round(night.start), round(night.end)) == (START, START + 720)
    assert peaks(night) == [0.25, 0.5, 0.75]
    assert np.diff(night.motion.times).max() == 615


# ActiGraph


def gt3x_event(kind: int, time: int, payload: bytes) -> bytes:
    event = struct.pack("<BBIH", 0x1E, kind, time, len(payload)) + payload
    checksum = 0
    for byte in event:
        checksum ^= byte
    return event + bytes([~checksum & 0xFF])


def write_gt3x(path: Path, seconds: list[int], idle: tuple[int, int]) -> Path:
    info = {
        "Serial Number": "TAS1D48140206",
        "Sample Rate": "30",
        "Acceleration Scale": "256.0",
        "Start Date": "638459064000000000",
        "Stop Date": "0",
        "TimeZone": "00:00:00",
    }
    still = struct.pack("<3h", *(int(256 * one) for one in XYZ)) * 30
    events = {second: gt3x_event(26, START + second, still) for second in seconds}
    log = b"".join(events[second] for second in seconds if second < idle[0])
    log += gt3x_event(3, START + idle[0], b"\x08") + gt3x_event(3, START + idle[1], b"\x09")
    log += b"".join(events[second] for second in seconds if second >= idle[1])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("info.txt", "\n".join(f"{key}: {value}" for key, value in info.items()))
        archive.writestr("log.bin", log)
    return path


def test_actigraph_in_idle_sleep_mode_is_not_worn(tmp_path: Path) -> None:
    pytest.importorskip("pygt3x")
    seconds = [*range(60), *range(660, 720)]
    night = only(write_gt3x(tmp_path / "a.gt3x", seconds, (60, 660)), KIND)
    assert night.start == START
    assert night.end == pytest.approx(START + 720 - 1 / 30)
    assert peaks(night) == [0.25, 0.5, 0.75]
    assert np.diff(night.motion.times).max() == 615


# Empatica EmbracePlus


def write_avro(path: Path, start: int, scale: dict[str, float]) -> None:
    fastavro = pytest.importorskip("fastavro")
    numbers = {"type": "array", "items": "int"}
    fields = [{"name": name, "type": "double"} for name in scale]
    params = {"type": "record", "name": "Scale", "fields": fields}
    kinds = {"timestampStart": "long", "samplingFrequency": "float", "imuParams": params}
    axes = [{"name": axis, "type": numbers} for axis in "xyz"]
    acc = {
        "type": "record",
        "name": "Accelerometer",
        "fields": [*({"name": name, "type": kind} for name, kind in kinds.items()), *axes],
    }
    raw = {"type": "record", "name": "Raw", "fields": [{"name": "accelerometer", "type": acc}]}
    schema: dict[str, Any] = {
        "type": "record",
        "name": "File",
        "fields": [{"name": "timezone", "type": "int"}, {"name": "rawData", "type": raw}],
    }
    samples = {axis: [int(2048 * one)] * 64 * 60 for axis, one in zip("xyz", XYZ, strict=True)}
    found = {"timestampStart": start * 10**6, "samplingFrequency": 64.0, "imuParams": scale}
    record = {"timezone": 3600, "rawData": {"accelerometer": {**found, **samples}}}
    with path.open("wb") as file:
        fastavro.writer(file, fastavro.parse_schema(json.loads(json.dumps(schema))), [record])


RANGES = {"physicalMin": -16.0, "physicalMax": 16.0, "digitalMin": -32768.0, "digitalMax": 32768.0}


@pytest.mark.parametrize("scale", [RANGES, {"conversionFactor": 1 / 2048}])
def test_parts_of_embrace_are_one_recording_in_g(tmp_path: Path, scale: dict[str, float]) -> None:
    for start in (START, START + 1800):
        write_avro(tmp_path / f"1-1-001_{start}.avro", start, scale)
    night = only(tmp_path, KIND)
    assert (night.start, night.utc_offset) == (START, 3600)
    assert peaks(night) == [0.25, 0.5, 0.75]
    assert np.diff(night.motion.times).max() == 1800 - 60 + 15


@pytest.mark.parametrize(
    ("name", "library", "content"),
    [
        ("a.cwa", "cwa_reader_rs", b"MD" + bytes(200)),
        ("a.avro", "fastavro", b"Obj\x01" + bytes(50)),
    ],
)
def test_what_is_damaged_or_lacks_its_library_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, library: str, content: bytes
) -> None:
    pytest.importorskip(library)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}: can't be read as \.{name[2:]} \("):
        list(open_nights(tmp_path))
    monkeypatch.setitem(__import__("sys").modules, library, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'sleepstage\[devices\]'"):
        list(open_nights(tmp_path))


def test_times_that_are_no_numbers_are_refused() -> None:
    times = np.array([START, np.nan, START + 60])
    with pytest.raises(DataError, match=r"a\.gt3x: a time is no number: the file is damaged"):
        nights_in("a.gt3x", {"motion": (times, np.ones((3, 3)))})
