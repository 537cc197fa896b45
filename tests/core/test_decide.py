"""Another operating point for the same probabilities."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from sleepstage.core.hypnogram import Hypnogram
from sleepstage.errors import DataError
from sleepstage.stages import FOUR_CLASS, UNSCORED, Stage


def undecided(*rows: list[float], codes: list[int] | None = None) -> Hypnogram:
    p = np.array(rows, dtype=np.float32)
    decided = p.argmax(axis=1) if codes is None else np.array(codes)
    return Hypnogram(5.0, decided.astype(np.int8), FOUR_CLASS, p, "46343", simulated=True)


def test_a_factor_moves_the_decision() -> None:
    one = undecided([0.4, 0.3, 0.1, 0.2], [0.1, 0.5, 0.2, 0.2], [0.2, 0.1, 0.1, 0.6])
    assert one.decide({"rem": 2.1}).stages.tolist() == ["rem", "light", "rem"]
    assert one.decide({"rem": 2.6}).stages.tolist() == ["rem", "rem", "rem"]
    assert one.decide({"rem": 0.1, "light": 2}).stages.tolist() == ["light", "light", "wake"]


def test_what_is_decided_again_is_the_same_night_otherwise() -> None:
    one = undecided([0.4, 0.3, 0.1, 0.2])
    again = one.decide({"rem": 3})
    assert (again.start, again.subject, again.simulated) == (5.0, "46343", True)
    assert again.scheme is one.scheme
    assert again.probabilities is one.probabilities
    assert one.stages.tolist() == ["wake"]


@given(p=npst.arrays(np.float32, (6, 4), elements=st.floats(0, 1, width=32)))
def test_without_factors_the_largest_probability_decides(p: Any) -> None:
    one = Hypnogram(0.0, np.zeros(6, dtype=np.int8), FOUR_CLASS, p)
    assert np.array_equal(one.decide({}).codes, p.argmax(axis=1))
    assert np.array_equal(one.decide({"rem": 1.0, "wake": 1.0}).codes, p.argmax(axis=1))
    assert one.decide({}).codes.dtype == np.int8


def test_an_unscored_epoch_stays_unscored() -> None:
    one = undecided([0.4, 0.3, 0.1, 0.2], [0.7, 0.1, 0.1, 0.1])
    one = replace(one, codes=np.array([UNSCORED, 0], dtype=np.int8))
    assert one.decide({"rem": 100}).stages.tolist() == ["unscored", "rem"]
    unknown = undecided([np.nan] * 4, [0.7, 0.1, 0.1, 0.1], codes=[UNSCORED, 0])
    assert unknown.decide({"wake": 100}).stages.tolist() == ["unscored", "wake"]


def test_nothing_is_decided_from_nothing() -> None:
    with pytest.raises(DataError, match="no class n1 in four_class"):
        undecided([0.4, 0.3, 0.1, 0.2]).decide({"n1": 2, "rem": 2})
    for class_weights in ({"rem": 2.0}, {}):
        with pytest.raises(DataError, match="no probabilities"):
            Hypnogram.from_stages([Stage.WAKE]).decide(class_weights)
