"""The classic rules of pyActigraphy, on activity counts: minutes without motion data count none.

Its rules give no score, so each is asked at many thresholds: the score of a minute is the share of
them at which it is sleep. Cole-Kripke's score is that before the rescoring of its neighbours.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pyActigraphy.io import BaseRaw

if TYPE_CHECKING:
    from adapters.run import Night

PACKAGE = "pyActigraphy"


def counts(night: Night) -> Any:
    """Counts of each window of 15 s, as a series of whole minutes."""
    per_window = np.zeros(2 * (night.n_epochs + night.n_epochs % 2))
    windows = np.round(night.ends / 15).astype(int) - 1
    known = (windows >= 0) & (windows < len(per_window))
    per_window[windows[known]] = night.summaries[known, 0]
    index = pd.date_range("2000-01-01", periods=len(per_window), freq="15s")
    return pd.Series(per_window, index=index)


def raw(series: Any) -> Any:
    """The series as pyActigraphy's readers of files give it."""
    first, last, step = series.index[0], series.index[-1], pd.Timedelta(series.index.freq)
    return BaseRaw("night", "", "counts", None, first, last - first, step, series, None)


def load(rule: str, epoch: str, thresholds: Any, **before: Any) -> tuple[Any, Any]:
    """Whether each epoch is sleep, and its score."""

    def minutes(night: Night) -> Any:
        return getattr(raw(counts(night).resample(epoch).sum()), rule)

    def epochs(night: Night, per_minute: Any) -> Any:
        return np.repeat(per_minute, 2)[: night.n_epochs]

    def asleep(night: Night) -> Any:
        return epochs(night, minutes(night)().to_numpy() == 1)

    def score(night: Night) -> Any:
        decide = minutes(night)
        found = [decide(threshold=one, **before).to_numpy() == 1 for one in thresholds]
        return epochs(night, np.mean(found, axis=0))

    return asleep, score


METHODS = {
    "CK": partial(load, "CK", "30s", np.geomspace(1e-2, 1e2, 40), rescoring=False),
    "Sadeh": partial(load, "Sadeh", "60s", np.linspace(-30, 7.6, 40)),
    "Scripps": partial(load, "Scripps", "60s", np.geomspace(1e-2, 1e2, 40)),
}
