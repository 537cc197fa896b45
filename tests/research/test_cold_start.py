"""Recordings begun afresh: what they may know, and that the labels of each epoch are compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from research.cold_start import NIGHT_START, RESTART, WINDOWS, begin_at, cold_start
from sleepstage.core.recording import Recording
from sleepstage.core.samples import Samples
from sleepstage.engine.stager import Stager
from sleepstage.evaluation.run import load_nights
from sleepstage.ml.dataset import PreparedNight
from sleepstage.stages import EPOCH_SECONDS, FOUR_CLASS, UNSCORED
from tests.conftest import Run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nights(simulated_data: Path) -> list[PreparedNight]:
    return load_nights(simulated_data)


def test_nothing_from_before_the_start_is_known() -> None:
    recording = Recording(
        start=0.0,
        end=7200.0,
        heart_rate=Samples(np.array([0.0, 1799.0, 1800.0]), np.array([50.0, 51.0, 52.0])),
        motion=Samples(np.array([1800.0, 1814.0, 1815.0]), np.zeros((3, 4))),
        steps=Samples(np.array([600.0, 2400.0]), np.array([3.0, 4.0])),
        subject="a",
    )
    begun = begin_at(recording, 1800.0)
    assert (begun.start, begun.end, begun.n_epochs) == (1800, 5400, 120)
    assert begun.heart_rate.values.tolist() == [52]
    assert begun.motion.times.tolist() == [1815]  # the others reach back
    assert begun.steps.values.tolist() == [4]
    assert (begun.subject, begun.reference) == ("a", None)


def by_hand(
    run: Run, nights: list[PreparedNight], first: int, last: int, *, restarted: bool
) -> tuple[int, int, int, int]:
    """Epochs that count, and right ones of the fresh, dated and whole recording; one by one."""
    stager = Stager(run.model)
    n_epochs = fresh_right = dated_right = whole_right = 0
    for night in nights:
        if night.subject not in run.split.test:
            continue
        whole = stager.predict(night.recording).merge(FOUR_CLASS).codes
        for start in (60, 120) if restarted else (0,):
            begun = begin_at(night.recording, night.recording.start + start * EPOCH_SECONDS)
            fresh = stager.predict(begun).merge(FOUR_CLASS).codes
            since = begun.start
            known = replace(
                night.recording,
                end=since + 3600,
                heart_rate=night.recording.heart_rate.between(since, np.inf),
                motion=night.recording.motion.between(since + 15, np.inf),
                steps=night.recording.steps.between(since, np.inf),
            )
            dated = stager.predict(known).merge(FOUR_CLASS).codes
            for epoch in range(120):
                end = (epoch + 1) / 2  # min since the start
                expert = night.codes[start + epoch]
                if expert != UNSCORED and first < end <= last:
                    n_epochs += 1
                    fresh_right += fresh[epoch] == expert
                    dated_right += dated[start + epoch] == expert
                    whole_right += whole[start + epoch] == expert
    return n_epochs, fresh_right, dated_right, whole_right


def test_windows_hold_what_counting_one_by_one_gives(
    small_run: Run, nights: list[PreparedNight]
) -> None:
    assert {len(night.codes) for night in nights} == {240}  # two hours: starts at 0, 30, 60 min
    found = cold_start([small_run.outcome], nights, jobs=1)
    for where, restarted in ((NIGHT_START, False), (RESTART, True)):
        assert [window.minutes for window in found[where]] == list(WINDOWS)
        for window in found[where]:
            counted = by_hand(small_run, nights, *window.minutes, restarted=restarted)
            told = [
                round(one.accuracy * one.n_epochs)
                for one in (window.fresh, window.dated, window.whole)
            ]
            assert (window.fresh.n_epochs, *told) == counted
            assert window.n_starts == (2 if restarted else 1) * len(small_run.split.test)
        of_three = [
            [getattr(window, one).confusion for window in found[where]]
            for one in ("fresh", "dated", "whole")
        ]
        assert (of_three[0] == of_three[1]) is not restarted  # nothing to tell at the true start
        assert of_three[1] != of_three[2]  # steps were measured before the night, too


def test_runs_are_pooled_and_a_night_of_each_is_its_own(
    small_run: Run, nights: list[PreparedNight]
) -> None:
    once = cold_start([small_run.outcome], nights, jobs=1)[RESTART]
    twice = cold_start([small_run.outcome] * 2, nights, jobs=1)[RESTART]
    assert [window.n_starts for window in twice] == [2 * window.n_starts for window in once]
    assert [window.fresh.n_epochs for window in twice] == [
        2 * window.fresh.n_epochs for window in once
    ]
    assert [window.fresh.kappa for window in twice] == pytest.approx(
        [window.fresh.kappa for window in once]
    )


def test_epochs_that_do_not_count_and_short_nights_are_left_out(
    small_run: Run, nights: list[PreparedNight]
) -> None:
    blanked = []
    for night in nights:
        codes = night.codes.copy()
        codes[:2] = UNSCORED
        blanked.append(replace(night, codes=codes))
    begun = cold_start([small_run.outcome], blanked, jobs=1)[NIGHT_START]
    assert [window.minutes for window in begun] == list(WINDOWS[1:])
    short = [replace(night, codes=night.codes[:119]) for night in nights]
    assert cold_start([small_run.outcome], short, jobs=1) == {NIGHT_START: [], RESTART: []}
