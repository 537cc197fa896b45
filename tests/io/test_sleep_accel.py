"""The sleep-accel reader over small datasets in the true layout, whole and broken."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from sleepstage import open_nights
from sleepstage._utils.files import fingerprint
from sleepstage.core.motion import MOTION_COLUMNS
from sleepstage.errors import DataError
from sleepstage.io.sleep_accel.read import (
    LAYOUT,
    SIMULATED_MARKER,
    find_data,
    find_subjects,
    read_labels,
    read_subject,
    subject_files,
    summary_source,
)
from sleepstage.io.sleep_accel.summarise import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from sleepstage.core.recording import Recording

N_EPOCHS = 4
END = 30 * N_EPOCHS
HEADER = ",".join(("t_s", *MOTION_COLUMNS))
HEART_RATE = [f"{t},{60 + t // 5 % 7}" for t in range(-60, END, 5)]
LABELS = ["0 -1", "30 0", "60 2", "90 5"]
STEPS = ["-1200,700", "-600,12", "0,0"]
SUMMARY = [HEADER, *(f"{t},3.07,0.1,0.2,0.97" for t in range(15, END + 1, 15))]


def raw_motion(seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, END, END * 20)).round(6)
    xyz = rng.normal([0.1, 0.2, 0.97], 0.2, (len(times), 3)).round(6)
    rows = [f"{t:.6f} {x:.6f} {y:.6f} {z:.6f}" for t, (x, y, z) in zip(times, xyz, strict=True)]
    rng.shuffle(rows)  # raw files are not in order
    return rows


def put(
    directory: Path, name: str, lines: list[str], *, subject: str = "46343", end: str = "\n"
) -> Path:
    path = directory / LAYOUT[name].folder / f"{subject}{LAYOUT[name].ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + end for line in lines), newline="")
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A dataset of one subject with a summary of motion."""
    directory = tmp_path / "sleep-accel"
    put(directory, "heart_rate", HEART_RATE)
    put(directory, "labels", LABELS)
    put(directory, "steps", STEPS)
    put(directory, "summary_csv", SUMMARY)
    return directory


@pytest.fixture
def raw_data(data: Path) -> Path:
    """The same with raw motion in place of the summary."""
    shutil.rmtree(data / "motion_15s")
    put(data, "motion", raw_motion())
    return data


def same(one: Recording, other: Recording) -> bool:
    return one.fingerprint() == other.fingerprint() and one.simulated == other.simulated


# Whole files


