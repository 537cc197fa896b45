"""What every classifier is: a frozen dataclass of settings that fits to nights and then stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from sleepstage.hypnogram import Hypnogram
from sleepstage.stages import FOUR_CLASS, UNSCORED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from sleepstage.training.nights import Night

__all__ = ["Classifier", "Fitted", "scored_rows", "to_hypnogram"]


class Fitted(Protocol):
    """A classifier that has learnt."""

    @property
    def factors(self) -> Mapping[str, float]:
        """Operating point: class probabilities are multiplied by these; empty where none is set."""

    def predict(self, night: Night) -> Hypnogram:
        """Stages and probabilities of a night, told from `Night.rows` or `Night.recording`."""


class Classifier(Protocol):
    """Settings of a classifier; its frozen dataclass is changed with `dataclasses.replace`.

    Attributes
    ----------
    seed : int
        The same seed and nights give the same result.
    live : bool
        True if an epoch is told from nothing later than its own end.
    """

    @property
    def seed(self) -> int: ...  # noqa: D102

    @property
    def live(self) -> bool: ...  # noqa: D102

    def fit(
        self,
        nights: Sequence[Night],
        groups: Sequence[Sequence[str]],
        *,
        on_pass: Callable[[int, int, str], None] | None = None,
    ) -> Fitted:
        """Learn from nights of training people.

        Parameters
        ----------
        nights : sequence of Night
            Of the training people.
        groups : sequence of sequence of str
            The same people in groups; what has to be chosen is chosen on groups left out.
        on_pass : callable, optional
            Called with steps done, steps planned, and a remark.
        """


def scored_rows(nights: Sequence[Night]) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Summaries and class codes of all epochs that count, one night after the other."""
    rows = np.concatenate([night.summaries[night.codes != UNSCORED] for night in nights])
    codes = np.concatenate([night.codes[night.codes != UNSCORED] for night in nights])
    return rows, codes


def to_hypnogram(night: Night, probabilities: NDArray[np.floating]) -> Hypnogram:
    """Hypnogram of the likeliest of the four classes."""
    return Hypnogram(
        night.recording.start,
        probabilities.argmax(axis=1).astype(np.int8),
        FOUR_CLASS,
        probabilities.astype(np.float32),
        subject=night.subject,
        simulated=night.recording.simulated,
    )
