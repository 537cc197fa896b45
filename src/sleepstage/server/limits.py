"""What a client may take up: messages, requests at once, bytes of a body; and how one is read."""

from __future__ import annotations

import asyncio
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cachetools import TTLCache
from starlette.exceptions import HTTPException

from sleepstage.errors import DataError
from sleepstage.server.problems import BusyError, TooFastError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastapi import Request

    from sleepstage.server.settings import Settings

_GZIP: Final = 16 + zlib.MAX_WBITS
_QUICK: Final = 1 << 14  # bytes that are read faster than a thread can be had for them
_WINDOW: Final = 10  # s over which messages are counted


class Rate:
    """Counts messages of each session, and refuses too many."""

    def __init__(self, per_second: int) -> None:
        self._limit = per_second * _WINDOW
        self._counts: TTLCache[str, list[int]] = TTLCache(100_000, _WINDOW)

    def take(self, key: str) -> None:
        """Count one more. Raises `TooFastError` if there were too many in these ten seconds."""
        count = self._counts.setdefault(key, [0])
        count[0] += 1
        if count[0] > self._limit:
            msg = f"more than {self._limit} messages in {_WINDOW} s; put more into each"
            raise TooFastError(msg)


class Slots:
    """Counts what goes on at the same time; refuses more than `limit`, and names `what` it is."""

    def __init__(self, limit: int, what: str) -> None:
        self._limit, self._what = limit, what
        self.n_open = 0

    def check(self) -> None:
        """Refuse if there are as many as allowed. Raises `BusyError` if so."""
        if self.n_open >= self._limit:
            msg = f"{self.n_open} {self._what}, as many as the server takes; try again"
            raise BusyError(msg)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Count one more while the block runs."""
        self.n_open += 1
        try:
            yield
        finally:
            self.n_open -= 1


T = TypeVar("T")


async def read_body(request: Request, settings: Settings) -> bytes:
    """Give the body of a request, unpacked.

    Raises `DataError` if it is damaged; `HTTPException` with status 415 if it is encoded in another
    way than gzip, with 413 if it is larger than allowed once it is unpacked.
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
        raise HTTPException(413, msg)
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
