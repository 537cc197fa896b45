"""Networks over epochs that see the past only, recurrent and Transformer, and two read both ways.

Shapes are named by suffix: B nights, T epochs, F columns, K steps of the trace, C classes,
L layers, H hidden; of a Transformer D values, N heads, S epochs attended to, P stretches of a
night, X stretches of all nights.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from sleepstage.errors import DataError

State = tuple[Tensor, ...]
"""What a network remembers from epoch to epoch; all zeros before the first."""

_CELLS: Final = {"lstm": nn.LSTM, "gru": nn.GRU}
_CLIP: Final = 5.0  # standard deviations: an outlier is "much", not how much
_CHANNELS: Final = 8
_DROPOUT: Final = 0.3


def require_positive(config: object, *names: str) -> None:
    """Refuse a configuration in which one of these is less than one."""
    for name in names:
        if getattr(config, name) < 1:
            raise DataError(f"{name}={getattr(config, name)}: expected 1 or more")


class Dropout(nn.Dropout):
    """Draws as torch's does, from a generator of its own if it is given one."""

    generator: torch.Generator | None = None

    def forward(self, values: Tensor) -> Tensor:
        """Values, some of them put to zero in training."""
        if self.generator is None or not (self.training and self.p):
            return super().forward(values)
        noise = torch.empty_like(values).bernoulli_(1 - self.p, generator=self.generator)
        return values * noise.div_(1 - self.p)


class Inputs(nn.Module):
    """Standardise each column, add whether it is known, and find shapes in the trace.

    Mean and standard deviation of the columns, shape (F,), are those over the training people; kept
    inside, so that a network takes raw rows. The last `n_trace` columns are steps of one trace: two
    small convolutions over them, the mean and the maximum of what they find, become a few numbers.
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
            self.condense = nn.Sequential(Dropout(_DROPOUT), nn.Linear(2 * _CHANNELS, _CHANNELS))

    def forward(self, rows_BTF: Tensor) -> Tensor:
        """Values of shape (B, T, width), from rows of `sleepstage.engine.features.mark_known`."""
        given_BTF, known_BTF = rows_BTF.chunk(2, dim=-1)
        scaled_BTF = ((given_BTF - self.mean_F) / self.std_F).clamp(-_CLIP, _CLIP)
        values_BTF = scaled_BTF * known_BTF  # what is unknown is the average
        n = self.n_summaries
        parts = [values_BTF[..., :n], known_BTF[..., :n]]
        if n < given_BTF.shape[-1]:
            trace_BT2K = torch.stack([values_BTF[..., n:], known_BTF[..., n:]], dim=-2)
            found = self.convolve(trace_BT2K.flatten(0, 1))
            numbers = self.condense(torch.cat([found.mean(dim=-1), found.amax(dim=-1)], dim=-1))
            parts.append(numbers.view(*trace_BT2K.shape[:2], -1))
        return torch.cat(parts, dim=-1)


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
            raise DataError(f"network.cell={self.cell}: expected one of {', '.join(_CELLS)}")

    def build(self, mean: Tensor, std: Tensor, n_classes: int, n_trace: int) -> "RecurrentNetwork":
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
        self.dropout = Dropout(config.dropout)
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
    `back` gets features made from the end of the night.
    """

    def __init__(self, ahead: CausalNetwork, back: CausalNetwork) -> None:
        super().__init__()
        self.ahead, self.back = ahead, back

    def score(self, rows_BTF: Tensor, lengths_B: Tensor) -> Tensor:
        """Scores of shape (B, T, C) from rows of both directions; see `split_directions`."""
        ahead_BTF, back_BTF = split_directions(rows_BTF)
        ahead_BTC = self.ahead.score(ahead_BTF, lengths_B)
        back_BTC = self.back.score(flip(back_BTF, lengths_B), lengths_B)
        return ahead_BTC + flip(back_BTC, lengths_B)


def split_directions(rows_BTF: Tensor) -> tuple[Tensor, Tensor]:
    """Rows for each direction, of the values of both beside whether they are known."""
    ahead, back, ahead_known, back_known = rows_BTF.chunk(4, dim=-1)
    return torch.cat([ahead, ahead_known], dim=-1), torch.cat([back, back_known], dim=-1)


