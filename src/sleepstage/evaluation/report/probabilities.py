"""Sections on what the probabilities are worth, and their pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import numpy as np

from sleepstage.core.agreement import pooled
from sleepstage.evaluation import schema
from sleepstage.evaluation.report.tables import Picture, Section, Table, class_label, section
from sleepstage.plotting import STAGE_COLOURS
from sleepstage.plotting.style import ACCENT, INK, MUTED, drawable, known, panels
from sleepstage.stages import SCHEMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    _Corner = Literal["lower left", "lower right"]

_SHOWN: Final = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
_LINES: Final = {"recall": ACCENT, "precision": "#f0b429", "accuracy": INK, "kappa": "#7fb0d3"}
"""What of REM, what of all classes."""


class RemChoice(NamedTuple):
    """Factor on the probability of REM that runs chose, REM recall and accuracy with it."""

    factor: float
    recall: float | None
    accuracy: float | None


def curves_section(curves: schema.Curves, confusion: Sequence[Sequence[int]]) -> Section:
    """Areas under the curves of each class, and its share of the epochs."""
    both = roc, precision_recall = curves.roc, curves.precision_recall
    total = sum(map(sum, confusion))
    shares = {
        name: sum(row) / total if total else None for name, row in zip(roc, confusion, strict=True)
    }
    rows = tuple(
        (class_label(name), share, *(_area(one[name]) for one in both))
        for name, share in shares.items()
    )
    head = ("class", "share of epochs", "ROC area", "average precision")
    drawn = Picture(
        "ROC and precision-recall curves",
        partial(plot_curves, roc, precision_recall, shares=shares),
    )
    return section("curves", (Table("", head, rows),), (drawn,))


def _area(curve: schema.Curve | None) -> float | None:
    return None if curve is None else curve.area


def plot_curves(
    roc: Mapping[str, schema.Curve | None],
    precision_recall: Mapping[str, schema.Curve | None],
    *,
    shares: Mapping[str, float | None],
) -> Figure:
    """Draw receiver operating characteristics and precision-recall curves, a line for each class.

    The `shares` of the classes in all epochs, the precision of guessing, are drawn as dots.
    """
    figure, axes = panels(1, 2, height=4.9)
    left, right = axes[0]
    left.plot([0, 1], [0, 1], color=MUTED, linestyle=":", linewidth=1)
    _draw_curves(left, roc, "area", legend="lower right")
    left.set(xlabel="false positive rate", ylabel="true positive rate")
    left.set_title("receiver operating characteristic", loc="left", fontsize="medium")
    for name, share in shares.items():
        if share is not None:
            right.axhline(share, color=STAGE_COLOURS[name], linestyle=":", linewidth=1)
    _draw_curves(right, precision_recall, "average precision", legend="lower left")
    right.set(xlabel="recall", ylabel="precision")
    right.set_title("precision and recall (dots: guessing)", loc="left", fontsize="medium")
    return figure


def _draw_curves(
    axis: Axes, curves: Mapping[str, schema.Curve | None], area: str, *, legend: _Corner
) -> None:
    for name, curve in curves.items():
        if curve is not None:
            label = f"{name}: {area} {curve.area:.3f}"
            colour, width = STAGE_COLOURS[name], 2.4 if name == "rem" else 1.6
            axis.plot(curve.x, curve.y, color=colour, linewidth=width, label=label)
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    if axis.get_legend_handles_labels()[0]:
        axis.legend(framealpha=0.85, edgecolor="none", fontsize="small", loc=legend)


def calibration_section(reliability: schema.Reliability) -> Section:
    """Expected calibration error, and each bin that has epochs."""
    edges = reliability.edges
    columns = reliability.n_epochs, reliability.confidence, reliability.accuracy
    rows = tuple(
        (f"{low:.3f} to {high:.3f}", n_epochs, confidence, accuracy)
        for low, high, n_epochs, confidence, accuracy in zip(
            edges, edges[1:], *columns, strict=False
        )
        if n_epochs
    )
    error = reliability.expected_calibration_error
    head = ("probability", "epochs", "mean probability", "share that is right")
    drawn = Picture("reliability diagram", partial(plot_reliability, reliability))
    return section("calibration", (Table("", head, rows),), (drawn,), error=f"{error:.3f}")


def plot_reliability(reliability: schema.Reliability) -> Figure:
    """Draw how often the most probable class is right, and how many epochs each bin holds."""
    figure, axes = panels(
        2, 1, height=5.2, width=7.0, sharex=True, gridspec_kw={"height_ratios": [3, 1]}
    )
    upper, lower = axes[:, 0]
    upper.plot([0, 1], [0, 1], color=MUTED, linestyle=":", linewidth=1, label="perfect")
    upper.plot(
        [known(value) for value in reliability.confidence],
        [known(value) for value in reliability.accuracy],
        color=INK,
        marker="o",
        markersize=5,
        label="the model",
    )
    error = reliability.expected_calibration_error
    upper.set_title(f"expected calibration error {error:.3f}", loc="left", fontsize="medium")
    upper.set(ylabel="share that is right", ylim=(-0.02, 1.02))
    upper.legend(frameon=False, loc="upper left", fontsize="small")
    lower.stairs(reliability.n_epochs, reliability.edges, fill=True, color="#8ab6d6")
    lower.set(xlabel="probability of the most probable class", ylabel="epochs", xlim=(0, 1))
    return figure


def certainty_section(points: Sequence[schema.CertaintyPoint]) -> Section:
    """Agreement once the least certain epochs are set aside."""
    rows = tuple(
        (f"{100 * one.set_aside:.0f} %", one.n_epochs, one.certainty, one.accuracy, one.kappa)
        for one in points
        if one.set_aside in _SHOWN
    )
    head = ("set aside", "epochs left", "least certainty left", "accuracy", "kappa")
    table = Table("", head, rows)
    drawn = Picture(
        "accuracy and kappa of the more certain epochs", partial(plot_certainty, points)
    )
    return section("certainty", (table,), (drawn,))


def plot_certainty(points: Sequence[schema.CertaintyPoint]) -> Figure:
    """Draw accuracy and kappa of what is left against the share of epochs set aside."""
    figure, axes = panels(1, 1, height=4.4, width=7.0)
    axis = axes[0, 0]
    shares = [point.set_aside for point in points]
    for name in ("accuracy", "kappa"):
        values = [known(getattr(point, name)) for point in points]
        axis.plot(shares, values, color=_LINES[name], label=name)
    axis.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    axis.set(xlabel="least certain epochs set aside", ylim=(-0.02, 1.02))
    axis.legend(frameon=False, fontsize="small", loc="lower right")
    return figure


def rem_section(
    points: Sequence[schema.RemPoint], runs: Sequence[schema.RunResult], scheme: str
) -> Section:
    """Numbers at each factor on the probability of REM; the picture shows the chosen one."""
    rows = tuple(astuple(point) for point in points)
    head = ("factor", "REM recall", "REM precision", "accuracy", "kappa", "macro F1")
    table = Table("", head, rows, text_columns=0)
    chosen = operating_point(runs, scheme)
    drawn = Picture(
        "REM recall against accuracy", partial(plot_rem_trade_off, points, operating_point=chosen)
    )
    return section("rem", (table,), (drawn,))


def operating_point(runs: Sequence[schema.RunResult], scheme: str) -> RemChoice | None:
    """REM factor (geometric mean over runs), and REM recall and accuracy of all runs pooled.

    None where a run has no factor for REM.
    """
    points = [run.metrics.operating_point for run in runs]
    decided = [one for one in points if one is not None and "rem" in one.factors]
    if len(decided) < len(runs) or "rem" not in SCHEMES[scheme].classes:
        return None
    agreements = [one.schemes[scheme] for one in decided]
    found = pooled([one.confusion for one in agreements], SCHEMES[scheme])
    n_epochs = sum(one.n_epochs for one in agreements)
    return RemChoice(
        factor=float(np.exp(np.mean(np.log([one.factors["rem"] for one in decided])))),
        recall=found.recall["rem"],
        accuracy=float(np.trace(found.confusion) / n_epochs) if n_epochs else None,
    )


def plot_rem_trade_off(
    points: Sequence[schema.RemPoint], *, operating_point: RemChoice | None = None
) -> Figure:
    """Draw what finding more REM costs: numbers against the factor, and accuracy against recall.

    Factor 1 is the most probable class; it and the operating point that was chosen are marked.
    """
    figure, axes = panels(1, 2, height=4.4)
    left, right = axes[0]
    factors = [point.factor for point in points]
    lines = {name: [known(getattr(point, name)) for point in points] for name in _LINES}
    for name, values in lines.items():
        label = f"REM {name}" if name in {"recall", "precision"} else name
        left.plot(factors, values, color=_LINES[name], label=label)
    left.axvline(1, color=MUTED, linestyle=":", linewidth=1)
    left.set_xscale("log", base=2)
    left.xaxis.set_major_formatter("{x:g}")
    left.set(xlabel="factor on the probability of REM", ylim=(-0.02, 1.02))
    left.legend(frameon=False, fontsize="small", ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    right.plot(lines["recall"], lines["accuracy"], color=INK)
    for point in points:
        if point.factor == 1:
            _mark(right, point, MUTED, "o", "most probable class")
    if operating_point is not None:
        left.axvline(operating_point.factor, color=ACCENT, linestyle="--", linewidth=1)
        _mark(right, operating_point, ACCENT, "D", "operating point")
    right.set(xlabel="REM recall", ylabel="accuracy")
    if right.get_legend_handles_labels()[0]:
        right.legend(frameon=False, fontsize="small", loc="lower left")
    return figure


def _mark(
    axis: Axes, point: schema.RemPoint | RemChoice, colour: str, marker: str, label: str
) -> None:
    x, y = known(point.recall), known(point.accuracy)
    axis.plot([x], [y], marker, color=colour, markersize=8, label=drawable(label))
