"""Signals of waking life: do they move as they should, and follow what was measured."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sleepstage.core.samples import Samples
from sleepstage.core.signals import PLAUSIBLE_BPM
from sleepstage.simulate.nights import simulate_night
from sleepstage.simulate.waking import waking_heart_rate, waking_motion

HOUR = 3600.0
EVENING = -4 * HOUR
NO_STEPS = Samples.empty()


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def moving(motion: Samples) -> float:
    """Share of windows with a count."""
    return float((motion.values[:, 0] > 0).mean())


def test_a_third_of_the_windows_has_a_count_and_people_differ() -> None:
    shares = [
        moving(waking_motion(generator(seed), EVENING, 0, simulate_night(seed, hours=1).steps))
        for seed in range(60)
    ]
    assert 0.28 < np.mean(shares) < 0.45
    assert np.std(shares) > 0.05
    assert min(shares) > 0.05


def test_hands_are_quiet_for_a_while_and_then_busy() -> None:
    drawn = [waking_motion(generator(seed), 0, 10 * HOUR, NO_STEPS) for seed in range(20)]
    minutes = np.stack([(one.values[:, 0] > 0).reshape(-1, 20).mean(axis=1) for one in drawn])
    assert (minutes < 0.1).mean() > 0.05
    assert (minutes > 0.6).mean() > 0.1
    assert np.mean([np.corrcoef(one[1:], one[:-1])[0, 1] for one in minutes]) > 0.4


def test_walking_is_where_the_steps_are_and_takes_as_long() -> None:
    steps = Samples(np.array([600.0, 1200, 1800, 1860]), np.array([0.0, 1000, 0, 90]))
    shares, strong = [], []
    for seed in range(40):
        motion = waking_motion(generator(seed), 0, 2400, steps)
        shares.append([moving(motion.between(t, t + 600, window_ends=True)) for t in (0, 600)])
        strong.append(motion.values[124:, 0].max() / max(1, motion.values[120:124, 0].mean()))
        assert moving(motion.between(600, 1200, window_ends=True)) > 0.9
        assert moving(motion.between(1800, 1860, window_ends=True)) > 0.7
    assert np.mean(shares, axis=0)[0] < 0.5
    assert np.median(strong) < 1


def test_a_walk_that_the_stretch_cuts_stays_in_it() -> None:
    steps = Samples(np.array([300.0, 1200.0]), np.array([1000.0, 1000.0]))
    motion = waking_motion(generator(1), 0, 900, steps)
    assert moving(motion.between(0, 300, window_ends=True)) > 0.9
    assert moving(motion.between(720, 900, window_ends=True)) > 0.9
    np.testing.assert_array_equal(motion.times, 15 * np.arange(1, 61))


def test_the_wrist_lies_anew_after_strong_movements_and_weighs_one_g() -> None:
    motion = waking_motion(generator(3), 0, 8 * HOUR, NO_STEPS)
    still = motion.values[motion.values[:, 0] == 0, 1:]
    assert np.median(np.linalg.norm(still, axis=1)) == pytest.approx(1, abs=0.02)
    assert np.ptp(still, axis=0).min() > 0.5


def test_heart_rate_follows_the_rare_ones_and_changes_between_them() -> None:
    measured = Samples(np.array([-5 * HOUR, -2 * HOUR, 600]), np.array([60.0, 100.0, 70.0]))
    drawn = [waking_heart_rate(generator(seed), EVENING, 0, measured) for seed in range(30)]
    for one in drawn:
        assert np.diff(one.times).max() < 10
        assert np.median(np.diff(one.times)) == pytest.approx(5, abs=1)
        np.testing.assert_array_equal(one.values, one.values.round())
    line = [one.values - np.interp(one.times, measured.times, measured.values) for one in drawn]
    assert np.mean(np.concatenate(line)) == pytest.approx(0, abs=0.3)
    assert np.std(np.concatenate(line)) == pytest.approx(np.hypot(3, 2), abs=0.4)
    assert np.mean([np.abs(np.diff(one.values)).mean() for one in drawn]) < 2


def test_heart_rate_stays_plausible() -> None:
    low = waking_heart_rate(generator(0), 0, HOUR, Samples(np.zeros(1), np.array([31.0])))
    assert low.values.min() >= PLAUSIBLE_BPM[0]


def test_nothing_measured_no_heart_rate() -> None:
    assert len(waking_heart_rate(generator(0), 0, HOUR, Samples.empty())) == 0


@given(seed=st.integers(0, 2**32), start=st.floats(-1e5, 1e9), length=st.floats(-100, 5000))
@settings(max_examples=60, deadline=None)
def test_any_stretch_is_filled_and_kept_to(seed: int, start: float, length: float) -> None:
    end = start + length
    steps = Samples(start + np.array([10.0, 700.0]), np.array([40.0, 300.0]))
    beats = Samples(start + np.array([-50.0, 900.0]), np.array([80.0, 75.0]))
    motion, again = (waking_motion(generator(seed), start, end, steps) for _ in range(2))
    np.testing.assert_array_equal(motion.values, again.values)
    assert len(motion) == max(0, int((end - start) // 15))
    assert motion.values.shape == (len(motion), 4)
    assert np.isfinite(motion.values).all()
    assert (motion.times <= end).all()
    heart_rate = waking_heart_rate(generator(seed), start, end, beats)
    assert ((heart_rate.times >= start) & (heart_rate.times < end)).all()
    assert length < 20 or len(heart_rate) > 1
