"""What is known of a night while its files are gone through, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sleepstage.checks.findings import Finding, Severity
from sleepstage.readers.sleep_accel import LONGEST_NIGHT
from sleepstage.recording import PLAUSIBLE_BPM, Recording
from sleepstage.stages import EPOCH_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from sleepstage.checks.source import Floats, Mask, Source

__all__ = ["Night"]

MIN_SCORABLE: Final = 0.8  # of the scored epochs: below, it is no longer the night that was scored


@dataclass(eq=False)
class Night:
    """When the night is, what was measured in it, and what was found."""

    findings: list[Finding]
    facts: dict[str, Any] = field(default_factory=dict)  # fields of `Facts`, as far as known
    span: tuple[float, float] | None = None  # s
    scored: Mask = field(default_factory=lambda: np.empty(0, dtype=bool))  # epochs with a stage
    beats: Floats = field(default_factory=lambda: np.empty(0))  # times of heart rates in the night
    windows: Floats = field(default_factory=lambda: np.empty(0))  # ends of its motion windows

    def take_span(self, source: Source, start: float, end: float) -> bool:
        """Take the times of the night from a file, if they can be right."""
        if EPOCH_SECONDS <= end - start <= LONGEST_NIGHT:
            self.span = (start, end)
            self.facts["hours"] = (end - start) / 3600
            return True
        text = f"the night goes from {start:.10g} to {end:.10g} s; correct the times: expected "
        source.error("night-length", f"{text}{EPOCH_SECONDS} s to {LONGEST_NIGHT / 3600:g} h")
        return False

    def inside(self, times: Floats) -> Mask:
        """Which times are in the night."""
        start, end = self.span or (np.inf, -np.inf)
        return np.asarray((times >= start) & (times <= end))

    def check_coverage(self, labels: Path) -> None:
        """Count the scored epochs that have heart rate and motion."""
        n_scored = int(self.scored.sum())
        if self.span is None or not n_scored:
            return
        beats, windows = self.beats - self.span[0], self.windows - self.span[0]
        recording = Recording.from_arrays(
            heart_rate=(beats, np.full(len(beats), PLAUSIBLE_BPM[0])),
            motion=(windows, np.zeros((len(windows), 4))),
            start=0.0,
            end=float(EPOCH_SECONDS * len(self.scored)),
        )
        n_scorable = int((recording.covered & self.scored).sum())
        self.facts["n_scorable"] = n_scorable
        if n_scorable < MIN_SCORABLE * n_scored:
            share = f"{n_scorable} of {n_scored} scored epochs ({n_scorable / n_scored:.0%})"
            text, count = f"{share} have heart rate and motion", n_scored - n_scorable
            finding = Finding(Severity.WARNING, "low-coverage", text, labels, count=count)
            self.findings.append(finding)
