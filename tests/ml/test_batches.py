"""What a network is fed with: columns, look-ahead, both directions, and small changes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sleepstage.engine.features import FEATURE_NAMES, FEATURES, TRACE
from sleepstage.ml.config import TrainingConfig
from sleepstage.ml.dataset import (
    Example,
    PreparedNight,
    batches,
    example,
    input_rows,
    prepare_nights,
)
from sleepstage.simulate.nights import simulate_night
from sleepstage.stages import UNSCORED
from tests.helpers.small import SMALL

COLUMNS = ("since_walk", "hr_30s", "counts_5m")
AS_IT_IS: TrainingConfig = replace(
    SMALL,
    features=COLUMNS,
    trace=False,
    noise=0.0,
    offset=0.0,
    signal_dropout=0.0,
    crop_epochs=480,
)


@pytest.fixture(scope="module")
def night() -> PreparedNight:
    (one,) = prepare_nights([simulate_night(2, hours=1.0)])
    return one


def column(night: PreparedNight, name: str) -> Any:
    return night.rows[:, FEATURE_NAMES.index(name)]


def examples(*lengths: int, n_columns: int = 3) -> list[Example]:
    """Nights that are told apart by their length."""
    return [
        Example(
            np.full((length, n_columns), length, dtype=np.float32),
            np.arange(length, dtype=np.int8) % 4,
        )
        for length in lengths
    ]


def drawn(
    nights: list[Example], config: TrainingConfig, seed: int = 0, std: float = 1.0
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Batches, what is unknown as NaN again."""
    std_F = torch.full((nights[0].rows.shape[1],), std)
    found = batches(nights, config, std_F, np.random.default_rng(seed))
    return [(_unmarked(rows, lengths), codes, lengths) for rows, codes, lengths in found]


def _unmarked(rows_BTF: Tensor, lengths_B: Tensor) -> Tensor:
    values_BTF, known_BTF = rows_BTF.chunk(2, dim=-1)
    padding_BT = torch.arange(rows_BTF.shape[1]) >= lengths_B[:, None]
    assert not rows_BTF[padding_BT].any()
    return values_BTF.where(known_BTF.bool() | padding_BT[..., None], torch.nan)


def test_columns_are_those_named_in_their_order(night: PreparedNight) -> None:
    expected = np.column_stack([column(night, name) for name in COLUMNS])
    np.testing.assert_array_equal(input_rows(night, AS_IT_IS), expected)
    np.testing.assert_array_equal(example(night, AS_IT_IS).codes, night.codes)


def test_the_trace_comes_last(night: PreparedNight) -> None:
    rows = input_rows(night, replace(AS_IT_IS, trace=True))
    np.testing.assert_array_equal(rows[:, :3], input_rows(night, AS_IT_IS))
    expected = np.column_stack([column(night, feature.name) for feature in TRACE])
    np.testing.assert_array_equal(rows[:, 3:], expected)


def test_a_whole_night_has_both_directions_side_by_side(night: PreparedNight) -> None:
    rows = input_rows(night, replace(AS_IT_IS, whole_night=True))
    ahead, back = np.split(rows, 2, axis=1)
    np.testing.assert_array_equal(ahead, input_rows(night, AS_IT_IS))
    np.testing.assert_array_equal(
        back, input_rows(replace(night, rows=night.backward_rows), AS_IT_IS)
    )


def test_what_is_to_be_told_comes_later_where_it_looks_ahead(night: PreparedNight) -> None:
    rows, codes, _ = example(night, replace(AS_IT_IS, look_ahead=3))
    assert len(rows) == len(codes) == len(night.rows) + 3
    np.testing.assert_array_equal(rows[:-3], input_rows(night, AS_IT_IS))
    assert np.isnan(rows[-3:]).all()
    assert (codes[:3] == UNSCORED).all()
    np.testing.assert_array_equal(codes[3:], night.codes)


def test_the_expert_is_asked_for_the_classes_of_the_scheme(night: PreparedNight) -> None:
    codes = example(night, replace(AS_IT_IS, scheme="five_class")).codes
    assert night.recording.reference is not None
    scored = night.codes != UNSCORED
    np.testing.assert_array_equal(codes[scored], night.recording.reference.codes[scored])
    assert (codes[~scored] == UNSCORED).all()
    assert not np.array_equal(codes, night.codes)


def test_each_night_comes_once_in_random_order_and_padded() -> None:
    nights = examples(5, 9, 7, 6, 8)
    found = drawn(nights, AS_IT_IS)
    assert [len(rows_BTF) for rows_BTF, _, _ in found] == [2, 2, 1]
    orders = {tuple(torch.cat([one[2] for one in drawn(nights, AS_IT_IS, s)])) for s in range(5)}
    assert len(orders) > 1
    assert Counter(torch.cat([one[2] for one in found]).tolist()) == Counter([5, 6, 7, 8, 9])
    for rows_BTF, codes_BT, lengths_B in found:
        assert rows_BTF.dtype == torch.float32
        assert rows_BTF.shape == (*codes_BT.shape, 3)
        for rows_TF, codes_T, length in zip(rows_BTF, codes_BT, lengths_B.tolist(), strict=True):
            assert (rows_TF[:length] == length).all()
            assert (rows_TF[length:] == 0).all()
            assert codes_T[:length].tolist() == [number % 4 for number in range(length)]
            assert (codes_T[length:] == UNSCORED).all()


