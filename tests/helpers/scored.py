"""Small scored nights for tests of what is made of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sleepstage.core.agreement import ScoredNight
from sleepstage.core.hypnogram import Hypnogram
from sleepstage.stages import FOUR_CLASS, Scheme

LETTERS = {"w": 0, "l": 1, "d": 2, "r": 3, "-": -1}


def hypnogram(
    epochs: str, probabilities: Sequence[Sequence[float]] | None = None, scheme: Scheme = FOUR_CLASS
) -> Hypnogram:
    """A hypnogram of four classes from letters: w, l, d, r and - for unscored."""
    codes = np.array([LETTERS[letter] for letter in epochs], dtype=np.int8)
    rows = None if probabilities is None else np.array(probabilities, dtype=np.float32)
    return Hypnogram(0.0, codes, scheme, None if rows is None else rows.reshape(len(codes), -1))


def night(
    reference: str,
    predicted: str,
    mask: str | None = None,
    *,
    probabilities: Sequence[Sequence[float]] | None = None,
) -> ScoredNight:
    """A scored night from letters; the mask has a 1 for each epoch that counts."""
    counted = np.array([digit == "1" for digit in mask or "1" * len(reference)], dtype=np.bool_)
    return ScoredNight(hypnogram(predicted, probabilities), hypnogram(reference), counted)


def nights(
    letters: str = "wldr-", *, min_people: int = 1
) -> st.SearchStrategy[dict[str, ScoredNight]]:
    """Up to six people with up to twenty epochs each."""
    epochs = st.lists(
        st.tuples(*[st.sampled_from(letters)] * 2, st.sampled_from("01")), max_size=20
    )
    one = epochs.map(
        lambda rows: night(*("".join(row[column] for row in rows) for column in range(3)))
    )
    people = st.lists(one, min_size=min_people, max_size=6)
    return people.map(lambda all_: {str(number): each for number, each in enumerate(all_)})


def is_plain(value: Any) -> bool:
    """Whether JSON can hold `value` as it is: no numpy types, no NaN."""
    if is_dataclass(value) and not isinstance(value, type):
        return is_plain(asdict(value))
    if isinstance(value, dict):
        return all(type(key) is str and is_plain(inner) for key, inner in value.items())
    if isinstance(value, list):
        return all(map(is_plain, value))
    if type(value) is float:
        return math.isfinite(value)
    return value is None or type(value) in {int, str}
