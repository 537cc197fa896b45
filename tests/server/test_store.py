"""One battery for both stores: what the contract promises, at once, twice, and after a crash."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from sleepstage.errors import StoreError
from sleepstage.server.records import Advance, Backlog, Delivery, Grant, Incoming, SessionRecord
from sleepstage.server.store import Store, open_store
from sleepstage.server.store import redis as redis_store
from sleepstage.server.store import sqlite as sqlite_store
from sleepstage.server.store.sqlite import SqliteStore
from tests.helpers.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.anyio

NIGHT = SessionRecord(id="night", owner="anna", created=1000.0, heard=1000.0)
TOKEN = Grant(id="t1", digest="d1", owner="anna", created=1.0)
LINK = Grant(id="l1", digest="d2", owner="anna", session="night", created=2.0, expires=9.0)


@dataclass(frozen=True)
class Place:
    """Where a store is, and what lies there."""

    address: str
    server: RedisServer | None = None

    @property
    def leftovers(self) -> list[Any]:
        """All rows, or all keys, but for marks: there has been a token, something was deleted."""
        if self.server is not None:
            with Redis.from_url(self.address) as client:
                kept = {b"sleepstage:guarded", b"sleepstage:deleted", b"sleepstage:erased"}
                return [key for key in client.keys("*") if key not in kept]
        with closing(sqlite3.connect(Path(self.address) / "sessions.sqlite")) as db:
            tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            found = [row for (name,) in tables for row in db.execute(f"SELECT * FROM {name}")]
            return [row for row in found if row != ("guarded",)]

    def clear(self) -> None:
        if self.server is not None:
            with Redis.from_url(self.address) as client:
                client.flushall()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return Place(str(tmp_path / "store"))
    server = request.getfixturevalue("server")
    found = Place(server.address, server)
    found.clear()
    return found


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def opened(address: str) -> AsyncIterator[Store]:
    store = await open_store(address)
    try:
        yield store
    finally:
        await store.aclose()


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    async with opened(place.address) as one:
        yield one


async def add(
    store: Store,
    message: str,
    *,
    session: str = "night",
    at: float = 0.0,
    until: float | None = None,
    now: float = 2000.0,
    **given: Any,
) -> tuple[Delivery, SessionRecord | None]:
    body = message.encode()
    span = (at, at if until is None else until)
    described = {"digest": body, "span": span, "now": now, **given}
    return await store.add_message(session, Incoming(message, body, **described))


def step(record: SessionRecord, used: int = -1, n_epochs: int = 0, **changes: Any) -> Advance:
    """What a step of work changes; epochs say their number."""
    epochs = [{"n": record.n_epochs + index} for index in range(n_epochs)]
    after = replace(
        record, version=record.version + 1, n_epochs=record.n_epochs + n_epochs, **changes
    )
    final = after.closed and not after.reopens
    snapshot = None if final else b"state %d" % after.version
    result = {"n": after.n_epochs, "\u00e9": None} if after.closed else None
    samples = b"samples %d" % after.version if n_epochs else b""
    return Advance(after, snapshot, used, epochs, samples, result)


async def close(store: Store, session: str = "night", **changes: Any) -> bool:
    backlog = await waiting(store, session)
    used = max((number for number, _ in backlog.messages), default=-1)
    done = step(backlog.record, used, closed=True, **changes)
    return await store.commit(backlog.record.version, done)


async def waiting(store: Store, session: str = "night") -> Backlog:
    backlog = await store.backlog(session)
    assert backlog is not None
    return backlog


async def bodies(store: Store) -> list[bytes]:
    return [body for _, body in (await waiting(store)).messages]


# Sessions


async def test_a_session_comes_back_as_it_was_opened(store: Store) -> None:
    full = SessionRecord(
        id="a:b/c d",
        owner="\u00c5sa \U0001f634",
        label='"bed", l\u00e4ngst bort\nnew line',
        source="sensor-logger",
        simulated=True,
        created=1700000000.1234567,
        lateness=60.5,
        find_rem=True,
        start=1.7e9 + 1 / 3,
        n_epochs=0,
        due=-5.000000000000001,
        motion_columns=4,
        intake={"late": 3, "clock_back": 0.1},
        version=7,
        newest=-6.0,
        heard=1700000000.7654321,
    )
    for record in (NIGHT, full):
        assert await store.session(record.id) is None
        assert await store.open_session(record)
        assert await store.session(record.id) == record
        assert not await store.open_session(replace(record, owner="other", label="other"))
        assert await store.session(record.id) == record
    assert await store.sessions("other", limit=9) == []


async def test_sessions_of_an_owner_are_listed_newest_first(store: Store) -> None:
    for name, created in (("b", 3.0), ("a", 1.0), ("c", 3.0), ("d", 2.0)):
        await store.open_session(replace(NIGHT, id=name, created=created))
    await store.open_session(replace(NIGHT, id="x", owner="ben"))
    assert [one.id for one in await store.sessions("anna", limit=9)] == ["c", "b", "d", "a"]
    assert [one.id for one in await store.sessions("anna", limit=2)] == ["c", "b"]
    assert [one.id for one in await store.sessions("ben", limit=2)] == ["x"]
    assert [await store.count_open(owner) for owner in ("anna", "ben", "nobody")] == [4, 1, 0]
    await close(store, "d")
    await store.delete_session("a")
    assert await store.count_open("anna") == 2
    assert [one.id for one in await store.sessions("anna", limit=9)] == ["c", "b", "d"]


async def test_versions_are_told_of_those_that_are_there(store: Store) -> None:
    assert await store.versions([]) == {}
    await store.open_session(NIGHT)
    await store.open_session(replace(NIGHT, id="other", version=5))
    await store.commit(0, step(NIGHT))
    names = ["night", "gone", "other"]
    assert await store.versions(names) == {"night": 1, "other": 5}


async def test_deleting_leaves_nothing_behind(store: Store, place: Place) -> None:
    other = replace(NIGHT, id="other")
    for record in (NIGHT, other):
        await store.open_session(record)
        await add(store, "m1", session=record.id, until=100)
        await add(store, "m2", session=record.id)
        await store.commit(0, step(record, 0, 2, due=60.0))
        await store.add_grant(replace(LINK, id=record.id, digest=record.id, session=record.id))
    await store.add_grant(TOKEN)
    await close(store, "other")
    assert await store.delete_session("night")
    assert not await store.delete_session("night")
    assert await store.session("night") is None
    assert await store.backlog("night") is None
    assert await store.result("night") is None
    assert await store.epochs("night") == []
    assert await store.samples("night") == []
    assert await store.grant("night") is None
    assert await store.due(limit=9) == await store.silent(since=1e12, limit=9) == []
    assert (await add(store, "m3"))[0] is Delivery.MISSING
    assert len(await store.epochs("other")) == 2
    assert await store.outdated(since=1e12, limit=9) == ["other"]
    assert await store.grants(session_id="other") != []
    assert await store.delete_session("other")
    assert await store.remove_grant(TOKEN.id)
    assert place.leftovers == []


async def test_nights_go_with_the_session_that_they_were_found_in(store: Store) -> None:
    night = replace(NIGHT, id="of-night", watch="night", closed=True, reopens=True)
    assert not await store.open_session(night)
    await store.open_session(NIGHT)
    for record in (night, replace(night, id="gone")):
        assert await store.open_session(record)
    done = replace(night, n_epochs=1, reopens=False, version=1)
    assert await store.commit(0, Advance(done, None, -1, [{"n": 0}], result={"n": 1}))
    assert await store.session("of-night") == done
    assert await store.epochs("of-night") == [{"n": 0}]
    assert await store.delete_session("gone")
    assert await store.delete_session("night")
    assert await store.sessions("anna", limit=9) == []
    assert await store.epochs("of-night") == []


async def test_a_step_drops_what_is_old(store: Store) -> None:
    await store.open_session(NIGHT)
    for version in range(3):
        record = await store.session("night")
        assert record is not None
        assert await store.commit(version, step(record, n_epochs=2))
    before = await store.session("night")
    assert before is not None
    advance = step(before, n_epochs=1, first=3)
    assert await store.commit(3, replace(advance, dropped=2))
    assert await store.samples("night") == [b"samples 3", b"samples 4"]
    assert await store.epochs("night") == [{"n": n} for n in (3, 4, 5, 6)]
    assert await store.epochs("night", after=5) == [{"n": 5}, {"n": 6}]


# Messages


async def test_a_message_is_stored_once(store: Store) -> None:
    await store.open_session(NIGHT)
    first = await add(store, "m1", at=100.0, until=110.0, now=2000.0)
    assert first == (
        Delivery.STORED,
        replace(NIGHT, newest=110.0, heard=2000.0, due=100.0 + 30 + NIGHT.lateness),
    )
    assert first[1] == await store.session("night")
    again = await add(store, "m1", until=999.0, now=3000.0, warnings={"late": 1})
    assert again == (Delivery.REPEATED, first[1])
    other = await add(store, "m1", until=999.0, now=3000.0, digest=b"of other samples")
    assert other == (Delivery.CONFLICT, first[1])
    assert await bodies(store) == [b"m1"]


async def test_a_message_without_samples_moves_nothing_but_its_session(store: Store) -> None:
    await store.open_session(NIGHT)
    _, first = await add(store, "m1", span=None, now=2000.0)
    assert first == replace(NIGHT, heard=2000.0)
    _, second = await add(store, "m2", at=100.0, now=2001.0)
    _, third = await add(store, "m3", span=None, now=2002.0)
    assert second is not None
    assert third == replace(second, heard=2002.0) == await store.session("night")


async def test_warnings_add_up(store: Store) -> None:
    await store.open_session(NIGHT)
    await add(store, "m1", warnings={"late": 2})
    await add(store, "m2")
    _, record = await add(store, "m3", warnings={"late": 3, "stale": 1})
    assert record is not None
    assert record.warnings == {"late": 5, "stale": 1}
    assert record == await store.session("night")


async def test_a_later_message_moves_what_it_should(store: Store) -> None:
    await store.open_session(replace(NIGHT, lateness=0.1))
    await add(store, "m1", at=1700000000.1234567)
    _, second = await add(store, "m2", at=5.0, now=2001.0)
    _, third = await add(store, "m3", at=1700000000.3, now=2002.5)
    assert second is not None
    assert third is not None
    assert (second.newest, second.heard) == (1700000000.1234567, 2001.0)
    assert (third.newest, third.heard) == (1700000000.3, 2002.5)
    assert third.due == 1700000000.1234567 + 30 + 0.1  # to the last bit
    assert [number for number, _ in (await waiting(store)).messages] == sorted(
        {number for number, _ in (await waiting(store)).messages}
    )
    assert await bodies(store) == [b"m1", b"m2", b"m3"]


async def test_messages_to_no_session_and_to_a_closed_one(store: Store, place: Place) -> None:
    assert await add(store, "m1") == (Delivery.MISSING, None)
    assert place.leftovers == []
    await store.open_session(NIGHT)
    await add(store, "m1")
    assert await close(store)
    over = await store.session("night")
    assert await add(store, "m2", now=9e9) == (Delivery.CLOSED, over)
    assert await add(store, "m1", now=9e9) == (Delivery.REPEATED, over)
    assert await bodies(store) == []


async def test_samples_open_a_session_again_that_silence_closed(store: Store) -> None:
    await store.open_session(NIGHT)
    await add(store, "m1", at=100.0)
    assert await close(store, reopens=True)
    over = await store.session("night")
    assert over is not None
    assert await store.count_open("anna") == 0
    assert await add(store, "m1", now=9e9) == (Delivery.REPEATED, over)
    assert await add(store, "m2", span=None, now=9e9) == (Delivery.CLOSED, over)
    told, record = await add(store, "m2", at=500.0, now=3000.0)
    assert told is Delivery.STORED
    assert record == replace(
        over, closed=False, reopens=False, version=over.version + 1, newest=500.0, heard=3000.0
    )
    assert record == await store.session("night")
    assert await store.result("night") is None
    assert await store.count_open("anna") == 1
    assert (await waiting(store)).snapshot == b"state 1"
    assert await store.silent(since=9e9, limit=9) == ["night"]
    assert await store.outdated(since=9e9, limit=9) == ["night"]
    assert await store.versions(["night"]) == {"night": over.version + 1}


async def test_ids_of_used_messages_are_known_but_not_their_bodies(
    store: Store, place: Place
) -> None:
    await store.open_session(NIGHT)
    body = b"\x00\xff" * 1000
    await store.add_message("night", Incoming("m1", body, b"m1", (0.0, 1.0), 2.0))
    ((number, kept),) = (await waiting(store)).messages
    assert kept == body
    assert await store.commit(0, step(NIGHT, number))
    assert await bodies(store) == []
    assert (await add(store, "m1"))[0] is Delivery.REPEATED
    if place.server is None:
        assert not any(body in row for row in place.leftovers)
    else:
        assert not any(b"waiting" in key for key in place.leftovers)


async def test_ids_of_messages_are_forgotten_with_the_days_that_a_session_drops(
    store: Store,
) -> None:
    await store.open_session(NIGHT)
    for number, now in enumerate((10.0, 20.0, 30.0, 40.0)):
        await add(store, f"m{number}", now=now)
    *_, (used, _), _ = (await waiting(store)).messages
    assert await store.commit(0, step(NIGHT, used, 1))
    before = await waiting(store)
    forgetting = replace(step(before.record), forgotten=25.0)
    assert await store.commit(1, forgetting)
    after = await waiting(store)
    assert [body for _, body in after.messages] == [b"m3"]
    for name in ("m0", "m1"):
        assert (await add(store, name, now=50.0))[0] is Delivery.STORED
    for name in ("m2", "m3"):
        assert (await add(store, name, now=50.0))[0] is Delivery.REPEATED
    assert await bodies(store) == [b"m3", b"m0", b"m1"]
    late = await waiting(store)
    assert await store.commit(2, replace(step(late.record), forgotten=1e9))  # these wait
    assert await bodies(store) == [b"m3", b"m0", b"m1"]
    for name in ("m0", "m1", "m3"):
        assert (await add(store, name))[0] is Delivery.REPEATED
    (number, _), *_ = (await waiting(store)).messages
    assert await store.commit(3, step((await waiting(store)).record, number))
    assert await bodies(store) == [b"m0", b"m1"]


# Work


async def test_a_step_of_work_is_written_whole(store: Store) -> None:
    await store.open_session(NIGHT)
    for name in ("m1", "m2", "m3"):
        await add(store, name)
    before = await waiting(store)
    assert before.snapshot is None
    told = step(
        before.record,
        before.messages[1][0],
        3,
        start=-30.5,
        due=60.25,
        motion_columns=3,
        intake={"late": 2, "duplicate": 0},
    )
    await add(store, "m4", at=500.0, now=2500.0)  # meanwhile
    assert await store.commit(0, told)
    after = await waiting(store)
    assert after.record == replace(told.record, newest=500.0, heard=2500.0)
    assert after.snapshot == told.snapshot
    assert [body for _, body in after.messages] == [b"m3", b"m4"]
    assert after.messages[0] == before.messages[2]
    assert await store.epochs("night") == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert await store.epochs("night", after=1) == [{"n": 1}, {"n": 2}]
    assert await store.epochs("night", after=3) == []
    assert await store.samples("night") == [told.samples]
    assert await store.result("night") is None


async def test_steps_follow_each_other(store: Store) -> None:
    record = NIGHT
    await store.open_session(record)
    for n_epochs in (2, 0, 12):
        told = step(record, n_epochs=n_epochs)
        assert await store.commit(record.version, told)
        record = told.record
    assert await store.epochs("night") == [{"n": number} for number in range(14)]
    assert await store.samples("night") == [b"samples 1", b"samples 3"]
    assert await close(store)
    assert await store.result("night") == {"n": 14, "\u00e9": None}
    assert (await waiting(store)).snapshot is None
    assert await store.epochs("night", after=12) == [{"n": 12}, {"n": 13}]


@pytest.mark.parametrize("version", [1, 3])
async def test_a_step_from_another_version_is_refused(store: Store, version: int) -> None:
    await store.open_session(replace(NIGHT, version=2))
    await add(store, "m1")
    before = await waiting(store)
    told = step(before.record, before.messages[0][0], 1, start=5.0)
    assert not await store.commit(version, told)
    assert await waiting(store) == before
    assert await store.epochs("night") == []
    assert await store.samples("night") == []
    assert await store.commit(2, told)


async def test_no_step_for_a_session_that_is_gone_or_closed(store: Store, place: Place) -> None:
    assert not await store.commit(0, step(NIGHT, n_epochs=1))
    assert place.leftovers == []
    await store.open_session(NIGHT)
    await close(store)
    over = await waiting(store)
    assert not await store.commit(over.record.version, step(over.record, n_epochs=1, closed=False))
    assert await waiting(store) == over
    assert await store.epochs("night") == []


async def test_a_night_that_silence_closed_can_be_closed_for_good(store: Store) -> None:
    await store.open_session(NIGHT)
    await add(store, "m1")
    assert await close(store, reopens=True)
    over = await waiting(store)
    assert over.snapshot is not None
    assert not await store.commit(0, step(over.record, reopens=False))
    assert await store.commit(over.record.version, step(over.record, reopens=False))
    final = await waiting(store)
    assert final.record == replace(over.record, reopens=False, version=over.record.version + 1)
    assert final.snapshot is None
    assert await store.result("night") == {"n": 0, "\u00e9": None}
    assert (await add(store, "m2"))[0] is Delivery.CLOSED
    assert not await store.commit(final.record.version, step(final.record))


async def test_a_session_that_was_heard_since_is_not_deleted(store: Store) -> None:
    await store.open_session(NIGHT)
    await add(store, "m1", now=2000.0)
    assert not await store.delete_session("night", heard_before=2000.0)
    assert await store.session("night") is not None
    assert await store.delete_session("night", heard_before=2000.5)
    assert await store.session("night") is None


async def test_no_session_is_closed_over_a_message_that_waits(store: Store) -> None:
    await store.open_session(NIGHT)
    await add(store, "m1")
    before = await waiting(store)
    await add(store, "m2")
    told = step(before.record, before.messages[0][0], 1, closed=True)
    assert not await store.commit(0, told)
    assert await bodies(store) == [b"m1", b"m2"]
    assert not await store.commit(0, replace(told, used=-1))
    assert await store.commit(0, step(before.record, before.messages[0][0], 1))
    assert await bodies(store) == [b"m2"]
    assert await close(store)


async def test_due_are_those_with_a_new_enough_sample(store: Store) -> None:
    for name in ("a", "b", "c", "d"):
        await store.open_session(replace(NIGHT, id=name))
    await add(store, "m", session="a", at=0.0, until=34.999)
    await add(store, "m", session="b", at=5.0, until=40.0)
    await add(store, "m", session="c", at=0.0, until=99.0)
    assert await store.due(limit=9) == ["c", "b"]
    assert await store.due(limit=1) == ["c"]
    await add(store, "m2", session="a", at=35.0)
    assert sorted(await store.due(limit=9)) == ["a", "b", "c"]
    backlog = await waiting(store, "b")
    await store.commit(0, step(backlog.record, due=70.0))
    backlog = await waiting(store, "c")
    await store.commit(0, step(backlog.record, due=99.0))
    assert await store.due(limit=9) == ["a", "c"]
    assert await close(store, "a")
    await store.delete_session("c")
    assert await store.due(limit=9) == []


async def test_silent_and_outdated_go_by_when_a_session_was_heard(store: Store) -> None:
    for name, heard in (("a", 30.0), ("b", 10.0), ("c", 20.0)):
        await store.open_session(replace(NIGHT, id=name, heard=heard))
    assert await store.silent(since=30.0, limit=9) == ["b", "c"]
    assert await store.silent(since=30.5, limit=2) == ["b", "c"]
    assert await store.silent(since=10.0, limit=9) == []
    await add(store, "m", session="b", now=40.0)
    assert await store.silent(since=40.0, limit=9) == ["c", "a"]
    await close(store, "a")
    await close(store, "b")
    assert await store.silent(since=99.0, limit=9) == ["c"]
    assert sorted(await store.outdated(since=99.0, limit=9)) == ["a", "b", "c"]
    assert sorted(await store.outdated(since=40.0, limit=9)) == ["a", "c"]
    assert await store.outdated(since=25.0, limit=9) == ["c"]
    assert len(await store.outdated(since=99.0, limit=1)) == 1


# Grants


async def test_grants_are_found_listed_and_revoked(store: Store) -> None:
    await store.open_session(NIGHT)
    older = Grant(id="t0", digest="d0", owner="\u00c5sa", created=0.5)
    link = replace(LINK, token="t0")
    for grant in (TOKEN, link, older):
        await store.add_grant(grant)
    assert await store.grant("d1") == TOKEN
    assert await store.grant("d2") == link
    assert await store.grant("t1") is None
    assert await store.grants() == [older, TOKEN]
    assert await store.grants(session_id="night") == [link]
    assert await store.grants(session_id="other") == []
    assert await store.remove_grant("t1")
    assert not await store.remove_grant("t1")
    assert await store.grant("d1") is None
    assert await store.grants() == [older]
    assert await store.remove_grant("l1")
    assert await store.grants(session_id="night") == []


async def test_links_go_with_the_token_that_they_were_made_with(store: Store) -> None:
    await store.open_session(NIGHT)
    other = replace(TOKEN, id="t2", digest="d3")
    made = replace(LINK, token="t1")
    older = replace(LINK, id="l2", digest="d4")  # of a store that did not keep the token
    for grant in (TOKEN, other, made, older):
        await store.add_grant(grant)
    assert await store.remove_grant("t1")
    assert await store.grants(session_id="night") == [older]
    assert await store.remove_grant("t2")
    assert await store.grants(session_id="night") == []
    noted = replace(other, token="t1")
    for grant in (TOKEN, noted):
        await store.add_grant(grant)
    assert await store.remove_grant("t1")
    assert await store.grants() == [noted]  # a token goes with no other


async def test_that_there_was_a_token_is_never_forgotten(store: Store, place: Place) -> None:
    assert not await store.guarded()
    await store.open_session(NIGHT)
    await store.add_grant(LINK)
    assert not await store.guarded()
    await store.add_grant(TOKEN)
    await store.remove_grant(TOKEN.id)
    assert await store.guarded()
    async with opened(place.address) as again:
        assert await again.guarded()


async def test_a_grant_takes_nobodys_place(store: Store) -> None:
    await store.open_session(NIGHT)
    await store.add_grant(TOKEN)
    await store.add_grant(TOKEN)  # asked again
    for other in (replace(TOKEN, digest="d3"), replace(TOKEN, id="t3"), replace(TOKEN, owner="x")):
        with pytest.raises(StoreError, match=f"grant {other.id}: its id or digest is taken"):
            await store.add_grant(other)
    with pytest.raises(StoreError, match="grant l1: its session is gone; make another"):
        await store.add_grant(replace(LINK, session="gone"))
    assert await store.grants() == [TOKEN]
    assert await store.grant("d3") is await store.grant("d2") is None


# Together with others


async def test_what_one_handle_stores_another_one_reads(store: Store, place: Place) -> None:
    async with opened(place.address) as other:
        await store.open_session(NIGHT)
        assert await other.session("night") == NIGHT
        told = await asyncio.gather(*(add(one, "m1") for one in (store, other) * 5))
        deliveries = [delivery for delivery, _ in told]
        assert deliveries.count(Delivery.STORED) == 1
        assert deliveries.count(Delivery.REPEATED) == 9


async def test_of_steps_at_once_one_is_written(store: Store, place: Place) -> None:
    async with opened(place.address) as other:
        await store.open_session(NIGHT)
        for version in range(10):
            record = (await waiting(store)).record
            steps = [step(record, n_epochs=1, start=float(index)) for index in range(6)]
            written = await asyncio.gather(
                *(
                    one.commit(version, told)
                    for one, told in zip(itertools.cycle((store, other)), steps, strict=False)
                )
            )
            assert written.count(True) == 1
            winner = steps[written.index(True)].record
            assert await other.session("night") == await store.session("night") == winner
        assert await other.epochs("night") == [{"n": number} for number in range(10)]


async def test_no_message_is_lost_between_adding_and_closing(store: Store, place: Place) -> None:
    async with opened(place.address) as other:
        await store.open_session(NIGHT)
        used: list[bytes] = []

        async def work() -> None:
            over = False
            while not over:
                backlog = await waiting(other)
                number = max((number for number, _ in backlog.messages), default=-1)
                over = backlog.record.version > 5
                told = step(backlog.record, number, closed=over)
                if await other.commit(backlog.record.version, told):
                    used.extend(body for _, body in backlog.messages)
                else:
                    over = False

        adding = [add(store, f"m{number}") for number in range(300)]
        *told, _ = await asyncio.gather(*adding, work())
        # A client of Redis that waits for long asks again, and finds its message there.
        kept = {Delivery.STORED, Delivery.REPEATED}
        stored = {b"m%d" % number for number, one in enumerate(told) if one and one[0] in kept}
        assert stored == set(used)
        assert len(used) == len(set(used))


async def test_what_is_under_way_is_finished_before_closing(place: Place) -> None:
    store = await open_store(place.address)
    await store.open_session(NIGHT)
    adding = [asyncio.create_task(add(store, f"m{number}")) for number in range(100)]
    await asyncio.sleep(0)
    await store.aclose()
    assert {told[0] for told in await asyncio.gather(*adding)} == {Delivery.STORED}
    async with opened(place.address) as again:
        assert len(await bodies(again)) == 100


async def test_who_gives_up_waiting_disturbs_nobody(store: Store) -> None:
    await store.open_session(NIGHT)
    adding = [asyncio.create_task(add(store, f"m{number}")) for number in range(100)]
    await asyncio.sleep(0.001)
    for task in adding[::2]:
        task.cancel()
    told = await asyncio.gather(*adding, return_exceptions=True)
    kept = {f"m{number}".encode() for number, one in enumerate(told) if isinstance(one, tuple)}
    assert kept >= {b"m%d" % number for number in range(1, 100, 2)}
    assert kept <= set(await bodies(store))
    assert await store.session("other") is None  # answers still belong to their questions
    assert await store.versions(["night"]) == {"night": 0}


# After a crash

WRITER = """
import asyncio, sys
from sleepstage.server.records import Incoming
from sleepstage.server.store import open_store

