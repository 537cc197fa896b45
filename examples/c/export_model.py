"""Write a model file as C, model.h and model.c: ``python export_model.py MODEL.onnx [FOLDER]``.

For ensembles of LSTMs of one layer and of Transformers with a trace of heart rate, such as the
live model of the package; anything else is refused. Weights are found by what is done with them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from sleepstage.engine.features import FEATURE_NAMES
from sleepstage.engine.model_info import METADATA_KEY, ModelInfo
from sleepstage.errors import SleepstageError
from sleepstage.stages import SCHEMES

EPSILON = 1e-5
TRACE = "hr_trace_"

Array = NDArray[np.float32]
Struct = Mapping[str, Any]
"""Members of a C struct: arrays, structs or lists of structs."""


class UnfitError(SleepstageError):
    """The model is none that network.c computes."""


def expect(fits: bool, found: object) -> None:
    """Refuse a model."""
    if not fits:
        msg = f"{found}: expected LSTMs of one layer and Transformers with a trace, as in live.onnx"
        raise UnfitError(msg)


class Graph:
    """Nodes in the order of computation, and the weights that each one takes."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._weights = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        self._maker = {name: node for node in graph.node for name in node.output}
        self._users: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self._users.setdefault(name, []).append(node)
        self.nodes = list(graph.node)
        self.used: set[str] = set()

    def weights(self, node: onnx.NodeProto) -> list[Array]:
        """Constants that the node takes, in the order of its inputs."""
        names = [name for name in node.input if name in self._weights]
        self.used.update(names)
        return [self._weights[name] for name in names]

    def unused(self) -> list[str]:
        """Names of tables of numbers that nobody has asked for."""
        return [
            name
            for name, one in self._weights.items()
            if one.dtype == np.float32 and one.size > 1 and name not in self.used
        ]

    def bias(self, product: onnx.NodeProto) -> Array:
        """What is added to a product."""
        (added,) = self._users[product.output[0]]
        expect(added.op_type == "Add", f"{product.name} without a bias")
        return self.weights(added)[0]

    def before(self, node: onnx.NodeProto, kind: str) -> onnx.NodeProto:
        """The nearest node of a kind among those whose first outputs led to this one."""
        while node.op_type != kind:
            expect(node.input[0] in self._maker, f"no {kind} before {node.name}")
            node = self._maker[node.input[0]]
        return node


def read_networks(graph: Graph) -> tuple[list[Struct], list[Struct]]:
    """Weights of the LSTMs and of the Transformers."""
    lstms, transformers = [], []
    nodes = iter([node for node in graph.nodes if _has_weights(graph, node)])
    for node in nodes:
        inputs = _read_inputs(graph, node, nodes)
        node = next(nodes)
        if node.op_type == "LSTM":
            lstms.append({"inputs": inputs, **_read_lstm(graph, node, nodes)})
        else:
            transformers.append({"inputs": inputs, **_read_transformer(graph, node, nodes)})
    return lstms, transformers


def _has_weights(graph: Graph, node: onnx.NodeProto) -> bool:
    if node.op_type == "MatMul":
        return len(node.input) == 2 and any(one in graph._weights for one in node.input)  # noqa: SLF001
    return node.op_type in {"Conv", "Gemm", "LSTM", "GRU", "LayerNormalization"}


def _read_inputs(graph: Graph, first: onnx.NodeProto, nodes: Iterator[onnx.NodeProto]) -> Struct:
    second, condense = next(nodes, first), next(nodes, first)
    kinds = [node.op_type for node in (first, second, condense)]
    expect(kinds == ["Conv", "Conv", "Gemm"], " ".join(kinds))
    divide = graph.before(first, "Div")
    (std,) = graph.weights(divide)
    (mean,) = graph.weights(graph.before(divide, "Sub"))
    values = [*graph.weights(first), *graph.weights(second), *graph.weights(condense)]
    names = ["first", "first_bias", "second", "second_bias", "condense", "condense_bias"]
    shapes = [one.shape for one in values]
    expect(shapes[0][1:] == (2, 7) and shapes[2][2:] == (5,), f"convolutions {shapes}")
    return {"mean": mean, "std": std, **dict(zip(names, values, strict=True))}


