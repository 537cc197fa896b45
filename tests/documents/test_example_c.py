"""The example in C says what `Stager.predict` says."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from research import c_port
from sleepstage.core.recording import Recording
from sleepstage.core.samples import Samples
from sleepstage.engine.features import extract_features
from sleepstage.engine.model_info import FORMAT, METADATA_KEY, ModelInfo
from sleepstage.engine.stager import SHIPPED_MODELS, load_model
from sleepstage.errors import SleepstageError
from sleepstage.io.sleep_accel.read import read_subject
from sleepstage.ml.export import model_file
from sleepstage.simulate.nights import simulate_night
from sleepstage.simulate.waking import Day
from tests.helpers import golden
from tests.helpers.exports import export_graph
from tests.helpers.networks import N_FEATURES, NAMES, network

pytestmark = pytest.mark.slow

MAX_STACK = 16_384


@dataclass(frozen=True)
class Built:
    """The example, compiled for the live model."""

    folder: Path
    program: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler by the name of cc")
    folder = tmp_path_factory.mktemp("c")
    return Built(folder, c_port.build(SHIPPED_MODELS["live"], folder))


def compare(built: Built, night: Recording, folder: Path) -> None:
    """Hold what the program says of a night against the package."""
    found, told = c_port.stage_recording(built.program, night, folder), load_model().predict(night)
    rows = extract_features(night)
    np.testing.assert_allclose(found.features, rows, rtol=golden.ROUNDING, atol=golden.ROUNDING)
    assert found.reasons == told.reason_names.tolist()
    scored = told.codes >= 0
    assert told.probabilities is not None
    np.testing.assert_allclose(
        found.probabilities[scored], told.probabilities[scored], atol=golden.CLOSE, rtol=0
    )
    assert np.mean(np.array(found.stages) != told.stages) <= 0.001


def test_it_reproduces_the_golden_vectors(built: Built) -> None:
    options = [
        word
        for name in golden.SIGNALS
        for word in (f"--{name.replace('_', '-')}", str(golden.FOLDER / f"{name}.csv"))
    ]
    start, n_epochs = golden.ABOUT["start"], golden.ABOUT["epochs"]
    found = c_port.stage(built.program, options, start, n_epochs)
    np.testing.assert_allclose(
        found.features, golden.features(), rtol=golden.ROUNDING, atol=golden.ROUNDING
    )
    for group in ("predicted", "corrected"):
        np.testing.assert_allclose(
            getattr(found, group), golden.numbers(group), atol=golden.CLOSE, rtol=0
        )
    np.testing.assert_allclose(
        found.probabilities, golden.numbers("probability"), atol=golden.CLOSE, rtol=0
    )
    assert found.stages == golden.column("stage")
    assert found.reasons == golden.column("reason")
    rem = c_port.stage(built.program, [*options, "--find-rem"], start, n_epochs)
    assert rem.stages == golden.column("stage_find_rem")


def test_it_summarises_acceleration(built: Built, tmp_path: Path) -> None:
    raw = golden.samples("acceleration")
    night = Recording.from_arrays(motion=(raw.times, raw.values), start=0, end=240)
    found = c_port.stage(built.program, c_port.write_signals(tmp_path, acceleration=raw), 0, 8)
    rows = extract_features(night)
    np.testing.assert_allclose(found.features, rows, rtol=golden.ROUNDING, atol=golden.ROUNDING)


def test_it_forgets_as_the_package_does(built: Built, tmp_path: Path) -> None:
    day = Day(before=4, after=1, off_wrist=((-3, -2.5), (1, 1.3)), no_data=((2, 2.5),))
    night = simulate_night(4, day, hours=8)
    assert night.n_epochs > 1200  # epochs that are remembered
    compare(built, night, tmp_path)


def test_a_signal_may_be_missing(built: Built, tmp_path: Path) -> None:
    night = simulate_night(11, hours=1)
    compare(built, replace(night, heart_rate=Samples.empty(), steps=Samples.empty()), tmp_path)
    compare(built, replace(night, motion=Samples.empty(4)), tmp_path)


def test_the_same_of_a_real_night(built: Built, real_data: Path, tmp_path: Path) -> None:
    compare(built, read_subject(real_data, "46343"), tmp_path)


def test_state_and_stack_are_small(built: Built, tmp_path: Path) -> None:
    night = simulate_night(1, hours=0.6)
    found = c_port.stage_recording(built.program, night, tmp_path)
    assert 0 < found.state_bytes <= 64 * 1024
    assert 0 < c_port.stack_bytes(built.folder) <= MAX_STACK


def test_nothing_is_allocated(built: Built) -> None:
    objects = [built.folder / f"{name}.o" for name in ("feature_row", "motion", "network", "stage")]
    listed = subprocess.run(["nm", *objects], capture_output=True, text=True, check=True).stdout
    symbols = [line.split()[-2:] for line in listed.splitlines() if len(line.split()) > 1]
    taken = {name for kind, name in symbols if kind == "U"}
    own = {name for kind, name in symbols if kind != "U"}
    assert {"expf", "memset"} <= taken
    assert not {name for name in taken - own if "alloc" in name or "open" in name}
    assert not {name for kind, name in symbols if kind in "bBdDC" and name != "reason_names"}


def call(program: Path, *options: str | Path) -> str:
    """What a wrong call is answered with."""
    done = subprocess.run([program, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    return done.stderr


def test_wrong_files_are_refused_with_their_line(built: Built, tmp_path: Path) -> None:
    span = ("--start", "0", "--epochs", "2", "--heart-rate")
    beats = tmp_path / "beats.csv"
    for text, line, message in (
        ("time,bpm\n0,60\n5,\n", 3, "expected numbers with commas between"),
        ("time,bpm\n0,60\n5,61,62\n", 3, "expected numbers with commas between"),
        ("time,bpm\n5,60\n3,60\n", 3, "not in the order of time"),
        ("time,bpm\n" + "".join(f"{n / 100},60\n" for n in range(600)), 514, "too many samples"),
    ):
        beats.write_text(text)
        assert f"{beats}, line {line}: " in (answer := call(built.program, *span, beats))
        assert message in answer
    assert "No such file" in call(built.program, *span, tmp_path / "nothing.csv")
    assert "usage: stage" in call(built.program, "--start", "0")
    assert "usage: stage" in call(built.program, *span[:4], "--find-REM")


def test_models_that_it_does_not_compute_are_refused(tmp_path: Path) -> None:
    convert = runpy.run_path(str(c_port.EXAMPLE / "export_model.py"))["convert"]
    live = SHIPPED_MODELS["live"].read_bytes()

    def described(old: str, new: str) -> bytes:
        """The model with another description."""
        model = onnx.load_from_string(live)
        (text,) = (one for one in model.metadata_props if one.key == METADATA_KEY)
        assert old in text.value
        text.value = text.value.replace(old, new)
        return bytes(model.SerializeToString())

    gru = export_graph([network("gru"), network("transformer")], N_FEATURES)
    for content, message in (
        (live[: len(live) // 2], "not an ONNX file, or truncated"),
        (described(f'"format": {FORMAT}', '"format": 4'), "model format 4"),
        (described('"whole_night": false', '"whole_night": true'), "reads the whole night"),
        (model_file(gru, ModelInfo(NAMES, "four_class")), "expected LSTMs of one layer"),
    ):
        with pytest.raises(SleepstageError, match=message):
            convert(content)


def test_a_refused_file_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no model")
    answer = call(Path(sys.executable), c_port.EXAMPLE / "export_model.py", path, tmp_path)
    assert answer == f"{path}: not an ONNX file, or truncated\n"
    assert list(tmp_path.iterdir()) == [path]
