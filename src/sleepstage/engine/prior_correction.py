"""Online prior correction of log-probabilities, by the mean of the night so far.

A model errs by person: it takes one sleeper's steady heart for deep sleep all night, and finds none
in another. Shares of the stages differ less between people than such errors do. So the running
mean of the log-probabilities is drawn to where it typically is after so many epochs; what is left
are the changes within the night. Nothing of the future is used, and what is remembered is a sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

_TRUST: Final = 30  # epochs after which a night's own mean weighs as much as the typical one
_BOUND: Final = 1.0  # nats: what is certain stays so, as hours of wake before sleep
_FLOOR: Final = 1e-3  # of probability
_KNOT: Final = 10  # epochs between two entries of the typical course
_ENOUGH: Final = 0.2  # share of the nights that must be as long


@dataclass(frozen=True)
class PriorCorrection:
    """Typical course of a model's running mean, and how to keep a night near it."""

    typical: tuple[tuple[float, ...], ...] = ()
    """Mean over people of the running mean of centred log-probabilities, each 10 epochs from the
    first, shape (n_knots, n_classes); later than the last it stays. Empty: probabilities are left
    as they are."""

    @classmethod
    def fit(cls, nights: Collection[NDArray[np.floating]]) -> PriorCorrection:
        """Learn the typical course from probabilities (n_epochs, n_classes) of people's nights.

        They have to be predicted by models that were not fitted to those people.
        """
        courses = [_running_mean(_log(probabilities)) for probabilities in nights]
        long_enough = sorted(map(len, courses))[::-1][int(_ENOUGH * (len(courses) - 1))]
        knots = [
            np.mean([course[epoch] for course in courses if epoch < len(course)], axis=0)
            for epoch in range(0, long_enough, _KNOT)
        ]
        return cls(tuple(tuple(round(float(value), 4) for value in knot) for knot in knots))

    def initial_state(self, n_classes: int) -> NDArray[np.float64]:
        """State before the first epoch: epochs so far, and the sum over them; zeros."""
        return np.zeros(1 + n_classes)

    def apply(
        self, probabilities: NDArray[np.floating], state: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Centre a model's probabilities of the next epochs, shape (n_epochs, n_classes).

        The state, shape (1 + n_classes,), is from the call before or `initial_state`; the one
        that is returned is for the next call.
        """
        if not self.typical or not len(probabilities):
            return probabilities.astype(np.float32), state
        logs = _log(probabilities)
        steps = np.concatenate([np.ones((len(logs), 1)), logs], axis=1)
        # Added one by one after what was before, so that any chunking gives the same bits.
        states = np.cumsum(np.concatenate([state[np.newaxis], steps]), axis=0)
        n_epochs, sums = states[1:, :1], states[1:, 1:]
        typical = np.stack(
            [
                np.interp(n_epochs[:, 0] - 1, _KNOT * np.arange(len(self.typical)), course)
                for course in zip(*self.typical, strict=True)
            ],
            axis=1,
        )
        deviation = (sums - n_epochs * typical) / (n_epochs + _TRUST)
        odds = np.exp(logs - deviation.clip(-_BOUND, _BOUND))
        return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32), states[-1]


def _log(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Log-probabilities whose mean over the classes is zero."""
    logs = np.log(probabilities.astype(np.float64) + _FLOOR)
    return np.asarray(logs - logs.mean(axis=1, keepdims=True))


def _running_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.cumsum(values, axis=0) / np.arange(1, len(values) + 1)[:, np.newaxis])
