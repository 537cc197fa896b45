"""What becomes of damaged files: a night, or an error that names what is wrong.

Files of all formats, as the tests write them, are damaged at random, by what they are made of: rows
and cells of tables, values of JSON, attributes of XML, members of archives, bytes. Counted are
nights, errors of ours, and what must not be: other exceptions, readings of over ten seconds,
processes that end. ``python benchmarks/damage.py [--number 200000] [--seed 0]``; exits with 1 if
there was any.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
import zipfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.random import Generator
from rich.console import Console
from rich.table import Table

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from sleepstage.errors import DataError, SleepstageError  # noqa: E402
from sleepstage.io.registry import find_sources, read_source  # noqa: E402
from tests.helpers import fit  # noqa: E402
from tests.io import test_binary_devices, test_exports, test_garmin, test_registry_fuzz  # noqa: E402

LIMIT: Final = 10  # s
BATCH: Final = 250
ODD: Final = (
    *("", "-1", "0", "nan", "inf", "1e400", "1e18", "-0.5", "99999999999999999999", "x", "null"),
    *("2024-03-12", "2024-03-12T23:00:00Z", "12:00 AM", "true", "é", '"', "'", ";", "\t", "\x00"),
)
VALUES: Final[tuple[Any, ...]] = (
    None,
    -1,
    0,
    1e300,
    "x",
    "",
    [],
    {},
    True,
    "2024-03-12",
    [1, 2],
    {"a": 1},
)


@cache
def files() -> dict[str, bytes]:
    """Content of an undamaged file of each format, by its path."""
    found = dict(test_registry_fuzz.FILES)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "night.fit").write_bytes(fit.document(*test_garmin.night()))
        (home / "wrist.cwa").write_bytes(test_binary_devices.cwa(list(range(120))))
        seconds = [*range(60), *range(660, 720)]
        test_binary_devices.write_gt3x(home / "wrist.gt3x", seconds, (60, 660))
        test_binary_devices.write_avro(
            home / "1-1-001_1710280800.avro", 1710280800, test_binary_devices.RANGES
        )
        found |= {path.name: path.read_bytes() for path in home.iterdir()}
    stages = json.dumps(test_exports.auto_export(test_exports.stages()))
    return found | {"HealthAutoExport.json": stages.encode()}


def damage(rng: Generator, name: str, content: bytes) -> bytes:
    """Change a file in one to three places."""
    if name.endswith(".mat"):  # scipy does not stand everything: see the reader
        return content[: rng.integers(0, len(content))]
    for _ in range(rng.integers(1, 4)):
        kind = rng.random()
        if kind < 0.3:
            content = _bytes(rng, content)
        elif name.endswith(".fit"):
            content = _messages(rng, content)
        elif name.endswith(".json"):
            content = _json(rng, content)
        elif name.endswith((".zip", ".gt3x")):
            content = _member(rng, content)
        elif name.endswith(".xml"):
            content = _attribute(rng, content)
        elif name.endswith((".csv", ".txt")):
            content = _cells(rng, content)
        else:
            content = _bytes(rng, content)
    return content


def _bytes(rng: Generator, content: bytes) -> bytes:
    """Cut the end off, take a piece out, double it, or put other bytes into its place."""
    first, last = sorted(rng.integers(0, len(content) + 1, 2).tolist())
    if rng.random() < 0.7:
        last = min(last, first + int(rng.integers(0, 16)))
    piece = content[first:last]
    return [
        content[:first],
        content[:first] + content[last:],
        content[:last] + piece + content[last:],
        content[:first] + rng.bytes(len(piece)) + content[last:],
    ][rng.integers(0, 4)]


def _messages(rng: Generator, content: bytes) -> bytes:
    """Damage the messages of a FIT file, and count and sum them up again."""
    data = _bytes(rng, content[14:-2])
    return fit.document(data)


def _cells(rng: Generator, content: bytes) -> bytes:
    """Change a cell or a name, move a row, or end its columns early."""
    rows = [row.split(b",") for row in content.split(b"\n")]
    at = int(rng.integers(0, len(rows))) if rng.random() < 0.7 else 0
    column = int(rng.integers(0, len(rows[at])))
    kind = rng.integers(0, 5)
    if kind < 2:
        rows[at][column] = _odd(rng)
    elif kind == 2:
        rows.insert(int(rng.integers(0, len(rows))), rows.pop(at))
    elif kind == 3:
        del rows[at][column:]
    else:
        rows = [[cell for n, cell in enumerate(row) if n != column] for row in rows]
    return b"\n".join(b",".join(row) for row in rows)


def _odd(rng: Generator) -> bytes:
    return str(ODD[rng.integers(0, len(ODD))]).encode()


def _json(rng: Generator, content: bytes) -> bytes:
    """Put another value into a random place, or take it out."""
    try:
        document = json.loads(content)
    except ValueError:
        return _bytes(rng, content)
    holder: Any = None
    key: Any = None
    inner: Any = document
    while isinstance(inner, dict | list) and inner and (holder is None or rng.random() < 0.8):
        holder = inner
        keys = list(inner) if isinstance(inner, dict) else range(len(inner))
        key = keys[int(rng.integers(0, len(keys)))]
        inner = inner[key]
    if holder is None:
        return content
    if rng.random() < 0.2:
        del holder[key]
    else:
        holder[key] = VALUES[rng.integers(0, len(VALUES))]
    return json.dumps(document).encode()


def _attribute(rng: Generator, content: bytes) -> bytes:
    found = list(re.finditer(rb'(\w+)="([^"]*)"', content))
    if not found:
        return _bytes(rng, content)
    one = found[rng.integers(0, len(found))]
    first, last = one.span(int(rng.integers(0, 3)))
    odd = _odd(rng).replace(b'"', b"&quot;")
    return content[:first] + odd + content[last:]


def _member(rng: Generator, content: bytes) -> bytes:
    """Damage what is inside, and pack it again."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except Exception:
        return _bytes(rng, content)
    packed = io.BytesIO()
    chosen = list(members)[rng.integers(0, len(members))] if members else ""
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, inner in members.items():
            inside = damage(rng, name, inner) if name == chosen else inner
            archive.writestr(name, inside)
    return packed.getvalue()


