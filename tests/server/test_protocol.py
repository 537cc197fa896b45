"""What one connection may take up, tried on a real server with raw sockets."""

from __future__ import annotations

import base64
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import httpx2
import orjson
import psutil
import pytest

from sleepstage.server.app import _allow_connections
from tests.helpers.serving import Server, serving

pytestmark = pytest.mark.slow

resource = pytest.importorskip("resource", reason="limits of files are of Unix")

LIMITS = {
    "workers": "0",
    "max_header": "4096",
    "header_seconds": "0.5",
    "max_body": "2048",
    "slow_seconds": "1",
    "max_connections": "30",
}
HOST = b"Host: localhost\r\n"
GET = b"GET /v1/me HTTP/1.1\r\n" + HOST
CHUNKED = (
    b"PUT /v1/sessions/x/messages/1 HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
)
UPGRADE = (
    HOST
    + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    + b"Sec-WebSocket-Key: "
    + base64.b64encode(bytes(16))
    + b"\r\n"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), **LIMITS) as server:
        yield server


@pytest.fixture(autouse=True)
def _still_serves(server: Server) -> Iterator[None]:
    """Whatever was tried, others are answered, and nothing is held for good."""
    yield
    assert httpx2.get(f"{server.url}/v1/me").status_code == 200
    deadline = time.monotonic() + 20
    while n_connections(server) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not n_connections(server)


def process(server: Server) -> psutil.Process:
    assert server._process is not None
    return psutil.Process(server._process.pid)


def n_connections(server: Server) -> int:
    found = process(server).net_connections("tcp")
    return sum(one.status != psutil.CONN_LISTEN for one in found)


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def read(client: socket.socket) -> bytes:
    """Everything until the server closes."""
    parts = []
    with suppress(ConnectionError):
        while part := client.recv(65536):
            parts.append(part)
    return b"".join(parts)


def send(client: socket.socket, piece: bytes, most: int) -> int:
    """Send a piece again and again until the server has had enough; give how much it took."""
    n_sent = 0
    with suppress(ConnectionError):
        while n_sent < most:
            client.sendall(piece)
            n_sent += len(piece)
    return n_sent


def status(answer: bytes) -> int:
    head, _, body = answer.partition(b"\r\n\r\n")
    code = int(head.split()[1])
    if code >= 400:
        assert b"application/problem+json" in head
        assert b"nosniff" in head
        assert orjson.loads(body)["status"] == code
    return code


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"GET /", b"a" * 65536),
        (GET + b"X-Long: ", b"a" * 65536),
        (GET + b"X-Long", b"a" * 65536),
        (GET, b"a: b\r\n" * 10000),
        (GET + UPGRADE, b"X-More: 1\r\n" * 6000),
        (b"", b"\r\n" * 30000),
        (CHUNKED + b"1;", b"a" * 65536),
        (CHUNKED + b"1\r\na\r\n0\r\n", b"a: b\r\n" * 10000),
        (CHUNKED, b"1\r\na\r\n" * 10000),
        (b"", (GET + b"\r\n") * 2000),
    ],
    ids=[
        "url",
        "value",
        "name",
        "headers",
        "upgrade",
        "nothing",
        "chunk",
        "trailers",
        "chunks",
        "requests",
    ],
)
def test_what_never_ends_is_cut_off(server: Server, begin: bytes, piece: bytes) -> None:
    before = process(server).memory_info().rss
    with connect(server) as client:
        client.sendall(begin)
        n_sent = send(client, piece, most=100_000_000)
    assert n_sent < 20_000_000  # most of it fills buffers of the system
    assert process(server).memory_info().rss - before < 20_000_000


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (GET + b"X-Long: " + b"a" * 5000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431),
        (GET + b"a: b\r\n" * 101 + b"\r\n", 431),
        (GET + b"a: b\r\n" * 90 + b"\r\n", 200),
        (GET + b"X-Long: " + b"a" * 3000 + b"\r\n\r\n", 200),
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00", 400),
        (b"CONNECT example.org:443 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /v1/me HTTP/1.1\r\nHost localhost\r\n\r\n", 400),
        (b"GET /v1/\xff HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"POST /v1/sessions HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", 400),
    ],
)
def test_what_can_t_be_served_is_refused(server: Server, asked: bytes, code: int) -> None:
    with connect(server) as client:
        client.sendall(asked)
        if code == 200:
            client.shutdown(socket.SHUT_WR)
        assert status(read(client)) == code


def test_headers_and_bodies_have_their_time(server: Server) -> None:
    put = b"POST /v1/sessions HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\n{"
    for asked, code in [(b"", None), (b"GET", 408), (GET, 408), (b"\r\n", 408), (put, 408)]:
        with connect(server) as client:
            client.sendall(asked)
            answer = read(client)  # returns, for the server closes
            assert (status(answer) if answer else None) == code


def test_an_answer_does_not_end_the_time_of_a_body(server: Server) -> None:
    # It was answered before its body came: the rest must not hold the connection.
    asked = b"GET /healthz HTTP/1.1\r\n" + HOST + b"Content-Length: 100\r\n\r\n"
    with connect(server) as client:
        client.sendall(asked)
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        client.sendall(b"a")
        assert read(client).count(b"HTTP/1.1") <= 1


