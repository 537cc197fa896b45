"""A Transformer over epochs that sees a bounded stretch of the past, and no future.

Shapes are named by suffix: B nights, T epochs, F features, C classes, L layers, D width,
S epochs that are remembered, N heads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from sleepstage.errors import DataError
from sleepstage.ml.networks import CausalNetwork, Inputs, State, require_positive

__all__ = ["TransformerConfig", "TransformerNetwork"]


@dataclass(frozen=True)
class TransformerConfig:
    """Size of a Transformer."""

    width: int = 32
    heads: int = 4
    layers: int = 2
    """All three of the encoder; the width is a multiple of the heads."""
    dropout: float = 0.3
    """Share of values left out within the layers and before the output."""
    context: int = 50
    """Epochs that a layer attends to, the present one included."""

    def __post_init__(self) -> None:
        require_positive(self, "width", "heads", "layers", "context")
        if self.width % self.heads:
            msg = f"network.width={self.width}: expected a multiple of network.heads={self.heads}"
            raise DataError(msg)

    def build(self, mean: Tensor, std: Tensor, n_classes: int, n_trace: int) -> TransformerNetwork:
        """Make a new network; see `sleepstage.ml.networks.Inputs` for the rest."""
        return TransformerNetwork(Inputs(mean, std, n_trace), n_classes, self)


class TransformerNetwork(CausalNetwork):
    """Pre-norm encoder (Vaswani et al. 2017; Xiong et al. 2020) that minds distances.

    What it remembers are the last epochs as each layer saw them: half the size of their keys and
    values, which are made anew. Distances, not positions, weaken attention (ALiBi, Press et al.
    2022), so that memory can move on by one epoch at a time.
    """

    slope_N: Tensor

    def __init__(self, inputs: Inputs, n_classes: int, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.inputs = inputs
        slope_N = 2.0 ** (-8 * torch.arange(1, config.heads + 1) / config.heads)
        self.register_buffer("slope_N", slope_N)
        self.embed = nn.Linear(inputs.width, config.width)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.width, n_classes)

    def initial_state(self, n_nights: int) -> State:
        """Nothing in any layer, and a mark for each epoch that none was seen: zeros."""
        remembered = self.config.context - 1
        memory_LBSD = torch.zeros(
            (self.config.layers, n_nights, remembered, self.config.width),
            device=self.output.weight.device,
        )
        return memory_LBSD, memory_LBSD[0, :, :, 0].clone()

    def forward(self, rows_BTF: Tensor, state: State) -> tuple[Tensor, State]:
        """Scores (logits) of shape (B, T, C), and the state after the last epoch."""
        memory_LBSD, seen_BS = state
        n_epochs, remembered = rows_BTF.shape[1], self.config.context - 1
        seen_BS = torch.cat([seen_BS, torch.ones_like(rows_BTF[:, :, 0])], dim=1)
        position_S = torch.arange(remembered + n_epochs, device=rows_BTF.device)
        distance_TS = position_S[remembered:, None] - position_S[None]
        within_TS = (distance_TS >= 0) & (distance_TS <= remembered)
        allowed_BNTS = (within_TS & (seen_BS[:, None] > 0))[:, None]
        bias_NTS = -self.slope_N[:, None, None] * distance_TS
        mask_BNTS = torch.where(allowed_BNTS, bias_NTS[None], -math.inf)
        hidden_BTD = self.embed(self.inputs(rows_BTF))
        memories = []
        for layer, before_BSD in zip(self.layers, memory_LBSD, strict=True):
            hidden_BTD, after_BSD = layer(hidden_BTD, before_BSD, mask_BNTS)
            memories.append(after_BSD[:, n_epochs:])
        logits_BTC = self.output(self.dropout(self.norm(hidden_BTD)))
        return logits_BTC, (torch.stack(memories), seen_BS[:, n_epochs:])

    def score(self, rows_BTF: Tensor, lengths_B: Tensor) -> Tensor:  # noqa: ARG002
        """Scores of whole nights, one stretch of context after the other: far less to attend to."""
        state, parts = self.initial_state(len(rows_BTF)), []
        for begin in range(0, rows_BTF.shape[1], self.config.context):
            logits_BTC, state = self(rows_BTF[:, begin : begin + self.config.context], state)
            parts.append(logits_BTC)
        return torch.cat(parts, dim=1)


class _Layer(nn.Module):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.attention_norm = nn.LayerNorm(config.width)
        self.query = nn.Linear(config.width, config.width)
        self.key_value = nn.Linear(config.width, 2 * config.width)
        self.project = nn.Linear(config.width, config.width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(config.width),
            nn.Linear(config.width, 2 * config.width),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(2 * config.width, config.width),
            nn.Dropout(config.dropout),
        )

    def forward(
        self, hidden_BTD: Tensor, before_BSD: Tensor, mask_BNTS: Tensor
    ) -> tuple[Tensor, Tensor]:
        seen_BTD = self.attention_norm(hidden_BTD)
        memory_BSD = torch.cat([before_BSD, seen_BTD], dim=1)
        key_BSD, value_BSD = self.key_value(memory_BSD).chunk(2, dim=-1)
        attended_BNTD = scaled_dot_product_attention(
            self._split(self.query(seen_BTD)),
            self._split(key_BSD),
            self._split(value_BSD),
            attn_mask=mask_BNTS,
        )
        hidden_BTD = hidden_BTD + self.project(attended_BNTD.transpose(1, 2).flatten(2))
        return hidden_BTD + self.feed_forward(hidden_BTD), memory_BSD

    def _split(self, values_BSD: Tensor) -> Tensor:
        """Separate the heads: shape (B, N, S, D / N)."""
        n_nights, n_epochs, width = values_BSD.shape
        return values_BSD.view(n_nights, n_epochs, self.heads, width // self.heads).transpose(1, 2)
