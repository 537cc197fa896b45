"""The example in JavaScript says what `Stager.predict` says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from sleepstage.core.recording import Recording
from sleepstage.core.samples import Samples
from sleepstage.engine.features import FEATURE_NAMES, extract_features
from sleepstage.engine.model_info import ModelInfo
from sleepstage.engine.stager import SHIPPED_MODELS, Stager
from sleepstage.io.sleep_accel.read import read_subject
from sleepstage.ml.export import model_file
from sleepstage.simulate.nights import simulate_night
from sleepstage.stages import FOUR_CLASS
from tests.conftest import Run
from tests.engine.test_stager import cut
from tests.helpers import golden
from tests.helpers.command import invoke
from tests.helpers.exports import export_graph
from tests.helpers.golden import CLOSE, ROUNDING
from tests.helpers.networks import N_FEATURES, NAMES, network

pytestmark = pytest.mark.slow

EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "javascript"
COLUMNS: Final = {
    "heart_rate": "time,bpm",
    "motion": "time,counts,peak_x_g,peak_y_g,peak_z_g",
    "steps": "time,steps",
}

Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def node() -> str:
    """The node command, once what the example needs is installed."""
    found = shutil.which("node")
    if found is None or not (EXAMPLE / "node_modules" / ".package-lock.json").exists():
        lacks = "no node" if found is None else f"run: npm ci --prefix {EXAMPLE}"
        # What continuous integration skips, nobody tests.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(lacks)
    return str(found)


@dataclass(frozen=True)
class Model:
    """A model file and what it says of itself."""

    path: Path
    info: Path


def described(path: Path, directory: Path) -> Model:
    info = directory / "info.json"
    assert invoke("info", path, "--out", info).exit_code == 0
    return Model(path, info)


@pytest.fixture(scope="module")
def trained(small_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Two LSTMs, trained on simulated nights."""
    return described(small_run.model, tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Networks of several kinds with random weights, and all that is done to what they tell."""
    directory = tmp_path_factory.mktemp("drawn")
    info = ModelInfo(
        NAMES,
        "four_class",
        class_weights={"rem": 1.5, "deep": 0.5},
        typical=((0.5, 0.0, -0.25, -0.25), (0.0, 0.5, -0.5, 0.0), (0.0, 0.25, -0.5, 0.25)),
        temperature=0.7,
    )
    networks = [network(kind, seed) for seed, kind in enumerate(("transformer", "gru"))]
    path = directory / "model.onnx"
    path.write_bytes(model_file(export_graph(networks, N_FEATURES), info))
    return described(path, directory)


def without(samples: Samples, *minutes: tuple[float, float]) -> Samples:
    """The samples less those of some stretches."""
    kept = np.ones(len(samples), dtype=bool)
    for first, last in minutes:
        kept &= (samples.times <= 60 * first) | (samples.times > 60 * last)
    return samples.keep(kept)


WHOLE: Final = simulate_night(11, hours=3)
SILENCE: Final = (110, 160)
GAPS: Final = replace(
    WHOLE,
    heart_rate=without(WHOLE.heart_rate, (20, 32), (50, 90), SILENCE),
    motion=without(WHOLE.motion, (40, 47), SILENCE),
)
NIGHTS: Final = {
    "gaps and a long silence": GAPS,
    "on a table": replace(
        WHOLE,
        heart_rate=without(WHOLE.heart_rate, (60, 180)),
        motion=replace(
            WHOLE.motion,
            values=np.where(WHOLE.motion.times[:, None] > 3600, [0, 0, 0, 1], WHOLE.motion.values),
        ),
    ),
    "no motion": replace(GAPS, motion=Samples.empty(4)),
    "no heart rate, no steps": replace(GAPS, heart_rate=Samples.empty(), steps=Samples.empty()),
}


def write(night: Recording, directory: Path) -> dict[str, Path]:
    """One CSV file for each signal that is there."""
    paths = {}
    for name, columns in COLUMNS.items():
        samples: Samples = getattr(night, name)
        if len(samples):
            paths[name] = directory / f"{name}.csv"
            table = np.column_stack([samples.times, samples.values])
            np.savetxt(paths[name], table, "%.17g", ",", header=columns, comments="")
    return paths


def call(node: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [node, EXAMPLE / "stage.js", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def stage(node: str, model: Model, night: Recording, directory: Path, *options: str) -> Lines:
    """What the example says of each epoch."""
    files = [
        word
        for name, path in write(night, directory).items()
        for word in (f"--{name.replace('_', '-')}", str(path))
    ]
    span = ("--start", repr(night.start), "--epochs", str(night.n_epochs))
    done = call(node, model.path, model.info, *files, *span, *options)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def table(lines: Lines, key: str, names: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Numbers of all epochs, NaN where there are none."""
    unknown = dict.fromkeys(names)
    rows = [[(line[key] or unknown)[name] for name in names] for line in lines]
    return np.array(rows, dtype=np.float64)


def compare(lines: Lines, night: Recording, model: Model, *, find_rem: bool = False) -> None:
    """Hold all that the example says against the package."""
    stager = Stager(model.path)
    told = hypnogram = stager.predict(night)
    if find_rem:
        hypnogram = hypnogram.decide(stager.info.class_weights)
    assert told.probabilities is not None
    features = table(lines, "features", FEATURE_NAMES)
    np.testing.assert_allclose(features, extract_features(night), rtol=ROUNDING, atol=ROUNDING)
    probabilities = table(lines, "probabilities", told.scheme.classes)
    np.testing.assert_allclose(probabilities, told.probabilities, atol=CLOSE, rtol=0)
    np.testing.assert_allclose(
        [line["confidence"] for line in lines], told.confidence, atol=10 * CLOSE
    )
    assert [line["time"] for line in lines] == hypnogram.times.tolist()
    assert [line.get("reason", "") for line in lines] == hypnogram.reason_names.tolist()
    stages = np.array([line["stage"] for line in lines])
    weights = [
        stager.info.class_weights.get(name, 1) if find_rem else 1 for name in told.scheme.classes
    ]
    second, first = np.sort(told.probabilities * weights, axis=1)[:, -2:].T
    tied = first - second < 4 * CLOSE
    assert tied.mean() < 0.02
    np.testing.assert_array_equal(stages[~tied], hypnogram.stages[~tied])


@pytest.mark.parametrize("kind", NIGHTS)
def test_the_example_says_what_the_package_says(
    node: str, trained: Model, tmp_path: Path, kind: str
) -> None:
    night = NIGHTS[kind]
    lines = stage(node, trained, night, tmp_path, "--features")
    compare(lines, night, trained)
    assert all(line["simulated"] for line in lines)
    if kind == "gaps and a long silence":
        unscored = [at for at, line in enumerate(lines) if line["stage"] == "unscored"]
        # Both signals are waited for 5 minutes.
        assert unscored == list(range(2 * (SILENCE[0] + 5), 2 * SILENCE[1]))
    if kind == "on a table":
        assert {line.get("reason") for line in lines[2 * 65 + 1 :]} == {"not_worn"}


def test_the_same_of_transformers_at_an_operating_point(
    node: str, drawn: Model, tmp_path: Path
) -> None:
    lines = stage(node, drawn, GAPS, tmp_path, "--features", "--find-rem")
    compare(lines, GAPS, drawn, find_rem=True)
    assert "simulated" not in lines[0]


def test_the_same_of_a_real_night(
    node: str, trained: Model, real_data: Path, tmp_path: Path
) -> None:
    night = read_subject(real_data, "46343")
    lines = stage(node, trained, night, tmp_path, "--features")
    compare(lines, night, trained)


def test_it_reproduces_the_golden_vectors(node: str, tmp_path: Path) -> None:
    live = described(SHIPPED_MODELS["live"], tmp_path)
    files = [
        word
        for name in golden.SIGNALS
        for word in (f"--{name.replace('_', '-')}", golden.FOLDER / f"{name}.csv")
    ]
    span = ("--start", repr(golden.ABOUT["start"]), "--epochs", str(golden.ABOUT["epochs"]))
    done = call(node, live.path, live.info, *files, *span, "--features")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    found = table(lines, "features", FEATURE_NAMES)
    np.testing.assert_allclose(found, golden.features(), rtol=ROUNDING, atol=ROUNDING)
    scored = [line["probabilities"] is not None for line in lines]
    probabilities = table(lines, "probabilities", FOUR_CLASS.classes)[scored]
    expected = golden.numbers("probability")[scored]
    np.testing.assert_allclose(probabilities, expected, atol=CLOSE, rtol=0)
    assert [line["stage"] for line in lines] == golden.column("stage")
    assert [line.get("reason", "") for line in lines] == golden.column("reason")


def test_the_future_changes_nothing(node: str, trained: Model, tmp_path: Path) -> None:
    known = cut(GAPS, 100)
    (tmp_path / "known").mkdir()
    whole = stage(node, trained, GAPS, tmp_path, "--features")
    assert whole[:100] == stage(node, trained, known, tmp_path / "known", "--features")


def test_what_is_wrong_is_one_clear_line(node: str, trained: Model, tmp_path: Path) -> None:
    info = tmp_path / "info.json"
    info.write_text(json.dumps({**json.loads(trained.info.read_text()), "whole_night": True}))
    beats = tmp_path / "beats.csv"
    beats.write_text("time,bpm\n0,60\n5,\n")
    span = ("--start", "0", "--epochs", "2")
    for arguments, message in (
        ((trained.path, info, *span), "the model has to be a live one"),
        ((trained.path, trained.info, "--heart-rate", beats, *span), f"{beats}, line 3: expected"),
        ((trained.path, trained.info), "usage: node stage.js"),
    ):
        done = call(node, *arguments)
        assert done.returncode == 1
        assert message in done.stderr
        assert done.stdout == ""


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((EXAMPLE / "package-lock.json").read_text())
    package = json.loads((EXAMPLE / "package.json").read_text())
    packages = lock["packages"]
    assert packages[""]["dependencies"] == package["dependencies"]
    for name, entry in packages.items():
        assert "resolved" not in entry, name
        assert not name or entry["integrity"].startswith("sha512-"), name
