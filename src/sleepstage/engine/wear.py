"""Which epochs can't be staged, and why: the watch is not worn, or no data come.

A pure function of the feature rows, so that it holds live and in batch alike.

What was measured, on the 26 nights of sleep-accel and on simulated tables (constant acceleration
and normal noise on each axis, 50 Hz). Turns from summary to summary don't tell a sleeping wrist
from a table: both are as small as the sensor's noise. But a wrist drifts, and a table does not, so
that the range of the peaks over some minutes (`drift_5m`, `drift_15m`: largest less smallest, the
axes added up) does. The 99th percentile of tables, and how many of the worn epochs lie below such a
limit with no activity count in 5 minutes:

====================== ======= ======= ======= =======
noise                  0.5 mg  1.0 mg  1.5 mg  2.0 mg
====================== ======= ======= ======= =======
drift over 5 minutes   0.8 mg  1.6 mg  2.5 mg  3.3 mg
worn epochs below      0.00 %  0.2 %   1.7 %   4.7 %
drift over 15 minutes  1.0 mg  1.9 mg  2.8 mg  3.9 mg
worn epochs below      0.00 %  0.00 %  0.03 %  0.2 %
====================== ======= ======= ======= =======

Real watches have less than 0.8 mg: the stillest wrists bound it. With heart rate removed from the
whole night, the limits below call 0.49 % of the worn epochs not worn (5 % in the worst night, none
in 17 of 26), and find tables of up to 1 mg in 5 minutes, of 2 mg in 15. A heart rate that was there
and has stopped is evidence in itself: then 4 mg over 5 minutes suffice. That finds all of these
tables; 6.7 % of the worn epochs are as still, but heart rate is overdue in 0.08 % of them only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sleepstage.engine.features import FEATURE_NAMES
from sleepstage.stages import NO_DATA, NOT_WORN

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PATIENCE: Final = 300.0  # s that a heart rate may be overdue
_DRIFT: Final = 4.0e-3  # g over 5 minutes, where heart rate has stopped; over 15 without any
_DRIFT_UNSEEN: Final = 1.8e-3  # g over 5 minutes, where no heart rate was seen for 30
_COLUMNS: Final = tuple(
    FEATURE_NAMES.index(name)
    for name in ("hr_overdue", "motion_windows_5m", "counts_5m", "drift_5m", "drift_15m")
)


def unscored_reasons(rows: NDArray[np.float32]) -> NDArray[np.int8]:
    """Why each epoch can't be staged, as a code of `sleepstage.stages.REASONS`; 0 where it can.

    An epoch with current heart rate can always be staged: a heart rate is overdue once it is more
    than 5 minutes older than the usual gap. Without one there are

    - no data where no motion was measured for 5 minutes,
    - and the watch is not worn where it lay still for 5 minutes (15, if it is noisy and no heart
      rate was seen for 30 minutes).

    Parameters
    ----------
    rows : ndarray, shape (n_epochs, n_features)
        From `sleepstage.engine.features.push`.

    Returns
    -------
    ndarray of int8, shape (n_epochs,)
    """
    overdue, n_windows, counts, drift_5m, drift_15m = rows[:, _COLUMNS].T
    unseen = np.isnan(overdue)
    steady = drift_5m <= np.where(unseen, _DRIFT_UNSEEN, _DRIFT)
    still = (counts == 0) & (steady | (drift_15m <= _DRIFT))
    reasons = np.where(n_windows == 0, NO_DATA, np.where(still, NOT_WORN, 0))
    return np.where(unseen | (overdue > _PATIENCE), reasons, 0).astype(np.int8)
