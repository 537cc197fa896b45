"""A night as it unfolds, drawn in a terminal."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import numpy as np
from rich.console import Group
from rich.live import Live
from rich.text import Text

from sleepstage.stages import EPOCH_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

    from sleepstage.epoch import Epoch
    from sleepstage.hypnogram import Hypnogram
    from sleepstage.stages import Scheme

__all__ = ["hypnogram_rows", "night_view"]

_COLOURS: Final = {"wake": "yellow", "rem": "red", "deep": "blue", "n3": "blue"}
_OTHER: Final = "cyan"
_MARGIN: Final = 8  # columns for the names of the classes
_BAR: Final = 20


@contextmanager
def night_view(
    console: Console, scheme: Scheme, subject: str, reference: Hypnogram | None
) -> Iterator[Callable[[Epoch], None]]:
    """Give a function that draws the night with each epoch as it comes.

    Parameters
    ----------
    console : Console
        Where to.
    scheme : Scheme
        The model's classes.
    subject : str
        Whose night it is, if known.
    reference : Hypnogram, optional
        The expert's stages, to say how many agree so far.
    """
    expert = _scored(reference, scheme)
    epochs: list[Epoch] = []

    def show(epoch: Epoch) -> None:
        epochs.append(epoch)
        same = [one.stage == expert[one.time] for one in epochs if one.time in expert]
        agreeing = f"  agrees with the expert in {np.mean(same):.0%}" if same else ""
        screen.update(
            _draw(epochs, scheme.from_top, subject, agreeing, console.width), refresh=True
        )

    with Live(console=console, auto_refresh=False, transient=False) as screen:
        yield show


def _draw(
    epochs: Sequence[Epoch], classes: Sequence[str], subject: str, agreeing: str, width: int
) -> Group:
    now = epochs[-1]
    title = Text.assemble(
        (f" {now.stage.upper()} ", f"bold reverse {_COLOURS.get(now.stage, _OTHER)}"),
        f"  {subject}  {_clock(len(epochs) * EPOCH_SECONDS)}",
        f"  confidence {now.confidence:.0%}",
        agreeing,
    )
    rows = hypnogram_rows([one.stage for one in epochs], classes, max(width - _MARGIN, 1))
    night = [
        Text.assemble((f"{name:>{_MARGIN - 2}}  ", "dim"), (row, _COLOURS.get(name, _OTHER)))
        for name, row in zip(classes, rows, strict=True)
    ]
    bars = Text("  ").join(
        Text.assemble((f"{name} ", "dim"), (_bar(now.probabilities[name]), "bold"))
        for name in classes
    )
    return Group(title, Text(), *night, Text(), bars)


def _scored(reference: Hypnogram | None, scheme: Scheme) -> dict[float, str]:
    """What the expert says of each epoch."""
    if reference is None:
        return {}
    merged = reference.merge(scheme)
    told = zip(merged.times.tolist(), merged.stages.tolist(), strict=True)
    return {time: stage for time, stage in told if stage != "unscored"}


def hypnogram_rows(stages: Sequence[str], classes: Sequence[str], width: int) -> list[str]:
    """A line of text for each class, with a block where it is the stage.

    As many epochs share a column as it takes to show the whole night in `width` columns; the
    column shows the stage that most of them have.
    """
    each = -(-len(stages) // width)
    columns = [stages[begin : begin + each] for begin in range(0, len(stages), each)]
    shown = [max(dict.fromkeys(column), key=list(column).count) for column in columns]
    return ["".join("█" if one == name else " " for one in shown) for name in classes]


def _bar(share: float) -> str:
    full = 0 if np.isnan(share) else round(share * _BAR)
    return "▪" * full + "·" * (_BAR - full)


def _clock(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes // 60}:{minutes % 60:02d} h"
