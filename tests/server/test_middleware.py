"""What every request passes: limits, headers, log and metrics."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sleepstage.errors import StoreError
from sleepstage.server.middleware import Answers, Guard, Slots
from sleepstage.server.monitoring import Metrics
from sleepstage.server.routes import api
from sleepstage.server.settings import Settings
from tests.helpers.service import START, Running, running

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    limits = {"max_body": 2048, "messages_per_second": 1, "slow_seconds": 0.1}
    with running(tmp_path_factory.mktemp("store"), **limits) as one:

        @one.app.get("/v1/fault", include_in_schema=False)
        async def fail() -> None:
            msg = "secret"
            raise ZeroDivisionError(msg)

        yield one


# Bodies are read by the routes themselves, or by FastAPI: it must make no difference.
BODIES = pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1/sessions/{session}/messages/1"),
        ("POST", "/v1/sensor-logger"),
        ("POST", "/v1/sessions"),
        ("POST", "/v1/sessions/{session}/links"),
    ],
)


@BODIES
def test_a_body_may_not_be_too_large(shared: Running, method: str, path: str) -> None:
    path = path.format(session=shared.open())
    long = b" " * 3000
    for content in (long, iter([long[:1500], long[1500:]])):
        answer = shared.client.request(method, path, content=content, headers=JSON)
        assert answer.status_code == 413
        assert "2048 bytes" in answer.json()["detail"]


@BODIES
@pytest.mark.parametrize("body", [b"", b"{", b'{"label": "\xff"}', b"[" * 2000, b"null", b"[]"])
def test_a_body_that_is_no_json_is_refused(
    shared: Running, method: str, path: str, body: bytes
) -> None:
    path = path.format(session=shared.open())
    answer = shared.client.request(method, path, content=body, headers=JSON)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


def test_messages_may_not_come_too_fast(shared: Running) -> None:
    session = shared.open(start=START)
    answers = [shared.push(session, n, heart_rate=[[START + n, 60]]) for n in range(12)]
    assert [answer.status_code for answer in answers] == [201] * 10 + [429] * 2
    assert answers[-1].headers["retry-after"] == "10"
    assert shared.push(shared.open(), 0, heart_rate=[[START, 60]]).status_code == 201


def test_pushes_of_sensor_logger_may_not_come_too_fast(shared: Running) -> None:
    reading = {"name": "heart rate", "time": int(START * 1e9), "values": {"bpm": 61}}
    body = {"sessionId": "fast", "deviceId": "phone", "payload": [reading]}
    answers = [
        shared.client.post("/v1/sensor-logger", json={**body, "messageId": number})
        for number in range(11)
    ]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]


@BODIES
def test_a_slow_body_is_not_waited_for(shared: Running, method: str, path: str) -> None:
    scope = {
        "type": "http",
        "method": method,
        "path": path.format(session=shared.open()),
        "raw_path": b"",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        "state": {},
    }
    said: list[Any] = []

    async def ask() -> None:
        async def receive() -> Any:
            await asyncio.sleep(60)

        async def send(message: Any) -> None:
            said.append(message)

        await asyncio.wait_for(shared.app(scope, receive, send), 5)

    shared.do(ask)
    assert said[0]["status"] == 408
    assert b"did not come within 0.1 s" in said[1]["body"]


def test_a_body_of_a_stranger_is_not_waited_for(tmp_path: Path) -> None:
    async def receive() -> Any:
        msg = "nobody may read the body of a stranger"
        raise AssertionError(msg)

    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    with running(tmp_path) as one:
        scope = {"type": "http", "method": "POST", "path": "/v1/sessions", "raw_path": b""}
        asked = {**scope, "query_string": b"", "headers": [], "state": {}}
        one.do(one.app, asked, receive, send)
    assert said[0]["status"] == 401


def test_more_requests_than_it_can_take_on_are_sent_away() -> None:
    held = asyncio.Event()
    said: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await held.wait()

    async def send(message: Any) -> None:
        said.append(message)

    async def ask() -> None:
        guard = Guard(app, settings=Settings(), slots=Slots(2, "requests are under way"))
        gate = Answers(guard, metrics=Metrics())
        access = SimpleNamespace(authenticate=_nothing)
        served = SimpleNamespace(state=SimpleNamespace(service=SimpleNamespace(access=access)))
        scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "app": served}
        first = [asyncio.create_task(gate(dict(scope), _nothing, send)) for _ in range(2)]
        await asyncio.sleep(0)
        await gate(dict(scope), _nothing, send)
        assert said[0]["status"] == 503
        assert (b"retry-after", b"2") in said[0]["headers"]
        held.set()
        await asyncio.gather(*first)

    asyncio.run(ask())


async def _nothing(*_: Any) -> Any:
    return {"type": "http.request"}


def test_a_server_that_refuses_messages_is_not_ready(tmp_path: Path) -> None:
    with running(tmp_path, max_waiting=1) as one:
        with one.service.requests.open():
            assert one.client.post("/v1/sessions", json={}).status_code == 503
            assert one.client.get("/readyz").status_code == 503
        assert one.client.get("/readyz").status_code == 200


def test_only_so_many_viewers_are_connected(tmp_path: Path) -> None:
    with running(tmp_path, max_waiting=1) as one:
        session = one.open()
        with one.service.streams.open():
            answer = one.client.get(f"/v1/sessions/{session}/events")
        assert answer.status_code == 503
        assert "viewers" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "given", "status"),
    [
        ("GET", "/", {}, 200),
        ("GET", "/page/main.js", {}, 200),
        ("GET", "/healthz", {}, 200),
        ("GET", "/v1/me", {}, 200),
        ("GET", "/v1/me", {"Host": "example.org"}, 401),
        ("POST", "/v1/sessions", {"Origin": "https://example.org"}, 403),
        ("GET", "/v1/nothing", {}, 404),
        ("GET", "/page/nothing.js", {}, 404),
        ("DELETE", "/v1/me", {}, 405),
        ("POST", "/v1/sessions", {"Content-Length": "9999"}, 413),
        ("POST", "/v1/sessions", {}, 422),
        ("GET", "/v1/fault", {}, 500),
    ],
)
def test_every_answer_has_headers_of_safety(
    shared: Running, method: str, path: str, given: dict[str, str], status: int
) -> None:
    answer = shared.client.request(method, path, headers=given)
    assert answer.status_code == status
    headers = answer.headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] in {"no-store", "no-cache"}
    if status >= 400:
        assert headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status
        assert answer.json()["detail"]


def test_a_fault_shows_nothing_of_what_was_sent(shared: Running) -> None:
    answer = shared.client.get("/v1/fault")
    assert "ZeroDivisionError" in answer.json()["detail"]
    assert "secret" not in answer.text


def test_a_store_that_does_not_answer_is_said_without_its_address(
    shared: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*given: Any, **named: Any) -> None:
        msg = "/home/ada/store.db: the disk is full"
        raise StoreError(msg)

    monkeypatch.setattr(shared.service.nights.store, "ping", fail)
    monkeypatch.setattr(shared.service.nights.store, "sessions", fail)
    for path in ("/readyz", "/v1/sessions"):
        answer = shared.client.get(path)
        assert answer.status_code == 503
        assert answer.json()["detail"].startswith("the store does not answer")
        assert "/home/ada/store.db" in caplog.text
        caplog.clear()
        assert answer.headers["retry-after"] == "2"
    assert shared.client.get("/healthz").text == "ok\n"


def test_a_server_that_is_about_to_stop_takes_no_more(tmp_path: Path) -> None:
    with running(tmp_path) as one:
        assert one.client.get("/readyz").text == "ready\n"
        one.service.nights.changes.stop()
        answer = one.client.get("/readyz")
        assert answer.status_code == 503
        assert "about to stop" in answer.json()["detail"]
        # Who watches is sent away, and comes back to another server.
        assert one.client.get(f"/v1/sessions/{one.open()}/events").text.count("event:") == 1
        assert one.client.get("/healthz").status_code == 200


def test_metrics_and_log_tell_of_no_person(
    shared: Running, caplog: pytest.LogCaptureFixture
) -> None:
    reading = {"name": "heart rate", "time": int(START * 1e9), "values": {"bpm": 61}}
    pushed = {"sessionId": "night-of-ada", "deviceId": "adas-phone", "payload": [reading]}
    with caplog.at_level(logging.DEBUG):
        session = shared.open(label="Ada's bedroom", start=START)
        assert shared.push(session, 0, heart_rate=[[START + t, 60] for t in range(0, 60, 5)])
        shared.hypnogram(session)
        shared.client.post("/v1/sensor-logger", json=pushed)
        for path in (f"/v1/nothing/{session}", "/page/ada.js", "/ada?ada", "/v1/sessions/ada"):
            assert shared.client.get(path).status_code == 404
        shared.client.put(f"/v1/sessions/{session}/messages/ada", content=b"ada")
        text = shared.client.get("/metrics").text
    logged = "".join(str(vars(record)) for record in _ours(caplog))
    assert "request" in logged
    for private in (session, "ada", "Ada", "adas-phone", "testclient"):
        assert private not in text
        assert private not in logged
    assert 'sleepstage_messages_total{delivery="stored"}' in text
    assert "sleepstage_epochs_total" in text
    assert 'route="/v1/sessions/{session_id}/hypnogram"' in text
    known = {getattr(one, "path", "") for one in (*shared.app.routes, *api.routes)}
    assert set(re.findall(r'route="([^"]*)"', text)) <= known | {"unknown"}


def _ours(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name.startswith("sleepstage")]
