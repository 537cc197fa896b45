"""Small networks of every kind, with weights drawn at random, for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeVar

import torch
from torch import nn

from sleepstage.engine.features import FEATURE_NAMES, mark_known
from sleepstage.ml.networks import (
    CausalNetwork,
    RecurrentConfig,
    TransformerConfig,
    WholeNightNetwork,
)

N_FEATURES: Final = 5
NAMES: Final = FEATURE_NAMES[:N_FEATURES]
MEAN: Final = torch.linspace(-1, 1, N_FEATURES)
Kind = TypeVar("Kind", bound=nn.Module)

KINDS: Final[Mapping[str, RecurrentConfig | TransformerConfig]] = MappingProxyType(
    {
        "lstm": RecurrentConfig(hidden=8, layers=2),
        "gru": RecurrentConfig(cell="gru", hidden=8, layers=2),
        "transformer": TransformerConfig(width=8, heads=2, layers=2, context=6),
        "traced": RecurrentConfig(cell="gru", hidden=8),
    }
)
N_TRACE: Final[Mapping[str, int]] = MappingProxyType({"traced": 3})
"""So many of the columns are a trace."""


def network(kind: str, seed: int = 0, n_classes: int = 4) -> CausalNetwork:
    """A network that does not train; no weight is where it began, so that each one matters."""
    std = torch.linspace(1, 2, N_FEATURES)
    made = KINDS[kind].build(MEAN.clone(), std, n_classes, N_TRACE.get(kind, 0))
    return _drawn(made, seed)


def whole_night(kind: str, seed: int = 0, n_classes: int = 4) -> WholeNightNetwork:
    """The same for a night that is over."""
    return WholeNightNetwork(
        network(kind, 2 * seed, n_classes), network(kind, 2 * seed + 1, n_classes)
    ).eval()


def some_rows(n_nights: int, n_epochs: int, n_features: int = N_FEATURES) -> torch.Tensor:
    """Rows with a column that is unknown for a while, marked as networks read them."""
    rows_BTF = torch.randn(
        n_nights, n_epochs, n_features, generator=torch.Generator().manual_seed(n_epochs)
    )
    rows_BTF[:, n_epochs // 3 : n_epochs // 2, 2] = torch.nan
    return marked(rows_BTF)


def marked(rows_BTF: torch.Tensor) -> torch.Tensor:
    """Rows as networks read them; NaN is unknown."""
    return torch.from_numpy(mark_known(rows_BTF.numpy()))


def _drawn(module: Kind, seed: int) -> Kind:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in module.parameters():
            weights.normal_(0, 0.5, generator=generator)
    return module.eval()
