"""What every classifier is: a frozen dataclass of settings that fits to nights and then stages.

`OneStep` is the base of those that are fitted in one step, without an operating point.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from sleepstage.hypnogram import Hypnogram
from sleepstage.stages import FOUR_CLASS, UNSCORED
from sleepstage.training.nights import class_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from sleepstage.readers.source import Progress
    from sleepstage.training.nights import Night

    Groups = Sequence[Sequence[str]]
    Probabilities = Callable[[Night], NDArray[Any]]

__all__ = ["Classifier", "Fitted", "FittedOneStep", "OneStep", "four_class_counts", "scored_rows"]


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
        self, nights: Sequence[Night], groups: Groups, *, on_pass: Progress | None = None
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


@dataclass(frozen=True, eq=False)
class FittedOneStep:
    """A fitted classifier that takes the likeliest class."""

    probabilities: Probabilities
    """What was learnt: gives the probabilities of the four classes in a night, shape (n_epochs, 4).
    Of a kind that can be pickled."""
    factors: ClassVar[Mapping[str, float]] = MappingProxyType({})

    def predict(self, night: Night) -> Hypnogram:
        """Stages and probabilities of every epoch of a night."""
        probabilities = self.probabilities(night)
        return Hypnogram(
            night.recording.start,
            probabilities.argmax(axis=1).astype(np.int8),
            FOUR_CLASS,
            probabilities.astype(np.float32),
            subject=night.subject,
            simulated=night.recording.simulated,
        )


@dataclass(frozen=True)
class OneStep(ABC):
    """Settings of a classifier that needs no choice on groups left out."""

    seed: int = 0
    """Of what is drawn, where anything is."""
    live: ClassVar[bool] = True

    def fit(
        self,
        nights: Sequence[Night],
        groups: Groups,  # noqa: ARG002 - part of the contract
        *,
        on_pass: Progress | None = None,
    ) -> FittedOneStep:
        """Learn from all nights at once; see `sleepstage.classifiers.contract.Classifier`.

        Raises
        ------
        DataError
            If a class is missing in the nights.
        """
        four_class_counts(nights)
        fitted = FittedOneStep(self._learn(nights))
        if on_pass:
            on_pass(1, 1, f"fitted to {len(nights)} nights")
        return fitted

    @abstractmethod
    def _learn(self, nights: Sequence[Night]) -> Probabilities: ...


def four_class_counts(nights: Sequence[Night]) -> NDArray[np.int64]:
    """Epochs of each of the four classes; see `sleepstage.training.nights.class_counts`."""
    return class_counts([night.codes for night in nights], FOUR_CLASS)
