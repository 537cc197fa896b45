"""A store in a file of SQLite: for one machine, with any number of processes on it."""
# ruff: noqa: S608 - values are bound; what is put into a statement are names of fields
# ruff: noqa: D102 - described by Store

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

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
from sleepstage.server.store.database import Database

if TYPE_CHECKING:
    from sqlite3 import Connection

_FILE: Final = "sessions.sqlite"

_NAMES: Final = tuple(one.name for one in fields(SessionRecord))
_FIELDS: Final = ", ".join(_NAMES)
_GRANT_NAMES: Final = tuple(one.name for one in fields(Grant))
_GRANT_FIELDS: Final = ", ".join(_GRANT_NAMES)


class SqliteStore(Database, Store):
    """Keeps the contract of `Store` in one file; `Database` has how it is written."""

    @classmethod
    async def open(cls, folder: str | Path) -> SqliteStore:
        """Open the store in a folder, which is made if it is missing.

        Raises `StoreError` if the folder can't be written to, or its file is of another
        version.
        """
        return await asyncio.to_thread(cls.open_file, Path(folder).expanduser() / _FILE)

    # Sessions

    async def open_session(self, record: SessionRecord) -> bool:
        given = _values(record, _NAMES)
        sql = (
            f"INSERT INTO session ({_FIELDS}) SELECT :{', :'.join(_NAMES)} WHERE :watch IS NULL OR "
            "EXISTS (SELECT 1 FROM session WHERE id = :watch) ON CONFLICT (id) DO NOTHING"
        )
        return await self.write(lambda db: db.execute(sql, given).rowcount == 1)

    async def session(self, session_id: str) -> SessionRecord | None:
        return await self.read(lambda db: _session(db, session_id))

    async def sessions(self, owner: str, *, limit: int) -> list[SessionRecord]:
        sql = (
            f"SELECT {_FIELDS} FROM session WHERE owner = ? ORDER BY created DESC, id DESC LIMIT ?"
        )
        return [_record(row) for row in await self._rows(sql, owner, limit)]

    async def count_open(self, owner: str) -> int:
        sql = "SELECT count(*) FROM session WHERE owner = ? AND closed = 0"
        return int((await self._rows(sql, owner))[0][0])

    async def delete_session(self, session_id: str, *, heard_before: float | None = None) -> bool:
        sql = "DELETE FROM session WHERE id = ? AND ifnull(heard < ?, 1)"
        given = (session_id, heard_before)
        return await self.write(lambda db: db.execute(sql, given).rowcount == 1)

    # Messages and work

    async def add_message(
        self, session_id: str, message: Incoming
    ) -> tuple[Delivery, SessionRecord | None]:
        oldest, newest = message.span or (None, None)
        given = {**vars(message), "session": session_id, "oldest": oldest, "newest": newest}
        return await self.write(lambda db: _add_message(db, given, message.warnings))

    async def backlog(self, session_id: str) -> Backlog | None:
        return await self.read(lambda db: _backlog(db, session_id))

    async def commit(self, version: int, advance: Advance) -> bool:
        return await self.write(lambda db: _commit(db, version, advance))

    async def due(self, *, limit: int) -> list[str]:
        sql = (
            "SELECT id FROM session INDEXED BY session_due "  # unasked, SQLite may take another
            "WHERE closed = 0 AND newest >= due ORDER BY due LIMIT ?"
        )
        return [session_id for (session_id,) in await self._rows(sql, limit)]

    async def silent(self, *, since: float, limit: int) -> list[str]:
        sql = "SELECT id FROM session WHERE closed = 0 AND heard < ? ORDER BY heard LIMIT ?"
        return [session_id for (session_id,) in await self._rows(sql, since, limit)]

    async def outdated(self, *, since: float, limit: int) -> list[str]:
        sql = "SELECT id FROM session WHERE heard < ? ORDER BY heard LIMIT ?"
        return [session_id for (session_id,) in await self._rows(sql, since, limit)]

    # What came out

    async def epochs(self, session_id: str, *, after: int = 0) -> list[dict[str, Any]]:
        # One row for all: each row that is fetched costs a turn with Python's other threads.
        sql = (
            "SELECT '[' || group_concat(said) || ']' FROM (SELECT said FROM epoch "
            "JOIN session ON session.number = epoch.session "
            "WHERE session.id = ? AND epoch.number >= ? ORDER BY epoch.number)"
        )
        ((epochs,),) = await self._rows(sql, session_id, after)
        return [] if epochs is None else orjson.loads(epochs)

    async def samples(self, session_id: str) -> list[bytes]:
        sql = (
            "SELECT body FROM sample JOIN session ON session.number = sample.session "
            "WHERE session.id = ? ORDER BY sample.number"
        )
        return [body for (body,) in await self._rows(sql, session_id)]

    async def result(self, session_id: str) -> dict[str, Any] | None:
        sql = "SELECT result FROM session WHERE id = ? AND result IS NOT NULL"
        rows = await self._rows(sql, session_id)
        return orjson.loads(rows[0][0]) if rows else None

    async def versions(self, session_ids: Collection[str]) -> Mapping[str, int]:
        sql = "SELECT id, version FROM session WHERE id IN (SELECT value FROM json_each(?))"
        return dict(await self._rows(sql, _json(list(session_ids))))

    # Grants

    async def add_grant(self, grant: Grant) -> None:
        await self.write(lambda db: _add_grant(db, grant))

    async def grant(self, digest: str) -> Grant | None:
        rows = await self._rows(f"SELECT {_GRANT_FIELDS} FROM grant WHERE digest = ?", digest)
        return _grant(rows[0]) if rows else None

    async def grants(self, *, session_id: str | None = None) -> list[Grant]:
        sql = f"SELECT {_GRANT_FIELDS} FROM grant WHERE session IS ? ORDER BY created, id"
        return [_grant(row) for row in await self._rows(sql, session_id)]

    async def remove_grant(self, grant_id: str) -> bool:
        return await self.write(lambda db: _remove_grant(db, grant_id))

    async def guarded(self) -> bool:
        return bool(await self._rows("SELECT 1 FROM flag WHERE name = 'guarded'"))

    async def _rows(self, sql: str, *values: Any) -> list[Any]:
        return await self.read(lambda db: db.execute(sql, values).fetchall())


