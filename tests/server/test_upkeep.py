"""What the server does by itself: closing silent nights, going on with them, failing work."""

from __future__ import annotations

import asyncio
import json
import math
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sleepstage.errors import DataError, SnapshotError, SnapshotMismatchError, StoreError
from sleepstage.server import background, nights, upkeep, work
from sleepstage.server.background import Failing
from sleepstage.server.message import Message, join
from sleepstage.server.records import Advance, Backlog, Incoming, SessionRecord
from sleepstage.server.upkeep import Upkeep
from sleepstage.server.work import Models
from sleepstage.server.workers import WorkerDiedError, Workers
from tests.helpers.service import START, Running, rows, running, simulated

pytestmark = pytest.mark.slow

HOUR = 3600.0


def beats(first: float, last: float) -> list[list[float]]:
    return [[START + time, 60.0 + time % 7] for time in np.arange(first, last, 5.0).tolist()]


def push_between(one: Running, session: str, begin: float, end: float, hours: float = 9.0) -> None:
    """Push a simulated night from one time to another, in messages of ten minutes."""
    night = simulated(hours)
    for first in np.arange(begin, end, 600.0):
        history = -np.inf if not first else START + first
        given = rows(night, history, START + min(first + 600.0, end))
        answer = one.push(session, f"{first:.0f}", **given)
        assert answer.status_code == 201, answer.text


def let_pass(one: Running, monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    """Have the server's clock be so much later, and sweep once."""
    nights = one.service.nights
    now = nights.clock()
    monkeypatch.setattr(nights, "clock", lambda: now + hours * HOUR)
    one.sweep()


def stages(epochs: list[dict[str, Any]]) -> list[str]:
    return [epoch["stage"] for epoch in epochs]


def shares(epochs: list[dict[str, Any]]) -> Any:
    return np.array([list(epoch["probabilities"].values()) for epoch in epochs], dtype=float)


def assert_is_predicted(one: Running, closed: dict[str, Any], hours: float) -> None:
    models = one.service.nights._workers.models
    for epochs, stager in (
        (closed["epochs"], models.live),
        (closed["night"]["epochs"], models.night),
    ):
        expected = stager.predict(simulated(hours))
        assert len(epochs) == len(expected)
        table = expected.to_frame()
        assert stages(epochs) == table["stage"].to_list()
        wanted = table.select(f"p_{name}" for name in expected.scheme.classes).to_numpy()
        np.testing.assert_allclose(shares(epochs), wanted, rtol=0, atol=1e-5)


# A night that silence closes


def test_a_phone_that_comes_back_finds_its_night_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path) as one:
        session = one.open(start=START)
        push_between(one, session, 0, HOUR)
        let_pass(one, monkeypatch, 7)
        over = one.hypnogram(session)
        assert over["session"]["closed"]
        assert len(over["epochs"]) == len(over["night"]["epochs"]) == 119
        push_between(one, session, HOUR, 9 * HOUR + 60)
        assert not one.hypnogram(session)["session"]["closed"]
        assert one.hypnogram(session)["night"] is None
        let_pass(one, monkeypatch, 7)
        closed = one.hypnogram(session)
        assert closed["session"]["closed"]
        assert closed["epochs"][:119] == over["epochs"]
        assert_is_predicted(one, closed, 9.0)
        n_samples = sum(len(getattr(simulated(9.0), name)) for name in ("heart_rate", "motion"))
        intake = closed["session"]["intake"]
        assert intake["late"] == intake["duplicate"] == 0
        assert intake["taken"] + intake["implausible"] >= n_samples


def test_what_its_owner_ends_is_over_also_after_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path) as one:
        session = one.open(start=START)
        one.push(session, 0, heart_rate=beats(0, 100))
        let_pass(one, monkeypatch, 7)
        over = one.hypnogram(session)
        answer = one.client.post(f"/v1/sessions/{session}/close")
        assert answer.status_code == 200
        assert answer.json() == over
        late = one.push(session, 1, heart_rate=beats(100, 200))
        assert late.status_code == 409
        assert "over; open another" in late.json()["detail"]
        backlog = one.do(one.service.nights.store.backlog, session)
        assert backlog is not None
        assert backlog.snapshot is None


