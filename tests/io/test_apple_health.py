from __future__ import annotations

import datetime as dt
import logging
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sleepstage.errors import DataError
from sleepstage.io.clocks import moment as read_moment
from sleepstage.io.registry import FORMATS
from sleepstage.io.source import Options, StoredNight
from tests.helpers.apple_export import (
    HEAD,
    PHONE,
    WATCH,
    beat,
    beats,
    document,
    moment,
    sleep,
    staged,
    steps,
    write_xml,
    write_zip,
)

FORMAT = FORMATS["apple-health"]

BED = moment("2024-03-12 23:00:00 +0100")
UP = moment("2024-03-13 07:00:00 +0100")
HOUR = 3600.0
DAY = 86400.0


def nights(path: Path) -> list[StoredNight]:
    return FORMAT.read([path], None, Options())


def in_bed(start: float = BED, end: float = UP, **more: object) -> str:
    return sleep(start, end, "InBed", **more)


def a_night(start: float = BED, end: float = UP) -> str:
    return beats(start, end) + in_bed(start, end)


# What a night has


def test_a_night_in_bed_is_a_recording(tmp_path: Path) -> None:
    (night,) = nights(write_xml(tmp_path / "export.xml", a_night()))
    recording = night.read()
    assert (night.name, recording.subject) == ("2024-03-13", "2024-03-13")
    assert (recording.start, recording.end, recording.utc_offset) == (BED, UP, 3600)
    assert len(recording.heart_rate) == 120
    assert recording.heart_rate.times[:2].tolist() == [BED, BED + 240]
    assert recording.heart_rate.values[:2].tolist() == [58, 59]
    assert len(recording.motion) == 0
    assert recording.watch_stages is None


def test_zip_and_xml_are_the_same(tmp_path: Path) -> None:
    (plain,) = nights(write_xml(tmp_path / "export.xml", a_night()))
    (packed,) = nights(write_zip(tmp_path / "export.zip", a_night(), more=["a/b.gpx"]))
    german = "apple_health_export/Exportieren.xml"
    (named,) = nights(write_zip(tmp_path / "german.zip", a_night(), name=german))
    expected = plain.read().fingerprint()
    assert packed.read().fingerprint() == named.read().fingerprint() == expected


def test_a_night_can_be_sent_elsewhere_without_the_export(tmp_path: Path) -> None:
    many = "".join(a_night(BED + n * DAY, UP + n * DAY) for n in range(20))
    found = nights(write_xml(tmp_path / "export.xml", many))
    sent = pickle.dumps(found[3])
    assert len(sent) < 20_000
    assert pickle.loads(sent).read().fingerprint() == found[3].read().fingerprint()


def test_the_stages_of_the_watch_are_told(tmp_path: Path) -> None:
    told = [("Awake", 10), ("AsleepCore", 200), ("AsleepDeep", 60), ("AsleepREM", 90)]
    path = write_xml(tmp_path / "export.xml", a_night(), staged(BED + 600, told))
    watch = nights(path)[0].read().watch_stages
    assert watch is not None
    assert watch.subject == WATCH
    assert len(watch) == 960
    assert Counter(watch.stages.tolist()) == {
        "wake": 20,
        "light": 400,
        "deep": 120,
        "rem": 180,
        "unscored": 240,
    }
    assert watch.stages[19:21].tolist() == ["unscored", "wake"]


def test_sleep_without_stages_is_no_hypnogram(tmp_path: Path) -> None:
    asleep = sleep(BED, UP, "Asleep") + sleep(BED, UP, "AsleepUnspecified")
    (night,) = nights(write_xml(tmp_path / "export.xml", beats(BED, UP), asleep))
    assert night.read().watch_stages is None
    assert night.read().n_epochs == 960


def test_heart_rate_from_before_is_history_and_steps_of_a_day_too(tmp_path: Path) -> None:
    before = beats(BED - 2 * HOUR, BED) + steps(BED - 20 * HOUR, BED - 19.9 * HOUR, 500)
    long_ago = steps(BED - 30 * HOUR, BED - 29.9 * HOUR, 500)
    path = write_xml(tmp_path / "export.xml", long_ago, before, a_night())
    recording = nights(path)[0].read()
    assert recording.heart_rate.times[0] == BED - 1680
    assert recording.steps.values.tolist() == [500]
    assert recording.steps.times[0] == pytest.approx(BED - 19.9 * HOUR, abs=1)


