"""Sessions by HTTP: what is stored, told, refused, closed and deleted."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sleepstage
import sleepstage.server.upkeep
from sleepstage.core.recording import Recording
from sleepstage.errors import DataError, SnapshotError, StoreError
from sleepstage.server.message import Message
from sleepstage.server.records import (
    Advance,
    Backlog,
    Incoming,
    SessionRecord,
    describe_statistics,
)
from sleepstage.simulate.nights import simulate_night
from sleepstage.simulate.waking import Day
from sleepstage.stages import FOUR_CLASS
from tests.helpers.live import Arrays, raw_night
from tests.helpers.service import START, Running, rows, running, simulated

pytestmark = pytest.mark.slow

STILL = [[START + t / 10, 0, 0, 1] for t in range(1500)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("store")) as one:
        yield one


def stages(epochs: list[dict[str, Any]]) -> list[str]:
    return [epoch["stage"] for epoch in epochs]


def beats(first: int, last: int) -> list[list[float]]:
    return [[START + t, 60] for t in range(first, last, 5)]


def push_whole(one: Running, session: str, recording: Recording) -> None:
    assert one.push(session, 0, **rows(recording, -np.inf, np.inf)).status_code == 201


# Sessions


def test_a_session_is_opened_shown_listed_and_deleted(shared: Running) -> None:
    client = shared.client
    session = shared.open(label="bedroom", lateness=7, find_rem=True, simulated=True)
    shown = client.get(f"/v1/sessions/{session}").json()
    assert (shown["label"], shown["lateness"], shown["closed"]) == ("bedroom", 7, False)
    assert shown["find_rem"]
    assert shown["simulated"]
    assert shown["page"] == f"/#/sessions/{session}"
    listed = client.get("/v1/sessions").json()["sessions"]
    assert session in [one["id"] for one in listed]
    assert client.delete(f"/v1/sessions/{session}").status_code == 204
    assert client.get(f"/v1/sessions/{session}").status_code == 404
    assert client.delete(f"/v1/sessions/{session}").status_code == 404


@pytest.mark.parametrize(
    "given",
    [{"lateness": -1}, {"lateness": 601}, {"start": "x"}, {"start": 1e12}, {"colour": 1}],
)
def test_a_session_that_makes_no_sense_is_refused(shared: Running, given: dict[str, Any]) -> None:
    answer = shared.client.post("/v1/sessions", json=given)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert next(iter(given)) in answer.json()["detail"]


def test_everything_of_an_owner_is_forgotten(tmp_path: Path) -> None:
    with running(tmp_path) as one:
        for _ in range(3):
            one.push(one.open(), 0, heart_rate=[[START, 60]])
        assert one.client.delete("/v1/sessions").status_code == 204
        assert one.client.get("/v1/sessions").json() == {"sessions": []}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("GET", "/hypnogram", None),
        ("GET", "/events", None),
        ("POST", "/close", None),
        ("PUT", "/messages/1", {"heart_rate": [[START, 60]]}),
        ("POST", "/links", {}),
        ("GET", "/links", None),
        ("DELETE", "/links/x", None),
        ("DELETE", "", None),
    ],
)
def test_what_is_deleted_is_gone_on_every_server(
    tmp_path: Path, method: str, path: str, body: Any
) -> None:
    with running(tmp_path) as one, running(tmp_path) as other:
        first, second = one.open(), one.open()
        for session in (first, second):
            assert other.client.get(f"/v1/sessions/{session}").status_code == 200
        one.client.delete(f"/v1/sessions/{first}")
        one.client.delete("/v1/sessions")
        for server, session in itertools.product((one, other), (first, second)):
            answer = server.client.request(method, f"/v1/sessions/{session}{path}", json=body)
            assert answer.status_code == 404
            assert answer.headers["content-type"] == "application/problem+json"


def test_only_so_many_sessions_may_be_open(tmp_path: Path) -> None:
    with running(tmp_path, max_open=2) as one:
        first = one.open()
        one.open()
        answer = one.client.post("/v1/sessions", json={})
        assert answer.status_code == 409
        assert "close or delete" in answer.json()["detail"]
        one.client.delete(f"/v1/sessions/{first}")
        one.open()


def test_no_request_waits_for_a_thread_before_its_route(
    shared: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A push cost a third more by two dependencies that FastAPI called in threads."""
    called: list[str] = []

    async def in_a_thread(call: Any, *given: Any, **named: Any) -> Any:
        called.append(call.__name__)
        return call(*given, **named)

    monkeypatch.setattr("fastapi.dependencies.utils.run_in_threadpool", in_a_thread)
    session = shared.open()
    assert shared.push(session, 0, heart_rate=beats(0, 60)).status_code == 201
    assert shared.client.get("/readyz").status_code == 200
    assert called == []