def test_a_night_that_is_heard_before_its_turn_is_not_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path) as one:
        nights = one.service.nights
        session = one.open(start=START, lateness=120)
        one.push(session, 0, heart_rate=beats(0, 30))
        close = nights.close

        async def close_later(session_id: str, *, silent_since: float) -> None:
            # The second message of the night overtakes the first while others are being closed.
            message = Message.from_object({"heart_rate": beats(60, 90)})
            await nights.push(session_id, "2", message)
            await close(session_id, silent_since=silent_since)

        monkeypatch.setattr(nights, "close", close_later)
        let_pass(one, monkeypatch, 7)
        assert not one.client.get(f"/v1/sessions/{session}").json()["closed"]
        assert one.push(session, 1, heart_rate=beats(30, 60)).json()["warnings"] == []
        monkeypatch.setattr(nights, "close", close)
        one.client.post(f"/v1/sessions/{session}/close")
        intake = one.hypnogram(session)["session"]["intake"]
        assert (intake["taken"], intake["late"]) == (18, 0)


@pytest.mark.parametrize("first", [61.0, 64.0, 90.0])
def test_samples_after_the_last_epoch_of_a_silent_night_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: float
) -> None:
    with running(tmp_path) as one:
        sessions = [one.open(start=START) for _ in range(2)]
        for session in sessions:
            one.push(session, 0, heart_rate=[*beats(0, 60), [START + 65, 70]])
        one.do(one.service.nights.close, sessions[0], silent_since=math.inf)
        assert one.hypnogram(sessions[0])["session"]["n_epochs"] == 2
        for session in sessions:
            one.push(session, 1, heart_rate=[[START + first, 80], [START + 89, 75]])
            one.push(session, 2, heart_rate=[[START + 125, 75]])
        (broken, whole) = (one.hypnogram(session)["epochs"] for session in sessions)
    assert broken == whole
    assert len(broken) == 4


def counted(numbers: list[tuple[float, float]]) -> bytes:
    return Message.clean(
        step_counts=([START + time for time, _ in numbers], [count for _, count in numbers]),
        heart_rate=([START + time for time, _ in numbers], [60.0] * len(numbers)),
    ).to_bytes()


def test_a_pedometer_goes_on_after_silence() -> None:
    models = Models.load("live", "night")
    record = SessionRecord(id="n", owner="o", created=0, heard=0, start=START)
    messages = [
        (0, counted([(10, 5), (40, 20), (63, 30)])),
        (1, counted([(62, 28), (80, 41), (130, 60)])),
    ]

    def backlog(record: SessionRecord, snapshot: bytes | None, some: Any, newest: float) -> Backlog:
        return Backlog(replace(record, newest=START + newest), snapshot, some)

    whole = work.close(models, backlog(record, None, messages, 130), [], final=True)
    silent = work.close(models, backlog(record, None, messages[:1], 63), [], final=False)
    assert silent.record.closed
    assert silent.record.reopens
    again = replace(silent.record, closed=False, reopens=False)
    later = work.close(models, backlog(again, silent.snapshot, messages[1:], 130), [], final=True)
    steps = join([whole.samples])["steps"]
    broken = join([silent.samples, later.samples])["steps"]
    np.testing.assert_array_equal(np.column_stack(broken), np.column_stack(steps))
    assert list(steps[1]) == [5, 15, 8, 2, 11]
    assert list(whole.epochs) == [*silent.epochs, *later.epochs]


# Nights that fail


def fail(error: Exception) -> Callable[..., Any]:
    def failing(*_: Any, **__: Any) -> Any:
        raise error

    return failing


SECRET = "61.73 bpm"


@pytest.mark.parametrize("error", [ZeroDivisionError(SECRET), DataError(SECRET)])
def test_a_night_whose_whole_can_t_be_staged_closes_with_its_epochs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    monkeypatch.setattr(nights, "_staged", fail(error))
    with running(tmp_path) as one:
        session = one.open(start=START)
        one.push(session, 0, heart_rate=beats(0, 100))
        let_pass(one, monkeypatch, 7)
        closed = one.hypnogram(session)
    assert closed["session"]["closed"]
    assert len(closed["epochs"]) == 3
    assert closed["night"] is None
    assert closed["problem"].startswith("the whole night could not be staged: ")
    assert SECRET not in caplog.text
    assert session not in caplog.text


