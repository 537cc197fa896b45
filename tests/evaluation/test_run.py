"""One run: who is trained on, who is tested, and what is written."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from sleepstage._utils.files import encode
from sleepstage.core.agreement import ScoredNight, report
from sleepstage.engine.stager import Stager
from sleepstage.errors import DataError
from sleepstage.evaluation.run import (
    Outcome,
    load_nights,
    log_to,
    save,
    save_pictures,
    stage_nights,
    train_and_test,
)
from sleepstage.evaluation.schema import Metrics, OperatingPoint
from sleepstage.evaluation.splits import Split
from sleepstage.ml.baselines import Majority
from sleepstage.ml.dataset import PreparedNight
from sleepstage.ml.neural import fingerprint
from sleepstage.stages import UNSCORED
from tests.conftest import Run
from tests.helpers.scored import night as scored_night
from tests.helpers.small import SMALL


@pytest.fixture(scope="module")
def nights(simulated_data: Path) -> list[PreparedNight]:
    return load_nights(simulated_data)


@pytest.fixture(scope="module")
def split(nights: list[PreparedNight]) -> Split:
    names = [night.subject for night in nights]
    return Split(tuple(names[:3]), (tuple(names[:1]), tuple(names[1:3])), tuple(names[3:]))


def test_all_people_are_read(simulated_data: Path) -> None:
    calls: list[tuple[int, int, str]] = []
    nights = load_nights(simulated_data, on_progress=lambda *told: calls.append(told))
    names = [f"90000{number}" for number in range(1, 6)]
    assert [night.subject for night in nights] == names
    assert calls == [(done, 5, name) for done, name in enumerate(names, start=1)]


# What a run leaves behind


def test_a_run_leaves_everything_behind(small_run: Run) -> None:
    names = {path.name for path in small_run.directory.iterdir()}
    assert names == {"model.onnx", "config.json", "split.json", "metrics.json", "train.log"}
    metrics = json.loads((small_run.directory / "metrics.json").read_text())
    assert metrics == encode(small_run.metrics)
    assert set(metrics["four_class"]["recall"]) == {"wake", "light", "deep", "rem"}
    assert set(metrics["per_person"]) == set(small_run.split.test)
    log = (small_run.directory / "train.log").read_text()
    assert "validation kappa" in log
    assert str(asdict(small_run.split)) in log
    config = json.loads((small_run.directory / "config.json").read_text())
    assert config == json.loads(json.dumps(asdict(SMALL)))
    split = json.loads((small_run.directory / "split.json").read_text())
    assert split["test"] == list(small_run.split.test)


def test_the_model_file_describes_itself(small_run: Run, nights: list[PreparedNight]) -> None:
    info = Stager(small_run.model).info
    assert info.metrics == encode(small_run.metrics)
    assert info.split["train"] == list(small_run.split.train)
    assert info.split["test"] == list(small_run.split.test)
    assert info.features == SMALL.columns
    assert info.class_weights == small_run.outcome.class_weights
    assert info.simulated
    trained_on = [night for night in nights if night.subject in small_run.split.train]
    assert info.data["fingerprint"] == fingerprint(trained_on)


def test_test_people_are_reported_at_the_operating_point_too(small_run: Run) -> None:
    outcome = small_run.outcome
    assert outcome.class_weights["rem"] >= 1
    decided = {
        subject: replace(night, predicted=night.predicted.decide(outcome.class_weights))
        for subject, night in outcome.scored.items()
    }
    at_the_point = OperatingPoint(**vars(report(decided)), factors=outcome.class_weights)
    plain = report(outcome.scored)
    assert outcome.metrics == Metrics(**vars(plain), operating_point=at_the_point)


def test_what_has_no_operating_point_reports_none() -> None:
    nights = {"1": scored_night("wld", "wld")}
    outcome = Outcome(Majority(), Split(("2",), (), ("1",)), nights, {})
    assert outcome.metrics == Metrics(**vars(report(nights)))


def test_what_has_no_file_writes_none(
    nights: list[PreparedNight], split: Split, tmp_path: Path
) -> None:
    outcome = train_and_test(nights, Majority(seed=3), split)
    save(outcome, tmp_path / "deep" / "down")
    names = {path.name for path in (tmp_path / "deep" / "down").iterdir()}
    assert names == {"config.json", "split.json", "metrics.json"}
    config = json.loads((tmp_path / "deep" / "down" / "config.json").read_text())
    assert config == {"seed": 3}


def test_a_picture_is_drawn_of_each_test_night(tmp_path: Path) -> None:
    save_pictures({"a": scored_night("wld", "wwd"), "b": scored_night("w", "l")}, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


# Who is trained on


@dataclass(frozen=True)
class Witness:
    """Remembers what it was given."""

    seen: dict[str, Any]
    seed: int = 0
    live: bool = False
    class_weights: ClassVar[Mapping[str, float]] = {"rem": 2.0}

    def fit(self, nights: Any, groups: Any, *, on_epoch: Any = None) -> Any:
        self.seen.update(nights=nights, groups=groups, on_epoch=on_epoch)
        return self

    def predict(self, night: PreparedNight) -> Any:
        self.seen.setdefault("staged", []).append(night)
        hypnogram = scored_night("w" * len(night.codes), "w" * len(night.codes)).predicted
        return replace(hypnogram, probabilities=np.full((len(night.codes), 4), 0.25))


def test_the_training_people_train_and_the_test_people_test(
    nights: list[PreparedNight], split: Split
) -> None:
    seen: dict[str, Any] = {}
    outcome = train_and_test(nights[::-1], Witness(seen), split, on_epoch=print)
    assert [night.subject for night in seen["nights"]] == list(split.train)
    assert seen["groups"] == split.validation
    assert seen["on_epoch"] is print
    assert [night.subject for night in seen["staged"]] == list(split.test)
    assert list(outcome.scored) == list(split.test)
    assert (outcome.split, outcome.class_weights, outcome.model) == (split, {"rem": 2.0}, b"")


def test_epochs_that_count_are_those_with_both_signals(nights: list[PreparedNight]) -> None:
    staged = stage_nights(Witness({}), nights[:2])
    for night in nights[:2]:
        one = staged[night.subject]
        assert isinstance(one, ScoredNight)
        assert one.reference is night.recording.reference
        np.testing.assert_array_equal(one.mask, night.codes != UNSCORED)


def test_a_stage_missing_in_training_is_an_error(nights: list[PreparedNight], split: Split) -> None:
    awake = [replace(night, codes=np.minimum(night.codes, 0)) for night in nights]
    for classifier, n_nights in ((Majority(), 3), (replace(SMALL, training_epochs=1), 2)):
        message = f"no epoch of light, deep, rem in the {n_nights} training nights"
        with pytest.raises(DataError, match=message):
            train_and_test(awake, classifier, split)


def test_logging_goes_to_the_file_meanwhile_only(tmp_path: Path) -> None:
    logger = logging.getLogger("sleepstage")
    before = logger.level, list(logger.handlers)
    path = tmp_path / "run" / "train.log"
    with log_to(path):
        logging.getLogger("sleepstage.ml").info("löss 0.5")
    logger.warning("later")
    assert (logger.level, logger.handlers) == before
    assert path.read_text(encoding="utf-8").endswith("INFO löss 0.5\n")
