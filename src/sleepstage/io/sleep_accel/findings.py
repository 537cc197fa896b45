"""What the checks report of each subject: what is wrong, and a few facts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Facts", "Finding", "Severity", "SubjectReport"]


Severity = Literal["error", "warning"]
"""An error must be mended; a warning should be known before trusting a night."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and the file in which it was found."""

    severity: Severity
    code: str
    """Stable name of the kind of finding, such as ``duplicate-samples``."""
    message: str
    """What was found, with the value, and what to do."""
    file: Path | None = None
    line: int | None = None
    """The first line that it concerns, from 1 on."""
    count: int = 1
    """Number of places that it concerns."""


@dataclass(kw_only=True)
class Facts:
    """Numbers that describe a night, None where there is nothing to measure."""

    n_scored: int = 0
    """Epochs with a stage."""
    n_scorable: int = 0
    """Those of them with heart rate and motion (`Recording.covered`); 0 if it is refused."""
    shares: dict[str, float] = field(default_factory=dict)
    """Share of each class of `FOUR_CLASS` in the scored epochs; empty if there are none."""
    heart_rate_gap_min: float | None = None
    """Longest time in the night without heart rate, in minutes."""
    motion_gap_min: float | None = None
    motion_rate_hz: float | None = None
    """Median rate of raw motion in the night."""
    steps_day: int | None = None
    """Steps in the 24 h before the night."""


@dataclass(frozen=True)
class SubjectReport:
    """What was found about one subject."""

    subject: str
    findings: tuple[Finding, ...]
    facts: Facts