# Messages


def test_a_session_does_not_start_days_ahead(tmp_path: Path) -> None:
    with running(tmp_path) as one:
        ahead = one.client.post("/v1/sessions", json={"start": time.time() + 1e6})
        assert ahead.status_code == 422
        assert "ahead of the server's clock" in ahead.json()["detail"]
        assert one.client.post("/v1/sessions", json={"start": time.time() + 3600}).is_success


def test_a_body_that_does_not_say_it_is_json_is_told_how(tmp_path: Path) -> None:
    with running(tmp_path) as one:
        answer = one.client.post("/v1/sessions", content=b'{"label": "bedroom"}')
        assert answer.status_code == 422
        assert "Content-Type: application/json" in answer.json()["detail"]


def test_what_is_answered_is_stored_and_the_same_again_changes_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as one:
        session = one.open(start=START)
        fresh = one.push(session, "m-1", heart_rate=[[START, 60], [START + 5, 61]])
        assert (fresh.status_code, fresh.json()) == (201, {"repeated": False, "warnings": []})
        again = one.push(session, "m-1", heart_rate=[[START + 5, 61], [START, 60]])
        assert (again.status_code, again.json()) == (200, {"repeated": True, "warnings": []})
        other_body = one.push(session, "m-1", heart_rate=[[START + 9, 99]])
        assert other_body.status_code == 409
        assert "message m-1: the session has had another message" in other_body.json()["detail"]
        with running(tmp_path) as other:
            other.push(session, "m-2", heart_rate=[[START + 40, 60]])
            night = other.hypnogram(session)
    assert night["session"]["intake"]["taken"] == 3
    assert [epoch["heart_rate"] for epoch in night["epochs"]] == [60.5]


def test_a_read_shows_what_came_while_earlier_work_was_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    with running(tmp_path) as one:
        workers = one.service.nights._workers
        advance = workers.advance

        async def slowly(backlog: Backlog) -> Advance:
            step = await advance(backlog)
            begun.set()
            await asyncio.to_thread(go_on.wait, 10)
            return step

        monkeypatch.setattr(workers, "advance", slowly)
        session = one.open(start=START)
        one.push(session, 0, heart_rate=beats(0, 100))
        assert begun.wait(10)
        assert one.push(session, 1, heart_rate=beats(100, 200)).status_code == 201
        threading.Timer(0.2, go_on.set).start()
        assert len(one.hypnogram(session)["epochs"]) == 6


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_cut_and_order_gives_the_epochs_of_predict(shared: Running, data: Any) -> None:
    recording = simulated()
    # Stretches of up to 5 min, each up to 200 s before or after its turn: all within the lateness.
    cuts = sorted({*range(300, 3600, 300), *data.draw(st.sets(st.integers(1, 3599), max_size=30))})
    edges = [-np.inf, *(START + cut for cut in cuts), START + 3600]
    parts = [rows(recording, *pair) for pair in itertools.pairwise(edges)]
    turns = data.draw(st.permutations(range(1, len(parts))))
    order = sorted(turns, key=lambda at: edges[at + 1] + 200 * turns.index(at) / len(turns))
    session = shared.open(start=START, lateness=600)
    for at in (0, *order):
        if parts[at]:
            assert shared.push(session, at, **parts[at]).status_code == 201
    closed = shared.client.post(f"/v1/sessions/{session}/close").json()
    assert closed["session"]["intake"]["late"] == 0
    expected = sleepstage.load_model().predict(recording)
    count = len(closed["epochs"])
    assert count in (len(expected), len(expected) - 1)
    assert stages(closed["epochs"]) == expected.stages[:count].tolist()
    shares = [list(epoch["probabilities"].values()) for epoch in closed["epochs"]]
    np.testing.assert_allclose(shares, expected.probabilities[:count], atol=1e-6)  # type: ignore[index]


