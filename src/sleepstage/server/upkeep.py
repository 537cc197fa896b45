"""What the server does by itself: work left undone, nights that ended, old nights, erasing."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from sleepstage.errors import StoreError
from sleepstage.server.problems import UnknownSessionError
from sleepstage.server.sessions import SessionService
from sleepstage.server.settings import Settings

_log = logging.getLogger(__name__)

_SWEEP_SECONDS: Final = 5.0
_SWEPT: Final = 500  # sessions that a sweep takes at a time
_TURN_SECONDS: Final = 10.0  # that a sweep closes nights, or deletes some
_ERASE_EVERY: Final = 60.0  # s


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
                with suppress(UnknownSessionError):  # somebody was faster
                    await step(session_id)
                nights.failing.forget(session_id)
            except Exception as error:
                nights.failing.add(session_id, error)
                if isinstance(error, StoreError):
                    await nights.store.ping()  # is it the store, or this session?
            if time.monotonic() >= until:  # the others have their turn in the next sweep
                return
