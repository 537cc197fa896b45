#!/usr/bin/env bash
# torch.onnx.export of an LSTM whose time axis was declared dynamic.
#
# One would guess: the exported graph takes sequences of any length, as `dynamic_shapes` asks and as
# ONNX's own LSTM operator does; or the export fails and says that it can't.
# What happens (torch 2.13.0, onnxscript 0.7.2, onnxruntime 1.32.0): the export succeeds without a
# warning that names the axis. The graph's input has the axis by its name, but its output has the
# length of the example, and so have nodes between them: onnxruntime stages the example's length, and
# raises at any other. (With `Dim.DYNAMIC` in place of a named axis the export itself fails.)
# Who is hurt: whoever exports a recurrent model for recordings of any length, and looks at the input
# of the graph only, or tries it with the example alone. An LSTM put into the graph as the operator of
# ONNX (torch.onnx.ops.symbolic_multi_out) keeps the axis.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
# PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu gets torch without gigabytes of CUDA.
"$folder/venv/bin/pip" install --quiet \
    torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy==2.4.6
cat > "$folder/try.py" <<'PYTHON'
import logging
import warnings

import numpy as np
import onnxruntime
import torch

logging.disable(logging.ERROR)
warnings.simplefilter("ignore")
torch.manual_seed(0)


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(4, 8, batch_first=True)
        self.output = torch.nn.Linear(8, 3)

    def forward(self, values):
        return self.output(self.lstm(values)[0])


network = Network().eval()
exported = torch.onnx.export(
    network,
    (torch.zeros(1, 7, 4),),
    dynamo=True,
    verbose=False,
    input_names=["values"],
    dynamic_shapes=({1: torch.export.Dim("time")},),
)
graph = exported.model_proto.graph
shapes = [
    [size.dim_param or size.dim_value for size in one.type.tensor_type.shape.dim]
    for one in (graph.input[0], graph.output[0])
]
print("input", shapes[0], "output", shapes[1])
options = onnxruntime.SessionOptions()
options.log_severity_level = 4
session = onnxruntime.InferenceSession(exported.model_proto.SerializeToString(), options)


def works(length):
    values = np.ones((1, length, 4), dtype=np.float32)
    try:
        session.run(None, {"values": values})
    except Exception as error:
        print("length", length, "raises", type(error).__name__)
        return False
    print("length", length, "works")
    return True


assert shapes == [[1, "time", 4], [1, 7, 3]], shapes
assert [works(length) for length in (7, 5, 12)] == [True, False, False]
PYTHON
"$folder/venv/bin/python" "$folder/try.py"
