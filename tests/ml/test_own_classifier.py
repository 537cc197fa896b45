"""Classifiers of one's own: found by their place, fitted afresh, and checked to be live."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

import sleepstage
from sleepstage.engine.features import extract_features
from sleepstage.errors import DataError
from sleepstage.evaluation import experiment
from sleepstage.evaluation.run import load_nights, train_and_test
from sleepstage.evaluation.splits import holdout
from sleepstage.ml.baselines import Majority
from sleepstage.ml.classifier import OneStep
from sleepstage.ml.dataset import PreparedNight
from sleepstage.ml.registry import CLASSIFIERS, find_classifier
from sleepstage.stages import UNSCORED
from tests.helpers.command import invoke
from tests.helpers.small import SMALL

if TYPE_CHECKING:
    from sleepstage.ml.classifier import Probabilities

pytestmark = pytest.mark.slow

MODULE = """
from dataclasses import dataclass

from sleepstage.ml.baselines import Majority
from sleepstage.ml.neural import Neural


@dataclass(frozen=True)
class Mine(Majority):
    depth: int = 3


@dataclass(frozen=True)
class Saved(Neural):
    members: int = 1
    training_epochs: int = 1


class Bare:
    pass


@dataclass(frozen=True)
class Unfit:
    seed: int = 0


@dataclass(frozen=True)
class Seedless:
    live: bool = True


@dataclass(frozen=True)
class Strange(Majority):
    depth: object = print


@dataclass(frozen=True, kw_only=True)
class Needy(Majority):
    depth: int
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a module in the current directory, which no other test has imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"own_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(MODULE, encoding="utf-8")
    return name


# Where they are found


def test_a_classifier_is_given_by_name_place_class_or_settings(module: str) -> None:
    assert find_classifier("lstm") is CLASSIFIERS["lstm"]
    assert repr(find_classifier(f"{module}:Mine")) == "Mine(seed=0, depth=3)"
    assert find_classifier("sleepstage.ml.baselines:Majority") == Majority()
    assert find_classifier(Majority) == Majority()
    assert find_classifier(Majority(seed=4)) == Majority(seed=4)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("gone:Mine", "No module named 'gone'; looked in"),
        ("{module}:Yours", "has no attribute 'Yours'; looked in"),
        ("{module}:Bare", "dataclass instances; expected a dataclass with a seed"),
        ("{module}:Unfit", "is no classifier: it has no fit and no live"),
        ("{module}:Seedless", "unexpected keyword argument 'seed'; expected a dataclass"),
        ("{module}:Needy", "missing 1 required keyword-only argument: 'depth'"),
        ("{module}:Strange", "not JSON serializable; expected .* plain defaults"),
        ("broken:Mine", r"ZeroDivisionError: division by zero \(.*broken.py, line 2\)"),
        (":", "Empty module name"),
    ],
)
def test_what_is_wrong_with_an_own_class_is_stated(
    module: str, tmp_path: Path, place: str, message: str
) -> None:
    (tmp_path / "broken.py").write_text("import math\n1 / 0\n", encoding="utf-8")
    with pytest.raises(DataError, match=message):
        find_classifier(place.format(module=module))


def test_a_command_takes_an_own_class_from_the_current_directory(
    module: str, simulated_data: Path, tmp_path: Path
) -> None:
    script = "import sys; sys.path.pop(0); from sleepstage.cli import main; main()"
    options = ["--repeats", "1", "--jobs", "1", "--model", f"{module}:Mine", "--set", "depth=5"]
    command = [sys.executable, "-c", script, "evaluate", "--data", str(simulated_data), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "runs" / "holdout-seed0").glob("*/run-1/config.json")
    assert json.loads(path.read_text()) == {"seed": 0, "depth": 5}


def test_train_saves_an_own_class_that_makes_a_file(
    module: str, simulated_data: Path, tmp_path: Path
) -> None:
    arguments = ("train", "--data", simulated_data, "--model")
    small = ("--set", "network.hidden=16")
    folder = tmp_path / "runs" / f"{module}-Saved-seed0"
    for _ in range(2):  # the second takes the place of the first
        result = invoke(*arguments, f"{module}:Saved", *small)
        assert result.exit_code == 0, result.output
    assert sleepstage.load_model(folder / "model.onnx").info.config["members"] == 1
    refused = invoke(*arguments, f"{module}:Mine")
    assert refused.exit_code == 1
    assert "Mine makes no model file; to test it: sleepstage evaluate" in refused.output


# Runs


@dataclass(frozen=True)
class Counting(OneStep):
    """Predicts by how often it was fitted."""

    seen: list[int] = field(default_factory=list)

    def _learn(self, nights: Sequence[PreparedNight]) -> Probabilities:
        self.seen.append(len(nights))
        return partial(_constant, len(self.seen))


def _constant(n_fits: int, night: PreparedNight) -> NDArray[np.float64]:
    return np.tile(np.eye(4)[n_fits - 1], (len(night.codes), 1))


