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
    from collections.abc import Iterator
    from pathlib import Path

    from sleepstage.training.network import LSTMNetwork

__all__ = ["export_step", "save_model"]


class _Step(nn.Module):
    """One epoch at a time, state in and state out: what a live session needs."""

    def __init__(self, network: LSTMNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, rows_BF: Tensor, h_LBH: Tensor, c_LBH: Tensor) -> tuple[Tensor, ...]:
        logits_BTC, (h_LBH, c_LBH) = self.network(rows_BF[:, None], (h_LBH, c_LBH))
        return logits_BTC[:, 0].softmax(dim=-1), h_LBH, c_LBH


def export_step(network: LSTMNetwork) -> onnx.ModelProto:
    """Turn a network into a graph: raw feature row and state in, probabilities and state out."""
    step = _Step(network).cpu().eval()
    row_BF = torch.zeros(1, len(network.mean_F))
    with _quiet_exporter():
        program = torch.onnx.export(
            step,
            (row_BF, *network.begin(1)),
            dynamo=True,
            verbose=False,
            input_names=["features", "hidden", "cell"],
            output_names=["probabilities", "next_hidden", "next_cell"],
        )
    if program is None:
        msg = "torch.onnx.export gave no program"
        raise RuntimeError(msg)
    _strip(program.model_proto)
    return program.model_proto


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