def _linear(graph: Graph, node: onnx.NodeProto, name: str) -> dict[str, Array]:
    expect(node.op_type == "MatMul", node.op_type)
    (weights,) = graph.weights(node)
    return {name: weights.T, f"{name}_bias": graph.bias(node)}


def _read_lstm(graph: Graph, node: onnx.NodeProto, nodes: Iterator[onnx.NodeProto]) -> Struct:
    into, back, bias = (one[0] for one in graph.weights(node))
    bias = bias.reshape(2, -1).sum(axis=0)
    return {"into": into, "back": back, "bias": bias, **_linear(graph, next(nodes), "output")}


def _norm(graph: Graph, node: onnx.NodeProto) -> Struct:
    expect(node.op_type == "LayerNormalization", node.op_type)
    (epsilon,) = (one.f for one in node.attribute if one.name == "epsilon")
    expect(math.isclose(epsilon, EPSILON, rel_tol=1e-3), f"a layer norm with epsilon={epsilon}")
    return dict(zip(("weight", "bias"), graph.weights(node), strict=True))


def _read_transformer(
    graph: Graph, embed: onnx.NodeProto, nodes: Iterator[onnx.NodeProto]
) -> Struct:
    layers: list[Struct] = []
    network: dict[str, Any] = {**_linear(graph, embed, "embed"), "layers": layers}
    while True:
        norm, product = _norm(graph, next(nodes)), next(nodes)
        both = _linear(graph, product, "both")
        if len(both["both"]) != 2 * len(norm["weight"]):  # no keys and values: the last
            return {**network, "norm": norm, **_linear(graph, product, "output")}
        (key, value), (_, value_bias) = np.split(both["both"], 2), np.split(both["both_bias"], 2)
        layers.append(
            {
                "attention_norm": norm,
                "key": key,  # its bias adds the same to all scores, and so nothing
                "value": value,
                "value_bias": value_bias,
                **_linear(graph, next(nodes), "query"),
                **_linear(graph, next(nodes), "project"),
                "forward_norm": _norm(graph, next(nodes)),
                **_linear(graph, next(nodes), "widen"),
                **_linear(graph, next(nodes), "narrow"),
            }
        )


def count_heads(graph: Graph) -> int:
    """Heads of the Transformers, by the slopes that distance is multiplied with."""
    for node in graph.nodes:
        if node.op_type == "Mul":
            for one in graph.weights(node):
                if one.ndim == 3 and one.shape[1:] == (1, 1):
                    slopes = 2.0 ** (-8 * np.arange(1, len(one) + 1) / len(one))
                    expect(np.allclose(-one.ravel(), slopes), f"slopes {one.ravel()}")
                    return len(one)
    msg = "no Transformer"
    raise UnfitError(msg)


def sizes(
    model: onnx.ModelProto, info: ModelInfo, lstms: list[Struct], transformers: list[Struct]
) -> dict[str, int]:
    """Constants of model.h, but for the number of heads."""
    expect(bool(lstms and transformers), f"{len(lstms)} LSTMs, {len(transformers)} Transformers")
    shapes = [
        [size.dim_value for size in one.type.tensor_type.shape.dim] for one in model.graph.input
    ]
    (memory,) = {shape[2] for shape in shapes if len(shape) == 4}
    return {
        "N_COLUMNS": len(info.features),
        "N_TRACE_STEPS": sum(name.startswith(TRACE) for name in info.features),
        "N_CLASSES": len(SCHEMES[info.scheme]),
        "N_KNOTS": max(len(info.typical), 1),
        "N_LSTMS": len(lstms),
        "N_TRANSFORMERS": len(transformers),
        "CHANNELS": len(lstms[0]["inputs"]["first"]),
        "HIDDEN": lstms[0]["back"].shape[1],
        "WIDTH": len(transformers[0]["embed"]),
        "LAYERS": len(transformers[0]["layers"]),
        "CONTEXT": memory + 1,
    }


