"""A real night through servers that are killed gives what `sleepstage predict` gives.

Pushed every five seconds, as the app does, are its first hours; a whole night goes to one server.

The models in the package read no steps, so that an equal hypnogram says nothing of them. That is
why what the servers have stored is looked at as well.
"""

from __future__ import annotations

import asyncio
import csv
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from sleepstage.core.recording import Recording
from sleepstage.core.samples import Samples
from sleepstage.io.sleep_accel.read import read_subject
from sleepstage.server.message import Message, join
from sleepstage.server.store import open_store
from tests.engine.test_stager import cut
from tests.helpers.command import invoke
from tests.helpers.redis_server import redis_server
from tests.helpers.sensor_logger_app import Night, write_table
from tests.helpers.serving import Server, serving

pytestmark = [pytest.mark.slow, pytest.mark.redis]

EVERY = 5.0  # s of the night in a message of the app
DISORDER = 25.0  # s by which messages overtake each other; with those at once, less than 60
AT_ONCE = 4
OVER = 4  # times that each is sent at a kill, so that some are under way for certain
PATIENCE = 60.0  # s
UNHURRIED = {"messages_per_second": "10000"}  # a night in seconds is more than one server allows
JSON = {"Content-Type": "application/json"}
BINARY = {"Content-Type": "application/octet-stream"}
CLASSES = ("wake", "light", "deep", "rem")


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    body: bytes = b""
    form: Mapping[str, str] | None = None


