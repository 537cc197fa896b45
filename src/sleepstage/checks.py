"""What is wrong with the recordings of a sleep-accel dataset, in words.

Files are looked at as they are stored, before a reader sorts them and drops what it can do
without. An *error* is something that the reader refuses or that makes its result wrong; a
*warning* is something to know before trusting a night.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sleepstage.errors import DataError
from sleepstage.files import fingerprint
from sleepstage.motion import WINDOW_SECONDS
from sleepstage.readers.sleep_accel import (
    LAYOUT,
    SIMULATED_MARKER,
    STEP_BIN_SECONDS,
    Table,
    find_subjects,
    read_summary,
    subject_files,
    summary_source,
)
from sleepstage.readers.text import broken_lines, read_text_table
from sleepstage.recording import PLAUSIBLE_BPM, Recording
from sleepstage.stages import EPOCH_SECONDS, FOUR_CLASS, UNSCORED, Stage, stages_from_codes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

__all__ = [
    "DatasetReport",
    "Facts",
    "Finding",
    "Severity",
    "SubjectReport",
    "check_dataset",
    "check_subject",
]

SHOWN_LINES: Final = 3  # broken lines of a file that get a finding each: more tell nothing new
GAP_MINUTES: Final = 5  # without a signal: features of the last 5 min have nothing to go by
NIGHT_HOURS: Final = 24  # longer nights are a wrong time stamp
MIN_SCORED: Final = 240  # epochs (2 h): one sleep cycle takes 1.5 h
MAX_UNSCORED: Final = 0.05  # of the epochs: the time until lights off is up to 3 %
MIN_SCORABLE: Final = 0.8  # of the scored epochs: below, it is no longer the night that was scored
MAX_IMPLAUSIBLE: Final = 0.2  # of the heart rates: a pulse lost at times explains no more
HEART_RATE_SECONDS: Final = (1.0, 10.0)  # between heart rates: a watch in a workout gives 5 s
MOTION_RATE: Final = (40.0, 60.0)  # Hz: nominally 50
MAX_OFF_RATE: Final = 0.05  # of the night's minutes: a few bad ones are no wrong rate
MAX_LENGTH_G: Final = 4.0  # of the median acceleration: a wrist at rest has 1 g
MAX_AXIS_G: Final = 16.0  # range of the accelerometer
MAX_STEPS: Final = 3000  # in 600 s: five a second is a sprint, and not for ten minutes
MAX_NIGHT_STEPS: Final = 300  # a few ways to the bathroom
MIN_DAY_HOURS: Final = 21.6  # of the 24 before the night (90 %): with less, its steps are too few
_DAY: Final = 24 * 3600
_OLD_STAGE_4: Final = 4
_WITHOUT: Final = {
    "labels": "nothing to train on or to compare with",
    "heart_rate": "the night is staged from motion alone",
    "motion": "the night is staged from heart rate alone",
    "steps": "the day before the night is unknown",
}


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
        parts = [(night.n_scored / total["n_scored"], night) for night in nights if night.n_scored]
        shares = {
            name: sum(part * night.shares[name] for part, night in parts)
            for name in (FOUR_CLASS.classes if parts else ())
        }
        return Facts(hours=sum(night.hours or 0 for night in nights), shares=shares, **total)

    def to_json(self) -> dict[str, Any]:
        """All of it in the types of JSON, paths as text, None for what is not finite."""
        summary = {name: getattr(self, name) for name in ("status", "errors", "warnings")}
        totals = {"people": len(self.subjects), **asdict(self.totals)}
        report: dict[str, Any] = _plain({**asdict(self), **summary, "totals": totals})
        return report


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return str(value) if isinstance(value, Path | StrEnum) else value


def check_dataset(
    directory: str | Path, *, on_progress: Callable[[int, int, str], None] | None = None
) -> DatasetReport:
    """Check all subjects of a dataset.

    Parameters
    ----------
    directory : path
        Folder in the layout of `sleepstage.readers.sleep_accel`.
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
    twins = tuple(_find_twins(directory, subjects))
    return DatasetReport(directory, tuple(reports), twins, (directory / SIMULATED_MARKER).exists())


