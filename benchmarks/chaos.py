"""What two servers on one folder lose while everything goes wrong: it must be nothing.

Simulated watches push nights, again and again, to two servers that share one SQLite store: some
messages twice, in disorder, with samples of 1970 among them, under an id that was used before, or
after a pause in which silence closes the night. Meanwhile servers and their workers are killed, the
disk takes no more, and the store is moved away and back. In the end every message that was
acknowledged must be in the store, every epoch must be that of `Stager.predict` for the same
samples, and memory and descriptors of the server that lived all the time must be flat:
``python benchmarks/chaos.py [--minutes 20] [--seed 1] [--write]``. With ``--write`` the table goes
into docs/security.md. Needs Linux, for limits on the files of a running process.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx2
import numpy as np
import psutil
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import sleepstage
from sleepstage.core.recording import Recording
from sleepstage.simulate.nights import simulate_night

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.helpers.serving import Server, serving  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

PAGE: Final = ROOT / "docs" / "security.md"
MARKER: Final = re.compile(r"(<!-- chaos -->\n).*?(<!-- /chaos -->)", re.DOTALL)
SIGNALS: Final = ("heart_rate", "motion", "steps")
WATCHES: Final = 12
MESSAGE: Final = 30.0  # s of the night in a message
LATENESS: Final = 120.0  # s; neighbours change places
SILENT_HOURS: Final = 0.02  # longer than a watch may wait for a server that starts
PAUSE: Final = 90.0  # s, so that silence closes the night
LONGEST_PUSH: Final = 150.0  # s that a night takes, with its pause: no later one begins
OUTAGE: Final = 6.0  # s
BETWEEN: Final = (10.0, 25.0)  # s from one event to the next
SETTINGS: Final = {"silent_hours": str(SILENT_HOURS), "messages_per_second": "10000"}
NEAR: Final = 1e-4  # of a probability to the one predicted
GROWTH: Final = 1.2  # of memory and descriptors, from the second quarter of the run to the last


@dataclass
class Counts:
    """What happened."""

    acknowledged: set[tuple[str, str]] = field(default_factory=set)
    answers: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    nights: list[tuple[Recording, dict[str, Any]]] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)


@dataclass
class Watch:
    """Pushes night after night; every message until a server has answered it."""

    urls: list[str]
    client: httpx2.AsyncClient
    rng: np.random.Generator
    counts: Counts

    async def run(self, until: float) -> None:
        """Push nights until it is time to end."""
        while time.monotonic() < until:
            await self._night()

    async def _night(self) -> None:
        night = shifted(int(self.rng.integers(50)), time.time())
        opened = await self._ask(
            "POST",
            "/v1/sessions",
            {"start": night.start, "lateness": LATENESS, "simulated": True},
        )
        session = opened.json()["id"]
        bodies = list(messages(night))
        pause = self.rng.integers(len(bodies)) if self.rng.random() < 0.3 else None
        numbers = list(range(len(bodies)))
        if pause is None:  # what is held back over a silence comes too late
            swap(numbers, self.rng)
        for sent, number in enumerate(numbers):
            if sent == pause:
                self.counts.events["nights that silence closed"] += 1
                await asyncio.sleep(PAUSE)
            await self._push(session, str(number), bodies[number])
            await asyncio.sleep(self.rng.exponential(0.05))
        closed = await self._ask("POST", f"/v1/sessions/{session}/close")
        self.counts.nights.append((night, closed.json()))

    async def _push(self, session: str, name: str, body: dict[str, Any]) -> None:
        path = f"/v1/sessions/{session}/messages/{name}"
        chance = self.rng.random()
        sent = body
        if chance < 0.05:
            sent = {**body, "heart_rate": [[10.0, 60.0], *body.get("heart_rate", [])]}
        answer = await self._ask("PUT", path, sent)
        if self._expect(answer, 200, 201):
            self.counts.acknowledged.add((session, name))
        if 0.05 < chance < 0.1:
            self._expect(await self._ask("PUT", path, sent), 200)
        elif 0.1 < chance < 0.12:
            other = {"heart_rate": [[time.time() - 3600, 61.5]]}
            self._expect(await self._ask("PUT", path, other), 409)

    def _expect(self, answer: httpx2.Response, *statuses: int) -> bool:
        self.counts.answers[str(answer.status_code)] += 1
        if answer.status_code not in statuses:
            self.counts.unexpected.append(f"{answer.status_code}: {answer.text[:200]}")
        return answer.status_code in statuses

    async def _ask(self, method: str, path: str, content: Any = None) -> httpx2.Response:
        """Ask one server after the other until one answers, and not with 503."""
        while True:
            url = self.urls[self.rng.integers(len(self.urls))]
            try:
                answer = await self.client.request(method, url + path, json=content)
            except httpx2.TransportError:
                self.counts.answers["none"] += 1
            else:
                if answer.status_code != 503:
                    return answer
                self.counts.answers["503"] += 1
            await asyncio.sleep(self.rng.uniform(0.05, 0.3))


@cache
def simulated(seed: int) -> Recording:
    """One of fifty nights, of one or two hours."""
    return simulate_night(seed, hours=1.0 + seed % 3 / 2)


def shifted(seed: int, now: float) -> Recording:
    """A simulated night that ended an hour and a half ago: no clock is off by whole hours."""
    night = simulated(seed)
    ahead = round(now - night.end - 5400)
    signals: dict[str, Any] = {
        name: (samples.times + ahead, samples.values)
        for name in SIGNALS
        if len(samples := getattr(night, name))
    }
    return Recording.from_arrays(**signals, start=night.start + ahead, end=night.end + ahead)


def messages(night: Recording) -> Iterator[dict[str, Any]]:
    """Cut a night into bodies of messages; what was measured before it is in the first."""
    edges = [-np.inf, *np.arange(night.start + MESSAGE, night.end, MESSAGE), np.inf]
    for begin, end in pairwise(edges):
        body = {}
        for name in SIGNALS:
            some = getattr(night, name).between(begin, end)
            if len(some):
                body[name] = np.column_stack([some.times, some.values]).tolist()
        if body:
            yield body


def swap(numbers: list[int], rng: np.random.Generator) -> None:
    """Let some neighbours change places."""
    for index in 2 * np.flatnonzero(rng.random(len(numbers) // 2) < 0.2):  # no pair shares one
        numbers[index], numbers[index + 1] = numbers[index + 1], numbers[index]


@dataclass
class Chaos:
    """Does harm to one server, or to what both of them need; the second one is never killed."""

    victim: Server
    survivor: Server
    store: Path
    rng: np.random.Generator
    counts: Counts

    async def run(self, until: float) -> None:
        """Do harm again and again; in the end everything works."""
        harm: list[Callable[[], Awaitable[None]]] = [
            *(self.kill, self.stop, self.kill_worker, self.fill_disk, self.move_store),
        ]
        while time.monotonic() < until - 60:
            await asyncio.sleep(self.rng.uniform(*BETWEEN))
            one = harm[self.rng.integers(len(harm))]
            self.counts.events[one.__name__.replace("_", " ")] += 1
            await one()

    async def kill(self) -> None:
        """Kill a server as a power cut would."""
        await asyncio.to_thread(self.victim.kill)
        await asyncio.sleep(self.rng.uniform(0, OUTAGE))
        await asyncio.to_thread(self.victim.start)

    async def stop(self) -> None:
        """Stop a server as an operator would, and start it again."""
        await asyncio.to_thread(self.victim.stop)
        await asyncio.to_thread(self.victim.start)

    async def kill_worker(self) -> None:
        """Kill the processes that stage."""
        for server in (self.victim, self.survivor):
            for child in process_of(server).children():
                with suppress(psutil.NoSuchProcess):
                    child.kill()

    async def fill_disk(self) -> None:
        """Let no file of the servers grow any more."""
        processes = [process_of(server) for server in (self.victim, self.survivor)]
        before = [one.rlimit(psutil.RLIMIT_FSIZE) for one in processes]
        for one, (_, hard) in zip(processes, before, strict=True):
            one.rlimit(psutil.RLIMIT_FSIZE, (4096, hard))
        await asyncio.sleep(OUTAGE)
        for one, limits in zip(processes, before, strict=True):
            one.rlimit(psutil.RLIMIT_FSIZE, limits)

    async def move_store(self) -> None:
        """Move the folder of the store away for some seconds."""
        away = self.store.with_name("away")
        self.store.rename(away)
        await asyncio.sleep(OUTAGE)
        away.rename(self.store)


def process_of(server: Server) -> psutil.Process:
    """Give the process that listens."""
    for one in psutil.Process().children():
        with suppress(psutil.Error):
            if any(c.laddr.port == server.port for c in one.net_connections(kind="tcp")):
                return one
    msg = f"nobody listens on {server.port}"
    raise RuntimeError(msg)


async def watch_size(server: Server, until: float) -> list[tuple[float, int]]:
    """Memory (MB) and descriptors of the process that listens, every five seconds."""
    process, seen = process_of(server), []
    while time.monotonic() < until:
        await asyncio.sleep(5)
        seen.append((process.memory_info().rss / 1e6, process.num_fds()))
    return seen


async def show_progress(seconds: float) -> None:
    """Show how much of the time has passed."""
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("chaos", total=seconds)
        for _ in range(int(seconds)):
            await asyncio.sleep(1)
            progress.advance(task)


async def run(
    servers: tuple[Server, Server], store: Path, seconds: float, seed: int
) -> tuple[Counts, list[tuple[float, int]]]:
    """Push and do harm for so long; every night that was begun is ended."""
    counts, until = Counts(), time.monotonic() + seconds
    rngs = np.random.default_rng(seed).spawn(WATCHES + 1)
    urls = [server.url for server in servers]
    async with httpx2.AsyncClient(timeout=30) as client, asyncio.TaskGroup() as group:
        size = group.create_task(watch_size(servers[1], until))
        for rng in rngs[1:]:
            group.create_task(Watch(urls, client, rng, counts).run(until - LONGEST_PUSH))
        group.create_task(Chaos(*servers, store, rngs[0], counts).run(until))
        group.create_task(show_progress(seconds))
    return counts, await size


def lost(counts: Counts, store: Path) -> int:
    """Count messages that were acknowledged and are not in the store."""
    with closing(sqlite3.connect(store / "sessions.sqlite")) as db:
        sql = "SELECT session.id, message.id FROM message JOIN session ON session = session.number"
        return len(counts.acknowledged - set(db.execute(sql)))


def different(nights: list[tuple[Recording, dict[str, Any]]]) -> tuple[int, int, int]:
    """Count epochs, those that are not as predicted, and samples that were not taken in."""
    n_epochs = n_different = n_missing = 0
    stagers = {name: sleepstage.load_model(name) for name in ("live", "night")}
    for night, closed in nights:
        n_samples = sum(len(getattr(night, name)) for name in SIGNALS)
        intake = closed["session"]["intake"]
        missing = n_samples - int(intake["taken"] + intake["implausible"])
        n_missing += missing
        if missing:
            session = closed["session"]
            Console(stderr=True).print(missing, "missing:", intake, session["warnings"])
        for epochs, model in ((closed["epochs"], "live"), (closed["night"]["epochs"], "night")):
            hypnogram = stagers[model].predict(night)
            assert hypnogram.probabilities is not None
            given = [list(epoch["probabilities"].values()) for epoch in epochs]
            away = np.abs(np.array(given, np.float64) - hypnogram.probabilities[: len(epochs)])
            n_epochs += len(epochs)
            n_different += int((away.max(axis=1) > NEAR).sum())
            n_different += abs(len(hypnogram) - len(epochs)) > 1  # the last one may not have ended
    return n_epochs, n_different, n_missing


def growth(seen: list[float]) -> tuple[float, float]:
    """Medians of the second and of the last quarter."""
    quarter = max(len(seen) // 4, 1)
    return statistics.median(seen[quarter : 2 * quarter] or seen), statistics.median(
        seen[-quarter:]
    )


def main() -> int:
    """Run it, print what came out, and give 1 if anything was lost or grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="into docs/security.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        store = Path(folder) / "store"
        servers = tuple(
            stack.enter_context(serving(Path(folder) / name, str(store), **SETTINGS))
            for name in ("one", "other")
        )
        began = asyncio.run(run((servers[0], servers[1]), store, 60 * given.minutes, given.seed))
        counts, seen = began
        n_lost = lost(counts, store)
    n_epochs, n_different, n_missing = different(counts.nights)
    memory, descriptors = (growth([float(one[k]) for one in seen]) for k in (0, 1))
    rows = [
        ["messages acknowledged", f"{len(counts.acknowledged):,}"],
        ["of them lost", f"{n_lost:,}"],
        ["nights ended", f"{len(counts.nights):,}"],
        ["samples of them not taken in", f"{n_missing:,}"],
        ["epochs, live and of the whole night", f"{n_epochs:,}"],
        ["of them other than predicted", f"{n_different:,}"],
        ["answers other than documented", f"{len(counts.unexpected):,}"],
        *([f"answers {name}", f"{n:,}"] for name, n in sorted(counts.answers.items())),
        *([name, f"{n:,}"] for name, n in sorted(counts.events.items())),
        ["memory (MB), second and last quarter", f"{memory[0]:.0f}, {memory[1]:.0f}"],
        ["descriptors, likewise", f"{descriptors[0]:.0f}, {descriptors[1]:.0f}"],
    ]
    show(rows, counts.unexpected, given)
    flat = all(last <= GROWTH * first for first, last in (memory, descriptors))
    return int(bool(n_lost or n_different or n_missing or counts.unexpected) or not flat)


def show(rows: list[list[str]], unexpected: list[str], given: argparse.Namespace) -> None:
    """Print the table, and write it where that is asked for."""
    title = f"{given.minutes:g} minutes, {WATCHES} watches, two servers on one folder"
    table = Table("", title, title="chaos")
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.print(table)
    for text in unexpected[:10]:
        console.print(text, style="red")
    if given.write:
        lines = [f"| | {title} |", "| --- | --: |", *(f"| {' | '.join(row)} |" for row in rows)]
        content = PAGE.read_text(encoding="utf-8")
        written = "\n".join(lines)
        PAGE.write_text(MARKER.sub(rf"\g<1>{written}\n\g<2>", content), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