def _session(db: Connection, session_id: str) -> SessionRecord | None:
    row = db.execute(f"SELECT {_FIELDS} FROM session WHERE id = ?", (session_id,)).fetchone()
    return row and _record(row)


def _add_message(
    db: Connection, given: Mapping[str, Any], warnings: Mapping[str, int]
) -> tuple[Delivery, SessionRecord | None]:
    known = "SELECT 1 FROM message WHERE message.session = session.number AND message.id = :id"
    row = db.execute(
        "UPDATE session SET newest = max(ifnull(newest, :newest), ifnull(:newest, newest)), "
        "heard = :now, due = ifnull(due, :oldest + 30 + lateness), version = version + closed, "
        "result = iif(closed, NULL, result), reopens = iif(closed, 0, reopens), closed = 0 "
        "WHERE id = :session AND (closed = 0 OR (reopens AND :newest IS NOT NULL)) "
        f"AND NOT EXISTS ({known}) RETURNING {_FIELDS}, number",
        given,
    ).fetchone()
    if row is not None:
        sql = "INSERT INTO message (session, id, digest, body) VALUES (?, ?, ?, ?)"
        db.execute(sql, (row[-1], given["id"], given["digest"], given["body"]))
        return Delivery.STORED, _warned(db, _record(row[:-1]), warnings)
    record = _session(db, given["session"])
    if record is None:
        return Delivery.MISSING, None
    # Without a digest, it came before there were any.
    found = db.execute(
        "SELECT ifnull(digest, :digest) = :digest FROM message JOIN session "
        "ON session.number = message.session WHERE session.id = :session AND message.id = :id",
        given,
    ).fetchone()
    if found is None:
        return Delivery.CLOSED, record
    return Delivery.REPEATED if found[0] else Delivery.CONFLICT, record


def _warned(db: Connection, record: SessionRecord, warnings: Mapping[str, int]) -> SessionRecord:
    if not warnings:
        return record
    added = Counter(record.warnings) + Counter(warnings)
    db.execute("UPDATE session SET warnings = ? WHERE id = ?", (_json(added), record.id))
    return replace(record, warnings=dict(added))


