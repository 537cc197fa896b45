"""What is counted, and refused where it is too much."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from cachetools import TTLCache

from sleepstage.server.problems import BusyError, TooFastError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Gauge

__all__ = ["Rate", "Slots"]

_WINDOW: Final = 10  # s over which messages are counted


class Rate:
    """Counts messages of each session, and refuses too many."""

    def __init__(self, per_second: int) -> None:
        self._limit = per_second * _WINDOW
        self._counts: TTLCache[str, list[int]] = TTLCache(100_000, _WINDOW)

    def take(self, key: str) -> None:
        """Count one more.

        Raises
        ------
        TooFastError
            If there were too many in these ten seconds.
        """
        count = self._counts.setdefault(key, [0])
        count[0] += 1
        if count[0] > self._limit:
            msg = f"more than {self._limit} messages in {_WINDOW} s; put more into each"
            raise TooFastError(msg)


class Slots:
    """Counts what goes on at the same time, and refuses more than `limit`.

    The refusal names `what` is counted, and `gauge` shows how many there are.
    """

    def __init__(self, limit: int, what: str, gauge: Gauge | None = None) -> None:
        self._limit, self._what, self._gauge = limit, what, gauge
        self.n_open = 0

    def check(self) -> None:
        """Refuse if there are as many as allowed.

        Raises
        ------
        BusyError
            If so.
        """
        if self.n_open >= self._limit:
            msg = f"{self.n_open} {self._what}, as many as the server takes; try again"
            raise BusyError(msg)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Count one more while the block runs."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        self.n_open += change
        if self._gauge is not None:
            self._gauge.set(self.n_open)
