"""sleepstage train: fit a network on 90 % of the people, test it on the others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sleepstage.cli.console import console, number, progress_bar, simulated_banner, table
from sleepstage.errors import MissingExtraError
from sleepstage.readers.sleep_accel import find_data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sleepstage.training.nights import Night
    from sleepstage.training.run import Run

__all__ = ["SETTINGS_HELP", "load_and_announce", "train", "train_and_show"]

SETTINGS_HELP = "Another value in the configuration, as members=1 or network.hidden=32."


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the dataset.")
@click.option("--model", type=click.Choice(["lstm"]), default="lstm", show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of the split and the weights.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help=SETTINGS_HELP)
@click.option("--out", type=click.Path(path_type=Path), help="Default: runs/MODEL-seedSEED.")
def train(
    data: Path | None,
    model: str,
    seed: int,
    device: str,
    settings: tuple[str, ...],
    out: Path | None,
) -> None:
    """Train on 90 % of the people, test on the other 10 %."""
    out = out or Path("runs") / f"{model}-seed{seed}"
    train_and_show(find_data(data), out, seed, (f"device={device}", *settings))


def train_and_show(data: Path, out: Path, seed: int, settings: Sequence[str] = ()) -> Run:
    """Train, print split and results, and say where everything lies."""
    try:
        from sleepstage.training.config import TrainingConfig, override
        from sleepstage.training.run import train_and_test
    except ImportError as error:
        raise MissingExtraError(purpose="training", extra="train") from error

    config = override(TrainingConfig(seed=seed), settings)
    nights, simulated = load_and_announce(data)
    with progress_bar("training") as progress:
        run = train_and_test(nights, config, out, on_pass=progress)
    groups = "  |  ".join(" ".join(group) for group in run.split.validation)
    console.print(
        f"train ({len(run.split.train)}), in groups that take turns to validate: {groups}"
    )
    console.print(f"test ({len(run.split.test)}): {' '.join(run.split.test)}")
    _show_metrics(run.metrics, simulated=simulated)
    console.print(f"model: {run.model}\neverything else: {run.directory}/")
    return run


def load_and_announce(data: Path) -> tuple[list[Night], bool]:
    """Read all nights, and say where they come from; whether they are simulated."""
    from sleepstage.training.run import load_nights

    console.print(f"data: {data}")
    with progress_bar("reading") as progress:
        nights = load_nights(data, on_progress=progress)
    simulated = any(night.recording.simulated for night in nights)
    if simulated:
        simulated_banner()
    return nights, simulated


def _show_metrics(metrics: dict[str, Any], *, simulated: bool) -> None:
    columns = ["classes", "accuracy", "kappa", "macro F1", "recall"]
    rows = []
    for scheme in ("four_class", "three_class", "two_class"):
        result = metrics[scheme]
        recall = " ".join(f"{name} {number(value, 2)}" for name, value in result["recall"].items())
        numbers = [number(result[key]) for key in ("accuracy", "kappa", "macro_f1")]
        rows.append([scheme.replace("_", " "), *numbers, recall])
    title = f"test people, {metrics['four_class']['n_epochs']} epochs pooled"
    table(title, columns, rows, simulated=simulated)
    people = [
        [
            subject,
            str(result["four_class"]["n_epochs"]),
            *(number(result["four_class"][key]) for key in ("accuracy", "kappa", "macro_f1")),
        ]
        for subject, result in metrics["per_person"].items()
    ]
    title = "each test person, four classes"
    table(title, ["person", "epochs", *columns[1:4]], people, simulated=simulated)
