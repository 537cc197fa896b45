"""A night in stages: epochs of 30 s, their probabilities, and how certain these are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sleepstage._utils.arrays import Codes, Floats, Floats32
from sleepstage._utils.files import write_table
from sleepstage.core.statistics import SleepStatistics, sleep_statistics
from sleepstage.errors import DataError
from sleepstage.plotting import plot_night
from sleepstage.stages import EPOCH_SECONDS, FIVE_CLASS, REASONS, UNIX_TIME, UNSCORED, Scheme

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

_TINY: Final = 1e-9
_YEAR_9000: Final = 2.2e11  # s: calendars end soon after


def temper(probabilities: NDArray[np.floating], temperature: float) -> Floats32:
    """Sharpen (temperature below 1) or soften probabilities; which is largest stays.

    Divides log-probabilities, shape (n_epochs, n_classes), by the temperature. That one number is
    all that is fitted (Guo et al. 2017, ICML, arXiv 1706.04599).
    """
    logs = np.log(probabilities.astype(np.float64) + _TINY) / temperature
    odds = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True), dtype=np.float32)


def certainty(probabilities: NDArray[np.floating]) -> Floats32:
    """Certainty of each epoch, shape (n_epochs,): 1 less the normalised entropy.

    1 where one class has it all, 0 where all are as likely or nothing is known (NaN), as in
    SleepTransformer (Phan et al. 2022, IEEE TBME 69(8), arXiv 2105.11043).
    """
    shares = probabilities.astype(np.float64)
    entropy = -(shares * np.log(shares + _TINY)).sum(axis=1) / np.log(shares.shape[1])
    return np.asarray((1 - np.nan_to_num(entropy, nan=1.0)).clip(0, 1), dtype=np.float32)


def likeliest(probabilities: NDArray[np.floating]) -> Codes:
    """Code of the largest in each row, unscored where nothing is known (NaN), shape (n_epochs,)."""
    unknown = np.isnan(probabilities).any(axis=1)
    return np.where(unknown, UNSCORED, probabilities.argmax(axis=1)).astype(np.int8)


@dataclass(frozen=True, eq=False)
class Hypnogram:
    """Stages of consecutive 30 s epochs."""

    start: float
    """Start of the first epoch, in seconds on the recording's clock."""
    codes: NDArray[np.int8]
    """Class of each epoch in `scheme`, -1 where unscored. Read `stages` for names; shape
    (n_epochs,)."""
    scheme: Scheme
    """The classes."""
    probabilities: NDArray[np.float32] | None = None
    """Probability of each class, NaN in epochs that are unscored; shape (n_epochs, n_classes)."""
    subject: str = ""
    """Whose night it is."""
    simulated: bool = False
    """True if the night was made by the simulator: tables and pictures must be marked."""
    utc_offset: int = 0
    """Seconds by which clocks were ahead of UTC when the night began; see `clock`."""
    reasons: NDArray[np.int8] | None = None
    """Why each epoch could not be staged, as a code of `sleepstage.stages.REASONS`; 0 where it was.
    Read `reason_names` for names; shape (n_epochs,)."""

    def __post_init__(self) -> None:
        shape = (len(self.codes), len(self.scheme))
        for name, expected in (("probabilities", shape), ("reasons", shape[:1])):
            found = getattr(self, name)
            if found is not None and found.shape != expected:
                raise DataError(f"{name} have shape {found.shape}, expected {expected}")

    @classmethod
    def from_stages(cls, stages: ArrayLike, *, start: float = 0.0, **kwargs: Any) -> Hypnogram:
        """Build an expert's hypnogram from an array of `Stage`, in the five AASM classes."""
        return cls(start, FIVE_CLASS.encode(stages), FIVE_CLASS, **kwargs)

    def __repr__(self) -> str:
        name = f"Hypnogram of {self.subject}" if self.subject else "Hypnogram"
        when = show_time(self.start, self.utc_offset)
        return f"<{name} from {when}: {len(self)} epochs in {self.scheme.name}>"

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def times(self) -> NDArray[np.float64]:
        """Start of each epoch in seconds, shape (n_epochs,)."""
        return self.start + EPOCH_SECONDS * np.arange(len(self), dtype=np.float64)

    @property
    def clock(self) -> list[str] | None:
        """Start of each epoch as a clock showed it, ISO 8601; None where time is no Unix time.

        Clocks keep the offset from UTC that they had when the night began, so that no hour comes
        twice or is missing in the night when they are put back or forward.
        """
        if self.start < UNIX_TIME:
            return None
        return [show_time(time, self.utc_offset) for time in self.times.tolist()]

    @property
    def stages(self) -> NDArray[np.str_]:
        """Name of each epoch's class, ``unscored`` where there is none, shape (n_epochs,)."""
        names = np.array([*self.scheme.classes, "unscored"])
        return names[self.codes]

    @property
    def reason_names(self) -> NDArray[np.str_]:
        """``not_worn`` or ``no_data`` where that is why an epoch is unscored, else empty."""
        return np.array(REASONS)[self._reasons]

    @property
    def _reasons(self) -> Codes:
        return np.zeros(len(self), dtype=np.int8) if self.reasons is None else self.reasons

    @property
    def confidence(self) -> NDArray[np.float32]:
        """How certain each epoch is, from 0 to 1, shape (n_epochs,).

        See `sleepstage.core.hypnogram.certainty`. An expert's hypnogram is certain throughout.
        """
        if self.probabilities is None:
            return np.asarray(self.codes != UNSCORED, dtype=np.float32)
        return certainty(self.probabilities)

    def merge(self, scheme: Scheme) -> Hypnogram:
        """Return the same night in a coarser scheme; probabilities add up.

        The class of an epoch follows from its class here, so that one decision is reported in
        all schemes, and not from the summed probabilities.
        """
        into = self.scheme.merge_to(scheme)
        codes = np.array([*into, UNSCORED], dtype=np.int8)[self.codes]
        probabilities = None
        if self.probabilities is not None:
            probabilities = np.zeros((len(self), len(scheme)), dtype=np.float32)
            for source, target in enumerate(into):
                probabilities[:, target] += self.probabilities[:, source]
        return replace(self, codes=codes, scheme=scheme, probabilities=probabilities)

    def decide(self, class_weights: Mapping[str, float]) -> Hypnogram:
        """Return the same night decided at another operating point.

        Parameters
        ----------
        class_weights : mapping of str to float
            Class probabilities are multiplied by these before the largest is taken; a class that
            is not named keeps its own. The probabilities stay as they are.

        Raises
        ------
        DataError
            If there are no probabilities or a class is unknown.
        """
        unknown = ", ".join(sorted(set(class_weights) - set(self.scheme.classes)))
        if self.probabilities is None or unknown:
            msg = f"no class {unknown} in {self.scheme.name}" if unknown else "no probabilities"
            raise DataError(msg)
        weights = np.array([class_weights.get(name, 1.0) for name in self.scheme.classes])
        codes = likeliest(self.probabilities * weights)
        codes[self.codes == UNSCORED] = UNSCORED
        return replace(self, codes=codes)

    def statistics(self, *, mask: NDArray[np.bool_] | None = None) -> SleepStatistics:
        """Sleep statistics of the night; see `sleepstage.core.statistics.sleep_statistics`.

        Parameters
        ----------
        mask : ndarray of bool, shape (n_epochs,), optional
            Epochs that count; all by default.
        """
        return sleep_statistics(self.codes, self.scheme.classes, self._reasons, mask)

    def epochs(self) -> list[Epoch]:
        """The epochs one by one, as a session emits them; an expert's have probability 1."""
        shares = self.probabilities
        if shares is None:
            shares = np.eye(len(self.scheme), dtype=np.float32)[self.codes]
            shares[self.codes == UNSCORED] = np.nan
        return _epochs(self.scheme, self.times, self.codes, shares, self._reasons)

    def to_frame(self) -> pl.DataFrame:
        """Table with ``time`` (s), ``stage``, ``p_<class>`` and ``confidence``, one row per epoch.

        Where times are Unix time, ``clock`` follows the time; see `Hypnogram.clock`. Where an epoch
        could not be staged, ``reason`` is a column, too; see `Hypnogram.reason_names`. A simulated
        night has a column ``simulated`` in addition, so that no table hides it.
        """
        import polars as pl

        clock = self.clock
        columns: dict[str, Any] = {"time": self.times} | ({} if clock is None else {"clock": clock})
        columns["stage"] = self.stages.tolist()
        if self.probabilities is not None:
            for name, column in zip(self.scheme.classes, self.probabilities.T, strict=True):
                columns[f"p_{name}"] = column
            columns["confidence"] = self.confidence
        if self.reason_names.any():
            columns["reason"] = self.reason_names.tolist()
        if self.simulated:
            columns["simulated"] = [True] * len(self)
        return pl.DataFrame(columns)

    def save(self, path: str | Path) -> None:
        """Write as CSV, JSON or Parquet, by the ending of `path`; never leaves half a file."""
        description = {
            "subject": self.subject,
            "simulated": self.simulated,
            "epoch_seconds": EPOCH_SECONDS,
            "scheme": self.scheme.name,
            "classes": list(self.scheme.classes),
        }
        write_table(path, self.to_frame(), description)

    def plot(
        self, *, reference: Hypnogram | None = None, watch: Hypnogram | None = None, title: str = ""
    ) -> Figure:
        """Draw the night: hypnogram, the expert's and the watch's if given, hypnodensity."""
        others = {"scored": reference, "staged by the watch": watch}
        shown: Sequence[tuple[str, Codes]] = [
            *((name, one.merge(self.scheme).codes) for name, one in others.items() if one),
            ("predicted", self.codes),
        ]
        return plot_night(
            self.times,
            shown,
            self.scheme,
            probabilities=self.probabilities,
            title=title or self.subject,
            simulated=self.simulated,
            utc_offset=self.utc_offset,
        )