def test_raw_acceleration_in_binary_gives_the_epochs_of_predict(shared: Running) -> None:
    night = raw_night(20, rate=20, seed=5, start=START)
    session = shared.open(start=START)
    for number, begin in enumerate(range(0, 1200, 100)):
        within = night.between(START + begin if number else -np.inf, START + begin + 100)
        answer = shared.client.put(
            f"/v1/sessions/{session}/messages/{number}",
            content=Message.clean(**within).to_bytes(),
            headers={"Content-Type": "application/octet-stream"},
        )
        assert answer.status_code == 201
    closed = shared.client.post(f"/v1/sessions/{session}/close").json()
    ended = Arrays(START, START + 30 * len(closed["epochs"]), night.signals).recording
    assert len(closed["epochs"]) in (39, 40)
    for name, epochs in (("live", closed["epochs"]), ("night", closed["night"]["epochs"])):
        expected = sleepstage.load_model(name).predict(ended)
        assert stages(epochs) == expected.stages.tolist()
        shares = [list(epoch["probabilities"].values()) for epoch in epochs]
        np.testing.assert_allclose(shares, expected.probabilities, atol=1e-6)  # type: ignore[arg-type]


def test_a_close_among_messages_has_all_that_were_answered(shared: Running) -> None:
    session = shared.open(start=START, lateness=600)

    def send(number: int) -> int:
        status: int = shared.push(session, number, heart_rate=[[START + number, 60]]).status_code
        return status

    def close() -> dict[str, Any]:
        while (answer := shared.client.post(f"/v1/sessions/{session}/close")).status_code == 503:
            pass  # messages came faster than it was worked off
        session_then: dict[str, Any] = answer.json()["session"]
        return session_then

    with ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(send, number) for number in range(200)]
        closing = pool.submit(close)
        sent += [pool.submit(send, number) for number in range(200, 400)]
        closed = closing.result()
        sent.append(pool.submit(send, 400))
        answers = [one.result() for one in sent]
    assert set(answers) == {201, 409}
    assert closed["intake"]["taken"] == answers.count(201)
    assert shared.hypnogram(session)["session"] == closed


def test_the_night_as_a_whole_is_that_of_the_night_model(shared: Running) -> None:
    recording = simulated(2.0)
    session = shared.open(start=START)
    push_whole(shared, session, recording)
    closed = shared.client.post(f"/v1/sessions/{session}/close").json()
    count = len(closed["epochs"])
    ended = replace(recording, end=START + 30 * count)
    expected = sleepstage.load_model("night").predict(ended)
    assert stages(closed["night"]["epochs"]) == expected.stages.tolist()
    assert closed["night"]["statistics"] == dataclasses.asdict(expected.statistics())
    live = sleepstage.load_model().predict(ended)
    assert closed["statistics"] == dataclasses.asdict(live.statistics())
    assert shared.client.post(f"/v1/sessions/{session}/close").json() == closed
    late = shared.push(session, "late", heart_rate=[[START, 60]])
    assert late.status_code == 409
    assert "open another session" in late.json()["detail"]


def test_what_is_not_staged_has_a_reason(shared: Running) -> None:
    session = shared.open(start=START)
    beats = [[START + time, 60] for time in range(0, 300, 5)]
    still = [[START + 15 * n, 0, 0, 0, 1] for n in range(1, 81)]  # 20 minutes
    shared.push(session, "a", heart_rate=beats, motion=still)
    shared.push(session, "b", heart_rate=[[START + 2400, 60]])
    closed = shared.client.post(f"/v1/sessions/{session}/close").json()
    for reading in (closed, closed["night"]):
        reasons = [epoch["reason"] for epoch in reading["epochs"]]
        assert reasons == [""] * 20 + ["not_worn"] * 29 + ["no_data"] * 31
        assert [one["stage"] == "unscored" for one in reading["epochs"]] == list(map(bool, reasons))
        assert reading["statistics"]["not_worn"] == 14.5
        assert reading["statistics"]["no_data"] == 15.5


