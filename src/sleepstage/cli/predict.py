"""sleepstage predict: a recording in, a hypnogram out."""

from pathlib import Path
from typing import Final

import click
import numpy as np

from sleepstage._utils.files import check_ending, keep_apart
from sleepstage.cli.console import (
    console,
    progress_bar,
    reading_options,
    simulated_banner,
    table,
    to_options,
    trained_banner,
)
from sleepstage.core.hypnogram import Hypnogram, show_time
from sleepstage.core.periods import sleep_periods
from sleepstage.core.recording import Recording
from sleepstage.engine.explanation import Explanation, explain
from sleepstage.engine.stager import load_model
from sleepstage.errors import DataError
from sleepstage.io import open_nights
from sleepstage.io.sleep_accel.read import find_data
from sleepstage.io.source import NO_OPTIONS, Options, StoredNight
from sleepstage.io.tables import read_tables
from sleepstage.plotting import save_figure

_File = click.Path(path_type=Path)
_NUMBERS: Final = (".csv", ".json", ".parquet")
_PICTURES: Final = (".png", ".svg", ".pdf")


@click.command()
@click.argument("recording", required=False)
@click.option("--model", default="live", help="live, night, or a file of sleepstage train.")
@click.option("--heart-rate", type=_File, help="CSV or Parquet: time (s), bpm.")
@click.option("--motion", type=_File, help="CSV or Parquet: time (s), x, y, z (g) or summaries.")
@click.option("--steps", type=_File, help="CSV or Parquet: time (s), steps.")
@click.option("--start", type=float, help="Start of the night in the files' seconds.")
@click.option("--end", type=float, help="End of the night.")
@reading_options
@click.option("--find-rem", is_flag=True, help="Decide at the model's operating point for REM.")
@click.option("--out", type=_File, help="Hypnogram as .csv, .json or .parquet.")
@click.option("--plot", type=_File, help="Picture as .png, .svg or .pdf.")
@click.option(
    "--explain",
    "explain_to",
    type=_File,
    multiple=True,
    help="What moved each decision: numbers as .csv, .json or .parquet, picture as .png, .svg or "
    ".pdf; may be given for each. Takes some seconds.",
)
def predict(
    recording: str | None,
    model: str,
    heart_rate: Path | None,
    motion: Path | None,
    steps: Path | None,
    start: float | None,
    end: float | None,
    timezone: str,
    dates: str | None,
    find_rem: bool,
    out: Path | None,
    plot: Path | None,
    explain_to: tuple[Path, ...],
) -> None:
    """Stage one night.

    RECORDING is a file or folder of one night, DIR:SUBJECT for one of many, or only SUBJECT where
    the dataset sleep-accel lies in a usual place. Without it, name files with --heart-rate,
    --motion and --steps; any of the three may be missing.
    """
    named = any(path is not None for path in (heart_rate, motion, steps))
    if (recording is not None) == named:
        msg = "give either a RECORDING (DIR:SUBJECT) or files (--heart-rate, --motion, --steps)"
        raise click.UsageError(msg)
    for path in explain_to:
        check_ending(path, _NUMBERS + _PICTURES)  # before the work, and not after it
    options = to_options(timezone, dates)
    stored = None if recording is None else one_night(recording, options)
    inputs = [heart_rate, motion, steps, *(stored.files if stored else ()), Path(model)]
    keep_apart([out, plot, *explain_to], inputs)
    stager = load_model(model)
    if stored is None:
        night = read_tables(
            heart_rate=heart_rate, motion=motion, steps=steps, start=start, end=end, options=options
        )
    else:
        night = stored.read()
    class_weights = stager.info.class_weights if find_rem else {}
    hypnogram = stager.predict(night).decide(class_weights)
    show_hypnogram(hypnogram, night)
    if stager.info.trained_on(night.subject, night.dataset):
        trained_banner([night.subject])
    if out is not None:
        hypnogram.save(out)
        console.print(f"hypnogram: {out}")
    if plot is not None:
        save_figure(hypnogram.plot(reference=night.reference), plot)
        console.print(f"picture: {plot}")
    if explain_to:
        with progress_bar("explaining") as progress:
            explanation = explain(stager, night, class_weights=class_weights, on_progress=progress)
        _save_explanation(explanation, explain_to)


def _save_explanation(explanation: Explanation, paths: tuple[Path, ...]) -> None:
    if not explanation.lags:
        console.print("this model reads the night from both ends: no past minutes are explained")
    for path in paths:
        if path.suffix in _NUMBERS:
            explanation.save(path)
        else:
            save_figure(explanation.plot(), path)
        console.print(f"explanation: {path}")


def one_night(recording: str, options: Options = NO_OPTIONS) -> StoredNight:
    """The night of a path, of DIR:SUBJECT, or of SUBJECT in the dataset where it usually lies."""
    if ":" not in recording and not Path(recording).exists():
        try:
            recording = f"{find_data()}:{recording}"
        except DataError as error:
            msg = f"{recording}: no such file or folder, nor one of a dataset's people: {error}"
            raise DataError(msg) from error
    night, *others = open_nights(recording, options=options)
    if others:
        msg = f"{recording}: {1 + len(others)} nights; name one of them: {recording}:{night.name}"
        raise DataError(msg)
    return night


def show_hypnogram(hypnogram: Hypnogram, recording: Recording) -> None:
    """Print the minutes of each stage and, where an expert scored the night, the agreement."""
    if hypnogram.simulated:
        simulated_banner()
    found = hypnogram.statistics()
    unscored = {"not worn": found.not_worn, "no data": found.no_data}
    minutes = found.minutes | {name: one for name, one in unscored.items() if one}
    total = sum(minutes.values())
    rows = [[name, f"{one:.1f}", f"{one / total:.1%}"] for name, one in minutes.items()]
    title = f"{hypnogram.subject or 'night'}: {len(hypnogram)} epochs of 30 s"
    table(title, ["stage", "minutes", "share"], rows, simulated=hypnogram.simulated)
    _show_periods(hypnogram)
    if recording.reference is not None:
        truth = recording.reference.merge(hypnogram.scheme).codes[: len(hypnogram)]
        scored = recording.covered & (truth >= 0)
        if scored.any():
            share = float(np.mean(truth[scored] == hypnogram.codes[scored]))
            console.print(f"agrees with the expert in {share:.1%} of {scored.sum()} epochs")


def _show_periods(hypnogram: Hypnogram) -> None:
    """Print the sleep periods if there are several, as a night and a nap."""
    periods = sleep_periods(hypnogram)
    if len(periods) < 2:
        return
    rows = []
    for period in periods:
        edges = (show_time(time, hypnogram.utc_offset) for time in (period.start, period.end))
        found = hypnogram.statistics(mask=period.mask(hypnogram))
        minutes = (found.total_sleep_time, found.wake_after_sleep_onset)
        rows.append(["nap" if period.nap else "sleep", *edges, *map("{:.1f}".format, minutes)])
    columns = ["period", "from", "to", "minutes asleep", "awake"]
    table("sleep periods", columns, rows, simulated=hypnogram.simulated)