# Several sources


def test_heart_rate_of_the_source_that_covers_most_is_taken_alone(tmp_path: Path) -> None:
    strap = beats(BED, BED + HOUR, every=1, bpm=100, source="Strap")
    path = write_xml(tmp_path / "export.xml", a_night(), strap)
    recording = nights(path)[0].read()
    assert recording.heart_rate.values.max() < 70


def test_steps_are_not_counted_twice(tmp_path: Path) -> None:
    walks = "".join(
        steps(BED - n * HOUR, BED - n * HOUR + 300, n_steps, source=source)
        for n in (3, 4, 5)
        for source, n_steps in ((WATCH, 100), (PHONE, 90))
    )
    recording = nights(write_xml(tmp_path / "export.xml", walks, a_night()))[0].read()
    assert recording.steps.values.tolist() == [100, 100, 100]


def test_sleep_told_by_several_sources_is_one_night(tmp_path: Path) -> None:
    app = sleep(BED - 600, UP + 600, "Asleep", source="An app")
    stages = staged(BED, [("AsleepCore", 300)]) + staged(BED, [("AsleepREM", 30)], source="An app")
    path = write_xml(tmp_path / "export.xml", a_night(), app, stages, in_bed())
    (night,) = nights(path)
    recording = night.read()
    assert (recording.start, recording.end) == (BED - 600, UP + 600)
    assert recording.watch_stages is not None
    assert recording.watch_stages.subject == WATCH
    assert "rem" not in recording.watch_stages.stages


# When nights are


@pytest.mark.parametrize(("minutes", "number"), [(50, 1), (70, 2)])
def test_a_break_of_an_hour_makes_two_nights(tmp_path: Path, minutes: float, number: int) -> None:
    up = BED + 4 * HOUR
    again = in_bed(BED, up) + in_bed(up + 60 * minutes, up + 60 * minutes + 4 * HOUR)
    path = write_xml(tmp_path / "export.xml", beats(BED, UP + 2 * HOUR), again)
    names = [night.name for night in nights(path)]
    assert names == ["2024-03-13", "2024-03-13-2"][:number]


def test_naps_and_nights_without_a_watch_are_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nap = beats(UP + 6 * HOUR, UP + 7 * HOUR) + in_bed(UP + 6 * HOUR, UP + 7 * HOUR)
    bare = in_bed(BED + DAY, UP + DAY)
    path = write_xml(tmp_path / "export.xml", a_night(), nap, bare)
    with caplog.at_level(logging.WARNING):
        assert [night.name for night in nights(path)] == ["2024-03-13"]
    assert "left out 1 night shorter than 2 h" in caplog.text
    assert "left out 1 night without heart rate" in caplog.text


def walking(start: float, end: float) -> str:
    """Some steps each half hour."""
    times = np.arange(start, end, 1800)
    return "".join(steps(time, time + 60, 30, source=PHONE) for time in times.tolist())


def test_without_records_of_sleep_the_longest_rest_is_the_night(tmp_path: Path) -> None:
    days = (
        walking(BED - 14 * HOUR, BED) + walking(UP, BED + DAY) + walking(UP + DAY, UP + 1.5 * DAY)
    )
    path = write_xml(tmp_path / "export.xml", beats(BED - HOUR, UP + 1.4 * DAY), days)
    first, second = (night.read() for night in nights(path))
    assert abs(first.start - (BED - 1740)) <= 60
    assert first.end == UP
    assert [night.name for night in nights(path)] == ["2024-03-13", "2024-03-14"]
    assert second.end == UP + DAY


def test_records_of_sleep_go_before_rests(tmp_path: Path) -> None:
    days = walking(BED - 14 * HOUR, BED) + walking(UP + 120, UP + 10 * HOUR)
    told = in_bed(BED + HOUR, UP - HOUR)
    (night,) = nights(write_xml(tmp_path / "export.xml", beats(BED, UP), days, told))
    assert (night.read().start, night.read().end) == (BED + HOUR, UP - HOUR)


