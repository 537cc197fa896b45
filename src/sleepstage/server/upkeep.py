"""What goes on beside requests: changes, failures, what is to be erased, and old sessions."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cachetools import LRUCache

from sleepstage.errors import StoreError
from sleepstage.server.problems import UnknownSessionError
from sleepstage.server.workers import WorkerDiedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sleepstage.server.sessions import SessionService
    from sleepstage.server.settings import Settings
    from sleepstage.server.store import Store

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

_SWEEP_SECONDS: Final = 5.0
_SWEPT: Final = 500  # sessions that a sweep takes at a time
_TURN_SECONDS: Final = 10.0  # that a sweep closes nights, or deletes some
_ERASE_EVERY: Final = 60.0  # s


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
            async with asyncio.timeout(seconds):
                await changed.wait()
        except TimeoutError:
            pass
        finally:
            del watchers[changed]
            if not watchers and self._watchers.get(session_id) is watchers:
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
        _log.warning(
            "work on %d sessions fails (%s); each is tried again within an hour",
            len(self._rests),
            kinds,
        )


class Erasing:
    """Erases in the background, until the store reports that it is done."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asked: asyncio.Task[None] | None = None
        self._running: asyncio.Task[None] | None = None
        self._ended = -_ERASE_PAUSE
        self._logged = ""

    def ask(self) -> asyncio.Task[None]:
        """Have all erased that was deleted up to now."""
        if self._asked is None:
            self._asked = asyncio.create_task(self._erase(self._running))
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

    async def _erase(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
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


class Upkeep:
    """Looks after all sessions of a store; every server does."""

    def __init__(self, nights: SessionService, settings: Settings) -> None:
        self._nights = nights
        self._settings = settings
        self._next_erasing = 0.0

    async def run(self) -> None:
        """Sweep again and again, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._nights.changes.run())
            while True:
                await asyncio.sleep(_SWEEP_SECONDS)
                try:
                    await self.sweep()
                except StoreError as error:
                    _log.error("the store does not answer: %s", error)
                except Exception as error:
                    _log.error("sessions are not looked after (%s)", type(error).__name__)

    async def sweep(self) -> None:
        """Do once what `run` does again and again."""
        nights, store = self._nights, self._nights.store
        for session_id in await self._rested(store.due):
            nights.start(session_id)
        since = nights.clock() - 3600 * self._settings.silent_hours
        silent = await self._rested(partial(store.silent, since=since))
        await self._each(silent, partial(nights.close, silent_since=since))
        since = nights.clock() - 24 * 3600 * self._settings.keep_days
        outdated = await store.outdated(since=since, limit=_SWEPT)
        await self._each(outdated, partial(nights.delete, heard_before=since))
        nights.failing.report()
        # A deletion asks for it, too; this is for messages that are used, and for what other
        # servers left behind.
        if time.monotonic() >= self._next_erasing:
            self._next_erasing = time.monotonic() + _ERASE_EVERY
            nights.erasing.ask()

    async def _rested(self, ask: Callable[..., Awaitable[list[str]]]) -> list[str]:
        failing = self._nights.failing
        found = await ask(limit=_SWEPT + len(failing))  # so that they hide no others
        return [session_id for session_id in found if not failing.rests(session_id)][:_SWEPT]

    async def _each(self, sessions: Sequence[str], step: Callable[[str], Awaitable[Any]]) -> None:
        """Do it; whatever is wrong with one session, the others are looked after all the same."""
        nights, until = self._nights, time.monotonic() + _TURN_SECONDS
        for session_id in sessions:
            try:
                await step(session_id)
            except UnknownSessionError:  # somebody was faster
                nights.failing.forget(session_id)
            except StoreError as error:
                nights.failing.add(session_id, error)
                await nights.store.ping()  # is it the store, or this session?
            except Exception as error:
                nights.failing.add(session_id, error)
            else:
                nights.failing.forget(session_id)
            if time.monotonic() >= until:  # the others have their turn in the next sweep
                return