def test_a_night_that_can_t_be_staged_live_closes_with_the_epochs_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with running(tmp_path) as one:
        session = one.open(start=START)
        one.push(session, 0, heart_rate=beats(0, 100))
        assert len(one.hypnogram(session)["epochs"]) == 3
        monkeypatch.setattr(work, "_work_off", fail(ZeroDivisionError(SECRET)))
        one.push(session, 1, heart_rate=beats(100, 110))
        let_pass(one, monkeypatch, 7)
        closed = one.hypnogram(session)
    assert closed["session"]["closed"]
    assert len(closed["epochs"]) == len(closed["night"]["epochs"]) == 3
    expected = "the last samples could not be staged: an error in the program (ZeroDivisionError)"
    assert closed["problem"] == expected
    assert SECRET not in caplog.text


def damage(one: Running, session: str) -> None:
    store: Any = one.service.nights.store
    sql = "UPDATE session SET snapshot = x'0000' WHERE id = ?"
    one.do(store.write, lambda db: db.execute(sql, (session,)))


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_night_with_a_damaged_snapshot_closes_with_the_epochs_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_hand: bool
) -> None:
    with running(tmp_path) as one:
        session = one.open(start=START)
        one.push(session, 0, heart_rate=beats(0, 100))
        assert len(one.hypnogram(session)["epochs"]) == 3
        damage(one, session)
        one.push(session, 1, heart_rate=beats(100, 200))
        assert one.client.get(f"/v1/sessions/{session}/hypnogram").status_code == 503
        if by_hand:
            assert one.client.post(f"/v1/sessions/{session}/close").status_code == 200
        else:
            one.service.nights.failing.forget(session)
            let_pass(one, monkeypatch, 7)
        closed = one.hypnogram(session)
        assert closed["session"]["closed"]
        assert len(closed["epochs"]) == len(closed["night"]["epochs"]) == 3
        assert "last samples could not be staged: this is no snapshot" in closed["problem"]
        assert one.push(session, 2, heart_rate=beats(200, 300)).status_code == 409


