"""The models that come with the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sleepstage
from research import DOCS, make_models
from sleepstage.engine.stager import SHIPPED_MODELS
from sleepstage.io.sleep_accel.read import find_subjects, read_subject
from sleepstage.stages import FOUR_CLASS, UNSCORED

WITHOUT_EXTRAS = """
import sys
for name in ("torch", "onnx", "scipy", "sklearn", "matplotlib", "joblib", "pandas"):
    sys.modules[name] = None
import sleepstage
session = sleepstage.load_model().session(start=0.0)
epochs = session.push(heart_rate=([1.0, 6.0], [60, 61]), motion=(15.0, [0, 0, 0, 1]), now=35.0)
print(epochs[0].stage)
"""


def test_the_live_one_is_loaded_where_none_is_named() -> None:
    assert sleepstage.load_model().digest == sleepstage.load_model("live").digest


@pytest.mark.parametrize("name", SHIPPED_MODELS)
def test_each_is_small_and_says_what_it_is(name: str) -> None:
    assert SHIPPED_MODELS[name].stat().st_size < 1e6
    info = sleepstage.load_model(name).info
    assert info.whole_night is (name in {"night", "heart-rate"})
    assert (info.scheme, info.look_ahead, info.simulated) == ("four_class", 0, False)
    assert info.data["licence"] == "ODC-By 1.0"
    assert "Walch" in info.data["attribution"]
    assert info.data["people"] == len(info.split["train"]) == 26
    assert info.split["test"] == []  # nobody is left: the numbers are of the recipe
    if name.startswith("live") or info.metrics:  # a recipe that has changed is to be measured anew
        assert "of the recipe" in info.metrics["protocol"]
        assert info.metrics["four_class"]["kappa"]["mean"] > 0.5
    assert info.class_weights["rem"] > 1
    assert 0.5 < info.temperature < 1
    assert len(info.typical) > 10


def test_the_card_is_of_these_files() -> None:
    assert make_models.card() == (DOCS / "models.md").read_text(encoding="utf-8")


def test_eight_bits_tell_nearly_the_same(real_data: Path) -> None:
    recording = read_subject(real_data, find_subjects(real_data)[0])
    full, small = (sleepstage.load_model(name).predict(recording) for name in ("live", "live-int8"))
    assert full.probabilities is not None
    assert small.probabilities is not None
    assert np.nanmax(np.abs(full.probabilities - small.probabilities)) < 0.1
    assert np.mean(full.codes != small.codes) < 0.02


@pytest.mark.parametrize("name", SHIPPED_MODELS)
def test_each_knows_the_people_it_was_trained_on(real_data: Path, name: str) -> None:
    """No measure of quality, but of a file that belongs to this version's features."""
    stager, agreed = sleepstage.load_model(name), []
    for subject in find_subjects(real_data)[:3]:
        recording = read_subject(real_data, subject)
        assert recording.reference is not None
        truth = recording.reference.merge(FOUR_CLASS).codes[: recording.n_epochs]
        counted = recording.covered & (truth != UNSCORED)
        agreed.append(stager.predict(recording).codes[counted] == truth[counted])
    assert np.mean(np.concatenate(agreed)) > 0.7


def test_numpy_and_onnxruntime_are_enough() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in FOUR_CLASS.classes
