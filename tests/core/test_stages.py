from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sleepstage.errors import DataError
from sleepstage.stages import (
    FIVE_CLASS,
    FOUR_CLASS,
    SCHEMES,
    THREE_CLASS,
    TWO_CLASS,
    UNSCORED,
    WAKE,
    Scheme,
    Stage,
    stages_from_codes,
)

SCORED = frozenset(Stage) - {Stage.UNSCORED}
any_scheme = pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES.keys())


@any_scheme
def test_every_scored_stage_is_in_just_one_class(scheme: Scheme) -> None:
    members = [stage for group in scheme.members for stage in group]
    assert sorted(members) == sorted(SCORED)
    assert len(scheme) == len(scheme.classes) == len(scheme.members)


@any_scheme
def test_wake_is_the_first_class_of_every_scheme(scheme: Scheme) -> None:
    assert scheme.classes[0] == "wake"
    assert scheme.classes.index("wake") == WAKE == int(Stage.WAKE)
    assert scheme.encode([Stage.WAKE]).tolist() == [0]


@any_scheme
def test_unscored_stays_unscored(scheme: Scheme) -> None:
    assert scheme.encode([Stage.UNSCORED]).tolist() == [UNSCORED]


@pytest.mark.parametrize(
    ("scheme", "codes"),
    [
        (FIVE_CLASS, [0, 1, 2, 3, 4, -1]),
        (FOUR_CLASS, [0, 1, 1, 2, 3, -1]),
        (THREE_CLASS, [0, 1, 1, 1, 2, -1]),
        (TWO_CLASS, [0, 1, 1, 1, 1, -1]),
    ],
)
def test_codes_of_each_scheme(scheme: Scheme, codes: list[int]) -> None:
    night = [Stage.WAKE, Stage.N1, Stage.N2, Stage.N3, Stage.REM, Stage.UNSCORED]
    encoded = scheme.encode(night)
    assert encoded.tolist() == codes
    assert encoded.dtype == np.int8


def test_hypnograms_are_drawn_with_rem_below_wake() -> None:
    assert FIVE_CLASS.from_top == ["wake", "rem", "n1", "n2", "n3"]
    assert FOUR_CLASS.from_top == ["wake", "rem", "light", "deep"]
    assert THREE_CLASS.from_top == ["wake", "rem", "nrem"]
    assert TWO_CLASS.from_top == ["wake", "sleep"]


def test_schemes_are_found_by_name_finest_first() -> None:
    assert list(SCHEMES) == ["five_class", "four_class", "three_class", "two_class"]
    assert all(name == scheme.name for name, scheme in SCHEMES.items())
    sizes = [len(scheme) for scheme in SCHEMES.values()]
    assert sizes == sorted(sizes, reverse=True)


@given(
    stages=st.lists(st.sampled_from(Stage), min_size=1),
    pair=st.sampled_from(
        [(a, b) for a in SCHEMES.values() for b in SCHEMES.values() if len(b) <= len(a)]
    ),
)
def test_merging_codes_is_encoding_in_the_coarser_scheme(
    stages: list[Stage], pair: tuple[Scheme, Scheme]
) -> None:
    finer, coarser = pair
    table = np.array([*finer.merge_to(coarser), UNSCORED])
    assert np.array_equal(table[finer.encode(stages)], coarser.encode(stages))


def test_classes_can_not_be_split() -> None:
    with pytest.raises(DataError, match="'light' of four_class is no part of a class of five"):
        FOUR_CLASS.merge_to(FIVE_CLASS)


def test_stage_4_of_the_older_rules_is_n3() -> None:
    stages = stages_from_codes([-1, 0, 1, 2, 3, 4, 5])
    assert [Stage(stage).name for stage in stages] == (
        ["UNSCORED", "WAKE", "N1", "N2", "N3", "N3", "REM"]
    )


def test_codes_may_be_decimal_numbers_as_files_are_read() -> None:
    assert stages_from_codes(np.array([0.0, 5.0])).tolist() == [Stage.WAKE, Stage.REM]


@pytest.mark.parametrize("code", [6, -2, 1.5, 30, math.nan, math.inf])
def test_an_unknown_code_is_named_with_its_position(code: float) -> None:
    with pytest.raises(DataError, match=rf"code {code:g} at position 2: expected one of -1 to 5"):
        stages_from_codes([0, 1, code, code])


def test_no_codes_are_no_stages() -> None:
    assert stages_from_codes([]).shape == (0,)
