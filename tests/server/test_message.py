"""Messages: JSON and binary, what is refused, and how it is said."""

from __future__ import annotations

import json
import math
import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sleepstage.errors import DataError
from sleepstage.server.message import Message, join

NUMBER = st.floats(-1e9, 1e9)
COUNT = st.floats(0, 1e6)
FORCE = st.floats(-8, 8)


def lines(*columns: st.SearchStrategy[float]) -> st.SearchStrategy[list[list[float]]]:
    return st.lists(st.tuples(NUMBER, *columns).map(list), min_size=1, max_size=20)


SIGNALS = st.fixed_dictionaries(
    {},
    optional={
        "heart_rate": lines(NUMBER),
        "motion": lines(FORCE, FORCE, FORCE) | lines(COUNT, FORCE, FORCE, FORCE),
        "steps": lines(COUNT),
    },
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def block(signal: int, columns: int, size: int, count: int, body: bytes = b"") -> bytes:
    return struct.pack("<BBBxI", signal, columns, size, count) + body


@given(SIGNALS)
def test_json_and_binary_say_the_same(said: dict[str, list[list[float]]]) -> None:
    message = Message.from_json(json.dumps(said).encode())
    again = Message.from_bytes(message.to_bytes())
    assert message.signals.keys() == again.signals.keys() == said.keys()
    for name, samples in message.signals.items():
        table = np.column_stack([samples.times, samples.values])
        np.testing.assert_array_equal(table[:, 0], np.sort(table[:, 0]))
        assert {tuple(row) for row in table.tolist()} == {tuple(row) for row in said[name]}
        np.testing.assert_array_equal(getattr(again, name).times, samples.times)
        np.testing.assert_array_equal(getattr(again, name).values, samples.values)
    times = [row[0] for rows in said.values() for row in rows]
    assert again.oldest == message.oldest == min(times, default=math.inf)
    assert again.newest == message.newest == max(times, default=-math.inf)
    assert again.n_samples == message.n_samples


def test_counts_of_a_pedometer_are_kept_in_binary_alone() -> None:
    message = Message.clean(step_counts=([3, 1], [70, 50]))
    again = Message.from_bytes(message.to_bytes())
    assert again.step_counts.times.tolist() == [1, 3]
    assert again.step_counts.values.tolist() == [50, 70]
    with pytest.raises(DataError, match="step_counts"):
        Message.from_object({"step_counts": [[1, 50]]})


def test_what_is_later_is_left_out() -> None:
    message = Message.from_object({"heart_rate": [[1, 60], [2, 61]], "steps": [[3, 4]]})
    assert message.between(0, 9) is message  # nothing is copied where nothing is cut
    assert message.between(0, 2).oldest == message.between(0, 2).newest == 1
    assert message.between(0, 1).n_samples == 0
    assert message.between(2, 9).n_samples == 2


def test_binary_takes_single_precision() -> None:
    times = np.arange(3.0)
    values = np.array([[0, 0, 1]] * 3)
    body = block(2, 3, 4, 3, times.tobytes() + values.astype("<f4").tobytes())
    message = Message.from_bytes(body)
    np.testing.assert_array_equal(message.motion.values, values)
    assert message.n_samples == 3


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not JSON"),
        (b"[]", "expected an object"),
        (b'{"pulse": []}', "got pulse"),
        (b'{"heart_rate": 1}', "expected an array of rows of 2 numbers"),
        (b'{"heart_rate": [[1, 2], [3]]}', r"row 1 is \[3\]"),
        (b'{"heart_rate": [[1, "60"]]}', "row 0"),
        (b'{"heart_rate": [[1, true]]}', "row 0"),
        (b'{"heart_rate": [[1, null]]}', "row 0"),
        (b'{"heart_rate": {"1": 60}}', "heart_rate: expected an array"),
        (b'{"heart_rate": [1, 60]}', "time first; got 1"),
        (b'{"heart_rate": [[]]}', r"got \[\]"),
        (b'{"motion": [[1, 2]]}', "motion: expected an array of rows of 4 or 5 numbers"),
        (b'{"motion": [[1, 0, 0, 1], [2, 0, 0, 0, 1]]}', "all alike; row 1"),
        (b'{"motion": [[1, -1, 0, 0, 1]]}', "activity count -1 at 1 s"),
        (b'{"steps": [[1, -2]]}', "steps: -2 at 1 s; no count is negative"),
        (b'{"heart_rate": [[1, 1e999]]}', "not JSON"),
        (b'{"heart_rate": [[1, NaN]]}', "not JSON"),
        (b'{"\xff": 1}', "not JSON"),
    ],
)
def test_json_that_is_refused_says_what_and_where(body: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        Message.from_json(body)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"\x01\x01", "byte 0: cut short"),
        (block(9, 1, 8, 0), "no block has signal 9"),
        (block(1, 2, 8, 0), "with 2 values"),
        (block(1, 1, 2, 0), "of 2 bytes"),
        (block(1, 1, 8, 5), "5 samples of heart_rate end at byte 88 of 8"),
        (block(1, 1, 8, 0) * 2, "two blocks of heart_rate"),
        (block(0, 1, 8, 0), "no block has signal 0"),
        (block(2, 5, 8, 0), "signal 2 with 5 values"),
        (block(1, 1, 8, 2**32 - 1), "4294967295 samples of heart_rate end at byte"),
        (block(3, 1, 8, 0) + b"x", "byte 8: cut short"),
        (block(3, 1, 8, 1, struct.pack("<2d", 1, -2)), "steps: -2 at 1 s"),
        (block(4, 1, 8, 1, struct.pack("<2d", 1, -2)), "step counts: -2 at 1 s"),
        (block(1, 1, 8, 1, struct.pack("<2d", np.nan, 60)), "not a finite number"),
    ],
)
def test_binary_that_is_refused_says_what_and_where(body: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        Message.from_bytes(body)


def test_acceleration_that_is_clearly_not_in_g_is_refused() -> None:
    still = [[t / 50, 0, 0, 9.81] for t in range(50)]
    with pytest.raises(DataError, match=r"divide m/s² by 9\.80665"):
        Message.from_object({"motion": still})


@given(JSON)
def test_any_json_is_a_message_or_refused(said: object) -> None:
    try:
        Message.from_object(said)
    except DataError:
        return
    assert isinstance(said, dict)


BLOCK = st.builds(
    block, st.integers(0, 5), st.integers(0, 5), st.sampled_from([4, 8, 2]), st.integers(0, 3)
)


@given(st.binary(max_size=100) | st.lists(BLOCK | st.binary(max_size=60)).map(b"".join))
def test_any_bytes_are_a_message_or_refused(body: bytes) -> None:
    for read in (Message.from_bytes, Message.from_json):
        with suppress(DataError):  # nothing else may come out
            assert read(body).n_samples >= 0


def test_messages_are_joined_in_the_order_they_came() -> None:
    bodies = [
        Message.from_object({"heart_rate": [[t, 60]], "motion": [[t, 0, 0, 1]]}).to_bytes()
        for t in (5, 3)
    ]
    joined = join(bodies)
    assert joined["heart_rate"][0].tolist() == [5, 3]
    assert joined["motion"][1].shape == (2, 3)
    summary = Message.from_object({"motion": [[9, 0, 0, 0, 1]]}).to_bytes()
    with pytest.raises(DataError, match="mixed"):
        join([*bodies, summary])
