"""Networks over epochs that see the past only: what they share, and the recurrent one.

Shapes are named by suffix: B nights, T epochs, F columns, C classes, L layers, H hidden.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from sleepstage.errors import DataError
from sleepstage.training.inputs import Inputs

__all__ = ["CausalNetwork", "RecurrentConfig", "RecurrentNetwork", "State", "require_positive"]

State = tuple[Tensor, ...]
"""What a network remembers from epoch to epoch; all zeros before the first."""

_CELLS: Final = {"lstm": nn.LSTM, "gru": nn.GRU}


def require_positive(config: object, *names: str) -> None:
    """Refuse a configuration in which one of these is less than one."""
    for name in names:
        if getattr(config, name) < 1:
            msg = f"{name}={getattr(config, name)}: expected 1 or more"
            raise DataError(msg)


class CausalNetwork(nn.Module, ABC):
    """Feature rows to stage scores, epoch after epoch, state in and state out."""

    @abstractmethod
    def begin(self, n_nights: int) -> State:
        """State before the first epoch: zeros."""

    @abstractmethod
    def forward(self, rows_BTF: Tensor, state: State) -> tuple[Tensor, State]:
        """Scores (logits) of shape (B, T, C), and the state after the last epoch."""

    def score(self, rows_BTF: Tensor, lengths_B: Tensor) -> Tensor:  # noqa: ARG002
        """Scores of whole nights, padded behind their `lengths_B`."""
        logits_BTC: Tensor = self(rows_BTF, self.begin(len(rows_BTF)))[0]
        return logits_BTC


@dataclass(frozen=True)
class RecurrentConfig:
    """Size of a recurrent network.

    Attributes
    ----------
    cell : {"lstm", "gru"}
        Its kind.
    hidden : int
        Units of each layer.
    layers : int
        Number of layers.
    dropout : float
        Share of units left out, between layers and before the output.
    """

    cell: str = "lstm"
    hidden: int = 64
    layers: int = 1
    dropout: float = 0.4

    def __post_init__(self) -> None:
        require_positive(self, "hidden", "layers")
        if self.cell not in _CELLS:
            msg = f"network.cell={self.cell}: expected one of {', '.join(_CELLS)}"
            raise DataError(msg)

    def build(
        self, mean: Tensor, std: Tensor, n_classes: int, n_trace: int = 0
    ) -> RecurrentNetwork:
        """Make a new network; see `sleepstage.training.inputs.Inputs` for the rest."""
        return RecurrentNetwork(Inputs(mean, std, n_trace), n_classes, self)


class RecurrentNetwork(CausalNetwork):
    """LSTM (Hochreiter & Schmidhuber 1997) or GRU (Cho et al. 2014) over epochs."""

    def __init__(self, inputs: Inputs, n_classes: int, config: RecurrentConfig) -> None:
        super().__init__()
        self.config = config
        self.inputs = inputs
        self.recurrent = _CELLS[config.cell](
            inputs.width,
            config.hidden,
            config.layers,
            batch_first=True,
            dropout=config.dropout if config.layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.hidden, n_classes)

    def begin(self, n_nights: int) -> State:
        """State before the first epoch: zeros."""
        shape = (self.config.layers, n_nights, self.config.hidden)
        zeros_LBH = torch.zeros(shape, device=self.output.weight.device)
        return (zeros_LBH, zeros_LBH.clone()) if self.config.cell == "lstm" else (zeros_LBH,)

    def forward(self, rows_BTF: Tensor, state: State) -> tuple[Tensor, State]:
        """Scores (logits) of shape (B, T, C), and the state after the last epoch."""
        lstm = self.config.cell == "lstm"
        hidden_BTH, last = self.recurrent(self.inputs(rows_BTF), state if lstm else state[0])
        return self.output(self.dropout(hidden_BTH)), last if lstm else (last,)
