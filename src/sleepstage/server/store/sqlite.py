"""A store in a file of SQLite: for one machine, with any number of processes on it."""
# ruff: noqa: D102 - described by Store

import asyncio
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from string import Template
from typing import Any, Final, Self, TypeAlias, TypeVar

from sleepstage.errors import StoreError
from sleepstage.server.records import Backlog, Grant, SessionRecord
from sleepstage.server.store import ADVANCED, GRANT, SESSION, Store, to_json

T = TypeVar("T")
Step: TypeAlias = Callable[[sqlite3.Connection], T]

_BUSY_SECONDS: Final = 5.0
_ERASE_SECONDS: Final = 0.2
_READERS: Final = 4
# To see that there is room, as much is written as a usual message has; nothing of it stays.
_TRIAL: Final = (
    "INSERT INTO flag VALUES (hex(zeroblob(8192)))",
    "DELETE FROM flag WHERE name = hex(zeroblob(8192))",
)

_TABLES: Final = Path(__file__).with_name("tables.sql").read_text("utf-8")
# What brings a store from each version to the next; a new one takes all steps.
_VERSIONS: Final = re.split(r"-- Version \d+\n", _TABLES)


_SQL: Final = Template(Path(__file__).with_name("sqlite.sql").read_text("utf-8")).substitute(
    session=", ".join(f"session.{name}" for name in SESSION),
    session_names=", ".join(SESSION),
    session_values=", ".join(f":{name}" for name in SESSION),
    grant=", ".join(GRANT),
    grant_values=", ".join(f":{name}" for name in GRANT),
    advance=", ".join(f"{name} = :{name}" for name in ADVANCED),
)
_STEPS: Final = {
    name: [statement.strip() for statement in part.split(";")]
    for name, part in re.findall(r"^--: (\w+)\n(.*?);\s*(?=^--: |\Z)", _SQL, re.M | re.S)
}


