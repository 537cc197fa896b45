from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from sleepstage.core.agreement import ScoredNight, report
from sleepstage.core.hypnogram import Hypnogram
from sleepstage.errors import DataError
from sleepstage.evaluation.curves import (
    REM_FACTORS,
    precision_recall_curves,
    reliability,
    rem_trade_off,
    roc_curves,
    selective_accuracy,
)
from sleepstage.stages import FOUR_CLASS, THREE_CLASS, TWO_CLASS
from tests.helpers.scored import hypnogram, is_plain, night

pytestmark = pytest.mark.slow

NAN = [float("nan")] * 4


def rem(*probabilities: float) -> list[list[float]]:
    """Probabilities of four classes in which light sleep has what REM has not."""
    return [[0.0, 1 - p, 0.0, p] for p in probabilities]


FOUR_EPOCHS = {"a": night("lrlr", "lllr", probabilities=rem(0.1, 0.35, 0.4, 0.8))}


def many(n: int = 3000, seed: int = 0) -> dict[str, ScoredNight]:
    """A long night in which the probabilities tell something of the stage."""
    rng = np.random.default_rng(seed)
    codes = rng.choice(4, n, p=[0.1, 0.5, 0.1, 0.3]).astype(np.int8)
    scores = np.exp(rng.normal(size=(n, 4)) + np.eye(4)[codes])
    rows = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    predicted = Hypnogram(0.0, rows.argmax(axis=1).astype(np.int8), FOUR_CLASS, rows)
    one = ScoredNight(predicted, Hypnogram(0.0, codes, FOUR_CLASS), np.ones(n, dtype=np.bool_))
    return {"a": one}


def test_curves_of_four_epochs_by_hand() -> None:
    roc = roc_curves(FOUR_EPOCHS, FOUR_CLASS)["rem"]
    assert roc is not None
    assert (roc.x, roc.y) == ([0, 0, 0.5, 0.5, 1], [0, 0.5, 0.5, 1, 1])
    assert roc.area == 0.75  # 3 of 4 pairs are in order
    curve = precision_recall_curves(FOUR_EPOCHS, FOUR_CLASS)["rem"]
    assert curve is not None
    assert curve.x[:2] == [0.0, 0.5]
    assert curve.y[:2] == [1.0, 1.0]
    assert curve.x[-1] == 1.0
    assert curve.y[-1] == pytest.approx(2 / 3)
    assert curve.area == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_a_class_that_is_absent_or_the_only_one_has_no_curve() -> None:
    for draw in (roc_curves, precision_recall_curves):
        assert draw(FOUR_EPOCHS, FOUR_CLASS)["deep"] is None
        only = {"a": night("rr", "rl", probabilities=rem(0.6, 0.4))}
        assert draw(only, FOUR_CLASS) == dict.fromkeys(FOUR_CLASS.classes)


def test_merged_probabilities_add_up() -> None:
    rows = [[0.3, 0.35, 0.35, 0.0], [0.4, 0.3, 0.2, 0.1]]
    roc = roc_curves({"a": night("lw", "lw", probabilities=rows)}, TWO_CLASS)["sleep"]
    assert roc is not None
    assert roc.area == 1.0


def test_long_curves_are_thinned_but_keep_their_ends_and_areas() -> None:
    people = many()
    night = people["a"]
    assert night.predicted.probabilities is not None
    for code, name in enumerate(FOUR_CLASS.classes):
        roc, curve = (
            roc_curves(people, FOUR_CLASS)[name],
            precision_recall_curves(people, FOUR_CLASS)[name],
        )
        assert roc is not None
        assert curve is not None
        truth, scores = night.reference.codes == code, night.predicted.probabilities[:, code]
        assert roc.area == pytest.approx(roc_auc_score(truth, scores))
        assert curve.area == pytest.approx(average_precision_score(truth, scores))
        assert np.trapezoid(roc.y, roc.x) == pytest.approx(roc.area, abs=0.005)
        assert np.trapezoid(curve.y, curve.x) == pytest.approx(curve.area, abs=0.02)
        assert 50 < len(roc.x) <= 100
        assert 50 < len(curve.x) <= 100
        assert (roc.x[0], roc.y[0], roc.x[-1], roc.y[-1]) == (0, 0, 1, 1)
        assert (curve.x[0], curve.x[-1]) == (0, 1)
        assert np.all(np.diff(roc.x) >= 0)
        assert np.all(np.diff(curve.x) > 0)


