"""Step a model of fixed shapes with one runtime: ``runtime.py NAME MODEL.onnx ROWS.npz OUT.npz``.

Run in the runtime's own environment, which has none of this package. ROWS has ``rows`` (n, 2 F) and
``first``, true where a night begins, and the shape of each input; OUT gets ``predicted`` (n, C) and
``microseconds`` of processor time a step.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def onnxruntime(path: str, names: list[str]) -> Any:
    """Microsoft's."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda values: session.run(None, dict(zip(names, values, strict=True)))


def openvino(path: str, names: list[str], precision: str = "f32") -> Any:
    """Intel's. Where a processor has bfloat16, that is the default."""
    import openvino as ov

    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 1}
    compiled = ov.compile_model(path, "CPU", settings)
    request = compiled.create_infer_request()

    def step(values: list[Any]) -> list[Any]:
        found = request.infer(dict(zip(names, values, strict=True)))
        return [np.array(one) for one in found.values()]

    return step


def tract(path: str, _: list[str]) -> Any:
    """Sonos's, in Rust."""
    import tract

    runnable = tract.onnx().load(path).into_model().into_runnable()
    return lambda values: [one.to_numpy() for one in runnable.run(values)]


def mnn(path: str, names: list[str]) -> Any:
    """Alibaba's, from a file that its converter has made."""
    import MNN

    converted = str(Path(path).with_suffix(".mnn"))
    convert = Path(sys.executable).with_name("mnnconvert")
    command = [str(convert), "-f", "ONNX", "--modelFile", path, "--MNNModel", converted]
    done = subprocess.run([*command, "--bizCode", "x"], capture_output=True, text=True, check=False)
    if not Path(converted).exists():
        raise RuntimeError(done.stderr or done.stdout)
    outs = ["predicted", *(f"next_{name}" for name in names[1:])]
    config = {"precision": "high", "backend": 0, "numThread": 1}
    manager = MNN.nn.create_runtime_manager((config,))
    module = MNN.nn.load_module_from_file(converted, names, outs, runtime_manager=manager)

    def step(values: list[Any]) -> list[Any]:
        given = [MNN.expr.const(one, list(one.shape), MNN.expr.NCHW) for one in values]
        found = (MNN.expr.convert(one, MNN.expr.NCHW) for one in module.forward(given))
        output, *state = (np.array(one.read()) for one in found)
        return [
            output,
            *(new.reshape(old.shape) for new, old in zip(state, values[1:], strict=True)),
        ]

    return step


def iree(path: str, _: list[str]) -> Any:
    """IREE, compiled for this processor."""
    from iree import compiler, runtime

    mlir = str(Path(path).with_suffix(".mlir"))
    command = [sys.executable, "-m", "iree.compiler.tools.import_onnx", path, "-o", mlir]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    flags = [
        "--iree-hal-target-device=local",
        "--iree-hal-local-target-device-backends=llvm-cpu",
        "--iree-llvmcpu-target-cpu=host",
    ]
    code = compiler.compile_file(mlir, input_type="onnx", extra_args=flags)
    config = runtime.Config("local-sync")
    context = runtime.SystemContext(config=config)
    context.add_vm_module(runtime.VmModule.copy_buffer(context.instance, code))
    (module,) = (one for name, one in context.modules.items() if name != "hal")
    run = module["main_graph"]
    return lambda values: [one.to_host() for one in run(*values)]


def main() -> None:
    """Step all rows."""
    name, path, rows_path, out = sys.argv[1:]
    given = np.load(rows_path)
    shapes = {key.removeprefix("shape_"): tuple(given[key]) for key in given if "shape_" in key}
    zeros = [np.zeros(shape, dtype=np.float32) for shape in list(shapes.values())[1:]]
    name, _, precision = name.partition("-")
    options = {"precision": precision} if precision else {}
    step = getattr(importlib.import_module("__main__"), name)(path, list(shapes), **options)
    predicted, state, seconds = [], zeros, 0.0
    for row, first in zip(given["rows"], given["first"], strict=True):
        state = zeros if first else state
        values = [row.reshape(1, 1, -1), *state]
        begin = time.process_time()
        output, *state = step(values)
        seconds += time.process_time() - begin
        predicted.append(np.array(output).ravel())
    micros = 1e6 * seconds / len(predicted)
    np.savez(out, predicted=np.array(predicted), microseconds=micros)


if __name__ == "__main__":
    main()
