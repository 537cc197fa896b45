"""The trained network to one file: an ONNX graph of one epoch's step, and what it says it is."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import onnx
import torch
from torch import Tensor, nn

from sleepstage.files import write_atomically
from sleepstage.stager import METADATA_KEY, ModelInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sleepstage.training.network import LSTMNetwork

__all__ = ["export_step", "save_model"]


class _Step(nn.Module):
    """One epoch at a time, state in and state out: what a live session needs.

    The layers of all networks lie one behind the other in the state.
    """

    def __init__(self, networks: Sequence[LSTMNetwork]) -> None:
        super().__init__()
        self.networks = networks
        self.registered = nn.ModuleList(networks)  # so that torch knows of their weights

    def begin(self) -> tuple[Tensor, Tensor]:
        states = [network.begin(1) for network in self.networks]
        h_LBH, c_LBH = (torch.cat(parts) for parts in zip(*states, strict=True))
        return h_LBH, c_LBH

    def forward(self, rows_BF: Tensor, h_LBH: Tensor, c_LBH: Tensor) -> tuple[Tensor, ...]:
        probabilities, states = [], []
        n = len(self.networks)
        for network, h, c in zip(self.networks, h_LBH.chunk(n), c_LBH.chunk(n), strict=True):
            logits_BTC, state = network(rows_BF[:, None], (h, c))
            probabilities.append(logits_BTC[:, 0].softmax(dim=-1))
            states.append(state)
        h_LBH, c_LBH = (torch.cat(parts) for parts in zip(*states, strict=True))
        return torch.stack(probabilities).mean(dim=0), h_LBH, c_LBH


def export_step(networks: Sequence[LSTMNetwork]) -> onnx.ModelProto:
    """Turn networks into one graph: raw feature row and state in, mean probabilities and state out.

    Parameters
    ----------
    networks : sequence of LSTMNetwork
        Of one size.
    """
    step = _Step(networks).cpu().eval()
    row_BF = torch.zeros(1, len(networks[0].mean_F))
    with _quiet_exporter():
        program = torch.onnx.export(
            step,
            (row_BF, *step.begin()),
            dynamo=True,
            verbose=False,
            input_names=["features", "hidden", "cell"],
            output_names=["probabilities", "next_hidden", "next_cell"],
        )
    if program is None:
        msg = "torch.onnx.export gave no program"
        raise RuntimeError(msg)
    proto = program.model_proto  # made anew at each call
    _strip(proto)
    return proto


def save_model(graph: onnx.ModelProto, info: ModelInfo, path: str | Path) -> None:
    """Write the graph and what it says of itself as one file, whole or not at all."""
    onnx.helper.set_model_props(graph, {METADATA_KEY: info.to_json()})
    with write_atomically(path) as temporary:
        temporary.write_bytes(graph.SerializeToString(deterministic=True))


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
