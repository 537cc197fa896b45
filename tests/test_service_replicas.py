"""A real night through servers that are killed gives what `sleepstage predict` gives."""

from __future__ import annotations

import csv
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from sleepstage.readers.sleep_accel import read_subject
from sleepstage.recording import Recording
from sleepstage.service.message import Message

from .command import invoke
from .redis_server import redis_server
from .sensor_logger_app import Night
from .serving import Server, serving

SUBJECT = "1360686"
EVERY = 5.0  # s of the night in a message
DISORDER = 25.0  # s by which messages overtake each other
AT_ONCE = 4
JSON = {"Content-Type": "application/json"}
BINARY = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def recording(real_data: Path) -> Recording:
    return read_subject(real_data, SUBJECT)


class Sender:
    """Sends each message until a server has answered, now to one, now to another."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._clients = [httpx2.Client(base_url=one.url, timeout=30) for one in servers]

    def send(self, method: str, path: str, body: bytes, headers: dict[str, str], at: int) -> Any:
        for attempt in range(1000):
            client = self._clients[(at + attempt) % len(self._clients)]
            try:
                answer = client.request(method, path, content=body, headers=headers)
            except httpx2.TransportError:
                continue
            if answer.status_code != 503:
                assert answer.is_success, answer.text
                return answer.json()
        msg = "nobody answers"
        raise AssertionError(msg)

    def close(self) -> None:
        for client in self._clients:
            client.close()


def predicted(
    folder: Path, files: dict[str, Path], *options: str
) -> tuple[list[str], np.ndarray[Any, Any]]:
    """Stages and probabilities, as the command line has them."""
    out = folder / "predicted.csv"
    named = [text for name, path in files.items() for text in (f"--{name}", str(path))]
    result = invoke("predict", *named, "--out", out, *options)
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(out.open()))
    shares = [[float(row[f"p_{name}"] or "nan") for name in NAMES] for row in rows]
    return [row["stage"] for row in rows], np.array(shares)


NAMES = ("wake", "light", "deep", "rem")


def told(epochs: list[dict[str, Any]]) -> tuple[list[str], np.ndarray[Any, Any]]:
    """The same, as the service has them."""
    shares = [[epoch["probabilities"][name] for name in NAMES] for epoch in epochs]
    return [epoch["stage"] for epoch in epochs], np.array(shares, dtype=np.float64)


def assert_same(one: Any, other: Any) -> None:
    assert one[0] == other[0]
    np.testing.assert_allclose(one[1], other[1], atol=1e-5)


def out_of_order(n_messages: int, rng: np.random.Generator) -> list[int]:
    """Numbers of messages in the order of their arrival; one in ten comes again."""
    numbers = np.concatenate(
        [np.arange(n_messages), np.sort(rng.choice(n_messages, n_messages // 10, replace=False))]
    )
    return [
        int(one)
        for one in numbers[np.argsort(EVERY * numbers + rng.uniform(0, DISORDER, len(numbers)))]
    ]


@pytest.mark.parametrize("standardised", [False, True], ids=["in g", "in m/s2"])
def test_two_servers_on_one_redis_and_a_kill_give_the_hypnogram_of_predict(
    recording: Recording, tmp_path: Path, standardised: bool
) -> None:
    night = Night.of(recording)
    bodies = list(night.pushes(EVERY, standardised=standardised))
    rng = np.random.default_rng(1)
    order = out_of_order(len(bodies), rng)
    with (
        redis_server() as redis,
        serving(tmp_path / "a", redis.address) as one,
        serving(tmp_path / "b", redis.address) as other,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        sender = Sender([one, other])
        happens = {
            len(order) // 3: lambda: threading.Timer(0.005, one.kill).start(),
            len(order) // 2: one.start,
            2 * len(order) // 3: lambda: threading.Timer(0.005, other.kill).start(),
            3 * len(order) // 4: other.start,
        }
        answers: list[Any] = []
        # Those that are sent at once are no further apart than the lateness allows.
        for first in range(0, len(order), AT_ONCE):
            for at in range(first, first + AT_ONCE):
                happens.get(at, lambda: None)()
            answers += pool.map(
                lambda number: sender.send(
                    "POST", "/v1/sensor-logger", bodies[number], JSON, int(number * 7 % 13)
                ),
                order[first : first + AT_ONCE],
            )
        (session,) = {answer["session"] for answer in answers}
        assert sum(answer["repeated"] for answer in answers) >= len(bodies) // 10
        closed = sender.send("POST", f"/v1/sessions/{session}/close", b"", {}, 1)
        sender.close()
    intake = closed["session"]["intake"]
    assert intake["late"] == intake["ahead"] == intake["duplicate"] == 0
    n_samples = len(night.xyz) + len(night.heart_rate[0]) + len(night.step_counts[0])
    assert intake["taken"] + intake["implausible"] == n_samples
    files = night.write_tables(tmp_path)
    assert_same(told(closed["epochs"]), predicted(tmp_path, files))
    whole = predicted(tmp_path, files, "--model", "night")
    assert_same(told(closed["night"]["epochs"]), whole)


def test_one_server_killed_again_and_again_gives_the_hypnogram_of_predict(
    recording: Recording, tmp_path: Path
) -> None:
    files = {}
    for name in ("heart_rate", "motion", "steps"):
        samples = getattr(recording, name)
        table = np.column_stack([samples.times, samples.values])
        head = {"heart_rate": "time,bpm", "steps": "time,steps"}.get(
            name, "time,counts,peak_x_g,peak_y_g,peak_z_g"
        )
        path = files[name.replace("_", "-")] = tmp_path / f"{name}.csv"
        np.savetxt(path, table, fmt="%r", delimiter=",", header=head, comments="")
    with serving(tmp_path / "server") as server:
        sender = Sender([server])
        opened = sender.send("POST", "/v1/sessions", b'{"start": 0}', JSON, 0)
        steps = np.arange(0, recording.end, 30.0)
        for number, begin in enumerate(steps):
            within = (begin if number else -np.inf, begin + 30)
            message = Message(
                heart_rate=recording.heart_rate.between(*within),
                motion=recording.motion.between(*within),
                steps=recording.steps.between(*within),
            )
            address = f"/v1/sessions/{opened['id']}/messages/{number}"
            if message.n_samples:
                sender.send("PUT", address, message.to_bytes(), BINARY, 0)
            if number % 150 == 75:
                server.restart()
        closed = sender.send("POST", f"/v1/sessions/{opened['id']}/close", b"", {}, 0)
        sender.close()
    count = len(closed["epochs"])
    stages, shares = predicted(tmp_path, files, "--start", "0", "--end", f"{30 * count}")
    assert count >= recording.n_epochs - 1
    assert_same(told(closed["epochs"]), (stages, shares))


def test_what_overtakes_by_more_than_the_lateness_is_counted_and_the_night_goes_on(
    recording: Recording, tmp_path: Path
) -> None:
    night = Night.of(recording)
    bodies = list(night.pushes(EVERY))[:720]  # an hour
    rng = np.random.default_rng(2)
    order = np.argsort(EVERY * np.arange(len(bodies)) + rng.uniform(0, 300, len(bodies)))
    with serving(tmp_path) as server:
        sender = Sender([server])
        for number in order:
            said = sender.send("POST", "/v1/sensor-logger", bodies[number], JSON, 0)
        closed = sender.send("POST", f"/v1/sessions/{said['session']}/close", b"", {}, 0)
        sender.close()
    assert closed["session"]["intake"]["late"] > 0
    assert len(closed["epochs"]) >= 118
    assert len(closed["night"]["epochs"]) == len(closed["epochs"])
