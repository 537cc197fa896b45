"""Classifiers: the contract that all keep, no look ahead, and values by hand."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from sleepstage.core.agreement import agreement
from sleepstage.core.recording import Recording
from sleepstage.core.samples import Samples
from sleepstage.engine.features import FEATURE_NAMES, FEATURES, SUMMARIES, extract_features
from sleepstage.errors import DataError
from sleepstage.io.sleep_accel.read import find_subjects, read_subject
from sleepstage.ml.baselines import (
    Boosting,
    ElapsedTime,
    Logistic,
    Majority,
    Walch,
    walch_features,
    with_past,
)
from sleepstage.ml.dataset import PreparedNight, class_counts, prepare_nights
from sleepstage.stages import FOUR_CLASS, UNSCORED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from sleepstage.ml.classifier import Classifier, Fitted

WAKE, LIGHT, DEEP, REM = range(4)
TREES = Boosting(n_trees=30, min_leaf_epochs=20)
ALL: dict[str, Classifier] = {
    "majority": Majority(),
    "elapsed": ElapsedTime(),
    "logistic": Logistic(),
    "boosting": TREES,
    "walch": Walch(max_steps=200),
}
LIVE = [name for name, classifier in ALL.items() if classifier.live]
LEARNED = [name for name in ALL if name != "majority"]


@pytest.fixture(scope="module")
def nights(simulated_data: Path) -> list[PreparedNight]:
    return prepare_nights(
        read_subject(simulated_data, subject) for subject in find_subjects(simulated_data)
    )


@pytest.fixture(scope="module")
def fitted(nights: list[PreparedNight]) -> dict[str, Fitted]:
    """All of them, fitted to the first three nights."""
    return {name: classifier.fit(nights[:3], ()) for name, classifier in ALL.items()}


def probabilities(fitted: Fitted, night: PreparedNight) -> NDArray[np.float32]:
    found = fitted.predict(night).probabilities
    assert found is not None
    return found


def night_of(codes: Sequence[int], rows: NDArray[np.float32] | None = None) -> PreparedNight:
    """A night without signals, in which nothing but the time is known."""
    n = len(codes)
    if rows is None:
        rows = np.full((n, len(FEATURES)), np.nan, dtype=np.float32)
    recording = Recording(start=0.0, end=30.0 * n, subject="by hand")
    return PreparedNight(recording, rows, np.array(codes, dtype=np.int8))


def cut(night: PreparedNight, n: int) -> PreparedNight:
    """The first epochs, as they were known at their end."""
    recording = night.recording
    now = recording.start + 30 * n
    known = replace(
        recording,
        end=now,
        heart_rate=recording.heart_rate.between(-math.inf, now),
        motion=recording.motion.between(-math.inf, math.nextafter(now, math.inf)),
        steps=recording.steps.between(-math.inf, now),
    )
    return PreparedNight(known, extract_features(known), night.codes[:n])


# The contract


@pytest.mark.parametrize("name", ALL)
def test_every_epoch_gets_probabilities_and_the_likeliest_class(
    nights: list[PreparedNight], fitted: dict[str, Fitted], name: str
) -> None:
    night = nights[3]
    told = fitted[name].predict(night)
    found = probabilities(fitted[name], night)
    assert found.shape == (night.recording.n_epochs, 4)
    assert (found >= 0).all()
    assert found.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert told.codes.tolist() == found.argmax(axis=1).tolist()
    assert (told.scheme, told.subject, told.simulated) == (FOUR_CLASS, night.subject, True)
    assert told.start == night.recording.start
    assert dict(fitted[name].class_weights) == {}


@pytest.mark.parametrize("name", ALL)
def test_a_night_without_any_signal_is_staged_too(fitted: dict[str, Fitted], name: str) -> None:
    night = night_of([UNSCORED] * 5)
    found = probabilities(fitted[name], replace(night, rows=extract_features(night.recording)))
    assert found.sum(axis=1) == pytest.approx(np.ones(5), abs=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_the_same_seed_gives_the_same(
    nights: list[PreparedNight], fitted: dict[str, Fitted], name: str
) -> None:
    again = ALL[name].fit(nights[:3], ())
    assert np.array_equal(probabilities(again, nights[4]), probabilities(fitted[name], nights[4]))


@pytest.mark.parametrize("name", ["boosting", "walch"])
def test_another_seed_gives_another_result(
    nights: list[PreparedNight], fitted: dict[str, Fitted], name: str
) -> None:
    settings: Any = ALL[name]
    other = replace(settings, seed=1).fit(nights[:3], ())
    assert (probabilities(other, nights[4]) != probabilities(fitted[name], nights[4])).any()


@pytest.mark.parametrize("name", ALL)
def test_what_was_learnt_can_be_pickled(
    nights: list[PreparedNight], fitted: dict[str, Fitted], name: str
) -> None:
    copy = pickle.loads(pickle.dumps((ALL[name], fitted[name])))
    assert copy[0] == ALL[name]
    assert np.array_equal(probabilities(copy[1], nights[4]), probabilities(fitted[name], nights[4]))


@pytest.mark.parametrize("name", ALL)
def test_a_class_that_is_missing_is_named(nights: list[PreparedNight], name: str) -> None:
    without = [
        replace(night, codes=np.where(night.codes == DEEP, LIGHT, night.codes)) for night in nights
    ]
    with pytest.raises(DataError, match="no epoch of deep in the 5 training nights"):
        ALL[name].fit(without, ())


@pytest.mark.parametrize("name", ALL)
def test_a_feature_that_nobody_has_does_no_harm(nights: list[PreparedNight], name: str) -> None:
    unknown = []
    for night in nights[:4]:
        rows = night.rows.copy()
        rows[:, FEATURE_NAMES.index("since_walk")] = np.nan
        unknown.append(replace(night, rows=rows))
    found = probabilities(ALL[name].fit(unknown[:3], ()), unknown[3])
    assert found.sum(axis=1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_epochs_that_do_not_count_are_not_learnt_from(
    nights: list[PreparedNight], name: str
) -> None:
    classifier = ALL[name]
    codes = nights[0].codes.copy()
    codes[100:] = UNSCORED
    rows = nights[0].rows.copy()
    rows[150:] = 1e4  # lags reach back only, so that no epoch that counts sees these
    half, spoilt = (
        [replace(nights[0], codes=codes, rows=table), *nights[1:3]]
        for table in (nights[0].rows, rows)
    )
    one, other = (classifier.fit(train, ()) for train in (half, spoilt))
    assert np.array_equal(probabilities(one, nights[4]), probabilities(other, nights[4]))
    whole = classifier.fit(nights[:3], ())
    assert not np.array_equal(probabilities(one, nights[4]), probabilities(whole, nights[4]))


def test_progress_is_told(nights: list[PreparedNight]) -> None:
    told: list[tuple[int, int, str]] = []
    Majority().fit(nights, (), on_epoch=lambda *step: told.append(step))
    assert told == [(1, 1, "fitted to 5 nights")]


def kappa(fitted: Fitted, nights: Sequence[PreparedNight]) -> float:
    codes = np.concatenate([night.codes for night in nights])
    told = np.concatenate([fitted.predict(night).codes for night in nights])
    return cast("float", agreement(codes[codes >= 0], told[codes >= 0], FOUR_CLASS).kappa)


@pytest.mark.parametrize("name", LEARNED)
def test_what_learns_beats_the_majority_on_people_not_trained_on(
    nights: list[PreparedNight], fitted: dict[str, Fitted], name: str
) -> None:
    assert kappa(fitted["majority"], nights[3:]) == pytest.approx(0)
    assert kappa(fitted[name], nights[3:]) > (0.1 if name == "elapsed" else 0.25)


# Live or not


@pytest.mark.parametrize("name", LIVE)
@pytest.mark.parametrize("n", [1, 37, 120, 239])
def test_cutting_off_the_future_changes_no_earlier_probability(
    nights: list[PreparedNight], fitted: dict[str, Fitted], name: str, n: int
) -> None:
    whole = probabilities(fitted[name], nights[3])
    known = probabilities(fitted[name], cut(nights[3], n))
    assert known == pytest.approx(whole[:n], rel=1e-5, abs=1e-7)


def test_the_published_one_looks_ahead(
    nights: list[PreparedNight], fitted: dict[str, Fitted]
) -> None:
    assert [name for name in ALL if name not in LIVE] == ["walch"]
    known = probabilities(fitted["walch"], cut(nights[3], 120))
    assert np.abs(known - probabilities(fitted["walch"], nights[3])[:120]).max() > 0.01


# By hand

HAND = night_of([WAKE, LIGHT, LIGHT, DEEP, REM, UNSCORED])


def test_counts_of_classes() -> None:
    assert class_counts([HAND.codes, HAND.codes], FOUR_CLASS).tolist() == [2, 4, 2, 2]


def test_the_majority_tells_shares() -> None:
    found = Majority().fit([HAND], ()).predict(HAND)
    assert found.probabilities == pytest.approx(np.tile([0.2, 0.4, 0.2, 0.2], (6, 1)))
    assert found.stages.tolist() == ["light"] * 6


def test_shares_by_time_and_the_last_for_all_later() -> None:
    model = ElapsedTime(bin_minutes=1.0).fit([HAND], ())  # two epochs to a bin
    found = probabilities(model, night_of([UNSCORED] * 8))
    overall = np.array([0.2, 0.4, 0.2, 0.2])
    first = (np.array([1, 1, 0, 0]) + overall) / 3
    second = (np.array([0, 1, 1, 0]) + overall) / 3
    last = (np.array([0, 0, 0, 1]) + overall) / 2
    expected = [first, first, second, second, last, last, last, last]
    assert found == pytest.approx(np.array(expected), rel=1e-5)


def test_no_border_of_a_bin_is_missed_by_rounding() -> None:
    codes = [WAKE] * 40 + [LIGHT] * 40 + [DEEP] * 40 + [REM] * 40
    model = ElapsedTime(bin_minutes=20.0).fit([night_of(codes)], ())
    assert model.predict(night_of(codes)).codes.tolist() == codes


def test_the_penalty_draws_probabilities_together(nights: list[PreparedNight]) -> None:
    loose, tight = (
        probabilities(Logistic(penalty=penalty).fit(nights[:3], ()), nights[3])
        for penalty in (1.0, 1e6)
    )
    assert np.ptp(tight, axis=0).max() < 0.05 < 0.5 < np.ptp(loose, axis=0).max()


def test_the_past_stands_beside_the_present() -> None:
    rows = np.arange(45, dtype=np.float32)[:, np.newaxis] + np.zeros(len(SUMMARIES), np.float32)
    found = with_past(rows)
    signals = [one for one in SUMMARIES if one.signal in {"heart_rate", "motion"}]
    assert found.shape == (45, len(SUMMARIES) + 4 * len(signals))
    assert (found[:, : len(SUMMARIES)] == rows).all()
    past = found[:, len(SUMMARIES) :].reshape(45, 4, len(signals))
    assert (past == past[:, :, :1])[~np.isnan(past)].all()
    by_lag = past[:, :, 0].T
    for lag, column in zip((4, 10, 20, 40), by_lag, strict=True):
        assert np.isnan(column[:lag]).all()
        assert column[lag:].tolist() == list(range(45 - lag))
    assert np.isnan(with_past(rows[:3])[:, len(SUMMARIES) :]).all()


# The published features


def recorded(*, counts: Sequence[float] = (), bpm: Sequence[float] = (), end: float) -> Recording:
    """Counts every 15 s and heart rates every second from time 100 on."""
    windows = np.linspace(100, 100 + 15 * len(counts), len(counts) + 1)[1:]
    return Recording(
        start=100,
        end=100 + end,
        motion=Samples(windows, np.column_stack([counts, np.zeros((len(counts), 3))])),
        heart_rate=Samples(
            np.arange(100, 100 + len(bpm), dtype=np.float64), np.array(bpm, dtype=np.float64)
        ),
    )


def test_an_impulse_of_movement_spreads_as_a_gaussian() -> None:
    counts = np.zeros(240)
    counts[120] = 10  # its middle is 1807.5 s after the start, in the epoch from 1800 s on
    found = walch_features(recorded(counts=counts.tolist(), end=3600))[:, 0]
    seconds = np.arange(-299, 300)

    def expected(middle: float) -> float:
        weights = np.exp(-(seconds**2) / (2 * 50**2))
        triangle = np.maximum(0, 15 - np.abs(seconds + middle - 1807.5)) / 15
        return float(10 * weights @ triangle / weights.sum())

    for epoch in (51, 58, 59, 60, 61, 62, 69):
        assert found[epoch] == pytest.approx(expected(30 * epoch + 15), rel=0.01)
    assert found[60] == pytest.approx(150 / (50 * math.sqrt(2 * math.pi)), rel=0.02)
    assert (found[:50] == 0).all()
    assert (found[72:] == 0).all()


def test_a_steady_heart_rate_has_no_unrest() -> None:
    found = walch_features(recorded(bpm=[61.3] * 1799, end=1800))  # of no exact mean
    assert (found[:, 1] == 0).all()
    assert np.isnan(found[:, 0]).all()  # no motion at all


def test_unrest_of_a_wave_is_its_deviation_over_its_90th_percentile() -> None:
    wave = 60 + 5 * np.sin(np.arange(7200) * 2 * np.pi / 60)
    found = walch_features(recorded(bpm=wave.tolist(), end=7200))[20:-20, 1]
    assert found == pytest.approx(math.sqrt(0.5) / math.sin(0.9 * math.pi / 2), rel=0.01)


def test_unrest_has_no_unit() -> None:
    bpm = np.random.default_rng(1).normal(60, 4, 3600)
    once, twice = (
        walch_features(recorded(bpm=values.tolist(), end=3600))[:, 1] for values in (bpm, 2 * bpm)
    )
    assert once == pytest.approx(twice, rel=1e-4)
    assert (once > 0).all()


def test_heart_rate_passes_a_difference_of_gaussians() -> None:
    """Two waves, one after the other, come out as far as the filter lets each through."""
    time = np.arange(14_400)
    fast, slow = 100, 300
    wave = np.where(time < 7200, np.sin(time * 2 * np.pi / fast), np.sin(time * 2 * np.pi / slow))
    unrest = walch_features(recorded(bpm=(60 + wave).tolist(), end=14_400))[:, 1]

    def gain(period: float) -> float:
        return abs(
            sum(
                (math.exp(-((t / 120) ** 2) / 2) - 0.75 * math.exp(-((t / 600) ** 2) / 2))
                * math.cos(t * 2 * math.pi / period)
                for t in range(-142, 143)
            )
        )

    assert unrest[100] / unrest[350] == pytest.approx(gain(fast) / gain(slow), rel=0.02)


def test_the_clock_is_lowest_five_hours_after_the_start() -> None:
    found = walch_features(recorded(end=17 * 3600 + 30))[:, 2]
    assert found[0] == pytest.approx(-math.cos(math.radians(75)))
    assert found.argmin() == 5 * 120
    assert found[11 * 120] == pytest.approx(0, abs=1e-6)
    assert found[17 * 120] == pytest.approx(1)


def test_windows_far_from_any_sample_are_unknown() -> None:
    found = walch_features(recorded(counts=[1.0] * 20, bpm=[60, 70] * 150, end=1800))
    known = np.arange(60) * 30 - 285 < 300
    assert (np.isnan(found[:, 1]) == ~known).all()
    assert (np.isnan(found[:, 0]) == ~known).all()
    assert found[0, 0] == pytest.approx(1)


def test_what_lies_outside_the_night_is_not_looked_at() -> None:
    inside = recorded(counts=[1.0] * 120, bpm=[60, 62, 70] * 600, end=1800)
    before = Samples(np.array([10.0, 50.0]), np.array([200.0, 30.0]))
    after = Samples(np.array([2500.0]), np.array([[500.0, 0, 0, 0]]))
    more = replace(
        inside,
        heart_rate=before.followed_by(inside.heart_rate),
        motion=inside.motion.followed_by(after),
    )
    assert np.array_equal(walch_features(more), walch_features(inside))