def check_subject(directory: str | Path, subject: str) -> SubjectReport:
    """Check one subject's files, each by itself and how they fit together.

    Raises
    ------
    DataError
        If there is no file of `subject`.
    """
    files = subject_files(directory, subject)
    if not files:
        msg = f"{directory}: no file of subject {subject!r}; is the name right?"
        raise DataError(msg)
    night = _Night(list(_missing_files(Path(directory), subject, files)))
    with np.errstate(all="ignore"):  # absurd numbers are just what is looked for
        if "labels" in files:
            _check_labels(_open(files["labels"], "labels", night), night)
        motion = _open_motion(files, night)
        if motion is not None:
            _check_motion(motion, night)
        if "heart_rate" in files:
            _check_heart_rate(_open(files["heart_rate"], "heart_rate", night), night)
        if "steps" in files:
            _check_steps(_open(files["steps"], "steps", night), night)
        if night.span is not None and night.facts.get("n_scored"):
            _check_scorable(files["labels"], night.span, night)
    return SubjectReport(subject, tuple(night.findings), Facts(**night.facts))


def _find_twins(directory: Path, subjects: list[str]) -> Iterator[Finding]:
    """Find nights that are there under two names: they end up in training and in test."""
    seen: dict[str, Path] = {}
    for subject in subjects:
        path = subject_files(directory, subject).get("heart_rate")
        if path is not None and os.access(path, os.R_OK) and path.stat().st_size:
            twin = seen.setdefault(fingerprint(path), path)
            if twin is not path:
                text = f"the same as {twin.name}: one night under two names; delete one"
                yield Finding(Severity.ERROR, "same-night", text, path)


def _missing_files(directory: Path, subject: str, files: Mapping[str, Path]) -> Iterator[Finding]:
    have = {"motion" if name.startswith("summary") else name for name in files}
    for name, without in _WITHOUT.items():
        if name not in have:
            path = directory / LAYOUT[name].folder / f"{subject}{LAYOUT[name].ending}"
            if {"heart_rate", "motion"} & have or name not in ("heart_rate", "motion"):
                yield Finding(Severity.WARNING, "missing-file", f"no such file: {without}", path)
            else:
                text = f"no {name} file, and neither heart rate nor motion: get one of them"
                yield Finding(Severity.ERROR, "missing-file", text, path)


@dataclass(eq=False)
class _Night:
    """What is known of the night while its files are gone through."""

    findings: list[Finding]
    facts: dict[str, Any] = field(default_factory=dict)
    span: tuple[float, float] | None = None
    scored: Mask = field(default_factory=lambda: np.empty(0, dtype=bool))
    beats: Floats = field(default_factory=lambda: np.empty(0))
    windows: Floats = field(default_factory=lambda: np.empty(0))

    def inside(self, times: Floats) -> Mask:
        start, end = self.span or (np.inf, -np.inf)
        return np.asarray((times >= start) & (times <= end))


@dataclass(eq=False)
class _Source:
    """The good rows of a file, the line of each (0 in binary files), and where to report."""

    path: Path
    table: Floats
    lines: NDArray[np.int64]
    findings: list[Finding]

    def __len__(self) -> int:
        return len(self.table)

    @property
    def times(self) -> Floats:
        return self.table[:, 0]

    @property
    def values(self) -> Floats:
        return self.table[:, 1]

    def error(self, code: str, text: str, rows: Mask | int | None = None) -> None:
        self._add(Severity.ERROR, code, text, rows)

    def warn(self, code: str, text: str, rows: Mask | int | None = None) -> None:
        self._add(Severity.WARNING, code, text, rows)

    def _add(self, severity: Severity, code: str, text: str, rows: Mask | int | None) -> None:
        """Report `text` about the file, the row or the rows, if any, that a mask tells.

        It may refer to n (rows), of (all rows), and to time, value and row of the first.
        """
        line, count = 0, 1
        if rows is not None:
            which = np.atleast_1d(rows) if isinstance(rows, int) else np.flatnonzero(rows)
            if not len(which):
                return
            count, line, row = len(which), int(self.lines[which[0]]), self.table[which[0]]
            words = {"time": f"{row[0]:.10g} s", "value": f"{row[1]:g}", "row": row.tolist()}
            text = text.format(n=count, of=len(self), **words)
        self.findings.append(Finding(severity, code, text, self.path, line or None, count))

    def keep(self, rows: Mask | NDArray[np.intp]) -> None:
        self.table, self.lines = self.table[rows], self.lines[rows]


