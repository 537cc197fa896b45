"""What is wrong with the recordings of a sleep-accel dataset, in words.

Files are looked at as they are stored, before a reader sorts them and drops what it can do
without. An *error* is something that the reader refuses or that makes its result wrong; a
*warning* is something to know before trusting a night.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from sleepstage._utils.files import fingerprint
from sleepstage.core.motion import MAX_LENGTH, WINDOW_SECONDS
from sleepstage.core.recording import LONGEST_NIGHT
from sleepstage.core.signals import PLAUSIBLE_BPM, is_plausible
from sleepstage.errors import DataError
from sleepstage.io.sleep_accel import read as sleep_accel
from sleepstage.io.sleep_accel.check_files import (
    DatasetReport,
    Facts,
    Finding,
    Severity,
    Source,
    SubjectReport,
)
from sleepstage.io.source import Floats, Mask, Progress
from sleepstage.stages import EPOCH_SECONDS, FILE_CODES, FOUR_CLASS, UNSCORED, stages_from_codes

MAX_UNSCORED: Final = 0.05  # of the epochs: the time until lights off is up to 3 %
MIN_SCORABLE: Final = 0.8  # of the scored epochs: below, it is no longer the night that was scored
GAP_MINUTES: Final = 5  # without a signal: features of the last 5 min have nothing to go by
MAX_IMPLAUSIBLE: Final = 0.2  # of the heart rates: a pulse lost at times explains no more
MOTION_RATE: Final = (40.0, 60.0)  # Hz: nominally 50
RATE_SAMPLES: Final = 100  # 2 s: times jitter, so that one interval gives no rate
MIN_DAY_HOURS: Final = 21.6  # of the 24 before the night (90 %): with less, its steps are too few


@dataclass(eq=False)
class _Night:
    """What is known of a night while its files are gone through, one after the other."""

    findings: list[Finding]
    facts: Facts = field(default_factory=Facts)
    span: tuple[float, float] | None = None  # s


def check_dataset(directory: str | Path, *, on_progress: Progress | None = None) -> DatasetReport:
    """Check all subjects of a dataset in the layout of `sleepstage.io.sleep_accel.read`.

    Raises `DataError` if `directory` has none of the dataset's files.
    """
    directory = Path(directory)
    subjects = sleep_accel.find_subjects(directory)
    simulated = (directory / sleep_accel.SIMULATED_MARKER).exists()
    reports: list[SubjectReport] = []
    for subject in subjects:
        reports.append(check_subject(directory, subject))
        if on_progress is not None:
            on_progress(len(reports), len(subjects), subject)
    return DatasetReport(directory, tuple(reports), simulated)


def check_subject(directory: str | Path, subject: str) -> SubjectReport:
    """Check one subject's files, each by itself and how they fit together.

    Raises `DataError` if there is no file of `subject`.
    """
    files = sleep_accel.subject_files(directory, subject)
    if not files:
        raise DataError(f"{directory}: no file of subject {subject!r}; is the name right?")
    night = _Night(list(_missing_files(Path(directory), subject, files)))
    with np.errstate(all="ignore"):  # absurd numbers are just what is looked for
        if "labels" in files:
            _check_labels(files["labels"], night)
        _check_motion(files, night)
        if "heart_rate" in files:
            _check_heart_rate(files["heart_rate"], night)
        if "steps" in files:
            _check_steps(files["steps"], night)
        _check_coverage(Path(directory), subject, night)
    return SubjectReport(subject, tuple(night.findings), night.facts)


def _missing_files(directory: Path, subject: str, files: Mapping[str, Path]) -> Iterator[Finding]:
    have = {"motion" if name.startswith("summary") else name for name in files}
    needed = () if have & {"heart_rate", "motion"} else ("heart_rate", "motion")
    text = "no such file; a night needs heart rate or motion, the rest may be missing"
    for name in ("labels", "heart_rate", "motion", "steps"):
        if name not in have:
            severity: Severity = "error" if name in needed else "warning"
            path = sleep_accel.LAYOUT[name].path(directory, subject)
            yield Finding(severity, "missing-file", text, path)


def _check_labels(path: Path, night: _Night) -> None:
    """Check the labels; take from them when the night is."""
    source = Source(path, "labels", night.findings)
    source.put_time_first(_is_stage)
    known = _is_stage(source.values)
    source.flag(~known, "error", "unknown-stage", "unknown stage codes", "expected -1 to 5")
    if not known.any():
        return
    source.values[~known] = UNSCORED
    _put_on_grid(source)
    source.sort(repeated="error")
    if len(source):
        _take_span(source, night, source.times[0], source.times[-1] + EPOCH_SECONDS)
    if night.span is not None:
        _check_epochs(source)
        _check_stages(source, night.facts)


def _is_stage(codes: Floats) -> Mask:
    return np.isin(codes, list(FILE_CODES))


def _put_on_grid(source: Source) -> None:
    """Find times off the grid of most of them; leaves the others, exactly on it."""
    phase = np.sort(source.times % EPOCH_SECONDS)[len(source) // 2]
    epochs = (source.times - phase) / EPOCH_SECONDS
    on_grid = np.abs(epochs - np.round(epochs)) <= sleep_accel.GRID_TOLERANCE
    source.flag(~on_grid, "error", "off-grid", f"off the {EPOCH_SECONDS} s grid", "correct them")
    source.times[:] = phase + EPOCH_SECONDS * np.round(epochs)
    source.keep(on_grid)


def _take_span(source: Source, night: _Night, start: float, end: float) -> None:
    """Take the times of the night from a file, if they can be right."""
    if EPOCH_SECONDS <= end - start <= LONGEST_NIGHT:
        night.span = (start, end)
    else:
        text = f"the night goes from {start:.10g} to {end:.10g} s; correct the times"
        source.report("error", "night-length", text)


def _check_epochs(source: Source) -> None:
    """Find epochs without a line or without a stage."""
    epochs = np.round((source.times - source.times[0]) / EPOCH_SECONDS).astype(np.intp)
    skipped = np.diff(epochs, prepend=-1) - 1
    if skipped.any():
        text = f"epochs without a line: {skipped.sum()}; taken as unscored"
        source.report("warning", "missing-epochs", text, source.line(int((skipped > 0).argmax())))
    n_epochs = int(epochs[-1]) + 1
    n_unscored = n_epochs - int((source.values != UNSCORED).sum())
    if n_unscored > MAX_UNSCORED * n_epochs:
        source.report("warning", "unscored", f"{n_unscored} of {n_epochs} epochs are unscored")


def _check_stages(source: Source, facts: Facts) -> None:
    """Count the stages, and find old ones and those that never occur."""
    old = source.values == 4
    source.flag(old, "warning", "old-stage-4", "stage 4 (old rules)", "counted as N3")
    codes = FOUR_CLASS.encode(stages_from_codes(source.values))
    codes = codes[codes != UNSCORED]
    facts.n_scored = len(codes)
    for code, name in enumerate(FOUR_CLASS.classes if len(codes) else ()):
        facts.shares[name] = float((codes == code).mean())
        if not facts.shares[name]:
            source.report("warning", "missing-stage", f"no {name} in {len(codes)} scored epochs")


def _check_heart_rate(path: Path, night: _Night) -> None:
    """Check heart rates by themselves and against the night."""
    source = Source(path, "heart_rate", night.findings)
    source.put_time_first(is_plausible)
    source.sort()
    bad = ~is_plausible(source.values)
    what = "heart rates outside {:g} to {:g} beats per minute".format(*PLAUSIBLE_BPM)
    severity: Severity = "error" if bad.sum() > MAX_IMPLAUSIBLE * len(bad) else "warning"
    source.flag(bad, severity, "implausible-bpm", what, "left out")
    source.keep(~bad)
    night.facts.heart_rate_gap_min = _check_gaps(source, night, "heart rate")


def _check_motion(files: Mapping[str, Path], night: _Night) -> None:
    """Check raw motion and its summaries, and in the night the first that has anything.

    Without labels the night is as long as the motion.
    """
    kinds = [name for name in ("motion", "summary", "summary_csv") if name in files]
    sources = [_open_motion(files[name], name, night) for name in kinds]
    source = next(filter(len, sources), None)
    if source is None:
        return
    is_raw = source.path == files.get("motion")
    for summary in sources[1:] if is_raw else ():
        if sleep_accel.summary_source(summary.path) != fingerprint(source.path):
            text = f"not made from {source.path.name} as it is now; not used"
            summary.report("warning", "stale-summary", text)
    if night.span is None:
        start = source.times[0] - (0 if is_raw else WINDOW_SECONDS)
        _take_span(source, night, start, source.times[-1])
    night.facts.motion_gap_min = _check_gaps(source, night, "motion")
    if is_raw:
        night.facts.motion_rate_hz = _check_rate(source)


def _open_motion(path: Path, name: str, night: _Night) -> Source:
    source = Source(path, name, night.findings)
    source.sort()
    lengths = np.linalg.norm(source.table[:, -3:], axis=1)
    if len(source) and (length := np.median(lengths)) > MAX_LENGTH:
        text = f"acceleration of {length:.3g}, not 1; write it in g (m/s² divided by 9.80665)"
        source.report("error", "unit", text)
    return source


def _check_rate(source: Source) -> float | None:
    """Find a wrong rate of motion in the night, but for its oddest moments; the median rate."""
    seconds = source.times[RATE_SAMPLES:] - source.times[:-RATE_SAMPLES]
    if not len(seconds):
        return None
    low, middle, high = np.quantile(RATE_SAMPLES / seconds, [0.05, 0.5, 0.95])
    if low < MOTION_RATE[0] or high > MOTION_RATE[1]:
        text = f"{middle:.3g} Hz, {low:.3g} to {high:.3g} Hz over the night; expected 50 Hz"
        source.report("warning", "sampling-rate", text)
    return float(middle)


def _check_gaps(source: Source, night: _Night, name: str) -> float | None:
    """Find where the night is without a signal, its longest time in minutes; keeps the night."""
    if night.span is None or not len(source):
        return None
    start, end = night.span
    inside = (source.times >= start) & (source.times <= end)
    if not inside.any():
        text = f"{name} from {source.times[0]:.10g} to {source.times[-1]:.10g} s has nothing of "
        text += f"the night, {start:.10g} to {end:.10g} s; set both to one clock"
        source.report("error", "no-overlap", text)
    source.keep(inside)
    edges = np.concatenate([[start], source.times, [end]])
    minutes = np.diff(edges) / 60
    at, count = int(minutes.argmax()), int((minutes > GAP_MINUTES).sum())
    if len(source) and count:
        text = f"gaps of more than {GAP_MINUTES} min in {name}: {count}, the longest of "
        text += f"{minutes[at]:.1f} min from {edges[at]:.10g} s on"
        source.report("warning", "gap", text, source.line(max(at - 1, 0)), count)
    return float(minutes[at])


def _check_steps(path: Path, night: _Night) -> None:
    """Check step counts, and whether the day before the night has them."""
    source = Source(path, "steps", night.findings)
    source.sort()
    negative = source.values < 0
    source.flag(negative, "error", "negative-steps", "negative step counts", "delete them")
    if night.span is None or not len(source):
        return
    start, _ = night.span
    source.keep(~negative & (source.times >= start - 24 * 3600) & (source.times < start))
    if len(source):
        night.facts.steps_day = int(np.nan_to_num(source.values.sum()))
    hours = len(source) * sleep_accel.STEP_BIN_SECONDS / 3600
    if hours < MIN_DAY_HOURS:
        text = f"steps cover {hours:.1f} of the 24 h before the night"
        source.report("warning", "short-steps", text)


def _check_coverage(directory: Path, subject: str, night: _Night) -> None:
    """Count the scored epochs that have heart rate and motion, if the reader takes the night."""
    try:
        recording = sleep_accel.read_subject(directory, subject)
    except DataError as error:
        if all(finding.severity == "warning" for finding in night.findings):
            night.findings.append(Finding("error", "refused", str(error)))
        return
    if recording.reference is None:
        return
    covered = recording.covered
    scored = recording.reference.codes[: len(covered)] != UNSCORED
    n_scored, n_scorable = int(scored.sum()), int((scored & covered).sum())
    night.facts.n_scorable = n_scorable
    if n_scorable < MIN_SCORABLE * n_scored:
        share = f"{n_scorable} of {n_scored} scored epochs ({n_scorable / n_scored:.0%})"
        text, count = f"{share} have heart rate and motion", n_scored - n_scorable
        path = sleep_accel.LAYOUT["labels"].path(directory, subject)
        night.findings.append(Finding("warning", "low-coverage", text, path, count=count))
