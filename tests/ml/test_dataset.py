"""Nights as classifiers learn from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sleepstage.core.recording import Recording
from sleepstage.engine.features import FEATURE_NAMES, extract_features
from sleepstage.ml.dataset import PreparedNight, prepare_nights
from sleepstage.simulate.nights import simulate_night
from sleepstage.stages import EPOCH_SECONDS, FIVE_CLASS, FOUR_CLASS, THREE_CLASS, UNSCORED, Stage


@pytest.fixture(scope="module")
def night() -> PreparedNight:
    (one,) = prepare_nights([simulate_night(0, hours=2.0)])
    return one


def test_epochs_without_both_signals_are_not_trained_on(night: PreparedNight) -> None:
    half = night.recording.start + 3600.0
    motion = night.recording.motion.between(-np.inf, half)
    (prepared,) = prepare_nights([replace(night.recording, motion=motion)])
    assert (prepared.codes[120:] == UNSCORED).all()
    assert (prepared.codes[:60] != UNSCORED).any()


def test_nights_that_can_not_be_used_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    beats = (np.arange(0, 3600.0, 5), np.full(720, 60.0))
    unscored = Recording.from_arrays(heart_rate=beats, subject="unscored")
    deaf = Recording.from_arrays(
        heart_rate=beats, start=0.0, stages=np.full(120, Stage.N2), subject="still"
    )
    assert prepare_nights([unscored, deaf]) == []
    assert "unscored: left out, it has no stages" in caplog.text
    assert "still: left out, no scored epoch has both signals" in caplog.text


def test_rows_are_those_of_the_recording(night: PreparedNight) -> None:
    np.testing.assert_array_equal(night.rows, extract_features(night.recording))
    assert night.subject == night.recording.subject
    assert len(night.rows) == len(night.codes) == len(night.backward_rows) == 240


def test_other_classes_of_the_same_epochs(night: PreparedNight) -> None:
    reference = night.recording.reference
    assert reference is not None
    codes = night.codes.copy()
    codes[5:9] = UNSCORED
    some = replace(night, codes=codes)
    np.testing.assert_array_equal(some.codes_in(FOUR_CLASS), codes)
    for scheme in (FIVE_CLASS, THREE_CLASS):
        expected = np.where(codes == UNSCORED, UNSCORED, reference.merge(scheme).codes)
        np.testing.assert_array_equal(some.codes_in(scheme), expected)
    assert (night.codes_in(FIVE_CLASS)[5:9] != UNSCORED).any()  # asking has changed nothing


def test_an_expert_who_scored_on_after_the_end_is_cut_off(night: PreparedNight) -> None:
    shorter = replace(night.recording, end=night.recording.start + 100 * EPOCH_SECONDS)
    (prepared,) = prepare_nights([shorter])
    np.testing.assert_array_equal(prepared.codes, night.codes[:100])
    assert prepared.codes_in(FIVE_CLASS).shape == (100,)


@pytest.mark.parametrize("epoch", [0, 1, 60, 100, 239])
def test_rows_made_backwards_need_nothing_earlier(night: PreparedNight, epoch: int) -> None:
    recording = night.recording
    now = recording.start + epoch * EPOCH_SECONDS
    # A summary is stamped with its window's end: what ends after `now` began at `now`, or later.
    known = replace(
        recording,
        heart_rate=recording.heart_rate.between(now, np.inf),
        motion=recording.motion.between(np.nextafter(now, np.inf), np.inf),
        steps=recording.steps.between(now, now),
    )
    rows = replace(night, recording=known).backward_rows
    np.testing.assert_array_equal(rows[epoch:], night.backward_rows[epoch:])
    if epoch > 20:
        assert not np.array_equal(rows[:epoch], night.backward_rows[:epoch], equal_nan=True)


def test_rows_made_backwards_count_from_the_end(night: PreparedNight) -> None:
    level = FEATURE_NAMES.index("hr_30s")
    beats = night.recording.heart_rate.between(3000.0, 3030.0).values
    assert night.recording.start == 0
    assert night.backward_rows[100, level] == pytest.approx(beats.mean(), abs=0.5)
