"""What a session takes in: messages in part, too late, too large, packed, and of wrong clocks."""

from __future__ import annotations

import gzip
import json
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

import sleepstage
from sleepstage.errors import DataError
from sleepstage.server import message, middleware
from sleepstage.server.admission import admit
from sleepstage.server.message import Message
from sleepstage.server.problems import OverError
from sleepstage.server.records import SessionRecord
from sleepstage.server.routes import BINARY
from tests.helpers.service import LOCAL, START, Running, rows, running, simulated

HOUR = 3600.0
GOOD = [[START + t, 60.0] for t in range(60)]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("store")) as one:
        yield one


def beats(first: float, count: int = 60, *, bpm: float = 60.0) -> list[list[float]]:
    return [[first + t, bpm] for t in range(count)]


def warned(answer: Any) -> dict[str, int]:
    return {one["kind"]: one["count"] for one in answer.json()["warnings"]}


def answered(socket: Any) -> dict[str, Any]:
    """What a socket says of a message, not of the session and its epochs."""
    while "id" not in (said := socket.receive_json()):
        pass
    given: dict[str, Any] = said
    return given


def shown(one: Running, session: str) -> dict[str, int]:
    return warned(one.client.get(f"/v1/sessions/{session}"))


def counted(one: Running) -> dict[str, float]:
    families = text_string_to_metric_families(one.client.get("/metrics").text)
    return {
        sample.labels["kind"]: sample.value
        for family in families
        if family.name == "sleepstage_warnings"
        for sample in family.samples
        if sample.name.endswith("_total")
    }


# Samples that can't count


def test_late_samples_are_warned_of_everywhere(one: Running) -> None:
    session = one.open(start=START)
    one.push(session, 0, heart_rate=[[START + 5 * t, 60] for t in range(720)])
    assert one.hypnogram(session)["session"]["n_epochs"] == 119
    before = counted(one).get("late", 0)
    late = [[START + 5 * t, 61] for t in range(719)]
    answer = one.push(session, 1, heart_rate=late)
    assert answer.status_code == 201
    assert warned(answer) == {"late": 718}
    detail = answer.json()["warnings"][0]["detail"]
    assert "718 samples came too late" in detail
    assert "longer lateness" in detail
    assert f"before {START + 3590:.10g} s" in detail
    assert shown(one, session) == {"late": 718}
    assert counted(one)["late"] == before + 718
    again = one.push(session, 1, heart_rate=late)
    assert again.json() == {"repeated": True, "warnings": []}
    assert shown(one, session) == {"late": 718}
    everything = one.push(session, 2, heart_rate=late[:100])
    assert warned(everything) == {"late": 100, "unusable": 100}
    closed = one.client.post(f"/v1/sessions/{session}/close").json()["session"]
    assert closed["intake"]["late"] == 718  # copies are counted once
    assert [(one["kind"], one["count"]) for one in closed["warnings"]] == [
        ("late", 818),
        ("unusable", 100),
    ]


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (0.0, "stale"),
        (-5e10, "stale"),
        (START - 10 * 24 * HOUR, "stale"),
        (START + 25 * HOUR, "after_end"),
        (9e9, "ahead"),
    ],
)
@pytest.mark.parametrize("start", [None, START])
def test_one_bad_sample_does_not_keep_the_good_ones_out(
    one: Running, bad: float, kind: str, start: float | None
) -> None:
    session = one.open(start=start)
    if kind == "after_end":  # that is known once the night has begun
        one.push(session, "first", heart_rate=beats(START - 70) + beats(START - 1, 1))
        assert one.hypnogram(session)["session"]["start"] is not None
    answer = one.push(session, 1, heart_rate=[*GOOD, [bad, 61]])
    assert answer.status_code == 201
    assert warned(answer) == {kind: 1}
    assert f"{bad:.10g} s" in answer.json()["warnings"][0]["detail"] or kind == "after_end"
    session_then = one.client.get(f"/v1/sessions/{session}").json()
    assert session_then["newest"] == START + 59
    again = one.push(session, 1, heart_rate=[[bad, 61], *GOOD])
    assert (again.status_code, again.json()["repeated"]) == (200, True)
    other = one.push(session, 1, heart_rate=GOOD)
    assert other.status_code == 409


