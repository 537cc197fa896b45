from __future__ import annotations

import pytest
from hypothesis import given

from sleepstage.core.agreement import ScoredNight
from sleepstage.evaluation.people import bland_altman
from sleepstage.stages import FOUR_CLASS, TWO_CLASS
from tests.helpers.scored import is_plain, night, nights


def test_numbers_of_a_small_example_by_hand() -> None:
    people = {"a": night("wlllr", "wlldr"), "b": night("wwlll", "wllll"), "c": night("lw", "ll")}
    found = bland_altman(people, FOUR_CLASS)
    sleep = found["total_sleep_time"]
    assert sleep.people == ["a", "b", "c"]
    assert (sleep.predicted, sleep.reference) == ([2.0, 2.0, 1.0], [2.0, 1.5, 0.5])
    # Differences 0, 0.5 and 0.5: mean 1/3, variance (1/9 + 1/36 + 1/36) / 2 = 1/12
    assert sleep.bias.mean == pytest.approx(1 / 3)
    assert sleep.bias.std == pytest.approx((1 / 12) ** 0.5)
    assert sleep.lower_limit == pytest.approx(1 / 3 - 1.96 * (1 / 12) ** 0.5)
    assert sleep.upper_limit == pytest.approx(1 / 3 + 1.96 * (1 / 12) ** 0.5)
    # References minus 4/3: 2/3, 1/6, -5/6; covariance -2/9 + 1/36 - 5/36 over squares 42/36
    assert sleep.slope == pytest.approx(-12 / 42)
    assert sleep.intercept == pytest.approx(1 / 3 + 12 / 42 * 4 / 3)
    assert found["sleep_efficiency"].predicted == [0.8, 0.8, 1.0]
    assert found["sleep_onset_latency"].reference == [0.5, 1.0, 0.0]
    assert found["wake_after_sleep_onset"].reference == [0.0, 0.0, 0.5]
    assert found["minutes deep"].predicted == [0.5, 0.0, 0.0]


def test_bias_that_grows_with_size_has_a_slope_and_a_small_p_value() -> None:
    people = {
        str(n): night("r" * n + "l" * 40, "r" * (n // 2) + "l" * (40 + n - n // 2))
        for n in range(4, 24)
    }
    rem = bland_altman(people, FOUR_CLASS)["minutes rem"]
    assert rem.slope == pytest.approx(-0.5, abs=0.01)
    assert rem.p_value is not None
    assert rem.p_value < 1e-9
    sleep = bland_altman(people, FOUR_CLASS)["total_sleep_time"]
    assert (sleep.slope, sleep.p_value, sleep.bias.mean) == (0.0, None, 0.0)


def test_both_hypnograms_are_measured_over_the_same_epochs() -> None:
    one = night("-lllwl", "llll-w", "111110")
    found = bland_altman({"a": one, "nothing counts": night("l", "w", "0")}, TWO_CLASS)
    assert found["total_sleep_time"].people == ["a"]
    assert found["minutes sleep"].predicted == found["minutes sleep"].reference == [1.5]
    assert found["minutes wake"].reference == [0.0]


def test_who_never_sleeps_is_left_out_of_the_onset_only() -> None:
    found = bland_altman({"a": night("wl", "ww"), "b": night("wl", "ll")}, FOUR_CLASS)
    assert found["total_sleep_time"].bias.n == 2
    assert found["sleep_onset_latency"].people == ["b"]
    assert found["sleep_onset_latency"].bias.mean == -0.5
    assert found["sleep_onset_latency"].lower_limit is None


def test_two_people_and_people_alike_have_no_line() -> None:
    two = {"a": night("wl", "ww"), "b": night("ll", "ll")}
    assert bland_altman(two, FOUR_CLASS)["total_sleep_time"].slope is None
    alike = {
        name: night("wl", predicted)
        for name, predicted in zip("abc", ["wl", "ll", "ww"], strict=True)
    }
    assert bland_altman(alike, FOUR_CLASS)["total_sleep_time"].slope is None


def test_nobody_has_no_bias() -> None:
    found = bland_altman({}, FOUR_CLASS)["minutes rem"]
    assert (found.people, found.bias.mean, found.upper_limit) == ([], None, None)


@given(nights(min_people=2))
def test_identical_nights_have_no_bias(people: dict[str, ScoredNight]) -> None:
    same = {who: ScoredNight(one.reference, one.reference, one.mask) for who, one in people.items()}
    for found in bland_altman(same, FOUR_CLASS).values():
        assert found.bias.mean in {0.0, None}
        assert found.lower_limit in {0.0, None}
        assert found.slope in {0.0, None}


@given(nights())
def test_any_people_give_plain_numbers_and_minutes_that_balance(
    people: dict[str, ScoredNight],
) -> None:
    found = bland_altman(people, FOUR_CLASS)
    assert all(map(is_plain, found.values()))
    biases = [found[f"minutes {name}"].bias.mean or 0.0 for name in FOUR_CLASS.classes]
    assert sum(biases) == pytest.approx(0.0, abs=1e-9)
