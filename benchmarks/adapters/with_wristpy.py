"""wristpy: windows of sleep by the angle of the arm, from raw acceleration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
from wristpy.core.models import Measurement
from wristpy.processing.analytics import GgirSleepDetection
from wristpy.processing.metrics import angle_relative_to_horizontal

if TYPE_CHECKING:
    from adapters.run import Night

PACKAGE = "wristpy"


def load() -> tuple[Any, None]:
    """Onset and end of sleep; it does not score epochs."""

    def asleep(night: Night) -> Any:
        microseconds = pl.Series("time", (night.raw_times * 1e6).astype("int64"))
        motion = Measurement(measurements=night.raw, time=microseconds.cast(pl.Datetime("us")))
        angle = angle_relative_to_horizontal(motion, 5.0)
        return GgirSleepDetection(angle).run_sleep_detection().sleep_windows

    return asleep, None


METHODS = {"GGIR": load}
