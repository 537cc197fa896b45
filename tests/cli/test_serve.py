"""sleepstage serve and sleepstage token, as a user calls them."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

import sleepstage.server
from tests.helpers.command import invoke
from tests.helpers.serving import serving


@pytest.fixture(autouse=True)
def _logs() -> Iterator[None]:
    """Logs are set up for a process of its own: put them back as they were."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "box"])
def test_it_is_not_reachable_from_elsewhere_without_a_token(tmp_path: Path, host: str) -> None:
    result = invoke("serve", "--host", host, "--store", tmp_path)
    assert result.exit_code == 1
    assert f"{host} can be reached from elsewhere" in result.output
    assert f"sleepstage token add <name> --store {tmp_path}" in result.output.replace("\n", " ")
    assert "docker compose run --rm server sleepstage token add <name>" in result.output


def test_with_a_token_it_is_and_logs_in_lines_of_json(tmp_path: Path) -> None:
    made = invoke("token", "add", "ada", "--store", tmp_path / "store")
    ada = {"Authorization": f"Bearer {made.stdout.strip()}"}
    with serving(tmp_path, host="0.0.0.0", log="json") as server:
        assert httpx2.get(f"{server.url}/v1/me").status_code == 401
        assert httpx2.get(f"{server.url}/v1/me", headers=ada).json()["owner"] == "ada"
        assert server.stop() == 0
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert f"the page: http://0.0.0.0:{server.port}" in [line["message"] for line in lines]
    assert {"time", "levelname", "name", "message"} <= lines[0].keys()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "0"], "--port or SLEEPSTAGE_PORT"),
        (["--keep-days", "-1"], "--keep-days or SLEEPSTAGE_KEEP_DAYS"),
        (["--model", "nothing.onnx"], "nothing.onnx: no such model file"),
        (["--model", "night"], "predict each epoch at its end"),
        (["--store", "redis://127.0.0.1:1/0"], "127.0.0.1"),
    ],
)
def test_what_can_t_be_is_said(tmp_path: Path, arguments: list[str], said: str) -> None:
    result = invoke("serve", "--store", tmp_path, *arguments)
    assert result.exit_code == 1
    assert said in result.output


def test_what_is_wrong_in_the_environment_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLEEPSTAGE_MAX_BODY", "much")
    for command in (("serve",), ("token", "list"), ("token", "add", "ada")):
        result = invoke(*command, "--store", tmp_path)
        assert result.exit_code == 1
        assert "SLEEPSTAGE_MAX_BODY: " in result.output
    assert not list(tmp_path.iterdir())


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = invoke("serve", "--store", tmp_path, "--port", str(taken.getsockname()[1]))
    assert result.exit_code == 1
    assert "can't listen there" in result.output
    assert "--port" in result.output


@pytest.mark.parametrize("command", [["serve"], ["token", "list"]])
def test_it_says_which_extra_is_missing(
    monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    # Imported anew, the package would stay in the place of the one that other tests hold.
    monkeypatch.setattr(sleepstage, "server", sleepstage.server)
    for name in [name for name in sys.modules if name.startswith("sleepstage.server")]:
        monkeypatch.delitem(sys.modules, name)
    for missing in ("fastapi", "pydantic_settings"):
        monkeypatch.setitem(sys.modules, missing, None)
    result = invoke(*command)
    assert result.exit_code == 1
    assert "pip install 'sleepstage[serve]'" in result.output


def test_tokens_are_made_listed_and_revoked(tmp_path: Path) -> None:
    store = ("--store", tmp_path)
    assert "0 tokens" in invoke("token", "list", *store).output
    made = invoke("token", "add", "ada", "--days", "90", *store)
    secret = made.stdout.removesuffix("\n")  # and nothing else, so that a script can take it
    assert re.fullmatch(r"[\w-]{43}", secret)
    assert "Authorization: Bearer" in made.stderr
    assert secret not in made.stderr
    another = invoke("token", "add", "ada", *store)
    assert "for good" in another.stderr
    listed = invoke("token", "list", *store).output
    assert "2 tokens" in listed
    assert "until" in listed
    assert secret not in listed
    name = made.stderr.split()[1]
    assert invoke("token", "revoke", name, *store).exit_code == 0
    left = invoke("token", "list", *store).output
    assert "1 tokens" in left
    assert name not in left
    assert another.stderr.split()[1] in left
    again = invoke("token", "revoke", name, *store)
    assert again.exit_code == 1
    assert f"there is no token {name}; see sleepstage token list" in again.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [([""], "owner ''"), (["ada", "--days", "0"], "days=0"), (["ada", "--days", "nan"], "=nan")],
)
def test_a_token_that_makes_no_sense_is_refused(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    result = invoke("token", "add", *arguments, "--store", tmp_path)
    assert result.exit_code == 1
    assert said in result.output
    assert "0 tokens" in invoke("token", "list", "--store", tmp_path).output


def test_without_a_command_the_page_opens_on_a_free_port(tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}.new\nmv {opened}.new {opened}\n')
    browser.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = {"SLEEPSTAGE_PORT": str(port), "SLEEPSTAGE_STORE": str(tmp_path / "store")}
        with (tmp_path / "said").open("w") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "sleepstage"],
                env={**os.environ, **settings, "BROWSER": f"{browser} %s"},
                stdout=said,
                stderr=said,
            )
        try:
            deadline = time.monotonic() + 120
            while not opened.exists() and time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.05)
            page = opened.read_text().strip()
            url, _, secret = page.partition("/#/token/")
            assert f":{port}" not in url
            ada = {"Authorization": f"Bearer {secret}"}
            assert httpx2.get(f"{url}/v1/me", headers=ada, timeout=60).json()["owner"] == "local"
            assert httpx2.get(f"{url}/v1/me", timeout=60).status_code == 401
        finally:
            process.terminate()
        assert process.wait(timeout=60) == 0
    assert page in (tmp_path / "said").read_text()
    # The token was for this time only: the store asks for none.
    assert "0 tokens" in invoke("token", "list", "--store", tmp_path / "store").output


def test_without_a_command_and_what_the_page_needs_it_names_ways_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.modules["sleepstage.cli.serve"], "find_spec", lambda _: None)
    result = invoke()
    assert result.exit_code == 1
    for way in ("uvx --from", "pipx run --spec", "pip install"):
        assert f"{way} 'sleepstage[serve,score]'" in result.output
    assert "Commands:" in invoke("--help").output
