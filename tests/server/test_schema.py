"""Whatever comes, the service does not fail: by its own description, and by bodies gone wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.helpers.service import START, Running, running

pytestmark = pytest.mark.slow

LIMITS = {"messages_per_second": 100_000}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("store"), **LIMITS) as one:
        yield one


CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


def described(one: Running) -> Any:
    description = one.client.get("/v1/openapi.json").json()
    # A stream of events has no end while its night has none; it has tests of its own.
    return schemathesis.openapi.from_dict(description).exclude(path_regex="/events$")


def test_nothing_that_its_description_allows_makes_it_fail(one: Running) -> None:
    session = one.open(start=START)
    n_cases = 0

    @settings(
        max_examples=50,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def ask(data: Any, operation: Any, known: bool) -> None:
        nonlocal n_cases
        case: Case[Any] = data.draw(operation.as_strategy())
        if known and "session_id" in case.path_parameters:
            case.path_parameters["session_id"] = session
        arguments = case.as_transport_kwargs(base_url="http://localhost:8000")
        arguments.pop("cookies", None)
        if isinstance(arguments.get("data"), bytes | str):
            arguments["content"] = arguments.pop("data")
        answer = one.client.request(**arguments)
        n_cases += 1
        case.validate_response(answer, checks=CHECKS)

    for result in described(one).get_all_operations():
        operation = result.ok()
        for known in (False, True):
            if known and operation.method == "delete":
                continue  # the others need it
            ask(operation=operation, known=known)
    assert n_cases > 750


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4)
    ),
    max_leaves=12,
)
REST = {
    f"{part}{axis}": -1.0 if (part, axis) == ("gravity", "Z") else 0.0
    for part in ("gravity", "acceleration")
    for axis in "XYZ"
}
FIELDS = ("bpm", "steps", *REST)
READING = st.fixed_dictionaries(
    {"name": st.sampled_from(["heart rate", "wristMotion", "Pedometer", "location"]) | JSON},
    optional={
        "time": st.integers(0, 2**70) | JSON,
        "values": st.dictionaries(st.sampled_from(FIELDS), st.floats() | JSON) | JSON,
        "bpm": JSON,
    },
)
PUSH = st.fixed_dictionaries(
    {},
    optional={
        "messageId": st.integers() | JSON,
        "sessionId": st.text(max_size=300) | JSON,
        "deviceId": st.text(max_size=300) | JSON,
        "payload": st.lists(READING | JSON, max_size=5) | JSON,
    },
)


def reading(name: str, **values: float) -> dict[str, Any]:
    return {"name": name, "time": str(int(START * 1e9)), "accuracy": -1, "values": values}


TRUE = json.dumps(
    {
        "messageId": 7,
        "sessionId": "6a7a5b1e-night",
        "deviceId": "b6a1-phone",
        "payload": [
            reading("heart rate", bpm=61),
            reading("wrist motion", **REST),
            reading("pedometer", steps=12, distance=8.5),
        ],
    }
).encode()
SPOILT = st.lists(
    st.tuples(st.integers(0, len(TRUE)), st.integers(0, 12), st.binary(max_size=6) | st.just(b"9")),
    max_size=4,
)


def spoil(changes: list[tuple[int, int, bytes]]) -> bytes:
    """The body of a true push, with some of its bytes replaced."""
    body = TRUE
    for begin, length, new in changes:
        body = body[:begin] + new + body[begin + length :]
    return body


@settings(
    max_examples=400, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(
    body=SPOILT.map(spoil)
    | PUSH.map(json.dumps).map(str.encode)
    | JSON.map(json.dumps).map(str.encode)
    | st.binary()
)
def test_no_push_of_sensor_logger_makes_it_fail(one: Running, body: bytes) -> None:
    answer = one.client.post("/v1/sensor-logger", content=body)
    assert answer.status_code in {200, 409, 422}, answer.text
    if (said := answer.json()).get("session"):
        assert one.hypnogram(said["session"])


def test_a_push_that_is_not_spoilt_is_stored(one: Running) -> None:
    said = one.client.post("/v1/sensor-logger", content=TRUE.replace(b"night", b"other")).json()
    assert (said["stored"], said["ignored"]) == (3, 0)


TIME = st.floats(START - 1e5, START + 1e5) | st.floats(allow_nan=False, allow_infinity=False)
VALUE = st.floats(-10, 300) | st.floats(allow_nan=False, allow_infinity=False)


def table(*widths: int) -> st.SearchStrategy[list[list[float]]]:
    rows = [st.tuples(TIME, *[VALUE] * width).map(list) for width in widths]
    return st.one_of([st.lists(row, max_size=5) for row in rows])


SAMPLES = st.fixed_dictionaries(
    {}, optional={"heart_rate": table(1), "motion": table(3, 4), "steps": table(1)}
)


@settings(max_examples=60, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(start=st.none() | TIME, messages=st.lists(SAMPLES, min_size=1, max_size=5))
def test_no_samples_make_it_fail_and_every_night_can_be_closed(
    one: Running, start: float | None, messages: list[dict[str, Any]]
) -> None:
    opened = one.client.post("/v1/sessions", json={"start": start, "lateness": 0})
    assert opened.status_code in {201, 422}
    if opened.status_code == 422:
        return
    session = opened.json()["id"]
    for number, signals in enumerate(messages):
        answer = one.push(session, number, **signals)
        assert answer.status_code in {201, 409, 422}, answer.text
        assert one.hypnogram(session)
    closed = one.client.post(f"/v1/sessions/{session}/close").json()
    assert closed["session"]["closed"]
    assert len(closed["epochs"]) == len(closed["night"]["epochs"]) <= 2880


def test_the_description_is_whole(one: Running, tmp_path: Path) -> None:
    paths = one.client.get("/v1/openapi.json").json()["paths"]
    assert "/v1/sessions/{session_id}/messages/{message_id}" in paths
    for methods in paths.values():
        for described_call in methods.values():
            assert described_call["summary"]
            assert described_call["description"]
