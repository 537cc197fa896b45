"""A large export of Apple Health, and a thousand nights: ``python benchmarks/score.py``.

The export has 1 GB: heart rate, steps, sleep, and the records of energy, distance and sound that
make up most of a real one. Reading it is compared with a bare `iterparse` over the same file, each
in a process of its own, in turn. The nights are 15 s summaries and heart rate every 5 s, eight
hours each, scored by ``sleepstage score``. With ``--write`` the table goes into docs/my-study.md.
"""

from __future__ import annotations

import datetime as dt
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from sleepstage._utils.files import write_atomically
from sleepstage.core.motion import MOTION_COLUMNS
from sleepstage.simulate.nights import simulate_night

if TYPE_CHECKING:
    from collections.abc import Iterator

GIGABYTE: Final = 10**9
ROUNDS: Final = 3
NIGHTS: Final = 1000
DIFFERENT: Final = 20  # nights that are simulated; the others are copies
MEMORY_LIMIT_MB: Final = 300
TIME_LIMIT_S: Final = 300
PAGE = Path(__file__).parents[1] / "docs" / "my-study.md"
BEGIN, END = "<!-- benchmark -->\n", "<!-- /benchmark -->"

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE HealthData [
<!ELEMENT HealthData (ExportDate,Me,(Record|Workout)*)>
<!ATTLIST HealthData locale CDATA #REQUIRED>
]>
<HealthData locale="en_GB">
 <ExportDate value="2024-04-02 09:00:00 +0000"/>
"""
DEVICE = (
    "&lt;&lt;HKDevice: 0x282d03020&gt;, name:Apple Watch, manufacturer:Apple Inc., model:Watch, "
    "hardware:Watch6,2, software:10.3&gt;"
)


def stamp(time: float) -> str:
    """A time as an export has it."""
    return dt.datetime.fromtimestamp(time, dt.UTC).strftime("%Y-%m-%d %H:%M:%S +0000")


def record(kind: str, unit: str, start: float, end: float, value: object, inside: str = "") -> str:
    """One record."""
    begun, ended = stamp(start), stamp(end)
    told = (
        f' <Record type="{kind}" sourceName="Apple Watch" sourceVersion="10.3" '
        f'device="{DEVICE}"{unit} creationDate="{ended}" startDate="{begun}" endDate="{ended}" '
        f'value="{value}"'
    )
    return f"{told}>\n  {inside}\n </Record>\n" if inside else f"{told}/>\n"


def day(start: float, rng: np.random.Generator) -> Iterator[str]:
    """A day, noon to noon, with as much energy, distance and sound as a watch writes.

    A heart rate in five minutes, in five seconds for an hour of sport, and a night with stages.
    """
    context = '<MetadataEntry key="HKMetadataKeyHeartRateMotionContext" value="1"/>'
    times = [*np.arange(0, 86400, 300), *np.arange(18000, 21600, 5)]
    quantity = "HKQuantityTypeIdentifier"
    for at in times:
        bpm = round(float(rng.normal(60, 6)), 1)
        beat = start + float(at)
        yield record(f"{quantity}HeartRate", ' unit="count/min"', beat, beat, bpm, context)
    for at in np.arange(0, 36000, 600):
        begun = start + float(at)
        yield record(f"{quantity}StepCount", ' unit="count"', begun, begun + 500, 40)
    for at in np.arange(0, 86400, 60):
        begun = start + float(at)
        yield record(f"{quantity}ActiveEnergyBurned", ' unit="kcal"', begun, begun + 60, 0.2)
    for at in np.arange(0, 36000, 60):
        begun = start + float(at)
        yield record(f"{quantity}DistanceWalkingRunning", ' unit="km"', begun, begun + 60, 0.01)
    at = start + 11 * 3600
    for stage in ("Core", "Deep", "Core", "REM") * 4:
        kind, value = "HKCategoryTypeIdentifierSleepAnalysis", "HKCategoryValueSleepAnalysisAsleep"
        yield record(kind, "", at, at + 1800, f"{value}{stage}")
        at += 1800


def write_export(path: Path) -> int:
    """Write the export, and say how many nights it has."""
    rng = np.random.default_rng(0)
    noon = dt.datetime(2018, 1, 1, 12, tzinfo=dt.UTC).timestamp()
    written, days = 0, 0
    with path.open("w", encoding="utf-8") as file:
        written += file.write(HEAD)
        while written < GIGABYTE:
            written += sum(map(file.write, day(noon + 86400 * days, rng)))
            days += 1
        file.write("</HealthData>\n")
    return days


def with_iterparse(path: Path) -> None:
    """The yardstick: parse the XML, and nothing else."""
    from xml.etree.ElementTree import iterparse

    for _, element in iterparse(path):
        element.clear()


def with_sleepstage(path: Path) -> None:
    """Find and read all nights."""
    from sleepstage.io import open_nights

    print(sum(night.read().n_epochs > 0 for night in open_nights(path)), file=sys.stderr)


WAYS = {"iterparse": with_iterparse, "sleepstage": with_sleepstage}


def measure(name: str, path: Path) -> tuple[float, float]:
    """Seconds and peak memory in MB of one way, in a fresh process."""
    command = [sys.executable, __file__, name, str(path)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds, megabytes = map(float, output.stdout.split())
    return seconds, megabytes


def run_one(name: str, path: Path) -> None:
    """In the fresh process."""
    begin = time.perf_counter()
    WAYS[name](path)
    seconds = time.perf_counter() - begin
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def write_nights(folder: Path) -> None:
    """A thousand nights, two files each."""
    made = []
    for seed in range(DIFFERENT):
        recording = simulate_night(seed, hours=8)
        beats, motion = recording.heart_rate, recording.motion
        made.append(folder / f"{seed}")
        pl.DataFrame({"time": beats.times, "bpm": beats.values}).write_csv(f"{made[-1]}_hr.csv")
        table = dict(zip(MOTION_COLUMNS, motion.values.T, strict=True))
        pl.DataFrame({"time": motion.times, **table}).write_csv(f"{made[-1]}_motion.csv")
    for number in range(DIFFERENT, NIGHTS):
        for signal in ("hr", "motion"):
            source = f"{made[number % DIFFERENT]}_{signal}.csv"
            shutil.copyfile(source, folder / f"{number}_{signal}.csv")


def score(folder: Path, *options: str) -> float:
    """Seconds of the whole command."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "sleepstage", "score", str(folder), *options]
    subprocess.run(
        [*command, "--out", str(folder.with_name("scored"))], check=True, stdout=subprocess.PIPE
    )
    return time.perf_counter() - begin


