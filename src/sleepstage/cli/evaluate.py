"""sleepstage evaluate: the same training on many splits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sleepstage.cli.console import console, number, progress_bar, table
from sleepstage.cli.train import SETTINGS_HELP, load_and_announce
from sleepstage.errors import MissingExtraError
from sleepstage.readers.sleep_accel import find_data

if TYPE_CHECKING:
    from sleepstage.evaluation.experiment import Experiment

__all__ = ["evaluate", "numbers"]


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the dataset.")
@click.option(
    "--protocol", type=click.Choice(["holdout", "kfold"]), default="holdout", show_default=True
)
@click.option("--repeats", default=6, show_default=True, help="Random 90/10 splits (holdout).")
@click.option("--folds", default=10, show_default=True, help="Folds by person (kfold).")
@click.option("--seed", default=0, show_default=True, help="Of the first split.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help=SETTINGS_HELP)
@click.option("--jobs", default=-1, show_default=True, help="Runs at a time; -1: one a core.")
@click.option("--out", type=click.Path(path_type=Path), help="Default: runs/PROTOCOL-seedSEED.")
def evaluate(
    data: Path | None,
    protocol: str,
    repeats: int,
    folds: int,
    seed: int,
    settings: tuple[str, ...],
    jobs: int,
    out: Path | None,
) -> None:
    """Train and test on many splits by person, and show every run and their mean."""
    try:
        from sleepstage.evaluation.experiment import evaluate as run_all
        from sleepstage.evaluation.experiment import plan
        from sleepstage.training.config import TrainingConfig, override
    except ImportError as error:
        raise MissingExtraError(purpose="evaluating", extra="train") from error

    config = override(TrainingConfig(seed=seed), settings)
    directory = find_data(data)
    out = out or Path("runs") / f"{protocol}-seed{seed}"
    nights, simulated = load_and_announce(directory)
    tasks = plan(
        [night.subject for night in nights],
        protocol,
        number=folds if protocol == "kfold" else repeats,
        config=config,
    )
    with progress_bar("evaluating") as progress:
        experiment = run_all(nights, tasks, out, jobs=jobs, on_run=progress)
    _show(experiment, simulated=simulated)
    console.print(f"everything: {out}/")


def _show(experiment: Experiment, *, simulated: bool) -> None:
    for scheme, summary in experiment.summary.items():
        classes = list(summary["recall"])
        rows = [
            [f"run {index}: {' '.join(run.split.test)}", *numbers(run.metrics[scheme])]
            for index, run in enumerate(experiment.runs, start=1)
        ]
        rows += [[name, *numbers(summary, name)] for name in ("mean", "std")]
        columns = ["test people", "accuracy", "kappa", "macro F1", *classes]
        title = f"{scheme.replace('_', ' ')}: test people, recall of each class"
        table(title, columns, rows, simulated=simulated)


def numbers(result: dict[str, Any], statistic: str | None = None) -> list[str]:
    """Accuracy, kappa, macro F1 and recalls of a run, or one statistic of them of a summary."""
    values = [result[key] for key in ("accuracy", "kappa", "macro_f1")]
    values += result["recall"].values()
    return [number(value if statistic is None else value[statistic]) for value in values]
