"""One thing changed at a time, on the same splits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from click.testing import CliRunner

from research import studies
from research.changes import CHANGES, LEAK_COLUMN, keep_drawn
from research.studies import STUDIES, Variation, Varied, evaluate_varied, study_tasks
from sleepstage.engine.features import FEATURES
from sleepstage.errors import DataError
from sleepstage.evaluation import experiment
from sleepstage.evaluation.experiment import Task, plan
from sleepstage.evaluation.run import Outcome, load_nights
from sleepstage.ml.baselines import Logistic, Majority
from sleepstage.ml.classifier import FittedOneStep
from sleepstage.ml.config import DEFAULT_FEATURES
from sleepstage.ml.dataset import PreparedNight
from sleepstage.ml.networks import RecurrentConfig, TransformerConfig
from sleepstage.ml.neural import Neural
from sleepstage.ml.registry import CLASSIFIERS
from sleepstage.stages import UNSCORED

pytestmark = pytest.mark.slow

PEOPLE = [f"{number:02d}" for number in range(26)]
SIGNALS = {feature.name: feature.signal for feature in FEATURES}


@pytest.fixture(scope="module")
def baseline() -> list[Task]:
    return plan(PEOPLE, "holdout", {"lstm": Neural(training_epochs=9)}, number=2, seed=5)


@pytest.fixture(scope="module")
def tasks(baseline: list[Task]) -> list[Varied]:
    return study_tasks(list(STUDIES), baseline)


def networks(tasks: list[Varied], study: str) -> dict[str, Neural]:
    """The classifier of each variation in its first run."""
    return {
        task.name: task.classifier
        for task in tasks
        if task.study == study and task.number == 1 and isinstance(task.classifier, Neural)
    }


def changed(one: Any, other: Any) -> set[str]:
    """Names of the settings in which two classifiers differ."""
    return {
        field.name
        for field in fields(one)
        if getattr(one, field.name) != getattr(other, field.name)
    }


def test_every_variation_is_done_on_every_split(tasks: list[Varied], baseline: list[Task]) -> None:
    assert len(tasks) == 2 * sum(map(len, STUDIES.values()))
    for study, variations in STUDIES.items():
        for name in variations:
            mine = [task for task in tasks if (task.study, task.name) == (study, name)]
            assert [task.number for task in mine] == [1, 2]
            for task, default in zip(mine, baseline, strict=True):
                assert task.classifier.seed == default.classifier.seed
                assert task.split.test == default.split.test
                assert task.change in CHANGES
                assert type(task.plain) is Task  # workers of a cluster know the package alone
    assert [task.study for task in study_tasks(["leaks"], baseline)] == ["leaks"] * 6
    assert study_tasks([], baseline) == []


def test_each_variation_changes_one_thing_at_a_time(
    tasks: list[Varied], baseline: list[Task]
) -> None:
    for task in tasks:
        default = baseline[task.number - 1]
        settings = changed(task.classifier, default.classifier)
        others = {"split"} if task.split != default.split else set()
        others |= {"change"} if task.change else set()
        assert len(settings | others) >= 1, task.name
        settings -= {"trace"} if "features" in settings else set()  # it goes with its signal
        if task.study != "leaks":
            assert len(settings | others) == 1, task.name


def test_variations_begin_from_the_settings_of_the_baseline(tasks: list[Varied]) -> None:
    for task in tasks:
        assert isinstance(task.classifier, Neural)
        assert task.classifier.training_epochs == 9


def test_signals_are_left_out_as_the_name_says(tasks: list[Varied]) -> None:
    found = {
        name: {SIGNALS[feature] for feature in network.features}
        for name, network in networks(tasks, "ablation").items()
    }
    assert found["no steps"] == {"heart_rate", "motion"}
    assert found["no motion"] == {"heart_rate", "steps"}
    assert found["no heart rate"] == {"motion", "steps"}
    assert found["heart rate alone"] == {"heart_rate"}
    assert found["motion alone"] == {"motion"}
    assert found["steps alone"] == {"steps"}
    for name, one in networks(tasks, "ablation").items():
        with_heart = "heart_rate" in found[name] and name != "no trace of heart rate"
        assert one.trace == with_heart, name
    without = {
        name: set(DEFAULT_FEATURES) - set(networks(tasks, "ablation")[name].features)
        for name in ("no calm clocks", "no resting heart rate")
    }
    assert without["no calm clocks"] == {"calm_2h", "calm_8h", "since_up", "hr_rest_10h"}
    assert without["no resting heart rate"] == {"hr_1m_vs_rest", "hr_10m_vs_rest", "hr_floor_10h"}


def test_look_ahead_is_in_minutes(tasks: list[Varied]) -> None:
    found = networks(tasks, "look-ahead")
    assert {name: one.look_ahead / 2 for name, one in found.items() if one.look_ahead} == {
        "1 minute": 1,
        "2.5 minutes": 2.5,
        "5 minutes": 5,
    }
    assert found["the whole night"].whole_night
    assert not any(one.live for one in found.values())


def test_other_networks_take_the_place_of_the_default(tasks: list[Varied]) -> None:
    found = networks(tasks, "network")
    assert found["GRU"].network == RecurrentConfig(cell="gru")
    assert isinstance(found["Transformer"].network, TransformerConfig)
    for name, one in networks(tasks, "context").items():
        assert isinstance(one.network, TransformerConfig)
        assert f"{one.network.context // 2} minutes" in name


def test_fewer_people_are_trained_on_and_the_same_are_tested(
    tasks: list[Varied], baseline: list[Task]
) -> None:
    for task in tasks:
        if task.study == "people":
            default = baseline[task.number - 1].split
            assert f"{len(task.split.train)} people" == task.name
            assert set(task.split.train) < set(default.train)
            assert task.split.test == default.test


def test_random_epochs_are_of_everybody(tasks: list[Varied], baseline: list[Task]) -> None:
    for task in tasks:
        if task.name == "random epochs":
            default = baseline[task.number - 1].split
            assert sorted(task.split.train) == PEOPLE
            assert task.split.test == default.test
            validating = [name for group in task.split.validation for name in group]
            assert sorted(validating) == PEOPLE
        elif task.study == "leaks":
            assert task.split == baseline[task.number - 1].split


def test_leaks_are_trained_on_nights_as_they_were_recorded(tasks: list[Varied]) -> None:
    for name, one in networks(tasks, "leaks").items():
        told = {LEAK_COLUMN} if name == "true stage before" else set()
        assert set(one.features) == {*DEFAULT_FEATURES, *told}
        assert not any(one.variants.values())


def test_settings_and_network_go_together(
    baseline: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = Variation(("network.context=9", "batch_size=2"), TransformerConfig(), people=5)
    monkeypatch.setattr(studies, "STUDIES", {"mine": {"both": both}})
    (first, _) = study_tasks(["mine"], baseline)
    assert first.classifier == replace(
        Neural(seed=5),
        network=TransformerConfig(context=9),
        batch_size=2,
        training_epochs=9,
    )
    assert (first.name, first.study, first.change) == ("both", "mine", "")


@pytest.mark.parametrize("name", ["boosting", "ensemble"])
def test_what_is_no_network_has_no_variations(name: str) -> None:
    baseline = plan(PEOPLE, "holdout", {name: CLASSIFIERS[name]}, number=1, seed=0)
    with pytest.raises(DataError, match=f"studies vary a network, and {name} is none; name one"):
        study_tasks(["leaks"], baseline)
    assert not isinstance(Logistic(), Neural)


def test_more_people_than_there_are_can_not_be_kept() -> None:
    baseline = plan(PEOPLE[:8], "holdout", {"lstm": Neural()}, number=1, seed=0)
    with pytest.raises(DataError, match="10 of 7 training people; choose 2 to 7"):
        study_tasks(["people"], baseline)


# Runs


@pytest.fixture
def code_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever edits the package meanwhile shall not make a test fail."""
    monkeypatch.setattr(experiment, "_code", lambda: "code")