def test_only_what_the_published_list_names_is_of_the_published_set(data: Path) -> None:
    labels = data / "labels" / "46343_labeled_sleep.txt"
    assert read_subject(data, "46343").dataset == ""
    sums = data / "SHA256SUMS.txt"
    sums.write_text(f"{fingerprint(labels)} labels/{labels.name}\n", encoding="utf-8")
    assert read_subject(data, "46343").dataset == "PhysioNet sleep-accel 1.0.0"
    labels.write_text(labels.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert read_subject(data, "46343").dataset == ""


def test_a_night_is_read_with_all_its_signals(data: Path) -> None:
    night = next(open_nights(f"{data}:46343")).read()
    assert (night.start, night.end, night.n_epochs) == (0, END, N_EPOCHS)
    assert (night.subject, night.simulated) == ("46343", False)
    assert len(night.heart_rate) == len(HEART_RATE)
    assert night.heart_rate.times[0] == -60
    assert night.motion.times.tolist() == list(range(15, END + 1, 15))
    assert night.motion.values[0].tolist() == [3.07, 0.1, 0.2, 0.97]
    assert night.reference is not None
    assert night.reference.stages.tolist() == ["unscored", "wake", "n2", "rem"]


def test_steps_are_known_at_the_end_of_their_bin(data: Path) -> None:
    night = read_subject(data, "46343")
    assert night.steps.times.tolist() == [-600, 0, 600]
    assert night.steps.values.tolist() == [700, 12, 0]


@pytest.mark.parametrize("end", ["\r\n", "\n\n", "\r\n\r\n"], ids=ascii)
@pytest.mark.parametrize("name", ["heart_rate", "labels", "steps", "summary_csv"])
def test_line_ends_and_blank_lines_change_nothing(data: Path, name: str, end: str) -> None:
    expected = read_subject(data, "46343")
    lines = {"heart_rate": HEART_RATE, "labels": LABELS, "steps": STEPS, "summary_csv": SUMMARY}
    put(data, name, lines[name], end=end)
    assert same(read_subject(data, "46343"), expected)


@pytest.mark.parametrize("name", ["heart_rate", "labels", "steps"])
def test_lines_may_come_in_any_order(data: Path, name: str) -> None:
    expected = read_subject(data, "46343")
    lines = {"heart_rate": HEART_RATE, "labels": LABELS, "steps": STEPS}
    put(data, name, lines[name][::-1])
    assert same(read_subject(data, "46343"), expected)


def test_heart_rates_stored_three_times_over_count_once(data: Path) -> None:
    expected = read_subject(data, "46343")
    put(data, "heart_rate", HEART_RATE * 3)
    assert same(read_subject(data, "46343"), expected)


def test_a_lost_pulse_is_left_out(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(data, "heart_rate", [*HEART_RATE, "2,0", "3,400"])
    with caplog.at_level(logging.WARNING, logger="sleepstage"):
        night = read_subject(data, "46343")
    assert len(night.heart_rate) == len(HEART_RATE)
    assert "left out 2 implausible of 38 values" in caplog.text


def test_epochs_without_a_line_are_unscored(data: Path) -> None:
    put(data, "labels", ["-30 0", "60 4"])
    night = read_subject(data, "46343")
    assert night.start == -30
    assert night.reference is not None
    assert night.reference.stages.tolist() == ["wake", "unscored", "unscored", "n3"]


def test_label_times_may_be_decimal(tmp_path: Path) -> None:
    path = put(tmp_path, "labels", ["0.1 0", "30.1 1", "60.1 2"])
    start, stages = read_labels(path)
    assert start == 0.1
    assert stages.tolist() == [0, 1, 2]


@pytest.mark.parametrize("simulated", [True, False])
def test_the_marker_flags_nights_as_simulated(data: Path, simulated: bool) -> None:
    if simulated:
        (data / SIMULATED_MARKER).touch()
    night = read_subject(data, "46343")
    assert night.reference is not None
    assert night.simulated == night.reference.simulated == simulated


def test_simulated_datasets_are_marked(simulated_data: Path) -> None:
    subjects = find_subjects(simulated_data)
    assert len(subjects) == 5
    assert all(read_subject(simulated_data, subject).simulated for subject in subjects)


def test_a_whole_real_night_is_read(real_data: Path) -> None:
    night = read_subject(real_data, "5132496")
    assert night.reference is not None
    assert "rem" not in night.reference.stages
    assert not night.simulated
    assert night.start == 0
    assert night.covered.mean() > 0.9
    assert (np.diff(night.heart_rate.times) >= 0).all()


# Partial downloads


SIGNALS = ("heart_rate", "labels", "steps", "summary_csv")


@pytest.mark.parametrize("missing", SIGNALS)
def test_any_one_file_may_be_missing(data: Path, missing: str) -> None:
    subject_files(data, "46343")[missing].unlink()
    night = read_subject(data, "46343")
    have = {
        "heart_rate": len(night.heart_rate) > 0,
        "labels": night.reference is not None,
        "steps": len(night.steps) > 0,
        "summary_csv": len(night.motion) > 0,
    }
    assert [name for name, there in have.items() if not there] == [missing]
    assert night.n_epochs == N_EPOCHS


@pytest.mark.parametrize("only", ["heart_rate", "summary_csv", "motion"])
def test_one_signal_is_a_night(data: Path, only: str) -> None:
    put(data, "motion", raw_motion())
    for name, path in subject_files(data, "46343").items():
        if name != only:
            path.unlink()
    assert read_subject(data, "46343").n_epochs >= N_EPOCHS - 1


@pytest.mark.parametrize("only", ["labels", "steps"])
def test_labels_or_steps_alone_are_read_as_far_as_they_go(data: Path, only: str) -> None:
    for name, path in subject_files(data, "46343").items():
        if name != only:
            path.unlink()
    if only == "labels":
        night = read_subject(data, "46343")
        assert night.n_epochs == N_EPOCHS
        assert not night.covered.any()
    else:
        with pytest.raises(DataError, match=r"subject 46343: .*needs heart rate or motion"):
            read_subject(data, "46343")


# Subjects


def test_subjects_are_listed_by_number(data: Path) -> None:
    put(data, "heart_rate", HEART_RATE, subject="1066528")
    put(data, "motion", raw_motion(), subject="9")
    put(data, "labels", LABELS, subject="759667")
    assert find_subjects(data) == ["9", "46343", "759667", "1066528"]


def test_hidden_and_foreign_files_are_passed_over(data: Path) -> None:
    expected = read_subject(data, "46343")
    for name in (
        "heart_rate/._46343_heartrate.txt",
        "heart_rate/.46344_heartrate.txt",
        "heart_rate/46345_heartrate.txt.part",
        "labels/README.md",
        "motion_15s/.46346_motion_15s.a1b2.parquet",
        ".DS_Store",
    ):
        (data / name).write_bytes(b"\x00\x05\x16\x07")
    assert find_subjects(data) == ["46343"]
    assert same(read_subject(data, "46343"), expected)


def test_an_unknown_subject_is_named_with_those_that_are_there(data: Path) -> None:
    with pytest.raises(DataError, match=r"sleep-accel: no subject '46344'; there are 46343"):
        read_subject(data, "46344")


@pytest.mark.parametrize(
    "make", [Path.mkdir, Path.touch, lambda _: None], ids=["folder", "file", "nothing"]
)
def test_what_is_no_dataset_is_named(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "other"
    make(path)
    with pytest.raises(DataError, match=r"other: not a sleep-accel dataset; expected files in he"):
        find_subjects(path)
    with pytest.raises(DataError, match=r"other: not a sleep-accel dataset"):
        read_subject(path, "46343")


def test_a_folder_in_place_of_a_file_is_named(data: Path) -> None:
    path = subject_files(data, "46343")["heart_rate"]
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match=r"46343_heartrate\.txt"):
        read_subject(data, "46343")


# Broken files


BROKEN = {
    "heart_rate": (
        HEART_RATE,
        ["5", "5,", "5,nan", "inf,60", "5,6O", "1_000,60", "5 60", "5,60,1"],
    ),
    "labels": (LABELS, ["30", "30 wake", "30 nan", "inf 1", "30,1", "1_000 1"]),
    "steps": (STEPS, ["-600", "-600,many", "nan,5", "-600,1_000"]),
    "motion": (raw_motion(), ["1 0 0", "1,0,0,1", "1 0 0 nan", "1 0 0 1 0", "1 0 0 1_0"]),
    "summary_csv": (SUMMARY, ["15,0,0,0", "15,0,0,0,nan", "15;0;0;0;1", "15,0,0,0,1_0", HEADER]),
}


@pytest.mark.parametrize(
    ("name", "line"), [(name, line) for name, (_, bad) in BROKEN.items() for line in bad]
)
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=ascii)
def test_a_broken_line_is_named(data: Path, name: str, line: str, end: str) -> None:
    if name == "motion":
        subject_files(data, "46343")["summary_csv"].unlink()
    lines = BROKEN[name][0]
    path = put(data, name, [*lines[:2], line, *lines[2:]], end=end)
    with pytest.raises(DataError) as caught:
        read_subject(data, "46343")
    table = LAYOUT[name]
    assert str(caught.value).count(f"{path}, line 3: ") == 1
    assert f"expected {len(table.columns)} numbers ({', '.join(table.columns)})" in str(
        caught.value
    )
    assert repr(line) in str(caught.value)


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("lines", [[], [""], ["", ""]], ids=str)
def test_an_empty_file_is_named(data: Path, name: str, lines: list[str]) -> None:
    if name == "motion":
        subject_files(data, "46343")["summary_csv"].unlink()
    path = put(data, name, lines)
    with pytest.raises(DataError) as caught:
        read_subject(data, "46343")
    assert f"{path}: the file is empty; expected lines of" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "lines", "expected"),
    [
        ("heart_rate", ["60,1000", "61,1005", "62,1010"], r"3 of 3 values .*swapped"),
        ("heart_rate", ["0,400", "5,401", "10,60"], r"2 of 3 values lie outside 25 to 240"),
        ("steps", ["0,5", "600,-3"], r"-3 at "),
        ("labels", ["0 0", "31 1"], r"row 2: 31 s is off the 30 s grid"),
        ("labels", ["0 0", "30 1", "44.999 1"], r"row 3: 44\.999 s is off the 30 s grid"),
        ("labels", ["0 30", "1 60", "2 90"], r"row 2: 1 s is off the 30 s grid"),
        ("labels", ["0 0", "30 1", "30 2"], r"the epoch at 30 s is labelled twice"),
        ("labels", ["0 0", "30 1", "30 1"], r"the epoch at 30 s is labelled twice"),
        ("labels", ["0 0", "30 6"], r"unknown stage code 6 at position 1"),
        ("labels", ["0 0", "30 1.5"], r"unknown stage code 1\.5 at position 1"),
        ("labels", ["0 0", "1e300 1"], r"row 2: 1e\+300 s is more than 24 h after"),
        ("labels", ["0 0", "86400 1"], r"row 2: 86400 s is more than 24 h after"),
        ("labels", ["-1e308 0", "1e308 1"], r"is more than 24 h after"),
    ],
    ids=str,
)
def test_values_that_can_not_be_are_refused_by_file(
    data: Path, name: str, lines: list[str], expected: str
) -> None:
    path = put(data, name, lines)
    with pytest.raises(DataError, match=expected) as caught:
        read_subject(data, "46343")
    assert path.name in str(caught.value)


