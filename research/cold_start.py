"""What the first labels are worth: a recording that began a minute, or half an hour, ago.

A model learns the night so far: how this heart beats at rest, its earlier predictions. A recording
that starts in the middle of a night starts without. So each test night is begun afresh at each
half hour: nothing from before is known, not even that a night has gone on for hours. Beside it
stands what it is worth to know at least that: a recording with the true start, and no samples yet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from research.held_out import held_out, in_order
from sleepstage.core.agreement import Agreement, agreement
from sleepstage.core.motion import WINDOW_SECONDS
from sleepstage.engine.stager import Stager
from sleepstage.stages import EPOCH_SECONDS, FOUR_CLASS, UNSCORED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from research.held_out import HeldOut
    from sleepstage.core.recording import Recording
    from sleepstage.evaluation.run import Outcome
    from sleepstage.ml.dataset import PreparedNight

__all__ = ["NIGHT_START", "RESTART", "WINDOWS", "Window", "begin_at", "cold_start"]

WINDOWS: Final = ((0, 1), (1, 5), (5, 30), (30, 60))
"""Minutes since the start. An epoch belongs to where it ends: later than the first, not later than
the second. Single epochs would be closer to the question, and too few for an answer."""

NIGHT_START: Final = "start of the night"
RESTART: Final = "restart within the night"

_MINUTE: Final = 60 // EPOCH_SECONDS  # epochs
_LENGTH: Final = 60 * _MINUTE  # epochs that are staged after a start
_EVERY: Final = 30 * _MINUTE  # epochs between two starts


@dataclass(frozen=True)
class Window:
    """Labels predicted so long after a start; all nights and runs pooled, in four classes.

    Attributes
    ----------
    minutes : tuple of int
        One of `WINDOWS`.
    n_starts : int
        Recordings begun that have an epoch here that counts.
    fresh : Agreement
        With the expert, of a recording that began at the start.
    dated : Agreement
        Of one that knows when the night began, and measures from this start on.
    whole : Agreement
        Of the recording of the whole night, for the same epochs.
    """

    minutes: tuple[int, int]
    n_starts: int
    fresh: Agreement
    dated: Agreement
    whole: Agreement


def begin_at(recording: Recording, start: float) -> Recording:
    """The hour from `start` on, in seconds on the recording's clock, and nothing from before it.

    A motion summary is known at the end of its window: one that reaches back is left out. The
    expert's stages are, too.
    """
    return replace(
        recording,
        start=start,
        end=start + _LENGTH * EPOCH_SECONDS,
        heart_rate=recording.heart_rate.between(start, np.inf),
        motion=recording.motion.between(start + WINDOW_SECONDS, np.inf),
        steps=recording.steps.between(start, np.inf),
        reference=None,
    )


def cold_start(
    outcomes: Sequence[Outcome],
    nights: Sequence[PreparedNight],
    *,
    jobs: int = -1,
    on_run: Callable[[int, int, str], None] | None = None,
) -> dict[str, list[Window]]:
    """Compare recordings that have just begun with the whole night's, by time since the start.

    Each test night is begun at its start, and at each half hour after it from which a full hour is
    left, so that all windows rest on the same starts. The epochs that count are those of
    `PreparedNight`; an unscored label counts as wrong.

    Parameters
    ----------
    outcomes, nights, jobs, on_run
        As of `research.conditions.under_conditions`.

    Returns
    -------
    dict
        `NIGHT_START` and `RESTART`, each with one `Window` for each of `WINDOWS` in which an epoch
        counts.
    """
    staged = in_order(_stage, None, held_out(outcomes, nights), jobs=jobs, on_run=on_run)
    tables = [np.insert(table, 0, run, axis=1) for run, table in enumerate(staged)]
    pooled = np.concatenate([*tables, np.empty((0, 8), dtype=np.int64)])
    restarted = pooled[:, 2] > 0
    return {
        NIGHT_START: _windows(pooled[~restarted]),
        RESTART: _windows(pooled[restarted]),
    }


def _stage(_shared: None, run: HeldOut) -> NDArray[np.int64]:
    """Table of all epochs that count, with seven columns.

    Number of the night, first epoch of the recording, epochs from then to the end of this one;
    class codes of the expert, and of the recordings in the order of `Window`.
    """
    model, nights = run
    stager = Stager(model)
    tables = [np.empty((0, 7), dtype=np.int64)]
    for number, (night, scored) in enumerate(nights):
        whole = scored.predicted.merge(FOUR_CLASS).codes
        for first in range(0, len(night.codes) - _LENGTH + 1, _EVERY):
            part = slice(first, first + _LENGTH)
            begun = begin_at(night.recording, night.recording.start + first * EPOCH_SECONDS)
            fresh, dated = (
                stager.predict(one).merge(FOUR_CLASS).codes[-_LENGTH:]
                for one in (begun, replace(begun, start=night.recording.start))
            )
            where = (np.full(_LENGTH, number), np.full(_LENGTH, first), np.arange(1, _LENGTH + 1))
            table = np.column_stack([*where, night.codes[part], fresh, dated, whole[part]])
            tables.append(table[night.codes[part] != UNSCORED])
    return np.concatenate(tables)


def _windows(table: NDArray[np.int64]) -> list[Window]:
    found = []
    for minutes in WINDOWS:
        since = table[:, 3]
        rows = table[(since > minutes[0] * _MINUTE) & (since <= minutes[1] * _MINUTE)]
        if len(rows):
            expert, *predicted = rows[:, 4:].astype(np.int8).T
            n_starts = len(np.unique(rows[:, :3], axis=0))
            found.append(
                Window(
                    minutes, n_starts, *(agreement(expert, one, FOUR_CLASS) for one in predicted)
                )
            )
    return found
