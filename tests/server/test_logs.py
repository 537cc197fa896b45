"""The log: whatever is sent, it identifies nobody and stays short."""

from __future__ import annotations

import base64
import json
import logging
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sleepstage.server.monitoring import set_up_logs
from tests.helpers.command import invoke
from tests.helpers.serving import Server, serving

pytestmark = pytest.mark.slow

N_TIMES = 15
VALUE = 61.0625
HOST = b"Host: localhost\r\n"
UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: " + base64.b64encode(bytes(16)) + b"\r\n\r\n"
)


def send(server: Server, *pieces: bytes) -> None:
    """Send pieces, each once something came or the server has closed."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        for piece in pieces:
            with suppress(ConnectionError):
                client.sendall(piece)
                client.recv(65536)


def test_whatever_is_sent_the_log_is_short_and_about_nobody(tmp_path: Path) -> None:
    made = invoke("token", "add", "ada", "--store", tmp_path / "store")
    secret = made.stdout.strip()
    ada = {"Authorization": f"Bearer {secret}"}
    given = b"Authorization: Bearer " + secret.encode() + b"\r\n"
    limits = {"max_header": "4096", "header_seconds": "0.1", "slow_seconds": "0.1"}
    with serving(tmp_path, log="json", workers="0", **limits) as server:
        opened = httpx2.post(f"{server.url}/v1/sessions", json={"label": "Ada's"}, headers=ada)
        session = str(opened.json()["id"])
        night = f"/v1/sessions/{session}"
        target = night.encode()
        reading = {"name": "heart rate", "time": VALUE, "values": {"bpm": VALUE}}
        app = {"sessionId": "night-of-ada", "deviceId": "adas-phone", "payload": [reading]}
        for number in range(N_TIMES):
            wrong = {"heart_rate": [[VALUE, -VALUE, VALUE]]}
            put = f"{server.url}{night}/messages/{number}"
            assert httpx2.put(put, json=wrong, headers=ada).status_code == 422
            assert httpx2.put(put, json=wrong).status_code == 401
            httpx2.post(f"{server.url}/v1/sensor-logger", json=app, headers=ada)
            send(server, b"nonsense " + target + b"\r\n\r\n")
            send(server, b"GET " + target + b"/stream HTTP/1.1\r\n" + HOST + UPGRADE)
            begin = target + b"/stream HTTP/1.1\r\n" + HOST + given + UPGRADE
            send(server, b"GET " + begin, b"\x81\x82" + bytes(4) + b"\xff\xff")
            send(server, b"GET " + begin, b"\xff" * 20)
            send(server, b"POST " + begin)
            send(
                server, b"GET " + target + b" HTTP/1.1\r\n" + HOST + given + b"Upgrade: h2c\r\n\r\n"
            )
            send(server, b"GET " + target + b" HTTP/1.1\r\n" + given)  # never ends
            send(server, b"GET " + target + b" HTTP/1.1\r\nX: " + b"a" * 5000)
            late = b" HTTP/1.1\r\nContent-Length: 99\r\n" + given + b"\r\n{"
            send(server, b"PUT " + target + b"/messages/late" + late)
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(b"PUT " + target + b"/messages/gone" + late)
        assert server.stop() == 0
    lines = server.log.read_text().splitlines()
    assert any(json.loads(line)["message"].startswith("the page") for line in lines)
    assert len(lines) < 40, "\n".join(lines)
    names = ("127.0.0.1:", "night-of-ada", "adas-phone", "Ada's", "bpm", str(VALUE))
    for private in (session, secret, *names):
        shown = [line for line in lines if private in line and server.url not in line]
        assert not shown


@pytest.fixture
def _logs() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("uvicorn.error")
    handlers, level, other = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    ours.setLevel(other)


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.usefixtures("_logs")
def test_a_fault_shows_where_it_arose_without_values(
    form: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logs(form)
    try:
        try:
            float(f"bpm {VALUE}")
        except ValueError as error:
            msg = f"heart rate {VALUE}"
            raise ExceptionGroup(msg, [error]) from None
    except ExceptionGroup:
        logging.getLogger("sleepstage.x").exception("a fault")
    shown = capsys.readouterr().err
    assert "test_logs.py" in shown
    assert "ValueError" in shown
    assert "ExceptionGroup" in shown
    assert str(VALUE) not in shown


@pytest.mark.usefixtures("_logs")
def test_lines_of_one_kind_are_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("text")
    for number in range(100):
        logging.getLogger("sleepstage.x").error("the store does not answer: %s", number)
    logging.getLogger("sleepstage.x").error("another")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert "left out" in lines[9]
    assert lines[10].endswith("another")


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.usefixtures("_logs")
def test_log_lines_have_a_form(form: Any, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs(form)
    logging.getLogger("sleepstage.x").info("begun", extra={"route": "/"})
    line = capsys.readouterr().err.strip()
    if form == "json":
        said = json.loads(line)
        assert (said["message"], said["levelname"], said["route"]) == ("begun", "INFO", "/")
    else:
        assert line.endswith("INFO begun")
