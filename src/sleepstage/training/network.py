"""Networks over epochs that see the past only: what they share, and the recurrent one.

Shapes are named by suffix: B nights, T epochs, F features, C classes, L layers, H hidden.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from sleepstage.errors import DataError

__all__ = ["CausalNetwork", "RecurrentConfig", "RecurrentNetwork", "Standardise", "State"]

State = tuple[Tensor, ...]
"""What a network remembers from epoch to epoch; all zeros before the first."""

_CLIP: Final = 5.0  # standard deviations: an outlier says "much", not how much
_CELLS: Final = {"lstm": nn.LSTM, "gru": nn.GRU}


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


class Standardise(nn.Module):
    """Raw rows to numbers near zero, each with a second that says whether it is known.

    Parameters
    ----------
    mean, std : Tensor, shape (F,)
        Of the features over the training people.
    """

    mean_F: Tensor
    std_F: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean_F", mean)
        self.register_buffer("std_F", std)

    def forward(self, rows_BTF: Tensor) -> Tensor:
        """Values of shape (B, T, 2 F)."""
        unknown_BTF = torch.isnan(rows_BTF)
        scaled_BTF = ((rows_BTF - self.mean_F) / self.std_F).clamp(-_CLIP, _CLIP)
        # What is unknown is the average, and says so in a column of its own.
        known_BTF = torch.where(unknown_BTF, torch.zeros_like(rows_BTF), scaled_BTF)
        return torch.cat([known_BTF, (~unknown_BTF).to(rows_BTF.dtype)], dim=-1)


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

    def build(self, mean: Tensor, std: Tensor, n_classes: int) -> RecurrentNetwork:
        """Make a new network; see `Standardise` for mean and std."""
        if self.cell not in _CELLS:
            msg = f"network.cell={self.cell}: expected one of {', '.join(_CELLS)}"
            raise DataError(msg)
        return RecurrentNetwork(mean, std, n_classes, self)


class RecurrentNetwork(CausalNetwork):
    """LSTM (Hochreiter & Schmidhuber 1997) or GRU (Cho et al. 2014) over epochs."""

    def __init__(self, mean: Tensor, std: Tensor, n_classes: int, config: RecurrentConfig) -> None:
        super().__init__()
        self.config = config
        self.standardise = Standardise(mean, std)
        self.recurrent = _CELLS[config.cell](
            2 * len(mean),
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
        hidden_BTH, last = self.recurrent(self.standardise(rows_BTF), state if lstm else state[0])
        return self.output(self.dropout(hidden_BTH)), last if lstm else (last,)
