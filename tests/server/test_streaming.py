"""Epochs as they are told: events and WebSocket, from another server, and when a server ends."""

from __future__ import annotations

import itertools
import json
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psutil
import pytest
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect
from websockets.sync.client import connect

import sleepstage
from sleepstage.core.recording import Recording
from sleepstage.server import sessions
from sleepstage.server.message import Message
from tests.helpers.service import LOCAL, START, Running, rows, running, simulated
from tests.helpers.serving import Server, serving

pytestmark = pytest.mark.slow


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path) as one:
        yield one


def beats(first: float, last: float) -> list[list[float]]:
    return [[START + t, 60] for t in np.arange(first, last, 5.0).tolist()]


def acknowledged(message: str, *, repeated: bool = False) -> dict[str, Any]:
    return {"id": message, "repeated": repeated, "warnings": []}


def events(text: str) -> list[tuple[str, str | None, dict[str, Any]]]:
    found = []
    for part in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in part.splitlines() if line[0] != ":")
        if fields:
            found.append((fields["event"], fields.get("id"), json.loads(fields["data"])))
    return found


def test_events_tell_a_night_that_is_over(one: Running) -> None:
    session = one.open(start=START)
    one.push(session, 0, heart_rate=beats(0, 200))
    closed = one.client.post(f"/v1/sessions/{session}/close").json()
    path = f"/v1/sessions/{session}/events"
    first, *told, last = events(one.client.get(path).text)
    assert first[0] == last[0] == "session"
    assert last[2]["closed"]
    assert [(kind, int(number or -1), epoch) for kind, number, epoch in told] == [
        ("epoch", number, epoch) for number, epoch in enumerate(closed["epochs"])
    ]
    for number in range(len(told)):  # neither a gap nor a repeat, wherever it was cut
        resumed = events(one.client.get(path, headers={"Last-Event-ID": str(number)}).text)
        assert resumed[1:-1] == told[number + 1 :]
    assert events(one.client.get(f"{path}?after=5").text)[1:-1] == told[5:]
    assert one.client.get("/v1/sessions/none/events").status_code == 404


def test_what_happened_to_the_sleeper_is_sent_before_the_epoch_that_decided_it(
    one: Running,
) -> None:
    session, recording = one.open(start=START), simulated()
    for number in range(4):
        first = START + 900 * number if number else -np.inf
        one.push(session, number, **rows(recording, first, START + 900 * (number + 1)))
    live = sleepstage.load_model().session(start=START)
    signals = {name: getattr(recording, name) for name in ("heart_rate", "motion", "steps")}
    given: Any = {name: (kept.times, kept.values) for name, kept in signals.items()}
    live.push(**given, now=START + 3605)
    expected = [event.to_dict() for event in live.events]
    assert expected[0]["kind"] == "fell_asleep"
    closed = one.client.post(f"/v1/sessions/{session}/close").json()
    assert closed["events"] == expected
    assert not any("events" in epoch for epoch in closed["epochs"])
    sent = events(one.client.get(f"/v1/sessions/{session}/events").text)
    assert [data for kind, _, data in sent if kind == "sleep"] == expected
    at = [kind for kind, _, _ in sent].index("sleep")
    known = expected[0]["time"] + expected[0]["delay"]
    assert (sent[at][1], sent[at + 1][0], sent[at + 1][2]["time"]) == (None, "epoch", known - 30)
    resumed = f"/v1/sessions/{session}/stream?after={sent[at + 1][1]}"
    with one.client.websocket_connect(resumed, headers=LOCAL) as socket:
        assert "session" in socket.receive_json()
        assert socket.receive_json() == {"sleep": expected[0]}
        assert socket.receive_json()["epoch"]["time"] == known - 30


