"""Probabilities that mean what they say, how certain they are, and which class they tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sleepstage.stages import UNSCORED

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["certainty", "likeliest", "temper"]

_TINY: Final = 1e-9


def temper(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float32]:
    """Sharpen (temperature below 1) or soften probabilities; which is largest stays.

    Divides log-probabilities, shape (n_epochs, n_classes), by the temperature. That one number is
    all that is fitted (Guo et al. 2017, ICML, arXiv 1706.04599).
    """
    logs = np.log(probabilities.astype(np.float64) + _TINY) / temperature
    odds = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True), dtype=np.float32)


def certainty(probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
    """Certainty of each epoch, shape (n_epochs,): 1 less the normalised entropy.

    1 where one class has it all, 0 where all are as likely or nothing is known (NaN), as in
    SleepTransformer (Phan et al. 2022, IEEE TBME 69(8), arXiv 2105.11043).
    """
    shares = probabilities.astype(np.float64)
    entropy = -(shares * np.log(shares + _TINY)).sum(axis=1) / np.log(shares.shape[1])
    return np.asarray((1 - np.nan_to_num(entropy, nan=1.0)).clip(0, 1), dtype=np.float32)


def likeliest(probabilities: NDArray[np.floating]) -> NDArray[np.int8]:
    """Code of the largest in each row, unscored where nothing is known (NaN), shape (n_epochs,)."""
    unknown = np.isnan(probabilities).any(axis=1)
    return np.where(unknown, UNSCORED, probabilities.argmax(axis=1)).astype(np.int8)