def test_a_night_of_another_model_waits_for_it_until_it_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path) as one:
        session = one.open(start=START)
        one.push(session, 0, heart_rate=beats(0, 100))
        assert len(one.hypnogram(session)["epochs"]) == 3
    with running(tmp_path, model="live-int8", keep_days=2) as other:
        answer = other.client.post(f"/v1/sessions/{session}/close")
        assert answer.status_code == 503
        assert "another model" in answer.json()["detail"]
        assert (
            "start the server as the session was begun, or delete the session"
            in answer.json()["detail"]
        )
        let_pass(other, monkeypatch, 7)
        assert other.service.nights.failing.rests(session)
        assert not other.client.get(f"/v1/sessions/{session}").json()["closed"]
        let_pass(other, monkeypatch, 48)
        assert other.client.get(f"/v1/sessions/{session}").status_code == 404
        assert not other.service.nights.failing.rests(session)


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError(SECRET), SnapshotError(SECRET), DataError(SECRET), WorkerDiedError(SECRET)],
)
def test_many_nights_that_fail_keep_no_other_open(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    monkeypatch.setattr(upkeep, "_SWEPT", 3)
    with running(tmp_path) as one:
        nights = one.service.nights
        sessions = [one.open() for _ in range(10)]
        close, asked = nights.close, []

        async def fail_at_old_ones(session_id: str, *, silent_since: float) -> None:
            asked.append(session_id)
            if session_id in sessions[:9]:
                raise error
            await close(session_id, silent_since=silent_since)

        monkeypatch.setattr(nights, "close", fail_at_old_ones)
        now = nights.clock()
        monkeypatch.setattr(nights, "clock", lambda: now + 7 * HOUR)
        for _ in range(5):
            one.sweep()
        assert one.client.get(f"/v1/sessions/{sessions[9]}").json()["closed"]
        assert sorted(asked) == sorted(sessions)  # each once: those that failed rest
    lines = [line for line in caplog.messages if "fails" in line]
    assert lines == [
        f"work on 3 sessions fails ({type(error).__name__}: 3); each is tried again within an hour"
    ]
    assert SECRET not in caplog.text
    assert not any(session in caplog.text for session in sessions)


def test_live_work_that_fails_is_not_tried_with_each_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with running(tmp_path) as one:
        nights = one.service.nights
        calls = []

        async def advance(backlog: Backlog) -> Advance:
            calls.append(backlog.record.id)
            raise ZeroDivisionError(SECRET)

        monkeypatch.setattr(nights._workers, "advance", advance)
        session = one.open(start=START)
        for number in range(5):
            given = beats(100 * number, 100 * number + 100)
            assert one.push(session, number, heart_rate=given).status_code == 201
            one.do(asyncio.sleep, 0.01)
        one.sweep()
        assert calls == [session]
    assert "ZeroDivisionError: 1" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("n_processes", [0, 1])
def test_where_the_program_failed_is_logged_without_what_was_measured(
    caplog: pytest.LogCaptureFixture, n_processes: int
) -> None:
    async def fail() -> None:
        workers, failing = Workers("live", "night", n_processes), Failing()
        backlog: Any = SECRET  # which is no backlog
        with pytest.raises(AttributeError) as error:
            await workers.advance(backlog)
        await workers.aclose()
        failing.add("a", error.value)
        failing.report()

    asyncio.run(fail())
    assert "(AttributeError in work.py, line " in caplog.text
    assert SECRET not in caplog.text


def test_a_sweep_that_fails_is_not_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(upkeep, "_SWEEP_SECONDS", 0.01)
    swept = threading.Event()

    async def sweep(_: Upkeep) -> None:
        if not caplog.messages:
            raise ZeroDivisionError(SECRET)
        swept.set()

    monkeypatch.setattr(Upkeep, "sweep", sweep)
    with running(tmp_path):
        assert swept.wait(10)
    assert "sessions are not looked after (ZeroDivisionError)" in caplog.messages
    assert SECRET not in caplog.text


def test_rests_grow_up_to_an_hour_and_end_with_success() -> None:
    now = [0.0]
    failing = Failing(lambda: now[0])
    rests = []
    for _ in range(12):
        failing.add("a", ZeroDivisionError())
        begin = now[0]
        while failing.rests("a"):
            now[0] += 1
        rests.append(now[0] - begin)
    assert rests == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]
    failing.add("b", StoreError("the disk is full"))
    assert not failing.rests("b")
    assert len(failing) == 1
    failing.forget("a")
    failing.add("a", ZeroDivisionError())
    now[0] += 10
    assert not failing.rests("a")


def test_failures_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    failing = Failing(lambda: now[0])
    for _ in range(100):
        failing.add("a", SnapshotMismatchError("x"))
        failing.report()
        now[0] += 1
    assert len(caplog.messages) == 2
    assert "SnapshotMismatchError: 60" in caplog.messages[1]


def test_a_bad_stored_message_keeps_no_other_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = Message.from_object({"heart_rate": beats(0, 100)}).to_bytes()
    other_motion = Message.from_object({"motion": [[START + 5, 1, 0, 0, 0]]}).to_bytes()
    motion = Message.from_object({"motion": [[START + 5, 0, 0, 1]]}).to_bytes()
    with running(tmp_path) as one:
        record = SessionRecord(id="night", owner="local", created=0, heard=0)
        store = one.service.nights.store
        one.do(store.open_session, record)
        for number, body in enumerate((b"", b"61.73", motion, b"\1\1\7\0", other_motion, good)):
            span = (START, START + 95) if body else None
            one.do(store.add_message, "night", Incoming(str(number), body, b"", span, 0.0))
        told = one.hypnogram("night")
        assert len(told["epochs"]) == 3
        assert told["epochs"][0]["heart_rate"] is not None
        backlog = one.do(store.backlog, "night")
        assert backlog is not None
        assert backlog.messages == []
    left_out = [line for line in caplog.messages if "left out" in line]
    assert left_out == ["a stored message is left out (DataError)"] * 3
    assert "61.73" not in caplog.text


def test_a_night_with_nothing_but_empty_messages_closes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path) as one:
        session = one.open()
        store = one.service.nights.store
        incoming = Incoming("0", b"", b"", None, one.service.nights.clock())
        one.do(store.add_message, session, incoming)
        let_pass(one, monkeypatch, 7)
        assert one.hypnogram(session)["session"]["closed"]
        one.push(session, 1, heart_rate=beats(0, 100))
        assert len(one.hypnogram(session)["epochs"]) == 3