class SqliteStore(Store):
    """Keeps the contract of `Store` in one file.

    Reads wait for nobody. Writes that come while others are written are written together: one wait
    for the disk then serves them all, and still each has its own result or error.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = _connect(path)
        self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # opens the log
        # What is open: from now on, neither file is replaced by SQLite itself.
        self._opened = _identity(path)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store-write")
        self._gathered: list[tuple[Step[Any], asyncio.Future[Any]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="store-read")
        self._idle: list[sqlite3.Connection] = []

    @classmethod
    async def open(cls, folder: str | Path) -> Self:
        """Open the store in a folder; it, and its file, are made for this user alone if missing.

        Raises `StoreError` if it can't be written, or is of another version.
        """
        return await asyncio.to_thread(cls._open, Path(folder).expanduser() / "sessions.sqlite")

    @classmethod
    def _open(cls, path: Path) -> Self:
        with _errors(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            _prepare(path)
            return cls(path)

    async def aclose(self) -> None:
        while self._writing is not None:
            await asyncio.wait([self._writing])
        await asyncio.to_thread(self._readers.shutdown)
        self._writer.shutdown()
        for connection in (*self._idle, self._connection):
            connection.close()

    async def ping(self) -> None:
        await self.write(lambda db: [db.execute(one) for one in _TRIAL])

    async def erase(self) -> bool:
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._empty_log)

    def _empty_log(self) -> bool:
        """Empty the log, which keeps what was deleted or used; False if others read it now."""
        db = self._connection
        with _errors(self._path):
            self._check()
            db.execute(f"PRAGMA busy_timeout = {1000 * _ERASE_SECONDS:.0f}")  # writers wait as well
            try:
                busy, *_ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                db.execute(f"PRAGMA busy_timeout = {1000 * _BUSY_SECONDS:.0f}")
        return not busy

    def _check(self) -> None:
        """Refuse if the files that are open are no longer those at the path."""
        try:
            found = _identity(self._path)
        except (FileNotFoundError, NotADirectoryError):
            found = None
        if found != self._opened:
            raise StoreError(
                f"{self._path}: it was moved, deleted or replaced while the server had it open; "
                "put it back, or restart the server"
            )

    async def read(self, step: Step[T]) -> T:
        """Read with a connection, in a thread. Raises `StoreError` if it can't be read."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._look, step)

    def _look(self, step: Step[T]) -> T:
        with _errors(self._path):
            try:
                connection = self._idle.pop()
            except IndexError:
                self._check()
                connection = _connect(self._path)
            try:
                return step(connection)
            finally:
                self._idle.append(connection)

    async def write(self, step: Step[T]) -> T:
        """Write within a transaction, in a thread. What returns is on the disk.

        Raises `StoreError` if it could not be written; then nothing of it is.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._gathered.append((step, done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_gathered())
        return await done

    async def _write_gathered(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._gathered:
                taken, self._gathered = self._gathered, []
                steps = [step for step, _ in taken]
                try:
                    results = await loop.run_in_executor(self._writer, self._transact, steps)
                except Exception as error:  # whoever waits is notified
                    results = [error] * len(steps)
                for (_, done), result in zip(taken, results, strict=True):
                    if done.cancelled():
                        continue
                    if isinstance(result, Exception):
                        done.set_exception(result)
                    else:
                        done.set_result(result)
        finally:
            self._writing = None

    def _transact(self, steps: Sequence[Step[Any]]) -> list[Any]:
        """Write all in one transaction; the error of a step stands for its result."""
        with _errors(self._path):
            self._check()
            with self._connection as db:
                db.execute("BEGIN IMMEDIATE")
                results = [self._try(step, db) for step in steps]
            self._check()  # before anything is acknowledged
        return results

    def _try(self, step: Step[Any], db: sqlite3.Connection) -> Any:
        db.execute("SAVEPOINT step")
        try:
            with _errors(self._path):
                result = step(db)
        except Exception as error:
            if not db.in_transaction:  # SQLite gave up all of them, as when the disk is full
                raise
            db.execute("ROLLBACK TO step")
            result = error
        db.execute("RELEASE step")
        return result

    async def _add_message(self, **given: Any) -> tuple[str, Any]:
        return await self.write(lambda db: _add_message(db, _bound(given)))

    async def backlog(self, session_id: str) -> Backlog | None:
        return await self.read(lambda db: self._backlog(db, {"id": session_id}))

    def _backlog(self, db: sqlite3.Connection, given: Mapping[str, Any]) -> Backlog | None:
        session, waiting = _STEPS["backlog"]
        with db:
            db.execute("BEGIN")  # so that all is of one moment
            row = db.execute(session, given).fetchone()
            if row is None:
                return None
            messages = db.execute(waiting, given).fetchall()
        return Backlog(self._session(row[1:]), row[0], messages)

    async def _rows(self, step: str, **given: Any) -> list[Any]:
        (statement,) = _STEPS[step]
        rows = await self.read(lambda db: db.execute(statement, given).fetchall())
        return [row[0] if len(row) == 1 else row for row in rows]

    async def _change(self, step: str, **given: Any) -> bool:
        return await self.write(lambda db: _change(db, step, _bound(given)))

    def _session(self, row: Sequence[Any]) -> SessionRecord:
        return SessionRecord(**dict(zip(SESSION, row, strict=True)))

    def _grant(self, row: Sequence[Any]) -> Grant:
        return Grant(**dict(zip(GRANT, row, strict=True)))


def _change(db: sqlite3.Connection, step: str, given: Mapping[str, Any]) -> bool:
    first, *others = _STEPS[step]
    changed = db.execute(first, given).rowcount > 0
    for statement in others if changed else ():
        db.execute(statement, given)
    return changed


def _add_message(db: sqlite3.Connection, given: Mapping[str, Any]) -> tuple[str, Any]:
    stored = _change(db, "add_message", given)
    (statement,) = _STEPS["delivery"]
    row = db.execute(statement, {**given, "stored": stored}).fetchone()
    return (row[0], row[1:]) if row else ("missing", None)


def _bound(given: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the parameters of a statement, the fields of a record among them."""
    flat = {**given, **given.get("fields", {}), **given.get("grant", {})}
    return {
        name: to_json(value) if isinstance(value, Mapping) else value
        for name, value in flat.items()
        if name not in ("fields", "grant")
    }


def _connect(path: Path) -> sqlite3.Connection:
    # A connection is used by one thread at a time, but not always by the same.
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",  # a file that is gone is not made again
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        db.execute("PRAGMA synchronous = FULL")  # what is committed outlives a power cut
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA secure_delete = ON")  # a night that is deleted is wiped from the file
    except sqlite3.Error:
        db.close()
        raise
    return db


def _identity(path: Path) -> tuple[tuple[int, int], ...]:
    """What distinguishes the file at the path, and its log, from any others."""
    found = (os.stat(path), os.stat(f"{path}-wal"))  # noqa: PTH116 - at each write: pathlib is slow
    return tuple((one.st_dev, one.st_ino) for one in found)


def _prepare(path: Path) -> None:
    """Make the tables, or bring them to this version; refuse those of others."""
    with closing(_connect(path)) as db:
        with db:
            db.execute("BEGIN IMMEDIATE")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if version > len(_VERSIONS) or (tables and not version):
                raise StoreError(
                    f"{path}: its tables are of version {version}, and this program knows "
                    f"{len(_VERSIONS)}; use another folder, or the program that made them"
                )
            if version < len(_VERSIONS):
                for statement in ";".join(_VERSIONS[version:]).split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {len(_VERSIONS)}")
        _log_ahead(db)


def _log_ahead(db: sqlite3.Connection) -> None:
    """Let reads and writes go on beside each other, from now on and in every process."""
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:  # others open the file: here SQLite does not wait itself
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except StoreError:
        raise
    except (sqlite3.Error, OSError) as error:
        fix = "the folder can be written to, the disk has room, and no program holds the file"
        raise StoreError(f"{path}: {error}; see that {fix}") from error