def test_reliability_of_five_epochs_by_hand() -> None:
    rows = [*rem(0.95, 0.91, 0.25, 0.35), NAN]
    found = reliability({"a": night("rlllr", "rrll-", probabilities=rows)}, FOUR_CLASS, n_bins=10)
    assert found.n_epochs == [0, 0, 0, 0, 0, 0, 1, 1, 0, 2]
    assert found.confidence[5] is found.accuracy[5] is None
    assert found.confidence[-1] == pytest.approx(0.93)
    assert found.accuracy[6:] == [1.0, 1.0, None, 0.5]
    assert found.edges == pytest.approx(np.arange(11) / 10)
    assert found.expected_calibration_error == pytest.approx((0.35 + 0.25 + 2 * 0.43) / 4)


def test_certainty_is_in_the_last_bin() -> None:
    found = reliability({"a": night("rr", "rr", probabilities=rem(1.0, 1.0))}, FOUR_CLASS)
    assert found.n_epochs == [0] * 14 + [2]
    assert found.expected_calibration_error == 0.0


def test_the_least_certain_epochs_are_set_aside_by_hand() -> None:
    # Certainty falls with the distance from 0.5; the last epoch is wrong and nothing is known.
    rows = [*rem(0.9, 0.55, 0.2, 0.4), NAN]
    people = {"a": night("rlllr", "rrll-", probabilities=rows)}
    found = selective_accuracy(people, FOUR_CLASS, shares=[0.0, 0.2, 0.4, 0.6, 0.8])
    assert [point.n_epochs for point in found] == [5, 4, 3, 2, 1]
    assert [point.accuracy for point in found] == [3 / 5, 3 / 4, 1.0, 1.0, 1.0]
    assert [point.set_aside for point in found] == [0.0, 0.2, 0.4, 0.6, 0.8]
    least = [0.0, *(1 - entropy(p) for p in (0.55, 0.4, 0.2, 0.9))]
    assert [point.certainty for point in found] == pytest.approx(least, abs=1e-6)
    assert found[-1].kappa is None  # one epoch, one class


def entropy(p: float) -> float:
    """Of two classes, in shares of that of four which are all as likely."""
    return -(p * math.log(p) + (1 - p) * math.log(1 - p)) / math.log(4)


@given(st.integers(0, 50), st.integers(4, 60), st.floats(0, 0.95))
def test_what_is_left_is_what_sorting_leaves(seed: int, n: int, share: float) -> None:
    people = {"a": many(n, seed)["a"], "b": many(n, seed + 1)["a"]}
    (point,) = selective_accuracy(people, FOUR_CLASS, shares=[share])
    epochs = sorted(
        (float(certain), told == truth)
        for one in people.values()
        for certain, told, truth in zip(
            one.predicted.confidence, one.predicted.codes, one.reference.codes, strict=True
        )
    )
    left = epochs[int(share * len(epochs)) :]
    assert point.n_epochs == len(left)
    assert point.certainty == left[0][0]
    assert point.accuracy == pytest.approx(np.mean([right for _, right in left]))


def test_with_none_set_aside_the_numbers_are_the_reported_ones() -> None:
    rows = [*rem(0.1, 0.9), NAN, *rem(0.9)]
    people = {"a": night("lrlr", "lr-r", "1110", probabilities=rows), "b": many(200)["a"]}
    first, *others = selective_accuracy(people, FOUR_CLASS)
    reported = report(people).schemes["four_class"]
    assert (first.set_aside, first.n_epochs) == (0.0, 203)
    assert (first.accuracy, first.kappa) == (reported.accuracy, reported.kappa)
    assert {0.05, 0.1, 0.2, 0.3, 0.5} <= {point.set_aside for point in others}
    assert others[9].accuracy > first.accuracy + 0.05  # probabilities that tell something


def test_certainty_is_of_the_classes_that_are_told() -> None:
    # Light or deep is all the same where sleep is one class.
    rows = [[0.1, 0.45, 0.45, 0.0], [0.3, 0.7, 0.0, 0.0]]
    people = {"a": night("lw", "ll", probabilities=rows)}
    (point,) = selective_accuracy(people, TWO_CLASS, shares=[0.5])
    assert point.accuracy == 1.0
    (point,) = selective_accuracy(people, FOUR_CLASS, shares=[0.5])
    assert point.accuracy == 0.0


