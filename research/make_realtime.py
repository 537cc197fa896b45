"""Write docs/realtime.md: ``make results``.

What the default model of the ten folds does with less to go on, when it has just begun, and on a
small machine. Nothing is trained: the models are those that ``make_results`` left in
runs/results, which has to be run first. Minutes on two cores.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import numpy as np

import sleepstage
from research import DOCS
from research.alarms import alarms
from research.cold_start import cold_start
from research.conditions import EVERYTHING, under_conditions
from research.days import days, gaps
from research.eight_bits import cost_of_int8
from research.footprint import milliseconds, operations, state_bytes, weight_bytes
from research.make_results import OUT, SEEDS, real_nights
from research.quantise import quantise
from research.starts import starts
from sleepstage.cli.console import console, progress_bar
from sleepstage.engine.explanation import explain
from sleepstage.engine.stager import Stager
from sleepstage.evaluation.experiment import evaluate, plan
from sleepstage.evaluation.report.tables import (
    Cell,
    Section,
    Table,
    class_label,
    interval,
    number,
)
from sleepstage.evaluation.run import Outcome
from sleepstage.ml.registry import CLASSIFIERS, DEFAULT
from sleepstage.plotting import save_figure
from sleepstage.stages import FOUR_CLASS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from research.alarms import Ringing
    from research.cold_start import Window
    from research.conditions import ConditionResult
    from research.days import Days, Gap
    from research.eight_bits import Cost
    from research.starts import Start
    from sleepstage.ml.dataset import PreparedNight

PAGE = DOCS / "realtime.md"

HEAD = """\
<!-- Written by `make results`, and by nothing else. -->
# In real time

