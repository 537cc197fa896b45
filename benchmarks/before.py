"""What work costs now, as a share of what it cost at an earlier commit.

The older code is taken out of git and runs on the libraries of this environment, in turn with the
present one, each time in a process of its own: ``python benchmarks/before.py [--revision REVISION]
[--training] [--write]``. Medians of CPU and wall time, and the largest memory. With ``--training``
one training run, too (some minutes); with ``--write`` the table goes into docs/performance.md.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from cost import Cost, median
from page import write_section
from sleepstage.core.motion import MOTION_COLUMNS
from sleepstage.io.sleep_accel.read import find_data
from sleepstage.simulate.nights import simulate_night

HOME: Final = Path(__file__).parents[1]
PAGE: Final = HOME / "docs" / "performance.md"
ROUNDS: Final = 5
NIGHTS: Final = 50
DIFFERENT: Final = 10  # nights that are simulated; the others are copies

STAGE = """
import sys, numpy as np, sleepstage
given = np.load(sys.argv[1])
recording = sleepstage.Recording.from_arrays(
    heart_rate=(given["beats"], given["bpm"]), motion=(given["ends"], given["summaries"]),
    start=0, end=8 * 3600,
)
model = sleepstage.load_model(sys.argv[2])
model.predict(recording)  # loads the libraries
reset()
for _ in range(10):
    model.predict(recording)
report(10)
"""
COMMAND = """
import sys
from sleepstage.cli import main
reset()
try:
    main(sys.argv[1:])
except SystemExit as end:
    if end.code:
        raise
from joblib.externals.loky import get_reusable_executor
get_reusable_executor().shutdown(wait=True)  # what processes took is counted once they have ended
report(1)
"""
MEASURE = """
import os, resource, time
def used():
    return time.perf_counter(), sum(os.times()[:4])
def reset():
    global begun
    begun = used()
def report(n):
    wall, cpu = (after - before for before, after in zip(begun, used()))
    # The peak that the system keeps for a process begins with its parent's; this one does not.
    with open("/proc/self/status") as status:
        own = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    memory = max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    print("measured", wall / n, cpu / n, memory / 1024)
"""


class Work(NamedTuple):
    """A piece of work: what is run, how often, and the share of the older cost that is aimed at."""

    name: str
    code: str
    arguments: list[str]
    rounds: int
    goal: float


def measure(work: Work, source: Path) -> Cost:
    """Run it once with the code in this folder."""
    with tempfile.TemporaryDirectory() as out:
        arguments = [one.replace("OUT", out) for one in work.arguments]
        printed = subprocess.run(
            [sys.executable, "-c", MEASURE + work.code, *arguments],
            env={**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
    return Cost(*map(float, printed.rpartition("measured")[2].split()))


def write_nights(folder: Path) -> Path:
    """Write tables of many nights, and the arrays of one, which is returned."""
    for number in range(NIGHTS):
        recording = simulate_night(number % DIFFERENT, hours=8)
        beats, motion = recording.heart_rate, recording.motion
        named = dict(zip(MOTION_COLUMNS, motion.values.T, strict=True))
        table = pl.DataFrame({"time": beats.times, "bpm": beats.values})
        table.write_csv(folder / f"{number}_hr.csv")
        table = pl.DataFrame({"time": motion.times, **named})
        table.write_csv(folder / f"{number}_motion.csv")
    arrays = folder.with_name("night.npz")
    np.savez(
        arrays, beats=beats.times, bpm=beats.values, ends=motion.times, summaries=motion.values
    )
    return arrays


def planned(folder: Path, *, training: bool) -> list[Work]:
    """What is measured, on files that are written here."""
    nights = folder / "nights"
    nights.mkdir()
    night = str(write_nights(nights))
    score = ["score", str(nights), "--out", "OUT"]
    works = [
        Work("one night, whole-night model", STAGE, [night, "night"], ROUNDS, 1 / 5),
        Work("one night, live model", STAGE, [night, "live"], ROUNDS, 1 / 4),
        Work(f"{NIGHTS} nights, no pictures", COMMAND, [*score, "--no-pictures"], 3, 1 / 4),
        Work(f"{NIGHTS} nights, with pictures", COMMAND, score, 3, 1 / 3),
    ]
    if training:
        train = ["train", "--data", str(find_data()), "--out", "OUT/run"]
        works.append(Work("one training run, default model", COMMAND, train, 1, 1 / 3))
    return works


def rows(works: list[Work], older: Path) -> list[str]:
    """Measure all, and lay out a table in Markdown."""
    head = "| work | wall before | now | ratio | CPU before | now | ratio | goal | memory before |"
    lines = [f"{head} now |", "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for work in works:
        pairs = [(measure(work, older), measure(work, HOME / "src")) for _ in range(work.rounds)]
        before, now = (median(list(costs)) for costs in zip(*pairs, strict=True))
        cells = (
            work.name,
            f"{before.wall:.3g} s",
            f"{now.wall:.3g} s",
            f"{now.wall / before.wall:.2f}",
            f"{before.cpu:.3g} s",
            f"{now.cpu:.3g} s",
            f"{now.cpu / before.cpu:.2f}",
            f"{work.goal:.2f}",
            f"{before.memory:.0f} MB",
            f"{now.memory:.0f} MB",
        )
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Compare, print and perhaps write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--revision", default="e6f5f68")
    parser.add_argument("--training", action="store_true")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    archive = subprocess.run(
        ["git", "-C", str(HOME), "archive", asked.revision, "src"], check=True, capture_output=True
    ).stdout
    with tempfile.TemporaryDirectory() as name:
        older = Path(name, "older")
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(older, filter="data")
        lines = rows(planned(Path(name), training=asked.training), older / "src")
    if asked.write:
        write_section(PAGE, "benchmark", "\n".join(lines))


if __name__ == "__main__":
    main()
