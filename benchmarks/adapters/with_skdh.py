"""scikit-digital-health: sleep of each minute by Cole-Kripke's rule, from raw acceleration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from skdh.sleep import Sleep

if TYPE_CHECKING:
    from adapters.run import Night

PACKAGE = "scikit-digital-health"
BEGIN = 946_681_200  # 1999-12-31 23:00 UTC


def load() -> tuple[Any, None]:
    """Its whole analysis of a night, with the predictions of each minute."""

    def asleep(night: Night) -> Any:
        work = Sleep(save_per_minute_results=True)
        whole = {(12, 24): np.array([[0, len(night.raw_times) - 1]])}
        times = night.raw_times + BEGIN
        work.predict(time=times, accel=night.raw, fs=50.0, day_ends=whole)
        return np.repeat(work.sleep_aux["rest predictions"][0], 2)

    return asleep, None


METHODS = {"Sleep": load}
