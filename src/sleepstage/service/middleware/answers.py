"""Every answer has headers of security and is measured; a fault is answered without details."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect

from sleepstage.service.problems import problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from sleepstage.service.metrics import Metrics

__all__ = ["SECURITY_HEADERS", "Answers"]

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


class Answers:
    """ASGI middleware that completes and measures answers."""

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
                answer = MutableHeaders(raw=message["headers"])
                for name, value in SECURITY_HEADERS.items():
                    answer.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_complete)
        except ClientDisconnect:  # in the midst of its body: nobody waits for an answer
            pass
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
