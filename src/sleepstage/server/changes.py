"""Notify whoever watches a session of changes, whichever server made them."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sleepstage.errors import StoreError

if TYPE_CHECKING:
    from sleepstage.server.store.contract import Store

__all__ = ["Changes"]

_log = logging.getLogger(__name__)
_LOOK_SECONDS: Final = 1.0


@dataclass(eq=False)
class _Watcher:
    version: int
    event: asyncio.Event = field(default_factory=asyncio.Event)


class Changes:
    """Waits for sessions to change.

    Changes by this server are notified at once. For what others change, the store is asked every
    second for the versions of all sessions that are watched here, in one request.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._watchers: dict[str, set[_Watcher]] = {}
        self.stopped = False

    async def wait(self, session_id: str, version: int, *, seconds: float) -> None:
        """Return once the session may be another than that of this version, or time is up."""
        if self.stopped:
            return
        watcher = _Watcher(version)
        watchers = self._watchers.setdefault(session_id, set())
        watchers.add(watcher)
        try:
            async with asyncio.timeout(seconds):
                await watcher.event.wait()
        except TimeoutError:
            pass
        finally:
            watchers.discard(watcher)
            if not watchers and self._watchers.get(session_id) is watchers:
                del self._watchers[session_id]

    def notify(self, session_id: str) -> None:
        """Wake all who watch this session."""
        for watcher in self._watchers.get(session_id, ()):
            watcher.event.set()

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
            for watcher in watchers:
                if watcher.version != versions.get(session_id):
                    watcher.event.set()