def compare_reading(folder: Path) -> list[tuple[str, str, str]]:
    """Rows on the export."""
    path = folder / "export.xml"
    days = write_export(path)
    found = {name: [measure(name, path) for _ in range(ROUNDS)] for name in WAYS}
    seconds = {name: min(one for one, _ in runs) for name, runs in found.items()}
    memory = max(one for _, one in found["sleepstage"])
    size = f"{path.stat().st_size / 1e9:.1f} GB, {days} days"
    return [
        (f"an export of {size}: bare iterparse", f"{seconds['iterparse']:.1f} s", ""),
        (
            "  finding and reading all nights",
            f"{seconds['sleepstage']:.1f} s",
            f"{2 * seconds['iterparse']:.1f} s",
        ),
        ("  its memory", f"{memory:.0f} MB", f"{MEMORY_LIMIT_MB} MB"),
    ]


def time_scoring(folder: Path) -> list[tuple[str, str, str]]:
    """Rows on a thousand nights."""
    nights = folder / "nights"
    nights.mkdir()
    write_nights(nights)
    rows = []
    for what, options in (
        ("live", ["--model", "live"]),
        ("whole night", []),
        ("whole night, without pictures", ["--no-pictures"]),
    ):
        shutil.rmtree(folder / "scored", ignore_errors=True)
        seconds = score(nights, *options)
        rows.append((f"{NIGHTS} nights scored, {what}", f"{seconds:.0f} s", f"{TIME_LIMIT_S} s"))
    rows.append(("  and again, when all are done", f"{score(nights, *options):.0f} s", ""))
    return rows


def main() -> None:
    """Measure everything, and show it."""
    with tempfile.TemporaryDirectory() as name:
        rows = [*compare_reading(Path(name)), *time_scoring(Path(name))]
    for what, value, limit in rows:
        print(f"{what:<58} {value:>10} {limit:>10}")
    if "--write" in sys.argv:
        lines = ["| | measured | limit |", "|---|--:|--:|"]
        lines += [f"| {what.strip()} | {value} | {limit} |" for what, value, limit in rows]
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        with write_atomically(PAGE) as temporary:
            table = "\n".join(lines)
            temporary.write_text(f"{before}{BEGIN}{table}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] in WAYS:
        run_one(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
