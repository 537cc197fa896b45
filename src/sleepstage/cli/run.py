"""sleepstage run: the whole story in one command."""

import os
from pathlib import Path

import click

from sleepstage.cli.console import console, progress_bar
from sleepstage.cli.data import check_and_show
from sleepstage.cli.predict import show_hypnogram
from sleepstage.cli.train import train_and_show
from sleepstage.engine.stager import load_model
from sleepstage.errors import SleepstageError
from sleepstage.io.sleep_accel.read import ENVIRONMENT_VARIABLE, find_data

_FETCH_FOLDER = Path("data/sleep-accel")
_SIMULATED_FOLDER = Path("data/simulated")
_SIMULATED_PEOPLE = 20


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the dataset.")
@click.option("--seed", default=0, help="Of the split and the weights.")
@click.option("--out", default=Path("runs/first"), type=click.Path(path_type=Path))
def run(data: Path | None, seed: int, out: Path) -> None:
    """Find data, check it, train on 90 %, test on 10 %, and stage one night of a test person.

    Where there is no data it is fetched; where there is no network it is simulated.
    """
    # Who names a folder wants that one: a mistake in its name must not start a download.
    named = data is not None or os.environ.get(ENVIRONMENT_VARIABLE)
    directory = find_data(data) if named else _find_or_make_data()
    check_and_show(directory)
    night = train_and_show(directory, out, seed)
    hypnogram = load_model(out / "model.onnx").predict(night)
    file = out / f"{night.subject}.csv"
    hypnogram.save(file)
    console.print(f"\na night that the model has never seen: {night.subject}", style="bold")
    show_hypnogram(hypnogram, night)
    console.print(f"hypnogram: {file}\npicture: {file.with_suffix('.png')}")


def _find_or_make_data() -> Path:
    from sleepstage.io.sleep_accel.download import fetch
    from sleepstage.simulate.nights import write_dataset

    try:
        return find_data()
    except SleepstageError as error:
        console.print(f"{error}\nfetching it: 2 GB, once")
    try:
        with progress_bar("fetching") as progress:
            fetch(_FETCH_FOLDER, on_progress=progress)
    except SleepstageError as error:
        console.print(f"{error}\nsimulating nights in {_SIMULATED_FOLDER} in its place")
    else:
        return _FETCH_FOLDER
    with progress_bar("simulating") as progress:
        write_dataset(_SIMULATED_FOLDER, _SIMULATED_PEOPLE, on_progress=progress)
    return _SIMULATED_FOLDER
