"""Simulated days: waking life, naps and a watch that is not worn, around the same night."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sleepstage.errors import DataError
from sleepstage.io.sleep_accel.read import read_subject
from sleepstage.simulate.nights import simulate_night, write_dataset
from sleepstage.simulate.waking import Day
from sleepstage.stages import UNSCORED

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from sleepstage.core.recording import Recording
    from sleepstage.core.samples import Samples

HOUR = 3600
AROUND = Day(before=4, after=2)
WAKE = 0


@cache
def day(seed: int = 3, **around: object) -> Recording:
    return simulate_night(seed, AROUND._replace(**around), hours=6)  # type: ignore[arg-type]


def codes(recording: Recording, first: float, last: float) -> NDArray[np.int8]:
    """Scored from and to these hours since lights off."""
    assert recording.reference is not None
    start = recording.start / HOUR
    return recording.reference.codes[round((first - start) * 120) : round((last - start) * 120)]


def assert_same(one: Samples, other: Samples) -> None:
    np.testing.assert_array_equal(one.times, other.times)
    np.testing.assert_array_equal(one.values, other.values)


def assert_same_recording(one: Recording, other: Recording) -> None:
    assert one.fingerprint() == other.fingerprint()


def test_no_day_is_the_night_alone() -> None:
    assert_same_recording(simulate_night(3, Day(), hours=2), simulate_night(3, hours=2))


def test_same_seed_same_day_and_another_seed_another() -> None:
    assert_same_recording(day(nap=True), day.__wrapped__(nap=True))
    assert day(4).fingerprint() != day().fingerprint()


def test_the_night_is_the_same_whatever_is_around_it() -> None:
    night, whole = simulate_night(3, hours=6), day(nap=True)
    assert (whole.start, whole.end) == (-4 * HOUR, 8 * HOUR)
    assert_same(whole.heart_rate.between(0, night.end), night.heart_rate.between(0, night.end))
    inside = whole.motion.between(0, night.end, window_ends=True)
    assert_same(inside, night.motion)
    assert night.reference is not None
    np.testing.assert_array_equal(codes(whole, 0, 6), night.reference.codes)
    before = whole.heart_rate.between(-np.inf, whole.start)
    assert_same(before, night.heart_rate.between(-np.inf, whole.start))
    assert_same(day().steps.between(-np.inf, night.end), night.steps)


def test_up_and_about_is_wake_with_dense_signals() -> None:
    for seed in range(8):
        whole = day(seed)
        for first, last in ((-4, 0), (6, 8)):
            assert (codes(whole, first, last) == WAKE).all()
            seconds = (last - first) * HOUR
            motion = whole.motion.between(first * HOUR, last * HOUR, window_ends=True)
            assert len(motion) == seconds / 15
            beats = whole.heart_rate.between(first * HOUR, last * HOUR)
            assert len(beats) == pytest.approx(seconds / 5, rel=0.05)
            assert np.diff(beats.times).max() < 10
        assert (np.diff(whole.heart_rate.times) > 0).all()
        assert (np.diff(whole.motion.times) > 0).all()


def test_the_wrist_moves_more_than_in_the_night_and_the_heart_is_faster() -> None:
    shares, level = [], []
    for seed in range(12):
        whole = day(seed)
        stretches = ((-4 * HOUR, 0), (0, 6 * HOUR), (6 * HOUR, 8 * HOUR))
        motion = [whole.motion.between(*each, window_ends=True).values for each in stretches]
        shares.append([(values[:, 0] > 0).mean() for values in motion])
        level.append([whole.heart_rate.between(*each).values.mean() for each in stretches])
    evening, night, morning = np.mean(shares, axis=0)
    assert 0.25 < evening < 0.5
    assert 0.25 < morning < 0.5
    assert night < 0.1
    assert np.mean(level, axis=0)[[0, 2]] == pytest.approx(np.mean(level, axis=0)[1] + 12, abs=6)


def test_steps_go_on_in_the_morning_on_their_grid() -> None:
    for seed in range(5):
        whole = day(seed)
        assert set(np.diff(whole.steps.times)) == {600.0}
        assert whole.end - 600 < whole.steps.times[-1] <= whole.end
    assert sum(day(s).steps.between(6 * HOUR, 8 * HOUR).values.sum() for s in range(8)) > 1000


def test_a_nap_has_sleep_in_the_middle_of_the_hours_before_and_no_steps() -> None:
    for seed in range(10):
        whole, without = day(seed, nap=True), day(seed)
        asleep = np.flatnonzero(codes(whole, -4, 0) != WAKE)
        assert len(asleep) > 0
        begin, end = (-4 * HOUR + 30 * at for at in (asleep[0], asleep[-1] + 1))
        assert -3 * HOUR < begin < end < -1 * HOUR
        assert (whole.steps.between(begin + 1, end).values == 0).all()
        np.testing.assert_array_equal(whole.steps.times, without.steps.times)
    still = [
        (day(s, nap=True).motion.between(-2.25 * HOUR, -1.75 * HOUR).values[:, 0] > 0).mean()
        for s in range(10)
    ]
    assert np.mean(still) < 0.15


def test_off_the_wrist_lies_still_without_heart_rate_and_is_not_scored() -> None:
    whole = day(off_wrist=((-3, -2), (2, 2.5)))
    for first, last in ((-3, -2), (2, 2.5)):
        begin, end = first * HOUR, last * HOUR
        assert (codes(whole, first, last) == UNSCORED).all()
        assert len(whole.heart_rate.between(begin, end)) == 0
        assert len(whole.steps.between(begin + 1, end)) == 0
        motion = whole.motion.between(begin, end, window_ends=True)
        assert len(motion) == (end - begin) / 15
        assert len(np.unique(motion.values, axis=0)) == 1
        assert motion.values[0, 0] == 0
        assert np.linalg.norm(motion.values[0, 1:]) == pytest.approx(1, abs=0.01)
    assert (codes(whole, -2, 0) == WAKE).all()
    assert (codes(whole, 2.5, 6) != UNSCORED).all()


def test_no_data_is_no_sample_at_all_and_scored_all_the_same() -> None:
    whole, without = day(no_data=((-1, 1),)), day()
    assert not whole.covered[3 * 120 : 5 * 120].any()
    assert len(whole.steps.between(-HOUR + 1, HOUR)) == 0
    assert len(whole.motion.between(-HOUR, HOUR, window_ends=True)) == 0
    np.testing.assert_array_equal(codes(whole, -4, 8), codes(without, -4, 8))
    assert_same(
        whole.heart_rate.between(-np.inf, -HOUR), without.heart_rate.between(-np.inf, -HOUR)
    )


def test_written_days_hold_what_the_recording_holds(tmp_path: Path) -> None:
    around = Day(before=3.5, after=0.5, nap=True, off_wrist=((-1, -0.5),))
    write_dataset(tmp_path, 1, seed=5, hours=2, day=around)
    written = read_subject(tmp_path, "900001")
    made = simulate_night(5, around, hours=2, subject="900001")
    assert (written.start, written.end) == (made.start, made.end) == (-3.5 * HOUR, 2.5 * HOUR)
    np.testing.assert_array_equal(codes(written, -3.5, 2.5), codes(made, -3.5, 2.5))
    for name in ("heart_rate", "motion", "steps"):
        one, other = getattr(written, name), getattr(made, name)
        np.testing.assert_allclose(one.times, other.times, atol=1e-5, rtol=0)
        np.testing.assert_array_equal(one.values, other.values)


@pytest.mark.parametrize(
    ("around", "fault"),
    [
        (Day(before=-1), "expected 0 or more hours each, and 24 with the night"),
        (Day(after=-1), "expected 0 or more hours each"),
        (Day(before=float("nan")), "expected 0 or more hours each"),
        (Day(before=12, after=7), "24 with the night"),
        (Day(before=2, nap=True), "before=2.*a nap needs 3 or more hours before lights off"),
        (Day(before=2, off_wrist=((-3, -1),)), "expected -3 to -1 in order and between -2 and 6"),
        (Day(no_data=((2, 1),)), "expected 2 to 1 in order and between 0 and 6"),
    ],
)
def test_days_that_cannot_be(around: Day, fault: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=fault):
        simulate_night(0, around, hours=6)
    with pytest.raises(DataError, match=fault):
        write_dataset(tmp_path, 1, hours=6, day=around)
    assert not list(tmp_path.iterdir())


def test_days_have_no_raw_motion() -> None:
    with pytest.raises(DataError, match="raw motion is simulated for nights only"):
        simulate_night(0, Day(before=1), hours=1, raw_motion=True)