# Reading, whatever state a file is in.


def _open(path: Path, name: str, night: _Night) -> _Source:
    """Rows of a file in order of time and each once, after a look at how they are stored."""
    table = LAYOUT[name]
    if path.suffix == ".parquet":
        source = _read_parquet(path, night.findings)
    else:
        source = _read_text(path, table, night.findings)
    is_value = {"labels": _is_stage, "heart_rate": _is_plausible}.get(name)
    if is_value is not None and len(source):
        _unswap(source, is_value)
    _check_order(source, source.error if name == "labels" else source.warn)
    return source


def _read_parquet(path: Path, findings: list[Finding]) -> _Source:
    rows = np.empty((0, len(LAYOUT["summary"].columns)))
    source = _Source(path, rows, np.empty(0, dtype=np.int64), findings)
    try:
        source.table = read_summary(path)
    except ValueError as error:  # a DataError, or a column that holds no numbers
        source.error("parse", str(error).removeprefix(f"{path}: "))
    else:
        if not len(source):
            source.error("empty-file", "the file is empty; prepare it again")
    source.lines = np.zeros(len(source), dtype=np.int64)
    finite = np.asarray(np.isfinite(source.table).all(axis=1))
    text = "rows with what is no finite number: {n}, first {row}; prepare it again"
    source.error("parse", text, ~finite)
    source.keep(finite)
    return source


def _read_text(path: Path, table: Table, findings: list[Finding]) -> _Source:
    columns, separator, header = table.columns, table.separator, table.header
    try:
        rows = read_text_table(path, columns, separator=separator, header=header)
        first = _first_line(path, table)
    except DataError as error:
        return _read_good_lines(path, table, str(error).removeprefix(f"{path}: "), findings)
    return _Source(path, rows, np.arange(first, first + len(rows)), findings)


def _first_line(path: Path, table: Table) -> int:
    """Number of the first line after remarks and header."""
    if not table.header:
        return 1
    with path.open(encoding="utf-8", errors="replace") as file:
        return 2 + next((n for n, line in enumerate(file) if not line.startswith("#")), 0)


def _read_good_lines(path: Path, table: Table, reason: str, findings: list[Finding]) -> _Source:
    """Say which lines are broken and go on with the others."""
    columns, separator, header = table.columns, table.separator, table.header
    source = _Source(path, np.empty((0, len(columns))), np.empty(0, dtype=np.int64), findings)
    try:
        first = _first_line(path, table)
        found = broken_lines(path, columns, separator=separator, header=header)
        broken = {line.number: line for line in found if line.number >= first}
        with path.open(encoding="utf-8", errors="replace") as file:
            good = {
                number: line.strip().split(separator)
                for number, line in enumerate(file, start=1)
                if number >= first and number not in broken and line.strip()
                if not (header and line.startswith("#"))
            }
    except OSError:
        source.error("parse", reason)
        return source
    for line in list(broken.values())[:SHOWN_LINES]:
        text = f"{line.reason}, found {line.text[:60]!r}; correct or delete the line"
        findings.append(Finding(Severity.ERROR, "parse", text, path, line.number))
    rest = len(broken) - SHOWN_LINES
    if rest > 0:
        text = f"{rest} more lines are broken, {len(good)} are good; correct or delete them"
        findings.append(Finding(Severity.ERROR, "parse", text, path, count=rest))
    if not broken:
        source.error("parse" if good else "empty-file", reason)
    numbers = (float(text) for fields in good.values() for text in fields)
    source.table = np.fromiter(numbers, dtype=np.float64).reshape(-1, len(columns))
    source.lines = np.array(list(good), dtype=np.int64)
    return source


def _unswap(source: _Source, is_value: Callable[[Floats], Mask]) -> None:
    """Recognise a file whose two columns are swapped and go on as if they weren't."""
    if is_value(source.values).mean() < 0.5 and is_value(source.times).all():
        source.error("swapped-columns", "columns are swapped, as in {row}; put the time first", 0)
        source.table = source.table[:, ::-1]


def _check_order(source: _Source, report: Callable[[str, str, Mask], None]) -> None:
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
    report("duplicate-samples", text, copy)
    source.keep(~copy)
    equal = np.append(False, np.diff(source.times) == 0)
    text = (
        "rows at the time of another, but not of its value: {n}, first {value} at {time}; keep one"
    )
    report("conflicting-samples", text, equal)


