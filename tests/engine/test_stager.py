from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sleepstage
from sleepstage.core.agreement import ScoredNight, report
from sleepstage.core.recording import Recording
from sleepstage.core.samples import Samples
from sleepstage.engine.features import extract_features
from sleepstage.engine.model_info import METADATA_KEY
from sleepstage.engine.stager import Stager
from sleepstage.errors import DataError, ModelFileError
from sleepstage.evaluation.run import load_nights
from sleepstage.evaluation.schema import Metrics
from sleepstage.io.sleep_accel.read import read_subject
from sleepstage.simulate.nights import simulate_night
from sleepstage.stages import EPOCH_SECONDS, UNSCORED
from tests.conftest import Run
from tests.helpers.small import SMALL

NIGHT = simulate_night(11, hours=1.5)
ROWS = extract_features(NIGHT)


@pytest.fixture(scope="module")
def stager(small_run: Run) -> Stager:
    return sleepstage.load_model(small_run.model)


def cut(recording: Recording, n_epochs: int) -> Recording:
    """The recording as it was known when its first epochs were over."""
    now = recording.start + n_epochs * EPOCH_SECONDS
    return replace(
        recording,
        end=now,
        heart_rate=recording.heart_rate.between(-np.inf, now),
        motion=recording.motion.between(-np.inf, np.nextafter(now, np.inf)),
        steps=recording.steps.between(-np.inf, now),
        reference=None,
    )


