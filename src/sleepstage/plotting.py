"""Pictures of nights and of what moved the decisions in them; and what all pictures share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from sleepstage._utils.files import write_atomically
from sleepstage.errors import DataError, needs_extra
from sleepstage.stages import EPOCH_SECONDS, UNIX_TIME, UNSCORED, Scheme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
Codes = NDArray[np.int8]
Effects = NDArray[np.float32]

INK: Final = "#1f4e79"
ACCENT: Final = "#d64550"
MUTED: Final = "0.55"
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
_LONGEST_NAME: Final = 40


def panels(
    n_rows: int,
    n_columns: int,
    *,
    height: float,
    width: float = 11.0,
    titles: Sequence[str] = (),
    layout: Literal["constrained"] | None = "constrained",
    **options: Any,
) -> tuple[Figure, list[Axes]]:
    """Make an empty picture, and its panels row by row, the first of which have `titles`."""
    with needs_extra("drawing", "plot"):
        from matplotlib.figure import Figure
    figure = Figure(figsize=(width, height), layout=layout)
    axes = list(figure.subplots(n_rows, n_columns, squeeze=False, **options).flat)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize="small")
    for axis, title in zip(axes, titles, strict=False):
        axis.set_title(title, loc="left", fontsize="medium")
    return figure, axes


def legend(axis: Axes, *, frameon: bool = False, **where: Any) -> None:
    """Name what is drawn in a panel, if anything has a name."""
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=frameon, fontsize="small", **where)


def mark_simulated(figure: Figure) -> None:
    """Write SIMULATED across a picture of simulated nights."""
    figure.text(0.5, 0.5, "SIMULATED", size=70, alpha=0.25, rotation=15, ha="center", va="center")


def drawable(name: str) -> str:
    """Return a name cut to one short line, of signs that the font has, and no formula."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties()))
    line = " ".join(name.split())
    if len(line) > _LONGEST_NAME:
        line = line[: _LONGEST_NAME - 1] + "…"
    signs = (sign if font.get_char_index(ord(sign)) else "?" for sign in line)
    return "".join(signs).replace("$", r"\$")


def known(value: float | None) -> float:
    """Return NaN, which is not drawn, for a number that is not defined."""
    return math.nan if value is None else value


def plot_night(
    times: Floats,
    hypnograms: Sequence[tuple[str, Codes]],
    scheme: Scheme,
    *,
    probabilities: NDArray[np.float32] | None = None,
    title: str = "",
    simulated: bool = False,
    utc_offset: int = 0,
) -> Figure:
    """Draw labelled hypnograms of one night above each other, and the hypnodensity below.

    `times` are the starts of the epochs in seconds: Unix time is shown as clock time, `utc_offset`
    seconds ahead of UTC, other as hours. Codes are of `scheme`, -1 where unscored. In the
    hypnodensity the height of a colour is the probability of its class; shape (n_epochs,
    n_classes).
    """
    edges, label = time_axis(times, utc_offset)
    n_rows = len(hypnograms) + (probabilities is not None)
    height = 1.2 + 1.7 * n_rows
    names = [name for name, _ in hypnograms]
    # What is drawn is known: looking for room costs a third of the time.
    figure, axes = panels(n_rows, 1, height=height, titles=names, layout=None, sharex=True)
    bottom, top = 0.55 / height, 1 - 0.7 / height
    figure.subplots_adjust(left=0.06, right=0.91, bottom=bottom, top=top, hspace=0.32)
    for axis, (_, codes) in zip(axes, hypnograms, strict=False):
        draw_hypnogram(axis, edges, codes, scheme)
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


def time_axis(times: Floats, utc_offset: int = 0) -> tuple[Floats, str]:
    """Edges of the epochs in hours, or for clocks in days; and what the axis is called."""
    if not len(times):
        raise DataError("a hypnogram without epochs can't be drawn")
    edges = np.append(times, times[-1] + EPOCH_SECONDS)
    if times[0] > UNIX_TIME:
        zone = timezone(timedelta(seconds=utc_offset))
        return (edges + utc_offset) / 86400, f"clock time ({zone})"
    return edges / 3600, "hours"


def draw_hypnogram(axis: Axes, edges: Floats, codes: Codes, scheme: Scheme) -> None:
    """Draw the stages as a staircase, wake on top."""
    lanes = np.array([*map(scheme.from_top[::-1].index, scheme.classes), np.nan])
    heights = lanes[codes]
    axis.plot(edges, [*heights, heights[-1]], drawstyle="steps-post", color="0.45", linewidth=0.9)
    for code, name in enumerate(scheme.classes):
        bars = np.where(codes == code, lanes[code], np.nan)
        colour, width = STAGE_COLOURS[name], 5.0 if name == "rem" else 3.0
        axis.stairs(bars, edges, baseline=None, color=colour, linewidth=width, zorder=2)
    _shade(axis, edges, codes == UNSCORED, color=_NOTHING)
    axis.set_yticks(lanes[:-1], scheme.classes)
    axis.set_ylim(-0.6, len(scheme) - 0.4)
    if edges[0] > UNIX_TIME / 86400:
        from matplotlib.dates import AutoDateLocator, DateFormatter

        axis.xaxis.set_major_locator(AutoDateLocator())
        axis.xaxis.set_major_formatter(DateFormatter("%H:%M"))


