"""Nights within days: what is put around them, and what is compared with what."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from research import days as module
from research.days import DAYS, GAPS, days, gaps
from sleepstage.core.agreement import agreement
from sleepstage.core.hypnogram import Hypnogram
from sleepstage.core.periods import sleep_periods
from sleepstage.engine.stager import Stager, load_model
from sleepstage.engine.wear import unscored_reasons
from sleepstage.evaluation.run import load_nights
from sleepstage.ml.dataset import PreparedNight, prepare_nights
from sleepstage.simulate.nights import simulate_night
from sleepstage.stages import EPOCH_SECONDS, FOUR_CLASS, NOT_WORN, UNSCORED, WAKE
from tests.conftest import Run


@pytest.fixture(scope="module")
def night() -> PreparedNight:
    return next(iter(prepare_nights([simulate_night(3, hours=4.0)])))


@pytest.fixture(scope="module")
def expert(night: PreparedNight) -> Hypnogram:
    assert night.recording.reference is not None
    return night.recording.reference.merge(FOUR_CLASS)


def around(expert: Hypnogram, n_before: int, n_after: int) -> Hypnogram:
    """The expert's night with waking life before and after."""
    wake = [np.full(n, WAKE, dtype=np.int8) for n in (n_before, n_after)]
    codes = np.concatenate([wake[0], expert.codes, wake[1]])
    return Hypnogram(expert.start - n_before * EPOCH_SECONDS, codes, FOUR_CLASS)


def test_a_perfect_day_has_no_error(night: PreparedNight, expert: Hypnogram) -> None:
    day = around(expert, 240, 120)
    found = module._judge(day, day.codes, night)
    assert (found.onset, found.awakening, found.false_sleep, found.others) == (0, 0, 0, 0)
    assert found.expert.tolist() == found.predicted.tolist()
    assert len(found.expert) == np.count_nonzero(night.codes != UNSCORED)


def test_errors_are_counted_where_they_are(night: PreparedNight, expert: Hypnogram) -> None:
    day = around(expert, 240, 120)
    codes = day.codes.copy()
    codes[40:70] = 1  # a nap that nobody took
    onset = round((sleep_periods(expert)[0].start - expert.start) / EPOCH_SECONDS)
    codes[240 + onset : 240 + onset + 8] = WAKE  # falls asleep 4 minutes late
    found = module._judge(Hypnogram(day.start, codes, FOUR_CLASS), day.codes, night)
    assert found.others == 1
    assert found.false_sleep == pytest.approx(60 * 30 / 360)
    assert found.onset == 4
    assert found.awakening == 0
    nothing = np.full_like(codes, WAKE)
    found = module._judge(Hypnogram(day.start, nothing, FOUR_CLASS), day.codes, night)
    assert math.isnan(found.onset)
    assert math.isnan(found.awakening)


@pytest.mark.slow
def test_a_week_is_one_session_that_begins_as_a_day_does(night: PreparedNight) -> None:
    stager, recording = load_model(), night.recording
    first, *later = module._stage_week(stager, recording)
    assert len(later) == 6
    known = replace(
        recording,
        heart_rate=recording.heart_rate.between(recording.start, recording.end),
        steps=recording.steps.between(recording.start, recording.end),
    )
    assert first.codes.tolist() == stager.predict(known).codes.tolist()
    assert all(len(one.codes) == night.recording.n_epochs for one in later)


@pytest.mark.parametrize("kind", GAPS)
def test_an_hour_is_taken_away_and_nothing_else(night: PreparedNight, kind: str) -> None:
    recording, first, last = night.recording, 200, 320
    without = module._take_off(recording, first, last, kind)
    start, end = (recording.start + EPOCH_SECONDS * number for number in (first, last))
    assert not len(without.heart_rate.between(start, end))
    assert len(without.motion.between(start, end, window_ends=True)) == (
        240 if GAPS[kind] == NOT_WORN else 0
    )
    for name in ("heart_rate", "motion", "steps"):
        before, after = getattr(recording, name), getattr(without, name)
        ends = name == "motion"
        for part in ((-math.inf, start), (end, math.inf)):
            one, other = (samples.between(*part, window_ends=ends) for samples in (before, after))
            assert one.times.tolist() == other.times.tolist()
    (rows,) = [one.rows for one in prepare_nights([without])]
    reasons = unscored_reasons(rows)
    assert (reasons[first + 20 : last] == GAPS[kind]).all()


@pytest.mark.slow
def test_all_nights_of_all_runs_are_pooled(small_run: Run, simulated_data: Path) -> None:
    nights = load_nights(simulated_data)
    found = days([small_run.outcome], nights, jobs=1)
    assert [one.kind for one in found] == list(DAYS)
    for one in found:
        assert 0 <= one.found <= 1
        assert 0 <= one.false_sleep <= 60
        assert one.onset[0] <= one.onset[1] or math.isnan(one.onset[0])
    by_kind = {one.kind: one for one in gaps([small_run.outcome], nights, jobs=1)}
    assert list(by_kind) == list(GAPS)
    tested = {one.subject: one for one in nights}
    halves = []
    for subject, scored in small_run.outcome.scored.items():
        codes = tested[subject].codes
        last = len(codes) // 2 + 120
        counted = codes[last:] != UNSCORED
        predicted = Stager(small_run.outcome.model).predict(tested[subject].recording).codes
        halves.append((codes[last:][counted], predicted[last:][counted]))
        assert scored.reference is not None
    expert, predicted = (np.concatenate(side) for side in zip(*halves, strict=True))
    usual = agreement(expert, predicted, FOUR_CLASS).kappa
    assert by_kind["no data"].usual == by_kind["on a table"].usual == usual
