"""The golden vectors of docs/golden."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sleepstage.core.samples import Samples
from sleepstage.engine.features import FEATURE_NAMES
from sleepstage.stages import FOUR_CLASS

FOLDER: Final = Path(__file__).parents[2] / "docs" / "golden"
ABOUT: Final[dict[str, Any]] = json.loads((FOLDER / "about.json").read_text("utf-8"))
SIGNALS: Final = ("heart_rate", "motion", "steps")

ROUNDING: Final = 1e-6
"""Of features, relative: both count in float64, and ours are kept in float32 (6e-8)."""

CLOSE: Final = 1e-5
"""Of probabilities: two engines add up float32 in another order, and a state carries it on."""


def samples(name: str) -> Samples:
    """What is in a file, as it is there."""
    rows = np.loadtxt(FOLDER / f"{name}.csv", delimiter=",", skiprows=1)
    return Samples(rows[:, 0], rows[:, 1] if rows.shape[1] == 2 else rows[:, 1:])


def _lines(name: str) -> list[dict[str, str]]:
    with (FOLDER / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def column(name: str) -> list[str]:
    """Words of each epoch."""
    return [line[name] for line in _lines("epochs")]


def numbers(group: str) -> NDArray[np.float64]:
    """Of each epoch and class."""
    names = [f"{group}_{name}" for name in FOUR_CLASS.classes]
    return np.array([[float(line[name] or "nan") for name in names] for line in _lines("epochs")])


def features() -> NDArray[np.float64]:
    """Rows of all features, NaN where unknown."""
    return np.array(
        [[float(line[name] or "nan") for name in FEATURE_NAMES] for line in _lines("features")]
    )
