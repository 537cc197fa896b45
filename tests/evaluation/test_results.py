"""What the runs of an evaluation say together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sleepstage._utils.files import encode, write_json
from sleepstage.core.agreement import Agreement, Report, ScoredNight
from sleepstage.core.hypnogram import Hypnogram
from sleepstage.errors import DataError, SleepstageError
from sleepstage.evaluation.experiment import Task
from sleepstage.evaluation.people import compare, estimate, per_person
from sleepstage.evaluation.results import (
    by_model,
    nights_of,
    results,
    summarise,
)
from sleepstage.evaluation.run import Outcome
from sleepstage.evaluation.schema import FailedRun, Metrics, Results, Spread
from sleepstage.evaluation.splits import Split
from sleepstage.ml.baselines import Majority, Walch
from sleepstage.stages import FIVE_CLASS, FOUR_CLASS, SCHEMES, THREE_CLASS, TWO_CLASS, UNSCORED
from tests.helpers.evaluated import groups, night, runs

Outcomes = dict[Task, Outcome | SleepstageError]


def fine_night(seed: int, n: int = 120) -> ScoredNight:
    """A night told in five classes."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 5, size=n).astype(np.int8)
    rows = rng.dirichlet(np.ones(5), size=n) + 0.5 * np.eye(5)[codes]
    rows = (rows / rows.sum(axis=1, keepdims=True)).astype(np.float32)
    predicted = Hypnogram(0.0, rows.argmax(axis=1).astype(np.int8), FIVE_CLASS, rows)
    return ScoredNight(predicted, Hypnogram(0.0, codes, FIVE_CLASS), np.ones(n, dtype=np.bool_))


def metrics(outcomes: Outcomes) -> list[Metrics]:
    return [outcome.metrics for outcome in outcomes.values() if isinstance(outcome, Outcome)]


# Mean and spread


def result(accuracy: float, rem: float | None) -> Report:
    def scheme(*names: str) -> Agreement:
        recall = {name: rem if name == "rem" else 0.9 for name in names}
        return Agreement(10, accuracy, 0.5, 0.4, recall, precision={}, f1={}, confusion=[])

    schemes = (FOUR_CLASS, THREE_CLASS, TWO_CLASS)
    return Report({one.name: scheme(*one.classes) for one in schemes}, per_person={})


def test_summary_is_mean_and_spread_of_what_is_defined() -> None:
    schemes = [FOUR_CLASS, TWO_CLASS]
    both = summarise([result(0.6, 0.5), result(0.8, None)], schemes)
    assert list(both) == ["four_class", "two_class"]
    summary = both["four_class"]
    assert summary.accuracy.mean == pytest.approx(0.7)
    assert summary.accuracy.std == pytest.approx(np.std([0.6, 0.8], ddof=1))
    assert summary.kappa == Spread(mean=0.5, std=0.0)
    assert summary.recall["rem"] == Spread(mean=0.5, std=None)
    alone = summarise([result(0.6, None)], schemes)
    assert alone["two_class"].recall["sleep"] == Spread(mean=0.9, std=None)
    assert alone["four_class"].recall["rem"] == Spread(mean=None, std=None)


# Grouping


def test_runs_are_grouped_by_model() -> None:
    outcomes: Outcomes = {**runs("a", groups(2)), **runs("b", groups(1))}
    failed = next(iter(runs("b", groups(2))))
    outcomes[replace(failed, number=9)] = DataError("no")
    grouped = by_model(outcomes)
    assert {name: [task.number for task in mine] for name, mine in grouped.items()} == {
        "a": [1, 2],
        "b": [1],
    }


def test_who_tests_in_several_runs_has_a_key_for_each() -> None:
    def keys(people: Sequence[Mapping[str, ScoredNight]]) -> list[str]:
        return list(nights_of(by_model(runs("a", people))["a"]))

    assert keys([{"1": night(1)}, {"2": night(2)}]) == ["1", "2"]
    assert keys([{"1": night(1), "2": night(2)}, {"2": night(2)}]) == [
        *("1, run 1", "2, run 1", "2, run 2")
    ]


# The document


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    """Two models on the same people, one on others, one that failed once."""
    failing = runs("fails once", groups(2))
    failing[next(iter(failing))] = DataError("no epoch of rem")
    return {
        **runs("first", groups(), factor=2.0),
        **runs("second", groups(skill=1.0), classifier=Walch()),
        **runs("others", groups(2)),
        **failing,
    }


