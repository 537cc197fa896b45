"""Pictures of numbers over people: their spread, models and variations beside each other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from sleepstage.plotting.nights import STAGE_COLOURS
from sleepstage.plotting.style import ACCENT, INK, MUTED, drawable, known, panels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Numbers = Mapping[str, float | None]

_NUMBERS: Final = ("kappa", "accuracy")  # a panel for each; people are sorted by the first
_SIGNIFICANT: Final = 0.05
_MOST_NAMES: Final = 60  # more people than that are not named under the picture
_COLUMNS: Final = 4
_GOLDEN: Final = 0.618  # of a row's height: neighbours lie far apart


def plot_people(models: Mapping[str, Mapping[str, Numbers]]) -> Figure:
    """Draw each person's numbers: sorted, for one model, or box and points for each of several.

    Parameters
    ----------
    models : mapping of str to mapping of str to mapping of str to float or None
        Model, person, number; None, where a number is not defined, is left out.
    """
    if len(models) == 1:
        figure, axes = panels(len(_NUMBERS), 1, height=1.6 + 2 * len(_NUMBERS), sharex=True)
        _sorted_people(list(axes[:, 0]), next(iter(models.values())))
    else:
        height = 1.2 + 0.45 * len(models)
        figure, axes = panels(1, len(_NUMBERS), height=height, sharey=True)
        for axis, number in zip(axes[0], _NUMBERS, strict=True):
            _boxes(axis, models, number)
    return figure


def _sorted_people(axes: Sequence[Axes], people: Mapping[str, Numbers]) -> None:
    first = [known(one[_NUMBERS[0]]) for one in people.values()]
    order = [list(people)[place] for place in np.argsort(first, kind="stable")]  # NaN at the end
    places = range(len(order))
    for axis, number in zip(axes, _NUMBERS, strict=True):
        values = np.array([known(people[name][number]) for name in order])
        axis.vlines(places, 0, values, color="0.85", linewidth=1.5)
        axis.plot(places, values, "o", color=INK, markersize=6)
        if not np.isnan(values).all():
            mean = float(np.nanmean(values))
            axis.axhline(mean, color=ACCENT, linewidth=1, linestyle="--", label=f"mean {mean:.3f}")
            axis.legend(frameon=False, fontsize="small", loc="upper left")
        axis.set_ylabel(number)
        axis.set_ylim(min(0.0, np.min(values, initial=0.0, where=~np.isnan(values))) - 0.03, 1.03)
    named = [drawable(name) for name in order] if len(order) <= _MOST_NAMES else []
    axes[-1].set_xticks(places[: len(named)], named, rotation=90)
    axes[-1].set_xlabel("person")


def _boxes(axis: Axes, models: Mapping[str, Mapping[str, Numbers]], number: str) -> None:
    for place, people in enumerate(models.values()):
        values = [value for one in people.values() if (value := one[number]) is not None]
        axis.boxplot(
            values,
            positions=[place],
            orientation="horizontal",
            widths=0.55,
            showfliers=False,
            medianprops={"color": ACCENT},
            boxprops={"color": MUTED},
            whiskerprops={"color": MUTED},
            capprops={"color": MUTED},
        )
        spread = 0.36 * (np.arange(len(values)) * _GOLDEN % 1 - 0.5)  # even, and not by chance
        axis.plot(values, place + spread, "o", color=INK, alpha=0.6, markersize=3.5)
    name_rows(axis, list(models))
    axis.set_xlabel(number)


def name_rows(axis: Axes, names: Sequence[str]) -> None:
    """Names on the left, the first one on top."""
    axis.set_yticks(range(len(names)), [drawable(name) for name in names])
    axis.set_ylim(len(names) - 0.4, -0.6)


def plot_models(models: Mapping[str, Mapping[str, Numbers]], *, live: Mapping[str, bool]) -> Figure:
    """Draw mean over people and 95 % confidence interval of each model.

    Parameters
    ----------
    models : mapping of str to mapping of str to mapping of str to float or None
        Model, number, and of it ``mean``, ``low`` and ``high``.
    live : mapping of str to bool
        Models that are not live are drawn hollow.
    """
    figure, axes = panels(1, len(_NUMBERS), height=1.3 + 0.4 * len(models), sharey=True)
    for axis, number in zip(axes[0], _NUMBERS, strict=True):
        for place, (name, found) in enumerate(models.items()):
            draw_interval(axis, place, found[number], INK, hollow=not live[name])
        name_rows(axis, list(models))
        axis.grid(axis="x", color="0.92")
        axis.set_axisbelow(True)
        axis.set_xlabel(f"{number}: mean over people, 95 % CI")
    if not all(live.values()):
        note = "hollow: needs the whole night"
        axes[0, 0].set_title(note, loc="left", fontsize="small", color="0.35")
    return figure


def draw_interval(
    axis: Axes, place: int, found: Numbers, colour: str, *, hollow: bool = False
) -> None:
    """Mean, and from ``low`` to ``high``, in a row."""
    mean, low, high = (known(found[name]) for name in ("mean", "low", "high"))
    axis.hlines(place, low, high, color=colour, linewidth=2)
    face = "white" if hollow else colour
    axis.plot([mean], [place], "o", color=colour, markerfacecolor=face, markersize=7)


def plot_bland_altman(measures: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw a panel for each sleep statistic: predicted minus the expert's, against the expert's.

    Bias, limits of agreement and, where it is significant (p < 0.05), the line of the difference
    on the expert's value.

    Parameters
    ----------
    measures : mapping of str to mapping
        By label: the fields of `sleepstage.evaluation.people.BlandAltman`. A label that is
        a class, such as ``REM (min)``, gives its colour.
    """
    n_rows = max(1, math.ceil(len(measures) / _COLUMNS))
    figure, axes = panels(n_rows, _COLUMNS, height=0.6 + 2.5 * n_rows)
    for axis, (name, measure) in zip(axes.flat, measures.items(), strict=False):
        colour = STAGE_COLOURS.get(name.removesuffix(" (min)").lower(), INK)
        _differences(axis, measure, colour)
        axis.set_title(drawable(name), loc="left", fontsize="medium")
    for axis in axes.flat[len(measures) :]:
        axis.set_axis_off()
    figure.supxlabel("expert", fontsize="medium")
    figure.supylabel("predicted minus expert", fontsize="medium")
    return figure


def _differences(axis: Axes, measure: Mapping[str, Any], colour: str) -> None:
    reference = np.array(measure["reference"], dtype=np.float64)
    axis.axhline(0, color="0.8", linewidth=1)
    differences = np.array(measure["predicted"]) - reference
    axis.plot(reference, differences, "o", color=colour, markersize=4)
    if measure["bias"]["mean"] is not None:
        axis.axhline(measure["bias"]["mean"], color="0.25", linewidth=1.2)
    for limit in (measure["lower_limit"], measure["upper_limit"]):
        if limit is not None:
            axis.axhline(limit, color="0.25", linewidth=1, linestyle="--")
    p_value = measure["p_value"]
    if p_value is not None and p_value < _SIGNIFICANT:
        ends = np.array([reference.min(), reference.max()])
        axis.plot(ends, measure["intercept"] + measure["slope"] * ends, color=ACCENT, linewidth=1.2)
