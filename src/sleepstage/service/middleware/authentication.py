"""Whoever wants to change something is known before their body is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection

from sleepstage.errors import SleepstageError
from sleepstage.service.middleware.origin import READING
from sleepstage.service.problems import answer

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Authentication"]


class Authentication:
    """ASGI middleware that refuses strangers who would change something.

    Reading has no body, and some of it is for everybody: its routes ask themselves.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and scope["method"] not in READING:
            try:
                access = scope["app"].state.service.access
                scope["visitor"] = await access.authenticate(HTTPConnection(scope))
            except SleepstageError as error:
                await answer(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)
