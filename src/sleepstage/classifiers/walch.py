"""The classifier that was published with the sleep-accel nights, for comparison; it is not live.

Walch et al. 2019 (Sleep 42(12) zsz180), reproduced with code of our own from the paper and from
github.com/ojwalch/sleep_classifiers, commit 9e78825. Like theirs: the count feature, the heart
rate feature, the cosine that stands for the body clock, and the neural network (scikit-learn's,
three layers of 15 rectified units, at most 1000 steps of L-BFGS, where later commits have Adam;
features are not scaled, classes not balanced: they set class weights, which this network does not
read).

What differs:

- Four classes; theirs are wake and sleep, or wake, NREM and REM.
- The likeliest class is told; they report points of ROC curves, the best of them chosen on the
  people tested.
- The weight of the squared coefficients is fixed at the 0.01 that they start from; they search
  1e-1 to 1e-5 in three folds of the training epochs.
- The clock is their cosine, which their code has used since December 2019; the paper's own is a
  model of the body clock, driven by the steps of the days before.
- Details of the features; `sleepstage.classifiers.walch_features` has them.
- What is unknown is put at its mean, so that every epoch has a class.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline

from sleepstage.classifiers.base import OneStep
from sleepstage.classifiers.contract import scored_rows
from sleepstage.classifiers.walch_features import walch_features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sleepstage.classifiers.base import Probabilities
    from sleepstage.training.nights import Night

__all__ = ["Walch"]


@dataclass(frozen=True)
class Walch(OneStep):
    """The neural network of Walch et al. 2019; the module says what differs from theirs.

    Not live: windows reach 285 s into the future, and heart rate is normalised by the whole night.

    Attributes
    ----------
    alpha : float
        Weight of the squared coefficients.
    max_steps : int
        Steps of L-BFGS at most.
    """

    live: ClassVar[bool] = False
    alpha: float = 0.01
    max_steps: int = 1000

    def _learn(self, nights: Sequence[Night]) -> Probabilities:
        network = MLPClassifier(
            (15, 15, 15),
            solver="lbfgs",
            alpha=self.alpha,
            max_iter=self.max_steps,
            random_state=self.seed,
        )
        model = make_pipeline(SimpleImputer(), network)
        seen = [replace(night, rows=walch_features(night.recording)) for night in nights]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return partial(_told, model.fit(*scored_rows(seen)))


def _told(model: Any, night: Night) -> NDArray[np.floating]:
    return np.asarray(model.predict_proba(walch_features(night.recording)))