def write_c(value: Any) -> str:
    """Initialiser of numbers, names, arrays, structs, and lists of them."""
    if isinstance(value, dict):
        return "{" + ",\n".join(f".{name} = {write_c(one)}" for name, one in value.items()) + "}"
    if isinstance(value, str):
        return value
    if isinstance(value, np.float32):
        return f"{value:.9g}" + ("f" if "." in f"{value:.9g}" or "e" in f"{value:.9g}" else ".0f")
    if isinstance(value, int | float):
        return repr(value)
    return "{" + ", ".join(map(write_c, value)) + "}"


def _column(name: str) -> str:
    if name.startswith(TRACE):
        return f"HR_TRACE + {int(name.removeprefix(TRACE))}"
    return name.upper()


def convert(content: bytes) -> tuple[str, str]:
    """Texts of model.h and of model.c.

    Raises `SleepstageError` if the model is of another format, or none that network.c computes.
    """
    try:
        model = onnx.load_from_string(content)
    except Exception as error:  # of protobuf, which onnx does not name
        msg = "not an ONNX file, or truncated"
        raise UnfitError(msg) from error
    properties = {one.key: one.value for one in model.metadata_props}
    info = ModelInfo.from_json(properties.get(METADATA_KEY, ""))
    live = not (info.whole_night or info.look_ahead)
    expect(live, "a model that reads the whole night or looks ahead")
    graph = Graph(model.graph)
    lstms, transformers = read_networks(graph)
    constants = {**sizes(model, info, lstms, transformers), "HEADS": count_heads(graph)}
    expect(not graph.unused(), f"weights that nothing takes: {', '.join(graph.unused())}")
    classes = SCHEMES[info.scheme].classes
    typical = info.typical or ((0.0,) * len(classes),)
    tables = {
        "const double temperature": info.temperature,
        "const double factors[N_CLASSES]": [info.class_weights.get(name, 1.0) for name in classes],
        "const double typical[N_KNOTS][N_CLASSES]": typical,
        "const int columns[N_COLUMNS]": [_column(name) for name in info.features],
        "const char *const class_names[N_CLASSES]": [f'"{name}"' for name in classes],
        "const char *const feature_names[]": [f'"{name}"' for name in FEATURE_NAMES],
        "const struct lstm lstms[N_LSTMS]": lstms,
        "const struct transformer transformers[N_TRANSFORMERS]": transformers,
    }
    head = ["/* Written by export_model.py. */", "#ifndef MODEL_H", "#define MODEL_H", ""]
    head += [f"#define {name} {value}" for name, value in constants.items()]
    head += [f"extern {name};" for name in tables if "struct" not in name]
    body = [
        "/* Written by export_model.py. */",
        '#include "feature_row.h"',
        '#include "network.h"',
        "",
    ]
    body += [f"{name} = {write_c(value)};" for name, value in tables.items()]
    body += [f'_Static_assert(N_FEATURES == {len(FEATURE_NAMES)}, "features of another version");']
    return "\n".join([*head, "", "#endif", ""]), "\n".join([*body, ""])


def main() -> None:
    """Read a model file, write two files of C."""
    if len(sys.argv) not in {2, 3}:
        raise SystemExit(__doc__)
    path, folder = Path(sys.argv[1]), Path(*sys.argv[2:])
    try:
        header, tables = convert(path.read_bytes())
    except (OSError, SleepstageError) as error:
        msg = f"{path}: {error}"
        raise SystemExit(msg) from error
    (folder / "model.h").write_text(header, encoding="utf-8")
    (folder / "model.c").write_text(tables, encoding="utf-8")


if __name__ == "__main__":
    main()
