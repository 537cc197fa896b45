"""Pictures of one model's results: which classes it mixes up, and its probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from sleepstage.plotting.nights import STAGE_COLOURS
from sleepstage.plotting.style import ACCENT, INK, MUTED, drawable, known, panels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    _Corner = Literal["lower left", "lower right"]

_DARK: Final = 0.55  # share from which the number on a cell is white
_LINES: Final = {"recall": ACCENT, "precision": "#f0b429", "accuracy": INK, "kappa": "#7fb0d3"}
"""What of REM, what of all classes."""


def plot_confusion(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:
    """Draw a confusion matrix twice: epochs, and shares of the expert's class.

    Parameters
    ----------
    confusion : sequence of sequence of int
        Epochs; rows: the expert's class, columns: the predicted one.
    classes : sequence of str
        Names of rows and columns.
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


def plot_curves(
    roc: Mapping[str, Mapping[str, Any] | None],
    precision_recall: Mapping[str, Mapping[str, Any] | None],
    *,
    shares: Mapping[str, float | None],
) -> Figure:
    """Draw receiver operating characteristics and precision-recall curves, a line for each class.

    Parameters
    ----------
    roc, precision_recall : mapping of str to mapping or None
        By class: ``x``, ``y`` and ``area``; None, where a class has no curve, is left out.
    shares : mapping of str to float or None
        Of each class in all epochs: the precision of guessing, drawn as dots.
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
    axis: Axes, curves: Mapping[str, Mapping[str, Any] | None], area: str, *, legend: _Corner
) -> None:
    for name, curve in curves.items():
        if curve is not None:
            label = f"{name}: {area} {curve['area']:.3f}"
            colour, width = STAGE_COLOURS[name], 2.4 if name == "rem" else 1.6
            axis.plot(curve["x"], curve["y"], color=colour, linewidth=width, label=label)
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    if axis.get_legend_handles_labels()[0]:
        axis.legend(framealpha=0.85, edgecolor="none", fontsize="small", loc=legend)


def plot_reliability(reliability: Mapping[str, Any]) -> Figure:
    """Draw how often the most probable class is right, and how many epochs each bin holds.

    Parameters
    ----------
    reliability : mapping
        ``edges``, ``confidence``, ``accuracy``, ``n_epochs`` and ``expected_calibration_error``
        as of `sleepstage.evaluation.curves.Reliability`.
    """
    figure, axes = panels(
        2, 1, height=5.2, width=7.0, sharex=True, gridspec_kw={"height_ratios": [3, 1]}
    )
    upper, lower = axes[:, 0]
    upper.plot([0, 1], [0, 1], color=MUTED, linestyle=":", linewidth=1, label="perfect")
    upper.plot(
        [known(value) for value in reliability["confidence"]],
        [known(value) for value in reliability["accuracy"]],
        color=INK,
        marker="o",
        markersize=5,
        label="the model",
    )
    error = reliability["expected_calibration_error"]
    upper.set_title(f"expected calibration error {error:.3f}", loc="left", fontsize="medium")
    upper.set(ylabel="share that is right", ylim=(-0.02, 1.02))
    upper.legend(frameon=False, loc="upper left", fontsize="small")
    lower.stairs(reliability["n_epochs"], reliability["edges"], fill=True, color="#8ab6d6")
    lower.set(xlabel="probability of the most probable class", ylabel="epochs", xlim=(0, 1))
    return figure


def plot_certainty(points: Sequence[Mapping[str, float | None]]) -> Figure:
    """Draw accuracy and kappa of what is left against the share of epochs set aside.

    Parameters
    ----------
    points : sequence of mapping
        ``set_aside``, ``accuracy`` and ``kappa``.
    """
    figure, axes = panels(1, 1, height=4.4, width=7.0)
    axis = axes[0, 0]
    shares = [known(point["set_aside"]) for point in points]
    for name in ("accuracy", "kappa"):
        axis.plot(shares, [known(p[name]) for p in points], color=_LINES[name], label=name)
    axis.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    axis.set(xlabel="least certain epochs set aside", ylim=(-0.02, 1.02))
    axis.legend(frameon=False, fontsize="small", loc="lower right")
    return figure


def plot_rem_trade_off(
    points: Sequence[Mapping[str, float | None]],
    *,
    operating_point: Mapping[str, float | None] | None = None,
) -> Figure:
    """Draw what finding more REM costs: numbers against the factor, and accuracy against recall.

    Parameters
    ----------
    points : sequence of mapping
        ``factor``, ``recall``, ``precision`` (of REM), ``accuracy`` and ``kappa``; factor 1 is the
        most probable class.
    operating_point : mapping, optional
        ``factor``, ``recall`` and ``accuracy`` of the one that was chosen.
    """
    figure, axes = panels(1, 2, height=4.4)
    left, right = axes[0]
    factors = [known(point["factor"]) for point in points]
    for name, colour in _LINES.items():
        label = f"REM {name}" if name in {"recall", "precision"} else name
        left.plot(factors, [known(p[name]) for p in points], color=colour, label=label)
    left.axvline(1, color=MUTED, linestyle=":", linewidth=1)
    left.set_xscale("log", base=2)
    left.xaxis.set_major_formatter("{x:g}")
    left.set(xlabel="factor on the probability of REM", ylim=(-0.02, 1.02))
    left.legend(frameon=False, fontsize="small", ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    recalls, accuracies = ([known(p[name]) for p in points] for name in ("recall", "accuracy"))
    right.plot(recalls, accuracies, color=INK)
    for point in points:
        if point["factor"] == 1:
            _mark(right, point, MUTED, "o", "most probable class")
    if operating_point is not None:
        left.axvline(known(operating_point["factor"]), color=ACCENT, linestyle="--", linewidth=1)
        _mark(right, operating_point, ACCENT, "D", "operating point")
    right.set(xlabel="REM recall", ylabel="accuracy")
    if right.get_legend_handles_labels()[0]:
        right.legend(frameon=False, fontsize="small", loc="lower left")
    return figure


def _mark(
    axis: Axes, point: Mapping[str, float | None], colour: str, marker: str, label: str
) -> None:
    x, y = known(point["recall"]), known(point["accuracy"])
    axis.plot([x], [y], marker, color=colour, markersize=8, label=drawable(label))
