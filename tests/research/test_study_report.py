"""What studies say, as numbers and as sections."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from research import make_results
from research.studies import StudyResults, Varied, results_of
from research.study_report import VariationResult, study_sections
from sleepstage._utils.files import encode
from sleepstage.core.agreement import ScoredNight
from sleepstage.errors import DataError, SleepstageError
from sleepstage.evaluation.experiment import Task
from sleepstage.evaluation.people import compare
from sleepstage.evaluation.report.tables import Table
from sleepstage.evaluation.results import by_model, nights_of
from sleepstage.evaluation.run import Outcome
from sleepstage.evaluation.schema import FailedRun
from sleepstage.evaluation.splits import Split
from sleepstage.stages import FOUR_CLASS
from tests.helpers.evaluated import groups, runs, variation

Outcomes = dict[Task, Outcome | SleepstageError]
STUDIES: dict[str, dict[str, VariationResult]] = {
    "leaks": {"true stage before": variation(0.9, difference=(0.4, 0.3, 0.5))},
    "ablation": {
        "nothing changed": variation(0.6),
        "no time": variation(0.5, difference=(-0.04, -0.07, -0.02)),
    },
    "people": {f"{n} people": variation(0.2 + n / 40, n_people=n) for n in (5, 10)},
    "my own": {"one person each": variation(0.5, live=False)},
    "empty": {},
}


def study(
    name: str, people: Sequence[Mapping[str, ScoredNight]], train: Sequence[str] = ("x", "y")
) -> Outcomes:
    """Runs of a variation."""
    return {
        Varied(
            task.name,
            task.number,
            task.classifier,
            Split(tuple(train), task.split.validation, task.split.test),
            "a study",
        ): outcome
        for task, outcome in runs(name, people).items()
    }


def of_study(outcomes: Outcomes, name: str) -> dict[Task, Outcome]:
    return by_model({task: one for task, one in outcomes.items() if isinstance(task, Varied)})[name]


def row(table: Table, name: str) -> list[str]:
    return next(cells for cells in table.cells if cells[0] == name)


# Numbers


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    return {
        **runs("first", groups(), factor=2.0),
        **study("worse", groups(skill=1.0)),
        **study("on others", groups(1)),
    }


@pytest.fixture(scope="module")
def content(outcomes: Outcomes) -> StudyResults:
    return results_of(outcomes)


def test_a_study_compares_its_variations_with_the_first_model(
    content: StudyResults, outcomes: Outcomes
) -> None:
    assert list(content.studies) == ["a study"]
    found = content.studies["a study"]
    assert list(found) == ["nothing changed", "worse", "on others"]
    first = nights_of(by_model(outcomes)["first"])
    worse = nights_of(of_study(outcomes, "worse"))
    expected = compare(worse, first, FOUR_CLASS)["kappa"].difference
    assert found["worse"].difference == expected
    assert found["nothing changed"].difference is None
    assert found["on others"].difference is None  # not the same people
    summary = {name: content.summary.schemes[name] for name in found["nothing changed"].summary}
    assert found["nothing changed"].summary == summary
    assert list(summary) == ["four_class", "three_class", "two_class"]
    assert all(one.live for one in found.values())
    assert {one.n_people for one in found.values()} == {None}


def test_how_many_people_trained_is_told_where_it_differs() -> None:
    people = groups(1)
    found = results_of(
        {**runs("first", people), **study("one person", people, train=["x"])},
    ).studies["a study"]
    assert {name: one.n_people for name, one in found.items()} == {
        "nothing changed": 2,
        "one person": 1,
    }


def test_a_study_of_which_a_run_failed_is_told_by_the_others() -> None:
    outcomes: Outcomes = {**runs("first", groups(2)), **study("worse", groups(2))}
    (task, *_) = [task for task in outcomes if isinstance(task, Varied)]
    outcomes[task] = DataError("no epoch of rem")
    found = results_of(outcomes)
    assert found.studies["a study"]["worse"].difference is None
    assert found.failed == [FailedRun("a study/worse", 1, "no epoch of rem")]
    outcomes |= {task: DataError("no") for task in outcomes if isinstance(task, Varied)}
    assert list(results_of(outcomes).studies["a study"]) == ["nothing changed"]


def test_the_document_is_plain_json(content: StudyResults) -> None:
    json.dumps(encode(content), allow_nan=False)
    assert list(content.models) == ["first"]
    assert {run.model for run in content.runs} == {"first"}


# Sections


def test_studies_have_tables_and_leaks_are_marked_and_come_last() -> None:
    found = study_sections(STUDIES)
    names = ["study ablation", "study people", "study my own", "study leaks"]
    assert [section.name for section in found] == names
    assert [section.leaky for section in found] == [False, False, False, True]
    ablation, people, own, leaks = (section.tables[0] for section in found)
    assert row(ablation, "no time")[-2:] == ["-0.040", "-0.070 to -0.020"]
    assert row(ablation, "nothing changed")[-2:] == ["-", "-"]
    mean = STUDIES["ablation"]["no time"].summary["four_class"].accuracy.mean
    assert row(ablation, "no time")[2] == f"{mean:.3f}"
    assert row(people, "10 people")[2] == "10"
    assert row(own, "one person each")[1] == "later"
    assert "these numbers" in found[-1].text
    assert "results" in found[-1].text
    assert row(leaks, "true stage before")[-2] == "0.400"


def test_studies_are_drawn_and_leaks_are_not() -> None:
    drawn = {
        section.name: [picture.shows for picture in section.pictures]
        for section in study_sections(STUDIES)
    }
    assert drawn == {
        "study ablation": ["difference of kappa to the unchanged model"],
        "study people": ["learning curve"],
        "study my own": [],
        "study leaks": [],
    }
    for section in study_sections(STUDIES):
        assert all(picture.figure().axes for picture in section.pictures)


def test_a_page_shows_chosen_sections_with_their_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_results, "DOCS", tmp_path)
    names = ["study people", "study nothing", "study my own", "study ablation"]
    page = make_results.markdown(study_sections(STUDIES), names, "study")
    heads = [line for line in page.splitlines() if line.startswith(("## ", "!["))]
    assert heads == [
        "## How many people are needed (learning curve)",
        "![learning curve](figures/study-people-1.png)",
        "## Study: my own",
        "## What each choice is worth",
        "![difference of kappa to the unchanged model](figures/study-ablation-1.png)",
    ]
    written = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert written == ["study-ablation-1.png", "study-people-1.png"]
