"""The morning after: a night read from both ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from sleepstage.training.network import CausalNetwork

__all__ = ["WholeNightNetwork", "flip"]


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
