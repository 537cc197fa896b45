"""Gradient-boosted trees on each epoch's row and on rows before it, and a filter after them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from sleepstage.engine.features import SUMMARIES
from sleepstage.ml.classifier import OneStep, four_class_counts
from sleepstage.stages import FOUR_CLASS, UNSCORED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sleepstage.ml.classifier import Probabilities
    from sleepstage.ml.dataset import PreparedNight

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
    hmm: bool = False
    """Filter the probabilities with `ForwardFilter`."""
    hmm_weight: float = 1.0
    """Weight of the filter."""

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
        hmm = ForwardFilter.estimate(nights, weight=self.hmm_weight) if self.hmm else None
        return partial(_told, model, columns, hmm)


def _told(
    model: Any, columns: NDArray[np.intp], hmm: ForwardFilter | None, night: PreparedNight
) -> NDArray[np.floating]:
    """Each epoch from itself and those before, by the columns that the trees look at."""
    outputs = np.asarray(model.predict_proba(with_past(night.summaries)[:, columns]))
    return outputs if hmm is None else hmm.filter(outputs)


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


@dataclass(frozen=True, eq=False)
class ForwardFilter:
    """A hidden Markov model's forward filter: online smoothing of a classifier's probabilities.

    Rabiner 1989 (Proc. IEEE 77(2) 257-286) has the recursion; that a classifier's probability over
    the class's share stands in for the likelihood is of Bourlard & Morgan 1994 (Connectionist
    Speech Recognition, Kluwer). An epoch is predicted from itself and those before it.
    """

    shares: NDArray[np.float64]
    """Of the classes in the epochs that the classifier was fitted to, shape (4,)."""
    first: NDArray[np.float64]
    """Probability of the class of a night's first epoch, shape (4,)."""
    transitions: NDArray[np.float64]
    """Probability of an epoch's class (column) after the class before (row), shape (4, 4)."""
    weight: float = 1.0
    """Exponent of the likelihood. Neighbouring epochs share most of what their features look back
    on, so that each brings less news than its probabilities claim: below 1."""

    @classmethod
    def estimate(cls, nights: Sequence[PreparedNight], *, weight: float = 1.0) -> ForwardFilter:
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
