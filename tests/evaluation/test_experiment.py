"""Classifiers on splits: what is planned, what is done, and what is not done again."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sleepstage
from research.studies import STUDIES, study_tasks
from sleepstage._utils.files import encode
from sleepstage.errors import DataError, SleepstageError
from sleepstage.evaluation import experiment
from sleepstage.evaluation.experiment import Task, evaluate, plan
from sleepstage.evaluation.results import results
from sleepstage.evaluation.run import Outcome, load_nights
from sleepstage.evaluation.schema import FailedRun, Metrics
from sleepstage.evaluation.splits import holdout, kfold
from sleepstage.ml.baselines import Logistic, Majority
from sleepstage.ml.classifier import Classifier
from sleepstage.ml.dataset import PreparedNight
from sleepstage.ml.registry import CLASSIFIERS
from sleepstage.stages import FOUR_CLASS, UNSCORED
from tests.helpers.small import SMALL

pytestmark = pytest.mark.slow

PEOPLE = [str(number) for number in range(10)]
MODELS = {"majority": Majority(), "logistic": Logistic()}


_code = experiment._code


@pytest.fixture(autouse=True)
def code_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever edits the package meanwhile shall not make a test fail."""
    monkeypatch.setattr(experiment, "_code", lambda: "code")


@pytest.fixture(scope="module")
def nights(simulated_data: Path) -> list[PreparedNight]:
    return load_nights(simulated_data)


def names(nights: Sequence[PreparedNight]) -> list[str]:
    return [night.subject for night in nights]


# Plans


def test_holdout_repeats_with_fresh_seeds() -> None:
    tasks = plan(PEOPLE, "holdout", MODELS, number=6, seed=4)
    for name in MODELS:
        mine = [task for task in tasks if task.name == name]
        assert [task.number for task in mine] == [1, 2, 3, 4, 5, 6]
        assert [task.classifier.seed for task in mine] == [4, 5, 6, 7, 8, 9]
        assert [task.split for task in mine] == [holdout(PEOPLE, seed=4 + n) for n in range(6)]
    assert len({task.split for task in tasks}) == 6


@pytest.mark.parametrize(("protocol", "number", "n_runs"), [("kfold", 5, 5), ("loso", 5, 10)])
def test_each_person_tests_once_under_each_model(protocol: str, number: int, n_runs: int) -> None:
    tasks = plan(PEOPLE, protocol, MODELS, number=number, seed=2)
    by_name = {name: [task for task in tasks if task.name == name] for name in MODELS}
    assert list(by_name) == list(MODELS)
    for mine in by_name.values():
        assert [task.number for task in mine] == list(range(1, n_runs + 1))
        assert sorted(name for task in mine for name in task.split.test) == PEOPLE
        assert {task.classifier.seed for task in mine} == {2}
    majority, logistic = ([task.split for task in mine] for mine in by_name.values())
    assert majority == logistic == kfold(PEOPLE, n_folds=n_runs, seed=2)


def test_only_the_seed_of_a_classifier_is_changed() -> None:
    tasks = plan(PEOPLE, "holdout", {"a": SMALL, "b": Logistic(penalty=2)}, number=1, seed=7)
    assert [task.classifier for task in tasks] == [
        replace(SMALL, seed=7),
        Logistic(penalty=2, seed=7),
    ]


def test_fewer_people_than_folds_are_refused() -> None:
    with pytest.raises(DataError, match="11 folds of 10 people; choose 2 to 10 folds"):
        plan(PEOPLE, "kfold", MODELS, number=11, seed=0)


def test_every_run_has_a_folder_of_its_own() -> None:
    tasks = plan(PEOPLE, "holdout", CLASSIFIERS, number=2, seed=0)
    first = [task for task in tasks if task.name == "lstm"]
    # Of ten people there are not so many to leave out.
    varied = study_tasks([name for name in STUDIES if name != "people"], first)
    tasks += [task.plain for task in varied]
    folders = [str(task.folder) for task in tasks]
    assert len(set(folders)) == len(folders) > 50
    assert not any(
        set(folder) - set("abcdefghijklmnopqrstuvwxyz0123456789.-/") for folder in folders
    )
    assert folders[0] == "ensemble/run-1"
    assert "look-ahead/2.5-minutes/run-2" in folders


@pytest.mark.parametrize(
    "other",
    [
        {"classifier": Logistic(penalty=2)},
        {"classifier": Logistic(seed=1)},
        {"classifier": Majority()},
        {"split": holdout(PEOPLE, seed=1)},
    ],
)
def test_a_fingerprint_follows_all_that_a_result_depends_on(other: dict[str, Any]) -> None:
    task = Task("logistic", 1, Logistic(), holdout(PEOPLE, seed=0))
    assert task.fingerprint("data") != replace(task, **other).fingerprint("data")
    assert task.fingerprint("data") != task.fingerprint("other data")
    renamed = replace(task, name="another", number=2)
    assert task.fingerprint("data") == renamed.fingerprint("data")


