"""Which epochs can't be staged, and why: the watch is not worn, or no data come.

Measured on the 26 nights of sleep-accel and on simulated tables (constant acceleration and normal
noise on each axis, 50 Hz): turns from summary to summary are as small on a sleeping wrist as on a
table, but a wrist drifts. Range of the peaks over some minutes, the axes added up: 99th percentile
of tables, and share of the worn epochs without an activity count that are below it::

    noise        0.5 mg          1.0 mg          1.5 mg          2.0 mg
    drift_5m     0.8 mg, 0.00 %  1.6 mg, 0.21 %  2.5 mg, 1.7 %   3.3 mg, 4.7 %
    drift_15m    1.0 mg, 0.00 %  1.9 mg, 0.00 %  2.8 mg, 0.03 %  3.9 mg, 0.22 %

With heart rate removed from whole nights, the limits below call 0.49 % of the worn epochs not worn
(5 % in the worst night, none in 17 of 26). Where heart rate was there and has stopped, 6.7 % of the
worn epochs are still enough, but only 0.08 % have a heart rate that is overdue.
"""

from typing import Final

import numpy as np

from sleepstage._utils.arrays import Codes, Floats32
from sleepstage.engine.features import FEATURE_NAMES
from sleepstage.stages import NO_DATA, NOT_WORN

_TWO_HOURS: Final = 240  # epochs
_PATIENCE: Final = 300.0  # s that a heart rate may be overdue
_DRIFT: Final = 4.0e-3  # g over 5 minutes, where heart rate has stopped; over 15 without any
_DRIFT_UNSEEN: Final = 1.8e-3  # g over 5 minutes, where no heart rate was seen for 30
_DRIFT_SLOW: Final = 20.0e-3  # g over 15 minutes: noise of a sensor that is read rarely
_READ: Final = ("hr_overdue", "motion_windows_5m", "counts_5m", "drift_5m", "drift_15m")
_COLUMNS: Final = [FEATURE_NAMES.index(name) for name in _READ]


def unscored_reasons(rows: Floats32) -> Codes:
    """Why each row's epoch can't be staged, a code of `sleepstage.stages.REASONS`; 0 where it can.

    An epoch can always be staged while the age of heart rate exceeds its usual gap by 5 minutes at
    most. Else there are no data without motion for 5 minutes, and the watch is not worn where it
    lay still for as long (15, if its sensor is noisy and no heart rate was seen for 30 minutes).
    """
    overdue, n_windows, counts, drift_5m, drift_15m = rows[:, _COLUMNS].T
    unseen = np.isnan(overdue)
    steady = drift_5m <= np.where(unseen, _DRIFT_UNSEEN, _DRIFT).astype(np.float32)
    still = (counts == 0) & (steady | (drift_15m <= _DRIFT))
    reasons = np.where(n_windows == 0, NO_DATA, np.where(still, NOT_WORN, 0))
    return np.where(unseen | (overdue > _PATIENCE), reasons, 0).astype(np.int8)


def never_worn(rows: Floats32) -> bool:
    """Whether the watch lay still for a recording of two hours or more, and saw no heart rate.

    Sensors that are read rarely show more noise than `unscored_reasons` allows, but somebody who
    sleeps turns over now and then.
    """
    overdue, _, counts, _, drift = rows[:, _COLUMNS].T
    still = (counts == 0) & (drift <= _DRIFT_SLOW)
    return len(rows) >= _TWO_HOURS and bool(np.isnan(overdue).all() and still.mean() > 0.9)