def flip(values_BTX: Tensor, lengths_B: Tensor) -> Tensor:
    """Turn each night round within its own length; the padding behind it stays."""
    epoch_T = torch.arange(values_BTX.shape[1], device=values_BTX.device)
    mirrored_BT = lengths_B[:, None] - 1 - epoch_T
    index_BT = torch.where(mirrored_BT >= 0, mirrored_BT, epoch_T.expand_as(mirrored_BT))
    return values_BTX.take_along_dim(index_BT[..., None], dim=1)


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

    def build(self, mean: Tensor, std: Tensor, n_classes: int, n_trace: int) -> CausalNetwork:
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
        self.dropout = Dropout(config.dropout)
        self.output = nn.Linear(config.width, n_classes)

    @property
    def _layers(self) -> "list[_Layer]":
        return cast("list[_Layer]", list(self.layers))

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
        n_epochs = rows_BTF.shape[1]
        seen_BS = torch.cat([seen_BS, torch.ones_like(rows_BTF[:, :, 0])], dim=1)
        mask_BNTS = self._mask(seen_BS, n_epochs)
        hidden_BTD = self.embed(self.inputs(rows_BTF))
        memories = []
        for layer, before_BSD in zip(self._layers, memory_LBSD, strict=True):
            seen_BTD = layer.attention_norm(hidden_BTD)
            memory_BSD = torch.cat([before_BSD, seen_BTD], dim=1)
            hidden_BTD = layer(hidden_BTD, seen_BTD, memory_BSD, mask_BNTS)
            memories.append(memory_BSD[:, n_epochs:])
        return self._classify(hidden_BTD), (torch.stack(memories), seen_BS[:, n_epochs:])

    def score(self, rows_BTF: Tensor, lengths_B: Tensor) -> Tensor:  # noqa: ARG002
        """Scores of whole nights: in stretches of the context, each attends to the one before."""
        n_nights, n_epochs, _ = rows_BTF.shape
        context = self.config.context
        hidden_BTD = pad(self.embed(self.inputs(rows_BTF)), (0, 0, 0, -n_epochs % context))
        hidden_XTD = hidden_BTD.reshape(-1, context, hidden_BTD.shape[-1])
        seen_BP = hidden_BTD.new_ones(n_nights, len(hidden_XTD) // n_nights)
        seen_BP[:, 0] = 0  # nothing is before the first stretch
        seen_XS = seen_BP.flatten()[:, None].expand(-1, context - 1)
        seen_XS = torch.cat([seen_XS, torch.ones_like(hidden_XTD[..., 0])], dim=1)
        mask_XNTS = self._mask(seen_XS, context)
        for layer in self._layers:
            seen_XTD = layer.attention_norm(hidden_XTD)
            memory_XSD = torch.cat([seen_XTD.roll(1, dims=0)[:, 1:], seen_XTD], dim=1)
            hidden_XTD = layer(hidden_XTD, seen_XTD, memory_XSD, mask_XNTS)
        return self._classify(hidden_XTD.reshape(hidden_BTD.shape)[:, :n_epochs])

    def _mask(self, seen_BS: Tensor, n_epochs: int) -> Tensor:
        """Weaken attention by distance (B, N, T, S): to nothing later, too old, or never seen."""
        remembered = self.config.context - 1
        position_S = torch.arange(remembered + n_epochs, device=seen_BS.device)
        distance_TS = position_S[remembered:, None] - position_S[None]
        within_TS = (distance_TS >= 0) & (distance_TS <= remembered)
        allowed_BNTS = (within_TS & (seen_BS[:, None] > 0))[:, None]
        bias_NTS = -self.slope_N[:, None, None] * distance_TS
        return torch.where(allowed_BNTS, bias_NTS[None], -math.inf)

    def _classify(self, hidden_BTD: Tensor) -> Tensor:
        logits_BTC: Tensor = self.output(self.dropout(self.norm(hidden_BTD)))
        return logits_BTC


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
            Dropout(config.dropout),
            nn.Linear(2 * config.width, config.width),
            Dropout(config.dropout),
        )

    def forward(
        self, hidden_BTD: Tensor, seen_BTD: Tensor, memory_BSD: Tensor, mask_BNTS: Tensor
    ) -> Tensor:
        """Let each epoch, as `attention_norm` has seen it, attend to the memory and to itself."""
        key_BSD, value_BSD = self.key_value(memory_BSD).chunk(2, dim=-1)
        attended_BNTD = scaled_dot_product_attention(
            self._split(self.query(seen_BTD)),
            self._split(key_BSD),
            self._split(value_BSD),
            attn_mask=mask_BNTS,
        )
        hidden_BTD = hidden_BTD + self.project(attended_BNTD.transpose(1, 2).flatten(2))
        transformed_BTD: Tensor = self.feed_forward(hidden_BTD)
        return hidden_BTD + transformed_BTD

    def _split(self, values_BSD: Tensor) -> Tensor:
        """Separate the heads: shape (B, N, S, D / N)."""
        n_nights, n_epochs, width = values_BSD.shape
        return values_BSD.view(n_nights, n_epochs, self.heads, width // self.heads).transpose(1, 2)
