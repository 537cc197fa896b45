"""What a request passes before its route, and what a client may take up.

No page of another site, no stranger and no large body reaches a route that changes something. Every
answer has headers of security and is measured; a fault is answered without details.
"""

from __future__ import annotations

import asyncio
import logging
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cachetools import TTLCache
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request

from sleepstage.errors import DataError
from sleepstage.server.monitoring import Metrics
from sleepstage.server.problems import REFUSED, answer, problem
from sleepstage.server.settings import Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

T = TypeVar("T")
_log = logging.getLogger(__name__)

_GZIP: Final = 16 + zlib.MAX_WBITS
_QUICK: Final = 1 << 14  # bytes that are read faster than a thread can be had for them
_WINDOW: Final = 10  # s over which messages are counted

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

_READING: Final = ("GET", "HEAD", "OPTIONS")  # methods that change nothing


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
        except REFUSED as error:
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


class Guard:
    """ASGI middleware for requests that change something, or begin a WebSocket.

    It refuses pages from elsewhere, strangers, and bodies that are too large or too slow. Reading
    has no body, and some of it is for everybody: its routes ask who it is themselves, as do those
    of WebSockets.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings, slots: Slots) -> None:
        self._app = app
        self._settings = settings
        self._slots = slots

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan" or scope.get("method") in _READING:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if _is_foreign(headers):
            await problem(403, "a page of another origin may not do this")(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        else:
            access = scope["app"].state.service.access
            scope["visitor"] = await access.authenticate(HTTPConnection(scope))
            limit = self._settings.body_limit(scope)
            length = headers.get("content-length", "0")
            if not length.isdecimal() or int(length) > limit:
                raise _too_large(limit)
            self._slots.check()
            with self._slots.open():
                await self._app(scope, self._limited(receive, limit), send)

    def _limited(self, receive: Receive, limit: int) -> Receive:
        """Limit the bytes of a body, and its time: of an upload, that of each piece."""
        loop, within = asyncio.get_running_loop(), self._settings.slow_seconds
        whole, deadline = limit <= self._settings.max_body, loop.time() + within
        size, complete = 0, False

        async def receive_limited() -> Message:
            nonlocal size, complete
            if complete:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline if whole else loop.time() + within):
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
    return HTTPException(413, f"a body has at most {limit} bytes; send less at a time")


class Rate:
    """Counts messages of each session, and refuses too many."""

    def __init__(self, per_second: int) -> None:
        self._limit = per_second * _WINDOW
        self._counts: TTLCache[str, list[int]] = TTLCache(100_000, _WINDOW)

    def take(self, key: str) -> None:
        """Count one more. Raises `HTTPException` if there were too many in these ten seconds."""
        count = self._counts.setdefault(key, [0])
        count[0] += 1
        if count[0] > self._limit:
            msg = f"more than {self._limit} messages in {_WINDOW} s; put more into each"
            raise HTTPException(429, msg)


class Slots:
    """Counts what goes on at the same time; refuses more than `limit`, and names `what` it is."""

    def __init__(self, limit: int, what: str) -> None:
        self._limit, self._what = limit, what
        self.n_open = 0

    def check(self) -> None:
        """Raise `HTTPException` if there are as many as allowed."""
        if self.n_open >= self._limit:
            msg = f"{self.n_open} {self._what}, as many as the server takes; try again"
            raise HTTPException(503, msg)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Count one more while the block runs."""
        self.n_open += 1
        try:
            yield
        finally:
            self.n_open -= 1


async def read_body(request: Request, settings: Settings) -> bytes:
    """Give the body of a request, unpacked.

    Raises `DataError` if it is damaged; `HTTPException` with status 415 if it is encoded in another
    way than gzip, with 413 if it is larger than allowed once it is unpacked.
    """
    body = await request.body()
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        msg = f"Content-Encoding: {encoding[:40]} is not known here; use gzip, or none"
        raise HTTPException(415, msg, {"Accept-Encoding": "gzip"})
    return await asyncio.to_thread(_unpack, body, settings.max_body)


def _unpack(body: bytes, limit: int) -> bytes:
    stream = zlib.decompressobj(_GZIP)
    try:
        unpacked = stream.decompress(body, limit + 1)
    except zlib.error as error:
        msg = f"body: not gzip ({error}); compress it again, or send it without Content-Encoding"
        raise DataError(msg) from error
    if len(unpacked) > limit:
        msg = f"a body has at most {limit} bytes once it is unpacked; send smaller messages"
        raise HTTPException(413, msg)
    if not stream.eof or stream.unused_data:
        wrong = "more follows after its end" if stream.eof else "it is cut short"
        raise DataError(f"body: {wrong}; expected one gzip stream of {len(body)} bytes")
    return unpacked


async def read_aside(read: Callable[..., T], body: bytes, *given: Any) -> T:
    """Call ``read(body, *given)``, in a thread if that takes long."""
    if len(body) <= _QUICK:
        return read(body, *given)
    return await asyncio.to_thread(read, body, *given)
