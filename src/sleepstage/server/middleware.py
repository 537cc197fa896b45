"""ASGI middleware: what a request passes before its route, and what completes its answer.

No page of another site, no stranger and no large body reaches a route that changes something. Every
answer has headers of security and is measured; a fault is answered without details.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection

from sleepstage.errors import SleepstageError
from sleepstage.server.problems import answer, problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from sleepstage.server.limits import Slots
    from sleepstage.server.monitoring import Metrics
    from sleepstage.server.settings import Settings

_log = logging.getLogger(__name__)

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
"""Where a route has not set them itself."""

_READING: Final = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing."""


class Answers:
    """ASGI middleware that completes and measures answers, those to refusals and faults as well."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def send_complete(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(raw=message["headers"])
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_complete)
        except ClientDisconnect:  # in the midst of its body: nobody waits for an answer
            pass
        except (SleepstageError, HTTPException) as error:  # by one of the middleware within
            if status:
                raise
            await answer(error)(scope, receive, send_complete)
        except Exception as error:
            if not status:  # what was sent is not shown to anybody; raised, it comes to the log
                detail = f"a fault of the server ({type(error).__name__}); please report it"
                await problem(500, detail)(scope, receive, send_complete)
            raise
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            seconds = time.perf_counter() - began
            self._metrics.requests.labels(scope["method"], route, str(status)).observe(seconds)
            # The route, never the path: addresses of sessions belong to people.
            shown = {"route": route, "method": scope["method"], "status": status}
            _log.debug("request", extra={**shown, "milliseconds": round(seconds * 1000, 1)})


class Strangers:
    """ASGI middleware that refuses pages from elsewhere and strangers who would change something.

    Reading has no body, and some of it is for everybody: its routes ask themselves, as do those of
    WebSockets.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        changes = scope["type"] == "websocket" or scope.get("method", "GET") not in _READING
        if changes and _is_foreign(Headers(scope=scope)):
            detail = "a page of another origin may not do this"
            await problem(403, detail)(scope, receive, send)
            return
        if changes and scope["type"] == "http":
            access = scope["app"].state.service.access
            scope["visitor"] = await access.authenticate(HTTPConnection(scope))
        await self._app(scope, receive, send)


class Bodies:
    """ASGI middleware that limits requests that may have a body."""

    def __init__(self, app: ASGIApp, *, settings: Settings, slots: Slots) -> None:
        self._app = app
        self._settings = settings
        self._slots = slots

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or scope["method"] in _READING:
            await self._app(scope, receive, send)
            return
        self._check_length(Headers(scope=scope).get("content-length", "0"))
        self._slots.check()
        with self._slots.open():
            await self._app(scope, self._limited(receive), send)

    def _check_length(self, length: str) -> None:
        limit = self._settings.max_body
        if not length.isdecimal() or int(length) > limit:
            raise _too_large(limit)

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
                raise HTTPException(408, f"the body did not come within {within:g} s") from error
            size += len(message.get("body", b""))
            if size > limit:
                raise _too_large(limit)
            complete = not message.get("more_body", False)
            return message

        return receive_limited


def _is_foreign(headers: Headers) -> bool:
    """Whether a browser states that another site's page made this request."""
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != headers.get("host")


def _too_large(limit: int) -> HTTPException:
    return HTTPException(413, f"a body has at most {limit} bytes; send smaller messages")
