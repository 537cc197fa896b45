"""What one connection may take up: bytes around bodies, and time, before anybody is authenticated.

uvicorn's own protocols, with the limits that they lack.
"""

# ruff: noqa: D102 - methods of uvicorn's are named and mean what they do there

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from sleepstage.server.middleware import SECURITY_HEADERS
from sleepstage.server.problems import problem
from sleepstage.server.settings import Settings

if TYPE_CHECKING:
    import asyncio

    from uvicorn._types import ASGISendEvent
    from websockets.frames import Frame

_MAX_HEADERS: Final = 100
_MAX_PIPELINED: Final = 20
_MAX_FRAGMENTS: Final = 1000


class _RefusedError(Exception):
    """Makes uvicorn's parser give up."""


class HttpProtocol(HttpToolsProtocol):
    """A connection, with limits on its headers, on what surrounds a body, and on its time.

    uvicorn's parser calls the methods named ``on_*`` while `data_received` feeds it.
    """

    def __init__(self, *given: Any, settings: Settings, **named: Any) -> None:
        super().__init__(*given, **named)
        self._settings = settings
        self._refusal = 400, "this is not a valid HTTP/1.1 request"
        most = f"at most {settings.max_header} bytes, as has what surrounds a body"
        self._too_large = 431, f"the request line and headers have {most}"
        self._in_headers = self._in_body = self._complete = False
        self._n_raw = 0  # bytes of a message that has not ended yet
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._settings.max_connections:
            self._refuse(503, "too many connections are open; try again")
        else:
            self._timer = self.loop.call_later(self._settings.header_seconds, self._expect_body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._complete = False
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._complete:  # what follows a message in the same piece is not counted
            self._n_raw = 0
            self._unwatch()
        else:
            self._n_raw += len(data)
        limits = self._settings
        if not self._in_body and self._n_raw > limits.max_header:
            self._refuse(*self._too_large)
        elif self._n_raw > limits.max_header + 2 * self._max_body:  # endless chunk extensions
            self._refuse(413, f"a body has at most {self._max_body} bytes")
        elif self._timer is None and (self._n_raw or self._in_headers or self._in_body):
            self._timer = self.loop.call_later(self._settings.header_seconds, self._expect_body)

    @property
    def _max_body(self) -> int:
        """Of the body under way; what still comes of an upload that was answered is dropped."""
        limit = self._settings.body_limit(self.scope) if self._in_body else 0
        usual = self._settings.max_body
        return limit if limit > usual and not self.cycle.response_complete else usual

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_headers:  # trailers must not pass for headers
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        # Those of a whole request may have come in one piece.
        limit = self._settings.max_header
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > limit:
            self._stop(*self._too_large)
        if len(self.headers) > _MAX_HEADERS:
            self._stop(431, f"a request has at most {_MAX_HEADERS} headers")
        if len(self.pipeline) == _MAX_PIPELINED:
            self._stop(429, f"a connection has at most {_MAX_PIPELINED} requests that wait")
        self._in_headers, self._in_body = False, True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body, self._complete = False, True
        super().on_message_complete()

    def _stop(self, status: int, detail: str) -> NoReturn:
        """Make the parser give up in the midst of headers."""
        self._refusal = status, detail
        raise _RefusedError

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Refuse; uvicorn calls this when its parser gives up."""
        self._refuse(*self._refusal)

    def _refuse(self, status: int, detail: str) -> None:
        """Answer, unless another answer is under way, and close."""
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete:
            answer = problem(status, detail, dict(SECURITY_HEADERS))
            headers = [*self.server_state.default_headers, *answer.raw_headers]
            lines = [b"%b: %b\r\n" % header for header in headers]
            start = [STATUS_LINE[status], *lines, b"connection: close\r\n\r\n"]
            self.transport.write(b"".join([*start, bytes(answer.body)]))
        self.transport.close()

    def _should_upgrade(self) -> bool:
        # A WebSocket is none of HTTP/1.0, and the handshake that follows would call it 1.1.
        return self.parser.get_http_version() == "1.1" and super()._should_upgrade()

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expect_body(self) -> None:
        """Headers have had their time; a body that has begun gets its own."""
        if self._in_body:
            self._timer = self.loop.call_later(self._settings.slow_seconds, self._give_up)
        else:
            self._give_up()

    def _give_up(self) -> None:
        # It is the server that does not read, or an upload, each piece of which `Guard` waits for.
        if self.flow.read_paused or self._max_body > self._settings.max_body:
            self._timer = self.loop.call_later(self._settings.slow_seconds, self._give_up)
        elif self._n_raw and not self._in_body:
            seconds = self._settings.header_seconds
            self._refuse(408, f"the headers did not come within {seconds:g} s")
        else:  # nothing was asked, or the route itself has answered that the body is late
            self.transport.close()


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """A WebSocket that keeps nothing that its client does not take or finish."""

    def data_received(self, data: bytes) -> None:
        if self.handshake_initiated and not self.handshake_complete:
            self.transport.close()  # nothing may come before the handshake is answered
        else:
            super().data_received(data)

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:  # nobody takes the answers: drop this one
            self.conn.data_to_send()

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        # uvicorn forgets this when a handshake is refused, and logs each as a fault of the server.
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.transport.abort()  # closed only, it would wait for what nobody takes

    def handle_cont(self, event: Frame) -> None:
        super().handle_cont(event)
        if len(self.frames) > _MAX_FRAGMENTS:  # empty ones have no size that could be too large
            self.transport.abort()
