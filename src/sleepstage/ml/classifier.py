"""What every classifier is: a frozen dataclass of settings that fits to nights and then stages.

`OneStep` is the base of those that are fitted in one step, without an operating point.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from sleepstage.core.hypnogram import Hypnogram
from sleepstage.io.source import Progress
from sleepstage.ml.dataset import PreparedNight, class_counts
from sleepstage.stages import FOUR_CLASS, UNSCORED

Groups = Sequence[Sequence[str]]
Probabilities = Callable[[PreparedNight], NDArray[Any]]


class Fitted(Protocol):
    """A classifier after `Classifier.fit`."""

    @property
    def class_weights(self) -> Mapping[str, float]:
        """Operating point: class probabilities are multiplied by these; empty where none is set."""

    def predict(self, night: PreparedNight) -> Hypnogram:
        """Stages and probabilities of a night, from its rows or its recording."""


class Classifier(Protocol):
    """Settings of a classifier; its frozen dataclass is changed with `dataclasses.replace`.

    It may have ``exports``: True if what `fit` returns has ``file(**described)``, the content of a
    model file.
    """

    @property
    def seed(self) -> int:
        """The same seed and nights give the same result."""

    @property
    def live(self) -> bool:
        """True if each epoch is predicted from data up to its own end; every run checks it."""

    def fit(
        self, nights: Sequence[PreparedNight], groups: Groups, *, on_epoch: Progress | None = None
    ) -> Fitted:
        """Learn from nights of training people.

        `groups` are the same people's subjects in groups; what has to be chosen is chosen on groups
        left out. `on_epoch` is called with steps done, steps planned, and a remark.
        """


def scored_rows(nights: Sequence[PreparedNight]) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Summaries and class codes of all epochs that count, one night after the other."""
    rows = np.concatenate([night.summaries[night.codes != UNSCORED] for night in nights])
    codes = np.concatenate([night.codes[night.codes != UNSCORED] for night in nights])
    return rows, codes


@dataclass(frozen=True, eq=False)
class FittedOneStep:
    """A fitted classifier that takes the likeliest class."""

    probabilities: Probabilities
    """Gives the probabilities of the four classes, shape (n_epochs, 4); can be pickled."""
    class_weights: ClassVar[Mapping[str, float]] = MappingProxyType({})

    def predict(self, night: PreparedNight) -> Hypnogram:
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
        nights: Sequence[PreparedNight],
        groups: Groups,  # noqa: ARG002 - part of the contract
        *,
        on_epoch: Progress | None = None,
    ) -> FittedOneStep:
        """Learn from all nights at once; see `sleepstage.ml.classifier.Classifier`.

        Raises `DataError` if a class is missing in the nights.
        """
        class_counts([night.codes for night in nights], FOUR_CLASS)
        fitted = FittedOneStep(self._learn(nights))
        if on_epoch:
            on_epoch(1, 1, f"fitted to {len(nights)} nights")
        return fitted

    @abstractmethod
    def _learn(self, nights: Sequence[PreparedNight]) -> Probabilities: ...
