"""What the checks report: findings and facts of each subject, and the totals of a dataset."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sleepstage.stages import FOUR_CLASS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["DatasetReport", "Facts", "Finding", "Severity", "SubjectReport"]


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes
    ----------
    severity : Severity
        ``error`` if it must be mended, ``warning`` if it should be known.
    code : str
        Stable name of the kind of finding, such as ``duplicate-samples``.
    message : str
        What was found, with the value, and for errors how to mend it.
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


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Numbers that describe a night, None where there is nothing to measure.

    Attributes
    ----------
    hours : float or None
        Length of the night: of the labels or, without them, of the motion.
    n_scored, n_unscored : int
        Epochs with and without a stage.
    n_scorable : int
        Scored epochs with heart rate and motion (`Recording.covered`).
    shares : dict of str to float
        Share of each class of `FOUR_CLASS` in the scored epochs; empty if there are none.
    n_heart_rate, heart_rate_interval_s : int, float or None
        Heart rates in the night and the median of their distances in seconds.
    n_motion_windows : int
        15 s windows of the night with motion.
    motion_rate_hz, motion_rate_range_hz : float or None, (float, float) or None
        Rate of raw motion in the night: median, and slowest and fastest minute.
    heart_rate_gap_min, motion_gap_min : float or None
        Longest time in the night without heart rate and without motion, in minutes.
    steps_day, steps_night : int or None
        Steps in the 24 h before the night and in the night.
    """

    hours: float | None = None
    n_scored: int = 0
    n_unscored: int = 0
    n_scorable: int = 0
    shares: Mapping[str, float] = field(default_factory=dict)
    n_heart_rate: int = 0
    heart_rate_interval_s: float | None = None
    n_motion_windows: int = 0
    motion_rate_hz: float | None = None
    motion_rate_range_hz: tuple[float, float] | None = None
    heart_rate_gap_min: float | None = None
    motion_gap_min: float | None = None
    steps_day: int | None = None
    steps_night: int | None = None


@dataclass(frozen=True)
class SubjectReport:
    """What was found about one subject."""

    subject: str
    findings: tuple[Finding, ...]
    facts: Facts


@dataclass(frozen=True)
class DatasetReport:
    """What was found about each subject and, in `findings`, about several at a time."""

    directory: Path
    subjects: tuple[SubjectReport, ...]
    findings: tuple[Finding, ...] = ()
    simulated: bool = False

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """Findings of all subjects, then those of the dataset."""
        return (*(one for subject in self.subjects for one in subject.findings), *self.findings)

    @property
    def errors(self) -> int:
        """Number of findings that must be mended."""
        return sum(finding.severity is Severity.ERROR for finding in self.all_findings)

    @property
    def warnings(self) -> int:
        """Number of findings that should be known."""
        return len(self.all_findings) - self.errors

    @property
    def status(self) -> int:
        """Exit status: 0 if there is nothing to report, 1 with errors, 3 with warnings only."""
        return 1 if self.errors else 3 if self.warnings else 0

    @property
    def totals(self) -> Facts:
        """Hours, counts and shares of all nights together; the rest is as if not measured."""
        nights = [report.facts for report in self.subjects]
        counts = ("n_scored", "n_unscored", "n_scorable", "n_heart_rate", "n_motion_windows")
        total = {name: sum(getattr(night, name) for night in nights) for name in counts}
        scored = [night for night in nights if night.n_scored]
        shares = {
            name: sum(night.n_scored * night.shares[name] for night in scored) / total["n_scored"]
            for name in (FOUR_CLASS.classes if scored else ())
        }
        return Facts(hours=sum(night.hours or 0 for night in nights), shares=shares, **total)

    def to_json(self) -> dict[str, Any]:
        """All of it in the types of JSON, paths as text, None for what is not finite."""
        summary = {name: getattr(self, name) for name in ("status", "errors", "warnings")}
        totals = {"people": len(self.subjects), **asdict(self.totals)}
        text = json.dumps({**asdict(self), **summary, "totals": totals}, default=str)
        report: dict[str, Any] = json.loads(text, parse_constant=lambda _: None)
        return report
