"""Nights changed on purpose: what is changed, and that nothing else is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.changes import (
    CHANGES,
    LEAK_COLUMN,
    keep_drawn,
    keep_most,
    normalise,
    sparse,
    tell_stage_before,
)
from sleepstage.core.recording import Recording
from sleepstage.core.samples import Samples
from sleepstage.engine.features import FEATURE_NAMES, FEATURES, SUMMARIES, extract_features
from sleepstage.ml.config import DEFAULT_FEATURES
from sleepstage.ml.dataset import PreparedNight, prepare_nights
from sleepstage.simulate.nights import simulate_night
from sleepstage.stages import UNSCORED

HEART = np.array([feature.signal == "heart_rate" for feature in FEATURES])
LEAK = FEATURE_NAMES.index(LEAK_COLUMN)


@pytest.fixture(scope="module")
def night() -> PreparedNight:
    (one,) = prepare_nights([simulate_night(0, hours=2.0)])
    return one


def night_of(times: list[float]) -> PreparedNight:
    beats = Samples(np.array(times, dtype=np.float64), np.arange(len(times), dtype=np.float64) + 60)
    recording = Recording(start=0.0, end=120.0, heart_rate=beats)
    return PreparedNight(recording, extract_features(recording), np.zeros(4, dtype=np.int8))


# Fewer heart rates


def test_thinning_by_hand() -> None:
    thinned = sparse(night_of([-90, -40, 0, 19, 20, 59, 60, 79, 81]), 60)
    assert thinned.recording.heart_rate.times.tolist() == [-90, 0, 60]
    assert thinned.recording.heart_rate.values.tolist() == [60, 62, 66]


@given(
    steps=st.lists(st.floats(0, 100), min_size=1, max_size=40),
    seconds=st.sampled_from([30.0, 60.0, 300.0]),
    n_known=st.integers(1, 40),
)
def test_thinning_keeps_so_many_seconds_and_needs_the_past_only(
    steps: list[float], seconds: float, n_known: int
) -> None:
    times = np.cumsum(steps).tolist()
    kept = sparse(night_of(times), seconds).recording.heart_rate.times
    assert set(kept) <= set(times)
    assert kept[0] == times[0]
    assert (np.diff(kept) >= seconds).all()
    for time in times:  # nothing is left out that might have stayed
        newest = kept[kept <= time][-1]
        assert time - newest < seconds
    known = sparse(night_of(times[:n_known]), seconds).recording.heart_rate.times
    np.testing.assert_array_equal(known, kept[: len(known)])


def test_features_are_made_of_the_heart_rates_that_are_left(night: PreparedNight) -> None:
    thinned = sparse(night, 300)
    np.testing.assert_array_equal(thinned.rows, extract_features(thinned.recording))
    assert not np.array_equal(thinned.rows[:, HEART], night.rows[:, HEART], equal_nan=True)
    np.testing.assert_array_equal(thinned.rows[:, ~HEART], night.rows[:, ~HEART])
    np.testing.assert_array_equal(thinned.codes, night.codes)
    assert thinned.recording.reference is night.recording.reference


def test_a_night_without_heart_rate_stays_so(night: PreparedNight) -> None:
    deaf = replace(night.recording, heart_rate=Samples.empty())
    assert len(sparse(replace(night, recording=deaf), 60).recording.heart_rate) == 0


# Leaks


def test_heart_rate_is_normalised_over_the_whole_night(night: PreparedNight) -> None:
    rows = night.rows.copy()
    rows[5:9, HEART] = np.nan
    rows[:, FEATURE_NAMES.index("hr_floor_10h")] = np.nan
    found = normalise(replace(night, rows=rows)).rows
    assert found.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(found), np.isnan(rows))
    summaries = np.arange(len(FEATURES)) < len(SUMMARIES)  # the trace is about its mean already
    others = ~(HEART & summaries)
    np.testing.assert_array_equal(found[:, others], rows[:, others])
    known = ~others & ~np.isnan(rows).all(axis=0)
    np.testing.assert_allclose(np.nanmean(found[:, known], axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(np.nanstd(found[:, known], axis=0), 1, atol=1e-3)
    rows[-1] += 10.0
    assert not np.array_equal(
        normalise(replace(night, rows=rows)).rows[0], found[0], equal_nan=True
    )


def test_the_stage_before_is_told(night: PreparedNight) -> None:
    told = tell_stage_before(night)
    assert told.rows[0, LEAK] == UNSCORED
    np.testing.assert_array_equal(told.rows[1:, LEAK], night.codes[:-1])
    others = np.arange(len(FEATURES)) != LEAK
    np.testing.assert_array_equal(told.rows[:, others], night.rows[:, others])
    assert told.codes is night.codes
    assert LEAK_COLUMN not in DEFAULT_FEATURES  # or the true feature would be lost to it


def test_epochs_drawn_to_test_are_those_not_trained_on(night: PreparedNight) -> None:
    trained, tested = keep_most(night), keep_drawn(night)
    scored = night.codes != UNSCORED
    is_trained, is_tested = trained.codes != UNSCORED, tested.codes != UNSCORED
    np.testing.assert_array_equal(is_trained ^ is_tested, scored)
    assert 0.04 < is_tested.sum() / scored.sum() < 0.2
    for part, kept in ((trained, is_trained), (tested, is_tested)):
        np.testing.assert_array_equal(part.codes[kept], night.codes[kept])
        assert part.codes.dtype == np.int8
        assert part.rows is night.rows
    np.testing.assert_array_equal(keep_drawn(night).codes, tested.codes)
    other = replace(night, recording=replace(night.recording, subject="46343"))
    assert not np.array_equal(keep_drawn(other).codes, tested.codes)


def test_about_a_tenth_is_drawn() -> None:
    codes = np.zeros(20_000, dtype=np.int8)
    night = PreparedNight(
        Recording(start=0, end=30, subject="a"), np.zeros((20_000, 1), np.float32), codes
    )
    assert np.mean(keep_drawn(night).codes == 0) == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("name", CHANGES)
def test_no_change_touches_the_night_it_is_given(night: PreparedNight, name: str) -> None:
    before = night.rows.copy(), night.codes.copy(), night.recording.fingerprint()
    for part in CHANGES[name]:
        changed = part(night)
        assert changed.subject == night.subject
        assert changed.rows.shape == night.rows.shape
        assert (changed is night) == (name == "")
    np.testing.assert_array_equal(night.rows, before[0])
    np.testing.assert_array_equal(night.codes, before[1])
    assert night.recording.fingerprint() == before[2]


def test_changes_are_found_by_name(night: PreparedNight) -> None:
    for minutes, name in ((1, "heart rate each minute"), (5, "heart rate each 5 minutes")):
        for part in CHANGES[name]:
            kept = part(night).recording.heart_rate.times
            assert np.diff(kept).min() >= 60 * minutes
            np.testing.assert_array_equal(
                kept, sparse(night, 60 * minutes).recording.heart_rate.times
            )
    of_training, of_test = CHANGES["random epochs"]
    np.testing.assert_array_equal(of_training(night).codes, keep_most(night).codes)
    np.testing.assert_array_equal(of_test(night).codes, keep_drawn(night).codes)
    for name, change in (
        ("whole-night normalisation", normalise),
        ("true stage before", tell_stage_before),
    ):
        for part in CHANGES[name]:
            np.testing.assert_array_equal(part(night).rows, change(night).rows)
