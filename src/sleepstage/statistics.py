"""What a night amounts to: minutes asleep, awake before and after, and in each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sleepstage.errors import DataError
from sleepstage.stages import EPOCH_SECONDS, TWO_CLASS, UNSCORED

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sleepstage.hypnogram import Hypnogram

__all__ = ["SleepStatistics", "sleep_statistics"]

_EPOCH_MINUTES: Final = EPOCH_SECONDS / 60


@dataclass(frozen=True)
class SleepStatistics:
    """Sleep statistics of one night, over the epochs that count.

    Where somebody sleeps, time in bed is sleep onset latency + total sleep time + wake after
    sleep onset.

    Attributes
    ----------
    time_in_bed : float
        Minutes that count.
    total_sleep_time : float
        Minutes of any class but wake.
    sleep_onset_latency : float or None
        Minutes awake before the first epoch of sleep; None where there is no sleep.
    wake_after_sleep_onset : float or None
        Minutes awake from then to the end; None where there is no sleep.
    sleep_efficiency : float or None
        Total sleep time as a share of time in bed, 0 to 1; None where no epoch counts.
    minutes : dict of str to float
        Of each class of the hypnogram's scheme.
    """

    time_in_bed: float
    total_sleep_time: float
    sleep_onset_latency: float | None
    wake_after_sleep_onset: float | None
    sleep_efficiency: float | None
    minutes: dict[str, float]


def sleep_statistics(
    hypnogram: Hypnogram, *, mask: NDArray[np.bool_] | None = None
) -> SleepStatistics:
    """Sleep statistics as the AASM manual and Menghini et al. define them.

    Epochs that are unscored or outside the mask are left out as if the night were that much
    shorter: they are neither sleep nor wake, and do not lengthen the sleep onset latency. Times
    are true where they are few.

    Parameters
    ----------
    hypnogram : Hypnogram
        In any scheme. Its first epoch is lights off, its last one ends at lights on.
    mask : ndarray of bool, shape (n_epochs,), optional
        Epochs that count; all by default.

    Raises
    ------
    DataError
        If the mask has another shape than the hypnogram.

    References
    ----------
    AASM Manual for the Scoring of Sleep and Associated Events, section II (report of a study).
    Menghini et al. (2021), A standardized framework for testing the performance of sleep-tracking
    technology, Sleep 44(2), zsaa170.
    """
    counted = hypnogram.codes != UNSCORED
    if mask is not None:
        if mask.shape != counted.shape:
            msg = f"the mask has shape {mask.shape}, the hypnogram {counted.shape}: give both alike"
            raise DataError(msg)
        counted &= mask
    codes = hypnogram.codes[counted]
    asleep = hypnogram.merge(TWO_CLASS).codes[counted] == TWO_CLASS.classes.index("sleep")
    onset = int(asleep.argmax()) if asleep.any() else None
    return SleepStatistics(
        time_in_bed=_minutes(len(codes)),
        total_sleep_time=_minutes(asleep.sum()),
        sleep_onset_latency=None if onset is None else _minutes(onset),
        wake_after_sleep_onset=None if onset is None else _minutes((~asleep[onset:]).sum()),
        sleep_efficiency=float(asleep.mean()) if len(codes) else None,
        minutes={
            name: _minutes((codes == code).sum())
            for code, name in enumerate(hypnogram.scheme.classes)
        },
    )


def _minutes(n_epochs: float) -> float:
    return float(n_epochs * _EPOCH_MINUTES)
