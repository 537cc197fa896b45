"""A file as it is stored: its good rows, the lines they stand on, and where to report."""

from __future__ import annotations

from functools import partialmethod
from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np

from sleepstage.checks.findings import Finding, Severity
from sleepstage.errors import DataError
from sleepstage.readers.sleep_accel import LAYOUT, Table, read_summary
from sleepstage.readers.text import read_text_table, text_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from sleepstage.readers.text import Line

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]
    Rows = Mask | NDArray[np.intp]

__all__ = ["Source", "open_source"]

SHOWN_LINES: Final = 3  # broken lines of a file that get a finding each: more tell nothing new


class Source:
    """The good rows of a file, `table`, with the time first; findings about them have a line."""

    def __init__(self, path: Path, layout: Table, table: Floats, findings: list[Finding]) -> None:
        self.path = path
        self.layout = layout
        self.table = table
        self.findings = findings
        self.stored = np.arange(len(table))  # the place of each row among the file's good ones

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

    def keep(self, rows: Rows) -> None:
        """Go on with some of the rows, or with another order of them."""
        self.table, self.stored = self.table[rows], self.stored[rows]

    def report(
        self, severity: Severity, code: str, text: str, rows: Rows | int | None = None
    ) -> None:
        """Report `text` about the file or, if given, about some rows, unless there are none.

        It may then refer to n (rows), of (all rows), and to time, value and row of the first.
        """
        line, count = None, 1
        if rows is not None:
            which = np.atleast_1d(rows)
            which = np.flatnonzero(which) if which.dtype == bool else which
            if not len(which):
                return
            row, line, count = self.table[which[0]], self._line(which[0]), len(which)
            words = {"time": f"{row[0]:.10g} s", "value": f"{row[1]:g}", "row": row.tolist()}
            text = text.format(n=count, of=len(self), **words)
        self.findings.append(Finding(severity, code, text, self.path, line, count))

    error = partialmethod(report, Severity.ERROR)
    warn = partialmethod(report, Severity.WARNING)

    def _line(self, row: int) -> int | None:
        """Line of a row, None in binary files; looked up anew, for few are ever asked for."""
        if self.path.suffix == ".parquet":
            return None
        good = (line.number for line in _lines(self.path, self.layout) if line.values is not None)
        return next(islice(good, int(self.stored[row]), None), None)


def open_source(
    path: Path,
    name: str,
    findings: list[Finding],
    is_value: Callable[[Floats], Mask] | None = None,
    *,
    repeated: Severity = Severity.WARNING,
) -> Source:
    """Rows of a file in order of time and each once, after a look at how they are stored.

    `name` is one of `LAYOUT`; `is_value` tells values from times, for columns that are swapped;
    `repeated` says how bad it is if a time is there twice.
    """
    layout, n_before = LAYOUT[name], len(findings)
    source = Source(path, layout, _read_good_rows(path, layout, findings), findings)
    if not len(source) and len(findings) == n_before:
        source.error("empty-file", f"the file is empty; expected {', '.join(layout.columns)}")
    finite = np.asarray(np.isfinite(source.table).all(axis=1))
    text = "rows with what is no finite number: {n}, first {row}; prepare it again"
    source.error("parse", text, ~finite)
    source.keep(finite)
    if is_value is not None and len(source):
        _unswap(source, is_value)
    _sort(source, repeated)
    return source


def _read_good_rows(path: Path, layout: Table, findings: list[Finding]) -> Floats:
    """All rows, or the good ones if some lines are broken."""
    n_columns, is_parquet = len(layout.columns), path.suffix == ".parquet"

    def blame(text: str, line: int | None = None, count: int = 1) -> None:
        findings.append(Finding(Severity.ERROR, "parse", text, path, line, count))

    try:
        if is_parquet:
            return read_summary(path)
        columns, separator, header = layout.columns, layout.separator, layout.header
        return read_text_table(path, columns, separator=separator, header=header)
    except DataError as error:
        if is_parquet or isinstance(error.__cause__, OSError):
            blame(str(error).removeprefix(f"{path}: "))
            return np.empty((0, n_columns))
    broken: list[Line] = []

    def good_numbers() -> Iterator[float]:
        for line in _lines(path, layout):
            if line.values is None:
                broken.append(line)
            else:
                yield from line.values

    rows = np.fromiter(good_numbers(), dtype=np.float64).reshape(-1, n_columns)
    for line in broken[:SHOWN_LINES]:
        blame(line.describe(layout.columns), line.number)
    rest = len(broken) - SHOWN_LINES
    if rest > 0:
        text = f"{rest} more lines are broken, {len(rows)} are good; correct or delete them"
        blame(text, count=rest)
    return rows


def _lines(path: Path, layout: Table) -> Iterator[Line]:
    return text_lines(path, layout.columns, separator=layout.separator, header=layout.header)


def _unswap(source: Source, is_value: Callable[[Floats], Mask]) -> None:
    """Recognise a file whose two columns are swapped and go on as if they weren't."""
    if is_value(source.values).mean() < 0.5 and is_value(source.times).all():
        source.error("swapped-columns", "columns are swapped, as in {row}; put the time first", 0)
        source.table = source.table[:, ::-1]


def _sort(source: Source, repeated: Severity) -> None:
    """Find rows out of order and at equal times; leaves the rows sorted, each once."""
    if (np.diff(source.times) > 0).all():
        return
    back = np.append(False, np.diff(source.times) < 0)
    source.warn("unsorted", "steps back in time: {n}, first to {time}; taken as sorted", back)
    source.keep(np.lexsort(source.table.T[::-1]))
    copy = np.append(False, (np.diff(source.table, axis=0) == 0).all(axis=1))
    times_over = np.diff(np.append(np.flatnonzero(~copy), len(copy)))
    usual = int(np.median(times_over[times_over > 1])) if copy.any() else 1
    text = f"{{n}} of {{of}} rows are copies, stored {usual} times over; keep one of each"
    source.report(repeated, "duplicate-samples", text, copy)
    source.keep(~copy)
    equal = np.append(False, np.diff(source.times) == 0)
    text = "rows at the time of another, but not of its value: {n}, first {value} at {time}"
    source.report(repeated, "conflicting-samples", f"{text}; keep one", equal)
