"""Networks over epochs that see the past only, the recurrent one, and two that read both ways.

Shapes are named by suffix: B nights, T epochs, F columns, K steps of the trace, C classes,
L layers, H hidden.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from sleepstage.errors import DataError

__all__ = [
    "CausalNetwork",
    "Inputs",
    "RecurrentConfig",
    "RecurrentNetwork",
    "State",
    "WholeNightNetwork",
    "flip",
    "require_positive",
]

State = tuple[Tensor, ...]
"""What a network remembers from epoch to epoch; all zeros before the first."""

_CELLS: Final = {"lstm": nn.LSTM, "gru": nn.GRU}
_CLIP: Final = 5.0  # standard deviations: an outlier says "much", not how much
_CHANNELS: Final = 8
_DROPOUT: Final = 0.3


def require_positive(config: object, *names: str) -> None:
    """Refuse a configuration in which one of these is less than one."""
    for name in names:
        if getattr(config, name) < 1:
            msg = f"{name}={getattr(config, name)}: expected 1 or more"
            raise DataError(msg)


class Inputs(nn.Module):
    """Standardise each column, say beside it whether it is known, and find shapes in the trace.

    Parameters
    ----------
    mean, std : Tensor, shape (F,)
        Of the columns over the training people; kept inside, so that a network takes raw rows.
    n_trace : int
        So many columns at the end are steps of one trace: two small convolutions over them, the
        mean and the maximum of what they find, become a few numbers.
    """

    mean_F: Tensor
    std_F: Tensor

    def __init__(self, mean: Tensor, std: Tensor, n_trace: int = 0) -> None:
        super().__init__()
        self.register_buffer("mean_F", mean)
        self.register_buffer("std_F", std)
        self.n_summaries = len(mean) - n_trace
        self.width = 2 * self.n_summaries + (_CHANNELS if n_trace else 0)
        if n_trace:
            self.convolve = nn.Sequential(
                nn.Conv1d(2, _CHANNELS, kernel_size=7, stride=2, padding=3),
                nn.ReLU(),
                nn.Conv1d(_CHANNELS, _CHANNELS, kernel_size=5, stride=2, padding=2),
                nn.ReLU(),
            )
            self.condense = nn.Sequential(nn.Dropout(_DROPOUT), nn.Linear(2 * _CHANNELS, _CHANNELS))

    def forward(self, rows_BTF: Tensor) -> Tensor:
        """Values of shape (B, T, width)."""
        unknown_BTF = torch.isnan(rows_BTF)
        scaled_BTF = ((rows_BTF - self.mean_F) / self.std_F).clamp(-_CLIP, _CLIP)
        # What is unknown is the average, and says so in a column of its own.
        values_BTF = torch.where(unknown_BTF, torch.zeros_like(rows_BTF), scaled_BTF)
        known_BTF = (~unknown_BTF).to(rows_BTF.dtype)
        n = self.n_summaries
        parts = [values_BTF[..., :n], known_BTF[..., :n]]
        if n < rows_BTF.shape[-1]:
            trace_BT2K = torch.stack([values_BTF[..., n:], known_BTF[..., n:]], dim=-2)
            parts.append(self._shapes(trace_BT2K))
        return torch.cat(parts, dim=-1)

    def _shapes(self, trace_BT2K: Tensor) -> Tensor:
        found = self.convolve(trace_BT2K.flatten(0, 1))
        numbers: Tensor = self.condense(torch.cat([found.mean(dim=-1), found.amax(dim=-1)], dim=-1))
        return numbers.view(*trace_BT2K.shape[:2], -1)


class CausalNetwork(nn.Module, ABC):
    """Feature rows to stage scores, epoch after epoch, state in and state out."""

    @abstractmethod
    def initial_state(self, n_nights: int) -> State:
        """State before the first epoch: zeros."""

    @abstractmethod
    def forward(self, rows_BTF: Tensor, state: State) -> tuple[Tensor, State]:
        """Scores (logits) of shape (B, T, C), and the state after the last epoch."""

    def score(self, rows_BTF: Tensor, lengths_B: Tensor) -> Tensor:  # noqa: ARG002
        """Scores of whole nights, padded behind their `lengths_B`."""
        logits_BTC: Tensor = self(rows_BTF, self.initial_state(len(rows_BTF)))[0]
        return logits_BTC


@dataclass(frozen=True)
class RecurrentConfig:
    """Size of a recurrent network."""

    cell: str = "lstm"
    """Its kind: ``lstm`` or ``gru``."""
    hidden: int = 64
    """Units of each layer."""
    layers: int = 1
    """Number of layers."""
    dropout: float = 0.4
    """Share of units left out, between layers and before the output."""

    def __post_init__(self) -> None:
        require_positive(self, "hidden", "layers")
        if self.cell not in _CELLS:
            msg = f"network.cell={self.cell}: expected one of {', '.join(_CELLS)}"
            raise DataError(msg)

    def build(self, mean: Tensor, std: Tensor, n_classes: int, n_trace: int) -> RecurrentNetwork:
        """Make a new network; see `Inputs` for the rest."""
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

    def initial_state(self, n_nights: int) -> State:
        """State before the first epoch: zeros."""
        shape = (self.config.layers, n_nights, self.config.hidden)
        zeros_LBH = torch.zeros(shape, device=self.output.weight.device)
        return (zeros_LBH, zeros_LBH.clone()) if self.config.cell == "lstm" else (zeros_LBH,)

    def forward(self, rows_BTF: Tensor, state: State) -> tuple[Tensor, State]:
        """Scores (logits) of shape (B, T, C), and the state after the last epoch."""
        lstm = self.config.cell == "lstm"
        hidden_BTH, last = self.recurrent(self.inputs(rows_BTF), state if lstm else state[0])
        return self.output(self.dropout(hidden_BTH)), last if lstm else (last,)


class WholeNightNetwork(nn.Module):
    """Two causal networks, one of which reads the night backwards; their scores add up.

    With recurrent layers this is a bidirectional network (Schuster & Paliwal 1997) whose output
    layer is split in two, so that each half is a step of one epoch like that of a live network.

    Parameters
    ----------
    ahead, back : CausalNetwork
        The readers; the second gets features made from the end of the night.
    """

    def __init__(self, ahead: CausalNetwork, back: CausalNetwork) -> None:
        super().__init__()
        self.ahead, self.back = ahead, back

    def score(self, rows_BTF: Tensor, lengths_B: Tensor) -> Tensor:
        """Scores of shape (B, T, C) from rows of both directions, (B, T, 2 F)."""
        ahead_BTF, back_BTF = rows_BTF.chunk(2, dim=-1)
        ahead_BTC = self.ahead.score(ahead_BTF, lengths_B)
        back_BTC = self.back.score(flip(back_BTF, lengths_B), lengths_B)
        return ahead_BTC + flip(back_BTC, lengths_B)


def flip(values_BTX: Tensor, lengths_B: Tensor) -> Tensor:
    """Turn each night round within its own length; the padding behind it stays."""
    epoch_T = torch.arange(values_BTX.shape[1], device=values_BTX.device)
    mirrored_BT = lengths_B[:, None] - 1 - epoch_T
    index_BT = torch.where(mirrored_BT >= 0, mirrored_BT, epoch_T.expand_as(mirrored_BT))
    return values_BTX.take_along_dim(index_BT[..., None], dim=1)
