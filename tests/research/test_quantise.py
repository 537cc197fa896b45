"""Models in eight bits, and what a model asks of a machine."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from research.eight_bits import cost_of_int8
from research.footprint import milliseconds, operations, state_bytes, weight_bytes
from research.quantise import quantise
from sleepstage.core.agreement import report
from sleepstage.engine.features import extract_features
from sleepstage.engine.model_info import METADATA_KEY, ModelInfo
from sleepstage.engine.stager import Stager
from sleepstage.errors import ModelFileError
from sleepstage.evaluation.run import load_nights
from sleepstage.ml.export import model_file
from sleepstage.ml.networks import RecurrentConfig
from sleepstage.simulate.nights import simulate_night
from tests.conftest import Run
from tests.helpers.exports import export_graph
from tests.helpers.networks import MEAN, N_FEATURES, NAMES, network

pytestmark = pytest.mark.slow

NIGHT = simulate_night(11, hours=1.0)
ROWS = extract_features(NIGHT)


@cache
def exported(*kinds: str) -> bytes:
    networks = [network(kind, seed) for seed, kind in enumerate(kinds)]
    return model_file(export_graph(networks, N_FEATURES), ModelInfo(NAMES, "four_class"))


@cache
def wide() -> bytes:
    """An LSTM in which weights are most of the file."""
    torch.manual_seed(0)
    made = RecurrentConfig(hidden=64).build(MEAN.clone(), torch.ones(N_FEATURES), 4, 0)
    return model_file(export_graph([made], N_FEATURES), ModelInfo(NAMES, "four_class"))


def operators(content: bytes) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load_from_string(content).graph.node)


def test_shapes_that_an_older_exporter_noted_do_not_keep_a_model_from_eight_bits() -> None:
    # Refused by onnxruntime before 1.32 only: `make test-lowest` runs this.
    plain = exported("traced")
    noted = onnx.load_from_string(plain)
    noted.graph.value_info.extend(
        onnx.helper.make_tensor_value_info(one.name, one.data_type, one.dims)
        for one in noted.graph.initializer
    )
    assert quantise(noted.SerializeToString()) == quantise(plain)


def test_weights_of_eight_bits_take_a_quarter_and_tell_nearly_the_same() -> None:
    full = wide()
    small = quantise(full)
    assert weight_bytes(small) < 0.3 * weight_bytes(full)
    assert len(small) < 0.5 * len(full)
    before, after = (Stager(one).predict(NIGHT).probabilities for one in (full, small))
    assert before is not None
    assert after is not None
    assert 0 < np.abs(after - before).max() < 0.02


def test_lstm_and_matrix_products_are_quantised_and_what_has_no_gain_is_not() -> None:
    full = exported("lstm", "transformer", "traced")
    found = operators(quantise(full))
    assert found["DynamicQuantizeLSTM"] == 2  # one a layer
    assert found["LSTM"] == 0
    assert found["MatMulInteger"] > 0
    assert found["GRU"] == operators(full)["GRU"] > 0
    assert found["Conv"] == operators(full)["Conv"] > 0


def test_a_quantised_file_says_what_it_said_and_that_it_is_int8(small_run: Run) -> None:
    full = small_run.outcome.model
    small = quantise(full)
    before, after = Stager(full), Stager(small)
    assert after.info.config == {**before.info.config, "weights": "int8"}
    assert after.info.to_json().replace(', "weights": "int8"', "") == before.info.to_json()
    graphs = [onnx.load_from_string(one).graph for one in (full, small)]
    for part in ("input", "output"):
        names = [[value.name for value in getattr(graph, part)] for graph in graphs]
        assert names[0] == names[1]
    keys = [entry.key for entry in onnx.load_from_string(small).metadata_props]
    assert keys == [METADATA_KEY]
    assert quantise(full) == small


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ModelFileError):
        quantise(b"nothing")


def test_cost_is_that_of_the_test_nights(small_run: Run, simulated_data: Path) -> None:
    nights = load_nights(simulated_data)
    seen: list[tuple[int, int, str]] = []
    (cost,) = cost_of_int8(
        [small_run.outcome], nights, jobs=1, on_run=lambda *told: seen.append(told)
    )
    small = quantise(small_run.outcome.model)
    assert (cost.n_bytes, cost.n_bytes_int8) == (len(small_run.outcome.model), len(small))
    assert cost.kappa == pytest.approx(small_run.metrics.schemes["four_class"].kappa)
    stager, largest, changed, counted = Stager(small), 0.0, 0, 0
    for night in nights:
        if night.subject in small_run.split.test:
            scored = small_run.outcome.scored[night.subject]
            told = stager.predict(night.recording)
            assert told.probabilities is not None
            assert scored.predicted.probabilities is not None
            largest = max(
                largest, np.abs(told.probabilities - scored.predicted.probabilities).max()
            )
            changed += int((told.codes != scored.predicted.codes)[scored.counted].sum())
            counted += int(scored.counted.sum())
    assert cost.largest_difference == pytest.approx(largest)
    assert 0 < cost.largest_difference < 0.05
    assert cost.changed == pytest.approx(changed / counted)
    assert seen == [(1, 1, "")]


def test_kappa_of_each_file_is_its_own(
    small_run: Run, simulated_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = exported("lstm")
    monkeypatch.setattr("research.eight_bits.quantise", lambda _: other)
    nights = load_nights(simulated_data)
    (cost,) = cost_of_int8([small_run.outcome], nights, jobs=1)
    told = {
        night.subject: replace(
            small_run.outcome.scored[night.subject],
            predicted=Stager(other).predict(night.recording),
        )
        for night in nights
        if night.subject in small_run.split.test
    }
    assert cost.kappa_int8 == pytest.approx(report(told).schemes["four_class"].kappa)
    assert cost.kappa_int8 != pytest.approx(cost.kappa)
    assert cost.changed > 0.1


def counted_by_torch(kind: str) -> int:
    """Multiply-accumulates of one epoch as torch meets them, layer by layer."""
    total = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: object) -> None:
        nonlocal total
        if isinstance(module, nn.Linear):
            assert isinstance(output, torch.Tensor)
            total += output.numel() * module.in_features
        elif isinstance(module, nn.Conv1d):
            assert isinstance(output, torch.Tensor)
            total += output.numel() * module.weight[0].numel()
        elif isinstance(module, (nn.LSTM, nn.GRU)):
            total += sum(weights.numel() for weights in module.parameters() if weights.ndim == 2)

    made = network(kind)
    hooks = [module.register_forward_hook(count) for module in made.modules()]
    with torch.no_grad():
        made(torch.zeros(1, 1, 2 * N_FEATURES), made.initial_state(1))
    for hook in hooks:
        hook.remove()
    return total


@pytest.mark.parametrize("kind", ["lstm", "gru", "traced"])
def test_operations_are_those_of_the_layers(kind: str) -> None:
    assert operations(exported(kind)) == counted_by_torch(kind) > 0


def test_attention_counts_what_it_looks_back_on() -> None:
    # Width 8, context 6, two layers: query and key, then weights and values, of each layer.
    attention = 2 * (2 * 6 * 8)
    layers = counted_by_torch("transformer")
    assert operations(exported("transformer")) == layers + attention


def test_members_add_up() -> None:
    kinds = ("lstm", "transformer", "traced")
    assert operations(exported(*kinds)) == sum(operations(exported(kind)) for kind in kinds)


def test_a_lost_shape_is_an_error_and_no_zero() -> None:
    model = onnx.load_from_string(exported("lstm"))
    model.graph.node.append(onnx.helper.make_node("MatMul", ["nothing", "nothing"], ["product"]))
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info("product"))
    with pytest.raises(onnx.shape_inference.InferenceError, match="MatMul"):
        operations(model.SerializeToString())


def test_bytes_of_weights_and_of_state() -> None:
    content, made = exported("lstm"), network("lstm")
    weights = sum(4 * one.numel() for one in [*made.parameters(), *made.buffers()])
    assert weights <= weight_bytes(content) < weights + 600  # a few shapes
    of_network = sum(4 * part.numel() for part in made.initial_state(1))
    prior_correction = 8 * (2 + 4)
    assert state_bytes(content) == of_network + prior_correction


def test_more_work_takes_longer() -> None:
    one, many = exported("lstm"), exported("lstm", "transformer", "traced")
    assert 0 < milliseconds(one, ROWS) < milliseconds(many, ROWS)