def test_epochs_are_those_of_predict_for_the_samples_that_were_kept(one: Running) -> None:
    recording = simulated()
    session = one.open(start=START)
    for number, begin in enumerate(range(0, 3600, 600)):
        signals = rows(recording, START + begin if number else -np.inf, START + begin + 600)
        for name in ("heart_rate", "steps"):
            signals[name] = [[0, 50], *signals.get(name, []), [9e9, 50]]
        signals["motion"].append([START + 25 * HOUR, 9, 1, 1, 1])
        answer = one.push(session, number, **signals)
        assert warned(answer) == {"stale": 2, "ahead": 2, "after_end": 1}
    epochs = one.client.post(f"/v1/sessions/{session}/close").json()["epochs"]
    expected = sleepstage.load_model().predict(recording)
    assert expected.probabilities is not None
    assert len(epochs) in (len(expected), len(expected) - 1)
    shares = [list(epoch["probabilities"].values()) for epoch in epochs]
    np.testing.assert_allclose(shares, expected.probabilities[: len(epochs)], atol=1e-6)


def test_a_message_of_stale_samples_alone_is_accepted_and_harms_nothing(one: Running) -> None:
    session = one.open(start=START)
    answer = one.push(session, 0, heart_rate=beats(START - 20 * 24 * HOUR))
    assert answer.status_code == 201
    assert warned(answer) == {"stale": 60, "unusable": 60}
    assert one.push(session, 0, heart_rate=beats(START - 20 * 24 * HOUR)).status_code == 200
    # Kinds that do not go together make it work off each message by itself.
    one.push(session, 1, motion=[[START + t, 0, 0, 1] for t in range(9)])
    one.push(session, 2, motion=[[START + 15, 0, 0, 0, 1]])
    one.push(session, 3, heart_rate=beats(START, 100))
    assert len(one.hypnogram(session)["epochs"]) == 3


def test_of_a_night_that_silence_has_closed_nothing_is_refused(tmp_path: Path) -> None:
    with running(tmp_path) as one:
        session = one.open(start=START)
        one.push(session, 0, heart_rate=beats(START, 100))
        assert len(one.hypnogram(session)["epochs"]) == 3
        closed = one.client.post(f"/v1/sessions/{session}/close").json()["session"]
        assert closed["closed"]
        stale = beats(START - 20 * 24 * HOUR)
        assert one.push(session, 1, heart_rate=stale).status_code == 409
        _let_reopen(one, session)
        answer = one.push(session, 1, heart_rate=stale)
        assert (answer.status_code, warned(answer)["stale"]) == (201, 60)
        # Hours of a phone that was offline, in one message.
        buffer = one.push(session, 2, heart_rate=beats(START + 100, 8 * 3600))
        assert (buffer.status_code, warned(buffer)) == (201, {})
        assert not one.client.get(f"/v1/sessions/{session}").json()["closed"]


def _let_reopen(one: Running, session: str) -> None:
    """Have it look as if silence had closed the night."""
    store: Any = one.service.nights.store

    async def update() -> None:
        await store.write(
            lambda db: db.execute("UPDATE session SET reopens = 1 WHERE id = ?", (session,))
        )

    one.do(update)


# Units and clocks


@pytest.mark.parametrize(
    ("given", "kinds"),
    [
        (beats(START, bpm=1.05), {"heart_rate_hertz": 60, "unusable": 60}),
        (beats(START, bpm=0), {"heart_rate_implausible": 60, "unusable": 60}),
        ([*GOOD, [START + 60, 0], [START + 61, 1.0]], {"heart_rate_implausible": 2}),
        ([*beats(START, bpm=1.0), [START + 60, 0]], None),
        (GOOD, {}),
    ],
)
def test_heart_rates_that_are_none(
    one: Running, given: list[list[float]], kinds: dict[str, int] | None
) -> None:
    answer = one.push(one.open(start=START), 0, heart_rate=given)
    assert answer.status_code == 201
    if kinds is None:
        kinds = {"heart_rate_hertz": 60, "heart_rate_implausible": 1, "unusable": 61}
    assert warned(answer) == kinds