Version {version}, the {n_runs} models of the ten folds in [results](results.md), each on people it
was not trained on; four classes, live. Nothing is trained again. The value of an epoch's
confidence is there, too.
"""


def signals_section(found: Mapping[str, ConditionResult]) -> Section:
    """What is lost with each signal."""
    rows = tuple(_signals_row(name, one) for name, one in found.items())
    recalls = (f"{class_label(name)} recall" for name in FOUR_CLASS.classes)
    changed = ("difference of kappa", "95 % CI")
    head = ("what there is", "accuracy", "kappa", "macro F1", *recalls, "unscored", *changed)
    text = (
        "The same models and the same epochs: those that an expert scored and that have heart rate "
        "and motion before anything is taken away. Means over runs; the last columns are the mean "
        "over nights of the difference of kappa to everything on the same night. An epoch "
        "without a prediction is unscored and counts as wrong. Where motion is missing, steps are, "
        "too. What a model reaches that is trained for fewer signals stands in the studies of the "
        "results."
    )
    return Section("signals", "With less to go on", text, (Table("", head, rows),))


def _signals_row(name: str, one: ConditionResult) -> tuple[Cell, ...]:
    change = one.difference
    changed = change.mean, interval(change.low, change.high)
    return (
        name,
        *(spread.mean for spread in one.summary.spreads),
        one.unscored,
        *((None, None) if name == EVERYTHING else changed),
    )


def starts_section(found: Sequence[Start]) -> Section:
    """The same nights, recorded from the evening on."""
    head = (
        *("before lights off", "hours", "accuracy of the night", "kappa of the night"),
        *("evening staged", "of it called wake", "error of sleep onset, min", "90th percentile"),
    )
    rows = tuple(
        (one.signals, one.hours, one.accuracy, one.kappa, one.staged, one.awake, *one.onset)
        for one in found
    )
    text = (
        "People put a watch on long before they go to bed. Each test night is begun hours before "
        "lights off, with the heart rate and steps that were really measured then, a heart rate "
        "in some minutes. Motion was not recorded: it is missing, or drawn. Evening: until half an "
        "hour before lights off, taken for awake; what is not staged there has no data. Sleep "
        "onset is the first of ten minutes of sleep without a break. All nights pooled."
    )
    return Section("starts", "Recorded from the evening on", text, (Table("", head, rows),))


def days_section(found: Sequence[Days]) -> Section:
    """Nights, naps and weeks, with waking life around them."""
    head = (
        *("within", "sleep found", "error of sleep onset, min", "90th percentile"),
        *("error of final awakening, min", "90th percentile"),
        *("false sleep, min an hour awake", "false sleep periods a day", "kappa of the night"),
    )
    rows = tuple(
        (one.kind, one.found, *one.onset, *one.awakening, one.false_sleep, one.others, one.kappa)
        for one in found
    )
    text = (
        "Each test night within a day that is staged as it happens: eight hours before lights off "
        "(four before a nap), with real heart rate and steps and drawn motion, and two hours after "
        "getting up, with the evening's signals once more. A nap is the night up to 80 minutes "
        "after the expert's sleep onset. A week is the same day seven times, a day apart, in one "
        "session, with heart rate rare in the evening and nothing in between, as of a watch that "
        "is charged. Sleep is found if a sleep period overlaps the expert's; the errors are those "
        "of its ends. False sleep: minutes called asleep in an hour of waking life."
    )
    return Section("days", "Days, naps and weeks", text, (Table("", head, rows),))


def gaps_section(found: Sequence[Gap]) -> Section:
    """A watch that is off for an hour, and one that is silent."""
    head = (
        *("for an hour", "staged as sleep, min", "given the right reason"),
        *("kappa before", "kappa after", "kappa after, without the hour"),
    )
    rows = tuple(
        (one.kind, one.asleep, one.named, one.before, one.after, one.usual) for one in found
    )
    text = (
        "In the middle of each test night the watch lies on a table for an hour, or nothing "
        "arrives from it. The first five minutes are left out of the first two numbers. All "
        "nights pooled."
    )
    return Section("gaps", "Not worn, no data", text, (Table("", head, rows),))


def alarms_section(found: Sequence[Ringing]) -> Section:
    """What smart alarms ring into."""
    names = (f"in {class_label(name)}" for name in FOUR_CLASS.classes)
    head = ("rings", "alarms", *names, "before the deadline", "minutes early, mean")
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (one.kind, one.n, *one.shares.values(), one.in_time, one.early) for one in found
    )
    text = (
        "A smart alarm rings in light sleep or to somebody awake, at its deadline in any "
        "case. Alarms with a window of half an hour, one for every ten minutes of the last three "
        "hours of each test night, staged live; shares of the expert's stages in which they ring, "
        "all nights pooled. Light sleep is so common then that a smart alarm mostly rings early in "
        "its window: what it avoids is REM and deep sleep."
    )
    return Section("alarms", "Smart alarms", text, (Table("", head, rows),))


def cold_start_section(found: Mapping[str, Sequence[Window]]) -> Section:
    """Predictions soon after the start, beside those of the whole night's recording."""
    numbers = (f"{name}{of}" for of in ("", ", dated", ", whole") for name in ("accuracy", "kappa"))
    head = ("minutes since the start", "starts", "epochs", *numbers)
    tables = tuple(
        Table(where, head, tuple(_window_row(window) for window in windows))
        for where, windows in found.items()
    )
    text = (
        "A recording that has just begun knows neither the pulse at rest nor how long a night has "
        "gone on. Each test night is begun at its start, and afresh at each half hour from which a "
        "full hour is left; the labels of that hour are compared with the expert's. Dated: the "
        "same, but the recording knows when the night began, though it has no samples from before. "
        "Whole: what the recording of the whole night got, live, for the same epochs. All nights "
        "pooled. In the first minutes of a night everybody is awake and few epochs count: "
        "kappa is uninformative there."
    )
    return Section("cold start", "When recording has just begun", text, tables)


def _window_row(window: Window) -> tuple[Cell, ...]:
    compared = (window.fresh, window.dated, window.whole)
    return (
        "{} to {}".format(*window.minutes),
        *(window.n_starts, window.fresh.n_epochs),
        *(value for one in compared for value in (one.accuracy, one.kappa)),
    )


