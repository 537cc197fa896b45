"""Pages of other sites may not use a browser that is allowed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers

from sleepstage.service.problems import problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["READING", "SameOrigin"]

READING: Final = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing."""


class SameOrigin:
    """ASGI middleware that refuses changes and WebSockets of pages from elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        changes = scope["type"] == "websocket" or scope.get("method", "GET") not in READING
        if changes and _is_foreign(Headers(scope=scope)):
            detail = "a page of another origin may not do this"
            await problem(403, detail)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _is_foreign(headers: Headers) -> bool:
    """Whether a browser says that another site's page made this request."""
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != headers.get("host")
