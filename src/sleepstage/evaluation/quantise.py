"""A model file with weights of eight bits, and what that costs.

Of measurement: nothing here makes a prediction that is evaluated, and models are kept as trained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx

from sleepstage.evaluation.scale import run_tasks
from sleepstage.metrics import ScoredNight, agreement
from sleepstage.stager import METADATA_KEY, Stager
from sleepstage.stages import FOUR_CLASS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sleepstage.evaluation.run import Outcome
    from sleepstage.training.nights import Night

__all__ = ["Cost", "cost_of_int8", "quantise"]

_OPERATORS: Final = ("MatMul", "Gemm", "LSTM")
"""Those that have an integer twin and enough weights to gain by it. GRU has no twin; a convolution
over the trace has fewer weights than the operators around an integer one need space."""


@dataclass(frozen=True)
class Cost:
    """A run's model with weights of 32 bits and of eight, on its test people.

    Attributes
    ----------
    n_bytes, n_bytes_int8 : int
        Of the two files.
    kappa, kappa_int8 : float or None
        In four classes, all epochs that count pooled.
    largest_difference : float
        Of two probabilities of the same class and epoch.
    changed : float
        Share of the epochs that count that get another stage.
    """

    n_bytes: int
    n_bytes_int8: int
    kappa: float | None
    kappa_int8: float | None
    largest_difference: float
    changed: float


def quantise(model_file: bytes) -> bytes:
    """Return a model file with weights of eight bits; activations are quantised as it runs.

    The library's dynamic quantisation, with a scale for each weight matrix. An LSTM's weights leave
    the exporter in another order and are sorted as the graph runs: that is folded first, or they
    would not be found. What the model says of itself stays, and `ModelInfo.config` says ``int8``
    under ``weights`` in addition.

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
    with TemporaryDirectory() as folder:
        given, folded, small = (Path(folder, name) for name in ("given", "folded", "small"))
        given.write_bytes(model_file)
        quant_pre_process(given, folded, skip_symbolic_shape=True)
        quantize_dynamic(
            folded, small, op_types_to_quantize=list(_OPERATORS), weight_type=QuantType.QInt8
        )
        model = onnx.load(small)
    # What only helped to quantise, the libraries' notes among it, is not part of a model.
    del model.graph.value_info[:]
    info = replace(info, config={**info.config, "weights": "int8"})
    onnx.helper.set_model_props(model, {METADATA_KEY: info.to_json()})
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def cost_of_int8(
    outcomes: Sequence[Outcome],
    nights: Sequence[Night],
    *,
    jobs: int = -1,
    on_run: Callable[[int, int, str], None] | None = None,
) -> list[Cost]:
    """Stage the test nights of each run with its own model in eight bits; in the order of the runs.

    Parameters
    ----------
    outcomes : sequence of Outcome
        Runs with model files.
    nights : sequence of Night
        One for each person.
    jobs, on_run
        As of `sleepstage.evaluation.conditions.under_conditions`.
    """
    people = {night.subject: night for night in nights}
    tasks = [
        (one.model, [(people[name], night) for name, night in one.scored.items()])
        for one in outcomes
    ]
    costs: dict[int, Cost] = {}
    for index, cost in run_tasks(_cost, None, tasks, jobs=jobs):
        costs[index] = cost
        if on_run:
            on_run(len(costs), len(tasks), "")
    return [costs[index] for index in range(len(tasks))]


def _cost(_shared: None, task: tuple[bytes, Sequence[tuple[Night, ScoredNight]]]) -> Cost:
    model, nights = task
    small = quantise(model)
    stager = Stager(small)
    expert, full, int8 = [], [], []
    largest = 0.0
    for night, scored in nights:
        told = replace(scored, predicted=stager.predict(night.recording))
        before, after = scored.predicted.probabilities, told.predicted.probabilities
        if before is not None and after is not None:
            largest = max(largest, float(np.nanmax(np.abs(after - before))))
        expert.append(scored.pair(FOUR_CLASS)[0])
        full.append(scored.pair(FOUR_CLASS)[1])
        int8.append(told.pair(FOUR_CLASS)[1])
    reference, codes, codes_int8 = map(np.concatenate, (expert, full, int8))
    return Cost(
        len(model),
        len(small),
        agreement(reference, codes, FOUR_CLASS).kappa,
        agreement(reference, codes_int8, FOUR_CLASS).kappa,
        largest,
        float(np.mean(codes != codes_int8)),
    )