@pytest.fixture(scope="module")
def content(outcomes: Outcomes) -> Results:
    return results(outcomes)


def test_every_run_is_listed(content: Results, outcomes: Outcomes) -> None:
    done = {task: one for task, one in outcomes.items() if isinstance(one, Outcome)}
    assert [(run.model, run.run) for run in content.runs] == [
        (task.name, task.number) for task in done
    ]
    for run, (task, outcome) in zip(content.runs, done.items(), strict=True):
        assert run.split == task.split
        assert run.metrics == outcome.metrics
    assert content.failed == [FailedRun("fails once", 1, "no epoch of rem")]


def test_the_whole_document_is_plain_json(content: Results) -> None:
    json.dumps(encode(content), allow_nan=False)


def test_each_model_is_summarised(content: Results, outcomes: Outcomes) -> None:
    assert list(content.models) == ["first", "second", "others", "fails once"]
    assert content.summary == content.models["first"].summary
    for name, model in content.models.items():
        mine = [run for run in content.runs if run.model == name]
        accuracies = [run.metrics.schemes["four_class"].accuracy for run in mine]
        summary = model.summary.schemes["four_class"].accuracy
        assert summary.mean == pytest.approx(np.mean(accuracies))
        if len(mine) > 1:
            assert summary.std == pytest.approx(np.std(accuracies, ddof=1))
        assert list(model.people) == ["four_class", "three_class", "two_class"]
        curves = {"roc", "precision_recall", "reliability", "certainty", "rem_trade_off"}
        assert set(encode(model.curves)) == curves
    assert content.models["first"].live
    assert not content.models["second"].live


def test_the_operating_point_is_summarised_where_all_runs_have_one(
    content: Results, outcomes: Outcomes
) -> None:
    point = content.models["first"].summary.operating_point
    recalls = [
        recall
        for run in metrics(outcomes)[:3]
        if run.operating_point
        and (recall := run.operating_point.schemes["four_class"].recall["rem"]) is not None
    ]
    assert point is not None
    assert point["four_class"].recall["rem"].mean == pytest.approx(np.mean(recalls))
    assert recalls != [run.schemes["four_class"].recall["rem"] for run in metrics(outcomes)[:3]]
    assert content.models["second"].summary.operating_point is None
    mixed = runs("a", groups(1), factor=2.0)
    mixed |= {replace(task, number=2): one for task, one in runs("a", groups(1)).items()}
    assert results(mixed).models["a"].summary.operating_point is None


def test_numbers_over_people_are_of_people(content: Results, outcomes: Outcomes) -> None:
    nights = nights_of(by_model(outcomes)["first"])
    for scheme in (FOUR_CLASS, TWO_CLASS):
        numbers = per_person(nights, scheme)
        found = content.models["first"].people[scheme.name]
        for name in ("kappa", "sensitivity wake"):
            expected = estimate(one[name] for one in numbers.values())
            assert found[name] == expected
    # One of the six had no REM.
    rem = content.models["first"].people["four_class"]["sensitivity rem"]
    assert rem.n == 5


def test_who_tested_twice_is_one_person() -> None:
    often = [{"1": night(1), "2": night(2)}, {"1": night(1, skill=0.5), "3": night(3)}]
    found = results(runs("a", often)).models["a"].people["four_class"]["accuracy"]
    first, second = (per_person(scored, FOUR_CLASS) for scored in often)
    twice = [first["1"]["accuracy"], second["1"]["accuracy"]]
    assert None not in twice
    assert found.n == 3
    once = [float(first["2"]["accuracy"] or 0), float(second["3"]["accuracy"] or 0)]
    assert twice[0] != twice[1]
    assert found.mean == pytest.approx((sum(float(one or 0) for one in twice) / 2 + sum(once)) / 3)


def test_models_are_compared_person_by_person_with_the_first(
    content: Results, outcomes: Outcomes
) -> None:
    first, second = (nights_of(by_model(outcomes)[name]) for name in ("first", "second"))
    found = content.models["second"].against_first
    expected = compare(second, first, FOUR_CLASS)
    assert found == expected
    assert found["kappa"].difference.mean is not None
    assert found["kappa"].difference.mean < 0
    for name in ("first", "others", "fails once"):
        assert content.models[name].against_first is None