@pytest.mark.parametrize(
    ("factor", "unit"), [(1e3, "milliseconds"), (1e6, "microseconds"), (1e9, "nanoseconds")]
)
def test_times_in_another_unit_are_named(one: Running, factor: float, unit: str) -> None:
    answer = one.push(one.open(), 0, heart_rate=[[START * factor, 60]])
    assert answer.status_code == 422
    assert f"these look like {unit}: divide them by {factor:.0f}" in answer.json()["detail"]


def test_milliseconds_since_the_start_are_noticed(one: Running) -> None:
    moved = [[20.0 * number, 0, 0, 1] for number in range(50)]  # 50 Hz
    assert warned(one.push(one.open(start=0), 0, motion=moved)) == {"time_unit": 50}


NOW = START + 8 * HOUR


def record(begun: float | None, opened: float, **given: Any) -> SessionRecord:
    return SessionRecord(id="s", owner="o", created=opened, heard=opened, start=begun, **given)


def kinds_of(session: SessionRecord, *times: float, now: float = NOW) -> dict[str, int]:
    samples = Message.from_object({"heart_rate": [[time, 60] for time in times]})
    return admit(session, samples, now=now).counts


def test_a_clock_that_is_whole_hours_behind_is_noticed() -> None:
    for behind in (5 * HOUR, 5 * HOUR + 70):
        newest = NOW - behind
        first = record(None, NOW - 5)
        assert kinds_of(first, newest - 50, newest) == {"clock_hours": 2}
        later = record(newest - HOUR, NOW - HOUR)
        assert kinds_of(later, newest - 50, newest) == {"clock_hours": 2}
    detail = admit(later, Message.from_object({"heart_rate": [[newest, 60]]}), now=NOW).warnings
    assert "(5 h: the newest at" in detail[0]["detail"]


@pytest.mark.parametrize(
    ("session", "times"),
    [
        (record(None, NOW - 5), (NOW - 40, NOW)),  # on time
        (record(None, NOW - 5), (NOW - 2 * HOUR - 600,)),  # late, as long as may be
        (record(None, NOW - 5), (NOW - 2.5 * HOUR,)),
        (record(None, NOW - 5), (NOW - 30 * HOUR,)),  # an old night
        (record(None, NOW - 5), (NOW - 5 * HOUR, NOW - 2 * HOUR)),  # a buffer of hours
        (
            record(NOW - 3 * HOUR, NOW - 3 * HOUR),
            (NOW - 2 * HOUR - 50, NOW - 2 * HOUR),
        ),  # and parts
        (record(START, NOW, simulated=True), (START + 10,)),  # a demo
    ],
)
def test_samples_that_waited_are_no_wrong_clock(session: SessionRecord, times: Any) -> None:
    assert kinds_of(session, *times) == {}


@pytest.mark.parametrize(
    ("ahead", "hint"), [(2 * HOUR + 20, "2 h: is it"), (5.5 * HOUR, "5.5 h"), (1000, "")]
)
def test_all_samples_ahead_of_the_clock_are_refused(ahead: float, hint: str) -> None:
    with pytest.raises(DataError, match="ahead of the server's clock") as refused:
        kinds_of(record(None, NOW), NOW + ahead - 10, NOW + ahead)
    assert hint in str(refused.value)
    assert ("local time" in str(refused.value)) == bool(hint)
    assert kinds_of(record(START, START), START - 1e9, NOW + ahead) == {
        "stale": 1,
        "ahead": 1,
        "unusable": 2,
    }


def test_all_samples_after_the_end_are_refused_and_stale_ones_beside_them_too() -> None:
    session = record(START, START)
    now = START + 40 * HOUR
    for times in ((START + 30 * HOUR,), (0.0, START + 30 * HOUR)):
        with pytest.raises(OverError, match="open another session"):
            kinds_of(session, *times, now=now)