def clock_time(time: float, utc_offset: int) -> datetime:
    """What a clock so many seconds ahead of UTC showed at a Unix time."""
    return datetime.fromtimestamp(time, timezone(timedelta(seconds=utc_offset)))


def show_time(time: float, utc_offset: int = 0) -> str:
    """Show a time as a clock did, ISO 8601, or as seconds where it is no Unix time."""
    if not UNIX_TIME <= time < _YEAR_9000:
        return f"{time:.10g} s"
    return clock_time(time, utc_offset).isoformat("T", "seconds")


def stage_runs(hypnogram: Hypnogram) -> list[tuple[int, int, str]]:
    """Stretches of one class: first epoch, number of epochs, name."""
    firsts = np.flatnonzero(np.diff(hypnogram.codes, prepend=UNSCORED - 1))
    lengths = np.diff(firsts, append=len(hypnogram)).tolist()
    names = hypnogram.stages[firsts].tolist()
    return list(zip(firsts.tolist(), lengths, names, strict=True))


@dataclass(frozen=True)
class Epoch:
    """30 s of a night, staged."""

    time: float
    """Its start, in seconds on the session's clock."""
    stage: str
    """Name of its class; ``unscored`` where no data come or the watch is not worn."""
    probabilities: Mapping[str, float]
    """Of each class, NaN where unscored."""
    confidence: float
    """From 0 to 1; see `sleepstage.core.hypnogram.certainty`."""
    reason: str = ""
    """Why it is unscored, ``no_data`` or ``not_worn``; empty where it is not."""

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold: NaN becomes None."""
        known = {
            name: None if math.isnan(share) else round(share, 6)
            for name, share in self.probabilities.items()
        }
        return {**asdict(self), "probabilities": known, "confidence": round(self.confidence, 6)}


def staged(
    scheme: Scheme,
    start: float,
    first: int,
    probabilities: Floats32,
    reasons: Codes,
    weights: Floats,
) -> list[Epoch]:
    """Epochs from number `first` on; those before the night are left out."""
    numbers = np.arange(max(first, 0), first + len(probabilities), dtype=np.float64)
    of_night = slice(max(-first, 0), len(probabilities))
    reasons = reasons[of_night]
    known = np.where(reasons[:, np.newaxis] > 0, np.nan, probabilities[of_night])
    codes = likeliest(known * weights)
    return _epochs(scheme, start + EPOCH_SECONDS * numbers, codes, known, reasons)


def _epochs(
    scheme: Scheme, times: Floats, codes: Codes, probabilities: Floats32, reasons: Codes
) -> list[Epoch]:
    names = (*scheme.classes, "unscored")
    columns = (times, codes, probabilities, certainty(probabilities), reasons)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [
        Epoch(time, names[code], dict(zip(scheme.classes, shares, strict=True)), sure, REASONS[why])
        for time, code, shares, sure, why in rows
    ]
