"""The golden vectors are what the package makes of their samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from research import make_golden
from sleepstage.core.motion import summarise_night
from sleepstage.core.recording import Recording
from sleepstage.engine.features import extract_features
from sleepstage.engine.model_info import FORMAT
from sleepstage.engine.stager import SHIPPED_MODELS, load_model
from tests.helpers import golden

MADE_BY = "run: python -m research.make_golden"


@pytest.fixture(scope="module")
def night() -> Recording:
    signals = {name: golden.samples(name) for name in golden.SIGNALS}
    given: dict[str, Any] = {name: (one.times, one.values) for name, one in signals.items()}
    start, n_epochs = golden.ABOUT["start"], golden.ABOUT["epochs"]
    return Recording.from_arrays(**given, start=start, end=start + 30 * n_epochs)


def test_they_are_of_the_model_in_the_package() -> None:
    assert golden.ABOUT["format"] == FORMAT, MADE_BY
    assert golden.ABOUT["sha256"] == load_model("live").digest, MADE_BY
    assert golden.ABOUT["simulated"]
    assert sum(path.stat().st_size for path in golden.FOLDER.iterdir()) < 400_000


def test_features_are_reproduced(night: Recording) -> None:
    found = extract_features(night)
    np.testing.assert_allclose(
        found, golden.features(), rtol=golden.ROUNDING, atol=golden.ROUNDING, err_msg=MADE_BY
    )


def test_each_step_behind_the_features_is_reproduced(night: Recording) -> None:
    head, *lines = make_golden.epochs(night, SHIPPED_MODELS["live"].read_bytes())
    for number, name in enumerate(head):
        expected, found = golden.column(name), [line[number] for line in lines]
        if "_" in name and name != "stage_find_rem":
            numbers = np.array(found, dtype=np.float64), np.array(expected, dtype=np.float64)
            np.testing.assert_allclose(*numbers, atol=golden.CLOSE, rtol=0, err_msg=MADE_BY)
        elif name != "confidence":
            assert found == expected, MADE_BY


def test_a_session_stages_them_alike() -> None:
    session = load_model("live").session(start=golden.ABOUT["start"], lateness=0)
    signals = {name: golden.samples(name) for name in golden.SIGNALS}
    end = golden.ABOUT["start"] + 30 * golden.ABOUT["epochs"]
    epochs = []
    for now in np.arange(end % 1000, end + 1, 1000):
        passed = {
            name: one.between(now - 1000, now, window_ends=name == "motion")
            for name, one in signals.items()
        }
        given: dict[str, Any] = {name: (one.times, one.values) for name, one in passed.items()}
        epochs += session.push(**given, now=now)
    assert [epoch.stage for epoch in epochs] == golden.column("stage")


def test_summaries_of_acceleration_are_reproduced() -> None:
    found = summarise_night(golden.samples("acceleration"), name="acceleration")
    expected = golden.samples("acceleration_summaries")
    np.testing.assert_array_equal(found.times, expected.times)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-9)
    assert 0 < np.count_nonzero(found.values[:, 0]) < len(found)


def test_they_show_all_that_can_go_wrong() -> None:
    assert set(golden.column("stage")) == {"wake", "light", "deep", "rem", "unscored"}
    assert set(golden.column("reason")) == {"", "not_worn", "no_data"}
    assert golden.column("stage") != golden.column("stage_find_rem")
    rows = golden.features()
    assert np.isnan(rows).any(axis=0).mean() > 0.8  # nearly every feature is unknown for a while
    assert golden.samples("heart_rate").times[0] < golden.ABOUT["start"] - 3600
    assert golden.samples("motion").times[0] < golden.ABOUT["start"]
    centred, plain = golden.numbers("corrected"), golden.numbers("predicted")
    assert np.abs(centred - plain).max() > 0.05