def test_the_longest_night_is_a_day(tmp_path: Path) -> None:
    _, stages = read_labels(put(tmp_path, "labels", ["0 0", f"{86_400 - 30} 1"]))
    assert len(stages) == 2880


def test_raw_motion_in_other_units_is_refused_by_file(raw_data: Path) -> None:
    path = put(raw_data, "motion", [f"{t / 50} 0 0 9.81" for t in range(3000)])
    with pytest.raises(DataError, match=r"must be in g; divide m/s²") as caught:
        read_subject(raw_data, "46343")
    assert path.name in str(caught.value)


@pytest.mark.parametrize(
    "lines",
    [
        SUMMARY[1:],
        [HEADER.replace("t_s,counts", "counts,t_s"), *SUMMARY[1:]],
        ["a,b,c,d,e", *SUMMARY[1:]],
    ],
    ids=["none", "another order", "other names"],
)
def test_a_summary_with_another_header_is_refused(data: Path, lines: list[str]) -> None:
    path = put(data, "summary_csv", lines)
    with pytest.raises(DataError) as caught:
        read_subject(data, "46343")
    assert str(path) in str(caught.value)


def parquet(data: Path, columns: dict[str, Any] | None = None, **metadata: str) -> Path:
    path = put(data, "summary", [])
    rows = [[float(field) for field in line.split(",")] for line in SUMMARY[1:]]
    plain = dict(zip(("t_s", *MOTION_COLUMNS), zip(*rows, strict=True), strict=True))
    pl.DataFrame(columns if columns is not None else plain).write_parquet(path, metadata=metadata)
    return path