# Races, and a turn's bounds


def test_a_sweep_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_TURN_SECONDS", 0.0)
    with running(tmp_path) as one:
        sessions = [one.open() for _ in range(4)]

        def n_closed() -> int:
            shown = one.client.get("/v1/sessions").json()["sessions"]
            return sum(session["closed"] for session in shown)

        let_pass(one, monkeypatch, 7)
        assert n_closed() == 1
        for _ in sessions:
            one.sweep()
        assert n_closed() == 4
        let_pass(one, monkeypatch, 31 * 24)
        assert len(one.client.get("/v1/sessions").json()["sessions"]) == 3


def test_a_session_that_is_heard_meanwhile_is_not_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path) as one:
        nights = one.service.nights
        session = one.open(start=START)
        now = nights.clock()
        monkeypatch.setattr(nights, "clock", lambda: now + 31 * 24 * HOUR)
        outdated = nights.store.outdated

        async def hear(**given: Any) -> list[str]:
            found = await outdated(**given)
            message = Message.from_object({"heart_rate": beats(0, 100)})
            await nights.push(session, "0", message)
            return found

        monkeypatch.setattr(nights.store, "outdated", hear)
        one.sweep()
        assert len(one.hypnogram(session)["epochs"]) == 3


@pytest.mark.parametrize("everything", [True, False])
def test_a_session_can_be_deleted_while_work_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, everything: bool
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    with running(tmp_path) as one:
        workers = one.service.nights._workers
        advance = workers.advance

        async def slowly(backlog: Backlog) -> Advance:
            begun.set()
            await asyncio.to_thread(go_on.wait, 10)
            return await advance(backlog)

        monkeypatch.setattr(workers, "advance", slowly)
        session = one.open(start=START)
        one.push(session, 0, heart_rate=beats(0, 100))
        assert begun.wait(10)
        path = "/v1/sessions" if everything else f"/v1/sessions/{session}"
        assert one.client.delete(path).status_code == 204
        go_on.set()
        assert one.client.get(f"/v1/sessions/{session}/hypnogram").status_code == 404
        one.do(one.service.nights.aclose)
        assert not one.service.nights.failing
        assert one.push(session, 1, heart_rate=beats(100, 200)).status_code == 404


def test_work_under_way_is_finished_when_the_server_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path) as one:
        workers = one.service.nights._workers
        advance = workers.advance

        async def slowly(backlog: Backlog) -> Advance:
            await asyncio.sleep(0.2)
            return await advance(backlog)

        monkeypatch.setattr(workers, "advance", slowly)
        session = one.open(start=START)
        one.push(session, 0, heart_rate=beats(0, 100))
    with running(tmp_path) as one:
        assert one.client.get(f"/v1/sessions/{session}").json()["n_epochs"] == 3


# Erasing

SEARCH = """
import sys
from pathlib import Path
folder, *patterns = sys.argv[1:]
files = [file.read_bytes() for file in Path(folder).rglob("*") if file.is_file()]
print([sum(content.count(bytes.fromhex(one)) for content in files) for one in patterns])
"""


def counted_in(folder: Path, *patterns: bytes) -> list[int]:
    """How often each is in all files; in another process, as closing them here drops locks."""
    given = [pattern.hex() for pattern in patterns]
    command = [sys.executable, "-c", SEARCH, str(folder), *given]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    counts: list[int] = json.loads(told)
    return counts


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("path", ["/v1/sessions/{}", "/v1/sessions"])
def test_what_is_deleted_is_in_no_file(tmp_path: Path, path: str, closed: bool) -> None:
    as_stored, as_text = struct.pack("<d", 61.7283), b":61.73"
    with running(tmp_path) as one, running(tmp_path) as other:
        session = one.open(start=START)
        for number in range(30):
            given = [[START + 30 * number + second, 61.7283] for second in range(0, 30, 5)]
            one.push(session, number, heart_rate=given)
        assert len(other.hypnogram(session)["epochs"]) == 29
        if closed:
            assert other.client.post(f"/v1/sessions/{session}/close").status_code == 200
        assert all(counted_in(tmp_path, as_stored, as_text))
        assert one.client.delete(path.format(session)).status_code == 204
        assert counted_in(tmp_path, as_stored, as_text) == [0, 0]
        kept = other.open(start=START)
        other.push(kept, 0, heart_rate=beats(0, 100))
        assert len(one.hypnogram(kept)["epochs"]) == 3


