"""The networks by themselves: what they see, what they remember, and what padding does to them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sleepstage.errors import DataError
from sleepstage.ml.networks import (
    CausalNetwork,
    RecurrentConfig,
    TransformerConfig,
    WholeNightNetwork,
    flip,
)
from tests.helpers.networks import KINDS, MEAN, N_FEATURES, marked, network, some_rows, whole_night

every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True, scope="module")
def no_gradients() -> Iterator[None]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two wait for each other longer than these networks take
    with torch.no_grad():
        yield
    torch.set_num_threads(n_threads)


def scores(model: CausalNetwork, rows_BTF: Tensor) -> Tensor:
    return model(rows_BTF, model.initial_state(len(rows_BTF)))[0]  # type: ignore[no-any-return]


def same(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=0, atol=1e-5)


@every_kind
@pytest.mark.parametrize("now", [1, 7, 29])
def test_the_future_changes_no_earlier_score(kind: str, now: int) -> None:
    rows_BTF = some_rows(2, 30)
    changed_BTF = rows_BTF.clone()
    changed_BTF[:, now:] = 9.0
    model = network(kind)
    before_BTC, after_BTC = scores(model, rows_BTF), scores(model, changed_BTF)
    assert same(before_BTC[:, :now], after_BTC[:, :now])
    assert not same(before_BTC[:, now], after_BTC[:, now])


@every_kind
@given(cuts=st.sets(st.integers(1, 24), max_size=8))
def test_state_carries_over_wherever_the_night_is_cut(kind: str, cuts: set[int]) -> None:
    rows_BTF, model = some_rows(2, 25), network(kind)
    state, parts = model.initial_state(2), []
    for chunk_BTF in rows_BTF.tensor_split(sorted(cuts), dim=1):
        part_BTC, state = model(chunk_BTF, state)
        parts.append(part_BTC)
    whole_BTC, last = model(rows_BTF, model.initial_state(2))
    assert same(torch.cat(parts, dim=1), whole_BTC)
    assert all(map(same, state, last))


@every_kind
def test_nothing_is_remembered_before_the_first_epoch(kind: str) -> None:
    state = network(kind).initial_state(3)
    assert not any(part.any() for part in state)
    _, after = network(kind)(some_rows(3, 4), state)
    assert [part.shape for part in after] == [part.shape for part in state]
    assert all(part.any() for part in after)


@every_kind
def test_nights_of_a_batch_do_not_mix(kind: str) -> None:
    rows_BTF, model = some_rows(3, 12), network(kind)
    alone = [scores(model, rows_BTF[number : number + 1]) for number in range(3)]
    assert same(scores(model, rows_BTF), torch.cat(alone))


@every_kind
def test_unknown_is_told_from_average(kind: str) -> None:
    model = network(kind)
    average = scores(model, marked(MEAN.expand(1, 1, N_FEATURES)))
    unknown = scores(model, marked(torch.full((1, 1, N_FEATURES), torch.nan)))
    assert torch.isfinite(unknown).all()
    assert not torch.allclose(average, unknown)


@every_kind
def test_an_outlier_is_large_and_no_more(kind: str) -> None:
    model = network(kind)
    huge, large = (marked(torch.full((1, 1, N_FEATURES), value)) for value in (1e6, 1e3))
    assert torch.equal(scores(model, huge), scores(model, large))


@every_kind
def test_units_are_left_out_in_training_only(kind: str) -> None:
    model, rows_BTF = network(kind), some_rows(1, 9)
    assert torch.equal(scores(model, rows_BTF), scores(model, rows_BTF))
    with torch.random.fork_rng():
        model.train()
        assert not same(scores(model, rows_BTF), scores(model, rows_BTF))


def test_an_unknown_cell_is_named() -> None:
    with pytest.raises(DataError, match=r"network\.cell=rnn: expected one of lstm, gru"):
        RecurrentConfig(cell="rnn")


# The Transformer's memory


@pytest.mark.parametrize(("layers", "context"), [(1, 1), (1, 4), (2, 4), (3, 3)])
def test_a_transformer_looks_back_just_so_far(layers: int, context: int) -> None:
    config = TransformerConfig(width=8, heads=2, layers=layers, context=context)
    torch.manual_seed(0)
    model = config.build(torch.zeros(N_FEATURES), torch.ones(N_FEATURES), 4, 0).eval()
    rows_BTF = some_rows(1, 30)
    changed_BTF = rows_BTF.clone()
    changed_BTF[:, 9] += 3.0
    reach = layers * (context - 1)
    moved_T = (scores(model, rows_BTF) != scores(model, changed_BTF)).any(dim=-1)[0]
    assert moved_T.nonzero().flatten().tolist() == list(range(9, 9 + reach + 1))


@pytest.mark.parametrize("n_epochs", [1, 10])
def test_what_was_not_seen_is_not_attended_to(n_epochs: int) -> None:
    model = network("transformer")
    memory_LBSD, seen_BS = model.initial_state(1)
    rows_BTF, noise_LBSD = some_rows(1, n_epochs), torch.ones_like(memory_LBSD)
    expected, _ = model(rows_BTF, (memory_LBSD, seen_BS))
    unseen, _ = model(rows_BTF, (noise_LBSD, seen_BS))
    seen, _ = model(rows_BTF, (noise_LBSD, seen_BS + 1))
    assert same(unseen, expected)
    assert not same(seen, expected)


def test_a_transformer_tells_distances_apart() -> None:
    one_layer = TransformerConfig(width=8, heads=2, layers=1, context=6)
    torch.manual_seed(0)
    model = one_layer.build(torch.zeros(N_FEATURES), torch.ones(N_FEATURES), 4, 0).eval()
    rows_BTF = some_rows(1, 4)
    swapped_BTF = rows_BTF[:, [1, 0, 2, 3]]
    assert not same(scores(model, rows_BTF)[:, 3], scores(model, swapped_BTF)[:, 3])
    model.get_buffer("slope_N").zero_()
    assert same(scores(model, rows_BTF)[:, 3], scores(model, swapped_BTF)[:, 3])


@pytest.mark.parametrize("n_epochs", [1, 5, 6, 7, 12, 20])
def test_a_night_scored_in_stretches_is_the_night_scored_at_once(n_epochs: int) -> None:
    model, rows_BTF = network("transformer"), some_rows(2, n_epochs)
    found_BTC = model.score(rows_BTF, torch.tensor([n_epochs] * 2))
    assert same(found_BTC, scores(model, rows_BTF))


# Whole nights

VALUES, KNOWN = range(N_FEATURES), range(2 * N_FEATURES, 3 * N_FEATURES)


def by_hand(model: WholeNightNetwork, rows_TF: Tensor) -> Tensor:
    """Scores of one night: its epochs in order, and again in the opposite order."""
    ahead_TF, back_TF = (rows_TF[:, way * N_FEATURES :][:, [*VALUES, *KNOWN]] for way in (0, 1))
    back_TC = scores(model.back, back_TF.flip(0)[None])[0].flip(0)
    return scores(model.ahead, ahead_TF[None])[0] + back_TC


@every_kind
def test_scores_of_both_directions_add_up(kind: str) -> None:
    model, rows_BTF = whole_night(kind), some_rows(1, 14, 2 * N_FEATURES)
    assert same(model.score(rows_BTF, torch.tensor([14]))[0], by_hand(model, rows_BTF[0]))


@every_kind
@pytest.mark.parametrize("padding", [0.0, 1e3])
def test_padding_behind_a_night_changes_none_of_its_scores(kind: str, padding: float) -> None:
    model, rows_BTF = whole_night(kind), some_rows(3, 14, 2 * N_FEATURES)
    lengths = [14, 9, 1]
    for number, length in enumerate(lengths):
        rows_BTF[number, length:] = padding
    found_BTC = model.score(rows_BTF, torch.tensor(lengths))
    for number, length in enumerate(lengths):
        expected_TC = by_hand(model, rows_BTF[number, :length])
        assert same(found_BTC[number, :length], expected_TC)


@every_kind
def test_padding_behind_a_live_night_changes_none_of_its_scores(kind: str) -> None:
    model, rows_BTF = network(kind), some_rows(2, 14)
    padded_BTF = rows_BTF.clone()
    padded_BTF[1, 9:] = 0.0
    found_BTC = model.score(padded_BTF, torch.tensor([14, 9]))
    assert same(found_BTC[1, :9], scores(model, rows_BTF[1:, :9])[0])


def test_a_night_is_turned_round_within_its_own_length() -> None:
    values_BTX = torch.arange(10).view(2, 5, 1)
    turned_BTX = flip(values_BTX, torch.tensor([5, 3]))
    assert turned_BTX[..., 0].tolist() == [[4, 3, 2, 1, 0], [7, 6, 5, 8, 9]]
    assert torch.equal(flip(turned_BTX, torch.tensor([5, 3])), values_BTX)
