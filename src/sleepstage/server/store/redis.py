"""A store in Redis: for any number of servers on any number of machines."""
# ruff: noqa: D102 - described by Store

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, fields
from itertools import chain
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError

from sleepstage.errors import StoreError
from sleepstage.server.records import (
    ADVANCED,
    Advance,
    Backlog,
    Delivery,
    Grant,
    Incoming,
    SessionRecord,
)
from sleepstage.server.store import Store

_PREFIX: Final = "sleepstage:"
_DELETED: Final = f"{_PREFIX}deleted"  # how many sessions ever were
_ERASED: Final = f"{_PREFIX}erased"  # how many of them are in no file any more
_REWRITE: Final = f"{_PREFIX}rewrite"  # how many were deleted before the last rewrite began
_REWRITE_SECONDS: Final = 600  # from one to the next
_ANSWER_SECONDS: Final = 2.0
_CALL_SECONDS: Final = 5.0  # with what is tried again, and the wait for a connection
_RETRIES: Final = 3
_CONNECTIONS: Final = 32
_NAMES: Final = tuple(one.name for one in fields(SessionRecord))


class RedisStore(Store):
    """Keeps the contract of `Store` in one Redis, version 7 or later.

    What is stored outlives a crash if Redis writes it to its disk before it answers
    (``appendonly yes``, ``appendfsync always``) and never makes room by itself
    (``maxmemory-policy noeviction``, the default).

    All keys begin with ``sleepstage:``. They have no hash tags, and scripts make keys up as they
    go: one Redis with its replicas will do, and a cluster will not.

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
    async def open(cls, address: str) -> RedisStore:
        """Open the store at an address.

        Raises `StoreError` if the address is wrong or nobody answers there.
        """
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
        await self._run("ping")

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

    async def _run(self, step: str, *values: str | bytes | int) -> Any:
        """Do a step of the script."""
        async with self._call():
            return await self._script(args=[step, *values])

    async def _ask(self, command: str, *values: Any) -> Any:
        """Do a command of Redis."""
        async with self._call():
            return await self._redis.execute_command(command, *values)

    # Sessions

    async def open_session(self, record: SessionRecord) -> bool:
        flat = chain.from_iterable(_fields(record, _NAMES).items())
        return bool(await self._run("open_session", record.id, record.watch or "", *flat))

    async def session(self, session_id: str) -> SessionRecord | None:
        return _record(await self._ask("HGETALL", _key("session", session_id)))

    async def sessions(self, owner: str, *, limit: int) -> list[SessionRecord]:
        async with self._call():
            ids = await self._redis.zrevrange(_key("owner", _json(owner)), 0, limit - 1)
            async with self._redis.pipeline(transaction=False) as pipeline:
                for session_id in _texts(ids):
                    pipeline.hgetall(_key("session", session_id))
                found = [_record(one) for one in await pipeline.execute()]
        return [record for record in found if record is not None]

    async def count_open(self, owner: str) -> int:
        return int(await self._ask("SCARD", _key("open", _json(owner))))

    async def delete_session(self, session_id: str, *, heard_before: float | None = None) -> bool:
        return bool(await self._run("delete_session", session_id, _json(heard_before)))

    # Messages and work

    async def add_message(
        self, session_id: str, message: Incoming
    ) -> tuple[Delivery, SessionRecord | None]:
        described = (*(message.span or (None, None)), message.now, dict(message.warnings))
        replies, flat = await self._run(
            *("add_message", session_id, message.id, message.body, message.digest),
            *map(_json, described),
        )
        return Delivery(replies.decode()), _record(_pairs(flat))

    async def backlog(self, session_id: str) -> Backlog | None:
        flat, snapshot, first, bodies = await self._run("backlog", session_id)
        record = _record(_pairs(flat))
        return None if record is None else Backlog(record, snapshot, list(enumerate(bodies, first)))

    async def commit(self, version: int, advance: Advance) -> bool:
        return bool(
            await self._run(
                "commit",
                advance.record.id,
                version,
                advance.used,
                _json(_fields(advance.record, ADVANCED)),
                advance.snapshot or b"",
                advance.samples,
                b"" if advance.result is None else _json(advance.result),
                advance.dropped,
                *map(_json, advance.epochs),
            )
        )

    async def due(self, *, limit: int) -> list[str]:
        return _texts(await self._ask("ZRANGE", f"{_PREFIX}due", 0, limit - 1))

    async def silent(self, *, since: float, limit: int) -> list[str]:
        return await self._heard("open", since, limit)

    async def outdated(self, *, since: float, limit: int) -> list[str]:
        closed = await self._heard("closed", since, limit)
        return closed + await self._heard("open", since, limit - len(closed))

    async def _heard(self, kind: str, since: float, limit: int) -> list[str]:
        limited = (f"({since!r}", "LIMIT", 0, limit)
        return _texts(await self._ask("ZRANGEBYSCORE", f"{_PREFIX}heard-{kind}", "-inf", *limited))

    # What came out

    async def epochs(self, session_id: str, *, after: int = 0) -> list[dict[str, Any]]:
        replies = await self._run("epochs", session_id, after)
        return [orjson.loads(reply) for reply in replies]

    async def samples(self, session_id: str) -> list[bytes]:
        return list(await self._ask("LRANGE", _key("samples", session_id), 0, -1))

    async def result(self, session_id: str) -> dict[str, Any] | None:
        reply = await self._ask("GET", _key("result", session_id))
        return None if reply is None else orjson.loads(reply)

    async def versions(self, session_ids: Collection[str]) -> Mapping[str, int]:
        if not session_ids:
            return {}
        replies = await self._ask("HMGET", f"{_PREFIX}versions", *session_ids)
        found = zip(session_ids, replies, strict=True)
        return {session_id: int(reply) for session_id, reply in found if reply is not None}

    # Grants

    async def add_grant(self, grant: Grant) -> None:
        replies = await self._run(
            "add_grant", grant.id, grant.digest, grant.session or "", _json(asdict(grant))
        )
        if replies != b"added":
            wrong = "its id or digest is taken" if replies == b"taken" else "its session is gone"
            raise StoreError(f"grant {grant.id}: {wrong}; make another")

    async def grant(self, digest: str) -> Grant | None:
        reply = await self._ask("HGET", f"{_PREFIX}grants", digest)
        return None if reply is None else Grant(**orjson.loads(reply))

    async def grants(self, *, session_id: str | None = None) -> list[Grant]:
        key = f"{_PREFIX}tokens" if session_id is None else _key("links", session_id)
        digests = await self._ask("SMEMBERS", key)
        replies = await self._ask("HMGET", f"{_PREFIX}grants", *digests) if digests else []
        found = [Grant(**orjson.loads(reply)) for reply in replies if reply is not None]
        return sorted(found, key=lambda one: (one.created, one.id))

    async def remove_grant(self, grant_id: str) -> bool:
        return bool(await self._run("remove_grant", grant_id))

    async def guarded(self) -> bool:
        return bool(await self._ask("EXISTS", f"{_PREFIX}guarded"))


def _key(kind: str, name: str) -> str:
    return f"{_PREFIX}{kind}:{name}"


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _fields(record: SessionRecord, names: Sequence[str]) -> dict[str, str]:
    return {name: _json(getattr(record, name)) for name in names}


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _record(values: Mapping[bytes, bytes]) -> SessionRecord | None:
    if not values:
        return None
    return SessionRecord(**{name.decode(): orjson.loads(value) for name, value in values.items()})


def _texts(replies: Sequence[bytes]) -> list[str]:
    return [one.decode() for one in replies]
