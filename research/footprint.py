"""What a model asks of the machine it runs on: operations, memory, time."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

import onnx
from onnx import numpy_helper, shape_inference
from onnxruntime.tools.onnx_model_utils import make_dim_param_fixed
from onnxscript import optimizer

from sleepstage.engine.stager import Stager

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["milliseconds", "of_one_epoch", "operations", "state_bytes", "weight_bytes"]

_ROUNDS: Final = 3


def of_one_epoch(model_file: bytes) -> onnx.ModelProto:
    """Return the model with fixed shapes: one night, one epoch at a time."""
    model = onnx.load_from_string(model_file)
    for axis in ("nights", "epochs"):
        make_dim_param_fixed(model.graph, axis, 1)
    return model


def operations(model_file: bytes) -> int:
    """Multiply-accumulates of one epoch's step, by all members of the model.

    Those of matrix products, convolutions, LSTM and GRU; what goes through the values one by one,
    as activations and normalisations, is left out. Not of an int8 file, whose operators ONNX does
    not know the shapes of: it does as many.
    """
    model = optimizer.optimize(of_one_epoch(model_file))  # works out lengths within the graph
    graph = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    shapes = {one.name: tuple(one.dims) for one in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = tuple(size.dim_value for size in value.type.tensor_type.shape.dim)
    return sum(_of_node(node, shapes) for node in graph.node)


def _of_node(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    if node.op_type in {"MatMul", "Gemm"}:  # the exporter transposes no first factor
        return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    if node.op_type == "Conv":  # each output is a sum over one filter
        return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
    if node.op_type in {"LSTM", "GRU"}:
        steps, batch, _ = shapes[node.input[0]]
        of_input, of_state = (math.prod(shapes[name]) for name in node.input[1:3])
        return steps * batch * (of_input + of_state)
    return 0


def weight_bytes(model_file: bytes) -> int:
    """Bytes of all constants of the graph."""
    graph = onnx.load_from_string(model_file).graph
    return sum(numpy_helper.to_array(one).nbytes for one in graph.initializer)


def state_bytes(model_file: bytes) -> int:
    """Bytes that a live session remembers from epoch to epoch, without the samples of features."""
    return sum(part.nbytes for part in Stager(model_file).initial_state())


def milliseconds(model_file: bytes, rows: NDArray[np.float32]) -> float:
    """Time of one epoch's step on this machine, in ms: the mean over a night, best of three.

    Parameters
    ----------
    model_file : bytes
        Of a live model.
    rows : ndarray, shape (n_epochs, n_features)
        Features of a night.
    """
    stager = Stager(model_file)

    def once() -> float:
        begin = time.perf_counter()
        stager.step(rows, stager.initial_state())
        return time.perf_counter() - begin

    return 1e3 * min(once() for _ in range(_ROUNDS)) / len(rows)
