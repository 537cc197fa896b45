from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from sleepstage.errors import DataError
from sleepstage.features import FEATURE_NAMES
from sleepstage.readers.simulated import simulate_night
from sleepstage.recording import Recording
from sleepstage.stager import METADATA_KEY, ModelInfo, Stager
from sleepstage.stages import FOUR_CLASS, UNSCORED, Stage
from sleepstage.training import fit as fitting
from sleepstage.training.config import TrainingConfig
from sleepstage.training.export import export_step, save_model
from sleepstage.training.fit import Pass, fit
from sleepstage.training.network import LSTMConfig, LSTMNetwork
from sleepstage.training.nights import Night, prepare_nights
from sleepstage.training.run import Run, load_nights

from .conftest import SMALL


@pytest.fixture(scope="module")
def nights() -> list[Night]:
    return prepare_nights(simulate_night(seed, hours=4.0) for seed in range(6))


def network(layers: int = 1, seed: int = 0) -> LSTMNetwork:
    torch.manual_seed(seed)
    config = LSTMConfig(hidden=8, layers=layers)
    return LSTMNetwork(torch.zeros(5), torch.ones(5), 4, config).eval()


def test_the_network_does_not_see_the_future() -> None:
    rows_BTF = torch.randn(2, 30, 5)
    changed_BTF = rows_BTF.clone()
    changed_BTF[:, 20:] = torch.nan
    model = network(layers=2)
    before_BTC, _ = model(rows_BTF, model.begin(2))
    after_BTC, _ = model(changed_BTF, model.begin(2))
    assert torch.equal(before_BTC[:, :20], after_BTC[:, :20])
    assert not torch.equal(before_BTC[:, 20:], after_BTC[:, 20:])


def test_the_network_tells_unknown_from_average() -> None:
    model = network()
    average, _ = model(torch.zeros(1, 1, 5), model.begin(1))
    unknown, _ = model(torch.full((1, 1, 5), torch.nan), model.begin(1))
    assert torch.isfinite(unknown).all()
    assert not torch.allclose(average, unknown)


def test_state_carries_over(nights: list[Night]) -> None:
    model = network()
    rows_BTF = torch.randn(1, 20, 5)
    whole, _ = model(rows_BTF, model.begin(1))
    first, state = model(rows_BTF[:, :7], model.begin(1))
    second, _ = model(rows_BTF[:, 7:], state)
    assert torch.allclose(whole, torch.cat([first, second], dim=1), atol=1e-6)


def test_the_same_seed_gives_the_same_weights_and_leaves_torch_alone(nights: list[Night]) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state(), torch.get_num_threads()
    one, _ = fit(nights, SMALL, n_passes=2)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]
    two, _ = fit(nights, SMALL, n_passes=2)
    other, _ = fit(nights, replace(SMALL, seed=1), n_passes=2)
    assert all(map(torch.equal, one.parameters(), two.parameters()))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


def test_training_learns_to_stage_people_it_has_not_seen(nights: list[Night]) -> None:
    config = replace(SMALL, learning_rate=0.02, signal_dropout=0.0, warm_up_steps=1)
    _, passes = fit(nights[:5], config, n_passes=25, validation=nights[5:])
    assert passes[-1].loss < 0.8 * passes[0].loss
    assert passes[-1].validation_kappa > 0.3


def test_how_many_passes_are_planned_changes_no_earlier_one(nights: list[Night]) -> None:
    _, short = fit(nights[:2], SMALL, n_passes=2, validation=nights[2:3])
    _, long = fit(nights[:2], SMALL, n_passes=5, validation=nights[2:3])
    assert long[:2] == short


def test_without_validation_people_there_is_no_kappa(nights: list[Night]) -> None:
    _, passes = fit(nights[:2], SMALL, n_passes=2)
    assert all(np.isnan(one.validation_kappa) for one in passes)


def test_weights_are_a_mean_over_the_steps(nights: list[Night]) -> None:
    last, _ = fit(nights[:2], replace(SMALL, averaging=0.0), n_passes=40)
    mean, _ = fit(nights[:2], replace(SMALL, averaging=0.9), n_passes=40)
    assert not torch.allclose(last.output.weight, mean.output.weight)
    assert torch.allclose(last.output.weight, mean.output.weight, atol=0.5)


def test_people_taken_out_say_how_long_all_are_fitted(
    nights: list[Night], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[set[str], set[str], int, int]] = []
    kappas = {0: [0.1, 0.2, 0.6, 0.3], 1: [0.1, 0.6, 0.4, 0.2]}  # mean: 0.1, 0.4, 0.5, 0.25

    def fake(train: list[Night], config: TrainingConfig, **options: Any) -> Any:
        validation = {night.subject for night in options.get("validation", ())}
        seen.append(
            ({night.subject for night in train}, validation, config.seed, options["n_passes"])
        )
        curve = kappas[config.seed] if validation else [math.nan] * options["n_passes"]
        passes = [Pass(number, 1.0, kappa) for number, kappa in enumerate(curve, start=1)]
        for one in passes:
            options["after"](one)
        return network(seed=config.seed), passes

    monkeypatch.setattr(fitting, "fit", fake)
    names = [night.subject for night in nights]
    calls: list[tuple[int, int]] = []
    networks, n_passes = fitting.fit_members(
        nights,
        [names[:3], names[3:]],
        replace(SMALL, members=3),
        on_pass=lambda done, total, _: calls.append((done, total)),
    )
    assert n_passes == 3
    assert len(networks) == 3
    assert seen == [
        (set(names[3:]), set(names[:3]), 0, 4),
        (set(names[:3]), set(names[3:]), 1, 4),
        *((set(names), set(), seed, 3) for seed in range(3)),
    ]
    assert [done for done, _ in calls] == list(range(1, 18))
    assert calls[-1] == (17, 17)