# Runs


def metrics(outcomes: Mapping[Task, Outcome | SleepstageError]) -> list[Metrics]:
    assert all(isinstance(outcome, Outcome) for outcome in outcomes.values())
    return [one.metrics for one in outcomes.values() if isinstance(one, Outcome)]


def not_again(*told: object) -> None:
    pytest.fail(f"{told} is done again")


@pytest.mark.filterwarnings("ignore:A worker stopped while some jobs:UserWarning")
def test_runs_in_parallel_are_those_in_a_row(nights: list[PreparedNight], tmp_path: Path) -> None:
    small = replace(SMALL, training_epochs=1)
    models: dict[str, Classifier] = {"logistic": Logistic(), "small": small}
    tasks = plan(names(nights), "kfold", models, number=2, seed=0)[:3]
    remarks: list[tuple[int, int, str]] = []
    row = evaluate(
        nights, tasks, tmp_path / "row", jobs=1, on_run=lambda *told: remarks.append(told)
    )
    parallel = evaluate(nights, tasks, tmp_path / "parallel", jobs=2)
    assert list(row) == list(parallel) == tasks
    assert metrics(row) == metrics(parallel)
    remarked = [(1, 3, "logistic, run 1"), (2, 3, "logistic, run 2"), (3, 3, "small, run 1")]
    assert remarks == remarked
    for task in tasks:
        for out in ("row", "parallel"):
            written = json.loads((tmp_path / out / task.folder / "metrics.json").read_text())
            assert written == encode(metrics({task: row[task]})[0])
    assert (tmp_path / "row" / "small" / "run-1" / "model.onnx").is_file()
    recalled = evaluate(nights, tasks, tmp_path / "parallel", jobs=1, on_run=not_again)
    assert metrics(recalled) == metrics(row)


class Done(list[Task]):
    """Tasks that are really done."""


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> Done:
    tasks = Done()
    do = experiment._do

    def watched(nights: Sequence[PreparedNight], task: Task) -> Outcome | SleepstageError:
        tasks.append(task)
        return do(nights, task)

    monkeypatch.setattr(experiment, "_do", watched)
    return tasks


def test_what_is_done_is_not_done_again(
    nights: list[PreparedNight], tmp_path: Path, done: Done
) -> None:
    tasks = plan(names(nights), "kfold", MODELS, number=2, seed=0)
    first = evaluate(nights, tasks, tmp_path, jobs=1)
    assert done == tasks
    second = evaluate(nights[::-1], tasks, tmp_path, jobs=1, on_run=not_again)
    assert done == tasks
    assert list(second) == tasks
    assert results(second) == results(first)


@pytest.mark.parametrize("part", ["rows", "codes"])
def test_features_and_stages_that_are_changed_are_other_data(
    nights: list[PreparedNight], tmp_path: Path, done: Done, part: str
) -> None:
    tasks = plan(names(nights), "holdout", {"logistic": Logistic()}, number=1, seed=0)
    evaluate(nights, tasks, tmp_path, jobs=1)
    others: dict[str, Any] = {
        "rows": nights[0].rows + 1,
        "codes": np.where(np.arange(len(nights[0].codes)) < 9, UNSCORED, nights[0].codes),
    }
    changed = replace(nights[0], **{part: others[part]})
    evaluate([changed, *nights[1:]], tasks, tmp_path, jobs=1)
    assert done == tasks * 2


def test_an_evaluation_that_was_interrupted_goes_on(
    nights: list[PreparedNight], tmp_path: Path, done: Done
) -> None:
    tasks = plan(names(nights), "kfold", MODELS, number=2, seed=0)

    def interrupt(n_done: int, *_: object) -> None:
        if n_done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(nights, tasks, tmp_path, jobs=1, on_run=interrupt)
    assert tasks[:3] == done[:3]
    done.clear()
    remarks: list[tuple[int, int, str]] = []
    outcomes = evaluate(nights, tasks, tmp_path, jobs=1, on_run=lambda *told: remarks.append(told))
    assert done == tasks[3:]
    assert remarks == [(4, 4, "logistic, run 2")]
    assert list(outcomes) == tasks


