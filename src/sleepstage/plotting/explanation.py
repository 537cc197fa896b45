"""Pictures of what moved the decisions of a night."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from sleepstage.plotting.nights import STAGE_COLOURS, draw_hypnogram, runs, time_axis
from sleepstage.plotting.style import MUTED, drawable, mark_simulated, panels
from sleepstage.stages import Scheme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Effects = NDArray[np.float32]

_FOR, _AGAINST = "#1b7837", "#762a83"  # no stage's colours, and distinct to the colour-blind
_STAGES, _SIGNAL, _PAST = 1.7, 1.4, 2.8  # inches of height
_NOTHING: Final = "0.92"  # grey, as for what is unscored
_TINT: Final = 0.15
_MARGIN: Final = 1.05
_LEAST: Final = 0.05  # of probability: what is less than that everywhere shall not look large
_MOST: Final = 98  # percent of the effects that the colours distinguish; few are larger by far


def plot_explanation(
    times: NDArray[np.float64],
    codes: NDArray[np.int8],
    scheme: Scheme,
    *,
    by_signal: Mapping[str, Effects],
    by_past: Mapping[int, Effects],
    title: str = "",
    simulated: bool = False,
) -> Figure:
    """Draw a hypnogram, what each signal did to each decision, and what each past minute did.

    Parameters
    ----------
    times : ndarray, shape (n_epochs,)
        Start of each epoch in seconds; Unix time is shown as clock time (UTC), other as hours.
    codes : ndarray, shape (n_epochs,)
        Class codes of `scheme`, -1 where unscored.
    by_signal : mapping of str to ndarray of shape (n_epochs,)
        Effect of each signal on the probability of the decided stage, NaN where unknown.
    by_past : mapping of int to ndarray of shape (n_epochs,)
        Effect of the minutes that lie so many minutes back, evenly spaced. Empty: no heat map.
    """
    edges, label = time_axis(times)
    heights = [_STAGES, *[_SIGNAL] * len(by_signal), *[_PAST] * bool(by_past)]
    height = 1 + sum(heights)
    figure, axes = panels(len(heights), 1, height=height, sharex=True, height_ratios=heights)
    first, *others = axes[:, 0]
    draw_hypnogram(first, edges, codes, scheme)
    first.set_title("stage that was decided", loc="left", fontsize="medium")
    for axis in others[: len(by_signal)]:
        _tint_stages(axis, edges, codes, scheme)
    _draw_signals(others[: len(by_signal)], edges, by_signal)
    if by_past:
        _draw_past(others[-1], edges, by_past)
    axes[-1, 0].set_xlabel(label)
    axes[-1, 0].set_xlim(edges[0], edges[-1])
    if title:
        figure.suptitle(drawable(title))
    if simulated:
        mark_simulated(figure)
    return figure


def _draw_signals(
    axes: list[Axes], edges: NDArray[np.float64], by_signal: Mapping[str, Effects]
) -> None:
    """All to one scale, so that they can be compared."""
    every = np.nan_to_num(list(by_signal.values()))
    low = _MARGIN * np.min(every, initial=-_LEAST)
    high = _MARGIN * np.max(every, initial=_LEAST)
    for axis, (name, effects) in zip(axes, by_signal.items(), strict=True):
        shown = np.nan_to_num(effects)
        for side, colour, meaning in (
            (shown.clip(min=0), _FOR, "for the stage"),
            (shown.clip(max=0), _AGAINST, "against it"),
        ):
            axis.stairs(side, edges, fill=True, color=colour, label=meaning)
        axis.axhline(0, color=MUTED, linewidth=0.8)
        across = axis.get_xaxis_transform()
        unknown = np.isnan(effects).astype(np.float64)
        axis.stairs(unknown, edges, fill=True, color=_NOTHING, zorder=0, transform=across)
        axis.set_ylim(low, high)
        axis.set_ylabel("effect on\nprobability", fontsize="small")
        axis.set_title(name.replace("_", " "), loc="left", fontsize="medium")
        if np.isnan(effects).all():
            note = "without it nothing is left to stage from"
            axis.text(0.5, 0.6, note, transform=axis.transAxes, ha="center", color="0.3")
    if axes:
        axes[0].legend(
            loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize="small"
        )


def _draw_past(axis: Axes, edges: NDArray[np.float64], by_past: Mapping[int, Effects]) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    lags = np.array(list(by_past), dtype=np.float64)
    width = lags[1] - lags[0] if len(lags) > 1 else 1.0
    effects = np.stack(list(by_past.values()))
    known = np.abs(effects[~np.isnan(effects)])
    largest = max(float(np.percentile(known, _MOST)), _LEAST) if len(known) else _LEAST
    colours = LinearSegmentedColormap.from_list("against_for", [_AGAINST, "white", _FOR])
    mesh = axis.pcolormesh(
        edges,
        np.append(lags, lags[-1] + width),
        np.ma.masked_invalid(effects),
        cmap=colours,
        vmin=-largest,
        vmax=largest,
        rasterized=True,
    )
    axis.set_facecolor(_NOTHING)
    axis.set_yticks(np.append(lags, lags[-1] + width)[::2])
    axis.invert_yaxis()
    axis.set_ylabel("minutes ago", fontsize="small")
    title = f"heart rate and motion of {width:g} minutes, by how long ago they were"
    axis.set_title(title, loc="left", fontsize="medium")
    bar = axis.figure.colorbar(mesh, ax=axis, extend="both", pad=0.01, aspect=14)
    bar.set_label("effect on probability", fontsize="small")
    bar.ax.tick_params(labelsize="small")


def _tint_stages(
    axis: Axes, edges: NDArray[np.float64], codes: NDArray[np.int8], scheme: Scheme
) -> None:
    """Let the stage shine through, for an effect is one on the stage of its epoch."""
    for code, name in enumerate(scheme.classes):
        for start, end in runs(codes == code):
            colour = STAGE_COLOURS[name]
            axis.axvspan(edges[start], edges[end], color=colour, alpha=_TINT, lw=0, zorder=-1)
