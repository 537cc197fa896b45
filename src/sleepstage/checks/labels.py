"""Are the labels a night: known stages on the grid of epochs, enough of them, of every kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sleepstage.checks.findings import Severity
from sleepstage.checks.source import open_source
from sleepstage.stages import EPOCH_SECONDS, FOUR_CLASS, UNSCORED, Stage, stages_from_codes

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from sleepstage.checks.night import Night
    from sleepstage.checks.source import Floats, Mask, Source

__all__ = ["check_labels"]

MIN_SCORED: Final = 240  # epochs (2 h): one sleep cycle takes 1.5 h
MAX_UNSCORED: Final = 0.05  # of the epochs: the time until lights off is up to 3 %
GRID_TOLERANCE: Final = 1e-6  # epochs, as the reader has it
_KNOWN_CODES: Final = range(-1, 6)  # those of `stages_from_codes`
_OLD_STAGE_4: Final = 4


def check_labels(path: Path, night: Night) -> None:
    """Check the labels and take from them when the night is and which epochs are scored."""
    source = open_source(
        path, "labels", night.findings, is_value=_is_stage, repeated=Severity.ERROR
    )
    known = _is_stage(source.values)
    text = "unknown stage codes: {n}, first {value} at {time}; expected one of -1 to 5"
    source.error("unknown-stage", text, ~known)
    if not known.any():
        return
    source.table[~known, 1] = Stage.UNSCORED
    position = _find_epochs(source)
    start = float(source.times[0])
    if start != 0:
        source.warn("label-start", "the first epoch is at {time}, not at 0 s", 0)
    if not night.take_span(source, start, float(source.times[-1]) + EPOCH_SECONDS):
        return
    text = "epochs of stage 4 (old rules): {n}, first at {time}; counted as N3"
    source.warn("old-stage-4", text, source.values == _OLD_STAGE_4)
    stages = np.full(int(position[-1]) + 1, Stage.UNSCORED, dtype=np.int8)
    stages[position] = stages_from_codes(source.values)
    skipped = np.diff(position) - 1
    if skipped.any():
        text = f"epochs without a line: {skipped.sum()}, the first just before {{time}}"
        source.warn("missing-epochs", f"{text}; taken as unscored", int(np.argmax(skipped > 0)) + 1)
    _check_stages(source, night, FOUR_CLASS.encode(stages))


def _is_stage(codes: Floats) -> Mask:
    return np.isin(codes, _KNOWN_CODES)


def _find_epochs(source: Source) -> NDArray[np.int64]:
    """Number of each label's epoch from the first one on; leaves the labels on the usual grid."""
    phase = np.round(source.times % EPOCH_SECONDS, 4)
    _, first, counts = np.unique(phase, return_index=True, return_counts=True)
    epochs = (source.times - source.times[first[counts.argmax()]]) / EPOCH_SECONDS
    on_grid = np.abs(epochs - np.round(epochs)) <= GRID_TOLERANCE
    text = f"{{n}} of {{of}} times are off the {EPOCH_SECONDS} s grid, first {{time}}; correct them"
    source.error("off-grid", text, ~on_grid)
    source.keep(on_grid)
    numbers = np.round(epochs[on_grid])
    again = np.append(False, np.diff(numbers) == 0)
    source.error("conflicting-samples", "epochs labelled twice: {n}, first at {time}", again)
    source.keep(~again)
    return (numbers - numbers[0])[~again].astype(np.int64)


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
    counts = np.bincount(codes[night.scored], minlength=len(FOUR_CLASS))
    night.facts["shares"] = dict(zip(FOUR_CLASS.classes, (counts / n_scored).tolist(), strict=True))
    for name, count in zip(FOUR_CLASS.classes, counts, strict=True):
        if not count:
            name = name.replace("rem", "REM")
            source.warn("missing-stage", f"no {name} in the night ({n_scored} scored epochs)")
