"""A model file with weights of eight bits, for machines that have little room."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import onnx

from research.footprint import of_one_epoch
from sleepstage.engine.model_info import METADATA_KEY
from sleepstage.engine.stager import Stager

__all__ = ["quantise"]

_OPERATORS: Final = ("MatMul", "Gemm", "LSTM")
"""Those that have an integer twin and enough weights to gain by it. GRU has no twin; a convolution
over the trace has fewer weights than the operators around an integer one need space."""


def quantise(model_file: bytes) -> bytes:
    """Return a model file with weights of eight bits; activations are quantised as it runs.

    It stages one epoch at a time: over many, activations would share a scale, and what comes later
    would change the present.

    The library's dynamic quantisation, with a scale for each weight matrix. An LSTM's weights leave
    the exporter in another order and are sorted as the graph runs: that is folded first, or they
    would not be found. The metadata is kept, with ``int8`` under ``weights`` added to
    `ModelInfo.config`.

    Parameters
    ----------
    model_file : bytes
        As training writes it.

    Raises
    ------
    ModelFileError
        If it is none of this package's models, or of another version.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    info = Stager(model_file).info
    one_epoch = of_one_epoch(model_file)
    # Older exporters noted shapes that contradict folded weights: onnxruntime < 1.32 refuses them.
    del one_epoch.graph.value_info[:]
    with TemporaryDirectory() as folder:
        given, folded, small = (Path(folder, name) for name in ("given", "folded", "small"))
        onnx.save(one_epoch, given)
        quant_pre_process(given, folded, skip_symbolic_shape=True)
        quantize_dynamic(
            folded, small, op_types_to_quantize=list(_OPERATORS), weight_type=QuantType.QInt8
        )
        model = onnx.load(small)
    # What only helped to quantise, the libraries' notes among it, is not part of a model. Older
    # runtimes refuse sets of operators that they do not know, used or not.
    del model.graph.value_info[:]
    used = {node.domain for node in model.graph.node}
    sets = [one for one in model.opset_import if one.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(sets)
    info = replace(info, config={**info.config, "weights": "int8"})
    onnx.helper.set_model_props(model, {METADATA_KEY: info.to_json()})
    content: bytes = model.SerializeToString(deterministic=True)
    return content
