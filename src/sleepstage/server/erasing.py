"""Has the store take off its disk what was deleted: once for all that is deleted meanwhile."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from sleepstage.errors import StoreError

if TYPE_CHECKING:
    from sleepstage.server.store.contract import Store

__all__ = ["Erasing"]

_log = logging.getLogger(__name__)

_PAUSE: Final = 0.5  # s between two times: others write to the store as well
_AGAIN: Final = 1.0  # s until it is tried again; then twice as many
_LONGEST: Final = 60.0
_PATIENCE: Final = 5.0  # s that a deletion waits


class Erasing:
    """Erases in the background, until the store reports that it is done."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asked: asyncio.Task[None] | None = None
        self._running: asyncio.Task[None] | None = None
        self._ended = -_PAUSE
        self._logged = ""

    def ask(self) -> asyncio.Task[None]:
        """Have all erased that was deleted up to now."""
        if self._asked is None:
            self._asked = asyncio.create_task(self._erase(self._running))
        return self._asked

    async def wait(self) -> None:
        """Return when all is erased that was deleted up to now, or after some seconds."""
        await asyncio.wait([self.ask()], timeout=_PATIENCE)

    async def aclose(self) -> None:
        """End what is under way; another server, or the next one, erases the rest."""
        tasks = [task for task in (self._asked, self._running) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _erase(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        await asyncio.sleep(self._ended + _PAUSE - time.monotonic())
        # What is deleted from now on may not be erased by this.
        self._running, self._asked = self._asked, None
        seconds = _AGAIN
        while not await self._is_erased():
            await asyncio.sleep(seconds)
            seconds = min(2 * seconds, _LONGEST)
        self._ended = time.monotonic()

    async def _is_erased(self) -> bool:
        try:
            return await self._store.erase()
        except StoreError as error:
            if str(error) != self._logged:
                _log.warning("what was deleted is not erased yet; trying again: %s", error)
            self._logged = str(error)
            return False
