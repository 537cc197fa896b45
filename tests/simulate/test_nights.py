"""Simulated nights: are they nights, are they reproducible, and is the written layout right."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sleepstage.core.motion import MOTION_COLUMNS
from sleepstage.core.signals import PLAUSIBLE_BPM
from sleepstage.errors import DataError
from sleepstage.io.sleep_accel.read import SIMULATED_MARKER
from sleepstage.simulate.nights import simulate_night, write_dataset
from sleepstage.stages import EPOCH_SECONDS, Stage

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from sleepstage.core.recording import Recording
    from sleepstage.core.samples import Samples

N_NIGHTS = 40
WAKE, N1, N2, N3, REM = range(5)  # codes of the five-class scheme


@pytest.fixture(scope="module")
def nights() -> list[Recording]:
    return [simulate_night(seed) for seed in range(N_NIGHTS)]


def codes(night: Recording) -> NDArray[np.int8]:
    assert night.reference is not None
    return night.reference.codes


def in_stage(night: Recording, signal: Samples, stage: int, *, shift: float = 0.0) -> Any:
    """Values of a night's signal in the epochs of a stage; `shift` for stamps at window ends."""
    signal = signal.between(night.start, night.end)
    epoch = ((signal.times - shift) // EPOCH_SECONDS).astype(int)
    return signal.values[codes(night)[epoch] == stage]


def bpm(night: Recording, stage: int) -> Any:
    return in_stage(night, night.heart_rate, stage)


def counts(night: Recording, stage: int) -> Any:
    return in_stage(night, night.motion, stage, shift=1.0)[:, 0]


def same(one: Recording, other: Recording) -> bool:
    return np.array_equal(codes(one), codes(other)) and all(
        np.array_equal(a.times, b.times) and np.array_equal(a.values, b.values)
        for a, b in zip(signals(one), signals(other), strict=True)
    )


def signals(night: Recording) -> tuple[Samples, Samples, Samples]:
    return night.heart_rate, night.motion, night.steps


# A night as a whole


def test_stage_shares_are_those_of_laboratory_nights(nights: list[Recording]) -> None:
    shares = np.mean([np.bincount(codes(night), minlength=5) for night in nights], axis=0) / 960
    assert shares[WAKE] == pytest.approx(0.09, abs=0.03)
    assert shares[N1] + shares[N2] == pytest.approx(0.55, abs=0.05)
    assert shares[N1] == pytest.approx(0.07, abs=0.04)
    assert shares[N3] == pytest.approx(0.14, abs=0.04)
    assert shares[REM] == pytest.approx(0.22, abs=0.04)


def test_every_night_has_every_stage_and_differs_from_the_next(nights: list[Recording]) -> None:
    shares = np.array([np.bincount(codes(night), minlength=5) for night in nights]) / 960
    assert (shares > 0).all()
    assert (shares.std(axis=0) > 0.01).all()


def test_deep_sleep_comes_early_and_rem_late(nights: list[Recording]) -> None:
    thirds = np.array([codes(night).reshape(3, -1) for night in nights])
    deep = (thirds == N3).mean(axis=2)
    rem = (thirds == REM).mean(axis=2)
    assert (deep[:, 0] > deep[:, 2]).mean() > 0.9
    assert (rem[:, 0] < rem[:, 2]).mean() > 0.9


def test_first_rem_follows_after_a_cycle(nights: list[Recording]) -> None:
    latency = []
    for night in nights:
        asleep, rem = (np.argmax(stage) for stage in (codes(night) != WAKE, codes(night) == REM))
        latency.append((rem - asleep) * EPOCH_SECONDS / 60)
    assert np.mean(np.array(latency) > 40) > 0.9
    assert 60 < np.median(latency) < 130


def test_sleep_has_bouts_and_brief_wakings(nights: list[Recording]) -> None:
    lengths: dict[int, list[int]] = {}
    for night in nights:
        for bout in np.split(codes(night), np.flatnonzero(np.diff(codes(night))) + 1):
            lengths.setdefault(int(bout[0]), []).append(len(bout))
    assert 5 < len(lengths[WAKE]) / N_NIGHTS < 40
    assert np.median(lengths[WAKE]) <= 2  # most wakings are short, some are long
    assert max(lengths[WAKE]) > 20
    assert np.mean(lengths[N1]) < np.mean(lengths[N2])


# Heart rate


def test_heart_rate_is_plausible_whole_numbers_and_people_differ(nights: list[Recording]) -> None:
    for night in nights:
        values = night.heart_rate.values
        assert values.min() >= PLAUSIBLE_BPM[0]
        assert values.max() < 170
        np.testing.assert_array_equal(values, np.round(values))
    medians = [np.median(night.heart_rate.between(0, night.end).values) for night in nights]
    assert min(medians) > 40
    assert max(medians) < 95
    assert np.std(medians) > 4


def test_heart_rate_follows_stages(nights: list[Recording]) -> None:
    level = {stage: np.mean([bpm(n, stage).mean() for n in nights]) for stage in range(5)}
    assert level[WAKE] > level[N3] + 2
    assert level[REM] > level[N2] + 1
    restless = {
        stage: np.mean([np.abs(np.diff(bpm(n, stage))).mean() for n in nights])
        for stage in range(5)
    }
    assert restless[REM] > 1.5 * restless[N3]
    assert restless[WAKE] > 1.5 * restless[N3]
    spread = {stage: np.mean([bpm(n, stage).std() for n in nights]) for stage in range(5)}
    assert spread[REM] > spread[N3]
    assert spread[WAKE] > spread[N3]


def test_heart_rate_rises_at_movements(nights: list[Recording]) -> None:
    rises = []
    for night in nights:
        for end in night.motion.times[night.motion.values[:, 0] > 100]:
            before = night.heart_rate.between(end - 120, end - 30).values
            after = night.heart_rate.between(end - 10, end + 20).values
            if len(before) and len(after):
                rises.append(after.mean() - before.mean())
    assert np.mean(rises) > 3


def test_heart_rate_is_sampled_every_5_s_with_gaps(nights: list[Recording]) -> None:
    longest = []
    for night in nights:
        intervals = np.diff(night.heart_rate.between(0, night.end).times)
        assert np.median(intervals) == pytest.approx(5, abs=0.1)
        assert len(np.unique(np.round(intervals, 3))) > 3
        longest.append(intervals.max())
    assert min(longest) > 30
    assert 0 < np.mean(np.array(longest) > 290) < 0.4


# Motion and steps


def test_wrist_moves_most_in_wake_and_is_mostly_still(nights: list[Recording]) -> None:
    moving = {
        stage: np.mean([(counts(night, stage) > 0).mean() for night in nights])
        for stage in range(5)
    }
    assert moving[WAKE] > 0.15
    assert moving[WAKE] > 2 * moving[N1] > 4 * moving[N2]
    assert moving[REM] > moving[N3]
    level = [np.mean([counts(night, stage).mean() for night in nights]) for stage in range(5)]
    assert level[WAKE] > 10 * level[N3]
    overall = np.mean([(night.motion.values[:, 0] == 0).mean() for night in nights])
    assert 0.9 < overall < 0.99


def test_peaks_have_the_length_of_gravity_and_posture_changes(nights: list[Recording]) -> None:
    for night in nights:
        peaks = night.motion.values[:, 1:]
        still = night.motion.values[:, 0] == 0
        assert np.median(np.linalg.norm(peaks[still], axis=1)) == pytest.approx(1, abs=0.02)
        assert (peaks >= 0).all()
        assert np.ptp(peaks[still], axis=0).max() > 0.2


def test_some_nights_have_lost_motion(nights: list[Recording]) -> None:
    n_windows = np.array([len(night.motion) for night in nights])
    assert 0 < (n_windows < 1920).mean() < 0.3


def test_steps_are_of_the_day_before(nights: list[Recording]) -> None:
    totals = []
    for night in nights:
        assert set(np.diff(night.steps.times)) == {600.0}
        assert night.steps.times[0] >= -86_400
        assert (night.steps.between(0, night.end + 1).values == 0).all()
        totals.append(night.steps.values.sum())
    assert 4000 < np.median(totals) < 12_000


def test_history_is_sparse_and_faster_than_sleep(nights: list[Recording]) -> None:
    for night in nights:
        history = night.heart_rate.between(-90_000, 0)
        assert history.times[0] < -85_000
        assert np.median(np.diff(history.times)) == pytest.approx(300, abs=40)
    by_day = [night.heart_rate.between(-50_000, 0).values.mean() for night in nights]
    by_night = [night.heart_rate.between(0, night.end).values.mean() for night in nights]
    assert np.mean(by_day) > np.mean(by_night) + 5


# The interface


def test_recording_says_what_it_is() -> None:
    night = simulate_night(7, hours=1)
    assert night.simulated
    assert night.reference is not None
    assert night.reference.simulated
    assert (night.subject, night.start, night.end) == ("simulated-0007", 0.0, 3600.0)
    assert simulate_night(7, hours=1, subject="someone").subject == "someone"


def test_same_seed_same_night() -> None:
    assert same(simulate_night(3, hours=2), simulate_night(3, hours=2))
    assert not same(simulate_night(3, hours=2), simulate_night(4, hours=2))


@given(seed=st.integers(0, 2**63), hours=st.floats(0.51, 12))
@settings(max_examples=60, deadline=None)
def test_any_seed_and_length_make_a_night(seed: int, hours: float) -> None:
    night = simulate_night(seed, hours=hours)
    assert night.n_epochs == len(codes(night)) == int(hours * 120)
    assert (codes(night) >= 0).all()
    assert night.covered.any()
    assert night.motion.times[-1] <= night.end
    for signal in signals(night):
        assert np.isfinite(signal.values).all()
        assert (np.diff(signal.times) > 0).all()


@pytest.mark.parametrize("hours", [-1.0, 0.0, 0.5, 25.0, float("nan"), float("inf")])
def test_hours_out_of_range(hours: float) -> None:
    with pytest.raises(DataError, match=r"hours: expected more than 0\.5 and at most 24"):
        simulate_night(0, hours=hours)


def test_negative_seed() -> None:
    with pytest.raises(DataError, match="seed is -1"):
        simulate_night(-1)


# Raw acceleration


@pytest.fixture(scope="module")
def raw_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory: Path = tmp_path_factory.mktemp("raw")
    write_dataset(directory, 1, seed=5, hours=0.6, raw_motion=True)
    return directory


def test_raw_motion_has_the_rate_and_length_of_a_watch(raw_folder: Path) -> None:
    table = np.loadtxt(raw_folder / "motion/900001_acceleration.txt")
    intervals = np.diff(table[:, 0])
    assert 1 / intervals.mean() == pytest.approx(50, abs=0.5)
    assert intervals.min() > 0
    assert intervals.std() > 0.001
    lengths = np.linalg.norm(table[:, 1:], axis=1)
    assert np.median(lengths) == pytest.approx(1, abs=0.01)
    assert not (raw_folder / "motion_15s").exists()


@pytest.mark.parametrize("seed", [5, 8])
def test_raw_and_summarised_motion_are_of_the_same_movements(seed: int) -> None:
    summaries = simulate_night(seed, hours=1.5)
    raw = simulate_night(seed, hours=1.5, raw_motion=True)
    np.testing.assert_array_equal(raw.heart_rate.values, summaries.heart_rate.values)
    np.testing.assert_array_equal(codes(raw), codes(summaries))
    np.testing.assert_array_equal(raw.motion.times, summaries.motion.times)
    moving = summaries.motion.values[:, 0] > 30
    assert moving.any()
    assert (raw.motion.values[moving, 0] > 0).all()
    agreement = np.corrcoef(raw.motion.values[:, 0], summaries.motion.values[:, 0])[0, 1]
    assert agreement > 0.95
    apart = np.abs(raw.motion.values[:, 1:] - summaries.motion.values[:, 1:])
    assert np.median(apart) < 0.002


# The written dataset


def test_written_files_hold_what_the_recording_holds(tmp_path: Path) -> None:
    progress: list[tuple[int, int, str]] = []
    subjects = write_dataset(
        tmp_path, 2, seed=9, hours=3, on_progress=lambda *step: progress.append(step)
    )
    assert subjects == ["900001", "900002"]
    assert progress == [(1, 2, "900001"), (2, 2, "900002")]
    night = simulate_night(9, hours=3)
    beats = np.loadtxt(tmp_path / "heart_rate/900001_heartrate.txt", delimiter=",")
    np.testing.assert_array_equal(beats[:, 0], night.heart_rate.times)
    np.testing.assert_array_equal(beats[:, 1], night.heart_rate.values)
    labels = np.loadtxt(tmp_path / "labels/900001_labeled_sleep.txt")
    np.testing.assert_array_equal(labels[:, 0], np.arange(360) * 30.0)
    stages = np.array([Stage.WAKE, Stage.N1, Stage.N2, Stage.N3, Stage.REM])
    np.testing.assert_array_equal(labels[:, 1], stages[codes(night)])
    steps = np.loadtxt(tmp_path / "steps/900001_steps.txt", delimiter=",")
    np.testing.assert_array_equal(steps[:, 0] + 600, night.steps.times)
    np.testing.assert_array_equal(steps[:, 1], night.steps.values)
    motion_file = tmp_path / "motion_15s/900001_motion_15s.csv"
    assert motion_file.read_text().splitlines()[0] == ",".join(("t_s", *MOTION_COLUMNS))
    motion = np.loadtxt(motion_file, delimiter=",", skiprows=1)
    np.testing.assert_array_equal(motion[:, 0], night.motion.times)
    np.testing.assert_array_equal(motion[:, 1:], night.motion.values)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("heart_rate/900001_heartrate.txt", r"-?\d+\.\d{5},\d+"),
        ("labels/900001_labeled_sleep.txt", r"\d+ [01235]"),
        ("steps/900001_steps.txt", r"-?\d+,\d+"),
        ("motion/900001_acceleration.txt", r"\d+\.\d{6}( -?\d+\.\d{6}){3}"),
    ],
)
def test_numbers_are_written_as_in_the_originals(raw_folder: Path, path: str, line: str) -> None:
    lines = (raw_folder / path).read_text().splitlines()
    assert lines
    for text in lines[::50]:
        assert re.fullmatch(line, text), text