def test_raw_acceleration_leaves_the_files_once_it_is_used(tmp_path: Path) -> None:
    secret = struct.pack("<d", 0.987654321)
    with running(tmp_path) as one:
        session = one.open(start=START)
        motion = [[START + second / 10, 0.0, 0.0, 0.987654321] for second in range(1000)]
        one.push(session, 0, motion=motion)
        assert len(one.hypnogram(session)["epochs"]) == 3
        assert counted_in(tmp_path, secret)[0] >= 1000
        one.sweep()
        one.do(one.service.nights.erasing.wait)
        # What is newer than the last summary is in the snapshot, which is compressed.
        assert counted_in(tmp_path, secret) == [0]


def test_a_reader_holds_up_erasing_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "_DELETION_SECONDS", 0.1)
    monkeypatch.setattr(background, "_FIRST_RETRY", 0.05)
    secret = struct.pack("<d", 61.7283)
    with running(tmp_path) as one:
        session = one.open(start=START)
        one.push(session, 0, heart_rate=[[START, 61.7283], [START + 1, 61.7283]])
        with closing(sqlite3.connect(tmp_path / "sessions.sqlite", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM session").fetchone()
            assert one.client.delete(f"/v1/sessions/{session}").status_code == 204
            assert one.client.get(f"/v1/sessions/{session}").status_code == 404
            assert counted_in(tmp_path, secret) != [0]
        one.do(one.service.nights.erasing.wait)
        deadline = time.monotonic() + 20
        while counted_in(tmp_path, secret) != [0]:
            assert time.monotonic() < deadline


def test_a_server_whose_folder_is_gone_is_not_ready_until_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "store"
    with running(folder) as one:
        session = one.open(start=START)
        assert one.push(session, 0, heart_rate=beats(0, 20)).status_code == 201
        folder.rename(tmp_path / "elsewhere")
        for answer in (
            one.push(session, 1, heart_rate=beats(20, 40)),
            one.client.get("/readyz"),
            one.client.post("/v1/sessions", json={}),
            one.client.delete(f"/v1/sessions/{session}"),
        ):
            assert answer.status_code == 503
        assert "moved, deleted or replaced" in caplog.text
        (tmp_path / "elsewhere").rename(folder)
        assert one.client.get("/readyz").status_code == 200
        assert one.push(session, 1, heart_rate=beats(20, 40)).status_code == 201
        assert one.client.get(f"/v1/sessions/{session}").json()["newest"] == START + 35


class Slow:
    """A store of which some need time to be erased."""

    def __init__(self, *answers: bool | Exception) -> None:
        self.answers, self.n_asked = list(answers), 0

    async def erase(self) -> bool:
        self.n_asked += 1
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_what_is_deleted_together_is_erased_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_ERASE_PAUSE", 0.01)

    async def ask() -> int:
        store: Any = Slow()
        one = background.Erasing(store)
        await asyncio.gather(*(one.wait() for _ in range(100)))
        return store.n_asked  # type: ignore[no-any-return]

    assert asyncio.run(ask()) == 1


def test_erasing_is_tried_until_it_succeeds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "_FIRST_RETRY", 0.01)

    async def ask() -> int:
        store: Any = Slow(StoreError("the disk is full"), StoreError("the disk is full"), False)
        one = background.Erasing(store)
        await one.wait()
        await one.aclose()
        return store.n_asked  # type: ignore[no-any-return]

    assert asyncio.run(ask()) == 4
    assert len(caplog.messages) == 1


def test_a_deletion_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_DELETION_SECONDS", 0.05)

    async def ask() -> bool:
        store: Any = Slow(*[False] * 100)
        one = background.Erasing(store)
        await one.wait()
        under_way = one._running
        await one.aclose()
        return under_way is not None and under_way.cancelled()

    assert asyncio.run(ask())