def test_epochs_stored_by_an_earlier_version_are_still_read() -> None:
    stored = [{"stage": "light"}, {"stage": "unscored"}, {"stage": "wake", "reason": ""}]
    found = describe_statistics(stored, FOUR_CLASS)
    assert (found["time_in_bed"], found["not_worn"], found["no_data"]) == (1.0, 0.0, 0.0)


def test_it_can_decide_at_the_operating_point_for_rem(shared: Running) -> None:
    recording = simulated(2.0)
    session = shared.open(start=START, find_rem=True)
    push_whole(shared, session, recording)
    closed = shared.client.post(f"/v1/sessions/{session}/close").json()
    for name, epochs in (("live", closed["epochs"]), ("night", closed["night"]["epochs"])):
        stager = sleepstage.load_model(name)
        ended = replace(recording, end=START + 30 * len(epochs))
        expected = stager.predict(ended).decide(stager.info.class_weights)
        assert stages(epochs) == expected.stages.tolist()


@pytest.mark.parametrize("start", [None, START])
def test_a_session_without_samples_can_be_closed(shared: Running, start: float | None) -> None:
    session = shared.open(start=start)
    closed = shared.client.post(f"/v1/sessions/{session}/close").json()
    assert closed["epochs"] == closed["night"]["epochs"] == []
    assert closed["session"]["closed"]


def test_epochs_can_be_asked_for_from_a_number_on(shared: Running) -> None:
    session = shared.open(start=START)
    push_whole(shared, session, simulated())
    everything = shared.hypnogram(session)
    part = shared.client.get(f"/v1/sessions/{session}/hypnogram?after=100").json()
    assert part["first"] == 100
    assert part["epochs"] == everything["epochs"][100:]
    assert part["statistics"] == everything["statistics"]


def test_the_night_begins_with_the_first_motion_else_the_first_heart_rate(shared: Running) -> None:
    history = [[START - 5000, 12], [START - 4000, 3]]
    session = shared.open()
    shared.push(session, 0, steps=history)
    shared.push(session, 1, heart_rate=[[START - 20, 60], [START + 100, 60]], motion=STILL)
    assert shared.hypnogram(session)["session"]["start"] == START
    session = shared.open()
    shared.push(session, 0, steps=history)
    shared.push(session, 1, heart_rate=[[START + 3, 60], [START + 100, 60]])
    assert shared.hypnogram(session)["session"]["start"] == START + 3
    session = shared.open()
    shared.push(session, 0, motion=[[START + t, 0, 0.1, 0.2, 1] for t in (15, 30, 45, 60)])
    assert shared.hypnogram(session)["session"]["start"] == START


def test_steps_alone_do_not_begin_a_night(shared: Running) -> None:
    session = shared.open()
    for number in range(4):
        shared.push(session, number, steps=[[START + 600 * number, 3]])
        night = shared.hypnogram(session)
        assert night["epochs"] == []
        assert night["session"]["start"] is None
    waiting = shared.do(shared.service.nights.store.due, limit=1000)
    assert session not in waiting


# What is refused leaves the session as it was


@pytest.mark.parametrize(
    ("signals", "status", "said"),
    [
        ({}, 422, "no samples"),
        ({"heart_rate": [[4e9, 60]]}, 422, "ahead of the server's clock"),
        ({"heart_rate": [[START * 1000, 60]]}, 422, "give times in seconds"),
        ({"heart_rate": [[-1e300, 60]]}, 422, "give times in seconds"),
        ({"motion": [[START + t, 0, 0, 9.81] for t in range(60)]}, 422, "9.80665"),
        ({"motion": [[START, 0, 0, 0, 1]]}, 422, "either acceleration"),
        ({"heart_rate": [[START + 90_000, 60]]}, 409, "open another session"),
        ({"motion": [[START, 0, 1e308, 0]]}, 422, "no watch measures more than 1000 g"),
        ({"steps": [[START, 1e308]]}, 422, "the limit is 1e+07"),
        ({"heart_rate": [[START, None]]}, 422, "row 0"),
    ],
)
def test_a_message_that_is_refused_changes_nothing(
    shared: Running, signals: dict[str, Any], status: int, said: str
) -> None:
    session = shared.open(start=START)
    shared.push(session, 0, motion=STILL)
    before = shared.hypnogram(session)
    answer = shared.push(session, 1, **signals)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.json()["detail"]
    assert shared.hypnogram(session) == before
    assert shared.push(session, 1, heart_rate=[[START + 160, 60]]).status_code == 201


