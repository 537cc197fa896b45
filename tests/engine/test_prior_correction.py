from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sleepstage.engine.prior_correction import PriorCorrection

LOGIT = np.log(3.0)


def night(*shares: float, n_epochs: int = 1) -> NDArray[np.float32]:
    """So many epochs with these probabilities."""
    return np.tile(np.array(shares, dtype=np.float32), (n_epochs, 1))


def drawn(seed: int, n_epochs: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet([2, 6, 1, 2], n_epochs).astype(np.float32)


PEOPLE = [drawn(seed, 60 + 10 * seed) for seed in range(6)]
CORRECTION = PriorCorrection.fit(PEOPLE)
TOLD = drawn(9, 150)


def apply(prior_correction: PriorCorrection, told: NDArray[np.float32]) -> NDArray[np.float32]:
    return prior_correction.apply(told, prior_correction.initial_state(told.shape[1]))[0]


def test_without_a_typical_course_nothing_changes() -> None:
    np.testing.assert_array_equal(apply(PriorCorrection(), TOLD), TOLD)


def test_what_is_typical_stays_as_it_is() -> None:
    same = night(0.1, 0.6, 0.1, 0.2, n_epochs=100)
    found = apply(PriorCorrection.fit([same, same]), same)
    np.testing.assert_allclose(found, same, atol=2e-3)


def test_two_epochs_by_hand() -> None:
    # Typically both classes are as likely; here the first is three times as likely. Its centred log
    # is ln(3) / 2 (but for the floor), of which 1/31 and then 2/32 count as this night's habit.
    even = night(0.5, 0.5, n_epochs=2)
    found = apply(PriorCorrection.fit([even]), night(0.75, 0.25, n_epochs=2))
    for epoch, weight in enumerate((1 / 31, 2 / 32)):
        odds = np.exp(LOGIT * (1 - weight))
        assert found[epoch, 0] == pytest.approx(odds / (1 + odds), abs=1e-3)


def test_a_habit_that_lasts_is_taken_away_and_a_change_is_kept() -> None:
    typical = PriorCorrection.fit([night(0.2, 0.6, 0.2, n_epochs=400)])
    habit = night(0.2, 0.35, 0.45, n_epochs=300)  # deep sleep all night long
    change = night(0.2, 0.15, 0.65, n_epochs=30)
    found = apply(typical, np.concatenate([habit, change]))
    assert habit[0].argmax() == 2
    assert found[299].argmax() == 1
    assert found[310].argmax() == 2


def test_what_is_certain_stays_so() -> None:
    typical = PriorCorrection.fit([night(0.05, 0.75, 0.2, n_epochs=400)])
    awake = night(0.97, 0.02, 0.01, n_epochs=400)
    found = apply(typical, awake)
    assert (found.argmax(axis=1) == 0).all()
    assert found[-1, 0] < awake[-1, 0]


def test_probabilities_stay_probabilities() -> None:
    told = np.concatenate([TOLD, night(1, 0, 0, 0), night(0, 0, 0, 1)])
    found = apply(CORRECTION, told)
    assert found.dtype == np.float32
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


@given(cuts=st.lists(st.integers(0, len(TOLD)), max_size=6))
def test_any_chunking_gives_the_same_bits(cuts: list[int]) -> None:
    state, parts = CORRECTION.initial_state(4), []
    for chunk in np.split(TOLD, sorted(cuts)):
        part, state = CORRECTION.apply(chunk, state)
        parts.append(part)
    np.testing.assert_array_equal(np.concatenate(parts), apply(CORRECTION, TOLD))


def test_the_typical_course_is_the_mean_over_people_of_the_running_mean() -> None:
    two = [night(0.75, 0.25, n_epochs=31), night(0.5, 0.5, n_epochs=31)]
    two[1][10:] = 0.25, 0.75
    first, second, third, last = PriorCorrection.fit(two).typical
    half = LOGIT / 2
    assert first == pytest.approx([half / 2, -half / 2], abs=2e-3)
    assert second[0] == pytest.approx((half - half * 1 / 11) / 2, abs=2e-3)
    assert third[0] == pytest.approx((half - half * 11 / 21) / 2, abs=2e-3)
    assert last[0] == pytest.approx((half - half * 21 / 31) / 2, abs=2e-3)


def test_the_course_ends_where_few_nights_are_as_long() -> None:
    nights = [drawn(seed, 100) for seed in range(9)]
    assert len(PriorCorrection.fit([*nights, drawn(10, 900)]).typical) == 10
    assert len(PriorCorrection.fit([*nights[:3], drawn(10, 900), drawn(11, 900)]).typical) == 90
    # Later than its end it stays, so that a longer night is measured against its last value.
    assert np.isfinite(apply(PriorCorrection.fit(nights), drawn(12, 500))).all()


def test_the_course_lies_between_its_knots_and_stays_after_the_last() -> None:
    course = PriorCorrection(((0.0, 0.5, -0.5), (0.25, 0.25, -0.5), (0.5, 0.0, -0.5)))
    told = night(0.5, 0.4, 0.1, n_epochs=60)
    logs = np.log(np.array([0.5, 0.4, 0.1]) + 1e-3)
    logs -= logs.mean()
    found = apply(course, told)
    for epoch, typical in (
        (0, (0.0, 0.5, -0.5)),
        (5, (0.125, 0.375, -0.5)),
        (10, (0.25, 0.25, -0.5)),
        (20, (0.5, 0.0, -0.5)),
        (59, (0.5, 0.0, -0.5)),
    ):
        habit = (logs - typical) * (epoch + 1) / (epoch + 1 + 30)
        odds = np.exp(logs - habit)
        assert found[epoch] == pytest.approx(odds / odds.sum(), abs=1e-6)


def test_nothing_is_remembered_before_the_first_epoch_and_the_future_changes_nothing() -> None:
    begin = CORRECTION.initial_state(4)
    assert begin.shape == (5,)
    assert not begin.any()
    _, state = CORRECTION.apply(TOLD[:7], begin)
    assert state[0] == 7
    assert not begin.any()
    for n_known in (1, 10, 149):
        np.testing.assert_array_equal(
            apply(CORRECTION, TOLD[:n_known]), apply(CORRECTION, TOLD)[:n_known]
        )