def test_requests_in_any_pieces_are_answered(server: Server) -> None:
    asked = 3 * (GET + b"\r\n") + b"POST /v1/sessions HTTP/1.1\r\n" + HOST
    asked += b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    asked += b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n" + GET + b"Connection: close\r\n\r\n"
    for size in (7, 100, len(asked)):
        with connect(server) as client:
            for begin in range(0, len(asked), size):
                client.sendall(asked[begin : begin + size])
            answers = read(client)
            assert answers.count(b"HTTP/1.1 200 OK") == 4
            assert answers.count(b"HTTP/1.1 201 Created") == 1


def test_a_connection_outlives_the_time_of_headers(server: Server) -> None:
    with connect(server) as client:
        for _ in range(2):
            client.sendall(GET + b"\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                answer += client.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200")
            time.sleep(0.8)  # longer than header_seconds


def test_a_trailer_is_no_header(server: Server) -> None:
    asked = b"POST /v1/sessions HTTP/1.1\r\nConnection: close\r\n"
    asked += b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nHost: localhost\r\n\r\n"
    with connect(server) as client:
        client.sendall(asked)
        assert status(read(client)) == 401


@pytest.mark.parametrize("more", [b"", UPGRADE])
def test_what_an_older_proxy_passes_on_needs_a_token(server: Server, more: bytes) -> None:
    # nginx before 1.29.7, unless told otherwise: HTTP/1.0, the upstream's name, nothing else.
    for path in (b"/v1/sessions", b"/v1/sessions/x/stream"):
        asked = b"GET " + path + b" HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        with connect(server) as client:
            client.sendall(asked + more + b"\r\n")
            answer = read(client)
        if path.endswith(b"stream"):
            assert status(answer) == 404  # only WebSockets are served there
        else:
            assert status(answer) == 401
            assert b"a proxy (HTTP/1.0)" in answer


def test_connections_leave_files_to_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    limits, given = (500, 1000), []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: given.append(new))
    assert _allow_connections(100) == 100
    assert not given
    assert _allow_connections(700) == 700
    assert given == [(900, 1000)]
    assert _allow_connections(5000) == 800
    assert given[1:] == [(1000, 1000)]
    limits = (50, 60)
    assert _allow_connections(5000) == 30


def test_too_many_connections_are_refused(server: Server) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(31)]
        assert status(read(clients[-1])) == 503
        assert read(clients[0]) == b""  # nothing came: its time is up
    assert httpx2.get(f"{server.url}/healthz").status_code == 200


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process")
def test_without_files_left_it_waits_and_goes_on(server: Server) -> None:
    one = process(server)
    before = resource.prlimit(one.pid, resource.RLIMIT_NOFILE)
    n_open = len(os.listdir(f"/proc/{one.pid}/fd"))  # noqa: PTH208
    n_log = server.log.stat().st_size
    try:
        resource.prlimit(one.pid, resource.RLIMIT_NOFILE, (n_open + 3, before[1]))
        with ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(connect(server))
            began = sum(one.cpu_times()[:2])
            time.sleep(1)
            assert sum(one.cpu_times()[:2]) - began < 0.7
    finally:
        resource.prlimit(one.pid, resource.RLIMIT_NOFILE, before)
    assert server.log.stat().st_size - n_log < 10_000


def handshake(server: Server, path: str) -> tuple[socket.socket, bytes]:
    client = connect(server)
    client.sendall(f"GET {path} HTTP/1.1\r\n".encode() + UPGRADE + b"\r\n")
    return client, client.recv(65536)


def test_frames_before_the_answer_to_the_handshake_close(server: Server) -> None:
    ping = b"\x89\x80" + bytes(4)
    with connect(server) as client:
        client.sendall(b"GET /v1/sessions/x/stream HTTP/1.1\r\n" + UPGRADE + b"\r\n" + ping * 9)
        send(client, ping * 1000, most=100_000_000)
        assert b"\x8a" not in read(client)


@pytest.fixture
def session(server: Server) -> str:
    made: dict[str, Any] = httpx2.post(f"{server.url}/v1/sessions", json={}).json()
    return str(made["id"])


def test_pings_whose_answers_nobody_takes_are_not_kept(server: Server, session: str) -> None:
    client, answer = handshake(server, f"/v1/sessions/{session}/stream")
    assert b" 101 " in answer
    ping = b"\x89\xfd" + bytes(4) + bytes(125)
    before = process(server).memory_info().rss
    with client:
        n_sent = send(client, ping * 1000, most=40_000_000)
        assert process(server).memory_info().rss - before < n_sent / 4


def test_fragments_without_end_close(server: Server, session: str) -> None:
    client, answer = handshake(server, f"/v1/sessions/{session}/stream")
    assert b" 101 " in answer
    with client:
        client.sendall(b"\x01\x80" + bytes(4))
        assert send(client, (b"\x00\x80" + bytes(4)) * 1000, most=100_000_000) < 20_000_000


def test_answers_that_nobody_takes_do_not_hold_a_connection(server: Server) -> None:
    before = process(server).memory_info().rss
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", server.port))
        client.settimeout(1)
        with suppress(OSError):
            client.sendall((b"GET /v1/demo HTTP/1.1\r\n" + HOST + b"\r\n") * 20)
        assert process(server).memory_info().rss - before < 20_000_000
        deadline = time.monotonic() + 60
        while n_connections(server) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not n_connections(server)