def test_a_hypnogram_has_every_epoch_of_the_recording(stager: Stager) -> None:
    hypnogram = stager.predict(NIGHT)
    assert len(hypnogram) == NIGHT.n_epochs == 180
    assert hypnogram.start == NIGHT.start
    assert hypnogram.probabilities is not None
    np.testing.assert_allclose(hypnogram.probabilities.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(hypnogram.probabilities.argmax(axis=1), hypnogram.codes)
    assert hypnogram.simulated
    assert hypnogram.subject == "simulated-0011"


@pytest.mark.parametrize("n_epochs", [1, 2, 59, 60, 61, 150])
def test_cutting_off_the_future_changes_no_earlier_epoch(stager: Stager, n_epochs: int) -> None:
    whole, known = stager.predict(NIGHT), stager.predict(cut(NIGHT, n_epochs))
    assert whole.probabilities is not None
    assert known.probabilities is not None
    np.testing.assert_array_equal(known.probabilities, whole.probabilities[:n_epochs])


@pytest.mark.parametrize("subject", ["46343", "7749105", "1066528"])
def test_cutting_off_the_future_of_a_real_night(
    stager: Stager, real_data: Path, subject: str
) -> None:
    night = read_subject(real_data, subject)
    whole = stager.predict(night)
    for n_epochs in (1, 100, 131, 400):
        known = stager.predict(cut(night, n_epochs))
        assert whole.probabilities is not None
        assert known.probabilities is not None
        np.testing.assert_array_equal(known.probabilities, whole.probabilities[:n_epochs])


@given(cuts=st.lists(st.integers(0, len(ROWS)), max_size=6))
def test_any_chunking_gives_the_same(small_run: Run, cuts: list[int]) -> None:
    stager = Stager(small_run.model)
    whole, _ = stager.step(ROWS, stager.initial_state())
    state, parts = stager.initial_state(), []
    for chunk in np.split(ROWS, sorted(cuts)):
        probabilities, state = stager.step(chunk, state)
        parts.append(probabilities)
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("lost", [{"heart_rate"}, {"motion"}, {"steps"}, {"motion", "steps"}])
def test_any_signal_may_be_missing(stager: Stager, lost: set[str]) -> None:
    nothing = {"heart_rate": Samples.empty(), "motion": Samples.empty(4), "steps": Samples.empty()}
    missing: dict[str, Any] = {name: nothing[name] for name in lost}
    hypnogram = stager.predict(replace(NIGHT, **missing))
    assert (hypnogram.codes != UNSCORED).all()


def test_long_silence_is_unscored(stager: Stager) -> None:
    half = NIGHT.start + 60 * EPOCH_SECONDS
    silent = replace(
        NIGHT,
        heart_rate=NIGHT.heart_rate.between(-np.inf, half),
        motion=NIGHT.motion.between(-np.inf, half),
    )
    hypnogram = stager.predict(silent)
    assert hypnogram.probabilities is not None
    # 5 minutes after the last sample.
    assert (hypnogram.codes[:69] != UNSCORED).all()
    assert (hypnogram.codes[70:] == UNSCORED).all()
    assert np.isnan(hypnogram.probabilities[70:]).all()
    assert set(hypnogram.reason_names[70:]) == {"no_data"}


def test_the_saved_model_reproduces_the_reported_metrics(
    small_run: Run, simulated_data: Path
) -> None:
    tested = [
        night for night in load_nights(simulated_data) if night.subject in small_run.split.test
    ]
    stager = Stager(small_run.model)
    scored = {
        night.subject: ScoredNight(
            stager.predict(night.recording), night.recording.reference, night.codes != UNSCORED
        )
        for night in tested
        if night.recording.reference is not None
    }
    point, found = small_run.metrics.operating_point, report(scored)
    assert point is not None
    assert point.factors == stager.info.class_weights
    assert replace(small_run.metrics, operating_point=None) == Metrics(**vars(found))


def rewrite(source: Path, target: Path, **changes: Any) -> Path:
    """Copy a model file with other metadata; None leaves an entry out."""
    model = onnx.load(source)
    (entry,) = model.metadata_props
    values = {**json.loads(entry.value), **changes}
    entry.value = json.dumps({key: value for key, value in values.items() if value is not None})
    onnx.save(model, target)
    return target


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 99, "version": "9.1"}, "model format 99 of sleepstage 9.1; .* reads 5"),
        ({"format": None}, "model format None"),
        ({"features": ["hr_30s", "blood_pressure"]}, "unknown blood_pressure: train"),
        ({"features": None}, "its description lacks features or scheme: train"),
        ({"scheme": "six_class"}, "unknown six_class"),
        ({"mood": "good"}, "unknown mood"),
        ({"features": ["hr_30s"]}, f"takes {len(SMALL.columns)} features, but names 1"),
        ({"scheme": "five_class"}, "gives 4 classes, but names 5"),
    ],
)
def test_another_version_or_other_features_are_refused(
    small_run: Run, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = rewrite(small_run.model, tmp_path / "other.onnx", **changes)
    with pytest.raises(ModelFileError, match=message) as refusal:
        Stager(path)
    assert str(path) in str(refusal.value)


def test_a_file_that_is_no_model_is_refused(small_run: Run, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(small_run.model.read_bytes()[:5000])
    with pytest.raises(ModelFileError, match="not a model file of sleepstage, or damaged"):
        Stager(damaged)
    with pytest.raises(ModelFileError, match="no such model file"):
        Stager(tmp_path / "nothing.onnx")
    with pytest.raises(DataError, match="can't be read"):
        Stager(tmp_path)


def test_an_onnx_file_of_somebody_else_is_refused(small_run: Run, tmp_path: Path) -> None:
    model = onnx.load(small_run.model)
    assert model.metadata_props[0].key == METADATA_KEY
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    with pytest.raises(ModelFileError, match="an ONNX file, but no sleepstage model"):
        Stager(tmp_path / "foreign.onnx")


def test_metadata_that_is_no_json_is_refused(small_run: Run, tmp_path: Path) -> None:
    model = onnx.load(small_run.model)
    model.metadata_props[0].value = "{"
    onnx.save(model, tmp_path / "garbled.onnx")
    with pytest.raises(ModelFileError, match="its description is damaged: train"):
        Stager(tmp_path / "garbled.onnx")
