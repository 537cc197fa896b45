"""Pictures of a report: runs, people, models, and what the probabilities are worth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sleepstage.evaluation import schema
from sleepstage.evaluation.report.tables import by_kappa
from sleepstage.plotting import ACCENT, INK, MUTED, STAGE_COLOURS, drawable, known, legend, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DRAWN: Final = ("kappa", "accuracy")  # of people and models, a panel for each
_LINES: Final = {"recall": ACCENT, "precision": "#f0b429", "accuracy": INK, "kappa": "#7fb0d3"}
"""What of REM, what of all classes."""
_DARK: Final = 0.55  # share from which the number on a cell is white
_SIGNIFICANT: Final = 0.05
_MOST_NAMES: Final = 60  # more people than that are not named under the picture
_COLUMNS: Final = 4
_GOLDEN: Final = 0.618  # of a row's height: neighbours lie far apart


def plot_confusion(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:
    """Draw a confusion matrix twice: epochs, and shares of the expert's class.

    Rows: the expert's class, columns: the predicted one.
    """
    counts = np.asarray(confusion, dtype=np.int64)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    figure, axes = panels(1, 2, height=4.6, titles=("epochs", "share of the expert's class"))
    for axis, numbers, form in zip(axes, (counts, shares), ("d", ".2f"), strict=True):
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), number in np.ndenumerate(numbers):
            text = "-" if np.isnan(number) else format(number, form)
            colour = "white" if shares[row, column] > _DARK else "0.15"
            axis.text(column, row, text, ha="center", va="center", color=colour)
        axis.set_xticks(range(len(classes)), classes)
        axis.set_yticks(range(len(classes)), classes)
        axis.set(xlabel="predicted", ylabel="expert")
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0, labelsize="medium")
    return figure


def plot_people(models: Mapping[str, Mapping[str, schema.Numbers]]) -> Figure:
    """Draw each person's numbers: sorted, for one model, or box and points for each of several."""
    if len(models) > 1:
        figure, axes = panels(1, len(_DRAWN), height=1.2 + 0.45 * len(models), sharey=True)
        for axis, drawn in zip(axes, _DRAWN, strict=True):
            for place, people in enumerate(models.values()):
                _box(axis, place, [one[drawn] for one in by_kappa(people).values()])
            name_rows(axis, list(models))
            axis.set_xlabel(drawn)
        return figure
    (people,) = map(by_kappa, models.values())
    figure, axes = panels(len(_DRAWN), 1, height=1.6 + 2 * len(_DRAWN), sharex=True)
    places = range(len(people))
    for axis, drawn in zip(axes, _DRAWN, strict=True):
        values = np.array([known(one[drawn]) for one in people.values()])
        axis.vlines(places, 0, values, color="0.85", linewidth=1.5)
        axis.plot(places, values, "o", color=INK, markersize=6)
        if not np.isnan(values).all():
            mean = float(np.nanmean(values))
            axis.axhline(mean, color=ACCENT, linewidth=1, linestyle="--", label=f"mean {mean:.3f}")
        legend(axis, loc="upper left")
        axis.set_ylabel(drawn)
        axis.set_ylim(min(0.0, np.min(values, initial=0.0, where=~np.isnan(values))) - 0.03, 1.03)
    named = [drawable(name) for name in people] if len(people) <= _MOST_NAMES else []
    axes[-1].set_xticks(places[: len(named)], named, rotation=90)
    axes[-1].set_xlabel("person")
    return figure


def _box(axis: Axes, place: int, numbers: Sequence[float | None]) -> None:
    values = [value for value in numbers if value is not None]
    muted = {"color": MUTED}
    axis.boxplot(
        values,
        positions=[place],
        orientation="horizontal",
        widths=0.55,
        showfliers=False,
        medianprops={"color": ACCENT},
        boxprops=muted,
        whiskerprops=muted,
        capprops=muted,
    )
    spread = 0.36 * (np.arange(len(values)) * _GOLDEN % 1 - 0.5)  # even, and not by chance
    axis.plot(values, place + spread, "o", color=INK, alpha=0.6, markersize=3.5)


