"""Bodies have a limited size and time, and only so many requests are under way at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from sleepstage.errors import SleepstageError
from sleepstage.service.middleware.origin import READING
from sleepstage.service.problems import SlowError, TooLargeError, answer

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from sleepstage.service.limits import Slots
    from sleepstage.service.settings import Settings

__all__ = ["Bodies"]


class Bodies:
    """ASGI middleware that limits requests that may have a body."""

    def __init__(self, app: ASGIApp, *, settings: Settings, slots: Slots) -> None:
        self._app = app
        self._settings = settings
        self._slots = slots

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or scope["method"] in READING:
            await self._app(scope, receive, send)
            return
        try:
            self._check_length(Headers(scope=scope).get("content-length", "0"))
            self._slots.check()
        except SleepstageError as error:
            await answer(error)(scope, receive, send)
            return
        with self._slots.open():
            await self._app(scope, self._limited(receive), send)

    def _check_length(self, length: str) -> None:
        limit = self._settings.max_body
        if not length.isdecimal() or int(length) > limit:
            raise TooLargeError(_too_large(limit))

    def _limited(self, receive: Receive) -> Receive:
        limit, within = self._settings.max_body, self._settings.slow_seconds
        deadline = asyncio.get_running_loop().time() + within
        size, complete = 0, False

        async def receive_limited() -> Message:
            nonlocal size, complete
            if complete:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                msg = f"the body did not come within {within:g} s"
                raise SlowError(msg) from error
            size += len(message.get("body", b""))
            if size > limit:
                raise TooLargeError(_too_large(limit))
            complete = not message.get("more_body", False)
            return message

        return receive_limited


def _too_large(limit: int) -> str:
    return f"a body has at most {limit} bytes; send smaller messages"
