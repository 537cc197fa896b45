"""The trained network to one file: an ONNX graph of one epoch's step, and its description."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, cast

import onnx
import torch
from torch import Tensor, nn

from sleepstage.engine.model_info import METADATA_KEY, ModelInfo
from sleepstage.ml.networks import CausalNetwork, WholeNightNetwork

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sleepstage.ml.fit import Network
    from sleepstage.ml.networks import State

__all__ = ["export_step", "model_file"]


class _Step(nn.Module):
    """One epoch of several networks at a time, state in and state out: what a live session needs.

    The states of all networks follow each other.
    """

    def __init__(self, networks: Sequence[CausalNetwork]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.lengths = [len(network.initial_state(1)) for network in networks]

    def initial_state(self) -> State:
        return tuple(chain.from_iterable(network.initial_state(1) for network in self._all()))

    def _all(self) -> list[CausalNetwork]:
        return cast("list[CausalNetwork]", list(self.networks))

    def scores(self, rows_BF: Tensor, state: State) -> tuple[Tensor, State]:
        """Scores of every member (M, C), and the state after the epoch."""
        scores, after, rest = [], [], state
        for network, length in zip(self._all(), self.lengths, strict=True):
            logits_BTC, new = network(rows_BF[:, None], rest[:length])
            scores.append(logits_BTC[0, 0])
            after.extend(new)
            rest = rest[length:]
        return torch.stack(scores), tuple(after)

    def forward(self, rows_BF: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        scores_MC, after = self.scores(rows_BF, state)
        return scores_MC.softmax(dim=-1).mean(dim=0, keepdim=True), *after


class _BothWaysStep(nn.Module):
    """One epoch of whole-night networks: a row from each end of the night, and scores for both."""

    def __init__(self, networks: Sequence[WholeNightNetwork]) -> None:
        super().__init__()
        self.ahead = _Step([network.ahead for network in networks])
        self.back = _Step([network.back for network in networks])

    def initial_state(self) -> State:
        return *self.ahead.initial_state(), *self.back.initial_state()

    def forward(self, rows_DF: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        half = len(state) // 2
        ahead_MC, after_ahead = self.ahead.scores(rows_DF[:1], state[:half])
        back_MC, after_back = self.back.scores(rows_DF[1:], state[half:])
        return torch.stack([ahead_MC, back_MC]), *after_ahead, *after_back


def export_step(networks: Sequence[Network], n_features: int) -> onnx.ModelProto:
    """Turn networks into one graph of one epoch: rows and state in, probabilities and state out.

    Parameters
    ----------
    networks : sequence of Network
        Live ones of any kinds, or whole-night ones.
    n_features : int
        Columns of a row.

    Returns
    -------
    onnx.ModelProto
        Live: a row (1, F) to the mean of the members' probabilities (1, C). Whole-night: a row from
        each end of the night (2, F) to the members' scores for both (2, M, C); `Stager` adds them.
    """
    step: _Step | _BothWaysStep
    both_ways = [network for network in networks if isinstance(network, WholeNightNetwork)]
    if both_ways:
        step = _BothWaysStep(both_ways)
    else:
        step = _Step([network for network in networks if isinstance(network, CausalNetwork)])
    step.cpu().eval()
    state = step.initial_state()
    with _quiet_exporter():
        exported = torch.onnx.export(
            step,
            (torch.zeros(2 if both_ways else 1, n_features), *state),
            dynamo=True,
            verbose=False,
            input_names=["features", *(f"state_{i}" for i in range(len(state)))],
            output_names=["told", *(f"next_state_{i}" for i in range(len(state)))],
        )
    proto = cast("torch.onnx.ONNXProgram", exported).model_proto  # made anew at each call
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
    """Take out the traces of the machine that exported: paths and stack traces."""
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        del value.metadata_props[:]
    del proto.graph.metadata_props[:]
    del proto.metadata_props[:]
