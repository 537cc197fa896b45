"""What the app Sensor Logger pushes, in its true layout, and counts of steps."""

from __future__ import annotations

import hashlib
import json
import math
import random
import timeit
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sleepstage.core.samples import Samples
from sleepstage.core.signals import Pedometer, count_steps
from sleepstage.engine.snapshot import pack, unpack
from sleepstage.errors import DataError
from sleepstage.server.message import Message
from sleepstage.server.sensor_logger import Push, read_push

T0 = 1_764_000_000_123_456_789  # ns, more than the integers of JavaScript hold
G = 9.80665
XYZ = "XYZ"


def axes(prefix: str, values: tuple[float, float, float]) -> dict[str, float]:
    return {f"{prefix}{axis}": value for axis, value in zip(XYZ, values, strict=True)}


def wrist(
    number: int,
    *,
    gravity: tuple[float, float, float] = (0.0, 0.6, -0.8),
    own: tuple[float, float, float] = (0.01, -0.02, 0.03),
) -> dict[str, Any]:
    """A sample of Wrist Motion at 50 Hz, as an iPhone sends it."""
    values = {
        **axes("rotationRate", (0.1, -0.2, 0.3)),
        **axes("gravity", gravity),
        **axes("acceleration", own),
        **dict.fromkeys(("quaternionW", "quaternionX", "quaternionY", "quaternionZ"), 0.5),
        **dict.fromkeys(("pitch", "roll", "yaw"), 0.1),
    }
    return {"name": "wristmotion", "time": T0 + number * 20_000_000, "values": values}


def standard(item: dict[str, Any]) -> dict[str, Any]:
    """The same sample with "Standardise Units & Frames" on: m/s², all axes flipped."""
    flipped = {
        name: -G * value if name.startswith(("gravity", "acceleration")) else value
        for name, value in item["values"].items()
    }
    return {**item, "values": flipped}


def sample(name: str, seconds: int, **values: Any) -> dict[str, Any]:
    return {"name": name, "time": T0 + seconds * 1_000_000_000, "values": values}


def body(*payload: Any, **changed: Any) -> bytes:
    said = {"messageId": 7, "sessionId": "night-1", "deviceId": "phone-1", "payload": payload}
    kept = {name: value for name, value in (said | changed).items() if value is not ...}
    return json.dumps(kept).encode()


def same(one: Message, other: Message) -> bool:
    return one.to_bytes() == other.to_bytes()


TRUE_BODY = body(
    *(wrist(number) for number in range(50)),
    sample("heart rate", 1, bpm=57),
    sample("pedometer", 1, steps=12),
    sample("accelerometer", 1, x=0.1, y=0.2, z=0.3),
    sample("location", 1, latitude=48.1, longitude=11.5),
)


def test_a_push_of_the_app() -> None:
    push = read_push(TRUE_BODY)
    assert (push.device, push.session, push.message_id) == ("phone-1", "night-1", "7")
    assert push.n_ignored == 2
    assert set(push.message.signals) == {"heart_rate", "motion", "step_counts"}
    np.testing.assert_allclose(push.message.motion.values, [[0.01, 0.58, -0.77]] * 50)
    times = push.message.motion.times
    assert times[0] == pytest.approx(1_764_000_000.1234567, abs=1e-6)
    np.testing.assert_allclose(np.diff(times), 0.02, atol=1e-6)
    assert push.message.heart_rate.values.tolist() == [57]
    assert push.message.step_counts.values.tolist() == [12]


def test_where_the_phone_is_stays_unknown() -> None:
    push = read_push(TRUE_BODY)
    assert b"48.1" not in push.message.to_bytes()
    assert "48.1" not in repr(push)
    only = read_push(body(sample("location", 1, latitude=48.1, longitude=11.5)))
    assert only.message.n_samples == 0
    assert only.n_ignored == 1


@pytest.mark.parametrize(
    "name", ["wrist motion", "WristMotion", "wrist-motion", "WRIST_MOTION", "Wrist Motion"]
)
def test_names_however_they_are_written(name: str) -> None:
    assert len(read_push(body(wrist(0) | {"name": name})).message.motion) == 1


def test_standard_units_and_frames_give_the_same_motion() -> None:
    items = [wrist(number, own=(0.1 * number, -0.05, 0.02)) for number in range(30)]
    apple = read_push(body(*items)).message.motion
    android = read_push(body(*map(standard, items))).message.motion
    np.testing.assert_allclose(android.values, apple.values, atol=1e-12)
    both = [one if i % 2 else standard(one) for i, one in enumerate(items)]
    mixed = read_push(body(*both)).message.motion
    np.testing.assert_allclose(mixed.values, apple.values, atol=1e-12)


@pytest.mark.parametrize("length", [0.0, 0.5, 1.5, 5.0, 8.0, 12.0, 1e300])
def test_motion_without_a_known_unit_is_ignored(length: float) -> None:
    push = read_push(body(wrist(0), wrist(1, gravity=(0.0, 0.0, length))))
    assert len(push.message.motion) == 1
    assert push.n_ignored == 1