@pytest.mark.parametrize(
    "change",
    [
        {"counts": ["many"] * 8},
        {"counts": [None] * 8},
        {"peak_x_g": [float("nan")] * 8},
        {"t_s": [float("inf")] * 8},
        None,
    ],
    ids=str,
)
def test_a_broken_parquet_summary_is_refused_by_file(
    data: Path, change: dict[str, Any] | None
) -> None:
    frame = pl.read_parquet(parquet(data)).to_dict(as_series=False)
    path = parquet(data, {"t_s": [15.0]} if change is None else {**frame, **change})
    with pytest.raises(DataError) as caught:
        read_subject(data, "46343")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"t_s,counts\n", b"PAR1" + bytes(100) + b"PAR1"])
def test_what_is_no_parquet_is_refused_by_file(data: Path, content: bytes) -> None:
    path = put(data, "summary", [])
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"46343_motion_15s\.parquet: .*prepare it again"):
        read_subject(data, "46343")
    assert summary_source(path) is None


@pytest.mark.parametrize("name", ["summary", "summary_csv"])
def test_a_missing_summary_is_named(tmp_path: Path, name: str) -> None:
    path = put(tmp_path, name, [])
    path.unlink()
    with pytest.raises(DataError, match=rf"{path.name}: can't be read \(No such file"):
        LAYOUT["summary"].read(path)


@pytest.mark.parametrize("name", ["a*", "a?", "a[1]"])
def test_signs_in_the_folders_name_mean_nothing(data: Path, name: str) -> None:
    parquet(data)
    other = data.with_name("a1")
    shutil.copytree(data, other)
    for kind in ("heart_rate", "labels"):
        put(other, kind, ["0,99", "30,98"] if kind == "heart_rate" else ["0 3", "30 3"])
    expected = read_subject(data, "46343")
    assert same(read_subject(data.rename(data.with_name(name)), "46343"), expected)


