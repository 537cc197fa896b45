"""sleepstage serve and sleepstage token, as a user calls them."""

from __future__ import annotations

import json
import logging
import re
import socket
import sys
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