def test_values_beside_name_and_time_are_read_as_well() -> None:
    items = [wrist(0), sample("heartrate", 1, bpm=57), sample("Pedometer", 1, steps=3)]
    flat = [
        {"name": one["name"], "time": one["time"], **one["values"], "accuracy": 3} for one in items
    ]
    assert same(read_push(body(*flat)).message, read_push(body(*items)).message)


def test_numbers_as_text() -> None:
    items = [wrist(0), sample("heartrate", 1, bpm=57)]
    texts = [
        {**one, "time": str(one["time"]), "values": {k: str(v) for k, v in one["values"].items()}}
        for one in items
    ]
    assert same(read_push(body(*texts)).message, read_push(body(*items)).message)


@given(st.randoms(use_true_random=False))
def test_any_order_gives_the_same(chance: random.Random) -> None:
    payload = json.loads(TRUE_BODY)["payload"]
    chance.shuffle(payload)
    assert same(read_push(body(*payload)).message, read_push(TRUE_BODY).message)


NO_TIMES: list[Any] = [None, 0, -T0, 1e30, "", "x", "inf", "9" * 5000, []]
TIMELESS = [{**sample("heartrate", 1, bpm=57), "time": time} for time in NO_TIMES]


@pytest.mark.parametrize(
    "broken",
    [
        *TIMELESS,
        {"name": "heartrate", "time": T0},
        {"name": "heartrate", "time": T0, "values": None},
        {"name": "heartrate", "time": T0, "values": [57]},
        {"name": "heartrate", "values": {"bpm": 57}},
        sample("heartrate", 1, bpm=None),
        sample("heartrate", 1, bpm=True),
        sample("heartrate", 1, bpm="fast"),
        sample("heartrate", 1, bpm="NaN"),
        sample("heartrate", 1, rate=57),
        sample("pedometer", 1, steps=-1),
        sample("pedometer", 1, steps=1e308),
        sample("wristmotion", 1, gravityX=0, gravityY=0, gravityZ=-1),
        wrist(1, own=(0.0, math.inf, 0.0)),
        wrist(1, own=(0.0, 1e308, 1e308)),
        wrist(1, own=(0.0, 500.0, 0.0)),
        {"name": None, "time": T0, "values": {"bpm": 57}},
        {"time": T0, "values": {"bpm": 57}},
        {},
    ],
)
def test_a_sample_that_makes_no_sense_is_counted_and_the_others_are_read(
    broken: dict[str, Any],
) -> None:
    text = body(wrist(0), broken, sample("heartrate", 2, bpm=58))
    push = read_push(text.replace(b"Infinity", b'"Infinity"'))
    assert push.n_ignored == 1
    assert len(push.message.motion) == 1
    assert push.message.heart_rate.values.tolist() == [58]


@pytest.mark.parametrize(
    "test_push",
    [
        b"{}",
        b'{"message": "test"}',
        body(payload=...),
        body(payload=None),
        body(),
        body({"name": "test", "time": T0, "values": {}}, deviceId=..., sessionId=...),
        body(deviceId="", sessionId=None, messageId=...),
    ],
)
def test_trying_the_address_is_no_error(test_push: bytes) -> None:
    assert read_push(test_push).message.n_samples == 0


