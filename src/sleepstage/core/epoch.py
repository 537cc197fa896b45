"""30 s of a night, staged."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sleepstage.core.probabilities import certainty, likeliest
from sleepstage.stages import EPOCH_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sleepstage.stages import Scheme

__all__ = ["Epoch", "staged"]


@dataclass(frozen=True)
class Epoch:
    """30 s of a night, staged.

    Attributes
    ----------
    time : float
        Its start, in seconds on the session's clock.
    stage : str
        Name of its class; ``unscored`` where neither heart rate nor motion was seen for long.
    probabilities : mapping of str to float
        Of each class, NaN where unscored.
    confidence : float
        From 0 to 1; see `sleepstage.core.probabilities.certainty`.
    """

    time: float
    stage: str
    probabilities: Mapping[str, float]
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold: NaN becomes None."""
        known = {
            name: None if math.isnan(share) else round(share, 6)
            for name, share in self.probabilities.items()
        }
        return {**asdict(self), "probabilities": known, "confidence": round(self.confidence, 6)}


def staged(
    scheme: Scheme,
    start: float,
    first: int,
    probabilities: NDArray[np.float32],
    lit: NDArray[np.bool_],
    weights: NDArray[np.float64],
) -> list[Epoch]:
    """Epochs from number `first` on; those before the night are left out."""
    probabilities = np.where(lit[: len(probabilities), np.newaxis], probabilities, np.nan)
    names = (*scheme.classes, "unscored")
    codes = likeliest(probabilities * weights)
    confidence = certainty(probabilities)
    return [
        Epoch(
            time=start + number * EPOCH_SECONDS,
            stage=names[codes[row]],
            probabilities=dict(zip(scheme.classes, probabilities[row].tolist(), strict=True)),
            confidence=float(confidence[row]),
        )
        for row, number in enumerate(range(first, first + len(probabilities)))
        if number >= 0
    ]
