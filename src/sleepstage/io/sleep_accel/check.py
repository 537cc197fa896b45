"""All subjects of a dataset, one after the other, and what they come to together."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sleepstage.io.sleep_accel.check_files import Facts, Finding, SubjectReport
from sleepstage.io.sleep_accel.check_night import check_subject
from sleepstage.io.sleep_accel.read import SIMULATED_MARKER, find_subjects
from sleepstage.stages import FOUR_CLASS

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DatasetReport", "check_dataset"]


@dataclass(frozen=True)
class DatasetReport:
    """What was found about each subject."""

    directory: Path
    subjects: tuple[SubjectReport, ...]
    simulated: bool

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """Findings of all subjects."""
        return tuple(finding for report in self.subjects for finding in report.findings)

    @property
    def errors(self) -> int:
        """Number of findings that must be mended."""
        return sum(finding.severity == "error" for finding in self.all_findings)

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
        """Epochs and shares of all nights together; the rest is as if not measured."""
        nights = [report.facts for report in self.subjects if report.facts.n_scored]
        n_scored = sum(night.n_scored for night in nights)
        shares = {
            name: sum(night.n_scored * night.shares[name] for night in nights) / n_scored
            for name in (FOUR_CLASS.classes if nights else ())
        }
        n_scorable = sum(night.n_scorable for night in nights)
        return Facts(n_scored=n_scored, n_scorable=n_scorable, shares=shares)

    def to_json(self) -> dict[str, Any]:
        """All of it in the types of JSON, paths as text."""
        summary = {name: getattr(self, name) for name in ("status", "errors", "warnings")}
        totals = {"people": len(self.subjects), **asdict(self.totals)}
        text = json.dumps({**asdict(self), **summary, "totals": totals}, default=str)
        return dict(json.loads(text))


def check_dataset(
    directory: str | Path, *, on_progress: Callable[[int, int, str], None] | None = None
) -> DatasetReport:
    """Check all subjects of a dataset.

    Parameters
    ----------
    directory : path
        Folder in the layout of `sleepstage.io.sleep_accel.read`.
    on_progress : callable, optional
        Called with the number of finished subjects, of all subjects, and the one just finished.

    Raises
    ------
    DataError
        If `directory` has none of the dataset's files.
    """
    directory = Path(directory)
    subjects = find_subjects(directory)
    reports = []
    for subject in subjects:
        reports.append(check_subject(directory, subject))
        if on_progress is not None:
            on_progress(len(reports), len(subjects), subject)
    return DatasetReport(directory, tuple(reports), (directory / SIMULATED_MARKER).exists())
