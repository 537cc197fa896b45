"""What goes on beside requests: changes are passed on, failures remembered, deletions erased."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from cachetools import LRUCache

from sleepstage.errors import StoreError
from sleepstage.server.store import Store
from sleepstage.server.workers import WorkerDiedError

_log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 1.0  # between looks for changes by other servers

_SHORTEST_REST: Final = 10.0  # s, after a failure
_LONGEST_REST: Final = 3600.0
_REPORT_SECONDS: Final = 60.0
_REMEMBERED: Final = 100_000  # sessions that failed

_ERASE_PAUSE: Final = 0.5  # s between two times: others write to the store as well
_FIRST_RETRY: Final = 1.0  # s until it is tried again; then twice as many
_LAST_RETRY: Final = 60.0
_DELETION_SECONDS: Final = 5.0  # that a deletion waits until all is erased


class Changes:
    """Waits for sessions to change.

    Changes by this server are notified at once. For what others change, the store is asked every
    second for the versions of all sessions that are watched here, in one request.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._watchers: dict[str, dict[asyncio.Event, int]] = {}  # each with the version it knows
        self.stopped = False

    async def wait(self, session_id: str, version: int, *, seconds: float) -> None:
        """Return once the session may be another than that of this version, or time is up."""
        if self.stopped:
            return
        changed = asyncio.Event()
        watchers = self._watchers.setdefault(session_id, {})
        watchers[changed] = version
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await changed.wait()
        finally:
            del watchers[changed]
            if not watchers:
                del self._watchers[session_id]

    def notify(self, session_id: str) -> None:
        """Wake all who watch this session."""
        for changed in self._watchers.get(session_id, ()):
            changed.set()

    def stop(self) -> None:
        """Wake everybody, for good."""
        self.stopped = True
        for session_id in self._watchers:
            self.notify(session_id)

    async def run(self) -> None:
        """Ask the store until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self._look()
            except StoreError as error:
                _log.warning("can't look for changes: %s", error)

    async def _look(self) -> None:
        if not self._watchers:
            return
        versions = await self._store.versions(list(self._watchers))
        for session_id, watchers in self._watchers.items():
            for changed, version in watchers.items():
                if version != versions.get(session_id):
                    changed.set()


class Failing:
    """Remembers which sessions failed; in memory, as another server may succeed."""

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
        seconds = min(max(2 * before, _SHORTEST_REST), _LONGEST_REST)
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
        msg = "work on %d sessions fails (%s); each is tried again within an hour"
        _log.warning(msg, len(self._rests), kinds)


class Erasing:
    """Erases in the background, until the store reports that it is done."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asked: asyncio.Task[None] | None = None
        self._running: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._ended = -_ERASE_PAUSE
        self._logged = ""

    def ask(self) -> asyncio.Task[None]:
        """Have all erased that was deleted up to now."""
        if self._asked is None:
            self._asked = asyncio.create_task(self._erase())
        return self._asked

    async def wait(self) -> None:
        """Return when all is erased that was deleted up to now, or after some seconds."""
        await asyncio.wait([self.ask()], timeout=_DELETION_SECONDS)

    async def aclose(self) -> None:
        """End what is under way; another server, or the next one, erases the rest."""
        tasks = [task for task in (self._asked, self._running) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _erase(self) -> None:
        async with self._turn:
            await asyncio.sleep(self._ended + _ERASE_PAUSE - time.monotonic())
            # What is deleted from now on may not be erased by this.
            self._running, self._asked = self._asked, None
            seconds = _FIRST_RETRY
            while not await self._is_erased():
                await asyncio.sleep(seconds)
                seconds = min(2 * seconds, _LAST_RETRY)
            self._ended = time.monotonic()

    async def _is_erased(self) -> bool:
        try:
            return await self._store.erase()
        except StoreError as error:
            if str(error) != self._logged:
                _log.warning("what was deleted is not erased yet; trying again: %s", error)
            self._logged = str(error)
            return False
