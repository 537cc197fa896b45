"""What moved each decision is what staging the night from scratch without it says."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from numpy.typing import NDArray

from sleepstage.core.hypnogram import Hypnogram
from sleepstage.core.recording import Recording
from sleepstage.core.samples import Samples
from sleepstage.engine.explanation import LAGS, Explanation, explain
from sleepstage.engine.model_info import ModelInfo
from sleepstage.engine.stager import Stager
from sleepstage.errors import DataError
from sleepstage.io.sleep_accel.read import read_subject
from sleepstage.ml.export import model_file
from sleepstage.simulate.nights import simulate_night
from sleepstage.stages import EPOCH_SECONDS, UNSCORED
from tests.conftest import Run
from tests.engine.test_stager import cut, rewrite
from tests.helpers.exports import export_graph
from tests.helpers.networks import N_FEATURES, network, whole_night

pytestmark = pytest.mark.slow

WHOLE = simulate_night(11, hours=1.5)
NIGHT = replace(WHOLE, end=WHOLE.start + 176 * EPOCH_SECONDS, reference=None)
"""The last of its blocks is no whole one."""

EMPTY = {"heart_rate": Samples.empty(), "motion": Samples.empty(4), "steps": Samples.empty()}
OF_ALL_SIGNALS = ("hr_30s", "counts_30s", "still", "hr_5m_vs_30m", "since_walk")
TYPICAL = ((0.5, 0.0, -0.25, -0.25), (0.0, 0.5, -0.5, 0.0))
INFOS = {
    "live": ModelInfo(OF_ALL_SIGNALS, "four_class", typical=TYPICAL, temperature=0.5),
    "look-ahead": ModelInfo(OF_ALL_SIGNALS, "four_class", typical=TYPICAL, look_ahead=3),
    "whole night": ModelInfo(OF_ALL_SIGNALS, "four_class", whole_night=True),
}


@cache
def drawn(name: str) -> Stager:
    """A model that reads all signals, with weights drawn at random."""
    info = INFOS[name]
    make: Callable[..., Any] = whole_night if info.whole_night else network
    kinds = ("lstm",) if info.whole_night else ("lstm", "transformer")
    networks = [make(kind, seed) for seed, kind in enumerate(kinds)]
    return Stager(model_file(export_graph(networks, N_FEATURES), info))


@cache
def explained(name: str) -> Explanation:
    return explain(drawn(name), NIGHT)


@pytest.fixture(scope="module")
def stager(small_run: Run) -> Stager:
    return Stager(small_run.model)


@pytest.fixture(scope="module")
def explanation(stager: Stager) -> Explanation:
    return explain(stager, NIGHT)


def without(recording: Recording, *names: str) -> Recording:
    lost: dict[str, Any] = {name: EMPTY[name] for name in names}
    return replace(recording, **lost)


def silenced(recording: Recording, start: float, end: float) -> Recording:
    """The night, but the watch gave nothing of the epochs between two times."""
    beats = [at for at, time in enumerate(recording.heart_rate.times) if not start <= time < end]
    windows = [at for at, time in enumerate(recording.motion.times) if not start < time <= end]
    return replace(
        recording,
        heart_rate=Samples(recording.heart_rate.times[beats], recording.heart_rate.values[beats]),
        motion=Samples(recording.motion.times[windows], recording.motion.values[windows]),
    )


def from_scratch(stager: Stager, night: Recording, other: Recording) -> NDArray[np.float32]:
    """Of the stages decided for a night, probability that another night takes from each."""
    told, left = stager.predict(night), stager.predict(other)
    assert told.probabilities is not None
    assert left.probabilities is not None
    effects = np.full(len(told), np.nan, dtype=np.float32)
    for epoch, code in enumerate(told.codes):
        if UNSCORED not in (code, left.codes[epoch]):
            effects[epoch] = told.probabilities[epoch, code] - left.probabilities[epoch, code]
    return effects


def assert_blocks_are_as_from_scratch(
    stager: Stager, night: Recording, explanation: Explanation, blocks: list[int]
) -> None:
    for block in blocks:
        start = night.start + 300.0 * block
        # The last block ends with the night.
        end = min(start + 300, night.start + EPOCH_SECONDS * night.n_epochs)
        expected = from_scratch(stager, night, silenced(night, start, end))
        for epoch, time in enumerate(explanation.hypnogram.times):
            minutes = (time - start) / 60
            for column, lag in enumerate(explanation.lags):
                if lag <= minutes < lag + 5:
                    found = explanation.by_past[epoch, column]
                    # Epochs are staged together, here others than there.
                    assert found == pytest.approx(expected[epoch], abs=1e-5, nan_ok=True), (
                        f"{epoch} {lag}"
                    )


def test_signals_are_as_staged_from_scratch_without_them(
    stager: Stager, explanation: Explanation
) -> None:
    assert explanation.signals == ("heart_rate", "motion", "steps")
    for column, name in enumerate(explanation.signals):
        expected = from_scratch(stager, NIGHT, without(NIGHT, name))
        np.testing.assert_array_equal(explanation.by_signal[:, column], expected)
        assert np.abs(expected).max() > 1e-3


def test_past_minutes_are_as_staged_from_scratch_without_them(
    stager: Stager, explanation: Explanation
) -> None:
    assert explanation.lags == LAGS == (0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55)
    assert_blocks_are_as_from_scratch(stager, NIGHT, explanation, list(range(18)))
    assert np.nanmax(np.abs(explanation.by_past[:, 0])) > 1e-3


@pytest.mark.parametrize("name", ["live", "look-ahead"])
def test_any_live_model_can_be_explained(name: str) -> None:
    explanation = explained(name)
    assert explanation.signals == ("heart_rate", "motion", "steps")
    assert (np.abs(explanation.by_signal).max(axis=0) > 1e-3).all()
    assert_blocks_are_as_from_scratch(drawn(name), NIGHT, explanation, [0, 1, 7, 16, 17])


def test_a_real_night_with_what_was_before_it(stager: Stager, real_data: Path) -> None:
    night = cut(read_subject(real_data, "46343"), 150)
    assert night.heart_rate.times[0] < night.start
    assert_blocks_are_as_from_scratch(stager, night, explain(stager, night), [0, 1, 9])


def test_what_lies_before_the_night_is_unknown(explanation: Explanation) -> None:
    epochs = np.arange(len(explanation.hypnogram))
    for column, lag in enumerate(explanation.lags):
        # An epoch of the first block has nothing before that block to look back on, and so on.
        known = epochs // 10 >= lag // 5
        np.testing.assert_array_equal(np.isnan(explanation.by_past[:, column]), ~known)


@pytest.mark.parametrize("n_epochs", [1, 10, 95, 160])
def test_cutting_off_the_future_changes_no_earlier_effect(
    stager: Stager, explanation: Explanation, n_epochs: int
) -> None:
    known = explain(stager, cut(NIGHT, n_epochs))
    np.testing.assert_array_equal(known.by_signal, explanation.by_signal[:n_epochs])
    np.testing.assert_array_equal(known.by_past, explanation.by_past[:n_epochs])


def test_a_whole_night_model_is_explained_by_its_signals() -> None:
    explanation = explained("whole night")
    assert explanation.lags == ()
    assert explanation.by_past.shape == (176, 0)
    for column, name in enumerate(explanation.signals):
        expected = from_scratch(drawn("whole night"), NIGHT, without(NIGHT, name))
        np.testing.assert_array_equal(explanation.by_signal[:, column], expected)
    assert explanation.to_frame().columns[-2:] == ["by_steps", "simulated"]
    assert len(explanation.plot().axes) == 1 + len(explanation.signals)


def test_a_missing_signal_is_not_explained(stager: Stager) -> None:
    night = without(NIGHT, "heart_rate", "steps")
    explanation = explain(stager, night)
    assert explanation.signals == ("motion",)
    # Nothing is left then to tell a stage from; but motion lost for minutes can be told.
    assert np.isnan(explanation.by_signal).all()
    assert_blocks_are_as_from_scratch(stager, night, explanation, [0, 5])
    assert "nothing is left" in explanation.plot().axes[1].texts[0].get_text()


def test_without_any_signal_there_is_nothing_to_explain(stager: Stager) -> None:
    explanation = explain(stager, without(NIGHT, "heart_rate", "motion", "steps"))
    assert explanation.signals == ()
    assert (explanation.hypnogram.codes == UNSCORED).all()
    assert np.isnan(explanation.by_past).all()
    explanation.plot().savefig(io.BytesIO())


def test_unscored_epochs_have_no_effects(stager: Stager) -> None:
    half = NIGHT.start + 60 * EPOCH_SECONDS
    silent = silenced(NIGHT, half, NIGHT.end)
    explanation = explain(stager, silent)
    dark = explanation.hypnogram.codes == UNSCORED
    assert 0 < dark.sum() < len(dark)
    assert np.isnan(explanation.by_signal[dark]).all()
    assert np.isnan(explanation.by_past[dark]).all()
    frame = explanation.to_frame()
    assert frame["probability"].is_nan().to_list() == dark.tolist()
    assert_blocks_are_as_from_scratch(stager, silent, explanation, [5, 6])


def test_the_stage_may_be_decided_at_an_operating_point(
    stager: Stager, explanation: Explanation
) -> None:
    eager = explain(stager, NIGHT, class_weights={"rem": 1e6})
    rem = stager.scheme.classes.index("rem")
    assert (eager.hypnogram.codes == rem).all()
    left = stager.predict(without(NIGHT, "motion")).probabilities
    told = explanation.hypnogram.probabilities
    assert told is not None
    assert left is not None
    np.testing.assert_array_equal(eager.by_signal[:, 1], told[:, rem] - left[:, rem])


def test_progress_is_reported_to_the_end(stager: Stager) -> None:
    calls: list[tuple[int, int, str]] = []
    explain(stager, cut(NIGHT, 25), on_progress=lambda *call: calls.append(call))
    assert calls == [
        (1, 6, "heart rate"),
        (2, 6, "motion"),
        (3, 6, "steps"),
        (4, 6, "minute 0"),
        (5, 6, "minute 5"),
        (6, 6, "minute 10"),
    ]


def test_the_table_has_a_column_for_each_effect(explanation: Explanation) -> None:
    frame = explanation.to_frame()
    assert frame.columns == [
        *("time", "stage", "probability", "confidence", "by_heart_rate", "by_motion", "by_steps"),
        *(f"past_{lag}_{lag + 5}min" for lag in LAGS),
        "simulated",
    ]
    assert frame["stage"].to_list() == explanation.hypnogram.stages.tolist()
    assert explanation.hypnogram.probabilities is not None
    likeliest = explanation.hypnogram.probabilities.max(axis=1)
    np.testing.assert_array_equal(frame["probability"].to_numpy(), likeliest)
    np.testing.assert_array_equal(frame["by_motion"].to_numpy(), explanation.by_signal[:, 1])
    np.testing.assert_array_equal(frame["past_5_10min"].to_numpy(), explanation.by_past[:, 1])


@pytest.mark.parametrize("ending", [".csv", ".json", ".parquet"])
def test_what_is_saved_can_be_read(explanation: Explanation, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"why{ending}"
    explanation.save(path)
    if ending == ".json":
        content = json.loads(path.read_text())
        assert (content["signals"], content["lags_minutes"]) == (
            ["heart_rate", "motion", "steps"],
            [*LAGS],
        )
        assert content["simulated"] is True
        frame = pl.DataFrame(content["epochs"], infer_schema_length=None)
    else:
        frame = (pl.read_csv if ending == ".csv" else pl.read_parquet)(path)
    assert frame.columns == explanation.to_frame().columns
    effects = frame["past_10_15min"]
    assert effects.null_count() == 20
    np.testing.assert_allclose(effects[20:].to_numpy(), explanation.by_past[20:, 2], atol=1e-6)


def test_other_endings_are_refused(explanation: Explanation, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"why.xls: unknown ending '.xls'; use one of .csv"):
        explanation.save(tmp_path / "why.xls")
    assert list(tmp_path.iterdir()) == []


def test_effects_that_do_not_fit_are_refused(explanation: Explanation) -> None:
    with pytest.raises(DataError, match=r"by_signal has shape \(176, 3\), expected \(176, 1\)"):
        replace(explanation, signals=("motion",))
    with pytest.raises(DataError, match=r"by_past has shape \(176, 12\), expected \(176, 0\)"):
        replace(explanation, lags=())
    expert = Hypnogram(0.0, explanation.hypnogram.codes, explanation.hypnogram.scheme)
    with pytest.raises(DataError, match="without probabilities can't be explained"):
        replace(explanation, hypnogram=expert).to_frame()


def titles(figure: Figure) -> list[str]:
    return [axis.get_title(loc="left") for axis in figure.axes]


def heat_map(figure: Figure) -> QuadMesh:
    (mesh,) = [
        drawn
        for axis in figure.axes[:-1]
        for drawn in axis.collections
        if isinstance(drawn, QuadMesh)
    ]
    return mesh


def test_the_picture_has_its_panels(explanation: Explanation) -> None:
    figure = explanation.plot()
    assert titles(figure) == [
        "stage that was decided",
        "heart rate",
        "motion",
        "steps",
        "heart rate and motion of 5 minutes, by how long ago they were",
        "",  # the colour bar
    ]
    assert figure.axes[-1].get_ylabel() == "effect on probability"
    assert figure.axes[-2].get_xlabel() == "hours"
    assert [text.get_text() for text in figure.texts] == ["simulated-0011", "SIMULATED"]
    figure.savefig(io.BytesIO())


def test_the_picture_shows_the_numbers(explanation: Explanation) -> None:
    figure = explanation.plot()
    shown = heat_map(figure).get_array()
    assert isinstance(shown, np.ma.MaskedArray)
    drawn = shown.filled(np.nan).reshape(len(LAGS), -1)
    np.testing.assert_array_equal(drawn, explanation.by_past.T)
    low, high = heat_map(figure).get_clim()
    assert low is not None
    assert low == -high  # so that white is no effect
    for column, axis in enumerate(figure.axes[1:4]):
        sides = [
            side.get_data()[0]
            for side in axis.patches
            if isinstance(side, StepPatch) and side.get_label() in {"for the stage", "against it"}
        ]
        np.testing.assert_array_equal(sides[0] + sides[1], explanation.by_signal[:, column])
        assert (sides[0] >= 0).all()
        assert (sides[1] <= 0).all()
    assert figure.axes[1].get_ylim() == figure.axes[2].get_ylim()


def test_an_explanation_of_a_simulated_model_says_so(small_run: Run, tmp_path: Path) -> None:
    real = Stager(rewrite(small_run.model, tmp_path / "real.onnx", simulated=False))
    night = replace(cut(NIGHT, 30), simulated=False)
    assert "simulated" not in explain(real, night).to_frame().columns
    assert [text.get_text() for text in explain(real, night).plot().texts] == ["simulated-0011"]
    assert "simulated" in explain(Stager(small_run.model), night).to_frame().columns
