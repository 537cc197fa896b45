"""What moved each decision: the night staged again with something taken away.

Answers what SleepTransformer (Phan et al. 2022, IEEE TBME 69(8), arXiv 2105.11043) reads from its
attention, how much each past minute counts, for any model and in probability. What is taken away
are samples, as if the watch had lost them, and not features: the very engine that stages then does
what it does when a signal is missing (occlusion, Zeiler and Fergus 2014, arXiv 1311.2901).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sleepstage._utils.arrays import Codes, Floats32
from sleepstage._utils.files import write_table
from sleepstage.core.hypnogram import Hypnogram
from sleepstage.core.recording import Recording
from sleepstage.engine.features import FEATURES, FeatureState, rows_until
from sleepstage.engine.stager import Stager
from sleepstage.engine.wear import unscored_reasons
from sleepstage.errors import DataError
from sleepstage.plotting import plot_explanation
from sleepstage.stages import EPOCH_SECONDS, UNSCORED

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

BLOCK_MINUTES: Final = 5
"""Heart rate and motion of so many minutes are taken away at once."""

LAGS: Final = tuple(range(0, 60, BLOCK_MINUTES))
"""Minutes that are looked back on, each the beginning of five."""

_BLOCK: Final = BLOCK_MINUTES * 60 // EPOCH_SECONDS  # epochs
_REACH: Final = _BLOCK * len(LAGS)  # epochs that a block is followed for


@dataclass(frozen=True, eq=False)
class Explanation:
    """How much each signal and each past minute spoke for the stage that was decided.

    An effect is the probability of the decided stage as predicted, minus what it is without
    that signal or those minutes: above zero they spoke for the stage, below against it. It is NaN
    in an epoch that is unscored, and in one that would be unscored without them.
    """

    hypnogram: Hypnogram
    """What is explained."""
    signals: tuple[str, ...]
    """``heart_rate``, ``motion``, ``steps``: those that the recording has and the model uses."""
    by_signal: Floats32
    """Effect of each signal, taken away from the whole night and from before it; shape (n_epochs,
    n_signals)."""
    lags: tuple[int, ...]
    """`LAGS`, in minutes; empty for a whole-night model, which has no past to look back on."""
    by_past: Floats32
    """Effect of heart rate and motion of one block of five minutes. The night is cut into blocks
    from its start on; in the column of `lag` stands the one that began `lag` or more, and less than
    `lag` + 5, minutes before the epoch did. So lag 0 is the block in which the epoch lies, of which
    a live model knows the part up to the epoch's end, and lag 5 the whole block before it. NaN
    where that would be before the night; shape (n_epochs, n_lags)."""

    def __post_init__(self) -> None:
        for name, columns in (("by_signal", self.signals), ("by_past", self.lags)):
            found, expected = getattr(self, name).shape, (len(self.hypnogram), len(columns))
            if found != expected:
                raise DataError(f"{name} has shape {found}, expected {expected}")

    def to_frame(self) -> pl.DataFrame:
        """Table with one row per epoch.

        Columns are ``time`` (s), ``stage``, ``probability`` of that stage, ``confidence``, the
        effects ``by_<signal>`` and ``past_0_5min``, ``past_5_10min``, ..., and, for a simulated
        night, ``simulated``.
        """
        import polars as pl

        columns: dict[str, Any] = {
            "time": self.hypnogram.times,
            "stage": self.hypnogram.stages.tolist(),
            "probability": _of_stages(self.hypnogram.codes, self.hypnogram.probabilities),
            "confidence": self.hypnogram.confidence,
        }
        for signal, effects in zip(self.signals, self.by_signal.T, strict=True):
            columns[f"by_{signal}"] = effects
        for lag, effects in zip(self.lags, self.by_past.T, strict=True):
            columns[f"past_{lag}_{lag + BLOCK_MINUTES}min"] = effects
        if self.hypnogram.simulated:
            columns["simulated"] = [True] * len(self.hypnogram)
        return pl.DataFrame(columns)

    def save(self, path: str | Path) -> None:
        """Write as CSV, JSON or Parquet, by the ending of `path`; never leaves half a file."""
        description = {
            "subject": self.hypnogram.subject,
            "simulated": self.hypnogram.simulated,
            "epoch_seconds": EPOCH_SECONDS,
            "scheme": self.hypnogram.scheme.name,
            "signals": list(self.signals),
            "lags_minutes": list(self.lags),
        }
        write_table(path, self.to_frame(), description)

    def plot(self, *, title: str = "") -> Figure:
        """Draw the night: its stages, and below them what spoke for and against each."""
        return plot_explanation(
            self.hypnogram.times,
            self.hypnogram.codes,
            self.hypnogram.scheme,
            by_signal=dict(zip(self.signals, self.by_signal.T, strict=True)),
            by_past=dict(zip(self.lags, self.by_past.T, strict=True)),
            title=title or self.hypnogram.subject,
            simulated=self.hypnogram.simulated,
        )


def explain(
    stager: Stager,
    recording: Recording,
    *,
    class_weights: Mapping[str, float] | None = None,
    on_progress: Callable[[int, int, str], None] | None = None,
) -> Explanation:
    """Stage a night, and again without each signal and without each five minutes.

    Parameters
    ----------
    stager : Stager
        A live model, or one for whole nights; of the latter, the signals alone are explained.
    recording : Recording
        The night.
    class_weights : mapping of str to float, optional
        Operating point at which the stage is decided; see `Hypnogram.decide`.
    on_progress : callable, optional
        Called with parts done, parts in all, and what was taken away.
    """
    hypnogram = stager.predict(recording).decide(class_weights or {})
    used = {feature.signal for feature in FEATURES if feature.name in stager.info.features}
    known = (name for name in ("heart_rate", "motion", "steps") if len(getattr(recording, name)))
    signals = tuple(name for name in known if name in used)
    lags = () if stager.info.whole_night else LAGS
    n_blocks = math.ceil(len(hypnogram) / _BLOCK) if lags else 0
    by_signal = np.full((len(hypnogram), len(signals)), np.nan, dtype=np.float32)
    by_past = np.full((len(hypnogram), len(lags)), np.nan, dtype=np.float32)

    def report(done: int, remark: str) -> None:
        if on_progress is not None:
            on_progress(done, len(signals) + n_blocks, remark)

    codes = hypnogram.codes
    predicted = _of_stages(codes, hypnogram.probabilities)
    for column, signal in enumerate(signals):
        lost: dict[str, Any] = {signal: getattr(recording, signal).between(0, 0)}
        without = stager.predict(replace(recording, **lost)).probabilities
        by_signal[:, column] = predicted - _of_stages(codes, without)
        report(column + 1, signal.replace("_", " "))
    for block, without in enumerate(_without_blocks(stager, recording, n_blocks)):
        since = np.arange(len(without))
        epochs = block * _BLOCK + since
        by_past[epochs, since // _BLOCK] = predicted[epochs] - _of_stages(codes[epochs], without)
        report(len(signals) + block + 1, f"minute {block * BLOCK_MINUTES}")
    return Explanation(hypnogram, signals, by_signal, lags, by_past)


def _of_stages(codes: Codes, probabilities: Floats32 | None) -> Floats32:
    """Probability of each epoch's stage, NaN where unscored, shape (n_epochs,)."""
    if probabilities is None:
        msg = "a hypnogram without probabilities can't be explained; stage it with a model"
        raise DataError(msg)
    chosen = probabilities[np.arange(len(codes)), codes]
    return np.where(codes == UNSCORED, np.float32(np.nan), chosen)


