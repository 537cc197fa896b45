"""How many watches one server takes: server and load on the same two cores, in real time.

Each watch sends when its time has come, over a connection of its own, whether or not others were
answered; a delay is counted from that time on. In the end the epochs told are compared with those
that were sent for, and every sample must have been taken in:
``python benchmarks/load.py [--seconds 60] [--write]``. With ``--write`` the table goes into
docs/service.md.

Sessions are in the middle of the night: half an hour is pushed into each before the clock starts.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import re
import struct
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.helpers.serving import serving  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator

T = TypeVar("T")
PAGE = ROOT / "docs" / "service.md"
MARKER = re.compile(r"(<!-- load -->\n).*?(<!-- /load -->)", re.DOTALL)
RATE = 50  # Hz
BEAT = 5.0  # s between heart rates
SUMMARY = 15.0  # s
EPOCH = 30.0  # s; nights begin at any time within one
HISTORY = 1800.0  # s of the night before the clock starts
LIMIT = 250.0  # ms, of the 99th percentile


class Kind(NamedTuple):
    """A kind of watch: what it sends, and how often."""

    name: str
    every: float
    raw: bool


class Result(NamedTuple):
    """How it went: delays in ms, processor time in cores, sizes in bytes for each watch."""

    watches: int
    rate: float
    median: float
    p99: float
    refused: int
    lost: int
    missing: int
    server: float
    load: float
    memory: float = 0.0
    disk: float = 0.0


RAW = Kind("50 Hz acceleration, a message a second", 1.0, raw=True)
SUMMARIES = Kind("15 s summaries, a message every 15 s", SUMMARY, raw=False)
MUST = {RAW: (500, 750, 1000, 1200, 1500), SUMMARIES: (5000, 7500, 10_000)}
"""What a server must take, first, and what is tried beyond."""


def block(signal: int, times: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> bytes:
    """A block of the binary form."""
    columns = 1 if values.ndim == 1 else values.shape[1]
    header = struct.pack("<BBBxI", signal, columns, 4, len(times))
    return header + times.astype("<f8").tobytes() + values.astype("<f4").tobytes()


def samples(kind: Kind, first: float, last: float, rng: np.random.Generator) -> tuple[bytes, int]:
    """What a watch measures in a stretch of time, in binary, and how many samples that are."""
    beats = np.arange(np.ceil(first / BEAT) * BEAT, last, BEAT)
    if kind.raw:
        moved = np.arange(round(first * RATE), round(last * RATE)) / RATE
        values = rng.normal([0.1, -0.2, 0.97], 0.005, (len(moved), 3))
    else:
        moved = np.arange(np.floor(first / SUMMARY) * SUMMARY + SUMMARY, last + 0.001, SUMMARY)
        values = np.abs(rng.normal([0, 0.1, 0.2, 0.97], 0.01, (len(moved), 4)))
    body = block(2, moved, values) if len(moved) else b""
    if len(beats):
        body += block(1, beats, rng.normal(58, 3, len(beats)).round())
    return body, len(beats) + len(moved)


class Connection:
    """One connection that stays open, with the little of HTTP that the load needs."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, method: str, path: str, body: bytes, kind: str) -> tuple[int, bytes]:
        """Ask, and give status and content of the answer; once more if the connection is gone."""
        try:
            return await self._request(method, path, body, kind)
        except (asyncio.IncompleteReadError, ConnectionError):
            self._streams = None
            return await self._request(method, path, body, kind)

    async def _request(self, method: str, path: str, body: bytes, kind: str) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", answer, re.IGNORECASE)
        content = await reader.readexactly(int(length[1])) if length else b""
        return int(answer[9:12]), content

    def close(self) -> None:
        """Let go."""
        if self._streams is not None:
            self._streams[1].close()


