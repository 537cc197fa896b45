"""Online prior correction of log-probabilities, by the mean of the sleep so far.

A model errs by person: it takes one sleeper's steady heart for deep sleep all night, and finds none
in another. Shares of the stages differ less between people than such errors do. So the running
mean of the log-probabilities is drawn to where it typically is after so much sleep; what is left
are the changes within the night. An epoch counts as far as it is certainly sleep, and hours of
wake are forgotten, so that the evening before does not matter. A recording that begins in mid-sleep
does not know how far the night has gone: it is corrected only as far as it has seen wake before
sleep. Nothing of the future is used, and what is remembered are sums.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from sleepstage._utils.arrays import Floats, Floats32
from sleepstage.stages import WAKE

_TRUST: Final = 30  # epochs of sleep after which a night's own mean weighs as much as the typical
_BOUND: Final = 1.0  # nats: what is certain stays so
_FLOOR: Final = 1e-3  # of probability
_KNOT: Final = 10  # epochs of sleep between two entries of the typical course
_ENOUGH: Final = 0.2  # share of the nights that must be as long
_AWAKE_EPOCHS: Final = 120  # of certain wake that halve what is remembered: an hour
_BEFORE: Final = 20  # epochs of sleep after which wake tells half as much of when sleep began
_SEEN: Final = 8  # epochs of wake before sleep with which its begin counts as half seen


@dataclass(frozen=True)
class PriorCorrection:
    """Typical course of a model's running mean, and how to keep a night near it."""

    typical: tuple[tuple[float, ...], ...] = ()
    """Mean over people of the running mean of centred log-probabilities, each 10 epochs of sleep
    from the first, shape (n_knots, n_classes); later than the last it stays. Empty: probabilities
    are left as they are."""

    @classmethod
    def fit(cls, nights: Collection[NDArray[np.floating]]) -> Self:
        """Learn the typical course from people's nights, (n_epochs, n_classes) probabilities each.

        They have to be predicted by models that were not fitted to those people.
        """
        courses = [_course(night) for night in nights]
        most_sleep = sorted(asleep.max() for asleep, _ in courses)[::-1]
        knots: list[Floats] = []
        enough = most_sleep[int(_ENOUGH * (len(courses) - 1))]
        for knot in np.arange(0, enough, _KNOT):
            near = [mean[np.abs(asleep - max(knot, 1)) <= _KNOT / 2] for asleep, mean in courses]
            means = [one.mean(axis=0) for one in near if len(one)]
            knots.append(np.mean(means, axis=0) if means else knots[-1])
        return cls(tuple(tuple(round(float(value), 4) for value in knot) for knot in knots))

    def initial_state(self, n_classes: int) -> Floats:
        """Zeros before the first epoch: epochs of wake before sleep, of sleep, and its sum."""
        return np.zeros(2 + n_classes)

    def apply(self, probabilities: NDArray[np.floating], state: Floats) -> tuple[Floats32, Floats]:
        """Centre a model's probabilities of the next epochs, shape (n_epochs, n_classes).

        The state, shape (2 + n_classes,), goes from call to call; the first is `initial_state`.
        """
        if not self.typical or not len(probabilities):
            return probabilities.astype(np.float32), state
        logs = _log(probabilities)
        states = _sums(probabilities, logs, state)
        before, asleep, sums = np.split(states, (1, 2), axis=1)
        seen = before**2 / (before**2 + _SEEN**2)
        knots = _KNOT * np.arange(len(self.typical))
        courses = [np.interp(asleep[:, 0], knots, one) for one in zip(*self.typical, strict=True)]
        deviation = seen * (sums - asleep * np.stack(courses, axis=1)) / (asleep + _TRUST)
        odds = np.exp(logs - deviation.clip(-_BOUND, _BOUND))
        return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32), states[-1]


def _log(probabilities: NDArray[np.floating]) -> Floats:
    """Log-probabilities whose mean over the classes is zero."""
    logs = np.log(probabilities.astype(np.float64) + _FLOOR)
    return np.asarray(logs - logs.mean(axis=1, keepdims=True))


def _sums(probabilities: NDArray[np.floating], logs: Floats, state: Floats) -> Floats:
    """Epochs of wake before sleep, of sleep, and the sum of their log-probabilities, at each epoch.

    Sleep counts by the square of its probability: ten quiet hours of an evening, at .05, are
    three epochs and not sixty.
    """
    awake = probabilities[:, WAKE].astype(np.float64)
    kept = 1 - (1 - 0.5 ** (1 / _AWAKE_EPOCHS)) * awake
    added = ((1 - awake) ** 2)[:, np.newaxis] * np.insert(logs, 0, 1.0, axis=1)
    states = np.empty((len(logs), len(state)))
    sums = state[1:]
    # One after the other, so that any chunking gives the same bits.
    for epoch, (keep, new) in enumerate(zip(kept.tolist(), added, strict=True)):
        states[epoch, 1:] = sums = keep * sums + new
    before = awake * 0.5 ** (states[:, 1] / _BEFORE)
    states[:, 0] = np.cumsum(np.append(state[0], before))[1:]
    return states


def _course(probabilities: NDArray[np.floating]) -> tuple[Floats, Floats]:
    """Epochs of sleep, and the mean of the log-probabilities over them, after each epoch."""
    logs = _log(probabilities)
    _, asleep, sums = np.split(_sums(probabilities, logs, np.zeros(2 + logs.shape[1])), (1, 2), 1)
    return asleep[:, 0], sums / np.maximum(asleep, _FLOOR)