def test_more_rem_is_recalled_at_a_price() -> None:
    plain, more, all_ = rem_trade_off(FOUR_EPOCHS, weights=[1, 1.6, 100])
    assert (plain.factor, plain.recall, plain.precision, plain.accuracy) == (1.0, 0.5, 1.0, 0.75)
    assert plain.kappa == pytest.approx((0.75 - 0.5) / (1 - 0.5))
    assert plain.macro_f1 == pytest.approx((4 / 5 + 2 / 3) / 2)
    # 0.35 * 1.6 = 0.56 stays below 0.65, 0.4 * 1.6 = 0.64 passes 0.6
    assert (more.factor, more.recall, more.precision) == (1.6, 0.5, 0.5)
    assert (all_.recall, all_.precision, all_.kappa) == (1.0, 0.5, 0.0)


def test_factor_one_gives_the_reported_numbers_with_unscored_epochs_as_wrong() -> None:
    rows = [*rem(0.1, 0.9), NAN, *rem(0.9)]
    people = {"a": night("lrlr", "lr-r", "1110", probabilities=rows), "b": many(200)["a"]}
    (point,) = rem_trade_off(people, weights=[1.0])
    reported = report(people).schemes["four_class"]
    assert (point.accuracy, point.kappa) == (reported.accuracy, reported.kappa)
    assert point.macro_f1 == reported.macro_f1
    assert point.recall == reported.recall["rem"]
    assert point.precision == reported.precision["rem"]


def test_default_factors_hold_one_and_are_symmetric() -> None:
    assert 1.0 in REM_FACTORS
    assert [1 / factor for factor in reversed(REM_FACTORS)] == pytest.approx(REM_FACTORS)


@given(st.integers(0, 50), st.integers(1, 40))
def test_recall_never_falls_with_the_factor_and_all_is_plain(seed: int, n: int) -> None:
    people = many(n, seed)
    points = rem_trade_off(people, scheme=THREE_CLASS)
    recalls = [point.recall for point in points if point.recall is not None]
    assert recalls == sorted(recalls)
    codes = people["a"].predicted.merge(FOUR_CLASS).codes
    plain = rem_trade_off(people, weights=[1.0])[0]
    assert plain.accuracy == pytest.approx(np.mean(codes == people["a"].reference.codes))
    drawn: list[Any] = [*points, reliability(people, FOUR_CLASS)]
    drawn += selective_accuracy(people, FOUR_CLASS)
    drawn += [roc_curves(people, FOUR_CLASS)[name] for name in FOUR_CLASS.classes]
    drawn += [precision_recall_curves(people, FOUR_CLASS)[name] for name in FOUR_CLASS.classes]
    assert all(map(is_plain, drawn))


@given(st.integers(0, 50))
def test_calibration_error_is_between_none_and_all(seed: int) -> None:
    found = reliability(many(60, seed), FOUR_CLASS)
    assert 0 <= found.expected_calibration_error <= 1
    assert sum(found.n_epochs) == 60


def test_a_scheme_without_rem_has_no_trade_off() -> None:
    with pytest.raises(DataError, match="two_class has no class 'rem'"):
        rem_trade_off(FOUR_EPOCHS, scheme=TWO_CLASS)


def test_a_night_without_probabilities_is_named() -> None:
    with pytest.raises(DataError, match="predicted night of 'b' has no probabilities"):
        roc_curves({**FOUR_EPOCHS, "b": night("l", "l")}, FOUR_CLASS)


@pytest.mark.parametrize("mask", ["00", "10", "01"])
def test_no_epoch_that_counts_is_said(mask: str) -> None:
    one = night("l-", "-l", mask, probabilities=[NAN, *rem(0.1)])
    for make in (roc_curves, precision_recall_curves, reliability):
        with pytest.raises(DataError, match="no epoch of 1 nights is scored, counts and has prob"):
            make({"a": one}, FOUR_CLASS)
    with pytest.raises(DataError, match="no epoch of 1 nights"):
        rem_trade_off({"a": one})
    with pytest.raises(DataError, match="no epoch of 1 nights"):
        selective_accuracy({"a": one}, FOUR_CLASS)
    with pytest.raises(DataError, match="no epoch of 0 nights"):
        rem_trade_off({})


def test_a_person_whose_mask_is_empty_changes_nothing() -> None:
    nobody = night("r", "l", "0", probabilities=rem(0.1))
    assert rem_trade_off({**FOUR_EPOCHS, "b": nobody}) == rem_trade_off(FOUR_EPOCHS)
    assert hypnogram("wldr-").stages.tolist() == ["wake", "light", "deep", "rem", "unscored"]
