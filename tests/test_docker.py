"""The images, by what builds and runs them: there is no Docker where tests run."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from packaging.requirements import Requirement

from sleepstage.service.settings import PREFIX, Settings

from .docker_rehearsal import ROOT, Image, Rehearsal, build_context, read_dockerfile

STAGES = read_dockerfile((ROOT / "Dockerfile").read_text())
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
PINNED = re.compile(r"[a-z]+:\d+\.\d+\.\d+(-[a-z]+)*")


def pinned(image: str) -> list[str]:
    """What an image installs, as name==version."""
    return (ROOT / "deploy" / f"{image}.txt").read_text().splitlines()[1:]


def instructions(stage: str, word: str) -> list[str]:
    return [rest for one, rest in STAGES[stage].instructions if one == word]


# What is written


def test_images_are_pinned_to_a_patch_version() -> None:
    for stage in STAGES.values():
        assert stage.base in STAGES or PINNED.fullmatch(stage.base), stage.base
    assert PINNED.fullmatch(SERVICES["redis"]["image"])


@pytest.mark.parametrize("name", ["serve", "train"])
def test_the_package_allows_what_is_pinned(name: str) -> None:
    pins = dict(line.split("==") for line in pinned(name))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for text in project["dependencies"] + project["optional-dependencies"][name]:
        requirement = Requirement(text)
        if requirement.name != "sleepstage":
            assert pins[requirement.name] in requirement.specifier


@pytest.mark.parametrize("name", ["serve", "train"])
def test_images_run_as_nobody_in_particular(name: str) -> None:
    (user,) = instructions(name, "USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)
    assert not instructions(name, "ADD")


def test_the_default_image_serves() -> None:
    assert list(STAGES)[-1] == "serve"
    assert instructions("serve", "STOPSIGNAL") == ["SIGTERM"]
    assert instructions("serve", "HEALTHCHECK")
    (environment,) = instructions("serve", "ENV")
    assert f"SLEEPSTAGE_PORT={instructions('serve', 'EXPOSE')[0]}" in environment.split()


def test_data_and_history_stay_out_of_the_build() -> None:
    context = build_context()
    assert {path.split("/")[0] for path in context} == {
        *("LICENSE", "README.md", "pyproject.toml", "deploy", "src")
    }
    assert not [path for path in context if "__pycache__" in path or path.endswith(".pyc")]
    assert "src/sleepstage/models/live.onnx" in context


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_services_may_write_nowhere_but_in_their_volume(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    for volume in service.get("volumes", []):
        assert volume.split(":")[0] in COMPOSE["volumes"]


def test_only_the_server_is_published_and_to_this_machine() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"server"}
    (port,) = SERVICES["server"]["ports"]
    assert re.sub(r"\$\{\w+:-(.*?)\}", r"\1", port) == "127.0.0.1:8000:8000"
    assert COMPOSE["networks"]["store"]["internal"] is True
    assert SERVICES["redis"]["networks"] == ["store"]


def test_redis_writes_to_disk_before_it_answers() -> None:
    command = SERVICES["redis"]["command"]
    said = dict(zip(command[1::2], command[2::2], strict=True))
    assert said["--appendonly"] == "yes"
    assert said["--appendfsync"] == "always"
    assert SERVICES["server"]["depends_on"] == {"redis": {"condition": "service_healthy"}}


def test_every_setting_that_is_set_exists() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    named = {pair.split("=")[0] for pair in " ".join(instructions("serve", "ENV")).split()}
    assert named <= known
    assert set(SERVICES["server"]["environment"]) <= known


def test_the_document_shows_commands_that_exist() -> None:
    document = (ROOT / "docs" / "docker.md").read_text()
    named = set(
        re.findall(r"docker compose (?:run --rm|exec|logs|restart) (?:-T )?(\w+)", document)
    )
    assert named <= set(SERVICES)
    assert set(re.findall(r"--target (\w+)", document)) == {"serve", "train"}


# What it does


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
    assert set(pinned("serve")) <= installed
    more = {one.partition("==")[0] for one in installed - set(pinned("serve"))}
    assert more <= {"async-timeout"}  # which the client of Redis needs before Python 3.11.3
    assert not [one for one in installed if one.startswith(("torch", "scipy", "pandas"))]


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
    assert "sleepstage token add" in said


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
