"""sleepstage train: fit a classifier on 90 % of the people, test it on the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sleepstage._utils.files import keep_apart, refuse_other_files
from sleepstage.cli.console import console, number, progress_bar, simulated_banner, table
from sleepstage.core.agreement import Agreement
from sleepstage.core.recording import Recording
from sleepstage.errors import DataError, needs_extra
from sleepstage.io.sleep_accel.read import find_data

if TYPE_CHECKING:
    from sleepstage.evaluation.schema import Metrics
    from sleepstage.ml.dataset import PreparedNight

SETTINGS_HELP = "Another value in the configuration, as noise=0.2 or lstm.network.hidden=32."


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the dataset.")
@click.option("--model", default="ensemble", help="Or lstm, ..., or package.module:Class.")
@click.option("--seed", default=0, help="Of the split and the weights.")
@click.option("--device", help="cpu, cuda or mps; default: auto.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help=SETTINGS_HELP)
@click.option("--out", type=click.Path(path_type=Path), help="Default: runs/MODEL-seedSEED.")
def train(
    data: Path | None,
    model: str,
    seed: int,
    device: str | None,
    settings: tuple[str, ...],
    out: Path | None,
) -> None:
    """Train on 90 % of the people, test on the other 10 %."""
    out = out or Path("runs") / f"{model.replace(':', '-')}-seed{seed}"
    chosen = (f"device={device}",) if device else ()
    train_and_show(find_data(data), out, seed, model, (*chosen, *settings))


def train_and_show(
    data: Path, out: Path, seed: int, model: str = "ensemble", settings: Sequence[str] = ()
) -> Recording:
    """Train, print split, results and where everything lies; the first test person's night."""
    with needs_extra("training", "train"):
        import sleepstage.evaluation.run as runs
        from sleepstage.evaluation.splits import holdout
        from sleepstage.ml.config import override
        from sleepstage.ml.registry import find_classifier

    config = override(find_classifier(model), (f"seed={seed}", *settings))
    if not getattr(config, "exports", False):
        msg = f"{model} makes no model file; to test it: sleepstage evaluate --model {model}"
        raise DataError(msg)
    keep_apart([out], [data, *data.glob("*/")])
    refuse_other_files(out, runs.MARKS)
    nights, simulated = load_and_announce(data)
    split = holdout([night.subject for night in nights], seed=seed)
    with runs.log_to(out / "train.log"), progress_bar("training") as progress:
        outcome = runs.train_and_test(nights, config, split, on_epoch=progress)
    runs.save(outcome, out)
    runs.save_pictures(outcome.scored, out)
    groups = "  |  ".join(" ".join(group) for group in split.validation)
    console.print(f"train ({len(split.train)}), in groups that take turns to validate: {groups}")
    console.print(f"test ({len(split.test)}): {' '.join(split.test)}")
    _show_metrics(outcome.metrics, simulated=simulated)
    console.print(f"model: {out / runs.MODEL_FILE}\neverything else: {out}/")
    return next(night.recording for night in nights if night.subject == split.test[0])


def load_and_announce(data: Path) -> tuple[list[PreparedNight], bool]:
    """Read all nights, and say where they come from; whether they are simulated."""
    from sleepstage.evaluation.run import load_nights

    console.print(f"data: {data}")
    with progress_bar("reading") as progress:
        nights = load_nights(data, on_progress=progress)
    simulated = any(night.recording.simulated for night in nights)
    if simulated:
        simulated_banner()
    return nights, simulated


def _show_metrics(metrics: Metrics, *, simulated: bool) -> None:
    columns = ["classes", "accuracy", "kappa", "macro F1", "recall"]
    results = dict(metrics.schemes)
    own = next(iter(results))
    if point := metrics.operating_point:
        results[f"{own}, at the operating point for REM"] = point.schemes[own]
    rows = []
    for name, result in results.items():
        recall = " ".join(f"{key} {number(value, 2)}" for key, value in result.recall.items())
        rows.append([name.replace("_", " "), *_three(result), recall])
    title = f"test people, {results[own].n_epochs} epochs pooled"
    table(title, columns, rows, simulated=simulated)
    people = [
        [subject, str(result[own].n_epochs), *_three(result[own])]
        for subject, result in metrics.per_person.items()
    ]
    title = f"each test person, {own.replace('_', ' ')}"
    table(title, ["person", "epochs", *columns[1:4]], people, simulated=simulated)


def _three(result: Agreement) -> list[str]:
    return [number(one) for one in (result.accuracy, result.kappa, result.macro_f1)]