def test_the_same_seed_draws_the_same() -> None:
    config = replace(AS_IT_IS, noise=0.1, offset=0.1, signal_dropout=0.5, crop_epochs=4)
    one, two, other = (drawn(examples(5, 9), config, seed) for seed in (0, 0, 1))
    torch.testing.assert_close(one, two, equal_nan=True, rtol=0, atol=0)
    assert str(one) != str(other)


def test_noise_and_offset_are_in_standard_deviations() -> None:
    nights = [Example(np.zeros((4000, 3), dtype=np.float32), np.zeros(4000, dtype=np.int8))] * 40
    uncut = replace(AS_IT_IS, batch_size=40, crop_epochs=4000)
    ((noisy, _, _),) = drawn(nights, replace(uncut, noise=0.1), std=20.0)
    assert noisy.std(dim=1).mean() == pytest.approx(2.0, rel=0.05)
    assert noisy.mean(dim=1).abs().max() < 0.2
    ((moved, _, _),) = drawn(nights, replace(uncut, offset=0.1), std=20.0)
    assert moved.std(dim=1).max() < 1e-5  # for a whole night
    assert moved[:, 0].std() == pytest.approx(2.0, rel=0.2)


def test_a_stretch_is_cut_out_with_its_stages() -> None:
    rows = np.arange(300, dtype=np.float32).reshape(100, 3)
    night = Example(rows, np.arange(100, dtype=np.int8))
    config = replace(AS_IT_IS, crop_epochs=20)
    begins = []
    for seed in range(60):
        ((rows_BTF, codes_BT, lengths_B),) = drawn([night], config, seed)
        begin = int(codes_BT[0, 0])
        np.testing.assert_array_equal(rows_BTF[0], rows[begin : begin + 20])
        assert codes_BT[0].tolist() == list(range(begin, begin + 20))
        assert lengths_B.tolist() == [20]
        begins.append(begin)
    assert 5 < begins.count(0) < 40  # the start of the night more often than chance
    assert max(begins) > 60
    ((_, _, whole),) = drawn([night], replace(config, crop_epochs=100))
    assert whole.tolist() == [100]


@pytest.mark.parametrize("whole_night", [False, True])
def test_signals_are_taken_away_from_both_directions(*, whole_night: bool) -> None:
    config = replace(AS_IT_IS, signal_dropout=1.0, whole_night=whole_night)
    signals = [FEATURES[FEATURE_NAMES.index(name)].signal for name in COLUMNS] * (1 + whole_night)
    gone = set()
    for seed in range(100):
        ((rows_BTF, codes_BT, _),) = drawn(examples(50, n_columns=len(signals)), config, seed)
        unknown = rows_BTF[0].isnan()
        for row in unknown[unknown.any(dim=1)]:
            assert (row == unknown[unknown.any(dim=1)][0]).all()
        gone |= {tuple(row.tolist()) for row in unknown}
        assert (codes_BT != UNSCORED).all()
    sets = (
        (),
        ("steps",),
        ("motion",),
        ("motion", "steps"),
        ("heart_rate",),
        ("heart_rate", "steps"),
    )
    assert gone == {tuple(signal in lost for signal in signals) for lost in sets}


def test_a_signal_is_lost_all_along_or_for_a_while_motion_most_often_and_with_steps() -> None:
    found = drawn(examples(*[50] * 400), replace(AS_IT_IS, signal_dropout=1.0, batch_size=400))
    unknown_BTF = found[0][0].isnan()
    all_along, ever = unknown_BTF.all(dim=1), unknown_BTF.any(dim=1)
    steps, heart_rate, motion = ever.float().mean(dim=0).tolist()
    assert 0.55 < motion < 0.75
    assert 0.12 < heart_rate < 0.28
    assert 0.55 < steps < 0.75
    assert 0.5 < all_along.any(dim=1).float().mean() < 0.7
    # It is one stretch.
    changes = unknown_BTF.any(dim=2).int().diff(dim=1).abs().sum(dim=1)
    assert changes.max() <= 2
    assert not (ever[:, 1] & ever[:, 2]).any()


@pytest.mark.parametrize("whole_night", [False, True])
def test_some_nights_are_taken_as_they_might_have_been_recorded(
    night: PreparedNight, *, whole_night: bool
) -> None:
    config = replace(AS_IT_IS, thinning=0.5, whole_night=whole_night)
    one = example(night, config)
    assert [share for share, _ in one.variants] == [0.25, 0.25]
    assert [
        np.array_equal(variant.rows, input_rows(prepared, config), equal_nan=True)
        for (_, variant), prepared in zip(one.variants, night.variants["thinned"], strict=True)
    ] == [True, True]
    sources = (one.rows, *(variant.rows for _, variant in one.variants))
    found = drawn([one] * 60, replace(config, batch_size=60))[0][0].numpy()
    seen = Counter(
        next(i for i, rows in enumerate(sources) if np.array_equal(got, rows, equal_nan=True))
        for got in found
    )
    assert 15 < seen[0] < 45
    assert min(seen[1], seen[2]) > 5


def test_kinds_with_a_share_are_drawn_that_often(night: PreparedNight) -> None:
    config = replace(AS_IT_IS, evenings=0.5, late_starts=0.25, crop_epochs=4000, batch_size=400)
    one = example(night, config)
    assert sum(share for share, _ in one.variants) == pytest.approx(0.75)
    longer = np.array([len(night.variants["evening"]), len(night.variants["late"])])
    assert len(one.variants) == longer.sum()
    lengths = drawn([one] * 400, config)[0][2]
    own = len(night.codes)
    assert 0.4 < (lengths > own).float().mean() < 0.6
    assert 0.18 < (lengths < own).float().mean() < 0.32
