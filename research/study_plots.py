"""Pictures of studies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sleepstage.evaluation.report.pictures import draw_interval, name_rows
from sleepstage.plotting import ACCENT, INK, MUTED, known, panels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

    from sleepstage.evaluation.schema import Estimate, Spread

__all__ = ["plot_ablation", "plot_learning_curve"]


def plot_ablation(differences: Mapping[str, Estimate | None]) -> Figure:
    """Draw the difference in kappa of each variation to the unchanged model, with its interval.

    Parameters
    ----------
    differences : mapping of str to Estimate or None
        Of each variation; None, as of the unchanged model, is left out.
    """
    found = {name: one for name, one in differences.items() if one is not None}
    figure, (axis,) = panels(1, 1, height=1.3 + 0.34 * max(len(found), 1))
    axis.axvline(0, color=MUTED, linewidth=1)
    for place, one in enumerate(found.values()):
        draw_interval(axis, place, one, _verdict_colour(one))
    name_rows(axis, list(found))
    axis.set_xlabel("difference of kappa to the unchanged model, 95 % CI (left of zero: worse)")
    return figure


def _verdict_colour(difference: Estimate) -> str:
    """Worse, better, or neither for sure."""
    if known(difference.high) < 0:
        return ACCENT
    return INK if known(difference.low) > 0 else MUTED


def plot_learning_curve(points: Sequence[tuple[int, Spread]]) -> Figure:
    """Draw kappa against how many people the model learnt from.

    Parameters
    ----------
    points : sequence of tuple of int and Spread
        How many people trained, and kappa over runs.
    """
    figure, (axis,) = panels(1, 1, height=4.0, width=7.0)
    ordered = sorted(points, key=lambda point: point[0])
    people = [n_people for n_people, _ in ordered]
    mean = np.array([known(kappa.mean) for _, kappa in ordered])
    reach = np.array([kappa.std or 0.0 for _, kappa in ordered])
    axis.fill_between(people, mean - reach, mean + reach, color="#8ab6d6", alpha=0.4, linewidth=0)
    axis.vlines(people, mean - reach, mean + reach, color="#8ab6d6", linewidth=1.5)
    axis.plot(people, mean, "o-", color=INK)
    axis.set_xticks(people)
    axis.set(xlabel="training people", ylabel="kappa, ± 1 std over runs")
    return figure
