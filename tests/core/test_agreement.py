from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sleepstage.core.agreement import ScoredNight, agreement, report, reported_schemes
from sleepstage.core.hypnogram import Hypnogram
from sleepstage.stages import FIVE_CLASS, FOUR_CLASS, SCHEMES, THREE_CLASS, Scheme, Stage


def codes(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    return np.array(values, dtype=np.int8)


def test_numbers_of_a_small_example_by_hand() -> None:
    result = agreement(codes(0, 0, 1, 1, 1, 1, 2, 3), codes(0, 1, 1, 1, 1, 2, 2, 1), FOUR_CLASS)
    assert result.n_epochs == 8
    assert result.accuracy == pytest.approx(5 / 8)
    # Chance agreement: (2 * 1 + 4 * 5 + 1 * 2 + 1 * 0) / 64 = 0.375
    assert result.kappa == pytest.approx((0.625 - 0.375) / (1 - 0.375))
    assert result.recall == pytest.approx({"wake": 0.5, "light": 0.75, "deep": 1.0, "rem": 0.0})
    assert result.precision == {"wake": 1.0, "light": 0.6, "deep": 0.5, "rem": None}
    assert result.f1["light"] == pytest.approx(2 * 0.75 * 0.6 / (0.75 + 0.6))
    assert result.macro_f1 == pytest.approx(np.mean([2 / 3, 2 / 3, 2 / 3, 0.0]))
    assert result.confusion == [[1, 1, 0, 0], [0, 3, 1, 0], [0, 0, 1, 0], [0, 1, 0, 0]]


def test_a_stage_that_never_occurs_has_no_recall_and_does_not_count_in_macro_f1() -> None:
    result = agreement(codes(0, 1, 2, 1), codes(0, 1, 2, 1), FOUR_CLASS)
    assert result.recall["rem"] is None
    assert result.macro_f1 == 1.0


def test_one_class_only_has_no_kappa() -> None:
    assert agreement(codes(1, 1), codes(1, 1), FOUR_CLASS).kappa is None


def test_an_unscored_prediction_counts_as_wrong() -> None:
    result = agreement(codes(0, 1, 1, 3), codes(0, 1, -1, 3), FOUR_CLASS)
    assert result.accuracy == pytest.approx(3 / 4)
    assert result.recall["light"] == pytest.approx(1 / 2)


def test_no_epoch_at_all_is_no_division_by_zero() -> None:
    result = agreement(codes(), codes(), FOUR_CLASS)
    assert (result.n_epochs, result.accuracy, result.kappa) == (0, 0.0, None)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 3)), min_size=1, max_size=60))
def test_accuracy_and_confusion_agree(pairs: list[tuple[int, int]]) -> None:
    reference, predicted = (codes(*column) for column in zip(*pairs, strict=True))
    result = agreement(reference, predicted, FOUR_CLASS)
    assert result.accuracy == pytest.approx(np.mean(reference == predicted))
    assert np.trace(result.confusion) == np.sum(reference == predicted)


def night(reference: list[Stage], predicted: list[int], mask: list[bool]) -> ScoredNight:
    return ScoredNight(
        Hypnogram(0.0, codes(*predicted), FOUR_CLASS),
        Hypnogram(0.0, FIVE_CLASS.encode(reference), FIVE_CLASS),
        np.array(mask),
    )


def test_report_pools_epochs_and_lists_people() -> None:
    wake, n2, rem, none = Stage.WAKE, Stage.N2, Stage.REM, Stage.UNSCORED
    nights = {
        "a": night([wake, n2, rem, none], [0, 1, 1, 3], [True, True, True, True]),
        "b": night([n2, n2], [1, 0], [True, False]),
    }
    result = report(nights)
    assert result.schemes["four_class"].n_epochs == 4
    assert result.schemes["four_class"].accuracy == pytest.approx(3 / 4)
    assert result.schemes["two_class"].accuracy == 1.0
    assert result.schemes["three_class"].recall["rem"] == 0.0
    assert result.per_person["a"]["four_class"].accuracy == pytest.approx(2 / 3)
    assert result.per_person["b"]["four_class"].n_epochs == 1


@pytest.mark.parametrize("scheme", SCHEMES.values())
def test_all_schemes_that_a_prediction_can_be_merged_to_are_reported(scheme: Scheme) -> None:
    reference = Hypnogram(0.0, FIVE_CLASS.encode([0, 1, 2, 3, 5]), FIVE_CLASS)
    predicted = reference.merge(scheme)
    everything = np.ones(5, dtype=np.bool_)
    result = report({"a": ScoredNight(predicted, reference, everything)})
    names = list(SCHEMES)
    own = names.index(scheme.name)
    assert list(result.schemes) == names[own:]
    assert list(result.per_person["a"]) == names[own:]
    assert all(result.schemes[name].accuracy == 1 for name in names[own:])
    assert [one.name for one in reported_schemes(scheme)] == names[own:]


def test_a_fine_decision_may_be_wrong_where_the_coarse_one_is_right() -> None:
    reference = Hypnogram(0.0, FIVE_CLASS.encode([1, 2, 3, 5]), FIVE_CLASS)
    predicted = Hypnogram(0.0, FIVE_CLASS.encode([2, 1, 3, 5]), FIVE_CLASS)
    result = report({"a": ScoredNight(predicted, reference, np.ones(4, dtype=np.bool_))})
    assert result.schemes["five_class"].accuracy == 0.5
    assert result.schemes["five_class"].recall["n1"] == 0
    assert result.schemes["four_class"].accuracy == result.schemes["three_class"].accuracy == 1
    assert list(result.schemes["three_class"].recall) == list(THREE_CLASS.classes)
