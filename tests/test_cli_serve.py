"""sleepstage serve and sleepstage token, as a user calls them."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from .command import invoke


def test_it_is_not_reachable_from_elsewhere_without_a_token(tmp_path: Path) -> None:
    result = invoke("serve", "--host", "0.0.0.0", "--store", tmp_path)
    assert result.exit_code == 1
    assert "sleepstage token add" in result.output
    assert str(tmp_path) in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "0"], "--port or SLEEPSTAGE_PORT"),
        (["--keep-days", "-1"], "--keep-days"),
        (["--model", "nothing.onnx"], "nothing.onnx: no such model file"),
        (["--model", "night"], "tell each epoch at its end"),
        (["--store", "redis://127.0.0.1:1/0"], "127.0.0.1"),
    ],
)
def test_what_can_t_be_is_said(tmp_path: Path, arguments: list[str], said: str) -> None:
    result = invoke("serve", "--store", tmp_path, *arguments)
    assert result.exit_code == 1
    assert said in result.output


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = invoke("serve", "--store", tmp_path, "--port", str(taken.getsockname()[1]))
    assert result.exit_code == 1
    assert "can't listen there" in result.output


@pytest.mark.parametrize("command", [["serve"], ["token", "list"]])
def test_it_says_which_extra_is_missing(
    monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("sleepstage.service")]:
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
    secret = made.stdout.strip()
    assert len(secret) == 43
    assert "Authorization: Bearer" in made.stderr
    listed = invoke("token", "list", *store).output
    assert "ada" in listed
    assert "until" in listed
    assert secret not in listed
    name = made.stderr.split()[1]
    assert invoke("token", "revoke", name, *store).exit_code == 0
    again = invoke("token", "revoke", name, *store)
    assert again.exit_code == 1
    assert "there is no token" in again.output
    assert invoke("token", "add", "", *store).exit_code == 1
