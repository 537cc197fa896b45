"""Preparing small datasets of raw motion, and what is left when it goes wrong."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from sleepstage._utils.files import fingerprint
from sleepstage.core.motion import MOTION_COLUMNS, summarise_motion
from sleepstage.core.samples import Samples
from sleepstage.errors import DataError
from sleepstage.io.sleep_accel.check import check_dataset
from sleepstage.io.sleep_accel.read import (
    LAYOUT,
    read_subject,
    summary_source,
)
from sleepstage.io.sleep_accel.summarise import PrepareReport, prepare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

SUBJECTS = ("46343", "759667", "1066528")
SECONDS = 120
FULL = OSError(errno.ENOSPC, "No space left on device")


def path_of(directory: Path, name: str, subject: str) -> Path:
    path = directory / LAYOUT[name].folder / f"{subject}{LAYOUT[name].ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def acceleration(seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, SECONDS, SECONDS * 20))
    times = times[(times < 50) | (times > 85)]  # a gap of two windows
    table = np.column_stack([times, rng.normal([0.1, 0.2, 0.97], 0.2, (len(times), 3))])
    rng.shuffle(table)
    return table.round(6)


def put_raw(directory: Path, subject: str, seed: int) -> Path:
    path = path_of(directory, "motion", subject)
    np.savetxt(path, acceleration(seed), "%.6f")
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    directory = tmp_path / "sleep-accel"
    for seed, subject in enumerate(SUBJECTS):
        put_raw(directory, subject, seed)
        beats = "".join(f"{t},{60 + seed}\n" for t in range(0, SECONDS, 5))
        path_of(directory, "heart_rate", subject).write_text(beats)
        labels = "".join(f"{t} 2\n" for t in range(0, SECONDS, 30))
        path_of(directory, "labels", subject).write_text(labels)
        path_of(directory, "steps", subject).write_text("-600,12\n0,0\n")
    return directory


def contents(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def summaries(directory: Path) -> list[Path]:
    return [path_of(directory, "summary", subject) for subject in SUBJECTS]


def as_csv(directory: Path) -> list[Path]:
    """Write the summaries as earlier versions could."""
    written = []
    for path in summaries(directory):
        body = pl.read_parquet(path).write_csv(float_precision=5)
        path.with_suffix(".csv").write_text(f"# source {summary_source(path)}\n{body}")
        written.append(path.with_suffix(".csv"))
    return written


# What is made


def test_a_summary_holds_what_would_be_made_on_the_fly(data: Path) -> None:
    report = prepare(data)
    assert report == PrepareReport(made=tuple(sorted(SUBJECTS)), kept=(), without_motion=())
    for seed, path in enumerate(summaries(data)):
        raw = acceleration(seed)
        expected, _ = summarise_motion(
            Samples.clean(raw[:, 0], raw[:, 1:], name="motion", columns=3)
        )
        frame = pl.read_parquet(path)
        assert frame.columns == ["t_s", *MOTION_COLUMNS]
        assert frame["t_s"].to_list() == [15, 30, 45, 60, 90, 105, 120]
        assert np.array_equal(frame.to_numpy()[:, 0], expected.times)
        assert np.array_equal(frame.to_numpy()[:, 1:], expected.values)


def test_a_summary_says_what_it_was_made_from(data: Path) -> None:
    prepare(data)
    for path in summaries(data):
        subject = path.name.partition("_")[0]
        assert summary_source(path) == fingerprint(path_of(data, "motion", subject))


def test_the_checks_find_no_fault_with_a_summary(data: Path) -> None:
    found = {(one.code, one.file) for one in check_dataset(data).all_findings}
    prepare(data)
    assert {(one.code, one.file) for one in check_dataset(data).all_findings} == found


def test_the_same_nights_are_read_without_the_raw_motion(data: Path) -> None:
    before = [read_subject(data, subject).fingerprint() for subject in SUBJECTS]
    prepare(data)
    for subject in SUBJECTS:
        path_of(data, "motion", subject).unlink()
    assert [read_subject(data, subject).fingerprint() for subject in SUBJECTS] == before


@pytest.mark.parametrize("jobs", [1, 2, None])
def test_the_number_of_jobs_changes_nothing(data: Path, tmp_path: Path, jobs: int | None) -> None:
    other = shutil.copytree(data, tmp_path / "other")
    prepare(data, jobs=1)
    prepare(other, jobs=jobs)
    assert contents(data) == contents(other)


def test_every_night_is_told_of_as_it_is_done(data: Path) -> None:
    told: list[tuple[int, int, str]] = []
    prepare(data, on_progress=lambda *args: told.append(args))
    assert [(done, of) for done, of, _ in told] == [(1, 3), (2, 3), (3, 3)]
    assert {subject for _, _, subject in told} == set(SUBJECTS)


# Again


def test_a_second_run_redoes_nothing(data: Path) -> None:
    prepare(data)
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*.*")}
    report = prepare(data)
    assert report == PrepareReport(made=(), kept=tuple(sorted(SUBJECTS)), without_motion=())
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*.*")} == before


def test_raw_motion_that_changed_is_summarised_anew(data: Path) -> None:
    prepare(data)
    raw = put_raw(data, "759667", seed=9)
    report = prepare(data)
    assert (report.made, report.kept) == (("759667",), ("1066528", "46343"))
    assert summary_source(path_of(data, "summary", "759667")) == fingerprint(raw)


@pytest.mark.parametrize("junk", [b"", b"half a file", b"PAR1"])
def test_a_broken_summary_is_made_anew(data: Path, junk: bytes) -> None:
    path = path_of(data, "summary", "46343")
    path.write_bytes(junk)
    assert "46343" in prepare(data).made
    assert len(LAYOUT["summary"].read(path)) == 7


def test_nights_whose_raw_motion_is_gone_keep_their_summary(data: Path) -> None:
    prepare(data)
    before = contents(data)
    for subject in SUBJECTS[:2]:
        path_of(data, "motion", subject).unlink()
        del before[f"motion/{subject}_acceleration.txt"]
    report = prepare(data)
    assert report == PrepareReport(made=(), kept=("1066528",), without_motion=SUBJECTS[:2])
    assert contents(data) == before


# What earlier versions wrote as CSV


@pytest.mark.parametrize("has_raw_motion", [True, False])
def test_a_summary_in_csv_is_read(data: Path, has_raw_motion: bool) -> None:
    prepare(data)
    expected = [read_subject(data, subject).motion for subject in SUBJECTS]
    paths = as_csv(data)
    for subject, binary in zip(SUBJECTS, summaries(data), strict=True):
        binary.unlink()
        if not has_raw_motion:
            path_of(data, "motion", subject).unlink()
    for subject, path, motion in zip(SUBJECTS, paths, expected, strict=True):
        read = read_subject(data, subject).motion
        assert np.array_equal(read.values, LAYOUT["summary"].read(path)[:, 1:])
        assert not np.array_equal(read.values, motion.values)  # CSV was rounded
        assert read.values == pytest.approx(motion.values, abs=5.1e-6)
        assert np.array_equal(read.times, motion.times)


def test_a_summary_in_csv_is_removed_only_if_raw_motion_has_changed(data: Path) -> None:
    prepare(data)
    paths = as_csv(data)
    for binary in summaries(data):
        binary.unlink()
    put_raw(data, "759667", seed=9)
    assert prepare(data).made == tuple(sorted(SUBJECTS))
    left = [path for path in paths if path.exists()]
    assert left == [path for path in paths if "759667" not in path.name]


# What is not ours


def test_a_table_that_was_not_made_here_is_neither_replaced_nor_removed(data: Path) -> None:
    prepare(data)
    (own := path_of(data, "summary", "46343")).unlink()
    for name in ("summary_csv", "summary"):
        other = path_of(data, name, "46343")
        frame = pl.DataFrame({"t_s": [15.0, 30.0], **dict.fromkeys(MOTION_COLUMNS, 0.5)})
        frame.write_csv(other) if other.suffix == ".csv" else frame.write_parquet(other)
        before = contents(data)
        if name == "summary_csv":
            assert prepare(data).made == ("46343",)
            own.unlink()
        else:
            with pytest.raises(DataError, match=r"46343.* was not made from raw motion by this"):
                prepare(data)
        assert contents(data) == before


# What goes wrong


def test_what_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a sleep-accel dataset"):
        prepare(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_can_not_be_written_to_is_named_once(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = data / "motion_15s"
    folder.write_text("a file where the folder would be")
    monkeypatch.delattr("sleepstage.io.sleep_accel.summarise.summarise_file")
    with pytest.raises(DataError) as caught:
        prepare(data)
    reason = os.strerror(errno.EEXIST)
    assert str(caught.value) == (
        "3 of 3 nights not prepared:\n"
        f"{folder}: summaries can't be written to this folder ({reason}); make it writable, or "
        "copy the dataset to where you can write"
    )


def test_a_folder_of_finished_summaries_need_not_be_writable(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    prepare(data)
    monkeypatch.setattr("sleepstage.io.sleep_accel.summarise.TemporaryFile", refuse)
    assert prepare(data).kept == tuple(sorted(SUBJECTS))
    put_raw(data, "46343", seed=9)
    with pytest.raises(DataError, match=r"motion_15s: .* this folder \(Permission denied\)"):
        prepare(data)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda text: text.replace(" ", ",", 1), "line 1: expected 4 numbers"),
        (lambda text: text + "130 0 0 nan\n", r"line \d+: .* found '130 0 0 nan'"),
        (lambda text: text + "130 0", r"line \d+: .* found '130 0'"),
        (lambda _: "", "the file is empty"),
        (
            lambda _: "".join(f"{t / 50} 0 0 9.81\n" for t in range(1500)),
            "must be in g; divide m/s² by 9",
        ),
    ],
)
def test_one_broken_night_is_named_and_the_others_are_finished(
    data: Path, damage: Callable[[str], str], expected: str
) -> None:
    raw = path_of(data, "motion", "46343")
    raw.write_text(damage(raw.read_text()))
    with pytest.raises(DataError, match=expected) as caught:
        prepare(data)
    assert str(caught.value).startswith(f"1 of 3 nights not prepared:\n{raw}")
    made = {path.name for path in (data / "motion_15s").iterdir()}
    assert made == {"759667_motion_15s.parquet", "1066528_motion_15s.parquet"}


def test_all_broken_nights_are_named(data: Path) -> None:
    for subject in SUBJECTS:
        path_of(data, "motion", subject).write_text("1 0 0\n")
    with pytest.raises(DataError, match=r"^3 of 3 nights not prepared:") as caught:
        prepare(data)
    assert len(str(caught.value).splitlines()) == 4
    assert all(subject in str(caught.value) for subject in SUBJECTS)


def test_a_night_that_broke_later_keeps_its_old_summary(data: Path) -> None:
    prepare(data)
    old = path_of(data, "summary", "46343").read_bytes()
    path_of(data, "motion", "46343").write_text("1 0 0\n")
    with pytest.raises(DataError, match="1 of 3 nights"):
        prepare(data)
    assert path_of(data, "summary", "46343").read_bytes() == old


@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt()], ids=["full", "interrupted"])
def test_a_write_that_fails_leaves_nothing_half_written(
    data: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    prepare(data)
    put_raw(data, "46343", seed=9)
    before = contents(data)

    def fail(*args: Any, **kwargs: Any) -> None:
        args[1].write_bytes(b"half")
        raise error

    monkeypatch.setattr(pl.DataFrame, "write_parquet", fail)
    with pytest.raises(type(error)):
        prepare(data)
    assert contents(data) == before
    monkeypatch.undo()
    assert prepare(data).made == ("46343",)


def test_an_interruption_between_nights_keeps_those_that_are_done(data: Path) -> None:
    def interrupt(done: int, total: int, subject: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(data, jobs=1, on_progress=interrupt)
    left = list((data / "motion_15s").iterdir())
    assert 1 <= len(left) <= len(SUBJECTS)
    assert all(len(LAYOUT["summary"].read(path)) == 7 for path in left)
    assert not any(path.name.startswith(".") for path in left)
    report = prepare(data)
    assert {*report.made, *report.kept} == set(SUBJECTS)
    assert len(report.kept) == len(left)
