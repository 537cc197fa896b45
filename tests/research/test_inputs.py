"""What a network computes with: standardised columns, and shapes found in the trace."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sleepstage.ml.networks import Inputs
from tests.helpers.networks import marked

MEAN, STD = torch.tensor([0.0, 60.0, -1.0]), torch.tensor([1.0, 10.0, 0.5])


def inputs(n_trace: int = 0, n_summaries: int = 3) -> Inputs:
    torch.manual_seed(0)
    size = n_summaries + n_trace
    return Inputs(MEAN.repeat(20)[:size], STD.repeat(20)[:size], n_trace).eval()


@torch.no_grad()
def told(module: Inputs, rows_BTF: Tensor) -> Tensor:
    values: Tensor = module(marked(rows_BTF))
    assert values.shape == (*rows_BTF.shape[:2], module.width)
    return values


def test_columns_are_standardised_and_say_whether_they_are_known() -> None:
    rows = torch.tensor([[[2.0, 80.0, torch.nan], [-9.0, torch.nan, 99.0]]])
    assert told(inputs(), rows)[0].tolist() == [
        [2, 2, 0, 1, 1, 0],
        [-5, 0, 5, 1, 0, 1],  # an outlier is large and no more
    ]


def test_what_is_unknown_is_the_average_and_yet_told_apart() -> None:
    average, unknown = MEAN.view(1, 1, 3), torch.full((1, 1, 3), torch.nan)
    one, other = told(inputs(), average)[0, 0], told(inputs(), unknown)[0, 0]
    assert torch.equal(one[:3], other[:3])
    assert not torch.equal(one[3:], other[3:])


def test_the_trace_becomes_a_few_numbers_and_the_rest_stays_as_it_is() -> None:
    module, rows = inputs(n_trace=30), torch.randn(2, 7, 33)
    assert module.width < 2 * 33
    assert torch.equal(told(module, rows)[..., :6], told(inputs(), rows[..., :3]))
    changed = rows.clone()
    changed[..., :3] += 1
    assert torch.equal(told(module, changed)[..., 6:], told(module, rows)[..., 6:])


@pytest.mark.parametrize("step", [0, 14, 29])
def test_every_step_of_the_trace_tells_of_its_own_epoch(step: int) -> None:
    module, rows = inputs(n_trace=30), torch.randn(2, 7, 33)
    for change in (5.0, torch.nan):
        changed = rows.clone()
        changed[1, 3, 3 + step] += change
        moved = (told(module, changed) != told(module, rows)).any(dim=-1)
        assert moved.nonzero().tolist() == [[1, 3]]


def test_the_shape_counts_and_not_its_level_alone() -> None:
    module, rows = inputs(n_trace=30), torch.randn(1, 1, 33)
    shuffled = torch.cat([rows[..., :3], rows[..., 3:].flip(-1)], dim=-1)
    assert not torch.allclose(told(module, rows), told(module, shuffled))


def test_a_trace_that_is_unknown_is_a_number_still() -> None:
    rows = torch.full((1, 2, 33), torch.nan)
    assert torch.isfinite(told(inputs(n_trace=30), rows)).all()