async def main(address, name):
    store = await open_store(address)
    async def write(task):
        for number in range(int(sys.argv[3])):
            message = f"{name}-{task}-{number}"
            body = message.encode()
            await store.add_message("night", Incoming(message, body, body, (0, 0), 0))
            print(message, flush=True)
    await asyncio.gather(*map(write, range(20)))
    await store.aclose()

asyncio.run(main(*sys.argv[1:3]))
"""


def start_writer(place: Place, name: str, messages: int) -> subprocess.Popen[bytes]:
    """A process that has 20 tasks store messages, and prints what was acknowledged."""
    command = [sys.executable, "-c", WRITER, place.address, name, str(messages)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


async def test_two_processes_lose_nothing(store: Store, place: Place) -> None:
    await store.open_session(NIGHT)
    writers = [start_writer(place, name, 20) for name in ("a", "b")]
    printed = [writer.communicate(timeout=60)[0].split() for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert sorted(printed[0] + printed[1]) == sorted(await bodies(store))
    assert len(await bodies(store)) == 2 * 20 * 20


async def test_what_a_killed_process_had_acknowledged_is_there(store: Store, place: Place) -> None:
    await store.open_session(NIGHT)
    with start_writer(place, "a", 10**6) as writer:
        assert writer.stdout is not None
        printed = [writer.stdout.readline() for _ in range(300)]
        writer.kill()
        printed += writer.stdout.readlines()
    acknowledged = {line.strip() for line in printed if line.endswith(b"\n")}
    assert len(acknowledged) >= 300
    assert acknowledged <= set(await bodies(store))
    first = sorted(acknowledged)[0].decode()
    assert (await add(store, first))[0] is Delivery.REPEATED
    assert (await add(store, "new"))[0] is Delivery.STORED


@pytest.mark.redis
async def test_what_a_killed_redis_had_acknowledged_is_there() -> None:
    with redis_server() as server:
        async with opened(server.address) as store:
            await store.open_session(NIGHT)
            acknowledged: set[bytes] = set()

            async def write(name: str) -> None:
                for number in itertools.count():
                    message = f"{name}-{number}"
                    await add(store, message)
                    acknowledged.add(message.encode())

            writing = [asyncio.create_task(write(str(task))) for task in range(20)]
            while len(acknowledged) < 500:
                await asyncio.sleep(0.01)
            server.kill()
            errors = await asyncio.gather(*writing, return_exceptions=True)
            assert {type(error) for error in errors} == {StoreError}
            with pytest.raises(StoreError, match=r"redis\.sock"):
                await store.ping()
            server.start()
            await store.ping()
            assert acknowledged <= set(await bodies(store))
            assert (await add(store, "0-0"))[0] is Delivery.REPEATED
            assert (await add(store, "new"))[0] is Delivery.STORED


@pytest.mark.redis
async def test_a_restart_of_redis_between_two_calls_goes_unnoticed() -> None:
    with redis_server() as server:
        async with opened(server.address) as store:
            await store.open_session(NIGHT)
            server.kill()
            server.start()
            assert (await add(store, "m1"))[0] is Delivery.STORED
            server.kill()
            calling = asyncio.create_task(store.session("night"))
            await asyncio.sleep(0.02)
            await asyncio.to_thread(server.start)
            assert await calling is not None


# As a model of the contract does it


class Model:
    """The contract in memory: what every store must do, in the simplest way."""

    def __init__(self) -> None:
        self.records: dict[str, SessionRecord] = {}
        self.messages: dict[str, dict[str, bytes | None]] = {}
        self.told: dict[str, list[Advance]] = {}
        self.given: list[Grant] = []
        self.digests: dict[tuple[str, str], bytes] = {}
        self.was_guarded = False

    async def ping(self) -> None: ...

    async def erase(self) -> bool:
        return True

    async def aclose(self) -> None: ...

    async def open_session(self, record: SessionRecord) -> bool:
        if record.id in self.records:
            return False
        self.records[record.id] = record
        self.messages[record.id], self.told[record.id] = {}, []
        return True

    async def session(self, session_id: str) -> SessionRecord | None:
        return self.records.get(session_id)

    async def sessions(self, owner: str, *, limit: int) -> list[SessionRecord]:
        found = [one for one in self.records.values() if one.owner == owner]
        return sorted(found, key=lambda one: (one.created, one.id), reverse=True)[:limit]

    async def count_open(self, owner: str) -> int:
        return sum(one.owner == owner and not one.closed for one in self.records.values())

    async def delete_session(self, session_id: str, *, heard_before: float | None = None) -> bool:
        record = self.records.get(session_id)
        if record is not None and heard_before is not None and record.heard >= heard_before:
            return False
        self.given = [one for one in self.given if one.session != session_id]
        return self.records.pop(session_id, None) is not None

    async def add_message(
        self, session_id: str, message: Incoming
    ) -> tuple[Delivery, SessionRecord | None]:
        record = self.records.get(session_id)
        if record is None:
            return Delivery.MISSING, None
        if message.id in self.messages[session_id]:
            same = self.digests[session_id, message.id] == message.digest
            return Delivery.REPEATED if same else Delivery.CONFLICT, record
        if record.closed and not (record.reopens and message.span):
            return Delivery.CLOSED, record
        if record.closed:
            record = replace(record, closed=False, reopens=False, version=record.version + 1)
            self.told[session_id][-1] = replace(self.told[session_id][-1], result=None)
        self.messages[session_id][message.id] = message.body
        self.digests[session_id, message.id] = message.digest
        record = replace(
            record,
            heard=message.now,
            warnings=dict(Counter(record.warnings) + Counter(message.warnings)),
        )
        if message.span is not None:
            oldest, newest = message.span
            record = replace(
                record,
                newest=newest if record.newest is None else max(newest, record.newest),
                due=oldest + 30 + record.lateness if record.due is None else record.due,
            )
        self.records[session_id] = record
        return Delivery.STORED, record

    async def backlog(self, session_id: str) -> Backlog | None:
        if session_id not in self.records:
            return None
        messages = enumerate(self.messages[session_id].values())
        told = self.told[session_id]
        return Backlog(
            self.records[session_id],
            told[-1].snapshot if told else None,
            [(number, body) for number, body in messages if body is not None],
        )

    async def commit(self, version: int, advance: Advance) -> bool:
        name = advance.record.id
        backlog = await self.backlog(name)
        if backlog is None or backlog.record.version != version:
            return False
        if backlog.record.closed and not backlog.record.reopens:
            return False
        if advance.record.closed and any(n > advance.used for n, _ in backlog.messages):
            return False
        before = backlog.record
        self.records[name] = replace(
            advance.record, newest=before.newest, heard=before.heard, warnings=before.warnings
        )
        self.told[name].append(advance)
        for number, message in enumerate(self.messages[name]):
            if number <= advance.used:
                self.messages[name][message] = None
        return True

    async def due(self, *, limit: int) -> list[str]:
        def overdue(one: SessionRecord) -> bool:
            return one.due is not None and one.newest is not None and one.newest >= one.due

        found = [one for one in self.records.values() if not one.closed and overdue(one)]
        return [one.id for one in found][:limit]

    async def silent(self, *, since: float, limit: int) -> list[str]:
        found = [one for one in self.records.values() if not one.closed and one.heard < since]
        return [one.id for one in found][:limit]

    async def outdated(self, *, since: float, limit: int) -> list[str]:
        return [one.id for one in self.records.values() if one.heard < since][:limit]

    async def epochs(self, session_id: str, *, after: int = 0) -> list[dict[str, Any]]:
        told = self.told[session_id] if session_id in self.records else []
        return [dict(epoch) for one in told for epoch in one.epochs][after:]

    async def samples(self, session_id: str) -> list[bytes]:
        told = self.told[session_id] if session_id in self.records else []
        return [one.samples for one in told if one.samples]

    async def result(self, session_id: str) -> dict[str, Any] | None:
        told = self.told[session_id] if session_id in self.records else []
        return None if not told or told[-1].result is None else dict(told[-1].result)

    async def versions(self, session_ids: Collection[str]) -> dict[str, int]:
        return {one: self.records[one].version for one in session_ids if one in self.records}

    async def add_grant(self, grant: Grant) -> None:
        if grant.session is not None and grant.session not in self.records:
            raise StoreError("gone")
        if grant not in self.given:
            if {grant.id, grant.digest} & {text for g in self.given for text in (g.id, g.digest)}:
                raise StoreError("taken")
            self.given.append(grant)
        self.was_guarded |= grant.session is None

    async def guarded(self) -> bool:
        return self.was_guarded

    async def grant(self, digest: str) -> Grant | None:
        return next((one for one in self.given if one.digest == digest), None)

    async def grants(self, *, session_id: str | None = None) -> list[Grant]:
        found = [one for one in self.given if one.session == session_id]
        return sorted(found, key=lambda one: (one.created, one.id))

    async def remove_grant(self, grant_id: str) -> bool:
        removed = next((one for one in self.given if one.id == grant_id), None)
        if removed is None:
            return False
        self.given.remove(removed)
        if removed.session is None:
            owners = {one.owner for one in self.given if one.session is None}
            self.given = [
                one
                for one in self.given
                if one.session is None
                or (
                    one.token != grant_id
                    and (one.token or one.owner != removed.owner or one.owner in owners)
                )
            ]
        return True


async def commit_some(
    store: Store, session: str, back: int, n_used: int, n_epochs: int, changes: dict[str, Any]
) -> bool | None:
    """Write a step that uses some of what waits, from a version that may be an older one."""
    backlog = await store.backlog(session)
    if backlog is None:
        return None
    used = [number for number, _ in backlog.messages[:n_used]]
    told = step(backlog.record, max(used, default=-1), n_epochs, **changes)
    return await store.commit(backlog.record.version - back, told)


async def outcome(asked: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await asked
    except StoreError:
        return StoreError


NAMES = ("a", "b", "c")
names = st.sampled_from(NAMES)
times = st.floats(-1e3, 2e9)
records = st.builds(
    SessionRecord,
    id=names,
    owner=names,
    label=st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    simulated=st.booleans(),
    created=times,
    lateness=st.floats(0, 100),
    heard=times,
)
grants = st.builds(
    Grant,
    id=names,
    digest=names.map(str.upper),
    owner=names,
    session=st.none() | names,
    token=st.none() | names,
    created=times,
    expires=st.none() | times,
)
messages = st.builds(
    Incoming,
    names,
    st.binary(max_size=9),
    digest=st.sampled_from([b"one", b"two"]),
    span=st.none() | st.tuples(times, times),
    now=times,
    warnings=st.dictionaries(names, st.integers(1, 1000)),
)
changes = st.fixed_dictionaries(
    {"closed": st.booleans(), "reopens": st.booleans()},
    optional={"start": times, "due": st.none() | times, "intake": st.dictionaries(names, times)},
)


def asks(name: str, *values: st.SearchStrategy[Any], **named: st.SearchStrategy[Any]) -> Any:
    """Ask a store something, as a function of the store."""
    return st.tuples(st.tuples(*values), st.fixed_dictionaries(named)).map(
        lambda given: lambda store: getattr(store, name)(*given[0], **given[1])
    )


CALLS: st.SearchStrategy[list[Callable[[Store], Any]]] = st.lists(
    st.one_of(
        asks("open_session", records),
        asks("delete_session", names),
        asks("delete_session", names, heard_before=times),
        asks("add_message", names, messages),
        st.tuples(
            names, st.sampled_from([0, 0, 1]), st.integers(0, 3), st.integers(0, 2), changes
        ).map(lambda given: lambda store: commit_some(store, *given)),
        asks("add_grant", grants),
        asks("remove_grant", names),
    ),
    max_size=40,
)


async def everything(store: Store) -> list[Any]:
    """All that a store can be asked; where there is no order, sorted."""
    seen: list[Any] = [await store.versions(NAMES), await store.grants(), await store.guarded()]
    for since in (-1e9, 1e9, 3e9):
        seen.append(sorted(await store.silent(since=since, limit=9)))
        seen.append(sorted(await store.outdated(since=since, limit=9)))
    seen.append(sorted(await store.due(limit=9)))
    for name in NAMES:
        backlog = await store.backlog(name)
        if backlog is not None:
            seen += [backlog.record, backlog.snapshot, [body for _, body in backlog.messages]]
        seen += [await store.session(name), await store.sessions(name, limit=2)]
        seen += [await store.count_open(name), await store.grants(session_id=name)]
        seen += [await store.epochs(name), await store.epochs(name, after=1)]
        seen += [await store.samples(name), await store.result(name)]
        seen.append(await store.grant(name.upper()))
    return seen


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=CALLS)
def test_a_store_does_as_the_model(place: Place, calls: list[Callable[[Store], Any]]) -> None:
    async def compare(address: str) -> None:
        model: Any = Model()
        async with opened(address) as store:
            for call in calls:
                assert await outcome(call(store)) == await outcome(call(model))
            assert await everything(store) == await everything(model)
            for name in NAMES:
                await store.delete_session(name)
                await store.remove_grant(name)

    with tempfile.TemporaryDirectory() as folder:
        place = place if place.server is not None else Place(folder)
        place.clear()
        asyncio.run(compare(place.address))
        assert place.leftovers == []


# SQLite alone


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "new" / "store"


async def test_nobody_else_can_read_the_file(folder: Path) -> None:
    async with opened(str(folder)) as store:
        await store.open_session(NIGHT)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        files = list(folder.iterdir())
        assert {path.name for path in files} >= {"sessions.sqlite", "sessions.sqlite-wal"}
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert [path.name for path in folder.iterdir()] == ["sessions.sqlite"]


async def test_a_deleted_night_is_wiped_from_the_file(folder: Path) -> None:
    async with opened(str(folder)) as store:
        await store.open_session(replace(NIGHT, label="whose bed"))
        await add(store, "secret message" * 9)
        await store.delete_session("night")
    file = (folder / "sessions.sqlite").read_bytes()
    assert b"whose bed" not in file
    assert b"secret message" not in file


READER = """
import asyncio, sys
from sleepstage.server.store import open_store

