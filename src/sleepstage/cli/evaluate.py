"""sleepstage evaluate: models on many splits, every run and what they say together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sleepstage.cli.console import console, number, progress_bar, table
from sleepstage.cli.train import SETTINGS_HELP, load_and_announce
from sleepstage.errors import DataError, MissingExtraError
from sleepstage.files import keep_apart, refuse_other_files
from sleepstage.readers.sleep_accel import find_data
from sleepstage.recording import person_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sleepstage.classifiers.contract import Classifier

__all__ = ["evaluate", "numbers"]

_AT_LEAST_ONE = click.IntRange(min=1)
_MARKS = {
    "results.json": b'"studies"',
    "report.html": b"Not a medical device.",
    "report.md": b"Not a medical device.",
}
_PROTOCOLS = ("holdout", "kfold", "loso")


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the dataset.")
@click.option(
    "--model", "models", multiple=True, metavar="NAME", help="Default: ensemble. Repeatable."
)
@click.option("--protocol", type=click.Choice(_PROTOCOLS), default="holdout", show_default=True)
@click.option(
    "--repeats",
    type=_AT_LEAST_ONE,
    default=6,
    show_default=True,
    help="Random 90/10 splits (holdout).",
)
@click.option(
    "--folds", type=_AT_LEAST_ONE, default=10, show_default=True, help="Folds by person (kfold)."
)
@click.option("--study", "studies", multiple=True, metavar="NAME", help="What a choice is worth.")
@click.option("--seed", default=0, show_default=True, help="Of the first split.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help=SETTINGS_HELP)
@click.option("--jobs", type=_AT_LEAST_ONE, help="Runs at a time; default: one a core.")
@click.option("--cluster", metavar="ADDRESS", help="Of a Dask scheduler, to run there.")
@click.option("--out", type=click.Path(path_type=Path), help="Default: runs/PROTOCOL-seedSEED.")
def evaluate(
    data: Path | None,
    models: tuple[str, ...],
    protocol: str,
    repeats: int,
    folds: int,
    studies: tuple[str, ...],
    seed: int,
    settings: tuple[str, ...],
    jobs: int | None,
    cluster: str | None,
    out: Path | None,
) -> None:
    """Train and test models on many splits by person; show every run, mean and spread.

    Runs that lie in the output folder already, of the same data, settings and code, are not done
    again: an evaluation that was interrupted goes on where it stopped.
    """
    try:
        from sleepstage.evaluation.experiment import evaluate as run_all
        from sleepstage.evaluation.experiment import plan
        from sleepstage.evaluation.report import write_report
        from sleepstage.evaluation.results import by_model, nights_of, results, save_results
        from sleepstage.evaluation.studies import study_tasks
    except ImportError as error:
        raise MissingExtraError(purpose="evaluating", extra="train") from error

    classifiers = _choose(models, settings)
    _check_studies(studies)
    directory = find_data(data)
    out = out or Path("runs") / f"{protocol}-seed{seed}"
    keep_apart([out], [directory, *directory.glob("*/")])
    refuse_other_files(out, _MARKS)
    nights, simulated = load_and_announce(directory)
    tasks = plan(
        [night.subject for night in nights],
        protocol,
        classifiers,
        number=folds if protocol == "kfold" else repeats,
        seed=seed,
    )
    first = next(iter(classifiers))
    tasks += study_tasks(studies, [task for task in tasks if task.name == first])
    with progress_bar("evaluating") as progress:
        outcomes = run_all(nights, tasks, out, jobs=jobs or -1, cluster=cluster, on_run=progress)
    content = results(outcomes)
    save_results(content, out)
    runs = next(iter(by_model(outcomes).values()))
    title = f"{len(runs)} runs, {protocol}, {_people([night.subject for night in nights])}"
    report = write_report(content, nights_of(runs), out, title=title, simulated=simulated)
    _show(content, simulated=simulated)
    console.print(f"report: {report}\neverything: {out}/")
    if content["failed"]:
        reasons = "\n".join(
            f"{one['model']}, run {one['run']}: {one['reason']}" for one in content["failed"]
        )
        msg = f"{len(content['failed'])} of {len(tasks)} runs could not be done:\n{reasons}"
        raise DataError(msg)


def _choose(names: tuple[str, ...], settings: tuple[str, ...]) -> Mapping[str, Classifier]:
    from sleepstage.classifiers.registry import CLASSIFIERS, DEFAULT
    from sleepstage.training.config import override

    unknown = ", ".join(name for name in names if name not in CLASSIFIERS)
    if unknown:
        msg = f"no model {unknown}; there are {', '.join(CLASSIFIERS)}"
        raise DataError(msg)
    chosen = {name: CLASSIFIERS[name] for name in names or (DEFAULT,)}
    for setting in settings:
        refusals = []
        for name, classifier in chosen.items():
            try:
                chosen[name] = override(classifier, [setting])
            except DataError as error:  # another model may know it
                refusals.append(error)
        if len(refusals) == len(chosen):
            raise refusals[0]
    return chosen


def _people(subjects: Sequence[str]) -> str:
    """How many people, and how many nights where some have several."""
    n_people = len(set(map(person_of, subjects)))
    told = f"{n_people} people"
    return told if n_people == len(subjects) else f"{told}, {len(subjects)} nights"


def _check_studies(names: tuple[str, ...]) -> None:
    from sleepstage.evaluation.studies import STUDIES

    unknown = ", ".join(name for name in names if name not in STUDIES)
    if unknown:
        msg = f"no study {unknown}; there are {', '.join(STUDIES)}"
        raise DataError(msg)


def _show(content: Mapping[str, Any], *, simulated: bool) -> None:
    """Every run of the model named first, and means of all."""
    model = next(iter(content["models"]))
    runs = [run for run in content["runs"] if run["model"] == model]
    for scheme, summary in content["summary"].items():
        if scheme != "operating_point":
            title = f"{model}, {scheme.replace('_', ' ')}: test people, recall of each class"
            _show_runs(title, runs, scheme, summary, simulated=simulated)
    if point := content["summary"].get("operating_point"):
        scheme = next(iter(point))
        title = f"{model}, {scheme.replace('_', ' ')}, at the operating point for REM"
        moved = [{**run, **run["operating_point"]} for run in runs]
        _show_runs(title, moved, scheme, point[scheme], simulated=simulated)
    if len(content["models"]) > 1:
        scheme = "four_class"
        summaries = {name: one["summary"][scheme] for name, one in content["models"].items()}
        rows = [[name, *numbers(summary, "mean")] for name, summary in summaries.items()]
        columns = ["mean over runs", "accuracy", "kappa", "macro F1", *summaries[model]["recall"]]
        table("all models, four classes", columns, rows, simulated=simulated)


def _show_runs(
    title: str,
    runs: Sequence[Mapping[str, Any]],
    scheme: str,
    summary: Mapping[str, Any],
    *,
    simulated: bool,
) -> None:
    rows = [
        [f"run {run['run']}: {' '.join(run['split']['test'])}", *numbers(run[scheme])]
        for run in runs
    ]
    rows += [[name, *numbers(summary, name)] for name in ("mean", "std")]
    columns = ["test people", "accuracy", "kappa", "macro F1", *summary["recall"]]
    table(title, columns, rows, simulated=simulated)


def numbers(result: Mapping[str, Any], statistic: str | None = None) -> list[str]:
    """Accuracy, kappa, macro F1 and recalls of a run, or one statistic of them of a summary."""
    values = [result[key] for key in ("accuracy", "kappa", "macro_f1")]
    values += result["recall"].values()
    return [number(value if statistic is None else value[statistic]) for value in values]
