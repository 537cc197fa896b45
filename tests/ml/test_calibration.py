from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sleepstage.core.hypnogram import certainty, likeliest, temper
from sleepstage.ml.dataset import prepare_nights
from sleepstage.ml.neural import best_temperature
from sleepstage.simulate.nights import simulate_night
from sleepstage.stages import UNSCORED

shares = arrays(np.float64, (5, 4), elements=st.floats(0.01, 1)).map(
    lambda odds: odds / odds.sum(axis=1, keepdims=True)
)


@given(probabilities=shares, temperature=st.floats(0.3, 3))
def test_the_order_of_classes_stays(probabilities: np.ndarray, temperature: float) -> None:
    tempered = temper(probabilities, temperature)
    np.testing.assert_allclose(tempered.sum(axis=1), 1, atol=1e-6)
    rows, best = np.arange(5), probabilities.argmax(axis=1)
    np.testing.assert_allclose(tempered.max(axis=1), tempered[rows, best], atol=1e-6)


def test_a_low_temperature_sharpens() -> None:
    (sharper,) = temper(np.array([[0.5, 0.25, 0.25]]), 0.5)
    np.testing.assert_allclose(sharper, [4 / 6, 1 / 6, 1 / 6], atol=1e-6)
    np.testing.assert_allclose(temper(np.array([[1.0, 0.0]]), 0.5), [[1, 0]], atol=1e-6)


def test_certainty_is_one_less_normalised_entropy() -> None:
    told = np.array([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0], [np.nan] * 4], dtype=np.float32)
    np.testing.assert_allclose(certainty(told), [1, 0, 0.5, 0], atol=1e-5)


def test_the_temperature_found_undoes_another() -> None:
    """Labels drawn from known probabilities, which the model then tells too timidly."""
    (night,) = prepare_nights([simulate_night(4, hours=8.0)])
    rng = np.random.default_rng(1)
    true = rng.dirichlet([0.5] * 4, size=len(night.codes))
    drawn = np.array([rng.choice(4, p=row) for row in true], dtype=np.int8)
    night.codes[:] = np.where(night.codes == UNSCORED, UNSCORED, drawn)
    timid = {night.subject: temper(true, 2.0)}
    assert best_temperature([night], timid, "four_class") == pytest.approx(0.5, rel=0.1)


def test_the_likeliest_class_is_told_where_anything_is_known() -> None:
    told = np.array([[0.2, 0.5, 0.3], [np.nan] * 3, [0.4, 0.4, 0.2]], dtype=np.float32)
    codes = likeliest(told)
    assert codes.dtype == np.int8
    assert codes.tolist() == [1, UNSCORED, 0]
    assert likeliest(told * [3, 1, 1]).tolist() == [0, UNSCORED, 0]
