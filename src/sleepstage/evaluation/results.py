"""Results of an evaluation: every run, and the summary of all."""

from collections.abc import Callable, Mapping, Sequence

from sleepstage.core.agreement import NUMBERS, Report, ScoredNight, reported_schemes
from sleepstage.errors import DataError, SleepstageError
from sleepstage.evaluation import curves, people, schema
from sleepstage.evaluation.experiment import Task
from sleepstage.evaluation.run import Outcome
from sleepstage.stages import Scheme

Outcomes = Mapping[Task, Outcome | SleepstageError]


def results(outcomes: Outcomes) -> schema.Results:
    """Summarise what came out of `sleepstage.evaluation.experiment.evaluate`.

    Raises `DataError` if no run could be done.
    """
    done = by_model(outcomes)
    if not done:
        reason = next(str(one) for one in outcomes.values() if isinstance(one, SleepstageError))
        raise DataError(f"none of {len(outcomes)} runs could be done; the first says: {reason}")
    first = next(iter(done.values()))
    models = {name: _model(runs, first) for name, runs in done.items()}
    return schema.Results(
        runs=[
            schema.RunResult(task.name, task.number, task.split, outcome.metrics)
            for runs in done.values()
            for task, outcome in runs.items()
        ],
        failed=failed_runs(outcomes),
        summary=next(iter(models.values())).summary,
        models=models,
    )


def failed_runs(outcomes: Outcomes) -> list[schema.FailedRun]:
    """Runs that could not be done, with the reason."""
    return [
        schema.FailedRun(task.name, task.number, str(outcome))
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


def summarise(
    reports: Sequence[Report], schemes: Sequence[Scheme]
) -> dict[str, schema.SchemeSummary]:
    """Mean and sample standard deviation over runs of each number and each recall, by scheme."""
    found = {}
    for scheme in schemes:
        runs = [one.schemes[scheme.name] for one in reports]
        accuracy, kappa, macro_f1 = (
            people.spread(getattr(run, name) for run in runs) for name in NUMBERS
        )
        recall = {name: people.spread(run.recall[name] for run in runs) for name in scheme.classes}
        found[scheme.name] = schema.SchemeSummary(accuracy, kappa, macro_f1, recall)
    return found


def _model(runs: Mapping[Task, Outcome], first: Mapping[Task, Outcome]) -> schema.ModelResult:
    nights = nights_of(runs)
    own = next(iter(nights.values())).predicted.scheme
    schemes = reported_schemes(own)
    metrics = [outcome.metrics for outcome in runs.values()]
    points = [one.operating_point for one in metrics if one.operating_point is not None]
    point = summarise(points, schemes) if len(points) == len(metrics) else None
    return schema.ModelResult(
        live=next(iter(runs)).classifier.live,
        summary=schema.Summary(summarise(metrics, schemes), point),
        people={
            scheme.name: _estimates(_means(runs, scheme, people.per_person)) for scheme in schemes
        },
        per_night={scheme.name: _means(runs, scheme, people.per_night) for scheme in schemes},
        curves=schema.Curves(
            roc=curves.roc_curves(nights, own),
            precision_recall=curves.precision_recall_curves(nights, own),
            reliability=curves.reliability(nights, own),
            certainty=curves.selective_accuracy(nights, own),
            rem_trade_off=curves.rem_trade_off(nights, scheme=own),
        ),
        bland_altman=people.bland_altman(nights, own),
        against_first=paired(runs, first),
    )


def _means(
    runs: Mapping[Task, Outcome],
    scheme: Scheme,
    measure: Callable[[Mapping[str, ScoredNight], Scheme], dict[str, schema.Numbers]],
) -> dict[str, schema.Numbers]:
    """Numbers of each person, or night; of who tested in several runs the mean."""
    tested: dict[str, list[schema.Numbers]] = {}
    for outcome in runs.values():
        for person, numbers in measure(outcome.scored, scheme).items():
            tested.setdefault(person, []).append(numbers)
    return {
        person: {name: people.spread(one[name] for one in mine).mean for name in mine[0]}
        for person, mine in tested.items()
    }


def _estimates(numbers: Mapping[str, schema.Numbers]) -> dict[str, schema.Estimate]:
    names = next(iter(numbers.values()))
    return {name: people.estimate(one[name] for one in numbers.values()) for name in names}


def paired(
    runs: Mapping[Task, Outcome], first: Mapping[Task, Outcome]
) -> dict[str, schema.Difference] | None:
    """Paired difference to the first model, where both were tested on the same people."""
    mine, others = nights_of(runs), nights_of(first)
    if runs is first or mine.keys() != others.keys():
        return None
    own = (next(iter(nights.values())).predicted.scheme for nights in (mine, others))
    return people.compare(mine, others, min(own, key=len))
