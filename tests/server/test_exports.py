"""Exports that people upload: stored whole or not at all, staged apart, shown to their owner."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import httpx2
import psutil
import pytest

from sleepstage.server import exports
from sleepstage.server.exports import Export
from tests.helpers.apple_export import beats, moment, sleep, write_zip
from tests.helpers.service import Running, running
from tests.helpers.serving import Server, serving

BED = moment("2024-03-12 23:00:00 +0100")
MEGABYTE = b"x" * 2**20
# Instead of the command: a night is there, and another one takes for ever.
ENDLESS = (
    exports._SCORE.partition("from sleepstage.cli")[0]
    + """
import pathlib, time
night = pathlib.Path("nights/n1")
night.mkdir(parents=True)
(night / "summary.json").write_text("{}")
pathlib.Path("process").write_text(str(os.getpid()))
time.sleep(600)
"""
)


def patient(found: Callable[[], Any], seconds: float = 240.0) -> Any:
    """Wait until something is found, and give it."""
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return result


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of all exports."""
    return tmp_path / "store" / "exports"


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(exports, "_SCORE", ENDLESS)
    with running(tmp_path / "store", max_body=1024, max_upload=5000) as one:
        yield one


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    prepare = f"from sleepstage.server import exports\nexports._SCORE = {ENDLESS!r}"
    with serving(
        tmp_path_factory.mktemp("exports"), prepare=prepare, slow_seconds="3", workers="0"
    ) as server:
        yield server


def upload(one: Running, name: str = "export.zip", content: Any = b"x" * 4000, **given: Any) -> Any:
    return one.client.post("/v1/exports", params={"name": name}, content=content, **given)


def staging(one: Running, folder: Path) -> tuple[str, psutil.Process]:
    """An export that is being staged, and the process that does."""
    key: str = upload(one).json()["id"]
    process = folder / key / "process"
    patient(lambda: process.exists() and process.read_text())
    return key, psutil.Process(int(process.read_text()))


def finished(folder: Path, **given: Any) -> Export:
    """An export with a night, as an earlier run of the server has left it."""
    fields = {"id": "e1", "owner": "local", "name": "x.zip", "created": time.time()}
    export = Export(**{**fields, "state": "done", **given})
    night = folder / export.id / "nights" / "n1"
    night.mkdir(parents=True)
    (night / "summary.json").write_text('{"night": "n1"}')
    (folder / export.id / "export.json").write_text(export.model_dump_json())
    return export


# Uploads


@pytest.mark.parametrize("whole", [True, False])
def test_an_upload_that_is_too_large_is_refused_and_not_kept(
    one: Running, folder: Path, whole: bool
) -> None:
    content = b"x" * 6000 if whole else iter([b"x" * 3000] * 2)
    refused = upload(one, content=content)
    assert refused.status_code == 413
    assert "5000 bytes" in refused.json()["detail"]
    assert not folder.exists() or not list(folder.iterdir())


def test_a_full_disk_refuses_it_and_keeps_nothing(
    one: Running, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**30 + 3999))
        answers = [upload(one)]
    with monkeypatch.context() as full:
        full.setattr(exports, "write_json", refuse)
        answers.append(upload(one))
    for answer in answers:
        assert answer.status_code == 507
        assert "make room" in answer.json()["detail"]
    assert not list(folder.iterdir())
    assert upload(one).status_code == 201


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../a/export.zip", "export.zip"),
        ("..", "_"),
        ("C:\\x\\-é.zip", "C__x_-é.zip"),
        ("n" * 300 + ".zip", "n" * 56 + ".zip"),
        ("a\x00\n.zip", "a__.zip"),
        ("/", "_"),
    ],
)
def test_a_name_leads_nowhere(one: Running, folder: Path, name: str, kept: str) -> None:
    export = upload(one, name).json()
    assert export["name"] == kept
    assert (folder / export["id"] / "upload" / kept).read_bytes() == b"x" * 4000


def test_one_person_may_have_so_many(one: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "_MOST", 1)
    key = upload(one).json()["id"]
    refused = upload(one)
    assert refused.status_code == 409
    assert "delete one" in refused.json()["detail"]
    assert one.client.delete(f"/v1/exports/{key}").status_code == 204
    assert upload(one).status_code == 201