def test_what_is_no_json_or_no_name_is_refused(shared: Running) -> None:
    session = shared.open()
    path = f"/v1/sessions/{session}/messages"
    assert shared.client.put(f"{path}/1", content=b"{").status_code == 422
    assert shared.client.put(f"{path}/a%20b", json={}).status_code == 422
    binary = {"Content-Type": "application/octet-stream"}
    assert shared.client.put(f"{path}/1", content=b"\x01", headers=binary).status_code == 422
    assert shared.client.put("/v1/sessions/none/messages/1", json={}).status_code == 404


def test_a_message_that_is_bad_only_beside_others_is_left_out(tmp_path: Path) -> None:
    with running(tmp_path) as one:
        session = one.open(start=START)
        one.push(session, 0, motion=STILL[:20])
        # The kinds are mixed before anything has told which it is.
        one.push(session, 1, motion=[[START + 15, 0, 0, 0, 1]])
        one.push(session, 2, heart_rate=[[START + t, 60] for t in range(0, 100, 5)])
        night = one.hypnogram(session)
    assert len(night["epochs"]) == 3
    assert night["session"]["intake"]["taken"] == 40


def test_acceleration_in_another_unit_that_shows_late_is_left_out(tmp_path: Path) -> None:
    with running(tmp_path) as one:
        session = one.open(start=START)
        for number in range(30):  # too few in each to tell
            hard = [[START + number + t / 20, 0, 0, 9.81] for t in range(20)]
            assert one.push(session, number, motion=hard).status_code == 201
        one.push(session, "heart", heart_rate=beats(0, 100))
        night = one.hypnogram(session)["session"]
    assert night["n_epochs"] == 3
    assert 20 <= night["intake"]["taken"] < 600


# By itself


