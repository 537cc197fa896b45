"""Evaluations made by hand: nights by chance, told with errors, as if a model had run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from research.study_report import VariationResult
from sleepstage.core.agreement import ScoredNight, report
from sleepstage.core.hypnogram import Hypnogram
from sleepstage.errors import SleepstageError
from sleepstage.evaluation.experiment import Task
from sleepstage.evaluation.results import nights_of, results, summarise
from sleepstage.evaluation.run import Outcome
from sleepstage.evaluation.schema import Estimate, Results
from sleepstage.evaluation.splits import Split
from sleepstage.ml.baselines import Majority
from sleepstage.ml.classifier import Classifier
from sleepstage.stages import FOUR_CLASS, THREE_CLASS, TWO_CLASS, UNSCORED

STAY = 0.93
"""Chance that an epoch has the stage of the one before."""


def night(
    seed: int, *, skill: float = 2.0, n: int = 200, rem: bool = True, simulated: bool = False
) -> ScoredNight:
    """A night of `n` epochs; the better the `skill`, the more its probabilities tell."""
    rng = np.random.default_rng(seed)
    shares = [0.12, 0.5, 0.16, 0.22] if rem else [0.15, 0.6, 0.25, 0.0]
    codes = rng.choice(4, n, p=shares)
    stays = rng.random(n) < STAY
    for index in range(1, n):
        if stays[index]:
            codes[index] = codes[index - 1]
    scores = np.exp(rng.normal(size=(n, 4)) + skill * np.eye(4)[codes])
    rows = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    codes[: n // 40] = UNSCORED
    predicted = rows.argmax(axis=1).astype(np.int8)
    return ScoredNight(
        Hypnogram(0.0, predicted, FOUR_CLASS, rows, simulated=simulated),
        Hypnogram(0.0, codes.astype(np.int8), FOUR_CLASS),
        np.ones(n, dtype=np.bool_),
    )


def runs(
    name: str,
    people: Sequence[Mapping[str, ScoredNight]],
    *,
    classifier: Classifier | None = None,
    factor: float | None = None,
) -> dict[Task, Outcome | SleepstageError]:
    """A model's runs, one for each group of test people."""
    classifier = classifier or Majority()
    outcomes: dict[Task, Outcome | SleepstageError] = {}
    for number, scored in enumerate(people, start=1):
        split = Split(("x", "y"), (("x",), ("y",)), tuple(scored))
        class_weights = {} if factor is None else {"rem": factor}
        outcome = Outcome(classifier, split, dict(scored), class_weights)
        outcomes[Task(name, number, classifier, split)] = outcome
    return outcomes


def groups(
    n_runs: int = 3, n_people: int = 2, *, simulated: bool = False, n: int = 200, skill: float = 2.0
) -> list[dict[str, ScoredNight]]:
    """Test people of each run; the very first has no REM."""
    return [
        {
            f"{run}{person}": night(
                10 * run + person, skill=skill, n=n, rem=run + person > 0, simulated=simulated
            )
            for person in range(n_people)
        }
        for run in range(n_runs)
    ]


def evaluated(
    outcomes: Mapping[Task, Outcome | SleepstageError],
) -> tuple[Results, dict[str, ScoredNight]]:
    """Results, and nights of the model named first."""
    first = next(iter(outcomes)).name
    done = {
        task: outcome
        for task, outcome in outcomes.items()
        if isinstance(outcome, Outcome) and task.name == first
    }
    return results(outcomes), nights_of(done)


def variation(
    accuracy: float,
    *,
    difference: tuple[float, float, float] | None = None,
    n_people: int | None = None,
    live: bool = True,
) -> VariationResult:
    """A variation of a study whose night is right in about `accuracy`."""
    scored = [report({"a": night(seed, skill=4 * accuracy)}) for seed in (1, 2)]
    mean, low, high = difference or (None, None, None)
    return VariationResult(
        summary=summarise(scored, [FOUR_CLASS, THREE_CLASS, TWO_CLASS]),
        difference=Estimate(mean, 0.1, low, high, 6) if difference else None,
        live=live,
        n_people=n_people,
    )
