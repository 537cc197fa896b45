"""What a night amounts to: minutes asleep and awake, in each class, and how soon they came."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from sleepstage._utils.arrays import Codes, Mask
from sleepstage.errors import DataError
from sleepstage.stages import EPOCH_SECONDS, NO_DATA, NOT_WORN, UNSCORED

_EPOCH_MINUTES: Final = EPOCH_SECONDS / 60

PERSISTENT_EPOCHS: Final = 20
"""Sleep that lasts 10 minutes is persistent."""


@dataclass(frozen=True)
class SleepStatistics:
    """Sleep statistics of one night, over the epochs that count; None where there is no sleep.

    Where somebody sleeps, time in bed is sleep onset latency + total sleep time + wake after
    sleep onset.
    """

    time_in_bed: float
    """TIB: minutes that count."""
    total_sleep_time: float
    """TST: minutes of any class but wake."""
    sleep_period_time: float | None
    """SPT: minutes from the first epoch of sleep to the end of the last one."""
    sleep_onset_latency: float | None
    """SOL: minutes awake before the first epoch of sleep."""
    latency_to_persistent_sleep: float | None
    """LPS: minutes before the first of 20 consecutive epochs of sleep; None where there is none."""
    wake_after_sleep_onset: float | None
    """WASO: minutes awake from then to the end, lying awake in the morning included."""
    sleep_efficiency: float | None
    """SE: total sleep time as a share of time in bed, 0 to 1; None only where no epoch counts."""
    sleep_maintenance_efficiency: float | None
    """SME: total sleep time as a share of the sleep period time."""
    awakenings: int
    """Stretches of wake, of any length, with sleep before and after."""
    rem_latency: float | None
    deep_latency: float | None
    """Minutes from the first epoch of sleep to the first one of deep sleep (N3), as for REM; both
    None where there is none or the scheme does not have it."""
    minutes: dict[str, float]
    """Of each class of the hypnogram's scheme."""
    shares: dict[str, float]
    """Of total sleep time, 0 to 1, of each class but wake; empty where there is no sleep."""
    not_worn: float = 0.0
    no_data: float = 0.0
    """Minutes that were not staged because the watch was not worn, or because no data came."""


def sleep_statistics(
    codes: Codes, classes: tuple[str, ...], reasons: Codes, mask: Mask | None
) -> SleepStatistics:
    """Sleep statistics as the AASM manual and Menghini et al. define them.

    Epochs that are unscored or outside the mask are left out as if the night were that much
    shorter: they are neither sleep nor wake, and do not lengthen the sleep onset latency. Times
    are true where they are few. The first epoch is lights off, the last one ends at lights on.

    Sources: AASM manual, section II (report of a study); Menghini et al. 2021, Sleep 44(2) zsaa170;
    for latency to persistent sleep Rosenberg et al. 2019, JAMA Netw Open 2(12) e1918254.

    Codes of classes and of reasons have shape (n_epochs,), and so has the mask of the epochs that
    count; another one is a `DataError`.
    """
    counted = codes != UNSCORED
    if mask is not None:
        if mask.shape != counted.shape:
            msg = f"the mask has shape {mask.shape}, the hypnogram {counted.shape}: give both alike"
            raise DataError(msg)
        counted &= mask
        reasons = reasons[mask]
    names = np.array(classes)[codes[counted]]
    asleep = names != "wake"
    minutes = {name: _minutes((names == name).sum()) for name in classes}
    onset, offset = _span(asleep)
    period = asleep[onset:offset]
    n_asleep = int(asleep.sum())
    sleeping = [name for name in classes if name != "wake" and n_asleep]
    return SleepStatistics(
        time_in_bed=_minutes(len(names)),
        total_sleep_time=_minutes(n_asleep),
        sleep_period_time=_minutes(len(period)) if n_asleep else None,
        sleep_onset_latency=_minutes(onset) if n_asleep else None,
        latency_to_persistent_sleep=_persistent_latency(asleep),
        wake_after_sleep_onset=_minutes((~asleep[onset:]).sum()) if n_asleep else None,
        sleep_efficiency=n_asleep / len(names) if len(names) else None,
        sleep_maintenance_efficiency=n_asleep / len(period) if n_asleep else None,
        awakenings=int((period[:-1] & ~period[1:]).sum()),
        rem_latency=_first(np.isin(names[onset:], ["rem"])),
        deep_latency=_first(np.isin(names[onset:], ["deep", "n3"])),
        minutes=minutes,
        shares={name: minutes[name] / _minutes(n_asleep) for name in sleeping},
        not_worn=_minutes((reasons == NOT_WORN).sum()),
        no_data=_minutes((reasons == NO_DATA).sum()),
    )


def _span(asleep: Mask) -> tuple[int, int]:
    """First epoch of sleep and the one after the last; an empty span where there is none."""
    epochs = asleep.nonzero()[0]
    return (int(epochs[0]), int(epochs[-1]) + 1) if len(epochs) else (0, 0)


def _persistent_latency(asleep: Mask) -> float | None:
    n_asleep = np.concatenate([[0], asleep.cumsum()])
    persistent = n_asleep[PERSISTENT_EPOCHS:] - n_asleep[:-PERSISTENT_EPOCHS] == PERSISTENT_EPOCHS
    return _first(persistent)


def _first(found: Mask) -> float | None:
    """Minutes before the first epoch that is true; None where there is none."""
    return _minutes(int(found.argmax())) if found.any() else None


def _minutes(n_epochs: float) -> float:
    return float(n_epochs * _EPOCH_MINUTES)
