"""Who may see and do what: tokens, owners, links, strangers, pages of other sites."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.routing import Route
from starlette.testclient import WebSocketDenialResponse

from sleepstage.errors import DataError
from sleepstage.server import auth
from sleepstage.server.auth import make_grant
from sleepstage.server.exports import Exports
from sleepstage.server.routes import api
from sleepstage.server.streaming import streams
from tests.helpers.command import invoke
from tests.helpers.service import LOCAL, START, Running, running

DAY = 24 * 3600


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path) as one:
        yield one


OPEN = {"/", "/page", "/healthz", "/readyz", "/v1/openapi.json", "/v1/demo"}
"""What anybody may ask for: there is nothing of anybody in it."""


def calls(one: Running, session: str) -> Iterator[tuple[str, str]]:
    """All other calls, by the routes themselves, so that a new one can't be forgotten."""
    uploads = Exports(one.service.settings).router
    found = {
        (method, route.path)
        for route in (*one.app.routes, *api.routes, *streams.routes, *uploads.routes)
        if isinstance(route, Route) and route.path not in OPEN
        for method in route.methods or ()
    }
    assert {path for _, path in found} >= set(one.app.openapi()["paths"])
    for method, path in sorted(found):
        named = path.replace("{session_id}", session)
        yield method, re.sub(r"\{\w+\}", "x", named)


@pytest.mark.parametrize("host", ["localhost", "localhost:80", "127.0.0.1:8", "[::1]", "[::1]:1"])
def test_on_this_machine_and_without_a_token_none_is_needed(one: Running, host: str) -> None:
    answer = one.client.get("/v1/me", headers={"Host": host})
    assert answer.json() == {"owner": "local", "session": None}


# A page elsewhere may have given its own name this machine's address.
@pytest.mark.parametrize(
    "host", ["", "example.org", "localhost.example.org", "127.0.0.1.example.org:80", "0.0.0.0", "["]
)
def test_by_another_name_one_is_needed(one: Running, host: str) -> None:
    answer = one.client.get("/v1/me", headers={"Host": host})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "sleepstage token add" in answer.json()["detail"]


@pytest.mark.parametrize(
    "name", ["Forwarded", "Via", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Host"]
)
def test_through_a_proxy_one_is_needed(one: Running, name: str) -> None:
    session = one.open()
    proxied = {**LOCAL, name: "203.0.113.7"}
    for method, path in calls(one, session):
        answer = one.client.request(method, path, headers=proxied)
        assert answer.status_code == 401, (method, path, answer.text)
    assert f"a proxy ({name.lower()})" in one.client.get("/v1/me", headers=proxied).text
    assert one.client.get("/", headers=proxied).status_code == 200  # it asks for the token
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        one.client.websocket_connect(f"/v1/sessions/{session}/stream", headers=proxied),
    ):
        pass
    assert refused.value.status_code == 401
    ada = one.token("ada")
    assert one.client.get("/v1/me", headers={**proxied, **ada}).status_code == 200


def test_a_server_that_had_a_token_never_opens_again(tmp_path: Path) -> None:
    made = invoke("token", "add", "ada", "--store", tmp_path)
    name = made.stderr.split()[1]
    assert invoke("token", "revoke", name, "--store", tmp_path).exit_code == 0
    with running(tmp_path) as one:
        assert one.client.get("/v1/me").status_code == 401


def test_a_server_that_can_be_reached_from_elsewhere_always_needs_one(tmp_path: Path) -> None:
    with running(tmp_path, host="0.0.0.0") as one:
        assert one.client.get("/v1/me").status_code == 401


def test_tokens_that_are_made_or_revoked_elsewhere_are_heeded_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert auth._TRUST_SECONDS <= 5
    monkeypatch.setattr(auth, "_TRUST_SECONDS", 0.05)
    with running(tmp_path) as one:
        assert one.client.get("/v1/me").status_code == 200
        made = invoke("token", "add", "ada", "--store", tmp_path)
        ada = {"Authorization": f"Bearer {made.stdout.strip()}"}
        assert one.client.get("/v1/me", headers=ada).json()["owner"] == "ada"
        time.sleep(0.1)
        assert one.client.get("/v1/me").status_code == 401
        invoke("token", "add", "bob", "--store", tmp_path)
        assert invoke("token", "revoke", made.stderr.split()[1], "--store", tmp_path).exit_code == 0
        time.sleep(0.1)
        assert one.client.get("/v1/me", headers=ada).status_code == 401


