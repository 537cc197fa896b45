"""What is told now, against what was told of the night so far."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sleepstage.centring import Centring

FLOOR = 1e-3
COURSE = Centring(((0.0, 0.5, -0.5), (0.25, 0.25, -0.5), (0.5, 0.0, -0.5)))


def drawn(n_epochs: int, seed: int = 0, shares: Sequence[float] = (1, 3, 1)) -> NDArray[np.float64]:
    return np.random.default_rng(seed).dirichlet(shares, size=n_epochs)


def centred(centring: Centring, probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
    return centring.apply(probabilities, centring.begin(probabilities.shape[1]))[0]


def log(row: Sequence[float]) -> NDArray[np.float64]:
    logs = np.log(np.array(row) + FLOOR)
    return np.asarray(logs - logs.mean())


# One night


def test_the_first_epochs_by_hand() -> None:
    centring = Centring(((0.0, 0.5, -0.5),))
    rows = [[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]]
    sums, typical = np.zeros(3), np.array([0.0, 0.5, -0.5])
    for number, found in enumerate(centred(centring, np.array(rows)), start=1):
        sums += log(rows[number - 1])
        odds = np.exp(log(rows[number - 1]) - (sums - number * typical) / (number + 30))
        assert found == pytest.approx(odds / odds.sum(), abs=1e-6)


def test_the_typical_course_lies_between_its_knots_and_stays_after_the_last() -> None:
    # One epoch later is a thirtieth of the way: the same row, told forever, is drawn to the course.
    rows = np.tile([0.5, 0.4, 0.1], (60, 1))
    found = centred(COURSE, rows)
    logs = log([0.5, 0.4, 0.1])
    for epoch, typical in (
        (0, (0.0, 0.5, -0.5)),
        (5, (0.125, 0.375, -0.5)),
        (10, (0.25, 0.25, -0.5)),
        (20, (0.5, 0.0, -0.5)),
        (59, (0.5, 0.0, -0.5)),
    ):
        deviation = (epoch + 1) * (logs - typical) / (epoch + 1 + 30)
        odds = np.exp(logs - np.clip(deviation, -1, 1))
        assert found[epoch] == pytest.approx(odds / odds.sum(), abs=1e-6), epoch


def test_who_deviates_all_night_is_drawn_back() -> None:
    usual = [0.4, 0.4, 0.2]
    centring = Centring.fit([np.tile(usual, (400, 1))] * 3)
    mistaken = np.tile([0.3, 0.3, 0.4], (400, 1))
    mistaken[300] = [0.2, 0.6, 0.2]  # within the night, this is no sign of the third
    found = centred(centring, mistaken)
    assert found[0] == pytest.approx(mistaken[0], abs=0.05)  # nothing is known of the night yet
    assert found[299] == pytest.approx(usual, abs=0.05)
    assert found[300, 1] > 0.6 > usual[1]
    # A night that is told as usual stays as it is.
    assert centred(centring, np.tile(usual, (400, 1))) == pytest.approx(
        np.tile(usual, (400, 1)), abs=2e-3
    )


def test_what_is_certain_stays_so() -> None:
    centring = Centring.fit([np.tile([0.3, 0.4, 0.3], (400, 1))])
    awake = np.tile([0.99, 0.005, 0.005], (400, 1))
    assert (centred(centring, awake).argmax(axis=1) == 0).all()
    found = centred(centring, awake)[-1]
    # Each class is moved by one nat at most.
    ratio = (0.99 + FLOOR) / (0.005 + FLOOR)
    assert found[0] / found[1] >= ratio / math.e**2 - 1e-3


@given(seed=st.integers(0, 100), cuts=st.lists(st.integers(0, 50), max_size=6))
def test_any_chunking_gives_the_same_bits(seed: int, cuts: list[int]) -> None:
    rows = drawn(50, seed).astype(np.float32)
    whole, last = COURSE.apply(rows, COURSE.begin(3))
    state, parts = COURSE.begin(3), []
    for chunk in np.split(rows, sorted(cuts)):
        part, state = COURSE.apply(chunk, state)
        parts.append(part)
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(state, last)


@pytest.mark.parametrize("n_known", [1, 10, 30, 49])
def test_the_future_changes_nothing(n_known: int) -> None:
    rows = drawn(50)
    np.testing.assert_array_equal(centred(COURSE, rows[:n_known]), centred(COURSE, rows)[:n_known])


@given(seed=st.integers(0, 1000), n_epochs=st.integers(1, 80))
def test_probabilities_they_remain(seed: int, n_epochs: int) -> None:
    rows = drawn(n_epochs, seed, (0.1, 0.1, 0.1))
    rows[0] = [1, 0, 0]
    found = centred(COURSE, rows)
    assert found.dtype == np.float32
    assert found.shape == rows.shape
    assert (found > 0).all()
    assert found.sum(axis=1) == pytest.approx(np.ones(n_epochs), abs=1e-5)


def test_without_a_typical_course_nothing_is_changed() -> None:
    rows = drawn(20).astype(np.float32)
    found, state = Centring().apply(rows, Centring().begin(3))
    np.testing.assert_array_equal(found, rows)
    assert not state.any()


def test_nothing_is_remembered_before_the_first_epoch() -> None:
    begin = COURSE.begin(3)
    assert begin.shape == (4,)
    assert not begin.any()
    _, state = COURSE.apply(drawn(7), begin)
    assert state[0] == 7
    assert not begin.any()
    same, unchanged = COURSE.apply(drawn(7)[:0], state)
    assert same.shape == (0, 3)
    np.testing.assert_array_equal(unchanged, state)


# The typical course


def test_the_typical_course_is_the_mean_over_people_each_ten_epochs() -> None:
    nights = [drawn(31, 0), drawn(31, 1, (3, 1, 1))]
    course = Centring.fit(nights).typical
    assert len(course) == 4
    for number, knot in enumerate(course):
        means = [
            np.mean([log(row) for row in night[: 10 * number + 1].tolist()], axis=0)
            for night in nights
        ]
        assert knot == pytest.approx(np.mean(means, axis=0), abs=1e-4)
        assert sum(knot) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    ("lengths", "n_knots"),
    [([25], 3), ([100, 20], 10), ([100, 90, 60, 50, 40, 30], 9), ([60, 61], 7), ([1, 1], 1)],
)
def test_the_course_ends_where_few_nights_go_on(lengths: list[int], n_knots: int) -> None:
    # A fifth of the others must be as long.
    nights = [drawn(length, seed) for seed, length in enumerate(lengths)]
    assert len(Centring.fit(nights).typical) == n_knots


def test_nights_that_are_over_do_not_count_any_more() -> None:
    short, long = drawn(15, 0), drawn(41, 1)
    course = Centring.fit([short, long]).typical
    assert len(course) == 5
    assert course[4] == Centring.fit([long]).typical[4]
    assert course[1] != Centring.fit([long]).typical[1]


def test_people_weigh_the_same_however_long_they_slept() -> None:
    one, other = np.tile([0.8, 0.1, 0.1], (11, 1)), np.tile([0.1, 0.8, 0.1], (500, 1))
    course = Centring.fit([one, other]).typical
    assert course[1] == pytest.approx((log([0.8, 0.1, 0.1]) + log([0.1, 0.8, 0.1])) / 2, abs=1e-4)
