"""Whatever is done to a file, a reader gives nights or says what is wrong, and nothing else."""

from __future__ import annotations

import io
import json
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from sleepstage.errors import DataError, SleepstageError
from sleepstage.io.registry import find_sources, read_source
from tests.helpers.apple_export import beats, document, moment, sleep

BED = moment("2024-03-12 23:00:00 +0100")


def archive(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in members.items():
            file.writestr(name.replace("__", "/") + (".xml" if "export" in name else ".csv"), text)
    return buffer.getvalue()


def parquet() -> bytes:
    buffer = io.BytesIO()
    frame = pl.DataFrame({"time": np.arange(0, 300, 5.0), "bpm": 60.0})
    frame.write_parquet(buffer)
    return buffer.getvalue()


def labels() -> bytes:
    buffer = io.BytesIO()
    codes = np.arange(120, dtype=np.uint8) % 6
    savemat(buffer, {"recStart": "2024-03-12 18:00:00", "expert_label": codes})
    return buffer.getvalue()


HEALTH = document(beats(BED, BED + 9000, every=900), sleep(BED, BED + 9000, "InBed"))
PULSE = "time,seconds_elapsed,bpm\n" + "".join(
    f"{(BED + 5 * n) * 1e9:.0f},{5 * n},{60 + n % 3}\n" for n in range(20)
)
ITEMS = [
    {"sensor": "HeartRate", "time": f"{(BED + 5 * n) * 1e9:.0f}", "bpm": "60"} for n in range(20)
]
FILES = {
    "export.xml": HEALTH.encode(),
    "export.zip": archive(apple_health_export__export=HEALTH),
    "recording.zip": archive(HeartRate=PULSE),
    "recording.json": json.dumps(ITEMS).encode(),
    "night_hr.csv": b"time,bpm\n" + b"".join(b"%d,60\n" % (5 * n) for n in range(20)),
    "iso.csv": b"time,bpm,steps\n2024-03-12T23:00:00Z,60,\n2024-03-12T23:05:00Z,61,3\n",
    "night.parquet": parquet(),
    "1710280800_acceleration.csv": b"Timestamp,x,y,z\n"
    + b"".join(b"%.1f,0,0,1\n" % (BED + n) for n in range(60)),
    "p/1/labels.mat": labels(),
    "heart_rate/7_heartrate.txt": b"".join(b"%d,60\n" % (5 * n) for n in range(20)),
}


ISO = [f"2024-03-12T{22 + n // 12}:{5 * (n % 12):02d}:00+00:00" for n in range(24)]
LATER = "2024-03-13T00:30:00Z"
EXPORTS = {
    "auto.json": {
        "data": {
            "metrics": [
                {
                    "name": "heart_rate",
                    "units": "bpm",
                    "data": [{"date": time, "Avg": 60, "source": "W"} for time in ISO],
                },
                {
                    "name": "sleep_analysis",
                    "data": [
                        {"startDate": ISO[0], "endDate": "2024-03-13T00:30:00Z", "value": "In Bed"}
                    ],
                },
            ]
        }
    },
    "heart_rate-2024-03-12.json": [
        {"dateTime": f"03/12/24 22:{n:02d}:00", "value": {"bpm": 58, "confidence": 2}}
        for n in range(60)
    ],
}
FILES |= {name: json.dumps(content).encode() for name, content in EXPORTS.items()}
FILES |= {
    "apple.csv": "\n".join(
        ["startDate,endDate,value,unit", *(f"{time},{time},61,count/min" for time in ISO)]
    ).encode(),
    "e4/HR.csv": b"1710280800.0\n1.0\n" + b"61.5\n" * 60,
    "e4/ACC.csv": b"1710280800,1710280800,1710280800\n32,32,32\n" + b"-2,30,56\n" * 1920,
    "raw.csv": b"Time,Accel-X (g), Accel-Y (g), Accel-Z (g)\n"
    + b"".join(b"2024-03-12 22:00:%02d.500,0.25,-0.5,0.8\n" % n for n in range(60)),
}


def write(folder: Path, name: str, content: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if path.name == "labels.mat":
        rows = "".join(f"{BED + 5 * n},60\n" for n in range(20))
        path.with_name("hr.csv").write_text(rows)


def read_all(folder: Path) -> int:
    """Number of nights that are read; those that can't be may raise what is ours."""
    try:
        sources, _ = find_sources(folder)
    except DataError:
        return 0
    n_read = 0
    for source in sources:
        with suppress(SleepstageError):
            for night in read_source(source, source.files):
                n_read += night.read().n_epochs > 0
    return n_read


@pytest.mark.parametrize("name", FILES)
def test_untouched_it_is_a_night(tmp_path: Path, name: str) -> None:
    write(tmp_path, name, FILES[name])
    assert read_all(tmp_path) == 1


@pytest.mark.filterwarnings("ignore::UserWarning:scipy")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(list(FILES)), data=st.data())
def test_damaged_it_is_a_night_or_an_error_that_is_ours(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    content = bytearray(FILES[name])
    if name.endswith(".mat"):  # scipy does not stand everything: see the reader
        del content[data.draw(st.integers(0, len(content))) :]
    for _ in () if name.endswith(".mat") else range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        piece = data.draw(
            st.one_of(
                st.binary(max_size=6),
                st.sampled_from([b"\n", b",", b'"', b"-1", b"nan", b"1e400", b"<", b"\xff\xfe"]),
            )
        )
        content[at : at + data.draw(st.integers(0, 12))] = piece
    write(tmp_path, name, bytes(content))
    read_all(tmp_path)
    (tmp_path / name).unlink()
