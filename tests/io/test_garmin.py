"""FIT files of Garmin, with what decoders get wrong about them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from sleepstage import open_nights
from sleepstage.core.recording import Recording
from sleepstage.errors import DataError, MissingExtraError
from tests.helpers.apple_export import moment
from tests.helpers.fit import EPOCH, document, message

BED = int(moment("2024-03-12 23:00:00 +0100"))
TIME = BED - EPOCH
HOURS = 3


def info(time: int = TIME) -> bytes:
    """Full time and local time, an hour ahead."""
    return message(103, (253, "I", time), (0, "I", time + 3600))


def monitored(time: int, bpm: int) -> bytes:
    return message(55, (26, "H", time & 0xFFFF), (27, "B", bpm))


def walked(time: int, count: int, activity: int = 6) -> bytes:
    """Cycles with the activity packed with its intensity."""
    return message(55, (253, "I", time), (24, "byte", activity | 3 << 5), (3, "I", count))


def level(time: int, code: int) -> bytes:
    return message(275, (253, "I", time), (0, "enum", code))


def only(path: Path) -> Recording:
    pytest.importorskip("fitdecode")
    (night,) = open_nights(path)
    return night.read()


def write(path: Path, *messages: bytes) -> Path:
    path.write_bytes(document(*messages))
    return path


def night(*more: bytes) -> list[bytes]:
    """Heart rate each minute by 16-bit times, and stages: hours of light, deep and REM."""
    beats = [monitored(TIME + 60 * n, 50 + n % 7) for n in range(60 * HOURS)]
    stages = [level(TIME + 3600 * n, code) for n, code in enumerate((2, 3, 4))]
    return [info(), *beats, *stages, level(TIME + 3600 * HOURS, 1), *more]


def test_sixteen_bits_of_time_go_on_from_the_last_full_time(tmp_path: Path) -> None:
    found = only(write(tmp_path / "a.fit", *night()))
    assert list(found.heart_rate.times) == [BED + 60 * n for n in range(60 * HOURS)]
    assert list(found.heart_rate.values[:8]) == [50, 51, 52, 53, 54, 55, 56, 50]


def test_the_offset_is_the_difference_to_local_time(tmp_path: Path) -> None:
    found = only(write(tmp_path / "a.fit", *night()))
    assert (found.start, found.utc_offset) == (BED, 3600)


def test_stages_go_on_up_to_the_next_and_unmeasurable_is_none(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fit", *night(level(TIME + 3600 * HOURS + 60, 0)))
    watch = only(path).watch_stages
    assert watch is not None
    minutes = {
        name: float((watch.codes == code).sum() / 2)
        for code, name in enumerate(watch.scheme.classes)
    }
    assert minutes == {"wake": 1, "light": 60, "deep": 60, "rem": 60}
    assert len(watch) == 2 * (60 * HOURS + 2)


def test_steps_are_counted_whole_since_the_message_before(tmp_path: Path) -> None:
    evening = TIME - 7200
    counts = (1000, 1040, 1050, 12)  # anew after midnight
    steps = [walked(evening + 600 * n, count) for n, count in enumerate(counts)]
    cycled = walked(evening + 60, 300, activity=2)
    found = only(write(tmp_path / "a.fit", info(evening), *steps, cycled, *night()))
    assert list(found.steps.values) == [40, 10, 12]
    assert list(found.steps.times) == [BED - 7200 + 600 * n for n in (1, 2, 3)]


def test_eight_beats_of_one_message_go_on_from_the_last_full_count(tmp_path: Path) -> None:
    first = message(
        132, (253, "I", TIME), (0, "H", 16384), (6, "B", [60]), (9, "I", [1024 * 100 + 3000])
    )
    parts = [first]
    count = 1024 * 100 + 3000
    for _ in range(600):
        counts = [count + 1024 * n for n in range(1, 9)]
        packed = sum((value & 0xFFF) << 12 * at for at, value in enumerate(counts))
        parts.append(
            message(
                132,
                (6, "B", [61, 62, 63, 64, 65, 66, 67, 0]),
                (10, "byte", packed.to_bytes(12, "little")),
            )
        )
        count = counts[-1]
    found = only(write(tmp_path / "a.fit", *parts))
    assert len(found.heart_rate) == 1 + 600 * 7  # 0 is not measured
    assert list(found.heart_rate.times[:3]) == [BED + 0.5, BED + 1.5, BED + 2.5]
    assert found.heart_rate.times[-1] == BED + 0.5 + 8 * 600 - 1
    assert list(found.heart_rate.values[:3]) == [60, 61, 62]


def test_an_activity_recorded_overnight_and_files_of_a_folder_are_one_source(
    tmp_path: Path,
) -> None:
    activity = [message(20, (253, "I", TIME + n), (3, "B", 55)) for n in range(0, 9000, 10)]
    write(tmp_path / "a.fit", *activity)
    write(tmp_path / "b.fit", *(level(TIME + n, 2) for n in (0, 9000)))
    found = only(tmp_path)
    assert (len(found.heart_rate), found.end) == (900, BED + 9060)


def test_a_damaged_file_is_named_and_others_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("fitdecode")
    path = write(tmp_path / "bad.fit", *night())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"bad.fit: a damaged FIT file, after message \d+"):
        list(open_nights(path))
    write(tmp_path / "good.fit", *night())
    with caplog.at_level(logging.WARNING):
        assert len(only(tmp_path).heart_rate) == 60 * HOURS
    assert "bad.fit: a damaged FIT file" in caplog.text


def test_without_the_library_the_command_to_install_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fitdecode", None)
    path = write(tmp_path / "a.fit", *night())
    with pytest.raises(MissingExtraError, match=r"pip install 'sleepstage\[devices\]'"):
        list(open_nights(path))