def test_the_coarser_classes_are_compared() -> None:
    people = [{"1": fine_night(1), "2": fine_night(2)}]
    coarse = [
        {who: replace(one, predicted=one.predicted.merge(FOUR_CLASS)) for who, one in run.items()}
        for run in people
    ]
    for first, second in ((people, coarse), (coarse, people)):
        found = results({**runs("first", first), **runs("second", second)})
        # In four classes they say the same; in five, one of them could not be compared.
        against = found.models["second"].against_first
        assert against is not None
        assert against["kappa"].difference.mean == 0


def test_five_classes_are_reported_where_they_are_told() -> None:
    found = results(runs("fine", [{"1": fine_night(1)}, {"2": fine_night(2)}], factor=1.5))
    for part in (found.summary.schemes, found.summary.operating_point or {}):
        assert list(part) == list(SCHEMES)
    assert list(found.models["fine"].people) == list(SCHEMES)
    assert set(found.summary.schemes["five_class"].recall) == set(FIVE_CLASS.classes)
    assert set(found.models["fine"].curves.roc) >= {"n1", "n2", "n3"}
    assert "minutes n1" in found.models["fine"].bland_altman
    assert all("five_class" in run.metrics.schemes for run in found.runs)


# The file


def silent(scored: ScoredNight) -> ScoredNight:
    """All unscored by the model."""
    n = len(scored.predicted)
    codes, rows = np.full(n, UNSCORED, dtype=np.int8), np.full((n, 4), np.nan, dtype=np.float32)
    return replace(scored, predicted=replace(scored.predicted, codes=codes, probabilities=rows))


def wake_only(scored: ScoredNight) -> ScoredNight:
    """Always the same, and nothing else to find."""
    n = len(scored.predicted)
    codes, rows = np.zeros(n, dtype=np.int8), np.tile(np.eye(4, dtype=np.float32)[0], (n, 1))
    told = replace(scored.predicted, codes=codes, probabilities=rows)
    return replace(scored, predicted=told, reference=replace(scored.reference, codes=codes))


@pytest.mark.parametrize(
    "people",
    [
        [{"1": night(0, n=1)}],
        [{"1": night(0, n=40, rem=False)}, {"2": night(1, n=40, rem=False)}],
        [{"1": wake_only(night(0, n=30)), "2": wake_only(night(1, n=30))}],
        [{"1": silent(night(0, n=30)), "2": night(1, n=30)}],
        [{"1": fine_night(0)}, {"2": fine_night(1)}],
    ],
)
def test_the_document_is_plain_json(people: list[dict[str, ScoredNight]], tmp_path: Path) -> None:
    outcomes = {**runs("first", people, factor=1.5), **runs("second", people)}
    found = results(outcomes)
    as_read = json.loads(json.dumps(encode(found), allow_nan=False))
    write_json(tmp_path / "results.json", encode(found))
    assert json.loads((tmp_path / "results.json").read_text()) == as_read


def test_keys_of_the_file_are_those_of_old(outcomes: Outcomes) -> None:
    """Files of every version are read by the same keys."""
    found = encode(results(outcomes))
    assert list(found) == ["runs", "failed", "summary", "models"]
    schemes = ["four_class", "three_class", "two_class"]
    first = found["runs"][0]
    assert list(first) == ["model", "run", "split", *schemes, "per_person", "operating_point"]
    assert set(first["operating_point"]) == {"factors", *schemes, "per_person"}
    assert list(first["four_class"]) == [
        *("n_epochs", "accuracy", "kappa", "macro_f1", "recall", "precision", "f1", "confusion"),
    ]
    assert "operating_point" not in found["runs"][-1]
    assert list(found["summary"]) == [*schemes, "operating_point"]
    assert list(found["summary"]["operating_point"]) == schemes
    assert list(found["summary"]["two_class"]) == ["accuracy", "kappa", "macro_f1", "recall"]
    assert list(found["models"]["first"]) == [
        *("live", "summary", "people", "per_night", "curves", "bland_altman", "against_first"),
    ]
    assert found["models"]["first"]["against_first"] is None


def test_where_nothing_could_be_done_the_first_reason_is_told() -> None:
    split = Split(("a",), (("a",),), ("b",))
    failed = {Task("m", number, Majority(), split): DataError(f"no {number}") for number in (1, 2)}
    with pytest.raises(DataError, match="none of 2 runs could be done; the first says: no 1"):
        results(failed)