# One file each.


def _is_plausible(bpm: Floats) -> Mask:
    low, high = PLAUSIBLE_BPM
    return np.asarray((bpm >= low) & (bpm <= high))


def _is_stage(codes: Floats) -> Mask:
    def known(code: float) -> bool:
        try:
            stages_from_codes([code])
        except DataError:
            return False
        return True

    return np.isin(codes, [code for code in np.unique(codes) if known(code)])


def _check_labels(source: _Source, night: _Night) -> None:
    known = _is_stage(source.values)
    text = "unknown stage codes: {n}, first {value} at {time}; expected one of -1 to 5"
    source.error("unknown-stage", text, ~known)
    source.table = np.column_stack([source.times, np.where(known, source.values, Stage.UNSCORED)])
    if not known.any():
        return
    _, at, counts = np.unique(source.times % EPOCH_SECONDS, return_index=True, return_counts=True)
    epochs = (source.times - source.times[at[counts.argmax()]]) / EPOCH_SECONDS
    on_grid = np.asarray(epochs == np.round(epochs))
    text = f"{{n}} of {{of}} times are off the {EPOCH_SECONDS} s grid, first {{time}}; correct them"
    source.error("off-grid", text, ~on_grid)
    source.keep(on_grid)
    start = float(source.times[0])
    if start != 0:
        source.warn("label-start", "the first epoch is at {time}, not at 0 s", 0)
    if not _set_span(source, night, start, float(source.times[-1]) + EPOCH_SECONDS):
        return
    old = source.values == _OLD_STAGE_4
    text = "epochs of stage 4 (old rules): {n}, first at {time}; counted as N3"
    source.warn("old-stage-4", text, old)
    position = np.round((source.times - start) / EPOCH_SECONDS).astype(np.int64)
    stages = np.full(position[-1] + 1, Stage.UNSCORED, dtype=np.int8)
    stages[position] = stages_from_codes(source.values)
    n_missing = len(stages) - len(np.unique(position))
    if n_missing:
        text = (
            f"epochs without a line: {n_missing}, the first just before {{time}}; taken as unscored"
        )
        source.warn("missing-epochs", text, int(np.argmax(np.diff(position) > 1)) + 1)
    _check_stages(source, night, FOUR_CLASS.encode(stages))


def _set_span(source: _Source, night: _Night, start: float, end: float) -> bool:
    """Take the times of the night from a file, if they can be right."""
    if EPOCH_SECONDS <= end - start <= NIGHT_HOURS * 3600:
        night.span = (start, end)
        night.facts["hours"] = (end - start) / 3600
        return True
    text = f"the night goes from {start:.10g} to {end:.10g} s; correct the times: "
    source.error("night-length", text + f"expected {EPOCH_SECONDS} s to {NIGHT_HOURS} h")
    return False


def _check_stages(source: _Source, night: _Night, codes: NDArray[np.int8]) -> None:
    night.scored = np.asarray(codes != UNSCORED)
    n_scored = int(night.scored.sum())
    n_unscored = len(codes) - n_scored
    night.facts |= {"n_scored": n_scored, "n_unscored": n_unscored}
    if n_unscored > MAX_UNSCORED * len(codes):
        source.warn("unscored", f"{n_unscored} of {len(codes)} epochs are unscored")
    if not n_scored:
        source.error("few-scored", "0 epochs are scored; delete the labels")
        return
    if n_scored < MIN_SCORED:
        minutes = n_scored * EPOCH_SECONDS / 60
        source.warn("few-scored", f"only {n_scored} epochs are scored ({minutes:g} min)")
    shares = {
        name: float((codes == i).sum()) / n_scored for i, name in enumerate(FOUR_CLASS.classes)
    }
    night.facts["shares"] = shares
    for name, share in shares.items():
        if not share:
            name = name.replace("rem", "REM")
            source.warn("missing-stage", f"no {name} in the night ({n_scored} scored epochs)")


