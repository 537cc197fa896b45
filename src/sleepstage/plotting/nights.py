"""Pictures of nights."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from sleepstage._utils.files import write_atomically
from sleepstage.errors import DataError, needs_extra
from sleepstage.plotting.style import mark_simulated
from sleepstage.stages import EPOCH_SECONDS, UNIX_TIME, UNSCORED, Scheme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STAGE_COLOURS: Final = {
    "wake": "#f0b429",
    "rem": "#d64550",
    "light": "#8ab6d6",
    "nrem": "#4d86b0",
    "sleep": "#4d86b0",
    "n1": "#b7d3e6",
    "n2": "#7fb0d3",
    "deep": "#1f4e79",
    "n3": "#1f4e79",
}
"""One colour a class, distinct in grey too."""


def plot_night(
    times: NDArray[np.float64],
    hypnograms: Sequence[tuple[str, NDArray[np.int8]]],
    scheme: Scheme,
    *,
    probabilities: NDArray[np.float32] | None = None,
    title: str = "",
    simulated: bool = False,
    utc_offset: int = 0,
) -> Figure:
    """Draw hypnograms of one night above each other, and the hypnodensity below.

    Parameters
    ----------
    times : ndarray, shape (n_epochs,)
        Start of each epoch in seconds; Unix time is shown as clock time, other as hours.
    hypnograms : sequence of (label, codes)
        Class codes of `scheme`, shape (n_epochs,), -1 where unscored.
    probabilities : ndarray, shape (n_epochs, n_classes), optional
        Drawn as a hypnodensity: the height of a colour is the probability of its class.
    utc_offset : int
        Seconds by which the clock to show is ahead of UTC.
    """
    edges, label = time_axis(times, utc_offset)
    with needs_extra("drawing", "plot"):
        from matplotlib.figure import Figure
    n_rows = len(hypnograms) + (probabilities is not None)
    height = 1.2 + 1.7 * n_rows
    figure = Figure(figsize=(11, height))
    axes = figure.subplots(n_rows, 1, sharex=True, squeeze=False)[:, 0]
    # What is drawn is known: looking for room costs a third of the time.
    bottom, top = 0.55 / height, 1 - 0.7 / height
    figure.subplots_adjust(left=0.06, right=0.91, bottom=bottom, top=top, hspace=0.32)
    for axis, (name, codes) in zip(axes, hypnograms, strict=False):
        draw_hypnogram(axis, edges, codes, scheme)
        axis.set_title(name, loc="left", fontsize="medium")
    if probabilities is not None:
        _draw_hypnodensity(axes[-1], edges, probabilities, scheme)
    axes[-1].set_xlabel(label)
    axes[-1].set_xlim(edges[0], edges[-1])
    figure.suptitle(title)
    if simulated:
        mark_simulated(figure)
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a picture (PNG, SVG or PDF by the ending); never leaves half a file."""
    with write_atomically(path, suffixes=(".png", ".svg", ".pdf")) as temporary:
        figure.savefig(temporary, dpi=110)


def time_axis(times: NDArray[np.float64], utc_offset: int = 0) -> tuple[NDArray[np.float64], str]:
    """Edges of the epochs in hours, or for clocks in days; and what the axis is called."""
    if not len(times):
        raise DataError("a hypnogram without epochs can't be drawn")
    edges = np.append(times, times[-1] + EPOCH_SECONDS)
    if times[0] > UNIX_TIME:
        zone = timezone(timedelta(seconds=utc_offset))
        return (edges + utc_offset) / 86400, f"clock time ({zone})"
    return edges / 3600, "hours"


def _lanes(scheme: Scheme) -> list[int]:
    """Height of each class code."""
    return [len(scheme) - 1 - scheme.from_top.index(name) for name in scheme.classes]


def draw_hypnogram(
    axis: Axes, edges: NDArray[np.float64], codes: NDArray[np.int8], scheme: Scheme
) -> None:
    """Draw the stages as a staircase, wake on top."""
    from matplotlib.collections import LineCollection

    lanes = np.array([*_lanes(scheme), np.nan])
    heights = lanes[codes]
    axis.plot(edges, [*heights, heights[-1]], drawstyle="steps-post", color="0.45", linewidth=0.9)
    for code, name in enumerate(scheme.classes):
        stretches = [
            [(edges[start], lanes[code]), (edges[end], lanes[code])]
            for start, end in runs(codes == code)
        ]
        width = 5.0 if name == "rem" else 3.0
        axis.add_collection(LineCollection(stretches, colors=STAGE_COLOURS[name], linewidths=width))
    for start, end in runs(codes == UNSCORED):
        axis.axvspan(edges[start], edges[end], color="0.92", lw=0)
    axis.set_yticks(lanes[:-1], scheme.classes)
    axis.set_ylim(-0.6, len(scheme) - 0.4)
    axis.spines[["top", "right"]].set_visible(False)
    if edges[0] > UNIX_TIME / 86400:
        from matplotlib.dates import AutoDateLocator, DateFormatter

        axis.xaxis.set_major_locator(AutoDateLocator())
        axis.xaxis.set_major_formatter(DateFormatter("%H:%M"))


def _draw_hypnodensity(
    axis: Axes, edges: NDArray[np.float64], probabilities: NDArray[np.float32], scheme: Scheme
) -> None:
    lanes = _lanes(scheme)
    bottom_up = sorted(range(len(scheme)), key=lanes.__getitem__)
    tops = np.cumsum(probabilities[:, bottom_up], axis=1)
    # Both ends of each epoch, so that one beside an unscored one is filled to its end.
    ends = np.repeat(edges, 2)[1:-1]
    below = np.zeros(len(ends))
    for code, top in zip(bottom_up, np.repeat(tops, 2, axis=0).T, strict=True):
        name = scheme.classes[code]
        axis.fill_between(ends, below, top, color=STAGE_COLOURS[name], linewidth=0, label=name)
        below = top
    axis.set_ylim(0, 1)
    axis.set_ylabel("probability")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, reverse=True)
    axis.spines[["top", "right"]].set_visible(False)


def runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Starts and ends of the stretches where `mask` holds."""
    changes = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return list(zip(changes[::2].tolist(), changes[1::2].tolist(), strict=True))