def _backlog(db: Connection, session_id: str) -> Backlog | None:
    with db:
        db.execute("BEGIN")  # so that all is of one moment
        row = db.execute(
            f"SELECT {_FIELDS}, number, snapshot FROM session WHERE id = ?", (session_id,)
        ).fetchone()
        if row is None:
            return None
        *values, number, snapshot = row
        waiting = db.execute(
            "SELECT number, body FROM message WHERE session = ? AND body IS NOT NULL "
            "ORDER BY number",
            (number,),
        )
        return Backlog(_record(values), snapshot, waiting.fetchall())


def _commit(db: Connection, version: int, advance: Advance) -> bool:
    record = advance.record
    given = _values(record, ADVANCED)
    given |= {"snapshot": advance.snapshot, "result": None}
    if advance.result is not None:
        given["result"] = _json(advance.result)
    row = db.execute(
        f"UPDATE session SET {', '.join(f'{name} = :{name}' for name in given)} "
        "WHERE id = :id AND (closed = 0 OR reopens) AND version = :expected AND NOT (:closed AND "
        "EXISTS (SELECT 1 FROM message WHERE session = session.number AND body IS NOT NULL "
        "AND message.number > :used)) RETURNING number",
        {**given, "id": record.id, "expected": version, "used": advance.used},
    ).fetchone()
    if row is None:
        return False
    (number,) = row
    db.execute(
        "UPDATE message SET body = NULL WHERE session = ? AND body IS NOT NULL AND number <= ?",
        (number, advance.used),
    )
    first = record.n_epochs - len(advance.epochs)
    db.executemany(
        "INSERT INTO epoch (session, number, said) VALUES (?, ?, ?)",
        [(number, first + index, _json(epoch)) for index, epoch in enumerate(advance.epochs)],
    )
    if advance.dropped:
        sql = (
            "DELETE FROM sample WHERE number IN "
            "(SELECT number FROM sample WHERE session = ? ORDER BY number LIMIT ?)"
        )
        db.execute(sql, (number, advance.dropped))
    db.execute("DELETE FROM epoch WHERE session = ? AND number < ?", (number, record.first))
    if advance.samples:
        db.execute("INSERT INTO sample (session, body) VALUES (?, ?)", (number, advance.samples))
    return True


def _add_grant(db: Connection, grant: Grant) -> None:
    wrong = "its session is gone"
    if grant.session is None or _session(db, grant.session) is not None:
        wrong = "its id or digest is taken"
        marks = ", :".join(_GRANT_NAMES)
        sql = f"INSERT INTO grant ({_GRANT_FIELDS}) VALUES (:{marks}) ON CONFLICT DO NOTHING"
        db.execute(sql, vars(grant))
        if grant.session is None:
            db.execute("INSERT INTO flag VALUES ('guarded') ON CONFLICT DO NOTHING")
        sql = f"SELECT {_GRANT_FIELDS} FROM grant WHERE id = ?"
        row = db.execute(sql, (grant.id,)).fetchone()
        if row is not None and _grant(row) == grant:
            return
    raise StoreError(f"grant {grant.id}: {wrong}; make another")


def _remove_grant(db: Connection, grant_id: str) -> bool:
    row = db.execute(
        "DELETE FROM grant WHERE id = ? RETURNING owner, session", (grant_id,)
    ).fetchone()
    if row is None:
        return False
    owner, session = row
    if session is None:
        db.execute(
            "DELETE FROM grant WHERE session IS NOT NULL AND (token = :id OR (owner = :owner AND token "
            "IS NULL AND NOT EXISTS (SELECT 1 FROM grant WHERE owner = :owner AND session IS NULL)))",
            {"id": grant_id, "owner": owner},
        )
    return True


def _record(row: Sequence[Any]) -> SessionRecord:
    return SessionRecord(**dict(zip(_NAMES, row, strict=True)))


def _grant(row: Sequence[Any]) -> Grant:
    return Grant(**dict(zip(_GRANT_NAMES, row, strict=True)))


def _values(record: SessionRecord, names: Sequence[str]) -> dict[str, Any]:
    values = {name: getattr(record, name) for name in names}
    return {
        name: _json(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
    }


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
