"""Nights changed on purpose: to see what a poorer signal costs, and what a leak would claim."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from sleepstage.engine.features import FEATURE_NAMES, SUMMARIES, extract_features
from sleepstage.ml.dataset import PreparedNight
from sleepstage.ml.variants import thin
from sleepstage.stages import UNSCORED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

__all__ = ["CHANGES", "LEAK_COLUMN"]

LEAK_COLUMN: Final = "drift_15m"
"""Where the true stage before is put; the default features leave this column out."""

_TESTED_SHARE: Final = 0.10


def sparse(night: PreparedNight, seconds: float) -> PreparedNight:
    """One heart rate in so many seconds, as from a watch that saves its battery."""
    recording = thin(night.recording, seconds)
    return PreparedNight(recording, extract_features(recording), night.codes)


def _with_rows(
    night: PreparedNight, change: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> PreparedNight:
    return replace(night, rows=change(night.rows))


def normalise(night: PreparedNight) -> PreparedNight:
    """LEAK: each heart-rate feature against its mean and spread over the whole night."""

    def change(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        changed = rows.astype(np.float64)
        for column, feature in enumerate(SUMMARIES):
            known = changed[~np.isnan(changed[:, column]), column]
            if feature.signal == "heart_rate" and len(known):
                changed[:, column] = (changed[:, column] - known.mean()) / (known.std() + 1e-6)
        return changed.astype(np.float32)

    return _with_rows(night, change)


def tell_stage_before(night: PreparedNight) -> PreparedNight:
    """LEAK: the expert's stage of the epoch before stands among the features."""
    before = np.concatenate([[UNSCORED], night.codes[:-1]]).astype(np.float32)

    def change(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        changed = rows.copy()
        changed[:, FEATURE_NAMES.index(LEAK_COLUMN)] = before
        return changed

    return _with_rows(night, change)


def _drawn(night: PreparedNight) -> NDArray[np.bool_]:
    """Epochs that test, a random tenth; the same whenever asked."""
    seed = int.from_bytes(night.subject.encode(), "little")
    return np.random.default_rng(seed).random(len(night.codes)) < _TESTED_SHARE


def keep_most(night: PreparedNight) -> PreparedNight:
    """LEAK: nine epochs of ten, to train on; the others lie between them."""
    return replace(night, codes=np.where(_drawn(night), UNSCORED, night.codes).astype(np.int8))


def keep_drawn(night: PreparedNight) -> PreparedNight:
    """LEAK: the other tenth, to test on."""
    return replace(night, codes=np.where(_drawn(night), night.codes, UNSCORED).astype(np.int8))


Change = tuple[
    "Callable[[PreparedNight], PreparedNight]", "Callable[[PreparedNight], PreparedNight]"
]

CHANGES: Final[Mapping[str, Change]] = MappingProxyType(
    {
        "": (lambda night: night, lambda night: night),
        "heart rate each minute": (lambda n: sparse(n, 60), lambda n: sparse(n, 60)),
        "heart rate each 5 minutes": (lambda n: sparse(n, 300), lambda n: sparse(n, 300)),
        "whole-night normalisation": (normalise, normalise),
        "true stage before": (tell_stage_before, tell_stage_before),
        "random epochs": (keep_most, keep_drawn),
    }
)
"""By name: what is done to training nights, and to test nights."""
