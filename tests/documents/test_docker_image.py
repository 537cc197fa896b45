"""The serving image, built and run by its own commands: there is no Docker where tests run."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.documents.test_docker import SERVICE_OF, SERVICES, pinned
from tests.helpers.docker_rehearsal import Image, Rehearsal

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The serving image, built by the very commands of the Dockerfile."""
    if os.getuid() == 0 and not shutil.which("setpriv"):
        lacking("no setpriv: install util-linux")
    rehearsal = Rehearsal()
    try:
        yield rehearsal.build("serve")
    except RuntimeError as error:
        if "Could not find a version" in str(error):
            lacking(f"no network: {error}")
        raise
    finally:
        rehearsal.close()


def lacking(what: str) -> None:
    # What continuous integration skips, nobody tests.
    (pytest.fail if os.environ.get("CI") else pytest.skip)(what)


def output(image: Image, *command: str, **environment: str) -> str:
    process = image.run(command, environment)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    return said


def tree(image: Image) -> set[str]:
    """All files but those in the volume."""
    paths = (path.relative_to(image.root) for path in image.root.rglob("*"))
    return {str(path) for path in paths if path.parts[0] != "data"}


def free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def ask(port: str, path: str, secret: str = "") -> tuple[int, Any]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    if secret:
        request.add_header("Authorization", f"Bearer {secret}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, None


@contextmanager
def serving(image: Image, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run the image's command until its health check passes; then stop it as Docker would."""
    process = image.run(image.words("CMD"), environment)
    try:
        wait_until(lambda: healthy(image, environment), process)
        yield process
        process.send_signal(getattr(signal, image.settings["STOPSIGNAL"]))
        said, _ = process.communicate(timeout=30)  # the time that compose gives
        assert process.returncode == 0
        assert "Traceback" not in said
    finally:
        process.kill()
        process.communicate()


def healthy(image: Image, environment: Mapping[str, str]) -> bool:
    check = image.run(image.words("HEALTHCHECK"), environment)
    check.communicate(timeout=10)
    return check.returncode == 0


def wait_until(done: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 30
    while not done():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            pytest.fail(f"not healthy; it said: {process.communicate()[0]}")
        time.sleep(0.2)


@pytest.fixture
def in_a_folder(image: Image) -> Iterator[dict[str, str]]:
    """Environment of a server that stores in its volume, which is empty."""
    volume = Path(image.moved("/data"))
    yield {"SLEEPSTAGE_PORT": free_port()}
    for path in volume.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_the_serving_image_has_what_is_pinned_and_no_more(image: Image) -> None:
    said = output(
        image,
        *("python", "-c"),
        "from importlib.metadata import distributions as all;"
        "print(*(f'{one.name}=={one.version}' for one in all()))",
    )
    installed = {one.lower().replace("_", "-") for one in said.split()}
    installed = {one for one in installed if not one.startswith("sleepstage==")}
    wanted = {f"{name}=={version}" for name, version in pinned("serve").items()}
    assert wanted <= installed
    more = {one.partition("==")[0] for one in installed - wanted}
    assert more <= {"async-timeout"}  # which the client of Redis needs before Python 3.11.3
    assert not [one for one in installed if one.startswith(("torch", "scipy", "pandas"))]


def test_the_serving_image_has_no_bytecode_and_owns_its_folder(image: Image) -> None:
    assert not [path for path in tree(image) if path.endswith((".pyc", "__pycache__"))]
    if os.getuid() == 0:  # only then the rehearsal can give files away
        assert str(Path(image.moved("/data")).stat().st_uid) == image.settings["USER"].split(":")[0]


class _Answers(http.server.BaseHTTPRequestHandler):
    """A server that answers /readyz, and nothing else, with a status."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("status", "passes"), [(200, True), (204, False), (503, False)])
def test_the_health_check_takes_200_alone_and_no_proxy(
    image: Image, status: int, passes: bool
) -> None:
    handler = type("Answers", (_Answers,), {"status": status})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        nobody = f"http://127.0.0.1:{free_port()}"
        proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), nobody)
        environment = {"SLEEPSTAGE_PORT": str(server.server_port), **proxies}
        assert healthy(image, environment) is passes
        server.shutdown()


def test_the_health_check_fails_where_nobody_listens(image: Image) -> None:
    assert not healthy(image, {"SLEEPSTAGE_PORT": free_port()})


def test_the_image_alone_serves_from_its_volume(image: Image, in_a_folder: dict[str, str]) -> None:
    before = tree(image)
    secret = output(image, "sleepstage", "token", "add", "me", **in_a_folder).split()[-1]
    with serving(image, in_a_folder) as process:
        port = in_a_folder["SLEEPSTAGE_PORT"]
        assert ask(port, "/v1/me")[0] == 401
        assert ask(port, "/v1/me", secret) == (200, {"owner": "me", "session": None})
        status = Path(f"/proc/{process.pid}/status").read_text()
    assert tree(image) == before
    if os.getuid() == 0:  # only then the rehearsal can be another
        user = image.settings["USER"].split(":")[0]
        assert re.search(rf"^Uid:\t{user}\t{user}\t{user}\t{user}$", status, re.MULTILINE)
        assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)


def test_without_a_token_the_image_lets_nobody_in(
    image: Image, in_a_folder: dict[str, str]
) -> None:
    process = image.run(image.words("CMD"), in_a_folder)
    said, _ = process.communicate(timeout=30)
    assert process.returncode not in (0, None)
    assert f"docker compose run --rm {SERVICE_OF['serve']} sleepstage token add <name>" in said
    (command,) = re.findall(r"sleepstage token add <name> --store \S+", said)
    output(image, *command.replace("<name>", "me").split())
    with serving(image, in_a_folder):
        pass


def test_without_a_volume_on_a_read_only_root_it_says_what_can_not_be_written(
    image: Image,
) -> None:
    folder = Path(image.moved("/data"))
    folder.chmod(0o555)
    try:
        process = image.run(image.words("CMD"))
        said, _ = process.communicate(timeout=30)
    finally:
        folder.chmod(0o755)
    assert process.returncode not in (0, None)
    assert f"{folder}/sessions.sqlite" in said
    assert "Traceback" not in said


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A Redis that was started by the command of compose.yaml, and its port."""
    service = SERVICES["redis"]
    if not shutil.which("redis-server"):
        lacking("no redis-server: apt install redis-server")
    port = free_port()
    here = ["--port", port, "--bind", "127.0.0.1", "--dir", str(tmp_path)]
    process = subprocess.Popen(
        [*service["command"], *here], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    _, program, *check = service["healthcheck"]["test"]
    command = [program, "-e", "-p", port, *check]
    try:
        wait_until(lambda: not subprocess.run(command, capture_output=True).returncode, process)
        yield port, process
    finally:
        process.kill()
        process.communicate()


def with_redis(port: str) -> dict[str, str]:
    """Environment of the server in compose.yaml."""
    said: dict[str, str] = SERVICES["server"]["environment"]
    assert "//redis:6379/" in said["SLEEPSTAGE_STORE"]
    store = said["SLEEPSTAGE_STORE"].replace("redis:6379", f"127.0.0.1:{port}")
    return {**said, "SLEEPSTAGE_STORE": store, "SLEEPSTAGE_PORT": free_port()}


def test_compose_serves_from_redis(image: Image, redis: tuple[str, subprocess.Popen[str]]) -> None:
    environment = with_redis(redis[0])
    before = tree(image)
    secret = output(image, "sleepstage", "token", "add", "me", **environment).split()[-1]
    with serving(image, environment):
        assert ask(environment["SLEEPSTAGE_PORT"], "/v1/me", secret)[0] == 200
        redis[1].kill()
        assert not healthy(image, environment)
    assert tree(image) == before
    assert not list(Path(image.moved("/data")).iterdir())
