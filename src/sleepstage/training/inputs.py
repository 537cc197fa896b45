"""Raw feature rows to what a network computes with.

Shapes are named by suffix: B nights, T epochs, F columns, K steps of the trace.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

__all__ = ["Inputs"]

_CLIP: Final = 5.0  # standard deviations: an outlier says "much", not how much
_CHANNELS: Final = 8
_DROPOUT: Final = 0.3


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