def test_normalisation_knows_the_training_people_only(nights: list[Night]) -> None:
    alone, _ = fit(nights[:2], SMALL, n_passes=1)
    watched, _ = fit(nights[:2], SMALL, n_passes=1, validation=nights[2:])
    assert torch.equal(alone.mean_F, watched.mean_F)
    assert torch.equal(alone.std_F, watched.std_F)


def test_a_stage_missing_in_training_is_named(nights: list[Night]) -> None:
    codes = nights[0].codes.copy()
    codes[codes == FOUR_CLASS.classes.index("rem")] = UNSCORED
    with pytest.raises(DataError, match="no epoch of rem in the 1 training nights"):
        fit([replace(nights[0], codes=codes)], SMALL, n_passes=1)


def test_an_unknown_device_is_named(nights: list[Night]) -> None:
    with pytest.raises(DataError, match="device 'abacus' is not to be had here"):
        fit(nights, replace(SMALL, device="abacus"), n_passes=1)


def test_epochs_without_both_signals_are_not_trained_on() -> None:
    night = simulate_night(0, hours=2.0)
    assert night.reference is not None
    half = night.start + 3600.0
    recording = replace(night, motion=night.motion.between(-np.inf, half))
    (prepared,) = prepare_nights([recording])
    assert (prepared.codes[120:] == UNSCORED).all()
    assert (prepared.codes[:60] != UNSCORED).any()


def test_nights_that_can_not_be_used_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    beats = (np.arange(0, 3600.0, 5), np.full(720, 60.0))
    unscored = Recording.from_arrays(heart_rate=beats, subject="unscored")
    deaf = Recording.from_arrays(
        heart_rate=beats, start=0.0, stages=np.full(120, Stage.N2), subject="still"
    )
    assert prepare_nights([unscored, deaf]) == []
    assert "unscored: left out, it has no stages" in caplog.text
    assert "still: left out, no scored epoch has both signals" in caplog.text


@pytest.mark.parametrize(("layers", "members"), [(1, 1), (2, 1), (2, 3)])
def test_the_saved_graph_gives_what_torch_gives(layers: int, members: int, tmp_path: Path) -> None:
    models = [network(layers, seed) for seed in range(members)]
    rows_TF = torch.randn(50, 5)
    rows_TF[10:20, 2] = torch.nan
    with torch.no_grad():
        logits = [model(rows_TF[None], model.begin(1))[0][0] for model in models]
    expected = torch.stack([one.softmax(-1) for one in logits]).mean(dim=0)
    save_model(export_step(models), ModelInfo(FEATURE_NAMES[:5], "four_class"), tmp_path / "m.onnx")
    stager = Stager(tmp_path / "m.onnx")
    table = np.zeros((50, len(FEATURE_NAMES)), dtype=np.float32)
    table[:, :5] = rows_TF.numpy()
    probabilities, _ = stager.advance(table, stager.begin())
    np.testing.assert_allclose(probabilities, expected.numpy(), atol=1e-5)


def test_the_model_file_says_nothing_of_the_machine(tmp_path: Path) -> None:
    save_model(export_step([network()]), ModelInfo(FEATURE_NAMES[:5], "four_class"), tmp_path / "m")
    content = (tmp_path / "m").read_bytes()
    assert str(Path.cwd()).encode() not in content
    assert b"site-packages" not in content
    assert [prop.key for prop in onnx.load(tmp_path / "m").metadata_props] == [METADATA_KEY]


def test_a_run_leaves_everything_behind(small_run: Run) -> None:
    names = {path.name for path in small_run.directory.iterdir()}
    pictures = {f"{subject}.png" for subject in small_run.split.test}
    documents = {"model.onnx", "config.json", "split.json", "metrics.json", "train.log"}
    assert names == documents | pictures
    metrics = json.loads((small_run.directory / "metrics.json").read_text())
    assert metrics == small_run.metrics
    assert set(metrics["four_class"]["recall"]) == {"wake", "light", "deep", "rem"}
    assert set(metrics["per_person"]) == set(small_run.split.test)
    log = (small_run.directory / "train.log").read_text()
    assert "validation kappa" in log
    assert str(asdict(small_run.split)) in log
    config = json.loads((small_run.directory / "config.json").read_text())
    assert config["network"]["hidden"] == SMALL.network.hidden


def test_the_model_file_describes_itself(small_run: Run) -> None:
    info = Stager(small_run.model).info
    assert info.metrics == small_run.metrics
    assert info.split["train"] == list(small_run.split.train)
    assert info.split["test"] == list(small_run.split.test)
    assert info.features == SMALL.features
    assert info.simulated
    assert len(info.data["fingerprint"]) == 64


def test_the_fingerprint_follows_the_data(simulated_data: Path) -> None:
    night = load_nights(simulated_data)[0].recording
    changed = replace(night, heart_rate=night.heart_rate.between(0, np.inf))
    assert night.fingerprint() == load_nights(simulated_data)[0].recording.fingerprint()
    assert night.fingerprint() != changed.fingerprint()


def test_onnxruntime_is_all_that_the_graph_needs(small_run: Run) -> None:
    domains = {entry.domain for entry in onnx.load(small_run.model).opset_import}
    assert domains <= {"", "ai.onnx"}
    session = onnxruntime.InferenceSession(small_run.model)
    assert [node.name for node in session.get_inputs()] == ["features", "hidden", "cell"]
