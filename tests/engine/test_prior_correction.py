from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sleepstage.engine.prior_correction import PriorCorrection

LOGIT = np.log(3.0)
HOUR = 120  # epochs


def night(*shares: float, n_epochs: int = 1) -> NDArray[np.float32]:
    """So many epochs with these probabilities."""
    return np.tile(np.array(shares, dtype=np.float32), (n_epochs, 1))


def drawn(seed: int, n_epochs: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet([2, 6, 1, 2], n_epochs).astype(np.float32)


def asleep(seed: int, n_epochs: int) -> NDArray[np.float32]:
    """Certainly, in one stage or another."""
    rng = np.random.default_rng(seed)
    return np.insert(rng.dirichlet([6, 1, 2], n_epochs), 0, 0, axis=1).astype(np.float32)


PEOPLE = [drawn(seed, 60 + 10 * seed) for seed in range(6)]
CORRECTION = PriorCorrection.fit(PEOPLE)
TOLD = drawn(9, 150)


def apply(
    prior_correction: PriorCorrection, told: NDArray[np.float32], *, awake: float = 0.0
) -> NDArray[np.float32]:
    """From the start of a recording, or after so many epochs of wake."""
    state = prior_correction.initial_state(told.shape[1])
    state[0] = awake
    return prior_correction.apply(told, state)[0]


def test_without_a_typical_course_nothing_changes() -> None:
    np.testing.assert_array_equal(apply(PriorCorrection(), TOLD), TOLD)


def test_what_is_typical_stays_as_it_is() -> None:
    same = night(0.1, 0.6, 0.1, 0.2, n_epochs=100)
    found = apply(PriorCorrection.fit([same, same]), same)
    np.testing.assert_allclose(found, same, atol=2e-3)


def test_two_epochs_by_hand() -> None:
    # Typically light and deep sleep are as likely; here light is three times as likely. An epoch is
    # sleep by 0.8 squared; of the first, an hour of wake would forget half.
    even, mine = night(0.2, 0.4, 0.4, n_epochs=2), night(0.2, 0.6, 0.2, n_epochs=2)
    found = apply(PriorCorrection.fit([even]), mine, awake=6)
    typical, logs = (np.log(one[0] + 1e-3) for one in (even, mine))
    deviation = logs - logs.mean() - (typical - typical.mean())
    assert deviation[1] - deviation[2] == pytest.approx(LOGIT, abs=5e-3)
    kept = 1 - 0.2 * (1 - 0.5 ** (1 / HOUR))
    before = 6.0
    for epoch, asleep in enumerate((0.64, 0.64 * kept + 0.64)):
        before += 0.2 * 0.5 ** (asleep / 20)
        seen = before**2 / (before**2 + 64)
        odds = np.exp(logs - seen * deviation * asleep / (asleep + 30))
        assert found[epoch] == pytest.approx(odds / odds.sum(), abs=2e-5)


def test_an_hour_of_certain_wake_halves_what_is_remembered() -> None:
    _, state = CORRECTION.apply(TOLD, CORRECTION.initial_state(4))
    for hours in (1, 2, 7):
        _, later = CORRECTION.apply(night(1, 0, 0, 0, n_epochs=hours * HOUR), state)
        assert later[1:] == pytest.approx(state[1:] * 0.5**hours)
    _, later = CORRECTION.apply(night(0, 0, 1, 0), state)
    assert later[1] == state[1] + 1
    _, later = CORRECTION.apply(night(0.5, 0.5, 0, 0), state)
    assert later[1] == pytest.approx(state[1] * (1 + 0.5 ** (1 / HOUR)) / 2 + 0.25)


def test_sleep_whose_begin_was_not_seen_is_left_as_it_is() -> None:
    typical = PriorCorrection.fit([night(0.05, 0.75, 0.2, n_epochs=400)])
    told = night(0.05, 0.4, 0.55, n_epochs=240)
    np.testing.assert_allclose(apply(typical, told), told, atol=0.02)
    corrected = [apply(typical, told, awake=epochs)[-1, 2] for epochs in (0, 4, 8, 16, 60)]
    assert corrected == sorted(corrected, reverse=True)
    assert corrected[-1] < 0.4 < 0.53 < corrected[0]


def test_wake_counts_the_less_the_longer_a_night_has_gone_on() -> None:
    sleep, wake = night(0, 0.5, 0.5, n_epochs=120), night(1, 0, 0, n_epochs=20)
    typical = PriorCorrection(((0.0, 0.0, 0.0),))

    def wake_before(told: NDArray[np.float32]) -> float:
        return float(typical.apply(told, typical.initial_state(3))[1][0])

    assert wake_before(np.concatenate([wake, sleep])) == pytest.approx(20)
    assert wake_before(np.concatenate([sleep, wake])) < 1
    # A day later that night is forgotten: the evening counts.
    assert wake_before(np.concatenate([sleep, night(1, 0, 0, n_epochs=8 * HOUR)])) > 400


@pytest.mark.parametrize(
    ("wake", "at_first", "later"), [(1.0, 0, 0), (0.99, 0.001, 0.001), (0.95, 0.02, 0.01)]
)
def test_ten_hours_of_wake_before_the_night_matter_the_less_the_surer_they_are(
    wake: float, at_first: float, later: float
) -> None:
    evening = night(wake, *[(1 - wake) / 3] * 3, n_epochs=10 * HOUR)
    found = apply(CORRECTION, np.concatenate([evening, TOLD]))[len(evening) :]
    difference = np.abs(found - apply(CORRECTION, TOLD, awake=10 * HOUR))
    assert difference.max() <= at_first
    assert difference[HOUR:].max() <= later


def test_hours_of_wake_before_the_nights_change_no_typical_course() -> None:
    evening = night(1, 0, 0, 0, n_epochs=4 * HOUR)
    later = PriorCorrection.fit([np.concatenate([evening, one]) for one in PEOPLE])
    assert later.typical[1:] == CORRECTION.typical[1:]


def test_nobody_asleep_makes_no_typical_course() -> None:
    assert PriorCorrection.fit([night(1, 0, 0, 0, n_epochs=50)] * 2).typical == ()


def test_a_habit_that_lasts_is_taken_away_and_a_change_is_kept() -> None:
    typical = PriorCorrection.fit([night(0.2, 0.6, 0.2, n_epochs=400)])
    habit = night(0.2, 0.35, 0.45, n_epochs=300)  # deep sleep all night long
    change = night(0.2, 0.15, 0.65, n_epochs=30)
    found = apply(typical, np.concatenate([habit, change]), awake=60)
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
    two = [night(0, 0.75, 0.25, n_epochs=31), night(0, 0.5, 0.5, n_epochs=31)]
    two[1][10:] = 0, 0.25, 0.75
    first, second, third, last = PriorCorrection.fit(two).typical
    half = LOGIT / 2

    def turned(knot: int) -> float:
        """Share of the epochs after the tenth in the running means of those about a knot."""
        near = range(max(knot - 5, 1), min(knot + 5, 31) + 1)
        return float(np.mean([max(n - 10, 0) / n for n in near]))

    for found, share in zip(
        (first, second, third, last), map(turned, (0, 10, 20, 30)), strict=True
    ):
        # The difference of the two classes: their mean depends on that of wake.
        assert found[1] - found[2] == pytest.approx((2 * half - 2 * half * share) / 2, abs=5e-3)
    assert first[1] - first[2] == pytest.approx(half, abs=5e-3)
    assert turned(30) > turned(20) > turned(10) > 0


def test_the_course_ends_where_few_nights_are_as_long() -> None:
    nights = [asleep(seed, 100) for seed in range(9)]
    assert len(PriorCorrection.fit([*nights, asleep(10, 900)]).typical) == 10
    assert len(PriorCorrection.fit([*nights[:3], asleep(10, 900), asleep(11, 900)]).typical) == 90
    # Epochs of sleep count, not those of wake.
    longer = [np.concatenate([one, night(1, 0, 0, 0, n_epochs=900)]) for one in nights]
    assert len(PriorCorrection.fit(longer).typical) == 10
    # Later than its end it stays, so that a longer night is measured against its last value.
    assert np.isfinite(apply(PriorCorrection.fit(nights), drawn(12, 500))).all()


def test_the_course_lies_between_its_knots_and_stays_after_the_last() -> None:
    course = PriorCorrection(((0.0, 0.5, -0.5), (0.25, 0.25, -0.5), (0.5, 0.0, -0.5)))
    told = night(0.0, 0.8, 0.2, n_epochs=60)
    logs = np.log(np.array([0.0, 0.8, 0.2]) + 1e-3)
    logs -= logs.mean()
    found = apply(course, told, awake=1e6)  # its begin was seen for certain
    for n_asleep, typical in (
        (1, (0.025, 0.475, -0.5)),
        (5, (0.125, 0.375, -0.5)),
        (10, (0.25, 0.25, -0.5)),
        (20, (0.5, 0.0, -0.5)),
        (60, (0.5, 0.0, -0.5)),
    ):
        habit = ((logs - typical) * n_asleep / (n_asleep + 30)).clip(-1, 1)
        odds = np.exp(logs - habit)
        assert found[n_asleep - 1] == pytest.approx(odds / odds.sum(), abs=1e-6)


def test_nothing_is_remembered_before_the_first_epoch_and_the_future_changes_nothing() -> None:
    begin = CORRECTION.initial_state(4)
    assert begin.shape == (6,)
    assert not begin.any()
    _, state = CORRECTION.apply(TOLD[:7], begin)
    squares = ((1 - TOLD[:7, 0]) ** 2).sum()
    assert 0.95 * squares < state[1] < squares
    assert not begin.any()
    for n_known in (1, 10, 149):
        np.testing.assert_array_equal(
            apply(CORRECTION, TOLD[:n_known]), apply(CORRECTION, TOLD)[:n_known]
        )