def test_folder_says_that_it_is_simulated(raw_folder: Path) -> None:
    assert "simulated" in (raw_folder / SIMULATED_MARKER).read_text()


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    def hashes(folder: str, seed: int) -> dict[str, str]:
        write_dataset(tmp_path / folder, 2, seed=seed, hours=1)
        return {
            str(path.relative_to(tmp_path / folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((tmp_path / folder).rglob("*"))
            if path.is_file()
        }

    first, again, other = hashes("a", 1), hashes("b", 1), hashes("c", 2)
    assert len(first) == 2 * 4 + 1
    assert first == again
    assert len(set(first.values())) == len(first)
    assert {name for name in first if first[name] == other[name]} == {SIMULATED_MARKER}


def test_more_nights_leave_the_first_ones_as_they_were(tmp_path: Path) -> None:
    write_dataset(tmp_path / "one", 1, hours=1)
    write_dataset(tmp_path / "two", 2, hours=1)
    name = "heart_rate/900001_heartrate.txt"
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_writing_again_leaves_one_kind_of_motion(tmp_path: Path) -> None:
    for raw_motion, kind in ((False, "motion_15s"), (True, "motion"), (False, "motion_15s")):
        write_dataset(tmp_path, 1, hours=0.6, raw_motion=raw_motion)
        assert [path.parent.name for path in tmp_path.glob("motion*/*")] == [kind]


def test_no_night_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="n_subjects is 0"):
        write_dataset(tmp_path, 0)
    with pytest.raises(DataError, match="hours"):
        write_dataset(tmp_path, 1, hours=0.5)
    assert not list(tmp_path.iterdir())


def test_measured_nights_are_not_mixed_with_simulated_ones(tmp_path: Path) -> None:
    (tmp_path / "heart_rate").mkdir()
    with pytest.raises(DataError, match="not marked as simulated"):
        write_dataset(tmp_path, 1, hours=1)
    assert not (tmp_path / SIMULATED_MARKER).exists()


@pytest.mark.parametrize("folder", ["heart_rate", "labels", "motion", "steps", "motion_15s"])
def test_a_folder_with_any_real_signal_is_refused(tmp_path: Path, folder: str) -> None:
    file = tmp_path / folder / "900001_acceleration.txt"
    file.parent.mkdir()
    file.write_text("measured")
    with pytest.raises(DataError, match="not marked as simulated"):
        write_dataset(tmp_path, 1, hours=1)
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == [file]