def test_without_a_number_a_message_is_named_by_its_body() -> None:
    for absent in (..., None, ""):
        text = body(wrist(0), messageId=absent)
        assert read_push(text).message_id == hashlib.sha256(text).hexdigest()
    assert read_push(body(wrist(0), messageId=0)).message_id == "0"
    assert read_push(body(wrist(0), messageId="m-1")).message_id == "m-1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"payload": [NaN]}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "messageId, sessionId, deviceId and payload"),
        (b"null", "messageId, sessionId, deviceId and payload"),
        (body(payload={}), "payload: expected an array"),
        (body(payload="test"), "payload: expected an array"),
        (body(wrist(0), 1), "array of objects"),
        (body(wrist(0), deviceId=...), "deviceId: missing; .* which device"),
        (body(wrist(0), sessionId=""), "sessionId: missing"),
        (body(wrist(0), sessionId="x" * 201), "sessionId: expected .* 200 characters"),
        (body(wrist(0), messageId=[1]), "messageId: expected a number or a text"),
        (body(wrist(0), messageId=True), "messageId: expected"),
        (body(*(wrist(n, own=(0, 0, 40)) for n in range(60))), "acceleration has a median length"),
    ],
)
def test_what_is_wrong_with_a_push_is_said(text: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_push(text)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(0, 2**63)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["heartrate", "wrist motion", "pedometer", "payload", str(T0)])
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A true body in which anything may stand in a few places."""
    said = json.loads(TRUE_BODY)
    for _ in range(draw(st.integers(1, 4))):
        place: Any = said
        while True:
            keys = list(range(len(place))) if isinstance(place, list) else list(place)
            key = draw(st.sampled_from(keys))
            inner = place[key]
            if not isinstance(inner, list | dict) or not inner or draw(st.integers(0, 3)) == 0:
                break
            place = inner
        if draw(st.booleans()):
            place[key] = draw(ANYTHING)
        elif len(place) > 1:
            del place[key]
    return json.dumps(said).encode()


CUT = st.integers(0, len(TRUE_BODY)).map(lambda end: TRUE_BODY[:end])


@settings(max_examples=300)
@given(mutated() | ANYTHING.map(lambda value: json.dumps(value).encode()) | st.binary() | CUT)
@example(body(wrist(0, own=(1e308, 1e308, 1e308)), wrist(1, gravity=(1e308, 1e308, 1e308))))
@example(body(sample("heartrate", 1, bpm="9" * 5000)))
@example(b'{"payload": [{"name": "heartrate", "time": 1e18, "values": {"bpm": 1e400}}]}')
def test_nothing_but_a_data_error_ever_comes_out(text: bytes) -> None:
    try:
        push = read_push(text)
    except DataError:
        return
    check(push)


def check(push: Push) -> None:
    """Whatever was read can be stored."""
    assert push.message_id
    assert push.n_ignored >= 0
    message = push.message
    assert same(Message.from_bytes(message.to_bytes()), message)
    if message.n_samples:
        assert push.device
        assert push.session


def test_a_second_of_motion_takes_well_under_a_millisecond() -> None:
    # The best of many: what else the machine does is not measured.
    assert min(timeit.repeat(lambda: read_push(TRUE_BODY), number=5, repeat=30)) / 5 < 1e-3


# The pedometer


def counts(*pairs: tuple[float, float]) -> Samples:
    times, values = zip(*pairs, strict=True) if pairs else ((), ())
    return Samples.clean(list(times), list(values), name="counts")


def rows(samples: Samples) -> list[tuple[float, float]]:
    return list(zip(samples.times.tolist(), samples.values.tolist(), strict=True))


def test_steps_since_the_count_before() -> None:
    steps, state = count_steps(Pedometer(), counts((10, 4), (20, 4), (30, 9)), until=25)
    assert rows(steps) == [(10, 4), (20, 0)]
    steps, state = count_steps(state, counts((40, 11)), until=math.inf)
    assert rows(steps) == [(30, 5), (40, 2)]


def test_a_pedometer_that_begins_anew() -> None:
    steps, _ = count_steps(Pedometer(), counts((10, 400), (20, 3), (30, 5)), until=math.inf)
    assert rows(steps) == [(10, 400), (20, 3), (30, 2)]


def test_a_count_that_comes_late_is_dropped_and_its_steps_are_not_lost() -> None:
    _, state = count_steps(Pedometer(), counts((10, 4)), until=25)
    steps, state = count_steps(state, counts((20, 7)), until=5)  # the clock went back
    assert rows(steps) == []
    steps, _ = count_steps(state, counts((30, 9)), until=math.inf)
    assert rows(steps) == [(30, 5)]


def test_the_same_count_twice_is_one() -> None:
    _, state = count_steps(Pedometer(), counts((10, 4), (30, 9)), until=5)
    steps, _ = count_steps(state, counts((10, 4), (30, 9)), until=math.inf)
    assert rows(steps) == [(10, 4), (30, 5)]


@given(
    st.lists(st.tuples(st.integers(0, 500).map(float), st.integers(0, 40).map(float)), max_size=25),
    st.lists(st.integers(0, 500), max_size=6).map(sorted),
    st.randoms(use_true_random=False),
)
def test_any_cut_gives_the_same_steps(
    pairs: list[tuple[float, float]], untils: list[int], chance: random.Random
) -> None:
    whole, end = count_steps(Pedometer(), counts(*pairs), until=math.inf)
    pushes: list[list[tuple[float, float]]] = [[] for _ in range(len(untils) + 1)]
    for pair in pairs:  # each comes at any time before its own is over
        latest = sum(until <= pair[0] for until in untils)
        pushes[chance.randint(0, latest)].append(pair)
    state, told = Pedometer(), counts()
    for push, until in zip(pushes, [*map(float, untils), math.inf], strict=True):
        steps, state = count_steps(state, counts(*push), until)
        state = unpack(pack(state, "model"), Pedometer(), "model")
        told = told.followed_by(steps)
    assert rows(told) == rows(whole)
    assert state.last == end.last


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30).map(sorted))
def test_of_a_count_that_only_rises_no_step_is_lost(values: list[int]) -> None:
    rising = counts(*((float(time), float(value)) for time, value in enumerate(values)))
    steps, _ = count_steps(Pedometer(), rising, until=math.inf)
    assert steps.values.sum() == values[-1]
