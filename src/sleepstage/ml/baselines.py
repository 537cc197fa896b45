"""What a classifier has to beat: the most frequent class, the clock, a straight line."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sleepstage.engine.features import FEATURE_NAMES
from sleepstage.ml.classifier import OneStep, four_class_counts, scored_rows
from sleepstage.stages import EPOCH_SECONDS, FOUR_CLASS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sleepstage.ml.classifier import Probabilities
    from sleepstage.ml.dataset import PreparedNight

__all__ = ["ElapsedTime", "Logistic", "Majority"]


@dataclass(frozen=True)
class Majority(OneStep):
    """Tell every epoch the class shares of the training epochs; nothing to set, nothing drawn."""

    def _learn(self, nights: Sequence[PreparedNight]) -> Probabilities:
        return partial(_by_row, DummyClassifier(strategy="prior").fit(*scored_rows(nights)))


@dataclass(frozen=True)
class ElapsedTime(OneStep):
    """Class shares by the time since recording start; no signal is looked at, nothing drawn.

    Deep sleep comes early in the night, REM late.
    """

    bin_minutes: float = 30.0
    """Length of the stretches of time that share their shares; the last one is that of all later
    times. To each, one epoch of the overall shares is added."""

    def _learn(self, nights: Sequence[PreparedNight]) -> Probabilities:
        rows, codes = scored_rows(nights)
        bins = _bins(rows, self.bin_minutes)
        counts = np.zeros((bins.max() + 1, len(FOUR_CLASS)))
        np.add.at(counts, (bins, codes), 1)
        overall = four_class_counts(nights)
        counts += overall / overall.sum()
        shares = counts / counts.sum(axis=1, keepdims=True)
        return partial(_by_time, shares, self.bin_minutes)


def _by_time(
    shares: NDArray[np.float64], bin_minutes: float, night: PreparedNight
) -> NDArray[np.float64]:
    bins = _bins(night.summaries, bin_minutes)
    return np.asarray(shares[np.minimum(bins, len(shares) - 1)])


def _bins(rows: NDArray[Any], minutes: float) -> NDArray[np.int64]:
    """Bin of the middle of each epoch, which no rounding of hours moves over a border."""
    end = rows[:, FEATURE_NAMES.index("elapsed")] * 60
    return np.floor((end - EPOCH_SECONDS / 120) / minutes).astype(np.int64)


@dataclass(frozen=True)
class Logistic(OneStep):
    """Multinomial logistic regression on all features of each epoch by itself; nothing is drawn.

    What is unknown is put at the mean.
    """

    penalty: float = 1.0
    """Weight of the squared coefficients: one over scikit-learn's ``C``."""

    def _learn(self, nights: Sequence[PreparedNight]) -> Probabilities:
        model = make_pipeline(
            SimpleImputer(keep_empty_features=True),
            StandardScaler(),
            LogisticRegression(C=1 / self.penalty, max_iter=1000),
        )
        return partial(_by_row, model.fit(*scored_rows(nights)))


def _by_row(model: Any, night: PreparedNight) -> NDArray[np.floating]:
    return np.asarray(model.predict_proba(night.summaries))
