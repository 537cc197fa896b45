"""Multinomial logistic regression on each epoch's row: what a straight line through it tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sleepstage.classifiers.base import FittedOneStep, OneStep
from sleepstage.classifiers.contract import scored_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sleepstage.training.nights import Night

__all__ = ["FittedLogistic", "Logistic"]


@dataclass(frozen=True)
class Logistic(OneStep):
    """Logistic regression on all features; what is unknown is put at the mean; nothing is drawn.

    Attributes
    ----------
    penalty : float
        Weight of the squared coefficients: one over scikit-learn's ``C``.
    """

    penalty: float = 1.0

    def _learn(self, nights: Sequence[Night]) -> FittedLogistic:
        model = make_pipeline(
            SimpleImputer(keep_empty_features=True),
            StandardScaler(),
            LogisticRegression(C=1 / self.penalty, max_iter=1000),
        )
        return FittedLogistic(model.fit(*scored_rows(nights)))


@dataclass(frozen=True, eq=False)
class FittedLogistic(FittedOneStep):
    """A fitted scikit-learn pipeline."""

    model: Any

    def probabilities(self, night: Night) -> NDArray[np.floating]:
        """Each epoch by itself, shape (n_epochs, 4)."""
        return np.asarray(self.model.predict_proba(night.summaries))
