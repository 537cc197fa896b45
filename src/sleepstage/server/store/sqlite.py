"""A store in a file of SQLite: for one machine, with any number of processes on it."""
# ruff: noqa: D102 - described by Store

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, Final

from sleepstage.server.records import ADVANCED, Backlog, Delivery, Grant, Incoming, SessionRecord
from sleepstage.server.store import GRANT, SESSION, Store, to_json
from sleepstage.server.store.database import Database

if TYPE_CHECKING:
    from sqlite3 import Connection

_FILE: Final = "sessions.sqlite"


def _read_steps() -> dict[str, list[str]]:
    text = Template(Path(__file__).with_name("sqlite.sql").read_text("utf-8")).substitute(
        session=", ".join(f"session.{name}" for name in SESSION),
        session_names=", ".join(SESSION),
        session_values=", ".join(f":{name}" for name in SESSION),
        grant=", ".join(GRANT),
        grant_values=", ".join(f":{name}" for name in GRANT),
        advance=", ".join(f"{name} = :{name}" for name in ADVANCED),
    )
    _, *parts = re.split(r"^--: (\w+)\n", text, flags=re.MULTILINE)
    named = zip(parts[::2], parts[1::2], strict=True)
    return {name: [one.strip() for one in part.split(";")[:-1]] for name, part in named}


_STEPS: Final = _read_steps()


class SqliteStore(Database, Store):
    """Keeps the contract of `Store` in one file; `Database` has how it is written."""

    @classmethod
    async def open(cls, folder: str | Path) -> SqliteStore:
        """Open the store in a folder, which is made if it is missing.

        Raises `StoreError` if the folder can't be written to, or its file is of another
        version.
        """
        return await asyncio.to_thread(cls.open_file, Path(folder).expanduser() / _FILE)

    async def add_message(
        self, session_id: str, message: Incoming
    ) -> tuple[Delivery, SessionRecord | None]:
        given = {**vars(message), "id": session_id, "message": message.id}
        given["oldest"], given["newest"] = message.span or (None, None)
        return await self.write(lambda db: _add_message(db, _bound(given)))

    async def backlog(self, session_id: str) -> Backlog | None:
        return await self.read(lambda db: _backlog(db, {"id": session_id}))

    async def _rows(self, step: str, **given: Any) -> list[Any]:
        (statement,) = _STEPS[step]
        rows = await self.read(lambda db: db.execute(statement, given).fetchall())
        return [row[0] if len(row) == 1 else row for row in rows]

    async def _change(self, step: str, **given: Any) -> bool:
        return await self.write(lambda db: _change(db, step, _bound(given)))

    def _session(self, row: Sequence[Any]) -> SessionRecord:
        return _record(row)

    def _grant(self, row: Sequence[Any]) -> Grant:
        return Grant(**dict(zip(GRANT, row, strict=True)))


def _change(db: Connection, step: str, given: Mapping[str, Any]) -> bool:
    first, *others = _STEPS[step]
    changed = db.execute(first, given).rowcount > 0
    for statement in others if changed else ():
        db.execute(statement, given)
    return changed


def _add_message(db: Connection, given: Mapping[str, Any]) -> tuple[Delivery, SessionRecord | None]:
    stored = _change(db, "add_message", given)
    (statement,) = _STEPS["delivery"]
    row = db.execute(statement, {**given, "stored": stored}).fetchone()
    return (Delivery.MISSING, None) if row is None else (Delivery(row[0]), _record(row[1:]))


def _backlog(db: Connection, given: Mapping[str, Any]) -> Backlog | None:
    session, waiting = _STEPS["backlog"]
    with db:
        db.execute("BEGIN")  # so that all is of one moment
        row = db.execute(session, given).fetchone()
        if row is None:
            return None
        return Backlog(_record(row[1:]), row[0], db.execute(waiting, given).fetchall())


def _record(row: Sequence[Any]) -> SessionRecord:
    return SessionRecord(**dict(zip(SESSION, row, strict=True)))


def _bound(given: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the parameters of a statement, the fields of a record among them."""
    flat = {**given, **given.get("fields", {}), **given.get("grant", {})}
    return {
        name: to_json(value) if isinstance(value, Mapping) else value
        for name, value in flat.items()
        if name not in ("fields", "grant")
    }