def test_samples_behind_the_watermark_are_warned_of_before_their_epoch_ends(one: Running) -> None:
    session = one.open(start=START)
    for name, times in enumerate((range(0, 61, 5), [89])):
        one.push(session, name, heart_rate=[[START + time, 60] for time in times])
        one.hypnogram(session)
    answer = one.push(session, "late", heart_rate=[[START + 70, 99], [START + 72, 99]])
    assert warned(answer) == {"late": 2, "unusable": 2}
    one.push(session, "end", heart_rate=[[START + 200, 60]])
    assert one.hypnogram(session)["session"]["intake"]["late"] == 2


def test_a_summary_at_the_watermark_is_late() -> None:
    session = record(START, START, watermark=START + 60)
    moved = [[START + t, 0, 0, 0, 1] for t in (60, 75)]
    assert admit(session, Message.from_object({"motion": moved}), now=NOW).counts == {"late": 1}
    assert kinds_of(session, START + 60) == {}


# Bodies


def put(one: Running, session: str, body: bytes, **headers: str) -> Any:
    path = f"/v1/sessions/{session}/messages/1"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return one.client.put(path, content=body, headers=named)


BODY = json.dumps({"heart_rate": GOOD}).encode()


@pytest.mark.parametrize(
    ("body", "encoding", "status", "said"),
    [
        (gzip.compress(BODY), "gzip", 201, ""),
        (gzip.compress(BODY), " GZip ", 201, ""),
        (BODY, "identity", 201, ""),
        (zlib.compress(BODY), "deflate", 415, "use gzip"),
        (BODY, "br", 415, "use gzip"),
        (gzip.compress(BODY), "gzip, gzip", 415, "use gzip"),
        (gzip.compress(BODY)[:-9], "gzip", 422, "cut short"),
        (gzip.compress(BODY) + b"x", "gzip", 422, "more follows"),
        (BODY, "gzip", 422, "not gzip"),
        (b"", "gzip", 422, "cut short"),
        (gzip.compress(b" " * (2**20 + 1)), "gzip", 413, "1048576 bytes once it is unpacked"),
        (gzip.compress(b"[" + b" " * (2**20 - 1)), "gzip", 422, "not JSON"),
    ],
)
def test_bodies_may_be_packed(
    one: Running, body: bytes, encoding: str, status: int, said: str
) -> None:
    answer = put(one, one.open(start=START), body, content_encoding=encoding)
    assert answer.status_code == status
    if status == 415:
        assert answer.headers["accept-encoding"] == "gzip"
    if said:
        assert said in answer.json()["detail"]
    phone = one.client.post(
        "/v1/sensor-logger", content=body, headers={"Content-Encoding": encoding}
    )
    assert phone.status_code == (200 if status == 201 else status)


def test_binary_may_be_packed_and_says_the_same_as_json(one: Running) -> None:
    session = one.open(start=START)
    binary = gzip.compress(Message.from_json(BODY).to_bytes())
    sent = put(one, session, binary, content_encoding="gzip", content_type=BINARY)
    assert (sent.status_code, sent.json()) == (201, {"repeated": False, "warnings": []})
    assert put(one, session, BODY).json()["repeated"]


def test_a_message_has_so_many_samples_at_most(tmp_path: Path) -> None:
    phone = {"messageId": 1, "sessionId": "s", "deviceId": "d"}
    with running(tmp_path, max_samples=60) as one:
        session = one.open(start=START)
        assert one.push(session, 0, heart_rate=GOOD).status_code == 201
        more = {"heart_rate": [*GOOD[:-2], [START + 70, "x"]], "steps": [[START, 1]] * 2}
        answer = one.push(session, 1, **more)
        assert answer.status_code == 413
        assert answer.json()["detail"] == "61 samples; a message has at most 60: divide it"
        binary = Message.from_object({"heart_rate": beats(START, 61)}).to_bytes()
        assert put(one, session, binary, content_type=BINARY).status_code == 413
        pushed = one.client.post("/v1/sensor-logger", json={**phone, "payload": [{}] * 61})
        assert pushed.status_code == 413
        path = f"/v1/sessions/{session}/stream"
        with one.client.websocket_connect(path, headers=LOCAL) as socket:
            socket.send_json({"id": "a", **more})
            assert answered(socket)["problem"]["status"] == 413


