"""Nights changed on purpose: to see what a poorer signal costs, and what a leak would claim."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from sleepstage.features import FEATURE_NAMES, SUMMARIES, extract_features
from sleepstage.samples import Samples
from sleepstage.stages import UNSCORED
from sleepstage.training.nights import Night

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["CHANGES", "LEAK_COLUMN"]

LEAK_COLUMN: Final = "steps_24h"
"""Where the true stage before is put; the default features leave this column out."""

_TESTED_SHARE: Final = 0.10


def thin(night: Night, seconds: float) -> Night:
    """One heart rate in so many seconds, as from a watch that saves its battery."""
    beats = night.recording.heart_rate
    kept, last = [], -np.inf
    for index, time in enumerate(beats.times):
        if time - last >= seconds:
            kept.append(index)
            last = time
    samples = Samples(beats.times[kept], beats.values[kept])
    recording = replace(night.recording, heart_rate=samples)
    return Night(recording, extract_features(recording), night.codes)


def normalise(night: Night) -> Night:
    """LEAK: each heart-rate feature against its mean and spread over the whole night."""
    rows = night.rows.astype(np.float64)
    for column, feature in enumerate(SUMMARIES):
        known = rows[~np.isnan(rows[:, column]), column]
        if feature.signal == "heart_rate" and len(known):
            rows[:, column] = (rows[:, column] - known.mean()) / (known.std() + 1e-6)
    return replace(night, rows=rows.astype(np.float32))


def tell_stage_before(night: Night) -> Night:
    """LEAK: the expert's stage of the epoch before stands among the features."""
    rows = night.rows.copy()
    before = np.concatenate([[UNSCORED], night.codes[:-1]]).astype(np.float32)
    rows[:, FEATURE_NAMES.index(LEAK_COLUMN)] = before
    return replace(night, rows=rows)


def _drawn(night: Night) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Epochs that test, a random tenth; the same whenever asked."""
    seed = int.from_bytes(night.subject.encode(), "little")
    return np.random.default_rng(seed).random(len(night.codes)) < _TESTED_SHARE


def keep_most(night: Night) -> Night:
    """LEAK: nine epochs of ten, to train on; the others lie between them."""
    return replace(night, codes=np.where(_drawn(night), UNSCORED, night.codes).astype(np.int8))


def keep_drawn(night: Night) -> Night:
    """LEAK: the other tenth, to test on."""
    return replace(night, codes=np.where(_drawn(night), night.codes, UNSCORED).astype(np.int8))


Change = tuple["Callable[[Night], Night]", "Callable[[Night], Night]"]

CHANGES: Final[Mapping[str, Change]] = MappingProxyType(
    {
        "": (lambda night: night, lambda night: night),
        "heart rate each minute": (lambda n: thin(n, 60), lambda n: thin(n, 60)),
        "heart rate each 5 minutes": (lambda n: thin(n, 300), lambda n: thin(n, 300)),
        "whole-night normalisation": (normalise, normalise),
        "true stage before": (tell_stage_before, tell_stage_before),
        "random epochs": (keep_most, keep_drawn),
    }
)
"""By name: what is done to training nights, and to test nights."""
