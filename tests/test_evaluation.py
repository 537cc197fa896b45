from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sleepstage.errors import DataError
from sleepstage.evaluation.experiment import evaluate, plan, summarise
from sleepstage.training.run import load_nights

from .conftest import SMALL

PEOPLE = [str(number) for number in range(10)]


def test_holdout_repeats_with_fresh_seeds() -> None:
    tasks = plan(PEOPLE, "holdout", number=6, config=SMALL)
    assert [config.seed for _, config in tasks] == [0, 1, 2, 3, 4, 5]
    assert len({split for split, _ in tasks}) == 6


def test_kfold_tests_everyone_once() -> None:
    tasks = plan(PEOPLE, "kfold", number=5, config=SMALL)
    assert sorted(name for split, _ in tasks for name in split.test) == PEOPLE


def test_fewer_people_than_folds_are_refused() -> None:
    with pytest.raises(DataError, match="11 folds of 10 people; choose 2 to 10 folds"):
        plan(PEOPLE, "kfold", number=11, config=SMALL)


def result(accuracy: float, rem: float | None) -> dict[str, Any]:
    def scheme(*names: str) -> dict[str, Any]:
        return {
            "accuracy": accuracy,
            "kappa": 0.5,
            "macro_f1": 0.4,
            "recall": {name: rem if name == "rem" else 0.9 for name in names},
        }

    return {
        "four_class": scheme("wake", "light", "deep", "rem"),
        "three_class": scheme("wake", "nrem", "rem"),
        "two_class": scheme("wake", "sleep"),
    }


def test_summary_is_mean_and_spread_of_what_is_defined() -> None:
    summary = summarise([result(0.6, 0.5), result(0.8, None)])["four_class"]
    assert summary["accuracy"]["mean"] == pytest.approx(0.7)
    assert summary["accuracy"]["std"] == pytest.approx(np.std([0.6, 0.8], ddof=1))
    assert summary["recall"]["rem"] == {"mean": 0.5, "std": None}
    assert summarise([result(0.6, None)])["two_class"]["recall"]["sleep"]["mean"] == 0.9


def test_runs_in_parallel_are_those_in_a_row(simulated_data: Path, tmp_path: Path) -> None:
    nights = load_nights(simulated_data)
    tasks = plan([night.subject for night in nights], "kfold", number=2, config=SMALL)
    remarks: list[str] = []
    row = evaluate(
        nights, tasks, tmp_path / "row", jobs=1, on_run=lambda *told: remarks.append(str(told))
    )
    parallel = evaluate(nights, tasks, tmp_path / "parallel", jobs=2)
    assert row.summary == parallel.summary
    assert [run.metrics for run in row.runs] == [run.metrics for run in parallel.runs]
    assert remarks[-1].startswith("(2, 2, 'test accuracy 0.")
    written = json.loads((tmp_path / "row" / "results.json").read_text())
    assert written["summary"] == row.summary
    assert [one["split"]["test"] for one in written["runs"]] == [
        list(split.test) for split, _ in tasks
    ]
    assert (tmp_path / "row" / "run-2" / "model.onnx").is_file()