def test_a_token_works_until_it_expires(one: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = one.token("ada", days=1)
    assert one.client.get("/v1/me", headers=ada).json()["owner"] == "ada"
    monkeypatch.setattr(one.service.access, "_clock", lambda: time.time() + DAY + 1)
    assert one.client.get("/v1/me", headers=ada).status_code == 401


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
        if method != "GET" or path.endswith(("/links", "/metrics")):
            answer = one.client.request(method, path, headers=viewer, json={})
            assert answer.status_code == 403, (method, path, answer.text)
    links = f"/v1/sessions/{session}/links"
    assert made["secret"] not in one.client.get(links, headers=ada).text
    assert one.client.delete(f"{links}/{made['id']}", headers=ada).status_code == 204
    assert one.client.delete(f"{links}/{made['id']}", headers=ada).status_code == 404
    one.service.access._grants.clear()  # as it is by itself after some seconds
    assert one.client.get("/v1/me", headers=viewer).status_code == 401


def test_a_link_does_not_outlive_its_token(one: Running) -> None:
    ada, other = one.token("ada", days=1), one.token("ada")
    session = one.client.post("/v1/sessions", json={}, headers=ada).json()["id"]
    links = f"/v1/sessions/{session}/links"
    made, kept = (
        one.client.post(links, json={"days": 30}, headers=by).json() for by in (ada, other)
    )
    assert made["expires"] == pytest.approx(time.time() + DAY, abs=60)
    assert kept["expires"] == pytest.approx(time.time() + 30 * DAY, abs=60)
    store = one.service.nights.store
    assert one.do(store.remove_grant, one.do(store.grants)[0].id)
    # The token is still trusted for some seconds: no link is made with it any more.
    assert one.client.post(links, json={}, headers=ada).status_code == 401
    listed = one.client.get(links, headers=other).json()["links"]
    assert [link["id"] for link in listed] == [kept["id"]]
    one.service.access._grants.clear()  # as it is by itself after some seconds
    for link, status in ((made, 401), (kept, 200)):
        viewer = {"Authorization": f"Bearer {link['secret']}"}
        assert one.client.get("/v1/me", headers=viewer).status_code == status


def test_a_link_of_one_session_can_t_be_revoked_through_another(one: Running) -> None:
    session, other = one.open(), one.open()
    made = one.client.post(f"/v1/sessions/{session}/links", json={}).json()
    answer = one.client.delete(f"/v1/sessions/{other}/links/{made['id']}")
    assert answer.status_code == 404
    assert one.client.get(f"/v1/sessions/{session}/links").json()["links"]


def test_secrets_are_stored_and_logged_nowhere(
    one: Running, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        ada = one.token("ada")
        session = one.client.post("/v1/sessions", json={}, headers=ada).json()["id"]
        link = one.client.post(f"/v1/sessions/{session}/links", json={}, headers=ada).json()
        viewer = {"Authorization": f"Bearer {link['secret']}"}
        assert one.client.get(f"/v1/sessions/{session}", headers=viewer).status_code == 200
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())  # the WAL among them
    assert b"ada" in stored
    assert session.encode() in stored
    for headers in (ada, viewer):
        secret = headers["Authorization"].split()[1]
        assert secret.encode() not in stored
        assert secret not in "".join(str(vars(record)) for record in caplog.records)


@pytest.mark.parametrize(
    "origin", ["https://example.org", "null", "http://localhost:9000", "http://[", ""]
)
def test_pages_of_other_sites_may_do_nothing(one: Running, origin: str) -> None:
    foreign = {"Origin": origin}
    for method, path in calls(one, "x"):
        if method != "GET":
            answer = one.client.request(method, path, headers=foreign)
            assert answer.status_code == 403
            assert "another origin" in answer.json()["detail"]
    path = f"/v1/sessions/{one.open()}/stream"
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        one.client.websocket_connect(path, headers={**LOCAL, **foreign}),
    ):
        pass
    assert refused.value.status_code == 403
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
