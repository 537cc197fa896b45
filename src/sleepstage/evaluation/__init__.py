"""Evaluation of classifiers on people they were not trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from sleepstage.errors import needs_extra
from sleepstage.evaluation.schema import Results

if TYPE_CHECKING:
    from sleepstage.ml.classifier import Classifier

__all__ = ["PROTOCOLS", "evaluate"]

PROTOCOLS: Final = ("holdout", "kfold", "loso")
"""See `sleepstage.evaluation.experiment.plan`."""


def evaluate(
    models: Mapping[str, str | Classifier | Callable[[], Classifier]],
    data: str | Path,
    *,
    protocol: str = "holdout",
    number: int = 6,
    seed: int = 0,
    jobs: int = -1,
    out: str | Path | None = None,
) -> Results:
    """Train and test classifiers on the same splits by person, as ``sleepstage evaluate`` does.

    Parameters
    ----------
    models : mapping of str to str, class or Classifier
        By the name for the results; see `sleepstage.ml.registry.find_classifier`. Every run fits a
        fresh copy of the classifier's settings, with a seed of its own.
    data : path
        Scored nights, as `open_nights` takes them.
    protocol, number, seed, jobs, out
        See `sleepstage.evaluation.experiment`; without `out`, no run is kept.

    Returns
    -------
    Results
        Every run, and the summary of all; see `sleepstage.evaluation.schema`.

    Raises
    ------
    DataError
        If a model or the data can't be used, or no run could be done.
    MissingExtraError
        Without the extra ``train``.
    """
    with needs_extra("evaluating", "train"):
        from sleepstage.evaluation import experiment
        from sleepstage.evaluation.results import results
        from sleepstage.evaluation.run import load_nights
        from sleepstage.ml.registry import find_classifier

    chosen = {name: find_classifier(one) for name, one in models.items()}
    nights = load_nights(data)
    subjects = [night.subject for night in nights]
    tasks = experiment.plan(subjects, protocol, chosen, number=number, seed=seed)
    with TemporaryDirectory() as temporary:
        return results(experiment.evaluate(nights, tasks, Path(out or temporary), jobs=jobs))