def test_large_bodies_are_read_beside_the_loop_and_small_ones_in_it(
    one: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    read = Message.from_object

    def noted(said: Any, limit: float) -> Message:
        threads.append(threading.get_ident())
        return read(said, limit)

    monkeypatch.setattr(message.Message, "from_object", noted)
    session = one.open(start=START)
    one.push(session, 0, heart_rate=GOOD)
    one.push(session, 1, heart_rate=beats(START + 60, 2000))
    with one.client.websocket_connect(f"/v1/sessions/{session}/stream", headers=LOCAL) as socket:
        for count in (10, 2000):
            socket.send_json({"id": count, "heart_rate": beats(START + 3000, count)})
            assert answered(socket)["id"] == str(count)
    loop = one.do(_thread)
    assert [thread == loop for thread in threads] == [True, False, True, False]
    assert len(BODY) < middleware._QUICK


async def _thread() -> int:
    return threading.get_ident()


# Sensor Logger


def phone_push(one: Running, number: int, *times: float, bpm: float = 61) -> Any:
    payload = [
        {"name": "heart rate", "time": int(time * 1e9), "values": {"bpm": bpm}} for time in times
    ]
    ids = {"messageId": number, "sessionId": "again", "deviceId": "phone"}
    return one.client.post("/v1/sensor-logger", json={**ids, "payload": payload})


def test_a_phone_that_counts_from_0_again_loses_nothing(one: Running) -> None:
    first = phone_push(one, 0, START, START + 5).json()
    assert (first["stored"], first["repeated"], first["warnings"]) == (2, False, [])
    assert phone_push(one, 0, START, START + 5).json()["repeated"]
    restarted = phone_push(one, 0, START + 10, START + 100).json()
    assert (restarted["session"], restarted["stored"]) == (first["session"], 2)
    assert one.hypnogram(first["session"])["session"]["intake"]["taken"] == 4
    stray = phone_push(one, 1, 0.5, START + 105, 9e9).json()
    assert (stray["stored"], stray["ignored"]) == (1, 2)
    assert [one["kind"] for one in stray["warnings"]] == ["stale", "ahead"]


def test_a_phone_whose_clock_is_ahead_is_told_and_opens_nothing(one: Running) -> None:
    before = counted(one).get("ahead", 0)
    said = one.client.post(
        "/v1/sensor-logger",
        json={
            "messageId": 1,
            "sessionId": "ahead",
            "deviceId": "phone",
            "payload": [{"name": "heart rate", "time": 5e18, "values": {"bpm": 61}}],
        },
    ).json()
    assert (said["session"], said["ignored"]) == (None, 1)
    assert [one["kind"] for one in said["warnings"]] == ["ahead", "unusable"]
    assert counted(one)["ahead"] == before + 1


# Sockets


def test_a_socket_warns_and_names_messages_that_came_before(one: Running) -> None:
    session = one.open(start=START)
    with one.client.websocket_connect(f"/v1/sessions/{session}/stream", headers=LOCAL) as socket:
        socket.send_json({"id": "a", "heart_rate": [*GOOD[:9], [0, 60]]})
        said = answered(socket)
        assert (said["id"], said["repeated"]) == ("a", False)
        assert [one["kind"] for one in said["warnings"]] == ["stale"]
        socket.send_json({"id": "a", "heart_rate": GOOD[:9]})
        problem = answered(socket)["problem"]
    assert problem["status"] == 409
    assert "message a: the session has had another message" in problem["detail"]


def test_samples_of_another_server_are_known_when_late_ones_come(
    one: Running, tmp_path: Path
) -> None:
    with running(tmp_path) as first, running(tmp_path) as second:
        session = first.open(start=START)
        first.push(session, 0, heart_rate=beats(START, 10))
        second.push(session, 1, heart_rate=beats(START + 10, 100))
        deadline = time.monotonic() + 30
        while second.hypnogram(session)["session"]["n_epochs"] < 3:
            assert time.monotonic() < deadline
        answer = first.push(session, 2, heart_rate=beats(START + 5, 3))
    assert warned(answer) == {"late": 3, "unusable": 3}