# Raw motion and its summaries


@pytest.mark.parametrize("labels", [LABELS, ["7 0", "37 1", "67 1"], None], ids=str)
def test_raw_motion_and_its_summary_are_the_same_night(
    raw_data: Path, labels: list[str] | None
) -> None:
    path = put(raw_data, "labels", labels or [])
    if labels is None:
        path.unlink()
    raw = read_subject(raw_data, "46343")
    prepare(raw_data)
    beside = read_subject(raw_data, "46343")
    subject_files(raw_data, "46343")["motion"].unlink()
    alone = read_subject(raw_data, "46343")
    assert same(beside, alone)
    assert (alone.start, alone.end) == (raw.start, raw.end)
    assert np.array_equal(alone.motion.times, raw.motion.times)
    assert same(alone, raw)


def test_a_summary_that_was_made_from_the_raw_motion_is_used(raw_data: Path) -> None:
    parquet(raw_data, source=fingerprint(subject_files(raw_data, "46343")["motion"]))
    assert (read_subject(raw_data, "46343").motion.values[:, 0] == 3.07).all()


def test_a_summary_is_used_only_if_it_was_made_from_the_raw_motion(raw_data: Path) -> None:
    expected = read_subject(raw_data, "46343")
    stale = parquet(raw_data, source="0" * 64)
    assert same(read_subject(raw_data, "46343"), expected)
    parquet(raw_data)  # says nothing of its source
    assert same(read_subject(raw_data, "46343"), expected)
    subject_files(raw_data, "46343")["motion"].unlink()
    assert read_subject(raw_data, "46343").motion.values[0, 0] == 3.07
    assert LAYOUT["summary"].read(stale)[:, 0].tolist() == list(range(15, END + 1, 15))


def test_a_csv_summary_is_used_only_if_it_was_made_from_the_raw_motion(raw_data: Path) -> None:
    expected = read_subject(raw_data, "46343")
    for first in ([], ["# source 0123"], ["# something else"]):
        put(raw_data, "summary_csv", [*first, *SUMMARY])
        assert same(read_subject(raw_data, "46343"), expected)


def test_a_fresh_csv_summary_is_used_beside_a_stale_parquet(raw_data: Path) -> None:
    parquet(raw_data, source="0" * 64)
    source = fingerprint(subject_files(raw_data, "46343")["motion"])
    put(raw_data, "summary_csv", [f"# source {source}", *SUMMARY])
    assert (read_subject(raw_data, "46343").motion.values[:, 0] == 3.07).all()


# Where the dataset lies


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder to be in, with nothing around it."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.delenv("SLEEPSTAGE_DATA", raising=False)
    return tmp_path / "project"


def test_places_are_looked_at_in_order(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared, own, named, given = (
        project.parent / "shared" / "sleep-accel",
        project / "data" / "sleep-accel",
        project / "named",
        project / "given",
    )
    for place in (shared, own, named, given):
        place.mkdir(parents=True)
    assert find_data().resolve() == own
    own.rmdir()
    assert find_data().resolve() == shared
    monkeypatch.setenv("SLEEPSTAGE_DATA", str(named))
    assert find_data() == named
    assert find_data(given) == given
    assert find_data(str(given)) == given


def test_an_empty_variable_says_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLEEPSTAGE_DATA", "")
    (project / "data" / "sleep-accel").mkdir(parents=True)
    assert find_data() == Path("data/sleep-accel")


def test_without_a_dataset_it_is_said_where_it_was_looked_for(project: Path) -> None:
    with pytest.raises(DataError) as caught:
        find_data()
    for word in (
        "data/sleep-accel",
        "../shared/sleep-accel",
        "--data",
        "$SLEEPSTAGE_DATA",
        "fetch",
    ):
        assert word in str(caught.value)


@pytest.mark.parametrize("by", ["option", "variable"])
def test_a_place_that_was_named_is_the_only_one(
    project: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    (project / "data" / "sleep-accel").mkdir(parents=True)
    if by == "variable":
        monkeypatch.setenv("SLEEPSTAGE_DATA", "elsewhere")
    with pytest.raises(DataError, match="no dataset at elsewhere;"):
        find_data("elsewhere" if by == "option" else None)
