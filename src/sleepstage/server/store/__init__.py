"""Where sessions are kept: SQLite in a folder, or Redis by address.

One battery of tests holds both to what the service asks of a store.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, Protocol

from sleepstage.server.records import Advance, Backlog, Delivery, Grant, Incoming, SessionRecord

__all__ = ["Store", "open_store"]

_REDIS: Final = ("redis://", "rediss://", "unix://")


async def open_store(address: str) -> Store:
    """Open the store at an address, which makes it if it is a new folder.

    An address is ``redis://host:6379/0``, ``rediss://`` for TLS or ``unix:///path/of/socket``;
    anything else is a folder, in which ``sessions.sqlite`` is kept. Raises `StoreError` if the
    address is wrong, nobody answers, or the folder can't be written to.
    """
    # Each is imported where it is used: a server needs one of them.
    if address.startswith(_REDIS):
        from sleepstage.server.store.redis import RedisStore

        return await RedisStore.open(address)
    from sleepstage.server.store.sqlite import SqliteStore

    return await SqliteStore.open(address)


class Store(Protocol):
    """Sessions, their messages, epochs and grants. What returns is stored, also after a crash.

    Any number of processes may use one store at the same time.
    """

    async def ping(self) -> None:
        """Raise `StoreError` if nothing can be stored now."""

    async def erase(self) -> bool:
        """Take what was deleted off the disk; False if others were in the way: ask again soon."""

    async def aclose(self) -> None:
        """Finish what is under way and let go of files and connections."""

    # Sessions

    async def open_session(self, record: SessionRecord) -> bool:
        """Add a session; False, and nothing changed, if its id is taken.

        So it is if the session is gone that it is a night of (`SessionRecord.watch`).
        """

    async def session(self, session_id: str) -> SessionRecord | None:
        """Give a session, if there is one."""

    async def sessions(self, owner: str, *, limit: int) -> list[SessionRecord]:
        """Sessions of one owner, newest first."""

    async def count_open(self, owner: str) -> int:
        """Number of this owner's sessions that are not closed."""

    async def delete_session(self, session_id: str, *, heard_before: float | None = None) -> bool:
        """Remove a session and all that belongs to it, links and nights included.

        False if there was none.

        Neither is one removed that was last heard at `heard_before` or later.
        """

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

    async def backlog(self, session_id: str) -> Backlog | None:
        """Give the work that waits for a session, all of one moment."""

    async def commit(self, version: int, advance: Advance) -> bool:
        """Write a step of work; False, and nothing changed, if it does not fit any more.

        That is so if the session is gone, or closed and does not reopen, if its version is not
        `version`, or if `advance` closes it while a message with a number above ``advance.used``
        waits.
        """

    async def due(self, *, limit: int) -> list[str]:
        """Sessions that are not closed and whose `newest` is `due` or newer."""

    async def silent(self, *, since: float, limit: int) -> list[str]:
        """Sessions that are not closed and were last heard before `since`."""

    async def outdated(self, *, since: float, limit: int) -> list[str]:
        """Sessions that were last heard before `since`, closed or not."""

    # What came out

    async def epochs(self, session_id: str, *, after: int = 0) -> list[dict[str, Any]]:
        """Epochs of a session that are kept, from number `after` on."""

    async def samples(self, session_id: str) -> list[bytes]:
        """What the epochs rest on, in the order of the commits."""

    async def result(self, session_id: str) -> dict[str, Any] | None:
        """The night as a whole, once the session is closed."""

    async def versions(self, session_ids: Collection[str]) -> Mapping[str, int]:
        """Versions of those of the sessions that are there."""

    # Grants

    async def add_grant(self, grant: Grant) -> None:
        """Add a token or a link."""

    async def grant(self, digest: str) -> Grant | None:
        """Find a grant by the digest of its secret."""

    async def grants(self, *, session_id: str | None = None) -> list[Grant]:
        """All tokens, or the links of one session; oldest first."""

    async def remove_grant(self, grant_id: str) -> bool:
        """Revoke a grant, and the links made with it; False if there was none.

        With the last token of an owner go their links of which no token is known, too.
        """

    async def guarded(self) -> bool:
        """Whether there has ever been a token."""