def test_sessions_are_looked_after_even_if_the_store_fails_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sleepstage.server.upkeep, "_SWEEP_SECONDS", 0.05)
    with running(tmp_path, silent_hours=1) as one:
        nights = one.service.nights
        session = one.open(start=START)
        due, failures = nights.store.due, iter([StoreError("the disk is full")] * 2)

        async def fail_at_first(*, limit: int) -> list[str]:
            for failure in failures:
                raise failure
            return await due(limit=limit)

        monkeypatch.setattr(nights.store, "due", fail_at_first)
        monkeypatch.setattr(nights, "clock", lambda: time.time() + 4000)
        deadline = time.monotonic() + 10
        while not one.client.get(f"/v1/sessions/{session}").json()["closed"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert caplog.text.count("the disk is full") == 2


def test_undone_work_is_done_silent_nights_closed_and_old_ones_deleted(tmp_path: Path) -> None:
    with running(tmp_path, silent_hours=1, keep_days=1) as one:
        nights = one.service.nights
        session = one.open(start=START)
        push_whole(one, session, simulated())
        # Another server took a message, and died before it was worked off.
        waiting = SessionRecord(id="left", owner="local", created=0, heard=nights.clock())
        one.do(nights.store.open_session, waiting)
        body = Message.from_object({"heart_rate": [[START, 60], [START + 70, 60]]}).to_bytes()
        incoming = Incoming("1", body, b"", (START, START + 70), nights.clock())
        one.do(nights.store.add_message, "left", incoming)
        one.sweep()
        assert one.client.get("/v1/sessions/left").status_code == 200
        assert len(one.hypnogram("left")["epochs"]) == 2
        now = nights.clock()
        nights.clock = lambda: now + 3700
        one.sweep()
        closed = one.hypnogram(session)
        assert closed["session"]["closed"]
        assert len(closed["night"]["epochs"]) == len(closed["epochs"]) == 120
        nights.clock = lambda: now + 25 * 3600
        one.sweep()
        assert one.client.get(f"/v1/sessions/{session}").status_code == 404


@pytest.mark.parametrize("fault", [ZeroDivisionError("x"), DataError("x"), SnapshotError("x")])
def test_one_session_that_can_t_be_closed_keeps_no_other_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    with running(tmp_path, silent_hours=1) as one:
        nights = one.service.nights
        sessions = [one.open(start=START) for _ in range(3)]
        close = nights.close

        async def fail_at_one(session_id: str, *, silent_since: float) -> None:
            if session_id == sessions[1]:
                raise fault
            await close(session_id, silent_since=silent_since)

        monkeypatch.setattr(nights, "close", fail_at_one)
        monkeypatch.setattr(nights, "clock", lambda: time.time() + 4000)
        one.sweep()
        shown = [one.client.get(f"/v1/sessions/{session}").json() for session in sessions]
    assert [session["closed"] for session in shown] == [True, False, True]


def test_a_night_of_another_model_is_left_as_it_is(tmp_path: Path) -> None:
    with running(tmp_path) as one:
        session = one.open(start=START)
        one.push(session, 0, heart_rate=beats(0, 100))
        assert len(one.hypnogram(session)["epochs"]) == 3
    with running(tmp_path, model="live-int8") as other:
        assert other.push(session, 1, heart_rate=beats(100, 200)).status_code == 201
        answer = other.client.get(f"/v1/sessions/{session}/hypnogram")
        assert answer.status_code == 503
        assert "another model" in answer.json()["detail"]
        other.sweep()
    with running(tmp_path) as one:
        assert len(one.hypnogram(session)["epochs"]) == 6


def test_it_needs_models_that_go_together() -> None:
    from sleepstage.server.work import Models

    with pytest.raises(sleepstage.DataError, match="predict each epoch at its end"):
        Models.load("night", "night")


def test_a_simulated_night_can_be_had_to_play(
    shared: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = shared.client.get("/v1/demo")
    monkeypatch.delattr("sleepstage.server.app.simulate_night")  # it is made once
    assert shared.client.get("/v1/demo?seed=2").content == answer.content
    assert "max-age" in answer.headers["cache-control"]
    night = answer.json()
    expected = simulate_night(1, Day(before=2, after=0.25))
    assert night["seconds"] == expected.end - expected.start == 10.25 * 3600
    assert len(night["motion"]) == len(expected.motion)
    assert night["heart_rate"][-1] == [
        expected.heart_rate.times[-1] - expected.start,
        expected.heart_rate.values[-1],
    ]


def test_sensor_logger_opens_a_session_by_itself(shared: Running, caplog: Any) -> None:
    def body(number: int, time: float) -> dict[str, Any]:
        reading = {"name": "heart rate", "time": int(time * 1e9), "values": {"bpm": 61}}
        other = {"name": "location", "time": int(time * 1e9), "values": {"latitude": 1}}
        ids = {"messageId": number, "sessionId": "s", "deviceId": "ab-secret-device"}
        return {**ids, "payload": [reading, other]}

    with caplog.at_level("INFO"):
        said = shared.client.post("/v1/sensor-logger", json=body(0, START)).json()
    assert (said["stored"], said["ignored"], said["repeated"]) == (1, 1, False)
    assert said["session"] not in caplog.text
    assert "ab-secret-device" not in caplog.text
    again = shared.client.post("/v1/sensor-logger", json=body(0, START)).json()
    assert (again["session"], again["repeated"], again["stored"]) == (said["session"], True, 0)
    shown = shared.client.get(f"/v1/sessions/{said['session']}").json()
    assert (shown["source"], shown["lateness"]) == ("sensor-logger", 60)
    test = shared.client.post("/v1/sensor-logger", json={"payload": []})
    assert (test.status_code, test.json()["session"]) == (200, None)
    ahead = shared.client.post("/v1/sensor-logger", json=body(1, 5e9)).json()
    assert (ahead["session"], ahead["ignored"]) == (None, 2)