@dataclass
class Watch:
    """A watch, its session, and what it has sent."""

    kind: Kind
    connection: Connection
    phase: float
    start: float
    session: str = ""
    n_samples: int = 0
    n_messages: int = 0
    until: float = 0.0
    delays: list[float] = field(default_factory=list)
    n_refused: int = 0

    async def open(self, rng: np.random.Generator) -> None:
        """Open a session, and bring it to the middle of the night."""
        said = json.dumps({"start": self.start}).encode()
        status, content = await self.connection.request(
            "POST", "/v1/sessions", said, "application/json"
        )
        assert status == 201, content
        self.session = json.loads(content)["id"]
        step = 100.0 if self.kind.raw else HISTORY
        while self.until < HISTORY + self.phase:
            await self.push(min(self.until + step, HISTORY + self.phase), rng)

    async def push(self, until: float, rng: np.random.Generator) -> None:
        """Send what was measured since the last time."""
        body, count = samples(self.kind, self.until, until, rng)
        if not count:
            self.until = until
            return
        body = shifted(body, self.start)
        path = f"/v1/sessions/{self.session}/messages/{self.n_messages}"
        status, _ = await self.connection.request("PUT", path, body, "application/octet-stream")
        if status == 201:
            self.n_samples += count
        else:
            self.n_refused += 1
        self.n_messages += 1
        self.until = until

    async def run(self, began: float, seconds: float, rng: np.random.Generator) -> None:
        """Send again and again, when it is time."""
        due = began + self.phase
        while due < began + seconds:
            await asyncio.sleep(max(due - time.monotonic(), 0))
            await self.push(self.until + self.kind.every, rng)
            self.delays.append(time.monotonic() - due)
            due += self.kind.every

    async def check(self) -> tuple[int, int]:
        """Samples and epochs that are missing."""
        path = f"/v1/sessions/{self.session}/hypnogram?after=10000"
        status, content = await self.connection.request("GET", path, b"", "application/json")
        assert status == 200, content
        session = json.loads(content)["session"]
        expected = int((session["newest"] - self.start - session["lateness"] - 0.001) // EPOCH)
        dropped = sum(session["intake"][name] for name in ("late", "ahead", "duplicate"))
        return int(dropped), max(expected - session["n_epochs"], 0)


def shifted(body: bytes, start: float) -> bytes:
    """The same samples, with times from `start` on."""
    content, begin = bytearray(body), 0
    while begin < len(content):
        _, columns, size, count = struct.unpack_from("<BBBxI", content, begin)
        times = np.frombuffer(content, "<f8", count, begin + 8)
        times += start
        begin += 8 + (8 + size * columns) * count
    return bytes(content)


async def load(port: int, kind: Kind, n_watches: int, seconds: float) -> Result:
    """Let so many watches send for so long, and say how it went."""
    gc.disable()  # its pauses would be taken for the server's
    rng = np.random.default_rng(0)
    now = np.floor(time.time())
    watches = [
        Watch(
            kind,
            Connection(port),
            float(phase),
            now - HISTORY - kind.every - seconds - float(early),
        )
        for phase, early in rng.uniform(0, [kind.every, EPOCH], (n_watches, 2))
    ]
    await asyncio.gather(*in_turns(watch.open(rng) for watch in watches))
    await asyncio.sleep(2)
    busy, own = processor_time(port), time.process_time()
    began = time.monotonic()
    await asyncio.gather(*(watch.run(began, seconds, rng) for watch in watches))
    took = time.monotonic() - began
    busy, own = processor_time(port) - busy, time.process_time() - own
    missing = await asyncio.gather(*in_turns(watch.check() for watch in watches))
    delays = 1000 * np.concatenate([watch.delays for watch in watches])
    for watch in watches:
        watch.connection.close()
    return Result(
        watches=n_watches,
        rate=len(delays) / took,
        median=float(np.median(delays)),
        p99=float(np.percentile(delays, 99)),
        refused=sum(watch.n_refused for watch in watches),
        lost=sum(one for one, _ in missing),
        missing=sum(two for _, two in missing),
        server=busy / took,
        load=own / took,
    )


def in_turns(steps: Iterable[Coroutine[Any, Any, T]]) -> Iterator[Coroutine[Any, Any, T]]:
    """Do a few at a time."""
    gate = asyncio.Semaphore(8)

    async def wait(step: Coroutine[Any, Any, T]) -> T:
        async with gate:
            return await step

    return map(wait, steps)


def server_pid(port: int) -> int:
    """Who listens on this port."""
    for one in psutil.net_connections("tcp"):
        if one.status == "LISTEN" and one.laddr and one.laddr.port == port and one.pid:
            return int(one.pid)
    msg = f"nobody listens on {port}"
    raise RuntimeError(msg)


def measure(kind: Kind, n_watches: int, seconds: float) -> Result:
    """Start a server of its own, and load it."""
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
        idle = total_memory(server.port)
        result = asyncio.run(load(server.port, kind, n_watches, seconds))
        disk = sum(path.stat().st_size for path in (Path(folder) / "store").iterdir())
        memory = total_memory(server.port) - idle
        return result._replace(memory=memory / n_watches, disk=disk / n_watches)


def processor_time(port: int) -> float:
    """Seconds that the server and its processes have computed."""
    server = psutil.Process(server_pid(port))
    times = [one.cpu_times() for one in (server, *server.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def total_memory(port: int) -> int:
    """Bytes that the server and its processes hold."""
    server = psutil.Process(server_pid(port))
    return sum(one.memory_info().rss for one in (server, *server.children(recursive=True)))


HEADER = (
    "watches", "sending", "messages a second", "median (ms)", "p99 (ms)", "refused", "samples lost",
    "epochs missing", "server (cores)", "load (cores)", "memory each (KB)", "disk each (KB)",
)  # fmt: skip


def cells(kind: Kind, result: Result) -> list[str]:
    """A row of the table."""
    return [
        f"{result.watches:,}",
        kind.name,
        f"{result.rate:.0f}",
        f"{result.median:.1f}",
        f"{result.p99:.0f}",
        f"{result.refused}",
        f"{result.lost}",
        f"{result.missing}",
        f"{result.server:.2f}",
        f"{result.load:.2f}",
        f"{result.memory / 1000:.0f}",
        f"{result.disk / 1000:.0f}",
    ]


def write(rows: list[list[str]]) -> None:
    """Put the table into the document."""
    lines = [HEADER, ["--:", "---", *["--:"] * (len(HEADER) - 2)], *rows]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    page = MARKER.sub(rf"\g<1>{text}\n\g<2>", PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(page, encoding="utf-8")


def main() -> int:
    """Load a server with what it must take, and then with more until it is slow."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of each run, in real time")
    parser.add_argument("--write", action="store_true", help="put the table into docs/service.md")
    given = parser.parse_args()
    table, rows, good = Table(*HEADER), [], True
    for kind, counts in MUST.items():
        for n_watches in counts:
            result = measure(kind, n_watches, given.seconds)
            rows.append(cells(kind, result))
            print(*rows[-1], sep=" | ", flush=True)
            table.add_row(*rows[-1])
            fine = result.p99 < LIMIT and not result.refused + result.lost + result.missing
            if n_watches == counts[0]:
                good &= fine
            if not fine:  # saturated
                break
    Console().print(table)
    if given.write:
        write(rows)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
