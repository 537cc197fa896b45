"""The trained networks to one file: an ONNX graph, state in and out, and its description."""

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final, cast

import onnx
import torch
from torch import Tensor, nn

from sleepstage.engine.model_info import METADATA_KEY, ModelInfo
from sleepstage.ml.fit import Network
from sleepstage.ml.networks import (
    CausalNetwork,
    RecurrentNetwork,
    State,
    WholeNightNetwork,
    split_directions,
)

_OPSET: Final = 18
_IR_VERSION: Final = 8
"""Both are as old as onnxruntime 1.14, and read by most other runtimes."""
_NIGHTS: Final = torch.export.Dim("nights")
_EPOCHS: Final = torch.export.Dim("epochs")
_OPERATORS: Final = {nn.LSTM: ("LSTM", (0, 3, 1, 2)), nn.GRU: ("GRU", (1, 0, 2))}
"""Of each kind of layer, the operator, and where torch has the gates that the operator takes."""
_WEIGHTS: Final = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class _Recurrent(nn.Module):
    """A layer of torch as the operator of ONNX: torch's export would fix the number of epochs."""

    def __init__(self, layers: nn.LSTM | nn.GRU) -> None:
        super().__init__()
        self.kind, order = _OPERATORS[type(layers)]
        self.hidden = layers.hidden_size
        for number in range(layers.num_layers):
            weights = (getattr(layers, f"{name}_l{number}") for name in _WEIGHTS)
            into, back, bias_into, bias_back = (_reorder(one, order) for one in weights)
            self.register_buffer(f"into_{number}", into[None])
            self.register_buffer(f"back_{number}", back[None])
            self.register_buffer(f"bias_{number}", torch.cat([bias_into, bias_back])[None])

    def forward(
        self, values_BTX: Tensor, state: Tensor | tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor | tuple[Tensor, ...]]:
        before = state if isinstance(state, tuple) else (state,)
        given_TBX, after = values_BTX.transpose(0, 1), []
        for number in range(len(before[0])):
            given_TBX, *last = self._layer(
                given_TBX, number, [one[number : number + 1] for one in before]
            )
            after.append(last)
        joined = tuple(torch.cat(parts) for parts in zip(*after, strict=True))
        return given_TBX.transpose(0, 1), joined if isinstance(state, tuple) else joined[0]

    def _layer(self, given_TBX: Tensor, number: int, before: list[Tensor]) -> list[Tensor]:
        n_epochs, n_nights, _ = given_TBX.shape
        weights = (getattr(self, f"{name}_{number}") for name in ("into", "back", "bias"))
        attributes: dict[str, Any] = {"hidden_size": self.hidden}
        if self.kind == "GRU":
            attributes["linear_before_reset"] = 1
        hidden, *last = torch.onnx.ops.symbolic_multi_out(
            self.kind,
            (given_TBX, *weights, None, *before),
            attributes,
            dtypes=[given_TBX.dtype] * (1 + len(before)),
            shapes=[(n_epochs, 1, n_nights, self.hidden), *(one.shape for one in before)],
        )
        return [hidden.squeeze(1), *last]


def _reorder(weights: Tensor, order: Sequence[int]) -> Tensor:
    """Put the gates into ONNX's order, which is another than torch's."""
    gates = weights.detach().chunk(len(order))
    return torch.cat([gates[gate] for gate in order])


class _Members(nn.Module):
    """Several networks at a time, state in and state out: live ones, or readers of both directions.

    The states of all networks follow each other.
    """

    def __init__(self, *directions: Sequence[CausalNetwork]) -> None:
        super().__init__()
        self.n_directions = len(directions)
        networks = list(chain.from_iterable(directions))
        self.networks = nn.ModuleList(copy.deepcopy(network).cpu().eval() for network in networks)
        for network in self.networks:
            if isinstance(network, RecurrentNetwork):
                network.recurrent = _Recurrent(network.recurrent)
        self.lengths = [len(network.initial_state(1)) for network in networks]

    def initial_state(self, n_nights: int) -> State:
        return tuple(chain.from_iterable(one.initial_state(n_nights) for one in self._all()))

    def _all(self) -> list[CausalNetwork]:
        return cast("list[CausalNetwork]", list(self.networks))

    def forward(self, rows_BTF: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Probabilities (B, T, C), or scores of both directions (B, T, 2, M, C); and the state."""
        each = (rows_BTF,) if self.n_directions == 1 else split_directions(rows_BTF)
        n_each = len(self.networks) // self.n_directions
        scores, after, rest = [], [], state
        for number, (network, length) in enumerate(zip(self._all(), self.lengths, strict=True)):
            logits_BTC, new = network(each[number // n_each], rest[:length])
            scores.append(logits_BTC)
            after.extend(new)
            rest = rest[length:]
        firsts = range(0, len(scores), n_each)
        scores_BTMC = [torch.stack(scores[first : first + n_each], dim=-2) for first in firsts]
        if self.n_directions == 1:
            return scores_BTMC[0].softmax(dim=-1).mean(dim=-2), *after
        return torch.stack(scores_BTMC, dim=2), *after


def _members(networks: Sequence[Network]) -> _Members:
    both_ways = [network for network in networks if isinstance(network, WholeNightNetwork)]
    if both_ways:
        return _Members([one.ahead for one in both_ways], [one.back for one in both_ways])
    return _Members([network for network in networks if isinstance(network, CausalNetwork)])


def export_graph(networks: Sequence[Network], n_features: int) -> onnx.ModelProto:
    """Turn networks into one graph of any number of epochs: a session gives it one at a time.

    Rows and state in, scores and state out. Live networks, of any kinds: values beside whether each
    is known (B, T, 2 F) to the mean of the members' probabilities (B, T, C). Whole-night networks:
    values from both ends of the night (B, T, 4 F) to the members' scores for both (B, T, 2, M, C),
    which `Stager` adds.
    """
    members = _members(networks)
    # The exporter takes lengths of 0 and 1 for fixed ones.
    rows_BTF = torch.zeros(2, 3, 2 * n_features * members.n_directions)
    state = members.initial_state(2)
    nights_of_state = tuple({0 if one.dim() == 2 else 1: _NIGHTS} for one in state)
    with _quiet_exporter():
        exported = torch.onnx.export(
            members,
            (rows_BTF, *state),
            dynamo=True,
            opset_version=_OPSET,
            verbose=False,
            input_names=["features", *(f"state_{i}" for i in range(len(state)))],
            output_names=["predicted", *(f"next_state_{i}" for i in range(len(state)))],
            dynamic_shapes=({0: _NIGHTS, 1: _EPOCHS}, nights_of_state),
        )
    proto = cast("torch.onnx.ONNXProgram", exported).model_proto  # made anew at each call
    proto.ir_version = _IR_VERSION
    _strip(proto)
    return proto


def model_file(graph: onnx.ModelProto, info: ModelInfo) -> bytes:
    """Content of a model file: the graph, and its description."""
    onnx.helper.set_model_props(graph, {METADATA_KEY: info.to_json()})
    content: bytes = graph.SerializeToString(deterministic=True)
    return content


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep the exporter's chatter about libraries that are not used from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _strip(proto: onnx.ModelProto) -> None:
    """Take out shapes between nodes, and traces of the machine: paths and stack traces."""
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del proto.graph.value_info[:]
    for value in (*proto.graph.input, *proto.graph.output):
        del value.metadata_props[:]
    del proto.graph.metadata_props[:]
    del proto.metadata_props[:]
