"""Sessions whose work failed: each rests, longer after each failure, while others are worked on."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from cachetools import LRUCache

from sleepstage.errors import StoreError
from sleepstage.server.workers import WorkerDiedError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Failing"]

_log = logging.getLogger(__name__)

_SHORTEST: Final = 10.0  # s of rest
_LONGEST: Final = 3600.0
_REPORT_SECONDS: Final = 60.0
_REMEMBERED: Final = 100_000


class Failing:
    """Remembers which sessions failed; in memory, as another server may succeed.

    `clock` gives monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rests: LRUCache[str, tuple[float, float]] = LRUCache(maxsize=_REMEMBERED)
        self._unreported: Counter[str] = Counter()
        self._next_report = clock()

    def __len__(self) -> int:
        return len(self._rests)

    def rests(self, session_id: str) -> bool:
        """Whether it is too early to try this session again."""
        _, until = self._rests.get(session_id, (0.0, 0.0))
        return self._clock() < until

    def add(self, session_id: str, error: BaseException) -> None:
        """Let a session rest, unless it was the store that failed.

        Of the error its type and notes are logged: its text may have measured values.
        """
        if isinstance(error, StoreError) and not isinstance(error, WorkerDiedError):
            return
        before, _ = self._rests.get(session_id, (0.0, 0.0))
        seconds = min(max(2 * before, _SHORTEST), _LONGEST)
        self._rests[session_id] = seconds, self._clock() + seconds
        name = " ".join([type(error).__name__, *getattr(error, "__notes__", [])])
        self._unreported[name] += 1

    def forget(self, session_id: str) -> None:
        """Work on this session succeeded, or it was deleted."""
        self._rests.pop(session_id, None)

    def report(self) -> None:
        """Log the failures, once a minute at most, without anything of a session."""
        if not self._unreported or self._clock() < self._next_report:
            return
        self._next_report = self._clock() + _REPORT_SECONDS
        kinds = ", ".join(f"{name}: {count}" for name, count in self._unreported.items())
        self._unreported.clear()
        _log.warning(
            "work on %d sessions fails (%s); each is tried again within an hour",
            len(self._rests),
            kinds,
        )
