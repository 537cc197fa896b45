"""Pictures of studies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sleepstage.plotting.people import draw_interval, name_rows
from sleepstage.plotting.style import ACCENT, INK, MUTED, known, panels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

    Numbers = Mapping[str, float | None]

__all__ = ["plot_ablation", "plot_learning_curve"]


def plot_ablation(differences: Mapping[str, Numbers | None]) -> Figure:
    """Draw the difference in kappa of each variation to the unchanged model, with its interval.

    Parameters
    ----------
    differences : mapping of str to mapping or None
        Of each variation ``mean``, ``low`` and ``high``; None, as of the unchanged model, is left
        out.
    """
    found = {name: one for name, one in differences.items() if one is not None}
    figure, axes = panels(1, 1, height=1.3 + 0.34 * max(len(found), 1))
    axis = axes[0, 0]
    axis.axvline(0, color=MUTED, linewidth=1)
    for place, one in enumerate(found.values()):
        draw_interval(axis, place, one, _verdict_colour(one))
    name_rows(axis, list(found))
    axis.set_xlabel("difference of kappa to the unchanged model, 95 % CI (left of zero: worse)")
    return figure


def _verdict_colour(difference: Numbers) -> str:
    """Worse, better, or neither for sure."""
    if known(difference["high"]) < 0:
        return ACCENT
    return INK if known(difference["low"]) > 0 else MUTED


def plot_learning_curve(points: Sequence[Numbers]) -> Figure:
    """Draw kappa against how many people the model learnt from.

    Parameters
    ----------
    points : sequence of mapping
        ``n_people``; of kappa over runs ``mean``, and ``low`` and ``high``, one std from it.
    """
    figure, axes = panels(1, 1, height=4.0, width=7.0)
    axis = axes[0, 0]
    ordered = sorted(points, key=lambda point: known(point["n_people"]))
    people, mean, low, high = (
        np.array([known(point[name]) for point in ordered])
        for name in ("n_people", "mean", "low", "high")
    )
    axis.fill_between(people, low, high, color="#8ab6d6", alpha=0.4, linewidth=0)
    axis.vlines(people, low, high, color="#8ab6d6", linewidth=1.5)
    axis.plot(people, mean, "o-", color=INK)
    axis.set_xticks(people)
    axis.set(xlabel="training people", ylabel="kappa, ± 1 std over runs")
    return figure