class Sender:
    """Sends each request until a server has answered it, now to one, now to another.

    Attributes
    ----------
    n_cut_off : int
        Requests that were under way when their server was killed.
    """

    def __init__(self, servers: Sequence[Server], seed: int = 0) -> None:
        self._clients = [httpx2.Client(base_url=one.url, timeout=30) for one in servers]
        self._rng = np.random.default_rng(seed)
        self.n_cut_off = 0

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.close()

    def send(self, request: Request, first: int = 0) -> Any:
        """Give the answer; ask server number `first` first."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            client = self._clients[first % len(self._clients)]
            try:
                answer = client.request(
                    request.method, request.path, content=request.body, headers=request.form
                )
            except httpx2.ConnectError:
                time.sleep(0.02)
            except httpx2.TransportError:
                self.n_cut_off += 1
            else:
                if answer.status_code != 503:
                    assert answer.is_success, answer.text
                    return answer.json()
            first += 1
        msg = f"nobody answers {request.method} {request.path}"
        raise AssertionError(msg)

    def send_all(
        self, requests: Sequence[Request], happens: Mapping[int, tuple[int, Callable[[], object]]]
    ) -> list[Any]:
        """Send a few at once, the next few when all of them are answered.

        `happens` says at which share of the requests, in percent, something is done to which
        server: all that are sent then go to it, several times over, and it is done while they are
        under way.
        """
        due = {len(requests) * share // 100 // AT_ONCE: what for share, what in happens.items()}
        answers = []
        with ThreadPoolExecutor(AT_ONCE * OVER) as pool:
            for number, begin in enumerate(range(0, len(requests), AT_ONCE)):
                some = requests[begin : begin + AT_ONCE]
                firsts = self._rng.integers(len(self._clients), size=len(some)).tolist()
                if number in due:
                    some = [*some] * OVER
                    firsts = [due[number][0]] * len(some)
                under_way = list(map(lambda *one: pool.submit(self.send, *one), some, firsts))
                if number in due:
                    wait(under_way, return_when=FIRST_COMPLETED)
                    due[number][1]()
                answers += [one.result() for one in under_way]
        return answers


def predicted(
    folder: Path, files: Mapping[str, Path], *options: str
) -> tuple[list[str], np.ndarray[Any, Any]]:
    """Stages and probabilities, as the command line has them."""
    out = folder / "predicted.csv"
    named = [text for name, path in files.items() for text in (f"--{name}", str(path))]
    result = invoke("predict", *named, "--out", out, *options)
    assert result.exit_code == 0, result.output
    with out.open() as file:
        rows = list(csv.DictReader(file))
    shares = [[float(row[f"p_{name}"] or "nan") for name in CLASSES] for row in rows]
    return [row["stage"] for row in rows], np.array(shares)


def told(epochs: list[dict[str, Any]]) -> tuple[list[str], np.ndarray[Any, Any]]:
    """The same, as the service has them."""
    shares = [[epoch["probabilities"][name] for name in CLASSES] for epoch in epochs]
    return [epoch["stage"] for epoch in epochs], np.array(shares, dtype=np.float64)


def assert_is_predicted(
    closed: dict[str, Any], folder: Path, files: Mapping[str, Path], *options: str
) -> None:
    """Hold both hypnograms of a closed session against those of the command line."""
    for epochs, model in ((closed["epochs"], "live"), (closed["night"]["epochs"], "night")):
        stages, shares = predicted(folder, files, "--model", model, *options)
        assert len(set(stages)) > 2  # a night, and not an empty one
        assert told(epochs)[0] == stages
        np.testing.assert_allclose(told(epochs)[1], shares, rtol=0, atol=1e-5)


def assert_is_stored(address: str, session: dict[str, Any], **given: Samples) -> None:
    """Look into the store for all samples of a closed session up to the end of its last epoch."""

    async def read() -> list[bytes]:
        store = await open_store(address)
        try:
            return await store.samples(session["id"])
        finally:
            await store.aclose()

    end = session["start"] + 30 * session["n_epochs"]
    found = join(asyncio.run(read()))
    for name, samples in given.items():
        times, values = found[name]
        ordered = np.argsort(times, kind="stable")
        stored = Samples(times[ordered], values[ordered]).between(-np.inf, end)
        expected = samples.between(-np.inf, end)
        np.testing.assert_array_equal(stored.times, expected.times)  # and each but once
        np.testing.assert_array_equal(stored.values, expected.values)


def out_of_order(n_messages: int, rng: np.random.Generator) -> list[int]:
    """Numbers of messages in the order of their arrival; one in ten comes again."""
    again = rng.choice(n_messages, n_messages // 10, replace=False)
    numbers = np.sort(np.append(np.arange(n_messages), again))
    arrivals = EVERY * numbers + rng.uniform(0, DISORDER, len(numbers))
    order: list[int] = numbers[np.argsort(arrivals)].tolist()
    return order


def pushed(bodies: Sequence[bytes], order: Sequence[int]) -> list[Request]:
    return [Request("POST", "/v1/sensor-logger", bodies[number], JSON) for number in order]


@pytest.mark.parametrize(
    ("subject", "hours", "standardised"),
    [("8686948", 2.0, False), ("8530312", 2.75, True)],  # each has three stages by then
    ids=["in g", "in m/s2, with nine minutes without motion"],
)
def test_two_servers_on_one_redis_and_kills_give_the_hypnogram_of_predict(
    real_data: Path, tmp_path: Path, subject: str, hours: float, standardised: bool
) -> None:
    night = Night.of(cut(read_subject(real_data, subject), int(120 * hours)))
    bodies = list(night.pushes(EVERY, standardised=standardised))
    order = out_of_order(len(bodies), np.random.default_rng(1))
    with (
        redis_server() as redis,
        serving(tmp_path / "a", redis.address, **UNHURRIED) as one,
        serving(tmp_path / "b", redis.address, **UNHURRIED) as other,
        Sender([one, other]) as sender,
    ):
        happens = {33: (0, one.kill), 45: (1, one.start), 66: (1, other.kill), 75: (0, other.start)}
        answers = sender.send_all(pushed(bodies, order), happens)
        (session,) = {answer["session"] for answer in answers} - {None}  # None: nothing of use
        sender.send(Request("POST", f"/v1/sessions/{session}/close"), 1)
        closed = sender.send(Request("GET", f"/v1/sessions/{session}/hypnogram"), 0)
        assert_is_stored(
            redis.address,
            closed["session"],
            heart_rate=Samples(night.heart_rate[0] / 1e9, night.heart_rate[1]),
            steps=night.steps,
        )
    assert sender.n_cut_off > 0
    assert sum(answer["repeated"] for answer in answers) > len(bodies) // 20
    intake = closed["session"]["intake"]
    assert intake["late"] == intake["ahead"] == intake["duplicate"] == 0
    assert intake["taken"] + intake["implausible"] == night.n_samples
    assert_is_predicted(closed, tmp_path, night.write_tables(tmp_path))


def test_one_server_killed_again_and_again_gives_the_hypnogram_of_predict(
    real_data: Path, tmp_path: Path
) -> None:
    recording = read_subject(real_data, "1360686")
    signals = measured(recording)
    names = {"motion": "counts,peak_x_g,peak_y_g,peak_z_g", "heart_rate": "bpm", "steps": "steps"}
    files = {
        name.replace("_", "-"): write_table(
            tmp_path / f"{name}.csv", names[name], samples.times, samples.values
        )
        for name, samples in signals.items()
    }
    with serving(tmp_path / "server") as server, Sender([server]) as sender:
        # Those at once are of two minutes, in any order.
        opened = sender.send(
            Request("POST", "/v1/sessions", b'{"start": 0, "lateness": 180}', JSON)
        )
        address = f"/v1/sessions/{opened['id']}"
        looks: list[dict[str, Any]] = []

        def restart() -> None:
            server.restart()
            looks.append(sender.send(Request("GET", f"{address}/hypnogram")))

        requests = [
            Request("PUT", f"{address}/messages/{number}", message.to_bytes(), BINARY)
            for number, message in enumerate(messages(signals, recording.end))
        ]
        sender.send_all(requests, dict.fromkeys((15, 35, 55, 75, 95), (0, restart)))
        closed = sender.send(Request("POST", f"{address}/close"))
    assert_is_stored(str(tmp_path / "server" / "store"), closed["session"], **signals)
    assert sender.n_cut_off > 0
    for look in looks:  # what was told stays
        assert look["epochs"] == closed["epochs"][: len(look["epochs"])]
    assert len(looks[-1]["epochs"]) > len(looks[0]["epochs"]) > 0
    intake = closed["session"]["intake"]
    assert intake["taken"] + intake["implausible"] == sum(map(len, signals.values()))
    assert_is_predicted(closed, tmp_path, files, "--start", "0")


def measured(recording: Recording) -> dict[str, Samples]:
    """All signals from history to the end of the night."""
    return {
        name: getattr(recording, name).between(-np.inf, recording.end)
        for name in ("heart_rate", "motion", "steps")
    }


def messages(signals: Mapping[str, Samples], end: float) -> list[Message]:
    """A message for each 30 s; history is in the first."""
    edges = [-np.inf, *np.arange(30, end, 30), np.inf]
    cut = [
        Message(**{name: samples.between(*span) for name, samples in signals.items()})
        for span in pairwise(edges)
    ]
    return [message for message in cut if message.n_samples]


def test_what_overtakes_by_more_than_the_lateness_is_counted_and_the_night_goes_on(
    real_data: Path, tmp_path: Path
) -> None:
    night = Night.of(read_subject(real_data, "8686948"))
    bodies = list(night.pushes(EVERY))[:720]  # an hour
    rng = np.random.default_rng(2)
    arrivals = EVERY * np.arange(len(bodies)) + rng.uniform(0, 300, len(bodies))
    with serving(tmp_path, **UNHURRIED) as server, Sender([server]) as sender:
        answers = sender.send_all(pushed(bodies, np.argsort(arrivals).tolist()), {})
        (session,) = {answer["session"] for answer in answers if answer["stored"]}
        closed = sender.send(Request("POST", f"/v1/sessions/{session}/close"))
    described, intake = closed["session"], closed["session"]["intake"]
    assert intake["late"] > 0
    # All are accounted for. (A count of steps is never late: the next one has its steps.)
    n_stored = sum(answer["stored"] for answer in answers)
    n_counted = sum(intake[name] for name in ("taken", "late", "implausible", "duplicate"))
    assert n_stored - 60 <= n_counted <= n_stored
    assert described["newest"] == night.newest_before(EVERY * len(bodies))
    assert len(closed["epochs"]) == (described["newest"] - described["start"]) // 30 > 110
    assert len(closed["night"]["epochs"]) == len(closed["epochs"])