def _check_heart_rate(source: _Source, night: _Night) -> None:
    good = _is_plausible(source.values)
    text = "{n} of {of} heart rates are outside %g to %g beats per minute, first {value} at {time}"
    text %= PLAUSIBLE_BPM
    if (~good).sum() > MAX_IMPLAUSIBLE * len(good):
        source.error("implausible-bpm", f"{text}; write beats per minute", ~good)
    else:
        source.warn("implausible-bpm", f"{text}; left out", ~good)
    source.keep(good)
    night.facts["heart_rate_gap_min"] = _check_gaps(source, night, "heart rate")
    night.beats = source.times[night.inside(source.times)]
    night.facts["n_heart_rate"] = len(night.beats)
    if len(night.beats) > 1:
        interval = float(np.median(np.diff(night.beats)))
        night.facts["heart_rate_interval_s"] = interval
        if not HEART_RATE_SECONDS[0] <= interval <= HEART_RATE_SECONDS[1]:
            text = f"a heart rate each {interval:g} s in the night, expected about 5 s"
            source.warn("sampling-rate", text)


def _open_motion(files: Mapping[str, Path], night: _Night) -> _Source | None:
    """Check raw motion and summary by themselves; the raw one of the two, if it can be read."""
    raw = summary = None
    if "motion" in files:
        raw = _open(files["motion"], "motion", night)
        if _check_unit(raw, raw.table[:, 1:]):
            beyond = (np.abs(raw.table[:, 1:]) > MAX_AXIS_G).any(axis=1)
            text = f"samples beyond ±{MAX_AXIS_G:g} g: {{n}}, first {{row}}"
            raw.warn("beyond-range", text, np.asarray(beyond))
    name = "summary" if "summary" in files else "summary_csv"
    if name in files:
        summary = _open(files[name], name, night)
        _check_summary(summary)
        if raw is not None and len(raw) and len(summary):
            _check_source(summary, raw.path)
    return raw if raw is not None and (len(raw) or summary is None) else summary


def _check_unit(source: _Source, xyz: Floats) -> bool:
    """Whether acceleration is in g, by its median length."""
    length = float(np.median(np.linalg.norm(xyz, axis=1))) if len(xyz) else 1.0
    if length <= MAX_LENGTH_G:
        return True
    mend = "it looks like m/s², divide by 9.80665" if 6 < length < 14 else "write it in g"
    source.error("unit", f"acceleration has a median length of {length:.3g}, not 1 g; {mend}")
    return False


def _check_summary(source: _Source) -> None:
    _check_unit(source, source.table[:, 2:])
    negative = np.asarray((source.table[:, 1:] < 0).any(axis=1))
    text = "rows with a negative count or peak: {n}, first {row}; prepare it again"
    source.error("negative-summary", text, negative)
    if len(source) > 1 and (interval := np.median(np.diff(source.times))) != WINDOW_SECONDS:
        text = f"a row each {interval:g} s, expected {WINDOW_SECONDS} s; prepare it again"
        source.error("sampling-rate", text)


def _check_source(summary: _Source, raw: Path) -> None:
    if summary_source(summary.path) != fingerprint(raw):
        text = f"it was not made from {raw.name} as that is now; it is not used"
        summary.warn("stale-summary", text)


