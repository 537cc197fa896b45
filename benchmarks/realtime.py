"""What a night costs live: time, delay and state of one session, start-up, size of installation.

Raw acceleration at 50 Hz and a heart rate every five seconds, eight hours, on one core; every
number stands beside its limit: ``python benchmarks/realtime.py``. With ``--install`` it installs
the package without extras into an empty environment, too, and weighs it; with ``--write`` the table
goes into docs/live.md.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import sleepstage
from sleepstage.simulate.nights import simulate_night

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOURS = 8
PAGE = Path(__file__).parents[1] / "docs" / "live.md"
MARKER = re.compile(r"(<!-- benchmark -->\n).*?(<!-- /benchmark -->)", re.DOTALL)
RATE = 50
START_UP = """
import sleepstage
session = sleepstage.load_model().session(start=0.0)
(epoch,) = session.push(heart_rate=([1.0, 6.0], [60, 61]), now=35.0)
print(epoch.stage)
"""


def night(hours: float) -> Iterator[dict[str, Any]]:
    """What one second after the other brings; a movement now and then."""
    rng = np.random.default_rng(0)
    for second in range(int(3600 * hours)):
        times = second + np.arange(RATE) / RATE
        restless = 0.3 if rng.random() < 0.02 else 0.005
        xyz = rng.normal([0.1, -0.2, 0.97], restless, (RATE, 3)).round(4)
        given: dict[str, Any] = {"motion": (times, xyz)}
        if second % 5 == 0:
            given["heart_rate"] = (float(second), float(round(rng.normal(58, 3))))
        yield given


def joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Several seconds as one push."""
    motion = [part["motion"] for part in parts]
    beats = [part["heart_rate"] for part in parts if "heart_rate" in part]
    return {
        "motion": (np.concatenate([t for t, _ in motion]), np.vstack([xyz for _, xyz in motion])),
        "heart_rate": tuple(np.array(beats).T) if beats else None,
    }


def push_all(seconds: list[dict[str, Any]], every: int) -> tuple[list[float], list[float], int]:
    """CPU time of each epoch and delay of its label, in ms, and the largest snapshot in bytes."""
    session = sleepstage.load_model().session(start=0.0, lateness=0.0)
    cpu, delays, state, spent = [], [], 0, 0.0
    for begin in range(0, len(seconds), every):
        given = joined(seconds[begin : begin + every])
        clock, processor = time.perf_counter(), time.process_time()
        epochs = session.push(**given, now=float(begin + every))
        delay, spent = time.perf_counter() - clock, spent + time.process_time() - processor
        if epochs:
            cpu.append(1000 * spent)
            delays.append(1000 * delay)
            spent = 0.0
            if session.time % 1800 == 0:
                state = max(state, len(session.snapshot()))
    return cpu, delays, state


def replay_night() -> float:
    """Seconds for a recorded night of 15 s summaries, pushed epoch by epoch."""
    recording = simulate_night(1, hours=HOURS)
    stager = sleepstage.load_model()
    begin = time.perf_counter()
    session, before = stager.session(start=recording.start), -np.inf
    n_epochs = 0
    for now in np.arange(recording.start + 30, recording.end + 30, 30.0):
        given: dict[str, Any] = {
            name: (part.times, part.values)
            for name in ("heart_rate", "motion", "steps")
            if len(part := getattr(recording, name).between(before, now))
        }
        n_epochs += len(session.push(**given, now=now))
        before = now
    n_epochs += len(session.finish())
    assert n_epochs >= recording.n_epochs - 1
    return time.perf_counter() - begin


def fresh_process() -> float:
    """Seconds from nothing to the first label."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", START_UP], check=True, capture_output=True)
    return time.perf_counter() - begin


def installed_megabytes() -> float:
    """Size of all that ``pip install`` puts into an empty environment."""
    root = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        packages = next(Path(folder).glob("lib/python*/site-packages"))
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(packages)]
        subprocess.run([*command, str(root)], check=True)
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        return sum(path.stat().st_size for path in files if not path.is_symlink()) / 1e6


class Row(NamedTuple):
    """One number; infinite where there is no limit, but something to compare with."""

    name: str
    value: float
    unit: str
    limit: float = math.inf

    def cells(self) -> tuple[str, str, str]:
        """What is measured, how much, and the limit."""
        limit = f"{self.limit:g} {self.unit}" if math.isfinite(self.limit) else ""
        return self.name, f"{self.value:.2f} {self.unit}", limit


def best(measure: Callable[[], float], rounds: int = 5) -> float:
    """The median of a few rounds: machines are noisy."""
    return float(np.median([measure() for _ in range(rounds)]))


def rows() -> Iterator[Row]:
    """All measurements, one after the other."""
    seconds = list(night(HOURS))
    state = 0
    for every, what in ((30, "a push an epoch"), (5, "a push every 5 s"), (1, "a push a second")):
        cpu, delays, state = push_all(seconds, every)
        median, tail = np.percentile(cpu, [50, 99])
        yield Row(
            f"CPU for an epoch, {what}: median", median, "ms", 2.0 if every == 30 else math.inf
        )
        yield Row(f"CPU for an epoch, {what}: 99th percentile", tail, "ms", 10)
        yield Row(
            "  its last sample to its label: 99th percentile", np.percentile(delays, 99), "ms", 20
        )
    yield Row(f"state of a session, largest snapshot in {HOURS} h", state / 1024, "KiB", 64)
    yield Row(f"replay of a recorded night of {HOURS} h", best(replay_night), "s", 1)
    yield Row("start-up: import, model, first label", best(fresh_process), "s", 1)
    if "--install" in sys.argv:
        yield Row("installed without extras", installed_megabytes(), "MB", 400)


def write(table: list[Row]) -> None:
    """Put the table into the document."""
    lines = ["| | measured | limit |", "|---|--:|--:|"]
    lines += [f"| {' | '.join(cell.strip() for cell in row.cells())} |" for row in table]
    text = MARKER.sub(rf"\g<1>{chr(10).join(lines)}\n\g<2>", PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(text, encoding="utf-8")


def main() -> int:
    """Measure, and compare with the limits."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    table = []
    for row in rows():
        table.append(row)
        name, value, limit = row.cells()
        print(f"{name:<58} {value:>12} {limit:>8}{'' if row.value <= row.limit else '  MISSED'}")
    if "--write" in sys.argv:
        write(table)
    return 0 if all(row.value <= row.limit for row in table) else 1


if __name__ == "__main__":
    raise SystemExit(main())
