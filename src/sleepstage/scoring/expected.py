"""How well the models in the package do with signals like a night's."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from sleepstage.recording import Recording

__all__ = ["EXPECTED", "expected_accuracy"]

EXPECTED: Final = Path(__file__).parents[1] / "models" / "expected.json"
"""Of each model, its recipe's accuracy on people it was not trained on; ``make results`` writes
it."""


def expected_accuracy(model: str, recording: Recording) -> dict[str, Any] | None:
    """What was measured with signals most like these.

    Parameters
    ----------
    model : str
        Name of a model in the package.
    recording : Recording
        The night.

    Returns
    -------
    dict or None
        ``accuracy``, ``kappa`` and ``macro_f1``, means over ten folds of so many ``people``, in
        four classes; with ``motion`` or without, and with a heart rate in so many ``seconds``. None
        for another model, for a night without heart rate, and for one with motion where the model
        was measured without.
    """
    beats = recording.heart_rate.between(recording.start, recording.end).times
    motion = len(recording.motion) > 0
    rows = json.loads(EXPECTED.read_text(encoding="utf-8")).get(model, [])
    fitting = [row for row in rows if row["motion"] == motion]
    if len(beats) < 2 or not fitting:
        return None
    gap = max(float(np.median(np.diff(beats))), 1.0)
    best: dict[str, Any] = min(fitting, key=lambda row: abs(math.log(row["seconds"] / gap)))
    return best
