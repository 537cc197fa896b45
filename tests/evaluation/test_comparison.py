from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from scipy.stats import wilcoxon

from sleepstage.core.agreement import ScoredNight
from sleepstage.errors import DataError
from sleepstage.evaluation.people import compare
from sleepstage.evaluation.schema import Difference, Estimate
from sleepstage.stages import FOUR_CLASS
from tests.helpers.scored import is_plain, night, nights


def people(right: Sequence[int], of: int = 8) -> dict[str, ScoredNight]:
    """People of whom a model gets so many epochs right."""
    return {str(n): night("l" * of, "l" * hits + "r" * (of - hits)) for n, hits in enumerate(right)}


def test_numbers_of_five_people_by_hand() -> None:
    found = compare(people([8, 7, 8, 7, 8]), people([7, 5, 5, 3, 3]), FOUR_CLASS)["accuracy"]
    assert found.one == pytest.approx(38 / 40)
    assert found.other == pytest.approx(23 / 40)
    # Differences 1, 2, 3, 4 and 5 eighths, all positive: 2 of 2 ** 5 signs are as extreme.
    assert found.difference.mean == pytest.approx(3 / 8)
    assert found.difference.std == pytest.approx(2.5**0.5 / 8)
    assert found.p_value == pytest.approx(2 / 32)


def test_one_small_difference_the_other_way() -> None:
    found = compare(people([7, 7, 8, 7, 8]), people([8, 5, 5, 3, 3]), FOUR_CLASS)["accuracy"]
    assert found.p_value == pytest.approx(4 / 32)
    assert found.difference.low is not None
    assert found.difference.low > 0


def test_equal_differences_get_equal_ranks() -> None:
    found = compare(people([7, 5, 9, 8], of=10), people([4, 6, 8, 7], of=10), FOUR_CLASS)
    assert found["accuracy"].p_value == wilcoxon([3, -1, 1, 1]).pvalue


def test_kappa_and_macro_f1_are_compared_too() -> None:
    one, other = {"a": night("wwll", "wwll")}, {"a": night("wwll", "wlll")}
    found = compare(one, other, FOUR_CLASS)
    assert found["kappa"].difference.mean == pytest.approx(1 - 0.5)
    assert found["macro_f1"].difference.mean == pytest.approx(1 - (2 / 3 + 4 / 5) / 2)


def test_a_person_for_whom_one_defines_no_number_is_left_out_of_both_means() -> None:
    one = {"a": night("wl", "wl"), "b": night("ll", "ll"), "c": night("ll", "lr")}
    other = {"a": night("wl", "ww"), "b": night("ll", "lr"), "c": night("ll", "ll")}
    kappa = compare(one, other, FOUR_CLASS)["kappa"]
    assert (kappa.one, kappa.other, kappa.difference.n) == (1.0, 0.0, 1)


def test_a_person_of_only_one_is_named() -> None:
    with pytest.raises(DataError, match="only one of the two models staged a, c: give the same"):
        compare(
            {"a": night("w", "w"), "b": night("w", "w")},
            dict.fromkeys("bc", night("w", "w")),
            FOUR_CLASS,
        )


def test_nobody_has_no_difference() -> None:
    empty = Difference(None, None, Estimate(None, None, None, None, 0), None)
    assert compare({}, {}, FOUR_CLASS)["kappa"] == empty


@given(nights())
def test_a_model_does_not_differ_from_itself(same: dict[str, ScoredNight]) -> None:
    for found in compare(same, same, FOUR_CLASS).values():
        assert is_plain(found)
        assert found.one == found.other
        if found.difference.n:
            assert (found.difference.mean, found.p_value) == (0.0, 1.0)


@given(nights())
def test_the_other_way_round_changes_the_sign_only(one: dict[str, ScoredNight]) -> None:
    other = {
        who: ScoredNight(each.reference, each.reference, each.mask) for who, each in one.items()
    }
    there, back = compare(one, other, FOUR_CLASS), compare(other, one, FOUR_CLASS)
    for name, found in there.items():
        assert is_plain(found)
        assert found.p_value == back[name].p_value
        if found.difference.mean is not None:
            assert found.difference.mean == -(back[name].difference.mean or 0.0)
            assert found.difference.mean <= 0
