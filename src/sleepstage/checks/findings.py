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
    """One thing that is wrong.

    Attributes
    ----------
    severity : Severity
        How bad it is.
    code : str
        Stable name of the kind of finding, such as ``duplicate-samples``.
    message : str
        What was found, with the value, and what to do.
    file : Path, optional
        Where it was found.
    line : int, optional
        The first line that it concerns, from 1 on.
    count : int
        Number of places that it concerns.
    """

    severity: Severity
    code: str
    message: str
    file: Path | None = None
    line: int | None = None
    count: int = 1


@dataclass(kw_only=True)
class Facts:
    """Numbers that describe a night, None where there is nothing to measure.

    Attributes
    ----------
    n_scored, n_scorable : int
        Epochs with a stage, and those of them with heart rate and motion (`Recording.covered`),
        which are none if the reader refuses the night.
    shares : dict of str to float
        Share of each class of `FOUR_CLASS` in the scored epochs; empty if there are none.
    heart_rate_gap_min, motion_gap_min : float or None
        Longest time in the night without heart rate and without motion, in minutes.
    motion_rate_hz : float or None
        Median rate of raw motion in the night.
    steps_day : int or None
        Steps in the 24 h before the night.
    """

    n_scored: int = 0
    n_scorable: int = 0
    shares: dict[str, float] = field(default_factory=dict)
    heart_rate_gap_min: float | None = None
    motion_gap_min: float | None = None
    motion_rate_hz: float | None = None
    steps_day: int | None = None


@dataclass(frozen=True)
class SubjectReport:
    """What was found about one subject."""

    subject: str
    findings: tuple[Finding, ...]
    facts: Facts
