from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sleepstage.core.samples import Samples
from sleepstage.errors import DataError

number = st.floats(-1e6, 1e6)
rows = st.lists(st.tuples(st.integers(0, 9), number, number), max_size=20)


def clean(table: list[tuple[float, float, float]]) -> Samples:
    array = np.array(table, dtype=np.float64).reshape(-1, 3)
    return Samples.clean(array[:, 0], array[:, 1:], name="tilt", columns=2)


@given(rows=rows, data=st.data())
def test_neither_order_nor_copies_matter(rows: list[Any], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(rows + rows[:3]))
    one, other = clean(rows), clean(shuffled)
    assert np.array_equal(one.times, other.times)
    assert np.array_equal(one.values, other.values)


@given(rows=rows)
def test_samples_are_sorted_and_each_is_there_once(rows: list[Any]) -> None:
    samples = clean(rows)
    assert (np.diff(samples.times) >= 0).all()
    kept = np.column_stack([samples.times, samples.values]).tolist()
    assert {tuple(row) for row in kept} == {tuple(map(float, row)) for row in rows}
    assert len(kept) == len({tuple(row) for row in kept})


def test_equal_times_with_different_values_both_stay() -> None:
    samples = Samples.clean([5, 5, 5], [61, 60, 61], name="heart rate")
    assert samples.times.tolist() == [5, 5]
    assert samples.values.tolist() == [60, 61]


@pytest.mark.parametrize(
    ("times", "values", "columns", "expected"),
    [
        ([1, 2], [1], 1, r"pulse: times have shape \(2,\), values \(1,\), expected \(n,\)"),
        ([1, 2], [[1], [2]], 1, r"values \(2, 1\), expected \(n,\) and \(n,\)"),
        ([1, 2], [1, 2], 3, r"values \(2,\), expected \(n,\) and \(n, 3\)"),
        ([1], [[1, 2, 3, 4]], 3, r"values \(1, 4\), expected \(n,\) and \(n, 3\)"),
        ([[1, 2]], [[1, 2]], 1, r"times have shape \(1, 2\)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(
    times: Any, values: Any, columns: int, expected: str
) -> None:
    with pytest.raises(DataError, match=expected):
        Samples.clean(times, values, name="pulse", columns=columns)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_sample_that_is_no_number_is_named(bad: float) -> None:
    with pytest.raises(DataError, match=rf"pulse: sample 1 is \[5\.0, {bad}\]"):
        Samples.clean([0, 5, 10], [60, bad, bad], name="pulse")
    with pytest.raises(DataError, match=rf"pulse: sample 2 is \[{bad}, 62\.0\]"):
        Samples.clean([0, 5, bad], [60, 61, 62], name="pulse")


def test_between_includes_its_start_and_not_its_end() -> None:
    samples = Samples.clean([0, 1, 2, 3], [10, 11, 12, 13], name="pulse")
    assert samples.between(1, 3).values.tolist() == [11, 12]
    assert len(samples.between(3, 1)) == 0


@given(
    times=st.lists(st.integers(0, 20), min_size=1),
    edges=st.lists(st.integers(-1, 21), max_size=6).map(sorted),
)
def test_pieces_follow_each_other_to_the_whole(times: list[int], edges: list[int]) -> None:
    whole = Samples.clean(times, np.arange(len(times)), name="pulse")
    joined = Samples.empty()
    for start, end in zip([-math.inf, *edges], [*edges, math.inf], strict=True):
        joined = joined.followed_by(whole.between(start, end))
    assert np.array_equal(joined.times, whole.times)
    assert np.array_equal(joined.values, whole.values)


def test_keep_takes_times_and_values_alike() -> None:
    samples = Samples.clean([0, 1, 2], [[1, 2], [3, 4], [5, 6]], name="tilt", columns=2)
    kept = samples.keep(np.array([True, False, True]))
    assert kept.times.tolist() == [0, 2]
    assert kept.values.tolist() == [[1, 2], [5, 6]]


@pytest.mark.parametrize(("columns", "shape"), [(1, (0,)), (4, (0, 4))])
def test_a_missing_signal_has_its_shape(columns: int, shape: tuple[int, ...]) -> None:
    missing = Samples.empty(columns)
    assert len(missing) == 0
    assert missing.values.shape == shape


@pytest.mark.parametrize(
    ("times", "values"),
    [(["now"], [60]), ([0.0], ["sixty"]), ([0.0], [{}]), ([0.0, 1.0], [[60.0], [61.0, 62.0]])],
)
def test_what_is_no_number_is_refused(times: Any, values: Any) -> None:
    with pytest.raises(DataError, match="pulse: expected times and values as arrays of numbers"):
        Samples.clean(times, values, name="pulse")


def test_thinned_samples_are_so_far_apart() -> None:
    samples = Samples.clean([-5, 0, 54.9, 55, 56, 300, 359], np.arange(7), name="pulse")
    assert samples.thinned(60).times.tolist() == [-5, 55, 300]
    assert samples.thinned(60).values.tolist() == [0, 3, 5]
    assert len(Samples.empty().thinned(60)) == 0


@pytest.mark.parametrize(("window_ends", "numbers"), [(False, [0, 1, 2]), (True, [1, 2, 3])])
def test_a_sample_at_an_edge_belongs_to_one_side_of_it(
    window_ends: bool, numbers: list[int]
) -> None:
    samples = Samples(np.array([0.0, 30, 60]), np.array([1.0, 2, 3]))
    assert samples.n_before([0, 30, 60], window_ends=window_ends).tolist() == numbers
    assert samples.n_before(45, window_ends=window_ends) == 2
    first, last = numbers[0], numbers[2]
    between = samples.between(0, 60, window_ends=window_ends)
    assert between.values.tolist() == samples.values[first:last].tolist()