def name_rows(axis: Axes, names: Sequence[str]) -> None:
    """Names on the left, the first one on top."""
    axis.set_yticks(range(len(names)), [drawable(name) for name in names])
    axis.set_ylim(len(names) - 0.4, -0.6)


def plot_models(
    models: Mapping[str, Mapping[str, schema.Estimate]], *, live: Mapping[str, bool]
) -> Figure:
    """Draw mean over people and 95 % interval of each model; those not live are hollow."""
    note = "" if all(live.values()) else "hollow: needs the whole night"
    figure, axes = panels(
        1, len(_DRAWN), height=1.3 + 0.4 * len(models), sharey=True, titles=(note,)
    )
    for axis, drawn in zip(axes, _DRAWN, strict=True):
        for place, (name, found) in enumerate(models.items()):
            draw_interval(axis, place, found[drawn], INK, hollow=not live[name])
        name_rows(axis, list(models))
        axis.grid(axis="x", color="0.92")
        axis.set_axisbelow(True)
        axis.set_xlabel(f"{drawn}: mean over people, 95 % CI")
    return figure


def draw_interval(
    axis: Axes, place: int, found: schema.Estimate, colour: str, *, hollow: bool = False
) -> None:
    """Mean and confidence interval, in a row."""
    axis.hlines(place, known(found.low), known(found.high), color=colour, linewidth=2)
    face = "white" if hollow else colour
    axis.plot([known(found.mean)], [place], "o", color=colour, markerfacecolor=face, markersize=7)


def plot_bland_altman(measures: Mapping[str, schema.BlandAltman]) -> Figure:
    """Draw a panel for each sleep statistic: predicted minus the expert's, against the expert's.

    Bias, limits of agreement and, where it is significant (p < 0.05), the line of the difference
    on the expert's value. A label that is a class, such as ``REM (min)``, gives its colour.
    """
    n_rows = max(1, math.ceil(len(measures) / _COLUMNS))
    titles = list(map(drawable, measures))
    figure, axes = panels(n_rows, _COLUMNS, height=0.6 + 2.5 * n_rows, titles=titles)
    for axis, (name, measure) in zip(axes, measures.items(), strict=False):
        _differences(axis, measure, STAGE_COLOURS.get(name.removesuffix(" (min)").lower(), INK))
    for axis in axes[len(measures) :]:
        axis.set_axis_off()
    figure.supxlabel("expert", fontsize="medium")
    figure.supylabel("predicted minus expert", fontsize="medium")
    return figure


def _differences(axis: Axes, measure: schema.BlandAltman, colour: str) -> None:
    reference = np.array(measure.reference, dtype=np.float64)
    axis.axhline(0, color="0.8", linewidth=1)
    differences = np.array(measure.predicted) - reference
    axis.plot(reference, differences, "o", color=colour, markersize=4)
    if measure.bias.mean is not None:
        axis.axhline(measure.bias.mean, color="0.25", linewidth=1.2)
    for limit in (measure.lower_limit, measure.upper_limit):
        if limit is not None:
            axis.axhline(limit, color="0.25", linewidth=1, linestyle="--")
    if measure.p_value is not None and measure.p_value < _SIGNIFICANT:
        ends = np.array([reference.min(), reference.max()])
        line = known(measure.intercept) + known(measure.slope) * ends
        axis.plot(ends, line, color=ACCENT, linewidth=1.2)


def plot_curves(
    roc: Mapping[str, schema.Curve | None],
    precision_recall: Mapping[str, schema.Curve | None],
    *,
    shares: Mapping[str, float | None],
) -> Figure:
    """Draw receiver operating characteristics and precision-recall curves, a line for each class.

    The `shares` of the classes in all epochs, the precision of guessing, are drawn as dots.
    """
    titles = ("receiver operating characteristic", "precision and recall (dots: guessing)")
    figure, (left, right) = panels(1, 2, height=4.9, titles=titles)
    left.plot([0, 1], [0, 1], color=MUTED, linestyle=":", linewidth=1)
    left.set(xlabel="false positive rate", ylabel="true positive rate")
    for name, share in shares.items():
        if share is not None:
            right.axhline(share, color=STAGE_COLOURS[name], linestyle=":", linewidth=1)
    right.set(xlabel="recall", ylabel="precision")
    for axis, curves, area, corner in (
        (left, roc, "area", "lower right"),
        (right, precision_recall, "average precision", "lower left"),
    ):
        for name, curve in curves.items():
            if curve is not None:
                label = f"{name}: {area} {curve.area:.3f}"
                colour, width = STAGE_COLOURS[name], 2.4 if name == "rem" else 1.6
                axis.plot(curve.x, curve.y, color=colour, linewidth=width, label=label)
        axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        legend(axis, loc=corner, frameon=True, framealpha=0.85, edgecolor="none")
    return figure


