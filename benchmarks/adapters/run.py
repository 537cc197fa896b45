"""Stages nights inside a peer's own environment; needs numpy and Python 3.10, nothing of ours.

``python run.py ADAPTER METHOD NIGHTS OUT {once,warm,score}``: one night and no more, which shows
what a process costs; the same night several times after a first one; or all nights, to be compared
with an expert. OUT gets what was found and measured.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

REPEATS = 10


class Night(NamedTuple):
    """What a watch recorded, in seconds since the start of the first epoch of 30 s."""

    n_epochs: int
    beats: Any
    bpm: Any
    """Heart rates and their times, shape (n_beats,) each."""
    ends: Any
    summaries: Any
    """Ends of windows of 15 s, and of each the counts and three peaks, shape (n_windows, 4)."""
    raw_times: Any
    raw: Any
    """Acceleration in g, shape (n_samples, 3); empty where only summaries are left."""


def write_nights(path: str | Path, nights: list[Night]) -> None:
    """Write what `read_nights` reads."""
    arrays = {
        f"{name}_{i}": value
        for i, night in enumerate(nights)
        for name, value in night._asdict().items()
    }
    np.savez(path, **arrays)


def read_nights(path: str | Path) -> list[Night]:
    """Nights of a file."""
    with np.load(path) as stored:
        count = len(stored.files) // len(Night._fields)
        columns = [[stored[f"{name}_{i}"] for name in Night._fields] for i in range(count)]
    return [Night(int(n_epochs), *others) for n_epochs, *others in columns]


def peak_memory() -> float:
    """Largest memory of this process in MB, without that of the one that started it."""
    # ru_maxrss of a new process begins at the peak of its parent, the kernel's own record does not.
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(work: Callable[[], Any]) -> dict[str, float]:
    """Wall and CPU seconds of one call, by many calls."""
    work()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(REPEATS):
        work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall": wall / REPEATS, "cpu": cpu / REPEATS}


def main() -> None:
    """Do what is asked for."""
    name, method, given, out, task = sys.argv[1:]
    adapter = importlib.import_module(name)
    nights = read_nights(given)
    asleep, score = adapter.METHODS[method]()
    found: dict[str, Any] = {}
    if task == "once":
        asleep(nights[0])
    elif task == "warm":
        found = timed(lambda: asleep(nights[0]))
    else:
        for i, night in enumerate(nights):
            found[f"asleep_{i}"] = asleep(night)
            if score:
                found[f"score_{i}"] = score(night)
    version = importlib.metadata.version(adapter.PACKAGE)
    np.savez(out, memory=peak_memory(), version=version, **found)


if __name__ == "__main__":
    main()