@pytest.mark.usefixtures("code_as_it_is")
def test_each_task_is_done_on_the_nights_that_it_asks_for(
    simulated_data: Path, tmp_path: Path
) -> None:
    nights = load_nights(simulated_data)
    people = {night.subject: night for night in nights}
    (plain,) = plan(list(people), "holdout", {"logistic": Logistic()}, number=1, seed=0)
    of = (plain.number, plain.classifier, plain.split)
    changes = ("random epochs", "heart rate each minute")
    tasks = [plain, *(Varied(f"with {change}", *of, "a study", change) for change in changes)]
    remarks: list[tuple[int, int, str]] = []
    found = evaluate_varied(
        nights, tasks, tmp_path, jobs=1, on_run=lambda *told: remarks.append(told)
    )
    assert list(found) == tasks
    assert remarks == [
        (1, 3, "logistic, run 1"),
        (2, 3, "a study/with random epochs, run 1"),
        (3, 3, "a study/with heart rate each minute, run 1"),
    ]
    outcomes = [one for one in found.values() if isinstance(one, Outcome)]
    assert all(
        (one.split, tuple(one.scored)) == (plain.split, plain.split.test) for one in outcomes
    )
    usual, drawn, sparse = (next(iter(one.scored.values())) for one in outcomes)
    (name,) = plain.split.test
    np.testing.assert_array_equal(usual.mask, people[name].codes != UNSCORED)
    # Epochs that were trained on are not tested.
    np.testing.assert_array_equal(drawn.mask, keep_drawn(people[name]).codes != UNSCORED)
    np.testing.assert_array_equal(sparse.mask, usual.mask)
    assert usual.predicted.probabilities is not None
    assert not np.array_equal(sparse.predicted.probabilities, usual.predicted.probabilities)  # type: ignore[arg-type]
    assert (tmp_path / "a-study" / "with-random-epochs" / "run-1" / "run.json").is_file()
    again = evaluate_varied(nights, tasks, tmp_path, jobs=1, on_run=lambda *_: pytest.fail("again"))
    assert [one.metrics for one in again.values() if isinstance(one, Outcome)] == [
        one.metrics for one in outcomes
    ]


