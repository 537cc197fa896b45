"""Sections on how runs and models agree with the expert, and their pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from sleepstage.core.agreement import NUMBERS, Agreement, Report
from sleepstage.evaluation import schema
from sleepstage.evaluation.report.people import plot_models, plot_people
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
    section,
)
from sleepstage.plotting.style import panels
from sleepstage.stages import SCHEMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DARK: Final = 0.55  # share from which the number on a cell is white


def _numbers(of: Agreement) -> list[Cell]:
    return [of.accuracy, of.kappa, of.macro_f1, *of.recall.values()]


def _means(of: schema.SchemeSummary) -> list[Cell]:
    return [one.mean for one in of.spreads]


def _runs_table(
    reports: Sequence[tuple[int, str, Report]],
    summary: Mapping[str, schema.SchemeSummary],
    scheme: str,
    whose: str = "test people",
) -> Table:
    """A line for each run, a column of words on it, and mean and standard deviation at the end."""
    rows: list[tuple[Cell, ...]] = [
        (f"run {run}", words, *_numbers(report.schemes[scheme])) for run, words, report in reports
    ]
    rows.append(("mean", "", *_means(summary[scheme])))
    rows.append(("std", "", *(one.std for one in summary[scheme].spreads)))
    head = ("run", whose, *number_labels(scheme))
    return Table(scheme_words(scheme), head, tuple(rows), text_columns=2, totals=2)


def runs_section(runs: Sequence[schema.RunResult], summary: schema.Summary) -> Section:
    """Every run in every scheme."""
    reports = [(run.run, " ".join(run.split.test), run.metrics) for run in runs]
    tables = tuple(_runs_table(reports, summary.schemes, scheme) for scheme in summary.schemes)
    return section("runs", tables)


def failed_section(failed: Sequence[schema.FailedRun]) -> Section | None:
    """Which runs are missing, and why; None if none is."""
    if not failed:
        return None
    rows = tuple((one.model, str(one.run), one.reason) for one in failed)
    table = Table("", ("model", "run", "reason"), rows, text_columns=3)
    return section("failed", (table,))


def operating_point_section(
    runs: Sequence[schema.RunResult], summary: schema.Summary, scheme: str
) -> Section | None:
    """The most probable class and the operating point beside each other; None without one."""
    if summary.operating_point is None:
        return None
    reports = [
        (run.run, _class_weights(point.factors), point)
        for run in runs
        if (point := run.metrics.operating_point) is not None
    ]
    rows = (
        ("most probable class", *_means(summary.schemes[scheme])),
        ("operating point", *_means(summary.operating_point[scheme])),
    )
    beside = Table("mean over runs", ("decided by", *number_labels(scheme)), rows)
    table = _runs_table(reports, summary.operating_point, scheme, "factor")
    return section("operating point", (beside, table))


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
    drawn = Picture("confusion matrix", partial(plot_confusion, confusion, SCHEMES[scheme].classes))
    return section("confusion", tables, (drawn,))


def plot_confusion(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:
    """Draw a confusion matrix twice: epochs, and shares of the expert's class.

    Rows: the expert's class, columns: the predicted one.
    """
    counts = np.asarray(confusion, dtype=np.int64)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    share_text = [["-" if np.isnan(one) else f"{one:.2f}" for one in row] for row in shares]
    figure, axes = panels(1, 2, height=4.6)
    _matrix(axes[0, 0], shares, [[f"{one}" for one in row] for row in counts], classes)
    axes[0, 0].set_title("epochs", loc="left", fontsize="medium")
    _matrix(axes[0, 1], shares, share_text, classes)
    axes[0, 1].set_title("share of the expert's class", loc="left", fontsize="medium")
    return figure


def _matrix(
    axis: Axes, shares: NDArray[np.float64], texts: Sequence[Sequence[str]], classes: Sequence[str]
) -> None:
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > _DARK else "0.15"
        axis.text(column, row, texts[row][column], ha="center", va="center", color=colour)
    axis.set_xticks(range(len(classes)), classes)
    axis.set_yticks(range(len(classes)), classes)
    axis.set_xlabel("predicted")
    axis.set_ylabel("expert")
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0, labelsize="medium")


def models_section(results: schema.Results) -> Section | None:
    """Every model and its difference to the first; None for a single one."""
    models = results.models
    if len(models) < 2:
        return None
    scheme = _shared_scheme(results)
    rows = tuple(_model_row(name, model, scheme) for name, model in models.items())
    compared = ("kappa to the first", "95 % CI", "p")
    head = ("model", "decided", "people", "accuracy", "kappa", "macro F1", "REM recall", *compared)
    order = sorted({run.run for run in results.runs})
    kappas = {(one.model, one.run): one.metrics.schemes[scheme].kappa for one in results.runs}
    each = tuple((f"run {run}", *(kappas.get((name, run)) for name in models)) for run in order)
    tables = (
        Table(scheme_words(scheme), head, rows, text_columns=2),
        Table("kappa of each run", ("run", *models), each),
    )
    means = {name: model.people[scheme] for name, model in models.items()}
    live = {name: model.live for name, model in models.items()}
    people = {name: by_kappa(model.per_night[scheme]) for name, model in models.items()}
    pictures = (
        Picture(
            "mean over people of each model with its confidence interval",
            partial(plot_models, means, live=live),
        ),
        Picture("spread over people of each model", partial(plot_people, people)),
    )
    return section("models", tables, pictures)


def _shared_scheme(results: schema.Results) -> str:
    """The finest scheme in which all models are compared."""
    models = [model.people for model in results.models.values()]
    return next(name for name in models[0] if all(name in people for people in models))


def _model_row(name: str, model: schema.ModelResult, scheme: str) -> tuple[Cell, ...]:
    people, rem = model.people[scheme], model.people[scheme].get("sensitivity rem")
    kappa = model.against_first and model.against_first["kappa"]
    return (
        name,
        "live" if model.live else "whole night",
        people["accuracy"].n,
        *(people[key].mean for key in NUMBERS),
        rem.mean if rem else None,
        kappa.difference.mean if kappa else None,
        interval(kappa.difference.low, kappa.difference.high) if kappa else None,
        p_value(kappa.p_value) if kappa else None,
    )
