"""sleepstage run: the whole story in one command."""

from __future__ import annotations

from pathlib import Path

import click

from sleepstage.cli.console import console
from sleepstage.cli.data import check_and_show
from sleepstage.cli.predict import show_hypnogram
from sleepstage.cli.train import train_and_show
from sleepstage.errors import DataError
from sleepstage.readers.sleep_accel import find_data, read_subject
from sleepstage.stager import load_model

__all__ = ["run"]

_FETCH_FOLDER = Path("data/sleep-accel")
_SIMULATED_FOLDER = Path("data/simulated")


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the dataset.")
@click.option("--seed", default=0, show_default=True, help="Of the split and the weights.")
@click.option(
    "--out", default=Path("runs/first"), show_default=True, type=click.Path(path_type=Path)
)
def run(data: Path | None, seed: int, out: Path) -> None:
    """Find data (else fetch, else simulate it), check it, train, test and predict one night."""
    directory = find_data(data) if data is not None else _find_or_make_data()
    if check_and_show(directory) == 1:
        console.print("[yellow]the files with errors above are left out or stop the training")
    trained = train_and_show(directory, out, seed)
    subject = trained.split.test[0]
    night = read_subject(directory, subject)
    hypnogram = load_model(trained.model).predict(night)
    console.print(f"\none held-out night, staged by the saved model: {subject}")
    show_hypnogram(hypnogram, night)
    hypnogram.save(out / f"{subject}_hypnogram.csv")
    console.print(f"hypnogram: {out / f'{subject}_hypnogram.csv'}")
    console.print(f"picture: {out / f'{subject}.png'}")


def _find_or_make_data() -> Path:

    try:
        return find_data()
    except DataError as error:
        console.print(f"{error}")
