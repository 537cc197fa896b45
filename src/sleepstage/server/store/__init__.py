"""Where sessions are kept: SQLite in a folder, or Redis by address.

One battery of tests holds both to what the service asks of a store.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, Final

import orjson

from sleepstage.errors import StoreError
from sleepstage.server.records import Advance, Backlog, Delivery, Grant, Incoming, SessionRecord

SESSION: Final = tuple(one.name for one in fields(SessionRecord))
GRANT: Final = tuple(one.name for one in fields(Grant))
# Fields of a session that a step of work writes; `newest`, `heard` and `warnings` belong to the
# messages.
ADVANCED: Final = (
    *("start", "watermark", "n_epochs", "due", "motion_columns", "intake"),
    *("closed", "reopens", "version", "first", "slept", "kept"),
)


async def open_store(address: str) -> "Store":
    """Open the store at an address, which makes it if it is a new folder.

    An address is ``redis://host:6379/0``, ``rediss://`` for TLS or ``unix:///path/of/socket``;
    anything else is a folder, in which ``sessions.sqlite`` is kept. Raises `StoreError` if the
    address is wrong, nobody answers, or the folder can't be written to.
    """
    # Each is imported where it is used: a server needs one of them.
    if address.startswith(("redis://", "rediss://", "unix://")):
        from sleepstage.server.store.redis import RedisStore

        return await RedisStore.open(address)
    from sleepstage.server.store.sqlite import SqliteStore

    return await SqliteStore.open(address)


class Store(ABC):
    """Sessions, their messages, epochs and grants. What returns is stored, also after a crash.

    Any number of processes may use one store at the same time. Each step that is named here is
    written in ``sqlite.sql`` and in ``redis.lua``.
    """

    @abstractmethod
    async def ping(self) -> None:
        """Raise `StoreError` if nothing can be stored now."""

    @abstractmethod
    async def erase(self) -> bool:
        """Take what was deleted off the disk; False if others were in the way: ask again soon."""

    @abstractmethod
    async def aclose(self) -> None:
        """Finish what is under way and let go of files and connections."""

    @abstractmethod
    async def _rows(self, step: str, **given: Any) -> Sequence[Any]:
        """Read; a row of one value is given as that value."""

    @abstractmethod
    async def _change(self, step: str, **given: Any) -> bool:
        """Do all of a step or, if it does not fit what is there, nothing; then give False."""

    @abstractmethod
    async def _add_message(self, **given: Any) -> tuple[str, Any]:
        """Give the value of a `Delivery`, and the session's row, if there is one."""

    @abstractmethod
    def _session(self, row: Any) -> SessionRecord: ...

    @abstractmethod
    def _grant(self, row: Any) -> Grant: ...

    async def _read_json(self, step: str, **given: Any) -> Any:
        rows = await self._rows(step, **given)
        return orjson.loads(rows[0]) if rows and rows[0] is not None else None

    # Sessions

    async def open_session(self, record: SessionRecord) -> bool:
        """Add a session; False if its id is taken, or the session gone that it is a night of."""
        given = {"id": record.id, "watch": record.watch, "fields": asdict(record)}
        return await self._change("open_session", **given)

    async def session(self, session_id: str) -> SessionRecord | None:
        """Give a session, if there is one."""
        rows = await self._rows("session", id=session_id)
        return self._session(rows[0]) if rows else None

    async def sessions(self, owner: str, *, limit: int) -> list[SessionRecord]:
        """Sessions of one owner, newest first."""
        rows = await self._rows("sessions", owner=owner, limit=limit)
        return [self._session(row) for row in rows]

    async def count_open(self, owner: str) -> int:
        """Number of this owner's sessions that are not closed."""
        (count,) = await self._rows("count_open", owner=owner)
        return int(count)

    async def delete_session(self, session_id: str, *, heard_before: float | None = None) -> bool:
        """Remove a session and all that belongs to it, links and nights included.

        False if there is none, or it was last heard at `heard_before` or later.
        """
        return await self._change("delete_session", id=session_id, heard_before=heard_before)

    # Messages and work

    async def add_message(
        self, session_id: str, message: Incoming
    ) -> tuple[Delivery, SessionRecord | None]:
        """Store a message once; return what became of it, and the session as it is now.

        A message whose id the session has had is REPEATED if its digest is the same, else a
        CONFLICT, and changes nothing. A stored one sets `heard` to its `now` and adds its
        `warnings`. With samples it sets `newest` to the larger of both, and `due`, where it is
        None, to ``span[0] + 30 + lateness``; and it opens a session again that `reopens`: that has
        no result any more, and the next version.
        """
        given = {**vars(message), "id": session_id, "message": message.id}
        given["oldest"], given["newest"] = message.span or (None, None)
        delivery, row = await self._add_message(**given)
        return Delivery(delivery), self._session(row) if row else None

    @abstractmethod
    async def backlog(self, session_id: str) -> Backlog | None:
        """Give the work that waits for a session, all of one moment."""

    async def commit(self, version: int, advance: Advance) -> bool:
        """Write a step of work; False, and nothing changed, if it does not fit any more.

        That is so if the session is gone, or closed and does not reopen, if its version is not
        `version`, or if `advance` closes it while a message with a number above ``advance.used``
        waits.
        """
        return await self._change(
            "commit",
            id=advance.record.id,
            expected=version,
            fields={name: getattr(advance.record, name) for name in ADVANCED},
            snapshot=advance.snapshot,
            used=advance.used,
            epochs=to_json([to_json(epoch) for epoch in advance.epochs]),
            samples=advance.samples or None,
            result=None if advance.result is None else to_json(advance.result),
            dropped=advance.dropped,
            forgotten=advance.forgotten,
        )

    async def due(self, *, limit: int) -> list[str]:
        """Sessions that are not closed and whose `newest` is `due` or newer."""
        return list(await self._read_json("due", limit=limit))

    async def silent(self, *, since: float, limit: int) -> list[str]:
        """Sessions that are not closed and were last heard before `since`."""
        return list(await self._read_json("silent", since=since, limit=limit))

    async def outdated(self, *, since: float, limit: int) -> list[str]:
        """Sessions that were last heard before `since`, closed or not."""
        return list(await self._read_json("outdated", since=since, limit=limit))

    # What came out

    async def epochs(self, session_id: str, *, after: int = 0) -> list[dict[str, Any]]:
        """Epochs of a session that are kept, from number `after` on."""
        return await self._read_json("epochs", id=session_id, after=after) or []

    async def samples(self, session_id: str) -> list[bytes]:
        """What the epochs rest on, in the order of the commits."""
        return list(await self._rows("samples", id=session_id))

    async def result(self, session_id: str) -> dict[str, Any] | None:
        """The night as a whole, once the session is closed."""
        return await self._read_json("result", id=session_id)  # type: ignore[no-any-return]

    async def versions(self, session_ids: Collection[str]) -> Mapping[str, int]:
        """Versions of those of the sessions that are there."""
        return dict(await self._read_json("versions", ids=to_json(list(session_ids))))

    # Grants

    async def add_grant(self, grant: Grant) -> None:
        """Add a token or a link."""
        given = {"id": grant.id, "digest": grant.digest, "session": grant.session}
        added = await self._change("add_grant", **given, grant=asdict(grant))
        # If an answer was lost, and it was asked again, it is there.
        if not added and await self.grant(grant.digest) != grant:
            gone = grant.session is not None and await self.session(grant.session) is None
            wrong = "its session is gone" if gone else "its id or digest is taken"
            raise StoreError(f"grant {grant.id}: {wrong}; make another")

    async def grant(self, digest: str) -> Grant | None:
        """Find a grant by the digest of its secret."""
        rows = await self._rows("grant", digest=digest)
        return self._grant(rows[0]) if rows else None

    async def grants(self, *, session_id: str | None = None) -> list[Grant]:
        """All tokens, or the links of one session; oldest first."""
        found = [self._grant(row) for row in await self._rows("grants", session=session_id)]
        return sorted(found, key=lambda one: (one.created, one.id))

    async def remove_grant(self, grant_id: str) -> bool:
        """Revoke a grant, and the links made with it; False if there was none.

        With the last token of an owner go their links of which no token is known, too.
        """
        return await self._change("remove_grant", id=grant_id)

    async def guarded(self) -> bool:
        """Whether there has ever been a token."""
        return bool(await self._rows("guarded"))


def to_json(value: Any) -> str:
    """Write as a store keeps it."""
    return orjson.dumps(value).decode()