@pytest.mark.parametrize("damaged", ["predictions.parquet", "run.json"])
def test_a_damaged_run_is_done_again(
    nights: list[PreparedNight], tmp_path: Path, done: Done, damaged: str
) -> None:
    tasks = plan(names(nights), "kfold", MODELS, number=2, seed=0)
    first = evaluate(nights, tasks, tmp_path, jobs=1)
    done.clear()
    path = tmp_path / tasks[1].folder / damaged
    path.write_bytes(path.read_bytes()[:50])
    assert metrics(evaluate(nights, tasks, tmp_path, jobs=1)) == metrics(first)
    assert done == [tasks[1]]
    evaluate(nights, tasks, tmp_path, jobs=1)
    assert done == [tasks[1]]


def test_other_settings_data_or_code_are_another_run(
    nights: list[PreparedNight], tmp_path: Path, done: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = plan(names(nights), "kfold", MODELS, number=2, seed=0)
    evaluate(nights, tasks, tmp_path, jobs=1)
    done.clear()
    other = [replace(task, classifier=Logistic(penalty=2)) for task in tasks[2:]]
    evaluate(nights, [*tasks[:2], *other], tmp_path, jobs=1)
    assert done == other
    done.clear()
    beats = nights[0].recording.heart_rate.between(0, 6000)
    recording = replace(nights[0].recording, heart_rate=beats)
    evaluate([replace(nights[0], recording=recording), *nights[1:]], tasks[:2], tmp_path, jobs=1)
    assert done == tasks[:2]
    evaluate(nights, tasks[:2], tmp_path, jobs=1)
    done.clear()
    monkeypatch.setattr(experiment, "_code", lambda: "mended")
    evaluate(nights, tasks[:1], tmp_path, jobs=1)
    assert done == tasks[:1]


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("new_module.py", True),
        ("ml/fit.py", True),
        ("evaluation/run.py", True),
        ("evaluation/splits.py", True),
        ("evaluation/results.py", False),
        ("evaluation/report/tables.py", False),
        ("plotting.py", False),
        ("cli/train.py", False),
    ],
)
def test_the_fingerprint_of_the_code_is_of_all_that_makes_predictions(
    file: str, counts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = Path(sleepstage.__file__).parent
    before = _code()
    assert re.fullmatch("[0-9a-f]{64}", before)
    shutil.copytree(package, tmp_path / "copy", ignore=shutil.ignore_patterns("*.onnx", "*.pyc"))
    monkeypatch.setattr(sleepstage, "__file__", str(tmp_path / "copy" / "__init__.py"))
    assert _code() == before
    assert file == "new_module.py" or (package / file).exists()
    with (tmp_path / "copy" / file).open("a") as changed:
        changed.write("# another line\n")
    assert (_code() != before) is counts


def test_a_run_that_can_not_be_done_says_why_and_the_others_go_on(
    nights: list[PreparedNight], tmp_path: Path, done: Done
) -> None:
    rem = FOUR_CLASS.classes.index("rem")
    rare = [
        replace(night, codes=np.where(night.codes == rem, UNSCORED, night.codes))
        for night in nights[1:]
    ]
    mixed = [nights[0], *rare]
    assert (nights[0].codes == rem).any()
    tasks = plan(names(mixed), "loso", MODELS, number=0, seed=0)
    outcomes = evaluate(mixed, tasks, tmp_path, jobs=1)
    failed = {task: one for task, one in outcomes.items() if isinstance(one, SleepstageError)}
    assert [task.split.test for task in failed] == [(nights[0].subject,)] * 2
    content = results(outcomes)
    reason = "no epoch of rem in the 4 training nights; use another seed"
    assert content.failed == [FailedRun(task.name, task.number, reason) for task in failed]
    assert len(content.runs) == 8
    done.clear()
    again = evaluate(mixed, tasks, tmp_path, jobs=1)
    assert done == list(failed)  # maybe it can be done now
    assert results(again) == content


def test_where_no_run_can_be_done_the_first_reason_is_told(
    nights: list[PreparedNight], tmp_path: Path
) -> None:
    awake = [replace(night, codes=np.minimum(night.codes, 0)) for night in nights]
    tasks = plan(names(awake), "kfold", MODELS, number=2, seed=0)
    outcomes = evaluate(awake, tasks, tmp_path, jobs=1)
    with pytest.raises(DataError, match="none of 4 runs could be done; the first says: no epoch"):
        results(outcomes)


def test_what_is_no_mistake_of_the_data_ends_the_evaluation(
    nights: list[PreparedNight], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> Outcome:
        raise ZeroDivisionError

    monkeypatch.setattr(experiment, "train_and_test", broken)
    with pytest.raises(ZeroDivisionError):
        evaluate(nights, plan(names(nights), "kfold", MODELS, number=2, seed=0), tmp_path, jobs=1)
