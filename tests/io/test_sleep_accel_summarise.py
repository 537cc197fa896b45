"""Preparing small datasets of raw motion, and what is left when it goes wrong."""

from __future__ import annotations

import errno
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
    SIMULATED_MARKER,
    find_subjects,
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


def summaries(directory: Path, name: str = "summary") -> list[Path]:
    return [path_of(directory, name, subject) for subject in SUBJECTS]


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


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_a_summary_says_what_it_was_made_from(data: Path, form: Any) -> None:
    prepare(data, form=form)
    for path in summaries(data, "summary" if form == "parquet" else "summary_csv"):
        subject = path.name.partition("_")[0]
        assert summary_source(path) == fingerprint(path_of(data, "motion", subject))


def test_csv_holds_the_same_numbers_to_five_places(data: Path) -> None:
    prepare(data, form="csv")
    prepare(data, form="parquet")
    for text, binary in zip(summaries(data, "summary_csv"), summaries(data), strict=True):
        lines = text.read_text().splitlines()
        assert lines[0].startswith("# source ")
        assert lines[1] == "t_s,counts,peak_x_g,peak_y_g,peak_z_g"
        assert LAYOUT["summary"].read(text) == pytest.approx(
            LAYOUT["summary"].read(binary), abs=5.1e-6
        )


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_the_checks_find_no_fault_with_a_summary(data: Path, form: Any) -> None:
    found = {(one.code, one.file) for one in check_dataset(data).all_findings}
    prepare(data, form=form)
    assert {(one.code, one.file) for one in check_dataset(data).all_findings} == found


def test_the_same_nights_are_read_without_the_raw_motion(data: Path) -> None:
    before = [read_subject(data, subject).fingerprint() for subject in SUBJECTS]
    prepare(data)
    for subject in SUBJECTS:
        path_of(data, "motion", subject).unlink()
    assert [read_subject(data, subject).fingerprint() for subject in SUBJECTS] == before


@pytest.mark.parametrize("jobs", [1, 2, None])
def test_the_number_of_jobs_changes_nothing(data: Path, tmp_path: Path, jobs: int | None) -> None:
    prepare(data, tmp_path / "one", jobs=1)
    prepare(data, tmp_path / "many", jobs=jobs)
    assert contents(tmp_path / "one") == contents(tmp_path / "many")


def test_every_night_is_told_of_as_it_is_done(data: Path) -> None:
    told: list[tuple[int, int, str]] = []
    prepare(data, on_progress=lambda *args: told.append(args))
    assert [(done, of) for done, of, _ in told] == [(1, 3), (2, 3), (3, 3)]
    assert {subject for _, _, subject in told} == set(SUBJECTS)


# Again


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_a_second_run_redoes_nothing(data: Path, form: Any) -> None:
    prepare(data, form=form)
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*.*")}
    report = prepare(data, form=form)
    assert report == PrepareReport(made=(), kept=tuple(sorted(SUBJECTS)), without_motion=())
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*.*")} == before


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_raw_motion_that_changed_is_summarised_anew(data: Path, form: Any) -> None:
    prepare(data, form=form)
    raw = put_raw(data, "759667", seed=9)
    report = prepare(data, form=form)
    assert (report.made, report.kept) == (("759667",), ("1066528", "46343"))
    kind = "summary" if form == "parquet" else "summary_csv"
    assert summary_source(path_of(data, kind, "759667")) == fingerprint(raw)


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


# To another folder


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_another_folder_becomes_a_dataset_of_its_own(data: Path, tmp_path: Path, form: Any) -> None:
    (data / SIMULATED_MARKER).write_text("simulated")
    before = contents(data)
    out = tmp_path / "new" / "prepared"
    prepare(data, out, form=form)
    assert contents(data) == before
    assert find_subjects(out) == find_subjects(data)
    assert not (out / "motion").exists()
    for subject in SUBJECTS:
        prepared, whole = read_subject(out, subject), read_subject(data, subject)
        assert prepared.simulated
        assert prepared.motion.values == pytest.approx(whole.motion.values, abs=1e-5)
        assert np.array_equal(prepared.heart_rate.values, whole.heart_rate.values)
        assert np.array_equal(prepared.steps.times, whole.steps.times)
        assert prepared.reference is not None
        assert prepared.reference.stages.tolist() == ["n2"] * 4


def test_nights_prepared_before_come_along_to_another_folder(data: Path, tmp_path: Path) -> None:
    prepare(data)
    expected = read_subject(data, "46343").fingerprint()
    path_of(data, "motion", "46343").unlink()
    prepare(data, tmp_path / "out")
    assert read_subject(tmp_path / "out", "46343").fingerprint() == expected


def test_the_folder_itself_under_another_name_is_no_other_folder(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data.parent)
    before = set(contents(data))
    prepare(data, "sleep-accel/../sleep-accel")
    assert set(contents(data)) - before == {
        f"motion_15s/{subject}_motion_15s.parquet" for subject in SUBJECTS
    }


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


def test_another_dataset_is_not_written_over(data: Path, tmp_path: Path) -> None:
    path = path_of(tmp_path / "other", "heart_rate", "46343")
    path.write_text("0,50\n30,51\n")
    before = contents(tmp_path / "other")
    with pytest.raises(
        DataError, match=r"46343_heartrate\.txt differs from .*: remove it if it is"
    ):
        prepare(data, tmp_path / "other")
    (data / SIMULATED_MARKER).write_text("simulated")
    with pytest.raises(DataError, match="is simulated: name an empty folder with --out"):
        prepare(data, tmp_path / "other")
    assert contents(tmp_path / "other") == before


# What goes wrong


def test_what_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a sleep-accel dataset"):
        prepare(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


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


@pytest.mark.parametrize("form", ["parquet", "csv"])
@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt()], ids=["full", "interrupted"])
def test_a_write_that_fails_leaves_nothing_half_written(
    data: Path, monkeypatch: pytest.MonkeyPatch, form: Any, error: BaseException
) -> None:
    prepare(data, form=form)
    put_raw(data, "46343", seed=9)
    before = contents(data)

    def fail(*args: Any, **kwargs: Any) -> None:
        temporary = args[0] if form == "csv" else args[1]
        temporary.write_bytes(b"half")
        raise error

    if form == "csv":
        monkeypatch.setattr("pathlib.Path.write_text", fail)
    else:
        monkeypatch.setattr(pl.DataFrame, "write_parquet", fail)
    with pytest.raises(type(error)):
        prepare(data, form=form)
    assert contents(data) == before
    monkeypatch.undo()
    assert prepare(data, form=form).made == ("46343",)


@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt()], ids=["full", "interrupted"])
def test_a_copy_that_fails_leaves_nothing_half_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise error

    (data / SIMULATED_MARKER).write_text("simulated")
    monkeypatch.setattr("shutil.copyfile", fail)
    with pytest.raises(type(error)):
        prepare(data, tmp_path / "out")
    assert contents(tmp_path / "out") == {}


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
