"""Sleep and wake by what was trained on other people: ours, and the reference's learnt methods."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sleepstage.errors import SleepstageError
from sleepstage.evaluation.experiment import evaluate, plan
from sleepstage.ml.baselines import walch_features
from sleepstage.ml.classifier import OneStep, scored_rows
from sleepstage.ml.registry import CLASSIFIERS
from sleepstage.stages import FOUR_CLASS, TWO_CLASS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from sleepstage.core.hypnogram import Hypnogram
    from sleepstage.io.source import Progress
    from sleepstage.ml.classifier import Classifier, Probabilities
    from sleepstage.ml.dataset import PreparedNight

FOLDS: Final = 5
WAKE, LIGHT = map(FOUR_CLASS.classes.index, ("wake", "light"))


class Staged(NamedTuple):
    """A night by one method, shape (n_epochs,) each."""

    asleep: NDArray[np.bool_]
    score: NDArray[np.float64] | None
    """The higher, the more likely asleep."""


@dataclass(frozen=True)
class ReferenceLogistic(OneStep):
    """Logistic regression of sleep and wake on what the neural network of Walch et al. reads."""

    live: ClassVar[bool] = False

    def _learn(self, nights: Sequence[PreparedNight]) -> Probabilities:
        seen = [replace(night, rows=walch_features(night.recording)) for night in nights]
        rows, codes = scored_rows(seen)
        model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
        return partial(_wake_or_light, model.fit(rows, codes == WAKE))


def _wake_or_light(model: Any, night: PreparedNight) -> NDArray[np.floating]:
    """Four classes, of which two are never predicted."""
    wake = model.predict_proba(walch_features(night.recording))[:, 1]
    found = np.zeros((len(wake), len(FOUR_CLASS)))
    found[:, WAKE], found[:, LIGHT] = wake, 1 - wake
    return found


WHOLE_NIGHT: Final[Mapping[str, Classifier]] = {
    "sleepstage, whole night": CLASSIFIERS["ensemble-night"],
}
METHODS: Final[Mapping[str, Classifier]] = {
    "sleepstage, live": CLASSIFIERS["ensemble"],
    "logistic regression on our features": CLASSIFIERS["logistic"],
    "the reference's neural network": CLASSIFIERS["walch"],
    "the reference's logistic regression": ReferenceLogistic(),
}
"""Ours by the recipes of the models in the package."""


def stage_held_out(
    nights: Sequence[PreparedNight],
    methods: Mapping[str, Classifier],
    out: Path,
    on_run: Progress,
) -> dict[str, dict[str, Staged]]:
    """Of each method, all nights by subject: each by a model that was not trained on the person.

    Runs that lie in `out` are not done again. Raises the error of a run that could not be done.
    """
    people = [night.subject for night in nights]
    tasks = plan(people, "kfold", methods, number=FOLDS, seed=0)
    found: dict[str, dict[str, Staged]] = {name: {} for name in methods}
    for task, outcome in evaluate(nights, tasks, out, jobs=1, on_run=on_run).items():
        if isinstance(outcome, SleepstageError):
            raise outcome
        for subject, night in outcome.scored.items():
            found[task.name][subject] = _staged(night.predicted)
    return found


def _staged(predicted: Hypnogram) -> Staged:
    assert predicted.probabilities is not None
    asleep = predicted.merge(TWO_CLASS).codes == TWO_CLASS.classes.index("sleep")
    return Staged(asleep, 1 - predicted.probabilities[:, WAKE].astype(np.float64))
