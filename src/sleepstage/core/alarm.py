"""A smart alarm: it rings in light sleep or to somebody awake, and at its deadline in any case."""

from dataclasses import dataclass
from typing import Final

from sleepstage.core.hypnogram import Epoch
from sleepstage.errors import DataError
from sleepstage.stages import EPOCH_SECONDS

_RINGS: Final = {"wake": "awake", "light": "light"}


@dataclass(frozen=True)
class Alarm:
    """When somebody wants to be woken.

    Raises `DataError` if the deadline is before the earliest time.
    """

    earliest: float
    """It never rings before, in seconds on the session's clock."""
    deadline: float
    """It rings then at the latest, whatever the stage is, and without any data, too."""

    def __post_init__(self) -> None:
        if not self.earliest <= self.deadline:
            raise DataError(
                f"the alarm's deadline {self.deadline:.15g} is before its earliest time "
                f"{self.earliest:.15g}: give both in seconds on one clock, the deadline second"
            )

    def reason(self, now: float, newest: Epoch | None) -> str:
        """Why it rings at `now`: ``awake``, ``light`` or ``deadline``; empty while it does not.

        Ask after each push, and at the deadline.

        Parameters
        ----------
        now : float
            In seconds on the session's clock.
        newest : Epoch or None
            The last epoch that was emitted. It counts if it ended after `earliest`; deep sleep,
            REM and an epoch without a stage never ring before the deadline.
        """
        if now >= self.deadline:
            return "deadline"
        if newest is None or newest.time + EPOCH_SECONDS <= self.earliest or now < self.earliest:
            return ""
        return _RINGS.get(newest.stage, "")
