"""What every request passes first: limits, the check of its origin, headers of safety, the log."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers, MutableHeaders

from sleepstage.service.problems import SlowError, TooLargeError, problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from sleepstage.service.metrics import Metrics
    from sleepstage.service.settings import Settings

__all__ = ["Gate"]

_log = logging.getLogger(__name__)

_READING: Final = ("GET", "HEAD", "OPTIONS")
_FOREIGN: Final = "a page of another origin may not do this"
_SAFETY: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Gate:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, *, settings: Settings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._n_waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif _is_foreign(Headers(scope=scope)):
            await problem(403, _FOREIGN)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, status = time.perf_counter(), 0

        async def send_safely(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answer = MutableHeaders(raw=message["headers"])
                for name, value in _SAFETY.items():
                    answer.setdefault(name, value)
                answer.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            await self._pass_on(scope, receive, send_safely)
        except Exception as error:
            if not status:  # what was sent is not shown to anybody; raised, it comes to the log
                detail = f"a fault of the server ({type(error).__name__}); please report it"
                await problem(500, detail)(scope, receive, send_safely)
            raise
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            seconds = time.perf_counter() - began
            self._metrics.requests.labels(scope["method"], route, str(status)).observe(seconds)
            # The route, never the path: addresses of sessions belong to people.
            shown = {"route": route, "method": scope["method"], "status": status}
            _log.debug("request", extra={**shown, "milliseconds": round(seconds * 1000, 1)})

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in _READING:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if _is_foreign(headers):
            await problem(403, _FOREIGN)(scope, receive, send)
            return
        limit = self._settings.max_body
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > limit:
            await problem(413, _too_large(limit))(scope, receive, send)
            return
        if self._n_waiting >= self._settings.max_waiting:
            await problem(503, "too many requests are under way; try again")(scope, receive, send)
            return
        self._n_waiting += 1
        try:
            await self._app(scope, self._limited(receive), send)
        finally:
            self._n_waiting -= 1

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


def _is_foreign(headers: Headers) -> bool:
    """Whether a browser says that another site's page made this request."""
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != headers.get("host")
