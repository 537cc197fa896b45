from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sleepstage.core.agreement import ScoredNight
from sleepstage.evaluation.people import estimate, per_night, per_person
from sleepstage.evaluation.schema import Estimate
from sleepstage.stages import FOUR_CLASS, TWO_CLASS
from tests.helpers.scored import is_plain, night, nights


def test_numbers_of_one_person_by_hand() -> None:
    found = per_person({"a": night("wwllldrr", "wlllddrw")}, FOUR_CLASS)["a"]
    assert found["accuracy"] == 5 / 8
    # Chance agreement: (2 * 2 + 3 * 3 + 1 * 2 + 2 * 1) / 64 = 17 / 64
    assert found["kappa"] == pytest.approx((5 / 8 - 17 / 64) / (1 - 17 / 64))
    assert found["sensitivity wake"] == 1 / 2
    assert found["specificity wake"] == 5 / 6
    assert found["precision wake"] == 1 / 2
    assert found["sensitivity deep"] == 1.0
    assert found["specificity deep"] == 6 / 7
    assert found["precision deep"] == 1 / 2
    assert found["macro_f1"] == pytest.approx(np.mean([1 / 2, 2 / 3, 2 / 3, 2 / 3]))


def test_all_nights_of_a_person_count_together() -> None:
    several = {
        "a/1": night("wl", "ww"),
        "a/2": night("llll", "llll"),
        "b/1": night("lw", "lw"),
    }
    assert per_person(several, FOUR_CLASS)["a"]["accuracy"] == 5 / 6
    assert per_night(several, FOUR_CLASS)["a/1"]["accuracy"] == 1 / 2
    assert set(per_person(several, FOUR_CLASS)) == {"a", "b"}


def test_a_person_without_rem_has_no_sensitivity_of_it_but_specificity() -> None:
    found = per_person({"a": night("wlll", "wllr")}, FOUR_CLASS)["a"]
    assert (found["sensitivity rem"], found["specificity rem"]) == (None, 3 / 4)
    assert (found["precision rem"], found["precision deep"]) == (0.0, None)


def test_a_person_of_one_class_has_no_kappa_and_no_specificity_of_it() -> None:
    found = per_person({"a": night("ll", "ll")}, FOUR_CLASS)["a"]
    assert (found["accuracy"], found["kappa"], found["specificity light"]) == (1.0, None, None)


def test_a_person_without_epochs_has_no_numbers_at_all() -> None:
    found = per_person({"a": night("wl", "wl", "00")}, FOUR_CLASS)["a"]
    assert set(found.values()) == {None}


def test_an_unscored_prediction_is_wrong_but_no_false_alarm() -> None:
    found = per_person({"a": night("wl", "-l")}, TWO_CLASS)["a"]
    assert (found["accuracy"], found["sensitivity wake"]) == (0.5, 0.0)
    assert found["specificity sleep"] == 1.0


def test_people_weigh_the_same_however_long_they_sleep() -> None:
    people = {"a": night("wlwlwlwl", "wlwlwlwl"), "b": night("wl", "ww"), "c": night("w", "w", "0")}
    found = per_person(people, FOUR_CLASS).values()
    accuracy = estimate(one["accuracy"] for one in found)
    assert (accuracy.mean, accuracy.n) == (0.75, 2)
    assert accuracy.std == pytest.approx(np.sqrt(2 * 0.25**2))
    nothing = Estimate(None, None, None, None, 0)
    assert estimate(one["sensitivity rem"] for one in found) == nothing


def test_nobody_has_no_numbers() -> None:
    assert per_person({}, FOUR_CLASS) == {}


def test_one_person_has_no_interval() -> None:
    assert estimate([None, 0.5]) == Estimate(0.5, None, None, None, 1)


def test_interval_of_the_same_values_is_that_value() -> None:
    found = estimate([0.1, 0.1, 0.1])
    assert (found.low, found.high) == (found.mean, found.mean)
    assert found.mean == pytest.approx(0.1)


def test_interval_of_a_known_sample() -> None:
    values = np.random.default_rng(1).normal(0.7, 0.1, 400)
    found = estimate(values.tolist())
    reach = 1.96 * np.std(values, ddof=1) / np.sqrt(400)  # as the central limit theorem has it
    assert found.low == pytest.approx(values.mean() - reach, abs=0.001)
    assert found.high == pytest.approx(values.mean() + reach, abs=0.001)


def test_interval_reaches_further_to_the_side_of_the_tail_than_percentiles_do() -> None:
    found = estimate([0.9] * 8 + [0.8, 0.3])
    assert found.mean is not None
    assert found.low is not None
    assert found.high is not None
    assert found.mean - found.low > 3 * (found.high - found.mean)  # percentiles: 1.7


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_interval_holds_the_mean_within_the_range_and_is_repeatable(values: list[float]) -> None:
    found = estimate(values)
    assert found.mean is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.mean <= found.high
    assert min(values) - 1e-9 <= found.low
    assert found.high <= max(values) + 1e-9
    assert estimate(values) == found


@given(nights())
def test_any_people_give_plain_shares(people: dict[str, ScoredNight]) -> None:
    numbers = per_person(people, FOUR_CLASS)
    assert is_plain(numbers)
    for name in next(iter(numbers.values()), ()):
        values = [one[name] for one in numbers.values()]
        found = estimate(values)
        assert is_plain(found)
        assert found.n == sum(value is not None for value in values)
