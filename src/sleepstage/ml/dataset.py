"""Nights as a classifier learns from them: feature rows and stage codes."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from sleepstage.engine.features import SUMMARIES, extract_features
from sleepstage.errors import DataError
from sleepstage.stages import FOUR_CLASS, UNSCORED, Scheme

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from sleepstage.core.recording import Recording

__all__ = ["SPARSE", "PreparedNight", "class_counts", "prepare_nights", "thin"]

_log = logging.getLogger(__name__)

SPARSE: Final = (60.0, 300.0)
"""Seconds between two heart rates of watches that measure now and then; Apple's without a workout
take one in about five minutes."""


@dataclass(frozen=True, eq=False)
class PreparedNight:
    """A scored recording and what a classifier sees of it."""

    recording: Recording
    """Where it comes from."""
    rows: NDArray[np.float32]
    """All features of `sleepstage.engine.features`, shape (n_epochs, n_features)."""
    codes: NDArray[np.int8]
    """The expert's stages in four classes, shape (n_epochs,); unscored where heart rate or motion
    is missing, too: these epochs are neither trained on nor tested."""
    thinned_rows: tuple[NDArray[np.float32], ...] = ()
    """Features of the same night with its heart rate thinned, for each of `SPARSE`."""

    @property
    def subject(self) -> str:
        """Whose night it is."""
        return self.recording.subject

    @property
    def summaries(self) -> NDArray[np.float32]:
        """Rows without the trace, shape (n_epochs, n_summaries)."""
        return self.rows[:, : len(SUMMARIES)]

    @cached_property
    def backward_rows(self) -> NDArray[np.float32]:
        """The same features made from the end of the night, in the order of the epochs."""
        return extract_features(self.recording.reversed())[::-1]

    @cached_property
    def thinned_backward_rows(self) -> tuple[NDArray[np.float32], ...]:
        """Both: from the end of the night, with its heart rate thinned."""
        thinned = [thin(self.recording, seconds) for seconds in SPARSE]
        return tuple(extract_features(one.reversed())[::-1] for one in thinned)

    def codes_in(self, scheme: Scheme) -> NDArray[np.int8]:
        """The expert's stages in another scheme, of the same epochs."""
        if scheme == FOUR_CLASS or self.recording.reference is None:
            return self.codes
        codes = self.recording.reference.merge(scheme).codes[: len(self.codes)].copy()
        codes[self.codes == UNSCORED] = UNSCORED
        return codes


def prepare_nights(recordings: Iterable[Recording]) -> list[PreparedNight]:
    """Features and codes of all recordings that an expert scored; the others are left out."""
    nights = []
    for recording in recordings:
        if recording.reference is None:
            _log.warning("%s: left out, it has no stages", recording.subject)
            continue
        codes = recording.reference.merge(FOUR_CLASS).codes[: recording.n_epochs].copy()
        codes[~recording.covered] = UNSCORED
        if (codes == UNSCORED).all():
            _log.warning("%s: left out, no scored epoch has both signals", recording.subject)
            continue
        thinned = tuple(extract_features(thin(recording, seconds)) for seconds in SPARSE)
        nights.append(PreparedNight(recording, extract_features(recording), codes, thinned))
    return nights


def thin(recording: Recording, seconds: float) -> Recording:
    """Return the same night with one heart rate in so many seconds."""
    return replace(recording, heart_rate=recording.heart_rate.thinned(seconds))


def class_counts(nights: Sequence[NDArray[np.int8]], scheme: Scheme) -> NDArray[np.int64]:
    """Epochs of each class in the codes of training nights, shape (n_classes,).

    Raises
    ------
    DataError
        If a class has none; names it.
    """
    codes = np.concatenate(nights)
    counts = np.bincount(codes[codes != UNSCORED], minlength=len(scheme))
    if not counts.all():
        missing = ", ".join(
            name for name, count in zip(scheme.classes, counts, strict=True) if not count
        )
        msg = f"no epoch of {missing} in the {len(nights)} training nights; use another seed"
        raise DataError(msg)
    return counts
