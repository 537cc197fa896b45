"""Gradient-boosted trees on each epoch's row and on rows before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from sleepstage.engine.features import SUMMARIES
from sleepstage.ml.classifier import OneStep, Probabilities
from sleepstage.ml.dataset import PreparedNight
from sleepstage.stages import UNSCORED

_LAGS: Final = (4, 10, 20, 40)  # epochs: 2, 5, 10 and 20 min
_SIGNALS: Final = [i for i, one in enumerate(SUMMARIES) if one.signal in {"heart_rate", "motion"}]


@dataclass(frozen=True)
class Boosting(OneStep):
    """Histogram gradient boosting (scikit-learn's, after LightGBM: Ke et al. 2017, NeurIPS 30)."""

    learning_rate: float = 0.05
    n_trees: int = 200
    max_leaves: int = 15
    min_leaf_epochs: int = 100
    l2: float = 10.0
    """These five: ``learning_rate``, ``max_iter``, ``max_leaf_nodes``, ``min_samples_leaf`` and
    ``l2_regularization`` of `sklearn.ensemble.HistGradientBoostingClassifier`."""
    column_share: float = 0.2
    """Share of the columns that each split may choose from, drawn by the seed."""

    def _learn(self, nights: Sequence[PreparedNight]) -> Probabilities:
        model = HistGradientBoostingClassifier(
            learning_rate=self.learning_rate,
            max_iter=self.n_trees,
            max_leaf_nodes=self.max_leaves,
            min_samples_leaf=self.min_leaf_epochs,
            l2_regularization=self.l2,
            max_features=self.column_share,
            early_stopping=False,
            random_state=self.seed,
        )
        seen = [(with_past(night.summaries), night.codes) for night in nights]
        rows = np.concatenate([past[codes != UNSCORED] for past, codes in seen])
        codes = np.concatenate([codes[codes != UNSCORED] for _, codes in seen])
        # Columns that never change, or that nobody has, carry nothing; the trees cannot take them.
        columns = np.flatnonzero(np.fmax.reduce(rows) > np.fmin.reduce(rows))
        model.fit(rows[:, columns], codes)
        return partial(_predict, model, columns)


def _predict(model: Any, columns: NDArray[np.intp], night: PreparedNight) -> NDArray[np.floating]:
    """Each epoch from itself and those before, by the columns that the trees look at."""
    return np.asarray(model.predict_proba(with_past(night.summaries)[:, columns]))


def with_past(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of one night beside what heart rate and motion were 2, 5, 10 and 20 min before.

    From shape (n_epochs, n_features) to (n_epochs, n_features + 4 * n_signal_features); NaN where
    the past lies before the night.
    """
    signals = rows[:, _SIGNALS]
    unknown = np.full((max(_LAGS), len(_SIGNALS)), np.nan, dtype=np.float32)
    history = np.vstack([unknown, signals])
    past = [history[max(_LAGS) - lag :][: len(rows)] for lag in _LAGS]
    return np.hstack([rows, *past])
