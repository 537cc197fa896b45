"""What all pictures of results share: sizes, colours, and names made safe to draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from sleepstage.errors import needs_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK: Final = "#1f4e79"
ACCENT: Final = "#d64550"
MUTED: Final = "0.55"

_LONGEST_NAME: Final = 40


def panels(
    n_rows: int,
    n_columns: int,
    *,
    height: float,
    width: float = 11.0,
    titles: Sequence[str] = (),
    **options: Any,
) -> tuple[Figure, list[Axes]]:
    """Make an empty picture, and its panels row by row, the first of which have `titles`."""
    with needs_extra("drawing", "plot"):
        from matplotlib.figure import Figure
    figure = Figure(figsize=(width, height), layout="constrained")
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