class Witness(Majority):
    """Remembers how many epochs of each night it was given to learn from."""

    seen: ClassVar[set[int]] = set()

    def fit(self, nights: Sequence[PreparedNight], groups: Any, **options: Any) -> FittedOneStep:
        self.seen.update(int(np.sum(night.codes != UNSCORED)) for night in nights)
        return super().fit(nights, groups, **options)


def test_training_nights_and_test_nights_are_changed_each_in_its_way(
    simulated_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights = load_nights(simulated_data)

    def cut(n_epochs: int) -> Any:
        return lambda night: replace(night, codes=every_stage_in(n_epochs, night))

    def every_stage_in(n_epochs: int, night: PreparedNight) -> Any:
        places = np.arange(len(night.codes))
        return np.where(places < n_epochs, places % 4, UNSCORED).astype(np.int8)

    monkeypatch.setattr(studies, "CHANGES", {"shorter": (cut(7), cut(5))})
    (plain,) = plan([n.subject for n in nights], "holdout", {"w": Witness()}, number=1, seed=0)
    task = Varied("w", 1, plain.classifier, plain.split, "a study", "shorter")
    (outcome,) = evaluate_varied(nights, [task], tmp_path, jobs=1).values()
    assert Witness.seen == {7}
    assert isinstance(outcome, Outcome)
    assert {int(night.mask.sum()) for night in outcome.scored.values()} == {5}


@pytest.mark.usefixtures("quick", "code_as_it_is")
def test_studies_are_shown_reported_and_not_done_again(
    simulated_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = {"no noise": Variation(("noise=0",)), "two people": Variation(people=2)}
    leaks = {"random epochs": Variation(change="random epochs")}
    monkeypatch.setattr(studies, "STUDIES", {"tiny": tiny, "leaks": leaks})
    arguments = ["--data", str(simulated_data), "--repeats", "1", "--jobs", "1", "--seed", "3"]
    arguments += ["--out", str(tmp_path)]
    result = CliRunner().invoke(studies.main, arguments)
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "results.json").read_text())
    assert list(content["models"]) == ["lstm"]
    assert list(content["studies"]["tiny"]) == ["nothing changed", "no noise", "two people"]
    assert list(content["studies"]["leaks"]) == ["nothing changed", "random epochs"]
    for words in ("SIMULATED", "Study: tiny", "no noise", "LEAK, these are no results: What leaks"):
        assert words in result.output
    assert f"report: {tmp_path / 'report.html'}" in result.output.replace("\n", "")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "SIMULATED" in page
    assert "no noise" in page
    for folder in ("lstm", "tiny/no-noise", "tiny/two-people", "leaks/random-epochs"):
        assert (tmp_path / folder / "run-1" / "run.json").is_file()
    monkeypatch.setattr(experiment, "train_and_test", lambda *_, **__: pytest.fail("again"))
    again = CliRunner().invoke(studies.main, arguments)
    assert again.output == result.output
    assert json.loads((tmp_path / "results.json").read_text()) == content


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["leeks"], "no study leeks; there are ablation, look-ahead, "),
        (["leaks", "--model", "majority"], "studies vary a network, and majority is"),
        (["leaks", "--model", "lstn"], "no model lstn; there are ensemble, lstm, gru, "),
    ],
)
def test_what_is_not_known_is_named(
    simulated_data: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    arguments = [*options, "--data", str(simulated_data), "--out", str(tmp_path)]
    result = CliRunner().invoke(studies.main, arguments)
    assert result.exit_code == 1
    assert message in result.output
    assert list(tmp_path.iterdir()) == []