async def main(address):
    store = await open_store(address)
    for _ in sys.stdin:
        await store.sessions("anna", limit=9)
        await store.ping()
        print("done", flush=True)
    await store.aclose()

asyncio.run(main(sys.argv[1]))
"""
SECRETS = (b"whose bed", b"secret message", b"secret state", b"secret epoch", b"secret sample")


async def store_secrets(store: Store) -> None:
    """A night with a secret in everything that is stored of it."""
    await store.open_session(replace(NIGHT, label="whose bed"))
    for number in range(50):
        backlog = await waiting(store)
        await add(store, f"{number}", digest=b"", now=backlog.record.heard)
        body = b"secret message" * 99
        await store.add_message("night", Incoming(f"m{number}", body, b"", None, 2000.0))
        record = replace(backlog.record, version=number + 1, n_epochs=number + 1)
        epochs, samples = [{"n": "secret epoch"}], b"secret sample" * 9
        used = (await waiting(store)).last
        step = Advance(record, b"secret state" * 99, used, epochs, samples)
        assert await store.commit(number, step)


def found_in(folder: Path) -> set[bytes]:
    """Secrets that are in any file of a folder."""
    # Were a file of SQLite opened and closed by this process, its locks would be lost.
    search = ("grep", "-rqF")
    return {one for one in SECRETS if not subprocess.run([*search, one, str(folder)]).returncode}


async def test_what_was_deleted_is_in_no_file(folder: Path) -> None:
    command = [sys.executable, "-c", READER, str(folder)]
    async with opened(str(folder)) as store:
        await store_secrets(store)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            asked, told = other.stdin, other.stdout
            assert asked is not None
            assert told is not None

            def let_read() -> None:
                asked.write(b"\n")
                asked.flush()
                assert told.readline() == b"done\n"

            let_read()
            assert found_in(folder) == set(SECRETS)
            await store.delete_session("night")
            assert await store.erase()
            assert found_in(folder) == set()
            let_read()
            await store.open_session(NIGHT)
            assert (await add(store, "m1"))[0] is Delivery.STORED
            asked.close()
            assert other.wait(30) == 0
        await store.ping()


async def test_messages_that_are_used_leave_the_files_too(folder: Path) -> None:
    async with opened(str(folder)) as store:
        await store_secrets(store)
        assert await store.erase()
        assert b"secret message" not in found_in(folder)
        assert len(await store.epochs("night")) == 50
        assert (folder / "sessions.sqlite-wal").stat().st_size == 0


async def test_who_reads_holds_up_erasing_and_nobody_else(folder: Path) -> None:
    async with opened(str(folder)) as store:
        await store_secrets(store)
        with closing(sqlite3.connect(folder / "sessions.sqlite", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM session").fetchone()
            await store.delete_session("night")
            assert not await store.erase()
            await store.open_session(NIGHT)
            assert (await add(store, "m1"))[0] is Delivery.STORED
            reader.execute("COMMIT")
        assert await store.erase()
        assert found_in(folder) == set()


# A folder that goes away


def remove(folder: Path) -> None:
    shutil.rmtree(folder)


def remove_log(folder: Path) -> None:
    (folder / "sessions.sqlite-wal").unlink()


def remove_files(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def replace_it(folder: Path) -> None:
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    shutil.rmtree(folder)
    copy.rename(folder)


@pytest.mark.parametrize("vanish", [remove, remove_log, remove_files, replace_it])
async def test_nothing_is_acknowledged_into_a_store_that_is_gone(
    folder: Path, vanish: Callable[[Path], None]
) -> None:
    async with opened(str(folder)) as store:
        await store.open_session(NIGHT)
        await add(store, "m1")
        vanish(folder)
        files = sorted(folder.rglob("*"))
        told = await asyncio.gather(
            *(add(store, name) for name in NAMES),
            *(store.ping(), store.erase(), store.delete_session("night")),
            *(store.sessions("anna", limit=9) for _ in range(9)),  # with more than one connection
            return_exceptions=True,
        )
        assert [type(one) for one in told[:6]] == [StoreError] * 6
        assert "moved, deleted or replaced while the server had it open; put it back" in str(
            told[0]
        )
        assert sorted(folder.rglob("*")) == files  # no empty file in its place


async def test_a_store_that_goes_within_a_transaction_acknowledges_nothing(folder: Path) -> None:
    store = await SqliteStore.open(folder)
    await store.open_session(NIGHT)
    writes: list[Any] = [add(store, "m1"), store.write(lambda _: remove(folder))]
    told = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(one) for one in told] == [StoreError] * 2
    await store.aclose()


async def test_a_folder_that_comes_back_is_written_to_again(folder: Path) -> None:
    async with opened(str(folder)) as store:
        await store.open_session(NIGHT)
        await add(store, "m1")
        folder.rename(folder.with_name("elsewhere"))
        with pytest.raises(StoreError, match="put it back"):
            await add(store, "m2")
        folder.with_name("elsewhere").rename(folder)
        await store.ping()
        assert (await add(store, "m2"))[0] is Delivery.STORED
        assert await bodies(store) == [b"m1", b"m2"]


async def test_an_old_server_takes_nothing_from_a_new_one_in_its_place(folder: Path) -> None:
    old = await open_store(str(folder))
    await old.open_session(NIGHT)
    remove(folder)
    async with opened(str(folder)) as first:
        await first.open_session(NIGHT)
    with start_writer(Place(str(folder)), "new", 10**6) as new:
        assert new.stdout is not None
        printed = [new.stdout.readline() for _ in range(100)]
        await old.aclose()
        assert (folder / "sessions.sqlite-wal").exists()
        printed += [new.stdout.readline() for _ in range(100)]
        new.kill()
        printed += new.stdout.readlines()
    acknowledged = {line.strip() for line in printed if line.endswith(b"\n")}
    assert len(acknowledged) >= 200
    async with opened(str(folder)) as again:
        assert acknowledged <= set(await bodies(again))


async def test_a_ping_writes_as_much_as_a_message(folder: Path) -> None:
    store = await SqliteStore.open(folder)
    log = folder / "sessions.sqlite-wal"
    assert await store.erase()
    assert log.stat().st_size == 0
    await store.ping()
    assert log.stat().st_size > 16_000
    assert await store.read(lambda db: db.execute("SELECT * FROM flag").fetchall()) == []
    for _ in range(3):
        await store.ping()
    pages = await store.write(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
    for _ in range(3):
        await store.ping()
    after = await store.write(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
    assert after == pages
    await store.aclose()


async def test_many_open_a_new_store_at_once(tmp_path: Path) -> None:
    for number in range(5):
        address = str(tmp_path / str(number))
        stores = await asyncio.gather(*(open_store(address) for _ in range(8)))
        opening = (one.open_session(replace(NIGHT, id=str(id(one)))) for one in stores)
        assert await asyncio.gather(*opening) == [True] * 8
        for one in stores:
            await one.aclose()


async def test_tables_of_others_are_refused(folder: Path) -> None:
    async with opened(str(folder)):
        pass
    with closing(sqlite3.connect(folder / "sessions.sqlite")) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(
        StoreError, match=r"sessions\.sqlite: its tables are of version 99, and .* 4"
    ):
        await open_store(str(folder))
    with closing(sqlite3.connect(folder / "sessions.sqlite")) as db:
        db.execute("PRAGMA user_version = 0")
    with pytest.raises(StoreError, match="its tables are of version 0"):
        await open_store(str(folder))


async def test_a_store_of_version_1_goes_on(folder: Path) -> None:
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "sessions.sqlite")) as db:
        db.executescript(sqlite_store._VERSIONS[0] + "PRAGMA user_version = 1")
        db.execute(
            "INSERT INTO session VALUES (1, 'night', 'anna', '', 'api', 0, 1000, 5, 0, NULL, 0, "
            "35, 0, '{}', 0, 0, 20, 1000, NULL, NULL)"
        )
        db.execute("INSERT INTO message VALUES (1, 1, 'm1', x'00')")
        db.execute("INSERT INTO grant VALUES ('t1', 'd1', 'anna', NULL, 1, NULL)")
        db.commit()
    async with opened(str(folder)) as store:
        assert await store.session("night") == replace(NIGHT, due=35.0, newest=20.0)
        assert await bodies(store) == [b"\0"]
        assert (await add(store, "m1"))[0] is Delivery.REPEATED
        assert await store.grants() == [TOKEN]
        assert await store.guarded()


async def test_what_is_no_folder_or_no_store_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "sessions.sqlite"
    file.write_text("dear diary, " * 1000)
    with pytest.raises(StoreError, match=r"sessions\.sqlite: file is not a database"):
        await open_store(str(tmp_path))
    with pytest.raises(StoreError, match=r"Not a directory.*see that the folder can be written"):
        await open_store(str(file / "store"))


async def test_a_write_that_fails_takes_no_other_with_it(folder: Path) -> None:
    def fail(db: sqlite3.Connection) -> None:
        db.execute("UPDATE session SET owner = 'ben'")
        db.execute("INSERT INTO epoch VALUES (999, 0, '')")

    def stumble(db: sqlite3.Connection) -> None:
        db.execute("UPDATE session SET owner = 'ben'")
        raise ZeroDivisionError

    store = await SqliteStore.open(folder)
    await store.open_session(NIGHT)
    writes: list[Any] = [add(store, f"m{number}") for number in range(20)]
    writes[7:7] = [store.write(fail), store.write(stumble)]
    told: list[Any] = await asyncio.gather(*writes, return_exceptions=True)
    assert isinstance(told[7], StoreError)
    assert isinstance(told[8], ZeroDivisionError)
    assert [one[0] for one in told[:7] + told[9:]] == [Delivery.STORED] * 20
    assert await bodies(store) == [b"m%d" % number for number in range(20)]
    assert await store.count_open("anna") == 1
    await store.aclose()


async def test_a_transaction_that_fails_is_undone(folder: Path) -> None:
    def give_up(db: sqlite3.Connection) -> None:
        db.execute("ROLLBACK")  # as SQLite does by itself when the disk is full
        raise sqlite3.OperationalError

    store = await SqliteStore.open(folder)
    await store.open_session(NIGHT)
    writes: list[Any] = [add(store, "m1"), store.write(give_up)]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(one) for one in results] == [StoreError] * 2
    assert await bodies(store) == []
    await add(store, "m2")
    assert await bodies(store) == [b"m2"]
    await store.aclose()


async def test_writes_at_once_wait_for_the_disk_together(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = trace(monkeypatch)
    async with opened(str(folder)) as store:
        await store.open_session(NIGHT)
        said.clear()
        await asyncio.gather(*(add(store, f"m{number}") for number in range(200)))
    assert said.count("COMMIT") == 1


async def test_a_full_disk_is_not_ready(folder: Path) -> None:
    store = await SqliteStore.open(folder)
    await store.write(lambda db: db.execute("PRAGMA max_page_count = 1"))
    with pytest.raises(StoreError, match="disk is full"):
        await store.ping()
    await store.write(lambda db: db.execute(f"PRAGMA max_page_count = {10**6}"))
    await store.ping()
    await store.aclose()


async def test_a_full_disk_stores_nothing_until_there_is_room(folder: Path) -> None:
    store = await SqliteStore.open(folder)
    await store.open_session(NIGHT)
    pages = await store.write(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
    await store.write(lambda db: db.execute(f"PRAGMA max_page_count = {pages + 2}"))
    body = bytes(100_000)
    with pytest.raises(StoreError, match=r"disk is full; see that .* the disk has room"):
        await store.add_message("night", Incoming("m1", body, b"", (0.0, 0.0), 0.0))
    assert await store.session("night") == NIGHT
    assert (await add(store, "m2"))[0] is Delivery.STORED
    await store.write(lambda db: db.execute(f"PRAGMA max_page_count = {10**6}"))
    told, _ = await store.add_message("night", Incoming("m1", body, b"", (0.0, 0.0), 0.0))
    assert told is Delivery.STORED
    await store.aclose()


async def test_who_holds_the_file_too_long_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_store, "_BUSY_SECONDS", 0.2)
    async with opened(str(folder)) as store:
        await store.open_session(NIGHT)
        with closing(sqlite3.connect(folder / "sessions.sqlite", isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            told = await asyncio.gather(
                *(add(store, name) for name in NAMES), store.ping(), return_exceptions=True
            )
            assert [type(one) for one in told] == [StoreError] * 4
            assert "database is locked" in str(told[0])
            assert await store.session("night") == NIGHT  # reads wait for nobody
            adding = asyncio.create_task(add(store, "m1"))
            await asyncio.sleep(0.05)
            db.execute("COMMIT")
        assert (await adding)[0] is Delivery.STORED


async def test_a_file_that_others_hold_is_waited_for_when_it_is_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_store, "_BUSY_SECONDS", 0.1)
    folder.mkdir(parents=True)
    path = folder / "sessions.sqlite"
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as holder,
        closing(sqlite3.connect(path, timeout=0, check_same_thread=False)) as db,
    ):
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(
            StoreError, match=r"sessions\.sqlite: database is locked; see that .* no"
        ):
            await open_store(str(folder))
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            sqlite_store._log_ahead(db)
        opening = asyncio.create_task(asyncio.to_thread(sqlite_store._log_ahead, db))
        await asyncio.sleep(0.03)
        holder.execute("COMMIT")
        await opening
        assert db.execute("PRAGMA journal_mode").fetchall() == [("wal",)]


async def test_nothing_is_looked_for_in_a_whole_table(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = trace(monkeypatch)
    async with opened(str(folder)) as store:
        await store.open_session(NIGHT)
        await add(store, "m1", until=99.0)
        await add(store, "m1")
        await store.commit(0, step(NIGHT, 1, 1))
        later = step(replace(NIGHT, version=1, n_epochs=1), n_epochs=1, first=1)
        assert await store.commit(1, replace(later, dropped=1))
        assert await store.open_session(replace(NIGHT, id="of-night", watch="night"))
        await close(store)
        await store.add_grant(LINK)
        await everything(store)
        await store.remove_grant("l1")
        await store.delete_session("night")
    verbs = ("SELECT", "INSERT", "UPDATE", "DELETE")
    statements = {one for one in said if one.startswith(verbs) and "sqlite_master" not in one}
    assert len(statements) > 20
    with closing(sqlite3.connect(folder / "sessions.sqlite")) as db:
        for statement in statements:
            for *_, plan in db.execute(f"EXPLAIN QUERY PLAN {statement}"):
                # A constant row is of no table.
                known = ("json_each", "subquery", "session_due", "CONSTANT ROW")
                assert "SCAN" not in plan or any(name in plan for name in known), statement
                assert "TEMP B-TREE" not in plan, statement
                assert not plan.endswith("(closed=?)"), statement  # half of the table


def trace(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that SQLite is told from now on."""
    said: list[str] = []
    connect = sqlite_store._connect

    def traced(path: Path) -> sqlite3.Connection:
        db = connect(path)
        db.set_trace_callback(said.append)
        return db

    monkeypatch.setattr(sqlite_store, "_connect", traced)
    return said


