"""Bodies of messages: unpacked, limited, and read without holding up other requests."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Any, Final, TypeVar

from starlette.exceptions import HTTPException

from sleepstage.errors import DataError
from sleepstage.server.problems import TooLargeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import Request

    from sleepstage.server.settings import Settings

__all__ = ["read_aside", "read_body"]

T = TypeVar("T")

_GZIP: Final = 16 + zlib.MAX_WBITS
_QUICK: Final = 1 << 14  # bytes that are read faster than a thread can be had for them


async def read_body(request: Request, settings: Settings) -> bytes:
    """Give the body of a request, unpacked.

    Raises
    ------
    DataError
        If it is damaged.
    HTTPException
        If it is encoded in another way than gzip: with status 415.
    TooLargeError
        If it is larger than allowed once it is unpacked.
    """
    body = await request.body()
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding in {"", "identity"}:
        return body
    if encoding not in {"gzip", "x-gzip"}:
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
        raise TooLargeError(msg)
    if not stream.eof or stream.unused_data:
        wrong = "more follows after its end" if stream.eof else "it is cut short"
        msg = f"body: {wrong}; expected one gzip stream of {len(body)} bytes"
        raise DataError(msg)
    return unpacked


async def read_aside(read: Callable[..., T], body: bytes, *given: Any) -> T:
    """Call ``read(body, *given)``, in a thread if that takes long."""
    if len(body) <= _QUICK:
        return read(body, *given)
    return await asyncio.to_thread(read, body, *given)