def _draw_hypnodensity(
    axis: Axes, edges: Floats, probabilities: NDArray[np.float32], scheme: Scheme
) -> None:
    names = scheme.from_top[::-1]
    bottom_up = probabilities[:, [scheme.classes.index(name) for name in names]]
    # Both ends of each epoch, so that one beside an unscored one is filled to its end.
    ends, shares = np.repeat(edges, 2)[1:-1], np.repeat(bottom_up, 2, axis=0).T
    colours = [STAGE_COLOURS[name] for name in names]
    axis.stackplot(ends, shares, labels=names, colors=colours, linewidth=0)
    axis.set_ylim(0, 1)
    axis.set_ylabel("probability")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, reverse=True)


_FOR, _AGAINST = "#1b7837", "#762a83"  # no stage's colours, and distinct to the colour-blind
_STAGES, _SIGNAL, _PAST = 1.7, 1.4, 2.8  # inches of height
_NOTHING: Final = "0.92"  # grey, as for what is unscored
_TINT: Final = 0.15
_MARGIN: Final = 1.05
_LEAST: Final = 0.05  # of probability: what is less than that everywhere shall not look large
_MOST: Final = 98  # percent of the effects that the colours distinguish; few are larger by far


def plot_explanation(
    times: Floats,
    codes: Codes,
    scheme: Scheme,
    *,
    by_signal: Mapping[str, Effects],
    by_past: Mapping[int, Effects],
    title: str = "",
    simulated: bool = False,
) -> Figure:
    """Draw a hypnogram, what each signal did to each decision, and what each past minute did.

    For `times`, where clocks are of UTC, and `codes` see `plot_night`. Effects, shape (n_epochs,),
    are on the probability of the decided stage, NaN where unknown: of each signal, and of the
    minutes that lie so many minutes back, evenly spaced; where these are empty, there is no heat
    map.
    """
    edges, label = time_axis(times)
    heights = [_STAGES, *[_SIGNAL] * len(by_signal), *[_PAST] * bool(by_past)]
    height = 1 + sum(heights)
    titles = ["stage that was decided", *(name.replace("_", " ") for name in by_signal)]
    figure, axes = panels(
        len(heights), 1, height=height, titles=titles, sharex=True, height_ratios=heights
    )
    first, *others = axes
    draw_hypnogram(first, edges, codes, scheme)
    for axis in (signals := others[: len(by_signal)]):
        # The stage shines through, for an effect is one on the stage of its epoch.
        for code, name in enumerate(scheme.classes):
            _shade(axis, edges, codes == code, color=STAGE_COLOURS[name], alpha=_TINT, zorder=-1)
    _draw_signals(signals, edges, list(by_signal.values()))
    if by_past:
        _draw_past(others[-1], edges, by_past)
    axes[-1].set(xlabel=label, xlim=(edges[0], edges[-1]))
    if title:
        figure.suptitle(drawable(title))
    if simulated:
        mark_simulated(figure)
    return figure


def _shade(axis: Axes, edges: Floats, mask: NDArray[np.bool_], **style: Any) -> None:
    """Fill a panel from bottom to top where `mask` holds."""
    across = axis.get_xaxis_transform()
    axis.stairs(mask.astype(np.float64), edges, fill=True, transform=across, **style)


def _draw_signals(axes: list[Axes], edges: Floats, by_signal: list[Effects]) -> None:
    """All to one scale, so that they can be compared."""
    every = np.nan_to_num(by_signal)
    low = _MARGIN * float(np.min(every, initial=-_LEAST))
    high = _MARGIN * float(np.max(every, initial=_LEAST))
    for axis, effects in zip(axes, by_signal, strict=True):
        unknown = np.isnan(effects)
        shown = np.nan_to_num(effects)
        axis.stairs(shown.clip(min=0), edges, fill=True, color=_FOR, label="for the stage")
        axis.stairs(shown.clip(max=0), edges, fill=True, color=_AGAINST, label="against it")
        axis.axhline(0, color=MUTED, linewidth=0.8)
        _shade(axis, edges, unknown, color=_NOTHING, zorder=0)
        axis.set_ylim(low, high)
        axis.set_ylabel("effect on\nprobability", fontsize="small")
        if unknown.all():
            note = "without it nothing is left to stage from"
            axis.text(0.5, 0.6, note, transform=axis.transAxes, ha="center", color="0.3")
    for axis in axes[:1]:
        legend(axis, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)


def _draw_past(axis: Axes, edges: Floats, by_past: Mapping[int, Effects]) -> None:
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
