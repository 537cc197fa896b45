"""What goes wrong, as problem details (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from sleepstage.errors import DataError, SleepstageError, SnapshotError, StoreError
from sleepstage.server.message import TooManyError

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request

_log = logging.getLogger(__name__)


class UnauthorizedError(SleepstageError):
    """No token, or one that is unknown, expired or revoked."""


class UnknownSessionError(SleepstageError):
    """There is no such session."""


class OverError(SleepstageError):
    """Refused because of what came before: the night is over, or a name is taken."""


REFUSED: Final = (SleepstageError, HTTPException)
"""What is answered with a problem. What nobody handles by its kind is an `HTTPException`."""

_STATUS: Final[dict[type[SleepstageError], int]] = {
    UnauthorizedError: 401,
    UnknownSessionError: 404,
    OverError: 409,
    TooManyError: 413,
    DataError: 422,
    SnapshotError: 503,
    StoreError: 503,
}
_HEADERS: Final = {
    401: {"WWW-Authenticate": "Bearer"},
    429: {"Retry-After": "10"},  # seconds
    503: {"Retry-After": "2"},
}


def describe(error: SleepstageError | HTTPException) -> dict[str, Any]:
    """Problem details of an error."""
    if isinstance(error, HTTPException):
        status, detail = error.status_code, error.detail
    else:
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
        detail = "there is no such session" if status == 404 else str(error)
    if isinstance(error, StoreError):  # it names a path or an address
        _log.error("%s", error)
        detail = "the store does not answer, or takes nothing now; try again"
    title = HTTPStatus(status).phrase
    return {"type": "about:blank", "title": title, "status": status, "detail": detail}


def answer(error: SleepstageError | HTTPException) -> Response:
    """Answer with problem details of an error."""
    details = describe(error)
    status = details["status"]
    headers = {**(getattr(error, "headers", None) or {}), **_HEADERS.get(status, {})}
    return Response(orjson.dumps(details), status, headers, "application/problem+json")


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with problem details."""
    return answer(HTTPException(status, detail, headers))


def add_handlers(app: FastAPI) -> None:
    """Have what FastAPI itself refuses answered with problem details; all else is for `Answers`."""

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        # What goes wrong as FastAPI reads a body is hidden behind a status of 400.
        if error.status_code == 400 and error.__cause__ is not None:
            return problem(422, f"body: not JSON ({error.__cause__})")
        return answer(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        content_type = request.headers.get("content-type", "")
        if first["loc"] == ("body",) and "json" not in content_type:
            what = "send it as JSON, with the header Content-Type: application/json"
            return problem(422, f"body: {what}")
        where = ".".join(str(part) for part in first["loc"])
        return problem(422, f"{where}: {first['msg']}")
