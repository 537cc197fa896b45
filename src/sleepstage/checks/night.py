"""The night as its labels tell it: when it is, its stages, and how much of it the watch saw."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sleepstage.checks.findings import Finding, Severity
from sleepstage.checks.source import Source, open_source
from sleepstage.readers.sleep_accel import GRID_TOLERANCE
from sleepstage.recording import LONGEST_NIGHT, PLAUSIBLE_BPM, Recording
from sleepstage.stages import (
    EPOCH_SECONDS,
    FILE_CODES,
    FOUR_CLASS,
    UNSCORED,
    Stage,
    stages_from_codes,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from sleepstage.checks.source import Floats, Mask

__all__ = ["Night", "check_coverage", "check_labels"]

MIN_SCORED: Final = 240  # epochs (2 h): one sleep cycle takes 1.5 h
MAX_UNSCORED: Final = 0.05  # of the epochs: the time until lights off is up to 3 %
MIN_SCORABLE: Final = 0.8  # of the scored epochs: below, it is no longer the night that was scored
_OLD_STAGE_4: Final = 4


@dataclass(eq=False)
class Night:
    """What is known of a night while its files are gone through, one after the other."""

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


def check_labels(path: Path, night: Night) -> None:
    """Check the labels; take from them when the night is and which epochs are scored."""
    source = open_source(path, "labels", night.findings, _is_stage, repeated=Severity.ERROR)
    known = _is_stage(source.values)
    text = "unknown stage codes: {n}, first {value} at {time}; expected one of -1 to 5"
    source.error("unknown-stage", text, ~known)
    if not known.any():
        return
    source.table[~known, 1] = Stage.UNSCORED
    epochs = _find_epochs(source)
    start = float(source.times[0])
    if start != 0:
        source.warn("label-start", "the first epoch is at {time}, not at 0 s", 0)
    if not night.take_span(source, start, float(source.times[-1]) + EPOCH_SECONDS):
        return
    text = "epochs of stage 4 (old rules): {n}, first at {time}; counted as N3"
    source.warn("old-stage-4", text, source.values == _OLD_STAGE_4)
    epochs = epochs.astype(np.int64)
    skipped = np.maximum(np.diff(epochs) - 1, 0)
    if skipped.any():
        text = f"epochs without a line: {skipped.sum()}, the first just before {{time}}"
        source.warn("missing-epochs", f"{text}; taken as unscored", int(np.argmax(skipped > 0)) + 1)
    stages = np.full(epochs[-1] + 1, Stage.UNSCORED, dtype=np.int8)
    stages[epochs] = stages_from_codes(source.values)
    _check_stages(source, night, FOUR_CLASS.encode(stages))


def _is_stage(codes: Floats) -> Mask:
    return np.isin(codes, list(FILE_CODES))


def _find_epochs(source: Source) -> Floats:
    """Epochs from the first label to each; leaves the labels that are on the usual grid."""
    phase = np.round(source.times % EPOCH_SECONDS, 4)
    _, first, counts = np.unique(phase, return_index=True, return_counts=True)
    epochs = (source.times - source.times[first[counts.argmax()]]) / EPOCH_SECONDS
    on_grid = np.abs(epochs - np.round(epochs)) <= GRID_TOLERANCE
    text = f"{{n}} of {{of}} times are off the {EPOCH_SECONDS} s grid, first {{time}}; correct them"
    source.error("off-grid", text, ~on_grid)
    source.keep(on_grid)
    epochs = np.round(epochs[on_grid])
    again = np.append(False, (np.diff(epochs) == 0) & (np.diff(source.times) > 0))
    text = "epochs labelled twice: {n}, first at {time}; keep one"
    source.error("conflicting-samples", text, again)
    return np.asarray(epochs - epochs[0])


def _check_stages(source: Source, night: Night, codes: NDArray[np.int8]) -> None:
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
    for name in (name for name, share in shares.items() if not share):
        text = f"no {name.replace('rem', 'REM')} in the night ({n_scored} scored epochs)"
        source.warn("missing-stage", text)


def check_coverage(labels: Path, night: Night) -> None:
    """Count the scored epochs that have heart rate and motion."""
    n_scored = int(night.scored.sum())
    if night.span is None or not n_scored:
        return
    beats, windows = night.beats - night.span[0], night.windows - night.span[0]
    recording = Recording.from_arrays(
        heart_rate=(beats, np.full(len(beats), PLAUSIBLE_BPM[0])),
        motion=(windows, np.zeros((len(windows), 4))),
        start=0.0,
        end=float(EPOCH_SECONDS * len(night.scored)),
    )
    night.facts["n_scorable"] = n_scorable = int((recording.covered & night.scored).sum())
    if n_scorable < MIN_SCORABLE * n_scored:
        share = f"{n_scorable} of {n_scored} scored epochs ({n_scorable / n_scored:.0%})"
        text, count = f"{share} have heart rate and motion", n_scored - n_scorable
        night.findings.append(Finding(Severity.WARNING, "low-coverage", text, labels, count=count))
