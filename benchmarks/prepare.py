"""Read and summarise a raw 8-hour night at 50 Hz, beside what pandas.read_csv alone takes.

Each way runs in a process of its own, several times in turn, on the same simulated file:
``python benchmarks/prepare.py``.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 7
TIME_LIMIT = 2.5  # times pandas.read_csv
MEMORY_LIMIT_MB = 700


def with_pandas(path: Path) -> None:
    """The yardstick: parse the text, and nothing else."""
    import pandas as pd

    pd.read_csv(path, sep=" ", header=None)


def with_sleepstage(path: Path) -> None:
    """Parse the text, check and sort it, filter, and summarise every 15 s."""
    from sleepstage.core.motion import summarise_motion
    from sleepstage.core.samples import Samples
    from sleepstage.io.files import read_text_table

    table = read_text_table(path, ("seconds", "x", "y", "z"), separator=" ")
    summarise_motion(Samples.clean(table[:, 0], table[:, 1:], name=str(path), columns=3))


WAYS = {"pandas.read_csv": with_pandas, "sleepstage read + summarise": with_sleepstage}


def measure(name: str, path: Path) -> tuple[float, float]:
    """Seconds and peak memory in MB of one way, measured in a fresh process."""
    output = subprocess.run(
        [sys.executable, __file__, name, str(path)], check=True, capture_output=True, text=True
    )
    seconds, megabytes = map(float, output.stdout.split())
    return seconds, megabytes


def run_one(name: str, path: Path) -> None:
    """In the fresh process: load the libraries first, then time the work alone."""
    way = WAYS[name]
    small = path.with_suffix(".small")
    way(small)
    begin = time.perf_counter()
    way(path)
    seconds = time.perf_counter() - begin
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> int:
    """Print a table; exit status 1 if a limit is missed."""
    from sleepstage.simulate.nights import write_dataset

    with tempfile.TemporaryDirectory() as folder:
        (subject,) = write_dataset(folder, 1, raw_motion=True)
        path = Path(folder) / "motion" / f"{subject}_acceleration.txt"
        with path.open() as file:
            path.with_suffix(".small").write_text("".join(next(file) for _ in range(3000)))
        megabytes = path.stat().st_size / 1e6
        print(f"raw motion of 8 hours at 50 Hz: {megabytes:.0f} MB of text, {ROUNDS} rounds")
        results: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
        for _ in range(ROUNDS):
            for name, measured in results.items():
                measured.append(measure(name, path))
    best = {name: min(seconds for seconds, _ in measured) for name, measured in results.items()}
    peak = {name: max(memory for _, memory in measured) for name, measured in results.items()}
    yardstick, ours = WAYS
    for name in WAYS:
        ratio = best[name] / best[yardstick]
        print(f"{name:30s} best {best[name]:6.3f} s {ratio:5.2f} x   peak {peak[name]:5.0f} MB")
    good = best[ours] <= TIME_LIMIT * best[yardstick] and peak[ours] <= MEMORY_LIMIT_MB
    print(f"limits {TIME_LIMIT} x and {MEMORY_LIMIT_MB} MB: {'kept' if good else 'MISSED'}")
    return 0 if good else 1


if __name__ == "__main__":
    if len(sys.argv) == 3:
        run_one(sys.argv[1], Path(sys.argv[2]))
    else:
        sys.exit(main())
