"""What classifiers that are fitted in one step, without an operating point, have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from sleepstage.classifiers.contract import to_hypnogram
from sleepstage.stages import FOUR_CLASS
from sleepstage.training.nights import class_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from sleepstage.hypnogram import Hypnogram
    from sleepstage.training.nights import Night

    Probabilities = Callable[[Night], NDArray[Any]]

__all__ = ["FittedOneStep", "OneStep", "four_class_counts"]


@dataclass(frozen=True, eq=False)
class FittedOneStep:
    """A fitted classifier that takes the likeliest class.

    Attributes
    ----------
    probabilities : callable
        What was learnt: gives the probabilities of the four classes in a night, shape
        (n_epochs, 4). Of a kind that can be pickled.
    """

    probabilities: Probabilities
    factors: ClassVar[Mapping[str, float]] = MappingProxyType({})

    def predict(self, night: Night) -> Hypnogram:
        """Stages and probabilities of every epoch of a night."""
        return to_hypnogram(night, self.probabilities(night))


@dataclass(frozen=True)
class OneStep(ABC):
    """Settings of a classifier that needs no choice on groups left out.

    Attributes
    ----------
    seed : int
        Of what is drawn, where anything is.
    """

    seed: int = 0
    live: ClassVar[bool] = True

    def fit(
        self,
        nights: Sequence[Night],
        groups: Sequence[Sequence[str]],  # noqa: ARG002 - part of the contract
        *,
        on_pass: Callable[[int, int, str], None] | None = None,
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
