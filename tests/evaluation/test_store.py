"""What a run left behind, read again, or not if anything is amiss."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sleepstage.core.agreement import ScoredNight
from sleepstage.core.hypnogram import Hypnogram
from sleepstage.core.recording import Recording
from sleepstage.evaluation.experiment import Task, recall, remember
from sleepstage.evaluation.run import Outcome
from sleepstage.evaluation.splits import Split
from sleepstage.ml.baselines import Majority
from sleepstage.ml.dataset import PreparedNight
from sleepstage.stages import FIVE_CLASS, FOUR_CLASS, UNSCORED, Scheme

STAGES = {"a": [0, 1, 2, 3, 5, 2, -1, 5], "b": [0, 0, 2, 2, 3, 5]}
SPLIT = Split(("c", "d"), (("c",), ("d",)), ("a", "b"))


def people() -> dict[str, PreparedNight]:
    nights = {}
    for subject, stages in STAGES.items():
        recording = Recording.from_arrays(start=100.0, stages=stages, subject=subject)
        assert recording.reference is not None
        codes = recording.reference.merge(FOUR_CLASS).codes.copy()
        codes[1] = UNSCORED  # no heart rate, say
        nights[subject] = PreparedNight(
            recording, np.zeros((len(codes), 1), dtype=np.float32), codes
        )
    return nights


def an_outcome(
    scheme: Scheme = FOUR_CLASS, model: bytes = b"onnx", *, simulated: bool = False
) -> Outcome:
    rng, scored = np.random.default_rng(0), {}
    for subject, night in people().items():
        p = rng.dirichlet(np.ones(len(scheme)), size=len(night.codes)).astype(np.float32)
        codes = p.argmax(axis=1).astype(np.int8)
        p[3], codes[3] = np.nan, UNSCORED
        predicted = Hypnogram(100.0, codes, scheme, p, subject, simulated)
        assert night.recording.reference is not None
        mask = night.codes != UNSCORED
        scored[subject] = ScoredNight(predicted, night.recording.reference, mask)
    return Outcome(Majority(), SPLIT, scored, {"rem": 1.0 + 1 / 3}, model)


def again(out: Path, fingerprint: str = "of this run") -> Outcome | None:
    return recall(out, fingerprint, Task("majority", 1, Majority(), SPLIT), people())


@pytest.mark.parametrize("scheme", [FOUR_CLASS, FIVE_CLASS])
@pytest.mark.parametrize("model", [b"", b"onnx"])
@pytest.mark.parametrize("simulated", [False, True])
def test_what_is_recalled_is_what_was_remembered(
    tmp_path: Path, scheme: Scheme, model: bytes, *, simulated: bool
) -> None:
    outcome = an_outcome(scheme, model, simulated=simulated)
    remember(outcome, tmp_path / "study" / "run-1", "of this run")
    found = again(tmp_path / "study" / "run-1")
    assert found is not None
    assert (found.classifier, found.split) == (Majority(), SPLIT)
    assert (found.class_weights, found.model) == (outcome.class_weights, model)
    assert found.metrics == outcome.metrics
    assert list(found.scored) == ["a", "b"]
    for subject, night in outcome.scored.items():
        mine = found.scored[subject]
        np.testing.assert_array_equal(mine.mask, night.mask)
        np.testing.assert_array_equal(mine.reference.codes, night.reference.codes)
        assert mine.predicted.scheme is scheme
        np.testing.assert_array_equal(mine.predicted.codes, night.predicted.codes)
        assert mine.predicted.codes.dtype == np.int8
        assert mine.predicted.probabilities is not None
        assert mine.predicted.probabilities.dtype == np.float32
        np.testing.assert_array_equal(mine.predicted.probabilities, night.predicted.probabilities)
        assert (mine.predicted.start, mine.predicted.subject) == (100.0, subject)
        assert mine.predicted.simulated is simulated


def test_another_run_is_not_recalled(tmp_path: Path) -> None:
    assert again(tmp_path) is None
    remember(an_outcome(), tmp_path, "of another run")
    assert again(tmp_path) is None
    remember(an_outcome(), tmp_path, "of this run")
    assert again(tmp_path) is not None


@pytest.mark.parametrize("name", ["run.json", "predictions.parquet"])
def test_a_run_without_one_of_its_files_is_not_recalled(tmp_path: Path, name: str) -> None:
    remember(an_outcome(), tmp_path, "of this run")
    (tmp_path / name).unlink()
    assert again(tmp_path) is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"{}", b"[]", b"null", b"\xff\xfe", b'{"fingerprint": null}']
)
def test_a_damaged_stamp_is_not_believed(tmp_path: Path, content: bytes) -> None:
    remember(an_outcome(), tmp_path, "of this run")
    (tmp_path / "run.json").write_bytes(content)
    assert again(tmp_path) is None


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_damaged_table_is_not_believed(tmp_path: Path, keep: int) -> None:
    remember(an_outcome(), tmp_path, "of this run")
    content = (tmp_path / "predictions.parquet").read_bytes()
    (tmp_path / "predictions.parquet").write_bytes(content[:keep])
    assert again(tmp_path) is None


@pytest.mark.parametrize("lost", [pl.col("subject") != "b", pl.int_range(pl.len()) > 0])
def test_a_table_without_all_epochs_is_not_believed(tmp_path: Path, lost: pl.Expr) -> None:
    remember(an_outcome(), tmp_path, "of this run")
    path = tmp_path / "predictions.parquet"
    frame = pl.read_parquet(path).filter(lost)
    frame.write_parquet(path)
    assert again(tmp_path) is None


def test_a_run_that_is_cut_off_while_it_is_written_is_not_recalled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(an_outcome(), tmp_path, "of this run")

    def cut_off(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pl.DataFrame, "write_parquet", cut_off)
    with pytest.raises(KeyboardInterrupt):
        remember(replace(an_outcome(), class_weights={}), tmp_path, "of this run")
    assert again(tmp_path) is None  # the table is the old one's


def test_the_files_are_for_people_to_read_too(tmp_path: Path) -> None:
    remember(an_outcome(simulated=True), tmp_path, "of this run")
    names = {path.name for path in tmp_path.iterdir()}
    documents = {"config.json", "split.json", "metrics.json", "model.onnx"}
    assert names == documents | {"run.json", "predictions.parquet"}
    frame = pl.read_parquet(tmp_path / "predictions.parquet")
    assert frame.columns == [
        *("time", "stage", "p_wake", "p_light", "p_deep", "p_rem", "confidence"),
        *("simulated", "subject"),
    ]
    assert frame.filter(pl.col("subject") == "a")["stage"][3] == "unscored"
    assert json.loads((tmp_path / "run.json").read_text()) == {
        "fingerprint": "of this run",
        "scheme": "four_class",
        "factors": {"rem": 1.0 + 1 / 3},
    }