class TooLongError(Exception):
    """A file took longer than `LIMIT`."""


def _stop(_number: int, _frame: object) -> None:
    raise TooLongError


def work(seed: int, first: int, number: int) -> tuple[Counter[str], dict[str, str], float]:
    """Outcomes of so many variants, an example of each that must not be, and memory in MB."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _stop)
    counts: Counter[str] = Counter()
    wrong: dict[str, str] = {}
    names = list(files())
    home = Path(tempfile.mkdtemp())
    for variant in range(first, first + number):
        rng = np.random.default_rng([seed, variant])
        name = names[variant % len(names)]
        folder = home / "now"
        folder.mkdir()
        test_registry_fuzz.write(folder, name, damage(rng, name, files()[name]))
        signal.alarm(LIMIT)
        try:
            outcome = _read(folder)
        except BaseException as error:
            outcome = type(error).__name__
            at = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{name}: {outcome} in {at.name}, line {at.lineno} of {Path(at.filename).name}"
            wrong.setdefault(where, f"variant {variant}\n{traceback.format_exc()}")
        finally:
            signal.alarm(0)
        counts[f"{name}\t{outcome}"] += 1
        shutil.rmtree(folder)
    shutil.rmtree(home)
    return counts, wrong, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _read(folder: Path) -> str:
    """``night`` where there is one, ``error`` where something is refused, else ``nothing``."""
    try:
        sources, left = find_sources(folder)
    except DataError:
        return "error"
    outcome = "error" if left else "nothing"
    for source in sources:
        try:
            for night in read_source(source, source.files):
                if night.read().n_epochs:
                    return "night"
        except SleepstageError:
            outcome = "error"
    return outcome


def main() -> int:
    """Damage files, read them, and show what became of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    counts: Counter[str] = Counter()
    wrong: dict[str, str] = {}
    memory = 0.0
    with ProcessPoolExecutor(given.jobs, get_context("spawn")) as pool:
        tasks = {
            first: pool.submit(work, given.seed, first, min(BATCH, given.number - first))
            for first in range(0, given.number, BATCH)
        }
        for first, task in tasks.items():
            try:
                some, examples, peak = task.result()
            except BrokenProcessPool:
                wrong[f"a process ended in variants {first} to {first + BATCH}"] = ""
                break
            counts += some
            wrong = examples | wrong
            memory = max(memory, peak)
    table = Table("file", "nights", "errors", "nothing", "others", "variants", box=None)
    for name in files():
        of_one = {key.split("\t")[1]: n for key, n in counts.items() if key.startswith(f"{name}\t")}
        total = sum(of_one.values())
        known = [of_one.pop(key, 0) for key in ("night", "error", "nothing")]
        table.add_row(name, *map(str, known), str(sum(of_one.values())), str(total))
    Console(width=100).print(table)
    print(f"{counts.total()} variants, at most {memory:.0f} MB a process")
    for what, example in wrong.items():
        print(f"\n{what}\n{example}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