# Redis alone


@pytest.mark.parametrize(
    ("address", "wrong"),
    [
        ("redis://:geheim@127.0.0.1:1/0", r"^redis://127\.0\.0\.1:1/0: .*see that Redis runs"),
        (
            "redis://:geheim@127.0.0.1:door/0",
            r"^redis://127\.0\.0\.1:door/0: .*; expected redis://",
        ),
        ("unix:///nowhere/redis.sock", r"^unix:///nowhere/redis\.sock: .*see that Redis runs"),
    ],
)
async def test_an_address_where_nobody_answers(address: str, wrong: str) -> None:
    with pytest.raises(StoreError, match=wrong) as error:
        await open_store(address)
    assert "geheim" not in str(error.value)


async def test_all_keys_have_a_prefix(server: RedisServer) -> None:
    place = Place(server.address, server)
    place.clear()
    async with opened(server.address) as store:
        await store.open_session(NIGHT)
        await add(store, "m1", until=99.0)
        await store.commit(0, step(NIGHT, -1, 1))
        await store.add_grant(TOKEN)
        await store.add_grant(LINK)
    assert len(place.leftovers) > 10
    assert all(key.startswith(b"sleepstage:") for key in place.leftovers)


async def test_a_redis_that_hangs_is_given_up_and_then_answers_again(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_store, "_ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(redis_store, "_CALL_SECONDS", 0.5)
    Place(server.address, server).clear()
    async with opened(server.address) as store:
        await store.open_session(NIGHT)
        server.pause(on=True)
        begun = time.monotonic()
        try:
            told = await asyncio.gather(
                *(add(store, f"m{number}") for number in range(100)), return_exceptions=True
            )
        finally:
            server.pause(on=False)
        assert time.monotonic() - begun < 5.0
        assert {type(one) for one in told} == {StoreError}
        assert (await add(store, "new"))[0] is Delivery.STORED
        assert await store.session("night") == (await waiting(store)).record


async def test_a_redis_that_takes_no_writes_is_told_apart(server: RedisServer) -> None:
    Place(server.address, server).clear()
    async with opened(server.address) as store:
        await store.open_session(NIGHT)
        with Redis.from_url(server.address) as client:
            client.config_set("maxmemory", "1")
            with pytest.raises(StoreError, match="see that Redis runs and takes writes"):
                await store.ping()
            assert await store.delete_session("night")
            client.config_set("maxmemory", "0")
        await store.ping()


async def is_erased(store: Store, server: RedisServer) -> None:
    """Ask as the server does, until nothing is to be erased any more."""
    deadline = time.monotonic() + 20
    with Redis.from_url(server.address) as client:
        while client.get("sleepstage:deleted") != client.get("sleepstage:erased"):
            assert time.monotonic() < deadline
            assert await store.erase()
            await asyncio.sleep(0.05)


@pytest.mark.redis
async def test_what_was_deleted_is_in_no_file_of_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_store, "_REWRITE_SECONDS", 1)
    with redis_server() as server:
        async with opened(server.address) as store, opened(server.address) as other:
            await store.open_session(replace(NIGHT, id="kept"))
            await store_secrets(store)
            await store.delete_session("night")
            assert found_in(server.folder) == set(SECRETS)
            await asyncio.gather(is_erased(store, server), is_erased(other, server))
            assert found_in(server.folder) == set()
            assert server.log.count("rewriting started") == 1
            await store_secrets(store)
            await store.delete_session("night")
            await is_erased(other, server)
            assert found_in(server.folder) == set()
            server.kill()
            server.start()
            assert await store.session("kept") is not None


