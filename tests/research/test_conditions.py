"""What happens to a night, and what the numbers of what is left say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from research.conditions import CONDITIONS, EVERYTHING, under_conditions
from sleepstage.core.recording import Recording
from sleepstage.core.samples import Samples
from sleepstage.engine.stager import Stager
from sleepstage.evaluation.run import load_nights
from sleepstage.ml.dataset import PreparedNight
from sleepstage.simulate.nights import simulate_night
from sleepstage.stages import FOUR_CLASS, UNSCORED
from tests.conftest import Run

NIGHT = simulate_night(11, hours=3.0)
MIDDLE = NIGHT.start + 1.5 * 3600


@pytest.fixture(scope="module")
def nights(simulated_data: Path) -> list[PreparedNight]:
    return load_nights(simulated_data)


def lengths(name: str) -> list[int]:
    left = CONDITIONS[name](NIGHT)
    return [len(samples) for samples in (left.heart_rate, left.motion, left.steps)]


BEATS, SUMMARIES, STEPS = lengths(EVERYTHING)
EARLY_BEATS = int((NIGHT.heart_rate.times < MIDDLE).sum())
EARLY_SUMMARIES = int((NIGHT.motion.times < MIDDLE).sum())
EARLY_STEPS = int((NIGHT.steps.times < MIDDLE).sum())


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("no steps", [BEATS, SUMMARIES, 0]),
        ("heart rate alone", [BEATS, 0, 0]),
        ("motion alone", [0, SUMMARIES, 0]),
        ("heart rate lost in the middle of the night", [EARLY_BEATS, SUMMARIES, STEPS]),
        ("motion lost in the middle of the night", [BEATS, EARLY_SUMMARIES, EARLY_STEPS]),
    ],
)
def test_a_condition_takes_away_what_it_says(name: str, left: list[int]) -> None:
    assert min(EARLY_BEATS, EARLY_SUMMARIES, STEPS) > 0
    assert lengths(name) == left


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("one heart rate a minute", 60),
        ("one heart rate in 5 minutes", 300),
        ("one heart rate a minute, alone", 60),
        ("one heart rate in 5 minutes, alone", 300),
    ],
)
def test_heart_rate_is_as_rare_as_it_says(name: str, seconds: float) -> None:
    left = CONDITIONS[name](NIGHT)
    assert np.diff(left.heart_rate.times).min() >= seconds
    assert len(left.heart_rate) > 0.8 * 3 * 3600 / seconds
    assert len(left.motion) == (0 if name.endswith("alone") else SUMMARIES)


def test_gaps_of_heart_rate_are_a_quarter_of_an_hour_each_hour() -> None:
    left = CONDITIONS["no heart rate for 15 minutes of each hour"](NIGHT)
    minutes = (left.heart_rate.times - NIGHT.start) / 60
    assert minutes.max() < 165
    for hour in range(3):
        assert ((minutes >= 60 * hour) & (minutes < 60 * hour + 45)).any()
        assert not ((minutes >= 60 * hour + 45) & (minutes < 60 * hour + 60)).any()


def test_no_condition_moves_the_night_or_tells_the_stages_otherwise() -> None:
    for change in CONDITIONS.values():
        left = change(NIGHT)
        assert (left.start, left.end) == (NIGHT.start, NIGHT.end)
        assert left.reference is NIGHT.reference


def test_everything_gives_the_numbers_of_the_run(
    small_run: Run, nights: list[PreparedNight]
) -> None:
    found = under_conditions([small_run.outcome], nights, jobs=1)
    assert list(found) == list(CONDITIONS)
    everything, reported = found[EVERYTHING], small_run.metrics.schemes["four_class"]
    for name in ("accuracy", "kappa", "macro_f1"):
        assert getattr(everything.summary, name).mean == pytest.approx(getattr(reported, name))
    for name, recall in reported.recall.items():
        assert everything.summary.recall[name].mean == pytest.approx(recall)
    assert everything.difference.mean == 0
    assert everything.unscored == 0


def silent(night: Recording) -> Recording:
    """Nothing is measured after half an hour."""
    until = night.start + 1800
    return replace(
        night,
        heart_rate=night.heart_rate.between(-np.inf, until),
        motion=night.motion.between(-np.inf, until),
        steps=Samples.empty(),
    )


def test_numbers_are_those_of_each_night_staged_alone(
    small_run: Run, nights: list[PreparedNight]
) -> None:
    conditions: dict[str, Callable[[Recording], Recording]] = {
        EVERYTHING: lambda night: night,
        "silent": silent,
    }
    seen: list[tuple[int, int, str]] = []
    runs = [small_run.outcome, small_run.outcome]
    found = under_conditions(
        runs, nights, conditions=conditions, jobs=1, on_run=lambda *told: seen.append(told)
    )
    stager = Stager(small_run.model)
    right = unscored = counted = 0
    for night in nights:
        if night.subject in small_run.split.test:
            codes = stager.predict(silent(night.recording)).merge(FOUR_CLASS).codes
            for expert, told in zip(night.codes, codes, strict=True):
                if expert != UNSCORED:
                    counted += 1
                    right += expert == told
                    unscored += told == UNSCORED
    assert 0 < unscored < counted
    assert found["silent"].unscored == pytest.approx(unscored / counted)
    assert found["silent"].summary.accuracy.mean == pytest.approx(right / counted)
    assert found["silent"].summary.accuracy.std == 0  # the same run twice
    assert found["silent"].difference.n == 2 * len(small_run.split.test)
    means = [found[name].summary.kappa.mean for name in ("silent", EVERYTHING)]
    kappas = [mean for mean in means if mean is not None]
    if len(small_run.split.test) == 1:
        assert found["silent"].difference.mean == pytest.approx(kappas[0] - kappas[1])
    assert seen == [(1, 2, ""), (2, 2, "")]
