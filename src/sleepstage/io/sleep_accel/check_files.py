"""Findings, and a file as it is stored: its good rows and the lines they stand on."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sleepstage.errors import DataError
from sleepstage.io.files import text_lines
from sleepstage.io.sleep_accel.read import LAYOUT
from sleepstage.io.source import Floats, Mask
from sleepstage.stages import FOUR_CLASS

Severity = Literal["error", "warning"]
"""An error must be corrected; a warning should be known before trusting a night."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and the file in which it was found."""

    severity: Severity
    code: str  # stable name of the kind of finding, such as ``duplicate-samples``
    message: str  # what was found, with the value, and what to do
    file: Path | None = None
    line: int | None = None  # the first line that it concerns, from 1 on
    count: int = 1  # number of places that it concerns


@dataclass(kw_only=True)
class Facts:
    """Numbers that describe a night, None where there is nothing to measure."""

    n_scored: int = 0  # epochs with a stage
    n_scorable: int = 0  # of these, with heart rate and motion (`Recording.covered`)
    shares: dict[str, float] = field(default_factory=dict)  # of each class in the scored epochs
    heart_rate_gap_min: float | None = None  # longest time in the night without it, in minutes
    motion_gap_min: float | None = None
    motion_rate_hz: float | None = None  # median rate of raw motion in the night
    steps_day: int | None = None  # steps in the 24 h before the night


@dataclass(frozen=True)
class SubjectReport:
    """What was found about one subject."""

    subject: str
    findings: tuple[Finding, ...]
    facts: Facts


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
    def counts(self) -> Counter[Severity]:
        """Number of findings of each severity."""
        return Counter(finding.severity for finding in self.all_findings)

    @property
    def status(self) -> int:
        """Exit status: 0 if there is nothing to report, 1 with errors, 3 with warnings only."""
        return 1 if self.counts["error"] else 3 if self.all_findings else 0

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
        errors, warnings = self.counts["error"], self.counts["warning"]
        summary = {"status": self.status, "errors": errors, "warnings": warnings}
        totals = {"people": len(self.subjects), **asdict(self.totals)}
        text = json.dumps({**asdict(self), **summary, "totals": totals}, default=str)
        return dict(json.loads(text))


class Source:
    """The good rows, `table`, of a file of the kind that `LAYOUT` names, with the time first.

    Faults are appended to `findings`; what can't be read is reported at once.
    """

    def __init__(self, path: Path, name: str, findings: list[Finding]) -> None:
        self.path, self.layout, self.findings = path, LAYOUT[name], findings
        self.table = self._read()
        self.stored = np.arange(len(self.table))  # the place of each row among the file's good ones

    def __len__(self) -> int:
        return len(self.table)

    @property
    def times(self) -> Floats:
        """Seconds, one a row."""
        return self.table[:, 0]

    @property
    def values(self) -> Floats:
        """What is in the second column."""
        return self.table[:, 1]

    def keep(self, rows: Mask | NDArray[np.intp]) -> None:
        """Go on with some of the rows, or with another order of them."""
        self.table, self.stored = self.table[rows], self.stored[rows]

    def report(
        self, severity: Severity, code: str, message: str, line: int | None = None, count: int = 1
    ) -> None:
        """Report something about the file."""
        self.findings.append(Finding(severity, code, message, self.path, line, count))

    def flag(self, rows: Mask, severity: Severity, code: str, what: str, advice: str) -> None:
        """Report, unless there are none, how many rows are `what`, and the first of them."""
        if rows.any():
            row, count = int(rows.argmax()), int(rows.sum())
            time, *values = self.table[row]
            first = f"first {', '.join(f'{value:g}' for value in values)} at {time:.10g} s"
            message = f"{what}: {count} of {len(rows)} rows, {first}; {advice}"
            self.report(severity, code, message, self.line(row), count)

    def line(self, row: int) -> int | None:
        """Line of a row, None in binary files; looked up anew, for few are ever asked for."""
        if self.path.suffix == ".parquet":
            return None
        good = (number for number, values in self._lines() if not isinstance(values, str))
        return next(islice(good, int(self.stored[row]), None), None)

    def put_time_first(self, is_value: Callable[[Floats], Mask]) -> None:
        """Recognise a file whose two columns are swapped and go on as if they weren't."""
        swapped = is_value(self.times)
        if len(self) and swapped.all() and is_value(self.values).mean() < 0.5:
            what = "columns are swapped"
            self.flag(swapped, "error", "swapped-columns", what, "put the time first")
            self.table = self.table[:, ::-1]

    def sort(self, repeated: Severity = "warning") -> None:
        """Find rows out of order and at equal times; leaves them sorted, one for each time."""
        steps = np.diff(self.times, prepend=-np.inf)
        if (steps > 0).all():
            return
        self.flag(steps < 0, "warning", "unsorted", "steps back in time", "taken as sorted")
        _, first, counts = np.unique(self.table, axis=0, return_index=True, return_counts=True)
        copy = np.ones(len(self), dtype=bool)
        copy[first] = False
        what = f"copies, stored {counts.max()} times over"
        self.flag(copy, repeated, "duplicate-samples", what, "keep one of each")
        self.keep(first)
        again = np.diff(self.times, prepend=-np.inf) == 0
        self.flag(again, repeated, "conflicting-samples", "equal times, other values", "keep one")
        self.keep(~again)

    def _read(self) -> Floats:
        """All rows, or the good ones if some lines are broken."""
        columns = self.layout.columns
        try:
            return self.layout.read(self.path)
        except DataError as error:
            if self.path.suffix == ".parquet" or isinstance(error.__cause__, OSError):
                self.report("error", "parse", str(error).removeprefix(f"{self.path}: "))
                return np.empty((0, len(columns)))
        broken = [line for line in self._lines() if isinstance(line[1], str)]
        good = [values for _, values in self._lines() if not isinstance(values, str)]
        if broken:
            line, what = broken[0]
            message = f"{what} ({len(broken)} broken, {len(good)} good)"
            self.report("error", "parse", message, line, len(broken))
        elif not good:
            self.report("error", "empty-file", f"the file is empty; expected {', '.join(columns)}")
        return np.array(good, dtype=np.float64).reshape(-1, len(columns))

    def _lines(self) -> Iterator[tuple[int, list[float] | str]]:
        one = self.layout
        return text_lines(self.path, one.columns, separator=one.separator, header=one.header)
