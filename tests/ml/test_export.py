"""The model file: its graph gives what torch gives, in any pieces, and says what it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from research.footprint import of_one_epoch
from sleepstage.core.hypnogram import Hypnogram
from sleepstage.engine.features import FEATURE_NAMES, extract_features
from sleepstage.engine.model_info import METADATA_KEY, ModelInfo
from sleepstage.engine.prior_correction import PriorCorrection
from sleepstage.engine.stager import Stager
from sleepstage.engine.wear import unscored_reasons
from sleepstage.errors import DataError
from sleepstage.ml import export
from sleepstage.ml.config import TrainingConfig
from sleepstage.ml.dataset import PreparedNight, input_rows
from sleepstage.ml.export import export_graph, model_file
from sleepstage.ml.fit import Network, predict
from sleepstage.simulate.nights import simulate_night
from sleepstage.stages import SCHEMES
from tests.helpers import exports
from tests.helpers.networks import KINDS, N_FEATURES, NAMES, network, whole_night

pytestmark = pytest.mark.slow

NIGHT = simulate_night(11, hours=1.0)
ROWS = extract_features(NIGHT)
NIGHT_AND_ROWS = PreparedNight(NIGHT, ROWS, np.zeros(len(ROWS), dtype=np.int8))
LIVE = ModelInfo(NAMES, "four_class")
OVER = replace(LIVE, whole_night=True)
FOUR, FIVE = ((0.5, 0.0, -0.25, -0.25), (0.0, 0.5, -0.5, 0.0)), ((0.25, 0.5, -0.25, -0.25, -0.25),)
"""Typical courses, against which what is told is measured."""

MODELS: dict[str, tuple[list[str], ModelInfo]] = {
    **{kind: ([kind], LIVE) for kind in KINDS},
    "of three kinds": (["gru", "transformer", "lstm"], replace(LIVE, typical=FOUR)),
    "look-ahead": (["lstm", "transformer"], replace(LIVE, look_ahead=3, typical=FOUR)),
    **{f"{kind}, both ways": ([kind], OVER) for kind in KINDS},
    "members both ways": (
        ["gru", "lstm", "gru"],
        replace(OVER, scheme="five_class", typical=FIVE),
    ),
}


@cache
def model(name: str) -> tuple[list[Network], Stager, bytes]:
    """Networks, and the same networks from a file."""
    kinds, info = MODELS[name]
    make = whole_night if info.whole_night else network
    n_classes = len(SCHEMES[info.scheme])
    networks = [make(kind, seed, n_classes) for seed, kind in enumerate(kinds)]
    content = model_file(export_graph(networks, N_FEATURES), info)
    return networks, Stager(content), content


def in_torch(networks: Sequence[Network], info: ModelInfo) -> NDArray[np.float32]:
    config = TrainingConfig(
        features=NAMES, trace=False, whole_night=info.whole_night, look_ahead=info.look_ahead
    )
    rows = input_rows(NIGHT_AND_ROWS, config)
    probabilities = np.mean([predict(one, [rows])[0] for one in networks], axis=0)
    prior_correction = PriorCorrection(info.typical)
    centred, _ = prior_correction.apply(
        probabilities, prior_correction.initial_state(probabilities.shape[1])
    )
    return centred[info.look_ahead :]


def told(hypnogram: Hypnogram) -> NDArray[np.float32]:
    assert hypnogram.probabilities is not None
    return hypnogram.probabilities


@pytest.mark.parametrize("name", MODELS)
def test_the_model_file_gives_what_torch_gives(name: str) -> None:
    networks, stager, _ = model(name)
    found, expected = told(stager.predict(NIGHT)), in_torch(networks, stager.info)
    assert not unscored_reasons(ROWS).any()
    assert found.shape == expected.shape == (120, len(stager.scheme))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(found, axis=0).min() > 0.01  # or nothing would be compared


@pytest.mark.parametrize("name", ["of three kinds", "transformer"])
@given(cuts=st.lists(st.integers(0, len(ROWS)), max_size=6))
def test_any_chunking_gives_the_same_bits(name: str, cuts: list[int]) -> None:
    _, stager, _ = model(name)
    whole, last = stager.step(ROWS, stager.initial_state())
    state, parts = stager.initial_state(), []
    for chunk in np.split(ROWS, sorted(cuts)):
        probabilities, state = stager.step(chunk, state)
        parts.append(probabilities)
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    for one, other in zip(state, last, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", [name for name in MODELS if "both ways" not in name])
def test_many_epochs_at_a_time_give_what_single_ones_give(name: str) -> None:
    _, stager, _ = model(name)
    rows = np.tile(ROWS, (3, 1))  # more than are staged at a time
    single, one_state = stager.step(rows, stager.initial_state())
    many, other_state = stager.step(rows, stager.initial_state(), exact=False)
    np.testing.assert_allclose(many, single, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(many.argmax(axis=1), single.argmax(axis=1))
    for one, other in zip(one_state, other_state, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_nights_are_staged_side_by_side_as_alone(name: str) -> None:
    *_, content = model(name)
    session = onnxruntime.InferenceSession(content)
    width = session.get_inputs()[0].shape[-1]
    rows = np.random.default_rng(0).normal(size=(2, 70, width)).astype(np.float32)

    def run(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        shapes = {node.name: node.shape for node in session.get_inputs()[1:]}
        state = {
            name: np.zeros([len(rows) if size == "nights" else size for size in shape], "float32")
            for name, shape in shapes.items()
        }
        return np.asarray(session.run(None, {"features": rows, **state})[0])

    alone = np.concatenate([run(night[None]) for night in rows])
    np.testing.assert_allclose(run(rows), alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["of three kinds", "gru, both ways"])
def test_graphs_of_one_epoch_are_staged_too(name: str) -> None:
    """Those of small devices, with no axis of nights and epochs."""
    _, stager, content = model(name)
    fixed = of_one_epoch(content)
    (given,) = (one for one in fixed.graph.input if one.name == "features")
    width = given.type.tensor_type.shape.dim[2].dim_value
    for shape in (None, (1, width)):
        graph = onnx.ModelProto()
        graph.CopyFrom(fixed)
        if shape is not None:
            _ask_for(graph.graph, shape)
        found = Stager(model_file(graph, stager.info))
        np.testing.assert_allclose(
            told(found.predict_rows(NIGHT, ROWS, NIGHT_AND_ROWS.backward_rows)),
            told(stager.predict_rows(NIGHT, ROWS, NIGHT_AND_ROWS.backward_rows)),
            rtol=0,
            atol=1e-5,
        )


def _ask_for(graph: onnx.GraphProto, shape: tuple[int, int]) -> None:
    """Make a graph take rows of this shape."""
    (given,) = (one for one in graph.input if one.name == "features")
    sizes = [one.dim_value for one in given.type.tensor_type.shape.dim]
    for node in graph.node:
        for number, name in enumerate(node.input):
            if name == "features":
                node.input[number] = "rows"
    graph.initializer.append(numpy_helper.from_array(np.array(sizes), "sizes"))
    graph.node.insert(0, helper.make_node("Reshape", ["features", "sizes"], ["rows"]))
    given.CopyFrom(helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, shape))


@pytest.mark.parametrize(
    ("name", "n_states"),
    [("lstm", 2), ("gru", 1), ("transformer", 2), ("of three kinds", 5), ("lstm, both ways", 4)],
)
def test_the_states_of_all_networks_follow_each_other(name: str, n_states: int) -> None:
    _, stager, content = model(name)
    session = onnxruntime.InferenceSession(content)
    names = [f"state_{number}" for number in range(n_states)]
    assert [node.name for node in session.get_inputs()] == ["features", *names]
    assert [node.name for node in session.get_outputs()] == [
        "predicted",
        *(f"next_{name}" for name in names),
    ]
    *state, prior_correction = stager.initial_state()
    assert [list(part.shape) for part in state] == [
        [1 if size == "nights" else size for size in node.shape]
        for node in session.get_inputs()[1:]
    ]
    assert not any(part.any() for part in (*state, prior_correction))
    assert prior_correction.shape == (2 + len(stager.scheme),)


def test_a_whole_night_is_not_staged_as_it_comes() -> None:
    _, stager, _ = model("gru, both ways")
    message = "a whole-night model stages recordings, not epochs as they come"
    with pytest.raises(DataError, match=message):
        stager.step(ROWS, stager.initial_state())
    with pytest.raises(DataError, match=message):  # features of one direction only
        stager.predict_rows(NIGHT, ROWS)


def test_a_whole_night_is_told_from_both_ends() -> None:
    _, stager, _ = model("gru, both ways")
    before = told(stager.predict_rows(NIGHT, ROWS, NIGHT_AND_ROWS.backward_rows))
    for changes in ((0, 1), (1, 0)):
        tables = [ROWS.copy(), NIGHT_AND_ROWS.backward_rows.copy()]
        for table, changed in zip(tables, changes, strict=True):
            table[60] += changed
        after = told(stager.predict_rows(NIGHT, *tables))
        moved = np.flatnonzero((after != before).any(axis=1))
        # Each direction remembers, in its own sense of what comes after.
        assert 60 in moved
        assert (moved >= 60).all() if changes == (1, 0) else (moved <= 60).all()


def test_look_ahead_waits_so_many_epochs_and_no_more() -> None:
    _, stager, _ = model("look-ahead")
    before = told(stager.predict_rows(NIGHT, ROWS))
    assert len(before) == len(ROWS)
    assert np.isfinite(before).all()
    for epoch in (0, 60, len(ROWS) - 1):
        changed = ROWS.copy()
        changed[epoch] += 1
        after = told(stager.predict_rows(NIGHT, changed))
        moved = np.flatnonzero((after != before).any(axis=1))
        assert moved[0] == max(epoch - 3, 0)


def test_what_lies_beyond_the_end_is_unknown_to_look_ahead() -> None:
    _, stager, _ = model("look-ahead")
    longer = np.concatenate([ROWS, np.full((3, ROWS.shape[1]), np.nan, dtype=np.float32)])
    later, _ = stager.step(longer, stager.initial_state(), exact=False)
    np.testing.assert_array_equal(told(stager.predict_rows(NIGHT, ROWS)), later[3:])


def test_columns_are_found_by_name() -> None:
    info = replace(LIVE, features=NAMES[::-1])
    _, stager, content = model("gru")
    reordered = Stager(model_file(onnx.load_model_from_string(content), info))
    mirrored = ROWS.copy()
    mirrored[:, :N_FEATURES] = ROWS[:, N_FEATURES - 1 :: -1]
    np.testing.assert_array_equal(
        reordered.step(mirrored, reordered.initial_state())[0],
        stager.step(ROWS, stager.initial_state())[0],
    )


# The file


@pytest.mark.parametrize("name", ["of three kinds", "transformer, both ways"])
def test_the_model_file_says_nothing_of_the_machine(name: str) -> None:
    _, _, content = model(name)
    assert str(Path.cwd()).encode() not in content
    assert b"site-packages" not in content
    parsed = onnx.load_model_from_string(content)
    assert [prop.key for prop in parsed.metadata_props] == [METADATA_KEY]
    assert {entry.domain for entry in parsed.opset_import} <= {"", "ai.onnx"}


@pytest.mark.parametrize("name", ["of three kinds", "lstm, both ways", "traced"])
def test_helpers_put_weights_into_a_graph_as_the_export_does(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks, stager, content = model(name)
    monkeypatch.setattr(exports, "folder", tmp_path)
    make = whole_night if stager.info.whole_night else network
    exports.export_graph([make(kind, 9) for kind in MODELS[name][0]], N_FEATURES)
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(export, "export_graph", None)
    assert model_file(exports.export_graph(networks, N_FEATURES), stager.info) == content


def test_the_same_networks_make_the_same_file() -> None:
    networks, _, content = model("gru")
    assert model_file(export_graph(networks, N_FEATURES), LIVE) == content


def test_a_file_and_its_content_are_the_same_model(tmp_path: Path) -> None:
    _, stager, content = model("look-ahead")
    (tmp_path / "model.onnx").write_bytes(content)
    from_file = Stager(tmp_path / "model.onnx")
    assert from_file.info == stager.info
    np.testing.assert_array_equal(told(from_file.predict(NIGHT)), told(stager.predict(NIGHT)))


def test_what_a_model_says_of_itself_is_read_again() -> None:
    nested: dict[str, Any] = {"a": [1, {"b": None}]}
    info = ModelInfo(
        features=FEATURE_NAMES[3:6],
        scheme="five_class",
        version="9.1",
        config=nested,
        split=nested,
        metrics=nested,
        data=nested,
        simulated=True,
        look_ahead=3,
        class_weights={"rem": 1.25},
        typical=((0.5, -0.5), (0.25, -0.25)),
    )
    assert ModelInfo.from_json(info.to_json()) == info
    assert ModelInfo.from_json(OVER.to_json()) == OVER
