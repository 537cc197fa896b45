"""What work costs: time and memory of a process, room on a disk."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Cost(NamedTuple):
    """Of one piece of work."""

    wall: float
    cpu: float
    memory: float
    """The first two in seconds, the last one in MB."""


def median(costs: Sequence[Cost]) -> Cost:
    """Medians of time, and the largest memory."""
    wall, cpu, memory = zip(*costs, strict=True)
    return Cost(statistics.median(wall), statistics.median(cpu), max(memory))


def megabytes(folder: Path) -> float:
    """Size of all files in a folder."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return sum(path.stat().st_size for path in files) / 1e6