def in_memory(server: Server) -> int:
    (found,) = [one for one in psutil.net_connections() if is_listening(one, server.port)]
    resident: int = psutil.Process(found.pid).memory_info().rss
    return resident


def is_listening(connection: Any, port: int) -> bool:
    return bool(connection.status == psutil.CONN_LISTEN and connection.laddr.port == port)


def test_an_upload_takes_disk_and_no_memory(server: Server) -> None:
    before, seen = in_memory(server), []

    def pieces() -> Iterator[bytes]:
        for number in range(300):
            yield MEGABYTE
            if number % 10 == 0:
                seen.append(in_memory(server))

    url = f"{server.url}/v1/exports?name=export.zip"
    export = httpx2.post(url, content=pieces(), timeout=300).json()
    assert len(seen) == 30
    assert max(seen) - before < 60 * 2**20
    (kept,) = (server.log.parent / "store/exports" / export["id"] / "upload").iterdir()
    assert kept.stat().st_size == 300 * 2**20
    assert httpx2.delete(f"{server.url}/v1/exports/{export['id']}", timeout=60).status_code == 204
    assert not kept.exists()


def begin(server: Server, length: int, body: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    head = f"POST /v1/exports?name=x.zip HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}"
    connection.sendall(head.encode() + b"\r\nConnection: close\r\n\r\n" + body)
    return connection


def test_an_upload_that_ends_early_or_stands_still_leaves_nothing(server: Server) -> None:
    folder = server.log.parent / "store" / "exports"
    with begin(server, 5000, b"x" * 4000):
        patient(lambda: list(folder.glob(".sleepstage-*/new/upload/x.zip")))
    patient(lambda: not list(folder.iterdir()))
    with begin(server, 5000, b"x" * 4000) as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 408")
    patient(lambda: not list(folder.iterdir()))


def test_an_upload_may_take_longer_than_another_body(server: Server) -> None:
    with begin(server, 6, b"x") as connection:
        for _ in range(5):
            time.sleep(1)
            connection.sendall(b"x")
        answer = b"".join(iter(lambda: connection.recv(10_000), b""))
    assert answer.startswith(b"HTTP/1.1 201")
    key = json.loads(answer.partition(b"\r\n\r\n")[2])["id"]
    assert httpx2.delete(f"{server.url}/v1/exports/{key}", timeout=60).status_code == 204


# Staging


def test_one_is_staged_at_a_time_and_can_be_cancelled(one: Running, folder: Path) -> None:
    key, process = staging(one, folder)
    other = upload(one, "other.zip").json()["id"]
    states = {found["id"]: found["state"] for found in one.client.get("/v1/exports").json()}
    assert states == {key: "staging", other: "waiting"}
    assert one.client.get(f"/v1/exports/{key}").json()["nights"] == ["n1"]
    for path, gone in ((f"/{other}", other), ("", key)):
        assert one.client.delete(f"/v1/exports{path}").status_code == 204
        assert one.client.get(f"/v1/exports/{gone}").status_code == 404
    assert not list(folder.iterdir())
    assert not psutil.wait_procs([process], timeout=30)[1]


def test_a_server_that_stops_ends_it_and_says_so_later(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "_SCORE", ENDLESS)
    with running(tmp_path / "store") as one:
        key, process = staging(one, folder)
    assert not psutil.wait_procs([process], timeout=30)[1]
    with running(tmp_path / "store") as one:
        export = one.client.get(f"/v1/exports/{key}").json()
        assert (export["state"], export["nights"]) == ("failed", ["n1"])
        assert "delete it, and try again" in export["messages"][-1]
        assert one.client.delete(f"/v1/exports/{key}").status_code == 204
    assert not list(folder.iterdir())


def test_a_server_that_is_killed_takes_it_along(server: Server) -> None:
    url = f"{server.url}/v1/exports"
    key = httpx2.post(f"{url}?name=x.zip", content=b"x", timeout=60).json()["id"]
    process = server.log.parent / "store/exports" / key / "process"
    number = int(patient(lambda: process.exists() and process.read_text()))
    server.restart()
    assert not psutil.pid_exists(number) or not psutil.wait_procs([psutil.Process(number)], 30)[1]
    assert httpx2.get(f"{url}/{key}").json()["state"] == "failed"
    assert httpx2.delete(f"{url}/{key}").status_code == 204


def test_an_export_is_staged_and_a_picture_is_not(tmp_path: Path, folder: Path) -> None:
    night = beats(BED, BED + 8 * 3600) + sleep(BED, BED + 8 * 3600, "InBed")
    export = write_zip(tmp_path / "export.zip", night).read_bytes()
    with running(tmp_path / "store") as one:
        keys = [
            upload(one, name, content).json()["id"]
            for name, content in (("export.zip", export), ("picture.png", b"\x89PNG\r\n\x1a\n"))
        ]

        def ended() -> list[Any] | None:
            found = [one.client.get(f"/v1/exports/{key}").json() for key in keys]
            return found if all(each["state"] in {"done", "failed"} for each in found) else None

        done, failed = patient(ended, seconds=600)
        assert (done["state"], failed["state"]) == ("done", "failed")
        assert failed["messages"][-1] == "no night could be staged"
        assert "picture.png: nothing that can be staged; expected one of" in failed["messages"][0]
        (name,) = done["nights"]
        files = f"/v1/exports/{done['id']}/files"
        assert one.client.get(f"{files}/{name}/summary.json").json()["statistics"]["minutes"]
        picture = one.client.get(f"{files}/{name}/night.png")
        assert picture.headers["content-type"] == "image/png"
        page = one.client.get(f"{files}/index.html")
    policy = page.headers["content-security-policy"]
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'" in policy
    assert str(folder) not in page.text
    assert not list(folder.glob("*/upload"))  # the server does not keep what it was given


# Who sees what


@pytest.mark.parametrize(
    "path",
    [
        *("", "n1", "none", "../export.json", "..%2Fexport.json", "%2E%2E/export.json"),
        *("link", "linked/x", "/etc/passwd", "//etc/passwd", "n1%00", "n" * 5000),
    ],
)
def test_nothing_but_results_is_shown(
    one: Running, folder: Path, tmp_path: Path, path: str
) -> None:
    export = finished(folder)
    (tmp_path / "x").write_text("secret")
    (folder / export.id / "nights/link").symlink_to(tmp_path / "x")
    (folder / export.id / "nights/linked").symlink_to(tmp_path)
    files = f"/v1/exports/{export.id}/files"
    assert one.client.get(f"{files}/n1/summary.json").json() == {"night": "n1"}
    assert one.client.get(f"{files}/{path}").status_code == 404


def test_an_export_is_its_owners(one: Running, folder: Path) -> None:
    ada, bob = one.token("ada"), one.token("bob")
    session = one.client.post("/v1/sessions", json={}, headers=ada).json()["id"]
    link = one.token("ada", session=session)
    export = finished(folder, owner="ada")
    for path in ("", "/files/n1/summary.json"):
        address = f"/v1/exports/{export.id}{path}"
        answers = [one.client.get(address, headers=who) for who in (ada, bob, link, {})]
        assert [answer.status_code for answer in answers] == [200, 404, 403, 401]
    assert one.client.get("/v1/exports", headers=bob).json() == []
    assert one.client.delete(f"/v1/exports/{export.id}", headers=bob).status_code == 404
    assert one.client.delete("/v1/exports", headers=bob).status_code == 204
    assert one.client.get("/v1/exports", headers=ada).json()[0]["id"] == export.id


def test_a_browser_that_follows_a_link_sends_the_token_as_a_cookie(
    one: Running, folder: Path
) -> None:
    cookie = one.token("ada")["Authorization"].replace("Bearer ", "sleepstage-token=")
    address = f"/v1/exports/{finished(folder, owner='ada').id}"
    for headers, status in (({"Cookie": cookie}, 200), ({"Cookie": cookie + "x"}, 401)):
        answer = one.client.get(f"{address}/files/n1/summary.json", headers=headers)
        assert answer.status_code == status
    assert one.client.delete(address, headers={"Cookie": cookie}).status_code == 401


def test_exports_are_kept_as_long_as_nights(tmp_path: Path, folder: Path) -> None:
    day = 24 * 3600
    for key, age in (("new", 1.9), ("old", 2.1)):
        finished(folder, id=key, created=time.time() - age * day)
    (folder / f".sleepstage-00000000-{os.getpid()}-00000000" / "new").mkdir(parents=True)
    os.utime(folder / f".sleepstage-00000000-{os.getpid()}-00000000", (0, 0))
    with running(tmp_path / "store", keep_days=2.0):
        patient(lambda: [one.name for one in folder.iterdir()] == ["new"])
