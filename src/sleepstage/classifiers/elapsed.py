"""What the clock alone tells: deep sleep comes early in the night, REM late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sleepstage.classifiers.base import FittedOneStep, OneStep, four_class_counts
from sleepstage.classifiers.contract import scored_rows
from sleepstage.features import FEATURE_NAMES
from sleepstage.stages import EPOCH_SECONDS, FOUR_CLASS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sleepstage.training.nights import Night

__all__ = ["ElapsedTime", "FittedElapsedTime"]


@dataclass(frozen=True)
class ElapsedTime(OneStep):
    """Class shares by the time since recording start; no signal is looked at, nothing drawn.

    Attributes
    ----------
    bin_minutes : float
        Length of the stretches of time that share their shares. To each, one epoch of the overall
        shares is added.
    """

    bin_minutes: float = 30.0

    def _learn(self, nights: Sequence[Night]) -> FittedElapsedTime:
        rows, codes = scored_rows(nights)
        bins = _bins(rows, self.bin_minutes)
        counts = np.zeros((bins.max() + 1, len(FOUR_CLASS)))
        np.add.at(counts, (bins, codes), 1)
        overall = four_class_counts(nights)
        counts += overall / overall.sum()
        return FittedElapsedTime(self.bin_minutes, counts / counts.sum(axis=1, keepdims=True))


@dataclass(frozen=True, eq=False)
class FittedElapsedTime(FittedOneStep):
    """Class shares by elapsed time.

    Attributes
    ----------
    bin_minutes : float
        Length of a bin.
    shares : ndarray, shape (n_bins, 4)
        Of each class in each bin; the last bin is that of all later times.
    """

    bin_minutes: float
    shares: NDArray[np.float64]

    def probabilities(self, night: Night) -> NDArray[np.float64]:
        """Shares of each epoch's bin, shape (n_epochs, 4)."""
        bins = _bins(night.summaries, self.bin_minutes)
        return np.asarray(self.shares[np.minimum(bins, len(self.shares) - 1)])


def _bins(rows: NDArray[Any], minutes: float) -> NDArray[np.int64]:
    """Bin of the middle of each epoch, which no rounding of hours moves over a border."""
    end = rows[:, FEATURE_NAMES.index("elapsed")] * 60
    return np.floor((end - EPOCH_SECONDS / 120) / minutes).astype(np.int64)