def test_events_come_as_they_happen_also_from_another_server(
    one: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_LIFE_SECONDS", 0.2)
    session = one.open(start=START)

    def act() -> None:
        with running(tmp_path) as other:
            other.push(session, 0, heart_rate=beats(0, 100))
            other.hypnogram(session)
            time.sleep(0.5)
            other.push(session, 1, heart_rate=beats(100, 170))
            other.client.post(f"/v1/sessions/{session}/close")

    thread = threading.Thread(target=act)
    thread.start()
    text = one.client.get(f"/v1/sessions/{session}/events").text
    thread.join()
    assert ": still here" in text
    told = [number for kind, number, _ in events(text) if kind == "epoch"]
    assert told == ["0", "1", "2", "3", "4"]


def test_a_viewer_is_sent_away_when_the_session_or_the_right_is_gone(
    one: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_LIFE_SECONDS", 0.1)
    ada = one.token("ada")
    client = one.client
    for end in ("session", "link"):
        session = client.post("/v1/sessions", json={}, headers=ada).json()["id"]
        link = client.post(f"/v1/sessions/{session}/links", json={}, headers=ada).json()

        def act(session: str = session, link: str = link["id"], end: str = end) -> None:
            time.sleep(0.3)
            path = f"/v1/sessions/{session}"
            client.delete(path if end == "session" else f"{path}/links/{link}", headers=ada)
            one.service.access._grants.clear()

        thread = threading.Thread(target=act)
        thread.start()
        viewer = {"Authorization": f"Bearer {link['secret']}"}
        text = client.get(f"/v1/sessions/{session}/events", headers=viewer).text
        thread.join()
        assert [kind for kind, _, _ in events(text)] == ["session"]


def test_a_socket_takes_messages_and_tells_epochs(one: Running) -> None:
    session = one.open(start=START)
    path = f"/v1/sessions/{session}/stream"
    with one.client.websocket_connect(path, headers=LOCAL) as socket:
        assert socket.receive_json()["session"]["id"] == session
        socket.send_json({"id": "a", "heart_rate": beats(0, 20)})
        assert socket.receive_json() == acknowledged("a")
        socket.send_json({"id": "a", "heart_rate": beats(0, 20)})
        assert socket.receive_json() == acknowledged("a", repeated=True)
        for said, problem in (
            ("nonsense", "not JSON"),
            ('{"heart_rate": [[1, 2]]}', "an id"),
            ('{"id": "b", "pulse": []}', "pulse"),
            ('{"id": "b", "heart_rate": []}', "no samples"),
            ('{"id": "b", "heart_rate": [[9e9, 60]]}', "ahead of the server's clock"),
            (f'{{"id": "{65 * "x"}"}}', "1 to 64 characters"),
        ):
            socket.send_text(said)
            assert problem in socket.receive_json()["problem"]["detail"]
        socket.send_bytes(b"short")
        assert "expected a number" in socket.receive_json()["problem"]["detail"]
        message = Message.from_object({"heart_rate": beats(20, 100)}).to_bytes()
        socket.send_bytes(struct.pack("<Q", 7) + message)
        came = [socket.receive_json() for _ in range(4)]
    assert acknowledged("7") in came
    told = [one for one in came if "epoch" in one]
    assert [one["number"] for one in told] == [0, 1, 2]
    assert [one["epoch"] for one in told] == one.hypnogram(session)["epochs"][:3]


def test_sockets_on_two_servers_hear_of_each_other(one: Running, tmp_path: Path) -> None:
    path = f"/v1/sessions/{one.open(start=START)}/stream"
    with (
        running(tmp_path) as other,
        one.client.websocket_connect(path, headers=LOCAL) as first,
        other.client.websocket_connect(path, headers=LOCAL) as second,
    ):
        for socket in (first, second):
            assert "session" in socket.receive_json()
        first.send_json({"id": "a", "heart_rate": beats(0, 20)})
        assert first.receive_json() == acknowledged("a")
        second.send_json({"id": "a", "heart_rate": beats(0, 20)})
        assert second.receive_json() == acknowledged("a", repeated=True)
        began = time.monotonic()
        first.send_json({"id": "b", "heart_rate": beats(20, 200)})
        came = [first.receive_json() for _ in range(7)]
        assert acknowledged("b") in came
        told = [one for one in came if "epoch" in one]
        assert [one["number"] for one in told] == list(range(6))
        assert [second.receive_json() for _ in range(6)] == told
        assert time.monotonic() - began < 4


def test_a_socket_is_told_if_it_is_too_fast(tmp_path: Path) -> None:
    with running(tmp_path, messages_per_second=1) as one:
        path = f"/v1/sessions/{one.open(start=START)}/stream"
        with one.client.websocket_connect(path, headers=LOCAL) as socket:
            assert "session" in socket.receive_json()
            for number in range(11):
                socket.send_json({"id": number, "heart_rate": [[START + number, 60]]})
            answers = [socket.receive_json() for _ in range(11)]
    assert answers[:10] == [acknowledged(str(number)) for number in range(10)]
    assert answers[10]["problem"]["status"] == 429


def test_a_socket_is_told_when_the_night_is_over(one: Running) -> None:
    session = one.open(start=START)
    one.push(session, 0, heart_rate=beats(0, 100))
    one.client.post(f"/v1/sessions/{session}/close")
    path = f"/v1/sessions/{session}/stream?after=2"
    with one.client.websocket_connect(path, headers=LOCAL) as socket:
        assert "session" in socket.receive_json()
        assert socket.receive_json()["number"] == 2
        assert socket.receive_json()["session"]["closed"]
        assert socket.receive()["type"] == "websocket.close"


def test_a_socket_needs_the_right_to_see_and_to_send(one: Running) -> None:
    ada = one.token("ada")
    session = one.client.post("/v1/sessions", json={}, headers=ada).json()["id"]
    link = one.client.post(f"/v1/sessions/{session}/links", json={}, headers=ada).json()
    path = f"/v1/sessions/{session}/stream"
    bob = one.token("bob")
    for headers, status in (
        (LOCAL, 401),
        ({**LOCAL, **bob}, 404),
        ({**LOCAL, **ada, "Origin": "https://example.org"}, 403),
    ):
        with (
            pytest.raises(WebSocketDenialResponse) as refused,
            one.client.websocket_connect(path, headers=headers),
        ):
            pass
        assert refused.value.status_code == status
    viewer = {**LOCAL, "Authorization": f"Bearer {link['secret']}"}
    with one.client.websocket_connect(path, headers=viewer) as socket:
        assert "session" in socket.receive_json()
        socket.send_json({"id": "a", "heart_rate": beats(0, 20)})
        problem = socket.receive_json()["problem"]
    assert problem["status"] == 403
    assert "look" in problem["detail"]
    assert one.client.get(f"/v1/sessions/{session}", headers=ada).json()["newest"] is None


def test_a_socket_takes_nothing_once_the_token_is_revoked(one: Running) -> None:
    ada = one.token("ada")
    path = f"/v1/sessions/{one.client.post('/v1/sessions', json={}, headers=ada).json()['id']}"
    another = one.token("ada")
    with one.client.websocket_connect(f"{path}/stream", headers={**LOCAL, **ada}) as socket:
        assert "session" in socket.receive_json()
        first = one.do(one.service.nights.store.grants)[0]
        one.do(one.service.nights.store.remove_grant, first.id)
        one.service.access._grants.clear()  # as it is by itself after some seconds
        socket.send_json({"id": "a", "heart_rate": beats(0, 20)})
        assert socket.receive() == {"type": "websocket.close", "code": 1001, "reason": ""}
    assert one.client.get(path, headers=another).json()["newest"] is None


@pytest.mark.parametrize("after", ["x", "-1", "99999999999999999999"])
def test_a_socket_begins_at_a_number_that_can_be(one: Running, after: str) -> None:
    path = f"/v1/sessions/{one.open()}/stream?after={after}"
    with pytest.raises(WebSocketDisconnect), one.client.websocket_connect(path, headers=LOCAL):
        pass


def test_a_server_that_is_told_to_stop_sends_viewers_away_and_loses_nothing(
    tmp_path: Path,
) -> None:
    recording = simulated()
    with serving(tmp_path) as server, httpx2.Client(base_url=server.url, timeout=30) as client:
        session = client.post("/v1/sessions", json={"start": START}).json()["id"]
        path = f"/v1/sessions/{session}"
        address = f"ws://127.0.0.1:{server.port}{path}/stream"
        with connect(address) as socket, client.stream("GET", f"{path}/events") as answer:
            assert session in socket.recv(timeout=10)
            message = {"id": "0", **rows(recording, -np.inf, START + 1800)}
            socket.send(json.dumps(message))
            assert json.loads(socket.recv(timeout=10)) == acknowledged("0")
            lines = answer.iter_lines()
            assert next(lines) == "event: session"
            began = time.monotonic()
            assert server.stop() == 0
            for _ in (*lines, *socket):
                pass
            assert time.monotonic() - began < 8
            assert socket.close_code == 1001
        server.start()
        client.put(f"{path}/messages/1", json=rows(recording, START + 1800, np.inf))
        epochs = client.post(f"{path}/close").json()["epochs"]
    assert_predicted(epochs, recording)
    log = server.log.read_text()
    assert "Traceback" not in log
    assert session not in log


def test_a_server_that_is_killed_in_the_night_keeps_all_that_it_answered(tmp_path: Path) -> None:
    recording = simulated()
    edges = [-np.inf, *np.arange(START + 60, START + 3600, 60), np.inf]
    with serving(tmp_path) as server, httpx2.Client(base_url=server.url, timeout=30) as client:
        path = "/v1/sessions/" + client.post("/v1/sessions", json={"start": START}).json()["id"]
        for number, within in enumerate(itertools.pairwise(edges)):
            body = rows(recording, *within)
            message = f"{path}/messages/{number}"
            if number in {20, 40}:  # while a message is under way
                cut = threading.Timer(0.002, server.kill)
                cut.start()
                with suppress(httpx2.TransportError):
                    client.put(message, json=body)
                cut.join()
                server.start()
            assert client.put(message, json=body).status_code in {200, 201}
            if number == 41:  # a read has everything, though another server was told of it
                told = client.get(f"{path}/hypnogram").json()["epochs"]
                assert len(told) >= 2 * 41
        epochs = client.post(f"{path}/close").json()["epochs"]
    assert_predicted(epochs, recording)


def test_a_process_that_stages_and_dies_is_replaced_and_none_outlives_its_server(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as server, httpx2.Client(base_url=server.url, timeout=30) as client:
        path = "/v1/sessions/" + client.post("/v1/sessions", json={"start": START}).json()["id"]
        (first,) = staging(server)
        first.kill()
        first.wait(10)
        client.put(f"{path}/messages/0", json={"heart_rate": beats(0, 100)})
        deadline = time.monotonic() + 20
        while (answer := client.get(f"{path}/hypnogram")).status_code != 200:
            assert answer.status_code == 503
            assert time.monotonic() < deadline
        assert len(answer.json()["epochs"]) == 3
        (second,) = staging(server)
        assert second.pid != first.pid
        server.kill()
        second.wait(10)


def staging(server: Server) -> list[psutil.Process]:
    """The processes in which this server stages."""
    assert server._process is not None
    children = psutil.Process(server._process.pid).children()
    return [one for one in children if any("spawn_main" in part for part in one.cmdline())]


def assert_predicted(epochs: list[dict[str, Any]], recording: Recording) -> None:
    expected = sleepstage.load_model().predict(recording)
    assert len(expected) - 1 <= len(epochs) <= len(expected)
    assert [one["stage"] for one in epochs] == expected.stages[: len(epochs)].tolist()
    assert expected.probabilities is not None
    shares = [list(one["probabilities"].values()) for one in epochs]
    np.testing.assert_allclose(shares, expected.probabilities[: len(epochs)], atol=1e-6)
