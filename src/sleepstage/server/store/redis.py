"""A store in Redis: for any number of servers on any number of machines."""
# ruff: noqa: D102 - described by Store

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import orjson
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError

from sleepstage.errors import StoreError
from sleepstage.server.records import Backlog, Grant, SessionRecord
from sleepstage.server.store import Store, to_json

_PREFIX: Final = "sleepstage:"
_DELETED: Final = f"{_PREFIX}deleted"  # how many sessions ever were
_ERASED: Final = f"{_PREFIX}erased"  # how many of them are in no file any more
_REWRITE: Final = f"{_PREFIX}rewrite"  # how many were deleted before the last rewrite began
_REWRITE_SECONDS: Final = 600  # from one to the next
_ANSWER_SECONDS: Final = 2.0
_CALL_SECONDS: Final = 5.0  # with what is tried again, and the wait for a connection
_RETRIES: Final = 3
_CONNECTIONS: Final = 32


class RedisStore(Store):
    """Keeps the contract of `Store` in one Redis, version 7 or later.

    What is stored outlives a crash if Redis writes it to its disk before it answers
    (``appendonly yes``, ``appendfsync always``) and never makes room by itself
    (``maxmemory-policy noeviction``, the default). Scripts make keys up as they go, without hash
    tags: one Redis with its replicas will do, and a cluster will not.

    While there is no answer, each call is tried a few times: whatever is changed here may be asked
    for twice, as a message that is there already is not stored again.
    """

    def __init__(self, redis: Redis, where: str) -> None:
        self._redis: Any = redis  # whose types are str where bytes come
        self._where = where
        self._turns = asyncio.Semaphore(_CONNECTIONS)  # a turn each, in the order of the calls
        script = Path(__file__).with_name("redis.lua").read_text(encoding="utf-8")
        self._script = redis.register_script(script)

    @classmethod
    async def open(cls, address: str) -> Self:
        """Open the store; `StoreError` if the address is wrong or nobody answers there."""
        parts = urlsplit(address)
        where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"  # no password
        try:
            redis = Redis.from_url(
                address,
                socket_timeout=_ANSWER_SECONDS,
                socket_connect_timeout=_ANSWER_SECONDS,
                retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), _RETRIES),
                protocol=2,
            )
        except ValueError as error:
            msg = f"{where}: {error}; expected redis://host:port/number or unix:///path/of/socket"
            raise StoreError(msg) from error
        store = cls(redis, where)
        try:
            await store.ping()
        except StoreError:
            await store.aclose()
            raise
        return store

    async def ping(self) -> None:
        await self._change("ping")

    async def erase(self) -> bool:
        """Have Redis rewrite its append-only file, which keeps what was deleted until then.

        Any server asks for it, and one does so within ten minutes. That it is done shows later.
        """
        async with self._call():
            n_deleted, n_erased, asked = await self._redis.mget(_DELETED, _ERASED, _REWRITE)
            if n_deleted == n_erased:
                return True
            state = await self._redis.info("persistence")
            busy = state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"]
            if asked is None and state["aof_enabled"] and not busy:
                if await self._redis.set(_REWRITE, b"", nx=True, ex=_REWRITE_SECONDS):
                    await self._redis.bgrewriteaof()
                    await self._redis.set(_REWRITE, n_deleted, xx=True, keepttl=True)
            elif asked == n_deleted and not busy and state["aof_last_bgrewrite_status"] == "ok":
                await self._redis.set(_ERASED, n_deleted)
        return True

    async def aclose(self) -> None:
        for _ in range(_CONNECTIONS):
            await self._turns.acquire()
        await self._redis.aclose()

    @asynccontextmanager
    async def _call(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(_CALL_SECONDS), self._turns:
                yield
        except (RedisError, OSError) as error:
            raise StoreError(
                f"{self._where}: {str(error) or 'no answer'}; see that Redis runs and takes writes"
            ) from error

    async def _rows(self, step: str, **given: Any) -> Any:
        """Do a step of the script, which gets what is given by name; what is None is left out."""
        texts = {name: _text(name, one) for name, one in given.items() if one is not None}
        async with self._call():
            return await self._script(args=[step, *chain.from_iterable(texts.items())])

    async def _change(self, step: str, **given: Any) -> bool:
        return bool(await self._rows(step, **given))

    async def _add_message(self, **given: Any) -> tuple[str, Any]:
        delivery, row = await self._rows("add_message", **given)
        return delivery.decode(), row

    async def backlog(self, session_id: str) -> Backlog | None:
        row, snapshot, first, bodies = await self._rows("backlog", id=session_id)
        messages = list(enumerate(bodies, first))
        return Backlog(self._session(row), snapshot, messages) if row else None

    def _session(self, row: Sequence[bytes]) -> SessionRecord:
        named = zip(row[::2], row[1::2], strict=True)
        return SessionRecord(**{name.decode(): orjson.loads(value) for name, value in named})

    def _grant(self, row: bytes) -> Grant:
        return Grant(**orjson.loads(row))


def _text(name: str, value: Any) -> str | bytes:
    """As the script takes it: names as they are, and JSON; fields of sessions are kept as JSON."""
    if isinstance(value, bytes) or (isinstance(value, str) and name != "owner"):
        return value
    if name == "fields":
        value = {field: to_json(one) for field, one in value.items()}
    return to_json(dict(value) if isinstance(value, Mapping) else value)
