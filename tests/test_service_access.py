"""Who may see and do what: tokens, owners, links, strangers, pages of other sites."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sleepstage.errors import DataError
from sleepstage.service.access import make_grant

from .service import START, Running, running

DAY = 24 * 3600


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path) as one:
        yield one


def calls(one: Running, session: str) -> Iterator[tuple[str, str]]:
    """Every call that is described, so that a new one can't be forgotten; and the metrics."""
    yield "GET", "/metrics"
    for path, methods in one.client.get("/v1/openapi.json").json()["paths"].items():
        for method in methods:
            named = path.replace("{session_id}", session)
            yield method.upper(), re.sub(r"\{\w+\}", "x", named)


def test_on_this_machine_and_without_a_token_none_is_needed(one: Running) -> None:
    assert one.client.get("/v1/me").json() == {"owner": "local", "session": None}
    # A page elsewhere may have given its own name this machine's address.
    answer = one.client.get("/v1/me", headers={"Host": "example.org"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_once_there_is_a_token_it_is_needed(one: Running) -> None:
    ada = one.token("ada")
    assert one.client.get("/v1/me").status_code == 401
    assert one.client.get("/v1/me", headers=ada).json()["owner"] == "ada"


def test_strangers_see_nothing(one: Running) -> None:
    session = one.open(start=START)
    one.token("ada")
    expired = one.token("local", now=time.time() - 2 * DAY, days=1)
    unknown = {"Authorization": "Bearer x" * 20}
    for headers in ({}, expired, unknown, {"Authorization": "Basic eA=="}, {"Authorization": ""}):
        for method, path in calls(one, session):
            answer = one.client.request(method, path, headers=headers)
            assert answer.status_code == 401, (method, path, answer.text)
            assert session not in answer.text


def test_others_sessions_do_not_exist(one: Running) -> None:
    ada, bob = one.token("ada"), one.token("bob")
    session = one.client.post("/v1/sessions", json={"label": "x"}, headers=ada).json()["id"]
    for method, path in calls(one, session):
        if session in path:
            body = {"heart_rate": [[START, 60]]} if method == "PUT" else {}
            answer = one.client.request(method, path, headers=bob, json=body)
            assert answer.status_code == 404, (method, path, answer.text)
    assert one.client.get("/v1/sessions", headers=bob).json() == {"sessions": []}
    another = one.token("ada")
    assert one.client.get(f"/v1/sessions/{session}", headers=another).status_code == 200


def test_a_link_shows_its_session_and_changes_nothing(one: Running) -> None:
    ada = one.token("ada")
    session, other = (
        one.client.post("/v1/sessions", json={}, headers=ada).json()["id"] for _ in range(2)
    )
    made = one.client.post(f"/v1/sessions/{session}/links", json={"days": 2}, headers=ada).json()
    assert made["expires"] == pytest.approx(time.time() + 2 * DAY, abs=60)
    viewer = {"Authorization": f"Bearer {made['secret']}"}
    assert one.client.get("/v1/me", headers=viewer).json()["session"] == session
    listed = one.client.get("/v1/sessions", headers=viewer).json()["sessions"]
    assert [shown["id"] for shown in listed] == [session]
    assert one.client.get(f"/v1/sessions/{session}/hypnogram", headers=viewer).status_code == 200
    assert one.client.get(f"/v1/sessions/{other}/hypnogram", headers=viewer).status_code == 404
    for method, path in calls(one, session):
        if method != "GET" or path.endswith("/links"):
            answer = one.client.request(method, path, headers=viewer, json={})
            assert answer.status_code == 403, (method, path, answer.text)
    links = f"/v1/sessions/{session}/links"
    assert made["secret"] not in one.client.get(links, headers=ada).text
    assert one.client.delete(f"{links}/{made['id']}", headers=ada).status_code == 204
    assert one.client.delete(f"{links}/{made['id']}", headers=ada).status_code == 404
    one.service.access._grants.clear()  # as it is by itself after some seconds
    assert one.client.get("/v1/me", headers=viewer).status_code == 401


def test_a_link_of_one_session_can_t_be_revoked_through_another(one: Running) -> None:
    session, other = one.open(), one.open()
    made = one.client.post(f"/v1/sessions/{session}/links", json={}).json()
    answer = one.client.delete(f"/v1/sessions/{other}/links/{made['id']}")
    assert answer.status_code == 404
    assert one.client.get(f"/v1/sessions/{session}/links").json()["links"]


def test_secrets_are_stored_nowhere(one: Running, tmp_path: Path) -> None:
    secret = one.token("ada")["Authorization"].split()[1].encode()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"ada" in stored
    assert secret not in stored


def test_pages_of_other_sites_may_do_nothing(one: Running) -> None:
    foreign = {"Origin": "https://example.org"}
    for method, path in calls(one, "x"):
        if method != "GET":
            answer = one.client.request(method, path, headers=foreign)
            assert answer.status_code == 403
            assert "another origin" in answer.json()["detail"]
    own = {"Origin": "http://localhost:8000"}
    assert one.client.post("/v1/sessions", json={}, headers=own).status_code == 201


@pytest.mark.parametrize("owner", ["", " ada", "a\nb", "x" * 101])
def test_an_owner_has_a_proper_name(owner: str) -> None:
    with pytest.raises(DataError, match="owner"):
        make_grant(owner)


@pytest.mark.parametrize("days", [0, -1, float("nan"), 1e9])
def test_a_token_is_valid_for_a_sensible_time(days: float) -> None:
    with pytest.raises(DataError, match="days"):
        make_grant("ada", days=days)
