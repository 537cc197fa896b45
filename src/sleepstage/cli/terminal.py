"""A night as it unfolds, drawn in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from rich.console import Group
from rich.live import Live
from rich.text import Text

from sleepstage.stages import EPOCH_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from sleepstage.epoch import Epoch
    from sleepstage.hypnogram import Hypnogram
    from sleepstage.stages import Scheme

__all__ = ["NightView", "hypnogram_rows"]

_COLOURS: Final = {"wake": "yellow", "rem": "red", "deep": "blue", "n3": "blue"}
_OTHER: Final = "cyan"
_MARGIN: Final = 8  # columns for the names of the classes
_BAR: Final = 20


class NightView:
    """Draws each epoch as it comes; a context manager that gives the function to call.

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

    def __init__(
        self, console: Console, scheme: Scheme, subject: str, reference: Hypnogram | None
    ) -> None:
        self._console = console
        self._classes = scheme.from_top
        self._subject = subject
        self._expert = _scored(reference, scheme)
        self._epochs: list[Epoch] = []
        self._screen = Live(console=console, auto_refresh=False, transient=False)

    def __enter__(self) -> Callable[[Epoch], None]:
        self._screen.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        self._screen.stop()

    def _show(self, epoch: Epoch) -> None:
        self._epochs.append(epoch)
        self._screen.update(self._draw(), refresh=True)

    def _draw(self) -> Group:
        now = self._epochs[-1]
        colour = _COLOURS.get(now.stage, _OTHER)
        title = Text.assemble(
            (f" {now.stage.upper()} ", f"bold reverse {colour}"),
            f"  {self._subject}  {_clock(len(self._epochs) * EPOCH_SECONDS)}",
            f"  confidence {now.confidence:.0%}",
            self._agreement(),
        )
        width = max(self._console.width - _MARGIN, 1)
        rows = hypnogram_rows([one.stage for one in self._epochs], self._classes, width)
        night = [
            Text.assemble((f"{name:>{_MARGIN - 2}}  ", "dim"), (row, _COLOURS.get(name, _OTHER)))
            for name, row in zip(self._classes, rows, strict=True)
        ]
        bars = Text("  ").join(
            Text.assemble((f"{name} ", "dim"), (_bar(now.probabilities[name]), "bold"))
            for name in self._classes
        )
        return Group(title, Text(), *night, Text(), bars)

    def _agreement(self) -> str:
        same = [
            one.stage == self._expert[one.time] for one in self._epochs if one.time in self._expert
        ]
        return f"  agrees with the expert in {np.mean(same):.0%}" if same else ""


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
