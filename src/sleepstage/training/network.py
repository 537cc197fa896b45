"""The network: an LSTM over epochs that sees the past only."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["LSTMConfig", "LSTMNetwork"]

_CLIP = 5.0  # standard deviations: an outlier says "much", not how much


@dataclass(frozen=True)
class LSTMConfig:
    """Size of the network.

    Attributes
    ----------
    hidden : int
        Units of each LSTM layer.
    layers : int
        Number of LSTM layers.
    dropout : float
        Share of units left out, between layers and before the output.
    """

    hidden: int = 64
    layers: int = 1
    dropout: float = 0.4


class LSTMNetwork(nn.Module):
    """Feature rows to stage scores, epoch after epoch.

    Shapes are named by suffix: B nights, T epochs, F features, C classes, L layers, H hidden.

    Parameters
    ----------
    mean, std : Tensor, shape (F,)
        Of the features over the training people; kept inside, so that the network takes raw rows.
    n_classes : int
        Number of classes.
    config : LSTMConfig
        Its size.
    """

    mean_F: Tensor
    std_F: Tensor

    def __init__(self, mean: Tensor, std: Tensor, n_classes: int, config: LSTMConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean_F", mean)
        self.register_buffer("std_F", std)
        self.lstm = nn.LSTM(
            2 * len(mean),
            config.hidden,
            config.layers,
            batch_first=True,
            dropout=config.dropout if config.layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.hidden, n_classes)

    def begin(self, n_nights: int) -> tuple[Tensor, Tensor]:
        """State before the first epoch: zeros."""
        shape = (self.config.layers, n_nights, self.config.hidden)
        zeros_LBH = torch.zeros(shape, device=self.mean_F.device)
        return zeros_LBH, zeros_LBH.clone()

    def forward(
        self, rows_BTF: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Scores (logits) of shape (B, T, C), and the state after the last epoch."""
        unknown_BTF = torch.isnan(rows_BTF)
        scaled_BTF = ((rows_BTF - self.mean_F) / self.std_F).clamp(-_CLIP, _CLIP)
        # What is unknown is the average, and says so in a column of its own.
        known_BTF = torch.where(unknown_BTF, torch.zeros_like(rows_BTF), scaled_BTF)
        both_BTF = torch.cat([known_BTF, (~unknown_BTF).to(rows_BTF.dtype)], dim=-1)
        hidden_BTH, state = self.lstm(both_BTF, state)
        return self.output(self.dropout(hidden_BTH)), state