def _check_motion(source: _Source, night: _Night) -> None:
    is_raw = source.table.shape[1] == len(LAYOUT["motion"].columns)
    if not len(night.scored) and len(source):
        start = source.times[0] - (0 if is_raw else WINDOW_SECONDS)
        _set_span(source, night, float(start), float(source.times[-1]))
    night.facts["motion_gap_min"] = _check_gaps(source, night, "motion")
    if night.span is None:
        return
    windows = source.times[night.inside(source.times)]
    if is_raw:
        _check_rate(source, night, windows)
        number = np.unique((windows - night.span[0]) // WINDOW_SECONDS)
        windows = night.span[0] + WINDOW_SECONDS * (number + 1)
    night.windows = windows[windows > night.span[0]]
    night.facts["n_motion_windows"] = len(night.windows)


def _check_rate(source: _Source, night: _Night, times: Floats) -> None:
    """Look at the median interval in each minute of the night that has its share of samples."""
    times = np.unique(times)
    if len(times) < 2:
        return
    minutes = np.split(np.diff(times), np.flatnonzero(np.diff(times[:-1] // 60)) + 1)
    usual = np.median([len(minute) for minute in minutes])
    rates = 1 / np.array([np.median(minute) for minute in minutes if len(minute) >= usual / 10])
    low, middle, high = (float(rate) for rate in np.quantile(rates, [0, 0.5, 1]))
    night.facts |= {"motion_rate_hz": middle, "motion_rate_range_hz": (low, high)}
    if ((rates < MOTION_RATE[0]) | (rates > MOTION_RATE[1])).mean() > MAX_OFF_RATE:
        text = f"{middle:.3g} Hz, {low:.3g} to {high:.3g} Hz over the night; expected 50 Hz"
        source.warn("sampling-rate", text)


def _check_gaps(source: _Source, night: _Night, name: str) -> float | None:
    """Find where a signal leaves the night without it; the longest such time in minutes."""
    if night.span is None or not len(source):
        return None
    start, end = night.span
    rows = np.flatnonzero(night.inside(source.times))
    if not len(rows):
        text = f"{name} from {source.times[0]:.10g} to {source.times[-1]:.10g} s has nothing of "
        text += f"the night, {start:.10g} to {end:.10g} s; set both to one clock"
        source.error("no-overlap", text)
        return (end - start) / 60
    times = np.concatenate([[start], source.times[rows], [end]])
    minutes = np.diff(times) / 60
    is_gap = minutes > GAP_MINUTES
    for at, text in (
        (0, "starts {:.1f} min after the night does"),
        (-1, "ends {:.1f} min before the night does"),
    ):
        if is_gap[at]:
            source.warn("short-signal", f"{name} {text.format(minutes[at])}", int(rows[at]))
    if is_gap[1:-1].any():
        longest = int(minutes[1:-1].argmax())
        gaps = np.zeros(len(source), dtype=bool)
        text = f"gaps of more than {GAP_MINUTES} min in {name}: {is_gap[1:-1].sum()}, the longest "
        text += f"of {minutes[1 + longest]:.1f} min from {times[1 + longest]:.10g} s on"
        gaps[rows[:-1][is_gap[1:-1]]] = True
        source.warn("gap", text, gaps)
    return float(minutes.max())


def _check_steps(source: _Source, night: _Night) -> None:
    text = "negative step counts: {n}, first {value} at {time}; delete them"
    source.error("negative-steps", text, source.values < 0)
    text = f"bins of more than {MAX_STEPS} steps in 10 min: {{n}}, first {{value}} at {{time}}"
    source.warn("implausible-steps", text, source.values > MAX_STEPS)
    source.keep(source.values >= 0)
    bins = np.diff(source.times)
    if len(bins) and np.median(bins) != STEP_BIN_SECONDS:
        text = f"a step count each {np.median(bins):g} s, expected {STEP_BIN_SECONDS} s"
        source.warn("sampling-rate", text)
    if night.span is None or not len(source):
        return
    start, end = night.span
    day = (source.times >= start - _DAY) & (source.times < start)
    asleep = (source.times >= start) & (source.times < end)
    for name, rows in (("steps_day", day), ("steps_night", asleep)):
        if rows.any():
            night.facts[name] = int(np.nan_to_num(source.values[rows].sum()))
    hours = float(day.sum()) * STEP_BIN_SECONDS / 3600
    if hours < MIN_DAY_HOURS:
        source.warn("short-steps", f"steps cover {hours:.1f} of the 24 h before the night")
    walked = night.facts.get("steps_night", 0)
    if walked > MAX_NIGHT_STEPS:
        source.warn("night-steps", f"{walked} steps in the night, expected next to none")


# All files together.


def _check_scorable(labels: Path, span: tuple[float, float], night: _Night) -> None:
    """Count the scored epochs that have heart rate and motion."""
    beats, windows = night.beats - span[0], night.windows - span[0]
    recording = Recording.from_arrays(
        heart_rate=(beats, np.full(len(beats), PLAUSIBLE_BPM[0])),
        motion=(windows, np.zeros((len(windows), 4))),
        start=0.0,
        end=float(EPOCH_SECONDS * len(night.scored)),
    )
    n_scored = int(night.scored.sum())
    n_scorable = int((recording.covered & night.scored).sum())
    night.facts["n_scorable"] = n_scorable
    if n_scorable < MIN_SCORABLE * n_scored:
        text = f"{n_scorable} of {n_scored} scored epochs ({n_scorable / n_scored:.0%}) have heart "
        text += "rate and motion"
        count = n_scored - n_scorable
        night.findings.append(Finding(Severity.WARNING, "low-coverage", text, labels, count=count))
