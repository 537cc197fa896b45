"""What the probabilities are worth: ranking of each class, calibration, certainty, REM errors.

All epochs are pooled. Curves hold at most 100 points, areas are of all points.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics

from sleepstage.core.agreement import ScoredNight, agreement
from sleepstage.core.hypnogram import certainty, likeliest
from sleepstage.errors import DataError
from sleepstage.evaluation.schema import CertaintyPoint, Curve, Reliability, RemPoint
from sleepstage.stages import FOUR_CLASS, Scheme

Floats = NDArray[np.float64]
Nights = Mapping[str, ScoredNight]

REM_FACTORS: Final = tuple(2.0 ** (step / 4) for step in range(-8, 9))
"""A quarter to four times, in equal ratios; 1 among them."""

_POINTS: Final = 100
_SET_ASIDE: Final = tuple(step / 20 for step in range(20))


def roc_curves(nights: Nights, scheme: Scheme) -> dict[str, Curve | None]:
    """Receiver operating characteristic of each class; None where it or every other is absent.

    Probabilities of merged classes are added up. Epochs without probabilities are left out, in all
    functions here but `rem_trade_off` and `selective_accuracy`.

    Raises `DataError` if a predicted night has no probabilities, or no epoch of all that count has.
    """
    return _each_class(nights, scheme, _roc)


def precision_recall_curves(nights: Nights, scheme: Scheme) -> dict[str, Curve | None]:
    """Precision against recall of each class; otherwise as `roc_curves`.

    The curve of chance is flat, at the share of the class: for rare classes this is more telling.
    """
    return _each_class(nights, scheme, _precision_recall)


def reliability(nights: Nights, scheme: Scheme, *, n_bins: int = 15) -> Reliability:
    """Reliability curve and expected calibration error of the most probable class.

    In `n_bins` bins between 0 and 1 (Guo et al. 2017, On calibration of modern neural networks,
    ICML). Errors as of `roc_curves`.
    """
    reference, probabilities = _with_probabilities(nights, scheme)
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == reference).astype(np.float64)
    bins = np.minimum((confidence * n_bins).astype(np.int64), n_bins - 1)
    member = bins == np.arange(n_bins)[:, np.newaxis]  # (n_bins, n_epochs)
    n_epochs, sums, hits = member.sum(axis=1), member @ confidence, member @ right
    means, shares = (
        [float(part / n) if n else None for part, n in zip(parts, n_epochs, strict=True)]
        for parts in (sums, hits)
    )
    return Reliability(
        edges=np.linspace(0, 1, n_bins + 1).tolist(),
        confidence=means,
        accuracy=shares,
        n_epochs=n_epochs.tolist(),
        expected_calibration_error=float(np.abs(hits - sums).sum() / len(bins)),
    )


def selective_accuracy(
    nights: Nights, scheme: Scheme, *, shares: Sequence[float] = _SET_ASIDE
) -> list[CertaintyPoint]:
    """Agreement of the epochs that are left when the least certain ones are set aside.

    One threshold for all people, as an application would have it. Epochs without probabilities are
    wrong, and the first to go; with none set aside the numbers are those of `rem_trade_off` at
    factor 1. Of epochs that are equally certain, those that come first go first. See Geifman and
    El-Yaniv (2017), Selective classification for deep neural networks, NeurIPS.

    The `shares` to set aside are each from 0 to below 1. Errors as of `roc_curves`.
    """
    reference, probabilities = _pooled(nights, scheme)
    predicted, certain = likeliest(probabilities), certainty(probabilities)
    order = np.argsort(certain, kind="stable")
    points = []
    for share in shares:
        left = order[int(share * len(order)) :]
        found = agreement(reference[left], predicted[left], scheme)
        least = float(certain[left[0]])
        points.append(CertaintyPoint(share, len(left), least, found.accuracy, found.kappa))
    return points


def rem_trade_off(
    nights: Nights, *, weights: Sequence[float] = REM_FACTORS, scheme: Scheme = FOUR_CLASS
) -> list[RemPoint]:
    """Agreement when REM is made more or less probable before the most probable class is taken.

    Epochs without probabilities stay unscored, which counts as wrong: where the stages are the
    most probable classes of `scheme`, weight 1 gives `sleepstage.core.agreement.report`.

    Errors as of `roc_curves`, and a `DataError` if the scheme has no class ``rem``.
    """
    if "rem" not in scheme.classes:
        raise DataError(f"{scheme.name} has no class 'rem': choose a scheme with one")
    reference, probabilities = _pooled(nights, scheme)
    points = []
    for weight in map(float, weights):
        by_class = np.where(np.array(scheme.classes) == "rem", weight, 1.0)
        found = agreement(reference, likeliest(probabilities * by_class), scheme)
        of_rem = found.recall["rem"], found.precision["rem"]
        points.append(RemPoint(weight, *of_rem, found.accuracy, found.kappa, found.macro_f1))
    return points


def _each_class(
    nights: Nights, scheme: Scheme, draw: Callable[[NDArray[np.bool_], Floats], Curve]
) -> dict[str, Curve | None]:
    reference, probabilities = _with_probabilities(nights, scheme)
    return {
        name: draw(reference == code, probabilities[:, code])
        if 0 < np.mean(reference == code) < 1
        else None
        for code, name in enumerate(scheme.classes)
    }


def _roc(is_class: NDArray[np.bool_], probability: Floats) -> Curve:
    false, true, _ = metrics.roc_curve(is_class, probability)
    return _curve(false, true, metrics.roc_auc_score(is_class, probability), along=false + true)


def _precision_recall(is_class: NDArray[np.bool_], probability: Floats) -> Curve:
    precision, recall, _ = metrics.precision_recall_curve(is_class, probability)
    area = metrics.average_precision_score(is_class, probability)
    return _curve(recall[::-1], precision[::-1], area, along=recall[::-1])


def _curve(x: Floats, y: Floats, area: float, *, along: Floats) -> Curve:
    """Keep points that lie evenly `along` the curve, the first and the last among them."""
    kept = np.unique(np.searchsorted(along, np.linspace(along[0], along[-1], _POINTS)))
    return Curve(x[kept].tolist(), y[kept].tolist(), float(area))


def _with_probabilities(nights: Nights, scheme: Scheme) -> tuple[NDArray[np.int8], Floats]:
    reference, probabilities = _pooled(nights, scheme)
    known = ~np.isnan(probabilities).any(axis=1)
    return reference[known], probabilities[known]


def _pooled(nights: Nights, scheme: Scheme) -> tuple[NDArray[np.int8], Floats]:
    """Expert's codes, shape (n,), and probabilities, (n, n_classes), of the epochs that count."""
    codes = [np.empty(0, dtype=np.int8)]
    rows = [np.empty((0, len(scheme)))]
    for person, night in nights.items():
        reference = night.reference.merge(scheme).codes
        probabilities = night.predicted.merge(scheme).probabilities
        if probabilities is None:
            msg = f"the predicted night of {person!r} has no probabilities: give one of a model"
            raise DataError(msg)
        codes.append(reference[night.counted])
        rows.append(probabilities[night.counted].astype(np.float64))
    pooled = np.concatenate(rows)
    if np.isnan(pooled).any(axis=1).all():
        raise DataError(f"no epoch of {len(nights)} nights is scored, counts and has probabilities")
    return np.concatenate(codes), pooled
