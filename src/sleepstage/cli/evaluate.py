"""sleepstage evaluate: models on many splits, every run and the summary of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import click

from sleepstage._utils.files import keep_apart, refuse_other_files, write_json
from sleepstage.cli.console import console, progress_bar, table
from sleepstage.cli.train import SETTINGS_HELP, load_and_announce
from sleepstage.core.recording import person_of
from sleepstage.errors import DataError, needs_extra
from sleepstage.evaluation import PROTOCOLS
from sleepstage.io.sleep_accel.read import find_data

if TYPE_CHECKING:
    from sleepstage.evaluation.report.tables import Table
    from sleepstage.evaluation.schema import FailedRun
    from sleepstage.ml.classifier import Classifier

_AT_LEAST_ONE = click.IntRange(min=1)
_MARKS = {
    "results.json": b'"failed"',
    "report.html": b"Not a medical device.",
    "report.md": b"Not a medical device.",
}
_SHOWN = ("runs", "operating point", "models")  # sections of the report that are printed


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the dataset.")
@click.option(
    "--model", "models", multiple=True, metavar="NAME", help="Default: ensemble. Repeatable."
)
@click.option("--protocol", type=click.Choice(PROTOCOLS), default="holdout")
@click.option("--repeats", type=_AT_LEAST_ONE, default=6, help="Random 90/10 splits (holdout).")
@click.option("--folds", type=_AT_LEAST_ONE, default=10, help="Folds by person (kfold).")
@click.option("--seed", default=0, help="Of the first split.")
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
    seed: int,
    settings: tuple[str, ...],
    jobs: int | None,
    cluster: str | None,
    out: Path | None,
) -> None:
    """Train and test models on many splits by person; show every run, mean and spread.

    A model is a built-in one, or package.module:Class of one's own (docs/my-model.md).
    Runs that lie in the output folder already, of the same data, settings and code, are not done
    again: an evaluation that was interrupted goes on where it stopped.
    """
    with needs_extra("evaluating", "train"):
        from sleepstage.evaluation.experiment import evaluate as run_all
        from sleepstage.evaluation.experiment import plan
        from sleepstage.evaluation.report import write_report
        from sleepstage.evaluation.report.sections import sections
        from sleepstage.evaluation.results import by_model, nights_of, results

    classifiers = choose(models, settings)
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
    with progress_bar("evaluating") as progress:
        outcomes = run_all(nights, tasks, out, jobs=jobs or -1, cluster=cluster, on_run=progress)
    content = results(outcomes)
    write_json(out / "results.json", content)
    runs = next(iter(by_model(outcomes).values()))
    title = f"{len(runs)} runs, {protocol}, {_people([night.subject for night in nights])}"
    report = write_report(content, nights_of(runs), out, title=title, simulated=simulated)
    for section in sections(content):
        if section.name in _SHOWN:
            of = "" if section.name == "models" else f"{content.first[0]}: "
            show(f"{of}{section.title}", section.tables, simulated=simulated)
    console.print(f"report: {report}\neverything: {out}/")
    raise_failed(content.failed, len(tasks))


def raise_failed(failed: Sequence[FailedRun], n_runs: int) -> None:
    """Raise a `DataError` that lists the runs that could not be done, if there are any."""
    if failed:
        reasons = "\n".join(f"{one.model}, run {one.run}: {one.reason}" for one in failed)
        raise DataError(f"{len(failed)} of {n_runs} runs could not be done:\n{reasons}")


def choose(names: tuple[str, ...], settings: tuple[str, ...]) -> Mapping[str, Classifier]:
    """Models by name or place, with the settings that each knows; the default if none is named."""
    from sleepstage.ml.config import override
    from sleepstage.ml.registry import DEFAULT, find_classifier

    chosen = {name: find_classifier(name) for name in names or (DEFAULT,)}
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
    n_people, n_nights = len(set(map(person_of, subjects))), len(subjects)
    return f"{n_people} people" + (f", {n_nights} nights" if n_nights > n_people else "")


def show(title: str, tables: Sequence[Table], *, simulated: bool) -> None:
    """Tables of the report, with heads no wider than the numbers where words allow it."""
    for one in tables:
        widths = (max(map(len, column)) for column in zip(*one.cells, strict=True))
        head = [fill(*each, break_long_words=False) for each in zip(one.head, widths, strict=True)]
        table(f"{title}, {one.caption}", head, one.cells, one.text_columns, simulated=simulated)