def _without_minutes(recording: Recording, start: float, end: float) -> Recording:
    """The night without heart rate and motion of the epochs between two times, in seconds."""
    beats, moved = recording.heart_rate, recording.motion  # this one at the ends of windows
    return replace(
        recording,
        heart_rate=beats.keep((beats.times < start) | (beats.times >= end)),
        motion=moved.keep((moved.times <= start) | (moved.times > end)),
    )


def _without_blocks(stager: Stager, recording: Recording, n_blocks: int) -> Iterator[Floats32]:
    """For each block, probabilities from its first epoch on, predicted without the block.

    Shape (n_epochs, n_classes) each, n_epochs at most an hour's; NaN where no signal is left. Each
    goes on from what features and model remember at the block's start, so that
    it costs that hour, and not the night.
    """
    n_epochs, ahead = recording.n_epochs, stager.info.look_ahead
    features, model = FeatureState(recording.start), stager.initial_state()
    for first in range(0, n_blocks * _BLOCK, _BLOCK):
        end = min(first + _BLOCK, n_epochs)
        n_told = min(_REACH, n_epochs - first)
        start_time, end_time = (recording.start + at * EPOCH_SECONDS for at in (first, end))
        hidden = _without_minutes(recording, start_time, end_time)
        rows, _ = rows_until(features, hidden, min(first + n_told + ahead, n_epochs))
        # A model that looks ahead is shown, as in `Stager.predict`, that nothing follows the night.
        beyond = np.full((n_told + ahead - len(rows), rows.shape[1]), np.nan, dtype=np.float32)
        probabilities, _ = stager.step(np.concatenate([rows, beyond]), model, exact=False)
        probabilities = probabilities[ahead:]
        probabilities[unscored_reasons(rows[:n_told]) > 0] = np.nan
        yield probabilities
        rows, features = rows_until(features, recording, end)
        _, model = stager.step(rows, model, exact=False)