def test_heart_rate_alone_is_one_night(tmp_path: Path) -> None:
    (night,) = nights(write_xml(tmp_path / "export.xml", beats(BED, UP)))
    recording = night.read()
    assert recording.start == BED
    assert (len(recording.heart_rate), recording.utc_offset) == (120, 3600)


def test_a_rest_without_the_watch_is_no_night(tmp_path: Path) -> None:
    days = walking(BED - 14 * HOUR, BED) + walking(UP, UP + 4 * HOUR)
    path = write_xml(tmp_path / "export.xml", beats(BED - 8 * HOUR, BED), days)
    with pytest.raises(DataError, match="neither records of sleep nor rests of four hours"):
        nights(path)


@pytest.mark.parametrize(
    ("bed", "up", "hours"),
    [
        ("2024-03-30 23:00:00 +0100", "2024-03-31 07:00:00 +0200", 7),
        ("2024-10-26 23:00:00 +0200", "2024-10-27 07:00:00 +0100", 9),
    ],
)
def test_a_night_across_the_clock_change_is_as_long_as_it_was(
    tmp_path: Path, bed: str, up: str, hours: int
) -> None:
    start, end = moment(bed), moment(up)
    zones = [dt.datetime.strptime(text, "%Y-%m-%d %H:%M:%S %z").tzinfo for text in (bed, up)]
    night = sleep(start, end, "InBed", zone=zones[0]).replace(
        f'endDate="{dt.datetime.fromtimestamp(end, zones[0]):%Y-%m-%d %H:%M:%S %z}"',
        f'endDate="{up}"',
    )
    assert up in night
    recording = nights(write_xml(tmp_path / "export.xml", beats(start, end), night))[0].read()
    assert recording.n_epochs == hours * 120
    assert recording.utc_offset == (3600 if "+0100" in bed else 7200)


def test_a_visit_to_the_bathroom_does_not_cut_a_night(tmp_path: Path) -> None:
    days = walking(BED - 8 * HOUR, BED) + steps(BED + 3 * HOUR, BED + 3 * HOUR + 60, 30)
    days += walking(UP, UP + 8 * HOUR)
    evening = beats(BED - 8 * HOUR, BED, bpm=80)
    (night,) = nights(write_xml(tmp_path / "export.xml", evening, beats(BED, UP), days))
    assert (night.read().start, night.read().end) == (BED - 1740, UP)


def test_an_evening_on_the_sofa_is_no_part_of_a_night(tmp_path: Path) -> None:
    days = (
        walking(BED - 8 * HOUR, BED - 2 * HOUR) + steps(BED - 60, BED, 30) + walking(UP, UP + DAY)
    )
    evening = beats(BED - 8 * HOUR, BED, bpm=80)
    (night,) = nights(write_xml(tmp_path / "export.xml", evening, beats(BED, UP), days))
    assert night.read().start == BED


def zoned(record: str, zone: str) -> str:
    entry = f'<MetadataEntry key="HKTimeZone" value="{zone}"/>'
    return record.replace("/>", f">\n {entry}\n</Record>")


def test_the_time_zone_that_a_record_names_is_the_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_xml(tmp_path / "export.xml", beats(BED, UP), zoned(in_bed(), "Asia/Tokyo"))
    for options in (Options(), Options("Europe/Paris")):
        (night,) = FORMAT.read([path], None, options)
        assert (night.name, night.read().utc_offset) == ("2024-03-13", 9 * 3600)
    assert night.read().start == BED
    other = a_night(BED + 30 * DAY, UP + 30 * DAY)
    path = write_xml(tmp_path / "export.xml", a_night(), zoned(other, "Asia/Tokyo"))
    with caplog.at_level(logging.WARNING):
        assert [one.read().utc_offset for one in nights(path)] == [9 * 3600] * 2
    assert "by HKTimeZone of other records (1), HKTimeZone (1)" in caplog.text


