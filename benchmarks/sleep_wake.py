"""How well sleep is told from wake: at a method's own threshold, and at one for all methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Booleans = NDArray[np.bool_]
    Floats = NDArray[np.float64]

KEPT: Final = 0.97
"""Share of sleep that every method has to keep when they are compared at one threshold."""


class SleepWake(NamedTuple):
    """Agreement with an expert over epochs."""

    accuracy: float
    kappa: float
    sleep_kept: float
    """Share of the expert's sleep that is called sleep (sensitivity)."""
    wake_found: float
    """Share of the expert's wake that is called wake (specificity)."""
    wake_found_at_kept: float | None = None
    auc: float | None = None
    """These two None for a method that gives no score."""


def compare(expert: Booleans, asleep: Booleans, score: Floats | None = None) -> SleepWake:
    """Compare with an expert, epoch by epoch.

    Parameters
    ----------
    expert, asleep : ndarray of bool, shape (n_epochs,)
        True for sleep. The expert has both sleep and wake.
    score : ndarray of float, shape (n_epochs,), optional
        The higher, the more likely asleep.
    """
    found = SleepWake(
        accuracy=float(accuracy_score(expert, asleep)),
        kappa=float(cohen_kappa_score(expert, asleep)),
        sleep_kept=float(recall_score(expert, asleep)),
        wake_found=float(recall_score(expert, asleep, pos_label=False)),
    )
    if score is None:
        return found
    return found._replace(
        wake_found_at_kept=wake_found_at(expert, score), auc=float(roc_auc_score(expert, score))
    )


def wake_found_at(expert: Booleans, score: Floats, kept: float = KEPT) -> float:
    """Share of wake found at the highest threshold that keeps at least this share of sleep."""
    called_sleep, sleep_kept, _ = roc_curve(expert, score, drop_intermediate=False)
    return float(1 - called_sleep[np.argmax(sleep_kept >= kept)])
