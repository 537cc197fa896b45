"""Results of an evaluation, as one JSON document: ``results.json``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from sleepstage.core.agreement import NUMBERS, reported_schemes
from sleepstage.errors import DataError, SleepstageError
from sleepstage.evaluation import curves
from sleepstage.evaluation.people import bland_altman, compare, estimate, per_night, per_person
from sleepstage.evaluation.run import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sleepstage.core.agreement import ScoredNight
    from sleepstage.evaluation.experiment import Task
    from sleepstage.evaluation.people import Numbers
    from sleepstage.stages import Scheme

    Outcomes = Mapping[Task, Outcome | SleepstageError]


def results(outcomes: Outcomes) -> dict[str, Any]:
    """Every run, and the summary of all.

    Parameters
    ----------
    outcomes : mapping of Task to Outcome or SleepstageError
        From `sleepstage.evaluation.experiment.evaluate`.

    Returns
    -------
    dict
        ``runs``: of each, ``model``, ``run``, ``split`` and what ``metrics.json`` holds;
        ``failed``: runs that could not be done, with the reason; ``summary``: of the first model
        of which a run could be done, as `summarise` gives it; ``models``: by name, ``live``,
        ``summary``, ``people`` (means over people with confidence intervals), ``per_night``,
        ``curves``, ``bland_altman`` and ``against_first`` (paired difference to that first model).

    Raises
    ------
    DataError
        If no run could be done.
    """
    done = by_model(outcomes)
    if not done:
        reason = next(str(one) for one in outcomes.values() if isinstance(one, SleepstageError))
        msg = f"none of {len(outcomes)} runs could be done; the first says: {reason}"
        raise DataError(msg)
    first = next(iter(done.values()))
    models = {name: _model(runs, first) for name, runs in done.items()}
    return {
        "runs": [
            {"model": task.name, "run": task.number, "split": asdict(task.split), **outcome.metrics}
            for runs in done.values()
            for task, outcome in runs.items()
        ],
        "failed": failed_runs(outcomes),
        "summary": next(iter(models.values()))["summary"],
        "models": models,
    }


def failed_runs(outcomes: Outcomes) -> list[dict[str, Any]]:
    """Runs that could not be done, with the reason."""
    return [
        {"model": task.name, "run": task.number, "reason": str(outcome)}
        for task, outcome in outcomes.items()
        if isinstance(outcome, SleepstageError)
    ]


def by_model(outcomes: Outcomes) -> dict[str, dict[Task, Outcome]]:
    """Runs that could be done, by the name of their model."""
    grouped: dict[str, dict[Task, Outcome]] = {}
    for task, outcome in outcomes.items():
        if isinstance(outcome, Outcome):
            grouped.setdefault(task.name, {})[task] = outcome
    return grouped


def nights_of(runs: Mapping[Task, Outcome]) -> dict[str, ScoredNight]:
    """All test nights of a model's runs; who tests in several runs has a key for each."""
    subjects = [subject for outcome in runs.values() for subject in outcome.scored]
    once = len(subjects) == len(set(subjects))
    return {
        subject if once else f"{subject}, run {task.number}": night
        for task, outcome in runs.items()
        for subject, night in outcome.scored.items()
    }


def summarise(metrics: Sequence[Mapping[str, Any]], schemes: Sequence[Scheme]) -> dict[str, Any]:
    """Mean and sample standard deviation over runs of each number and each recall.

    ``{scheme: {number: {"mean": …, "std": …}, "recall": {class: {"mean": …, "std": …}}}}``; runs
    in which a number is not defined are left out of it.
    """
    return {
        scheme.name: {
            **{key: _spread([run[scheme.name][key] for run in metrics]) for key in NUMBERS},
            "recall": {
                name: _spread([run[scheme.name]["recall"][name] for run in metrics])
                for name in scheme.classes
            },
        }
        for scheme in schemes
    }


def _spread(values: Sequence[float | None]) -> dict[str, float | None]:
    known = [value for value in values if value is not None]
    return {
        "mean": float(np.mean(known)) if known else None,
        "std": float(np.std(known, ddof=1)) if len(known) > 1 else None,
    }


def _model(runs: Mapping[Task, Outcome], first: Mapping[Task, Outcome]) -> dict[str, Any]:
    nights = nights_of(runs)
    own = next(iter(nights.values())).predicted.scheme
    schemes = reported_schemes(own)
    metrics = [outcome.metrics for outcome in runs.values()]
    summary = summarise(metrics, schemes)
    if all("operating_point" in one for one in metrics):
        summary["operating_point"] = summarise([one["operating_point"] for one in metrics], schemes)
    return {
        "live": next(iter(runs)).classifier.live,
        "summary": summary,
        "people": {scheme.name: _estimates(_means(runs, scheme, per_person)) for scheme in schemes},
        "per_night": {scheme.name: _means(runs, scheme, per_night) for scheme in schemes},
        "curves": {
            "roc": _curves(curves.roc_curves(nights, own)),
            "precision_recall": _curves(curves.precision_recall_curves(nights, own)),
            "reliability": asdict(curves.reliability(nights, own)),
            "certainty": [asdict(point) for point in curves.selective_accuracy(nights, own)],
            "rem_trade_off": [asdict(point) for point in curves.rem_trade_off(nights, scheme=own)],
        },
        "bland_altman": {name: asdict(one) for name, one in bland_altman(nights, own).items()},
        "against_first": paired(runs, first),
    }


def _curves(found: Mapping[str, curves.Curve | None]) -> dict[str, Any]:
    return {name: curve and asdict(curve) for name, curve in found.items()}


def _means(
    runs: Mapping[Task, Outcome],
    scheme: Scheme,
    measure: Callable[[Mapping[str, ScoredNight], Scheme], dict[str, Numbers]],
) -> dict[str, Numbers]:
    """Numbers of each person, or night; of who tested in several runs the mean."""
    tested: dict[str, list[Numbers]] = {}
    for outcome in runs.values():
        for person, numbers in measure(outcome.scored, scheme).items():
            tested.setdefault(person, []).append(numbers)
    return {
        person: {name: _spread([one[name] for one in mine])["mean"] for name in mine[0]}
        for person, mine in tested.items()
    }


def _estimates(people: Mapping[str, Numbers]) -> dict[str, Any]:
    names = next(iter(people.values()))
    return {name: asdict(estimate(one[name] for one in people.values())) for name in names}


def paired(runs: Mapping[Task, Outcome], first: Mapping[Task, Outcome]) -> dict[str, Any] | None:
    """Paired difference to the first model, where both were tested on the same people."""
    mine, others = nights_of(runs), nights_of(first)
    if runs is first or mine.keys() != others.keys():
        return None
    own = (next(iter(nights.values())).predicted.scheme for nights in (mine, others))
    coarser = min(own, key=len)
    return {name: asdict(one) for name, one in compare(mine, others, coarser).items()}