def test_a_stated_time_zone_is_used_by_date(tmp_path: Path) -> None:
    months = a_night() + a_night(BED + 120 * DAY, UP + 120 * DAY)
    path = write_xml(tmp_path / "export.xml", months)
    found = FORMAT.read([path], None, Options("America/New_York"))
    assert [one.read().utc_offset for one in found] == [-4 * 3600] * 2
    found = FORMAT.read([path], None, Options("Europe/London"))
    assert [one.read().utc_offset for one in found] == [0, 3600]
    zoned_oddly = write_xml(tmp_path / "odd.xml", beats(BED, UP), zoned(in_bed(), "Mars/Olympus"))
    assert nights(zoned_oddly)[0].read().utc_offset == 3600


def test_two_watches_that_take_turns_both_count(tmp_path: Path) -> None:
    half = (BED + UP) / 2
    turns = beats(BED, half, source="Old") + beats(half, UP, source="New")
    (night,) = nights(write_xml(tmp_path / "export.xml", turns, in_bed()))
    assert len(night.read().heart_rate) >= 115


def test_a_night_needs_heart_rate_for_half_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    charged = in_bed(BED + DAY, UP + DAY) + beats(BED + DAY, BED + DAY + 2 * HOUR)
    path = write_xml(tmp_path / "export.xml", a_night(), charged)
    with caplog.at_level(logging.WARNING):
        assert [night.name for night in nights(path)] == ["2024-03-13"]
    assert "left out 1 night without heart rate for half of it or more" in caplog.text


def test_a_sleep_without_end_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    endless = in_bed(BED - DAY, UP + 5 * DAY)
    path = write_xml(tmp_path / "export.xml", a_night(), endless, a_night(BED + DAY, UP + DAY))
    with caplog.at_level(logging.WARNING):
        assert len(nights(path)) == 2
    assert "sleep of 152 h" in caplog.text


# What is odd or broken


def test_heart_rate_a_second_is_turned_and_an_unknown_unit_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd = beat(BED + 10, 1.1, unit="count/s") + beat(BED + 20, 60, unit="Hz")
    broken = beat(BED + 30, 60).replace('value="60"', 'value="fast"')
    path = write_xml(tmp_path / "export.xml", a_night(), odd, broken)
    with caplog.at_level(logging.WARNING):
        recording = nights(path)[0].read()
    assert recording.heart_rate.values[1] == pytest.approx(66)
    assert len(recording.heart_rate) == 121
    assert "left out 2 records that can't be read, the first in line" in caplog.text
    assert "heart rate in 'Hz', not in count/min or count/s" in caplog.text


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("2024-03-13 07:00:00 +0100", "yesterday", "'yesterday'"),
        ("2024-03-13 07:00:00 +0100", "2024-03-12 07:00:00 +0100", "before it begins"),
        ("AnalysisInBed", "AnalysisFlying", "unknown sleep 'HKCategoryValueSleepAnalysisFlying'"),
        (' value="HKCategoryValueSleepAnalysisInBed"', "", "no 'value'"),
    ],
)
def test_an_odd_record_of_sleep_is_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, old: str, new: str, told: str
) -> None:
    other = in_bed().replace(old, new)
    assert other != in_bed()
    path = write_xml(tmp_path / "export.xml", a_night(BED + DAY, UP + DAY), other)
    with caplog.at_level(logging.WARNING):
        assert len(nights(path)) == 1
    assert told in caplog.text
    assert "left out 1 records" in caplog.text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (WATCH, f"{WATCH}\x0b"),
        (WATCH, f"{WATCH}&#11;"),
        (WATCH, f"{WATCH} & co"),
        (WATCH, f"{WATCH}<"),
        ("<Record ", '<Record unit="a" '),
    ],
)
def test_a_record_that_is_not_well_formed_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, old: str, new: str
) -> None:
    bad = beat(BED + 120, 60).replace("/>", ">\n</Record>").replace(old, new, 1)
    assert new in bad
    path = write_xml(tmp_path / "export.xml", beats(BED, BED + HOUR), bad, a_night(BED + HOUR))
    with caplog.at_level(logging.WARNING):
        (night,) = nights(path)
    assert abs(len(night.read().heart_rate) - 112) <= 1
    line = path.read_text(encoding="utf-8").split(new)[0].count("\n") + 1
    if new[-1] != "\x0b":  # what can't be seen is taken out
        assert f"left out 1 records that can't be read, the first in line {line}: m" in caplog.text


