"""A hidden Markov model's forward filter: stages last, and follow one another in their ways.

Rabiner 1989 (Proc. IEEE 77(2) 257-286) has the recursion; that a classifier's probability over
the class's share stands in for the likelihood is of Bourlard & Morgan 1994 (Connectionist Speech
Recognition, Kluwer). An epoch is told from itself and those before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sleepstage.classifiers.base import four_class_counts
from sleepstage.stages import FOUR_CLASS, UNSCORED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sleepstage.training.nights import Night

__all__ = ["ForwardFilter"]


@dataclass(frozen=True, eq=False)
class ForwardFilter:
    """Online smoothing of a classifier's probabilities.

    Attributes
    ----------
    shares : ndarray, shape (4,)
        Of the classes in the epochs that the classifier was fitted to.
    first : ndarray, shape (4,)
        Probability of the class of a night's first epoch.
    transitions : ndarray, shape (4, 4)
        Probability of the class of an epoch (column) after that of the one before (row).
    weight : float
        Exponent of the likelihood. Neighbouring epochs share most of what their features look
        back on, so that each brings less news than its probabilities claim: below 1.
    """

    shares: NDArray[np.float64]
    first: NDArray[np.float64]
    transitions: NDArray[np.float64]
    weight: float = 1.0

    @classmethod
    def estimate(cls, nights: Sequence[Night], *, weight: float = 1.0) -> ForwardFilter:
        """Count in scored nights, with one epoch and one transition of every kind added."""
        counts = four_class_counts(nights)
        first = np.ones(len(FOUR_CLASS))
        transitions = np.ones((len(FOUR_CLASS), len(FOUR_CLASS)))
        for night in nights:
            scored = night.codes != UNSCORED
            first[night.codes[scored][0]] += 1
            both = scored[:-1] & scored[1:]
            np.add.at(transitions, (night.codes[:-1][both], night.codes[1:][both]), 1)
        return cls(
            shares=counts / counts.sum(),
            first=first / first.sum(),
            transitions=transitions / transitions.sum(axis=1, keepdims=True),
            weight=weight,
        )

    def filter(self, probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
        """Probabilities of each epoch given all up to it, both of shape (n_epochs, 4)."""
        likelihoods = (probabilities / self.shares) ** self.weight
        filtered = np.empty(likelihoods.shape)
        expected = self.first
        for epoch, likelihood in enumerate(likelihoods):
            belief = expected * likelihood
            filtered[epoch] = belief / belief.sum()
            expected = filtered[epoch] @ self.transitions
        return filtered
