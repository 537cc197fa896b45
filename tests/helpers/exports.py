"""Graphs of networks, without the seconds that torch takes to export each of them.

Graphs of networks of one structure differ in their weights alone: one of each structure is
exported, and weights of others are put into copies of its graph. `tests/ml/test_export.py` tests
the export itself, and that both give the same bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from sleepstage.ml import export
from sleepstage.ml.fit import Network

Weights = dict[str, NDArray[Any]]

_FEW: Final = 8
"""Values of a constant that is not made of weights, as how fast attention fades."""

folder: Path | None = None
"""Where graphs are kept, for all processes of a run of the tests; None: each is exported."""


def export_graph(networks: Sequence[Network], n_features: int) -> onnx.ModelProto:
    """Give what `sleepstage.ml.export.export_graph` gives."""
    if folder is None:
        return export_anew(networks, n_features)
    members = export._members(networks)
    weights = {name: values.numpy() for name, values in members.state_dict().items()}
    path = folder / f"{_structure(members, n_features)}.onnx"
    if path.exists():
        return _filled(onnx.load_model_from_string(path.read_bytes()), weights)
    graph = export_anew(networks, n_features)
    if (sources := _sources(graph.graph, weights)) is not None:
        kept = onnx.ModelProto()
        kept.CopyFrom(graph)
        onnx.helper.set_model_props(kept, sources)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_bytes(kept.SerializeToString())
        part.replace(path)  # at once, as others may read it
    return graph


def export_anew(networks: Sequence[Network], n_features: int) -> onnx.ModelProto:
    return export.export_graph(networks, n_features)


def _structure(members: export._Members, n_features: int) -> str:
    """Digest of all that a graph depends on but the values of weights."""
    shapes = [(name, tuple(values.shape)) for name, values in members.state_dict().items()]
    settings = [
        (name, value)
        for module in members.modules()
        for name, value in sorted(vars(module).items())
        if isinstance(value, int | float | str)
    ]
    said = f"{n_features} {members} {shapes} {settings}"
    return hashlib.sha256(said.encode()).hexdigest()


def _sources(graph: onnx.GraphProto, weights: Weights) -> dict[str, str] | None:
    """Of each initializer, the weight that it is, marked if transposed; None if that is unclear."""
    inside = [attribute.t for node in graph.node for attribute in node.attribute]
    if any(map(_is_large, inside)):
        return None
    sources = {}
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.name in weights:
            same = [tensor.name] if np.array_equal(values, weights[tensor.name]) else []
        else:
            same = [f"{name}.T" for name, one in weights.items() if np.array_equal(values, one.T)]
        if len(same) == 1:
            sources[tensor.name] = same[0]
        elif _is_large(tensor) or tensor.name in weights:
            return None
    return sources


def _is_large(tensor: TensorProto) -> bool:
    return tensor.data_type == TensorProto.FLOAT and int(np.prod(tensor.dims)) > _FEW


def _filled(graph: onnx.ModelProto, weights: Weights) -> onnx.ModelProto:
    """The graph with other weights."""
    sources = {prop.key: prop.value for prop in graph.metadata_props}
    del graph.metadata_props[:]
    for tensor in graph.graph.initializer:
        if tensor.name in sources:
            name = sources[tensor.name]
            values = weights[name.removesuffix(".T")]
            values = np.ascontiguousarray(values.T) if name.endswith(".T") else values
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return graph