def test_every_run_fits_a_fresh_classifier(simulated_data: Path) -> None:
    mine = Counting()
    place = "sleepstage.ml.baselines:Majority"
    models: dict[str, Any] = {"class": Counting, "settings": mine, "place": place}
    options: dict[str, Any] = {"protocol": "kfold", "number": 3, "jobs": 1}
    found = sleepstage.evaluate(models, simulated_data, **options)
    assert mine.seen == []
    assert list(found.models) == list(models)
    for run in found.runs[:6]:
        assert run.metrics.schemes["four_class"].recall["wake"] == 1.0  # what a first fit predicts


@pytest.mark.filterwarnings("ignore:A worker stopped while some jobs:UserWarning")
def test_processes_of_an_earlier_call_do_not_run_earlier_code(
    module: str, simulated_data: Path, tmp_path: Path
) -> None:
    sleepstage.evaluate({"clock": "elapsed"}, simulated_data, number=2, jobs=2)
    found = sleepstage.evaluate({"mine": f"{module}:Mine"}, simulated_data, number=2, jobs=2)
    assert len(found.runs) == 2


def test_evaluate_keeps_runs_where_it_is_told_to(simulated_data: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"number": 1, "jobs": 1, "out": tmp_path}
    first = sleepstage.evaluate({"clock": "elapsed"}, simulated_data, **options)
    assert (tmp_path / "clock" / "run-1" / "run.json").is_file()
    assert sleepstage.evaluate({"clock": "elapsed"}, simulated_data, **options) == first


def test_a_protocol_that_is_not_there_is_refused(simulated_data: Path) -> None:
    with pytest.raises(DataError, match="no protocol 'hold-out'; choose from holdout, kfold, loso"):
        sleepstage.evaluate({"mine": Majority}, simulated_data, protocol="hold-out")


def test_an_own_class_is_not_taken_from_an_earlier_run() -> None:
    """What it imports may have changed, and the package can't know."""
    own = experiment.Task("mine", 1, Counting(), holdout(["1", "2", "3"], seed=0))
    assert own.fingerprint("data") != own.fingerprint("data")
    assert hash(own) == hash(replace(own))


def test_importing_the_package_needs_no_torch() -> None:
    code = "import sys, sleepstage; sleepstage.evaluate; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# Live or not


def _fair(night: PreparedNight) -> NDArray[np.float64]:
    return _with_first(np.nan_to_num(night.rows[:, 0]) / 300)


def _of_night(night: PreparedNight) -> NDArray[np.float64]:
    share = np.mean(night.recording.motion.values[:, 0] > 0)
    return _with_first(np.full(len(night.codes), share))


def _ahead(night: PreparedNight) -> NDArray[np.float64]:
    level = np.nan_to_num(night.rows[:, 0]) / 300
    return _with_first(np.append(level[1:], level[-1]))


def _of_expert(night: PreparedNight) -> NDArray[np.float64]:
    return _with_first(0.1 + 0.8 * (night.codes == 0))


def _with_first(first: NDArray[Any]) -> NDArray[np.float64]:
    return np.column_stack([first, *[(1 - first) / 3] * 3])


CHEATS = {"night": _of_night, "ahead": _ahead, "expert": _of_expert, "none": _fair}


@dataclass(frozen=True)
class Claims(OneStep):
    """Looks at the whole night, at the next epoch, or at the expert's stages."""

    live: ClassVar[bool] = True
    cheat: str = "none"

    def _learn(self, nights: Sequence[PreparedNight]) -> Probabilities:
        return CHEATS[self.cheat]


@dataclass(frozen=True)
class Short(OneStep):
    """Forgets the last epoch."""

    def _learn(self, nights: Sequence[PreparedNight]) -> Probabilities:
        return lambda night: _fair(night)[:-1]


@pytest.fixture(scope="module")
def nights(simulated_data: Path) -> list[PreparedNight]:
    return load_nights(simulated_data)


@pytest.mark.parametrize("cheat", ["night", "ahead", "expert"])
def test_live_is_checked_and_not_believed(nights: list[PreparedNight], cheat: str) -> None:
    split = holdout([night.subject for night in nights], seed=0)
    with pytest.raises(DataError, match=r"live is True, but the prediction of epoch \d+ of 90000"):
        train_and_test(nights, Claims(cheat=cheat), split)


@pytest.mark.parametrize(
    "classifier", [Claims(), replace(SMALL, training_epochs=1)], ids=["own", "lstm"]
)
def test_what_is_live_passes(nights: list[PreparedNight], classifier: Any) -> None:
    split = holdout([night.subject for night in nights], seed=0)
    assert train_and_test(nights, classifier, split).scored.keys() == set(split.test)


def test_a_night_that_is_not_staged_whole_is_refused(nights: list[PreparedNight]) -> None:
    split = holdout([night.subject for night in nights], seed=0)
    with pytest.raises(DataError, match=r"predict gave 239 epochs of 90000\d, expected 240"):
        train_and_test(nights, Short(), split)


def test_a_night_until_an_epoch_knows_nothing_later(nights: list[PreparedNight]) -> None:
    known = nights[0].until(100)
    assert np.array_equal(known.rows, extract_features(known.recording), equal_nan=True)
    assert known.recording.n_epochs == len(known.codes) == 100
    assert known.recording.reference is None
    assert (known.codes == UNSCORED).all()