def plot_reliability(reliability: schema.Reliability) -> Figure:
    """Draw how often the most probable class is right, and how many epochs each bin holds."""
    title = f"expected calibration error {reliability.expected_calibration_error:.3f}"
    figure, (upper, lower) = panels(
        2, 1, height=5.2, width=7.0, sharex=True, height_ratios=[3, 1], titles=(title,)
    )
    upper.plot([0, 1], [0, 1], color=MUTED, linestyle=":", linewidth=1, label="perfect")
    points = (list(map(known, side)) for side in (reliability.confidence, reliability.accuracy))
    upper.plot(*points, color=INK, marker="o", markersize=5, label="the model")
    upper.set(ylabel="share that is right", ylim=(-0.02, 1.02))
    legend(upper, loc="upper left")
    lower.stairs(reliability.n_epochs, reliability.edges, fill=True, color="#8ab6d6")
    lower.set(xlabel="probability of the most probable class", ylabel="epochs", xlim=(0, 1))
    return figure


def plot_certainty(points: Sequence[schema.CertaintyPoint]) -> Figure:
    """Draw accuracy and kappa of what is left against the share of epochs set aside."""
    figure, (axis,) = panels(1, 1, height=4.4, width=7.0)
    shares = [point.set_aside for point in points]
    for name in ("accuracy", "kappa"):
        values = [known(getattr(point, name)) for point in points]
        axis.plot(shares, values, color=_LINES[name], label=name)
    axis.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    axis.set(xlabel="least certain epochs set aside", ylim=(-0.02, 1.02))
    legend(axis, loc="lower right")
    return figure


class RemChoice(NamedTuple):
    """Factor on the probability of REM that runs chose, REM recall and accuracy with it."""

    factor: float
    recall: float | None
    accuracy: float | None


def plot_rem_trade_off(
    points: Sequence[schema.RemPoint], *, operating_point: RemChoice | None = None
) -> Figure:
    """Draw what finding more REM costs: numbers against the factor, and accuracy against recall.

    Factor 1 is the most probable class; it and the operating point that was chosen are marked.
    """
    figure, (left, right) = panels(1, 2, height=4.4)
    factors = [point.factor for point in points]
    lines = {name: [known(getattr(point, name)) for point in points] for name in _LINES}
    for name, values in lines.items():
        label = f"REM {name}" if name in {"recall", "precision"} else name
        left.plot(factors, values, color=_LINES[name], label=label)
    left.axvline(1, color=MUTED, linestyle=":", linewidth=1)
    left.set_xscale("log", base=2)
    left.xaxis.set_major_formatter("{x:g}")
    left.set(xlabel="factor on the probability of REM", ylim=(-0.02, 1.02))
    legend(left, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    right.plot(lines["recall"], lines["accuracy"], color=INK)
    right.set(xlabel="REM recall", ylabel="accuracy")
    marked: list[tuple[schema.RemPoint | RemChoice, str, str, str]]
    marked = [(one, MUTED, "o", "most probable class") for one in points if one.factor == 1]
    if operating_point is not None:
        left.axvline(operating_point.factor, color=ACCENT, linestyle="--", linewidth=1)
        marked.append((operating_point, ACCENT, "D", "operating point"))
    for point, colour, marker, label in marked:
        at = [known(point.recall)], [known(point.accuracy)]
        right.plot(*at, marker, color=colour, markersize=8, label=label)
    legend(right, loc="lower left")
    return figure