def size_section(models: Sequence[bytes], costs: Sequence[Cost], night: PreparedNight) -> Section:
    """What a step costs, with weights of 32 and of eight bits."""
    first = models[0]
    small = quantise(first)
    rows: tuple[tuple[Cell, ...], ...] = (
        ("file, kB", *_kilobytes(len(first), len(small))),
        ("weights, kB", *_kilobytes(weight_bytes(first), weight_bytes(small))),
        ("remembered between epochs, kB", *_kilobytes(state_bytes(first), state_bytes(small))),
        ("multiply-accumulates per epoch", *[f"{operations(first):,}"] * 2),
        (
            "time per epoch on the machine that wrote this, ms",
            *(number(milliseconds(model, night.rows)) for model in (first, small)),
        ),
        ("kappa, mean over runs", *(_mean(costs, key) for key in ("kappa", "kappa_int8"))),
        ("largest change of kappa in a run", "", max(map(_kappa_change, costs), default=None)),
        ("largest change of a probability", "", max(one.largest_difference for one in costs)),
        ("median over runs of epochs that change", "", median(one.changed for one in costs)),
    )
    head = ("", "as trained", "int8")
    text = (
        "Sizes and times are of the first file of the ten; the others are like it. Int8: weights "
        "of matrix products and LSTMs in eight bits, by the dynamic quantisation of onnxruntime; "
        "activations stay float. Convolutions would gain nothing, and GRU can't be quantised this "
        "way. The rest of a file is the graph and its metadata. Time is of the graph alone, on one "
        "thread. A session also keeps the samples that features look back on: half an hour of "
        "heart rate and motion."
    )
    return Section("size", "On a small machine", text, (Table("", head, rows),))


def _kilobytes(*sizes: int) -> list[str]:
    return [f"{size / 1e3:.0f}" for size in sizes]


def _mean(costs: Sequence[Cost], key: str) -> float | None:
    known = [value for cost in costs if (value := getattr(cost, key)) is not None]
    return float(np.mean(known)) if known else None


def _kappa_change(cost: Cost) -> float:
    return abs((cost.kappa_int8 or 0.0) - (cost.kappa or 0.0))


def default_runs(nights: Sequence[PreparedNight]) -> list[Outcome]:
    """Runs of the default model on ten folds, as `make_results` did and left them."""
    people = [night.subject for night in nights]
    models = {DEFAULT: CLASSIFIERS[DEFAULT]}
    tasks = plan(people, "kfold", models, number=10, seed=SEEDS["kfold"])
    with progress_bar("kfold") as progress:
        outcomes = evaluate(nights, tasks, OUT / "kfold", on_run=progress)
    return [outcome for outcome in outcomes.values() if isinstance(outcome, Outcome)]


def explain_one(run: Outcome, nights: Sequence[PreparedNight]) -> None:
    """Picture for docs/explaining.md: a test night, by the model that does not know the person."""
    people = {night.subject: night.recording for night in nights}
    subject = run.split.test[0]
    with progress_bar("explaining") as progress:
        explanation = explain(Stager(run.model), people[subject], on_progress=progress)
    save_figure(explanation.plot(), DOCS / "figures" / "explained.png")


def main() -> None:
    """Measure everything, and write it down."""
    nights = real_nights()
    runs = default_runs(nights)
    with progress_bar("signals") as progress:
        signals = under_conditions(runs, nights, on_run=progress)
    with progress_bar("starts") as progress:
        begun = starts(runs, nights, on_run=progress)
    with progress_bar("days") as progress:
        lived = days(runs, nights, on_run=progress)
    with progress_bar("not worn") as progress:
        silent = gaps(runs, nights, on_run=progress)
    with progress_bar("alarms") as progress:
        rung = alarms(runs, nights, on_run=progress)
    with progress_bar("cold start") as progress:
        started = cold_start(runs, nights, on_run=progress)
    with progress_bar("int8") as progress:
        costs = cost_of_int8(runs, nights, on_run=progress)
    sections = (
        signals_section(signals),
        starts_section(begun),
        days_section(lived),
        gaps_section(silent),
        alarms_section(rung),
        cold_start_section(started),
        size_section([run.model for run in runs], costs, nights[0]),
    )
    head = HEAD.format(version=sleepstage.__version__, n_runs=len(runs))
    explain_one(runs[0], nights)
    PAGE.write_text("\n".join([head, *(one.to_markdown() for one in sections)]), encoding="utf-8")
    console.print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