@pytest.mark.redis
async def test_a_redis_that_may_not_rewrite_is_asked_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_store, "_REWRITE_SECONDS", 1)
    with redis_server() as server, Redis.from_url(server.address) as client:
        async with opened(server.address) as store:
            await store_secrets(store)
            await store.delete_session("night")
            client.acl_setuser("default", enabled=True, nopass=True, commands=["-bgrewriteaof"])
            with pytest.raises(StoreError, match="bgrewriteaof"):
                await store.erase()
            assert await store.erase()  # is not asked again at once
            assert found_in(server.folder) == set(SECRETS)
            client.acl_setuser("default", enabled=True, nopass=True, commands=["+bgrewriteaof"])
            await is_erased(store, server)
            assert found_in(server.folder) == set()


async def test_a_redis_without_an_append_only_file_gets_none() -> None:
    with redis_server(appendonly="no") as server:
        async with opened(server.address) as store:
            await store_secrets(store)
            await store.delete_session("night")
            assert await store.erase()
            assert not (server.folder / "appendonlydir").exists()


async def test_a_session_without_a_message_that_waits_can_be_closed(store: Store) -> None:
    assert await store.open_session(NIGHT)
    await store.add_message("night", Incoming("m", b"x", b"", (1.0, 2.0), 3.0))
    backlog = await store.backlog("night")
    assert backlog is not None
    (number, _) = backlog.messages[0]
    step = Advance(replace(backlog.record, version=1), b"snapshot", number)
    assert await store.commit(0, step)
    closing = Advance(replace(backlog.record, version=2, closed=True), None, -1)
    assert await store.commit(1, closing)
