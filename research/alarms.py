"""What a smart alarm rings into, against one at its deadline and one at any time of its window.

Nothing is trained. Each test night is staged live, and an alarm of half an hour is set for every
ten minutes of its last three hours. What counts is the expert's stage of the epoch in which it
rings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from research.held_out import held_out, in_order
from sleepstage.core.alarm import Alarm
from sleepstage.stages import EPOCH_SECONDS, FOUR_CLASS, UNSCORED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from research.held_out import HeldOut
    from sleepstage.core.agreement import ScoredNight
    from sleepstage.core.hypnogram import Hypnogram
    from sleepstage.evaluation.run import Outcome
    from sleepstage.ml.dataset import PreparedNight

__all__ = ["KINDS", "Ringing", "alarms"]

KINDS: Final = ("smart", "at any time of its window", "at the deadline")

_LATENESS: Final = 5.0  # s that a session waits for late samples
_WINDOW: Final = 30 * 60  # s
_EVERY: Final = 20  # epochs between two deadlines
_LAST: Final = 360  # epochs of the night that have deadlines


@dataclass(frozen=True)
class Ringing:
    """All alarms of a kind, of all nights.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    n : int
        Alarms that ring while the expert has scored a stage.
    shares : dict of str to float
        Of them, in each of the expert's stages.
    early : float
        Mean minutes before the deadline.
    in_time : float
        Share that rings before the deadline.
    """

    kind: str
    n: int
    shares: dict[str, float]
    early: float
    in_time: float


def alarms(
    outcomes: Sequence[Outcome],
    nights: Sequence[PreparedNight],
    *,
    jobs: int = -1,
    on_run: Callable[[int, int, str], None] | None = None,
) -> list[Ringing]:
    """Set alarms in the test nights of all runs.

    Parameters
    ----------
    outcomes, nights, jobs, on_run
        As of `research.conditions.under_conditions`.
    """
    runs = in_order(_stage, None, held_out(outcomes, nights), jobs=jobs, on_run=on_run)
    rung = np.concatenate([*runs, np.empty((0, 3))])
    return [_pool(kind, rung[rung[:, 0] == number, 1:]) for number, kind in enumerate(KINDS)]


def _stage(_shared: None, run: HeldOut) -> NDArray[np.float64]:
    """Kind, expert's code and seconds before the deadline of each alarm; shape (n, 3)."""
    _, nights = run
    rows = [row for night, scored in nights for row in _ring(night, scored)]
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def _ring(night: PreparedNight, scored: ScoredNight) -> list[tuple[int, int, float]]:
    expert = scored.reference.merge(FOUR_CLASS).codes[: len(night.codes)]
    predicted = scored.predicted.merge(FOUR_CLASS)
    rng = np.random.default_rng(list(night.subject.encode()))
    rows = []
    for last in range(len(expert) - 1, max(0, len(expert) - _LAST), -_EVERY):
        deadline = predicted.start + last * EPOCH_SECONDS
        times = (
            ring_time(predicted, Alarm(deadline - _WINDOW, deadline)),
            rng.uniform(deadline - _WINDOW, deadline),
            deadline,
        )
        for kind, time in enumerate(times):
            epoch = int((time - predicted.start) // EPOCH_SECONDS)
            if epoch >= 0 and expert[epoch] != UNSCORED:
                rows.append((kind, int(expert[epoch]), deadline - time))
    return rows


def ring_time(predicted: Hypnogram, alarm: Alarm) -> float:
    """When an alarm rings in a night whose epochs are emitted as they end."""
    for epoch in predicted.epochs():
        now = epoch.time + EPOCH_SECONDS + _LATENESS
        if now < alarm.deadline and alarm.reason(now, epoch):
            return now
    return alarm.deadline


def _pool(kind: str, rung: NDArray[np.float64]) -> Ringing:
    codes, early = rung.T
    return Ringing(
        kind,
        len(rung),
        {name: float((codes == code).mean()) for code, name in enumerate(FOUR_CLASS.classes)},
        float(early.mean() / 60),
        float((early > 0).mean()),
    )
