"""An environment of its own for each peer, and work in a process there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import numpy as np

from cost import Cost, megabytes

HOME: Final = Path(__file__).parents[1]
RUNNER: Final = Path(__file__).parent / "adapters" / "run.py"
THREADS: Final = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
_LONGEST_REASON: Final = 200


class PeerError(Exception):
    """A peer can't be installed or run; the text is the reason."""


class Peer(NamedTuple):
    """A package, pinned."""

    package: str
    requirements: tuple[str, ...]
    adapter: str
    """Module in adapters/ that stages nights with it."""
    methods: dict[str, str]
    """Of the adapter, each with the name it is shown under."""
    python: str = sys.executable
    wheels: tuple[str, ...] = (":all:",)
    """Packages that are not built from source."""
    raw: bool = False
    """It needs raw acceleration."""


class Environment(NamedTuple):
    """Where a peer is installed."""

    python: Path
    installed: float
    """Size in MB, byte code included."""


def install(peer: Peer, folder: Path) -> Environment:
    """Install a peer into a new folder; raises `PeerError` where that can't be done."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        msg = "uv is missing; install it with: pip install uv"
        raise SystemExit(msg)
    wheels = [option for name in peer.wheels for option in ("--only-binary", name)]
    packages = [*wheels, "--compile-bytecode", *peer.requirements]
    for task in (
        ["venv", "--python", peer.python, str(folder)],
        ["pip", "install", "--python", str(folder), *packages],
    ):
        done = subprocess.run([uv, "--quiet", *task], check=False, capture_output=True, text=True)
        if done.returncode:
            msg = f"uv {task[0]} failed: {reason(done.stderr)}"
            raise PeerError(msg)
    return Environment(folder / "bin" / "python", megabytes(folder))


def reason(printed: str) -> str:
    """The last thing that was printed, without places on this machine or in its network."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()] or ["no reason given"]
    return re.sub(r"\(?\S*/\S*", "…", lines[-1])[:_LONGEST_REASON]


def work(
    environment: Environment, peer: Peer, method: str, nights: Path, task: str
) -> tuple[Cost, dict[str, Any]]:
    """Stage nights in a new process: what it cost as a whole, and what it wrote.

    See adapters/run.py for the tasks. Raises `PeerError` if the process fails.
    """
    with TemporaryDirectory() as name:
        out, errors = Path(name, "out.npz"), Path(name, "errors")
        command = [environment.python, RUNNER, peer.adapter, method, nights, out, task]
        clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        begin = time.perf_counter()
        with errors.open("w") as file:
            process = subprocess.Popen(
                list(map(str, command)),
                env=clean | dict.fromkeys(THREADS, "1"),
                stdout=subprocess.DEVNULL,
                stderr=file,
            )
            _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)  # no one else may wait for it
        if process.returncode:
            raise PeerError(reason(errors.read_text(errors="replace")))
        with np.load(out) as stored:
            written = dict(stored)
    cpu = used.ru_utime + used.ru_stime
    return Cost(wall, cpu, float(written.pop("memory"))), written