def test_a_broken_last_record_does_not_refuse_the_others(tmp_path: Path) -> None:
    path = write_xml(tmp_path / "export.xml", a_night(), beat(UP + 60, 60).replace("=", "", 1))
    assert len(nights(path)) == 1


BOMB = """<?xml version="1.0"?>
<!DOCTYPE HealthData [
 <!ENTITY a "aaaaaaaaaa">
 <!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
]>
<HealthData locale="&b;">
"""


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (document(a_night(), head=BOMB), "declares XML entities"),
        (document(a_night(), head=BOMB).encode("utf-16"), "declares XML entities"),
        (document(a_night())[:-2000], r"export\.xml, line \d+: malformed XML"),
        (HEAD[:200], "no element found"),
        ("<HealthData/>", "has no heart rate"),
        ("<Workouts></Workouts>", "begins with <Workouts>"),
        ("", r"line 1: malformed XML \(no element found"),
        (document().replace("UTF-8", "TF-8"), r"encoding that can't be read \(unknown .*TF-8"),
        (document().replace("UTF-8", "big5"), "encoding that can't be read"),
    ],
    ids=[
        "bomb",
        "bomb in UTF-16",
        "cut",
        "cut early",
        "empty",
        "other",
        "nothing",
        "encoding",
        "wide",
    ],
)
def test_a_broken_export_is_refused(tmp_path: Path, content: str | bytes, expected: str) -> None:
    path = tmp_path / "export.xml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=expected):
        nights(path)


def test_an_archive_without_an_export_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "export.zip", name="deep/down/in/export.xml")
    with pytest.raises(DataError, match=r"has no export\.xml"):
        nights(path)


def test_a_malformed_definition_of_the_document_does_no_harm(tmp_path: Path) -> None:
    head = HEAD.replace("<!ELEMENT Record", "<!ATTLIST Foo\n bar CDATA #IMPLIED\n <!ELEMENT Record")
    assert len(nights(write_xml(tmp_path / "export.xml", a_night(), head=head))) == 1


def test_a_long_definition_of_the_document_is_cut_out(tmp_path: Path) -> None:
    head = HEAD.replace("<!ELEMENT Record", "<!-- " + "x" * 300_000 + " -->\n<!ELEMENT Record")
    assert len(nights(write_xml(tmp_path / "export.xml", a_night(), head=head))) == 1


def test_progress_is_told_in_megabytes(tmp_path: Path) -> None:
    path = write_xml(tmp_path / "export.xml", beats(BED - 2 * DAY, UP, every=20), in_bed())
    seen: list[tuple[int, int]] = []
    FORMAT.read([path], lambda done, total, _: seen.append((done, total)), Options())
    assert len(seen) > 5
    assert seen[-1][1] == path.stat().st_size // 10**6
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_what_it_is_is_told_from_the_content(tmp_path: Path) -> None:
    export = write_zip(tmp_path / "a.zip", a_night())
    plain = write_xml(tmp_path / "b.xml", a_night())
    other = tmp_path / "c.xml"
    other.write_text("<gpx/>")
    no_export = write_zip(tmp_path / "d.zip", name="one/two/three.xml")
    (tmp_path / "e.csv").write_text("time,bpm\n")
    files = sorted(tmp_path.iterdir())
    assert [found.files for found in FORMAT.find(tmp_path, files)] == [(export,), (plain,)]
    assert no_export in files


@given(st.integers(0, 2**31 - 1), st.integers(-14 * 4, 14 * 4))
def test_any_moment_in_any_zone_is_read(time: int, quarters: int) -> None:
    zone = dt.timezone(dt.timedelta(minutes=15 * quarters))
    text = dt.datetime.fromtimestamp(time, zone).strftime("%Y-%m-%d %H:%M:%S %z")
    assert read_moment(text) == (time, 900 * quarters)
