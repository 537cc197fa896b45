"""Sections on how runs and models agree with the expert."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from sleepstage.core.agreement import NUMBERS
from sleepstage.evaluation.report.tables import (
    Cell,
    Picture,
    Section,
    Table,
    by_kappa,
    class_label,
    interval,
    number,
    number_labels,
    p_value,
    scheme_words,
    schemes,
)
from sleepstage.plotting import plot_confusion, plot_models, plot_people
from sleepstage.stages import SCHEMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def _numbers(of: Mapping[str, Any], statistic: str | None = None) -> list[Cell]:
    """Numbers of a report, or a statistic of each of a summary."""
    found = [*(of[key] for key in NUMBERS), *of["recall"].values()]
    return [one[statistic] for one in found] if statistic else found


def _runs_table(
    reports: Sequence[tuple[int, str, Mapping[str, Any]]],
    summary: Mapping[str, Any],
    scheme: str,
    whose: str = "test people",
) -> Table:
    """A line for each run, a column of words on it, and mean and standard deviation at the end."""
    rows: list[tuple[Cell, ...]] = [
        (f"run {run}", words, *_numbers(report[scheme])) for run, words, report in reports
    ]
    rows += [
        (statistic, "", *_numbers(summary[scheme], statistic)) for statistic in ("mean", "std")
    ]
    head = ("run", whose, *number_labels(scheme))
    return Table(scheme_words(scheme), head, tuple(rows), text_columns=2, totals=2)


def runs_section(
    runs: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], own: Sequence[str]
) -> Section:
    """Every run in every scheme."""
    reports = [(run["run"], " ".join(run["split"]["test"]), run) for run in runs]
    text = (
        "Each run trains on some people and is tested once on others. All epochs of a run's test "
        "people are pooled; std is the sample standard deviation over runs."
    )
    tables = tuple(_runs_table(reports, summary, scheme) for scheme in own)
    return Section("runs", "Every run", text, tables)


def failed_section(failed: Sequence[Mapping[str, Any]]) -> Section | None:
    """Which runs are missing, and why; None if none is."""
    if not failed:
        return None
    rows = tuple((one["model"], str(one["run"]), one["reason"]) for one in failed)
    table = Table("", ("model", "run", "reason"), rows, text_columns=3)
    return Section("failed", "Runs that could not be done", "They count nowhere else.", (table,))


def operating_point_section(
    runs: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], scheme: str
) -> Section | None:
    """The most probable class and the operating point beside each other; None without one."""
    if "operating_point" not in summary:
        return None
    reports = [
        (run["run"], _class_weights(run["operating_point"]["factors"]), run["operating_point"])
        for run in runs
    ]
    rows = tuple(
        (words, *_numbers(numbers[scheme], "mean"))
        for words, numbers in (
            ("most probable class", summary),
            ("operating point", summary["operating_point"]),
        )
    )
    beside = Table("mean over runs", ("decided by", *number_labels(scheme)), rows)
    table = _runs_table(reports, summary["operating_point"], scheme, "factor")
    text = (
        "The same probabilities, decided so that more of a stage is found: its probability is "
        "multiplied by a factor that validation people chose."
    )
    return Section("operating point", "At the operating point", text, (beside, table))


def _class_weights(class_weights: Mapping[str, float]) -> str:
    return ", ".join(
        f"{class_label(name)} {number(factor)}" for name, factor in class_weights.items()
    )


def confusion_section(confusion: Sequence[Sequence[int]], scheme: str) -> Section:
    """Confusion in epochs and in shares."""
    classes = tuple(map(class_label, SCHEMES[scheme].classes))
    counts: list[tuple[Cell, ...]] = []
    shares: list[tuple[Cell, ...]] = []
    for name, row in zip(classes, confusion, strict=True):
        counts.append((name, *row, sum(row)))
        shares.append((name, *(one / sum(row) if sum(row) else None for one in row)))
    head = ("expert \\ predicted", *classes)
    tables = (
        Table("epochs", (*head, "all"), tuple(counts)),
        Table("share of the expert's class", head, tuple(shares)),
    )
    text = "Rows: what the expert scored; columns: what the model predicted. All runs pooled."
    drawn = Picture("confusion matrix", partial(plot_confusion, confusion, SCHEMES[scheme].classes))
    return Section("confusion", "What is mixed up with what", text, tables, (drawn,))


def models_section(results: Mapping[str, Any]) -> Section | None:
    """Every model and its difference to the first; None for a single one."""
    models = results["models"]
    if len(models) < 2:
        return None
    scheme = _shared_scheme(results)
    rows = tuple(_model_row(name, model, scheme) for name, model in models.items())
    compared = ("kappa to the first", "95 % CI", "p")
    head = ("model", "decided", "people", "accuracy", "kappa", "macro F1", "REM recall", *compared)
    order = sorted({run["run"] for run in results["runs"]})
    kappas = {(run["model"], run["run"]): run[scheme]["kappa"] for run in results["runs"]}
    each = tuple((f"run {run}", *(kappas.get((name, run)) for name in models)) for run in order)
    text = (
        "Means over people. The last columns are the difference of kappa to the first model, night "
        "by night, with its confidence interval and p of the Wilcoxon signed-rank test, not "
        "corrected for the number of models; - where both were not tested on the same people."
    )
    tables = (
        Table(scheme_words(scheme), head, rows, text_columns=2),
        Table("kappa of each run", ("run", *models), each),
    )
    means = {name: model["people"][scheme] for name, model in models.items()}
    live = {name: model["live"] for name, model in models.items()}
    people = {name: by_kappa(model["per_night"][scheme]) for name, model in models.items()}
    pictures = (
        Picture(
            "mean over people of each model with its confidence interval",
            partial(plot_models, means, live=live),
        ),
        Picture("spread over people of each model", partial(plot_people, people)),
    )
    return Section("models", "Models compared", text, tables, pictures)


def _shared_scheme(results: Mapping[str, Any]) -> str:
    """The finest scheme in which all models are compared."""
    models = [model["people"] for model in results["models"].values()]
    return next(name for name in schemes(models[0]) if all(name in people for people in models))


def _model_row(name: str, model: Mapping[str, Any], scheme: str) -> tuple[Cell, ...]:
    people, against = model["people"][scheme], model["against_first"]
    rem = people.get("sensitivity rem", {"mean": None})
    kappa = against and against["kappa"]
    return (
        name,
        "live" if model["live"] else "whole night",
        people["accuracy"]["n"],
        *(people[key]["mean"] for key in NUMBERS),
        rem["mean"],
        kappa["difference"]["mean"] if kappa else None,
        interval(kappa["difference"]) if kappa else None,
        p_value(kappa["p_value"]) if kappa else None,
    )
