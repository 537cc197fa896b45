"""The least that a classifier must beat: always the most frequent class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sleepstage.classifiers.base import FittedOneStep, OneStep, four_class_counts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sleepstage.training.nights import Night

__all__ = ["FittedMajority", "Majority"]


@dataclass(frozen=True)
class Majority(OneStep):
    """Tell every epoch the class shares of the training epochs; nothing to set, nothing drawn."""

    def _learn(self, nights: Sequence[Night]) -> FittedMajority:
        counts = four_class_counts(nights)
        return FittedMajority(counts / counts.sum())


@dataclass(frozen=True, eq=False)
class FittedMajority(FittedOneStep):
    """Class shares.

    Attributes
    ----------
    shares : ndarray, shape (4,)
        Of each class in the training epochs.
    """

    shares: NDArray[np.float64]

    def probabilities(self, night: Night) -> NDArray[np.float64]:
        """Return the same shares for all epochs, shape (n_epochs, 4)."""
        return np.tile(self.shares, (len(night.rows), 1))
