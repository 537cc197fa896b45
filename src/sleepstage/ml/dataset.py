"""Nights as a classifier is fitted to them: feature rows and stage codes, and their batches."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sleepstage.engine.features import FEATURE_NAMES, FEATURES, SUMMARIES, extract_features
from sleepstage.errors import DataError
from sleepstage.stages import EPOCH_SECONDS, FOUR_CLASS, SCHEMES, UNSCORED, Scheme

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    from sleepstage.core.recording import Recording
    from sleepstage.ml.config import TrainingConfig

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

    def until(self, n_epochs: int) -> PreparedNight:
        """The night as it was known at the end of its first epochs, without the expert's stages."""
        now = self.recording.start + EPOCH_SECONDS * n_epochs
        known = replace(
            self.recording,
            end=now,
            heart_rate=self.recording.heart_rate.between(-math.inf, now),
            motion=self.recording.motion.between(-math.inf, now, window_ends=True),
            steps=self.recording.steps.between(-math.inf, now),
            reference=None,
            watch_stages=None,
        )
        thinned = tuple(rows[:n_epochs] for rows in self.thinned_rows)
        unscored = np.full(n_epochs, UNSCORED, dtype=np.int8)
        return PreparedNight(known, self.rows[:n_epochs], unscored, thinned)

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

    Raises `DataError` if a class has none; names it.
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


_LOST: Final = {"heart_rate": 0.2, "motion": 0.8}  # where a signal is, which one: shares


class Example(NamedTuple):
    """One night of a training person."""

    rows: NDArray[np.float32]
    """Shape (n_epochs, n_inputs)."""
    codes: NDArray[np.int8]
    """Shape (n_epochs,)."""
    thinned: tuple[NDArray[np.float32], ...] = ()
    """Rows of the same night with its heart rate thinned."""


def input_rows(night: PreparedNight, config: TrainingConfig) -> NDArray[np.float32]:
    """What the network reads, shape (n_epochs + look_ahead, n_inputs).

    A whole-night network gets the features of both directions side by side. A network that looks
    ahead decides on an epoch some rows later, so the night goes on for a few rows of nothing.
    """
    return _select(night.rows, night.backward_rows if config.whole_night else None, config)


def _select(
    rows: NDArray[np.float32], backward_rows: NDArray[np.float32] | None, config: TrainingConfig
) -> NDArray[np.float32]:
    columns = [FEATURE_NAMES.index(name) for name in config.columns]
    directions = [one[:, columns] for one in (rows, backward_rows) if one is not None]
    inputs = np.concatenate(directions, axis=1)
    beyond = np.full((config.look_ahead, inputs.shape[1]), np.nan, dtype=np.float32)
    return np.concatenate([inputs, beyond])


def example(night: PreparedNight, config: TrainingConfig) -> Example:
    """Rows of a night and what is to be predicted at each of them."""
    codes = night.codes_in(SCHEMES[config.scheme])
    not_yet = np.full(config.look_ahead, UNSCORED, dtype=np.int8)
    backward = night.thinned_backward_rows if config.whole_night else (None, None)
    return Example(
        input_rows(night, config),
        np.concatenate([not_yet, codes]),
        tuple(_select(*both, config) for both in zip(night.thinned_rows, backward, strict=False)),
    )


def batches(
    examples: Sequence[Example], config: TrainingConfig, std_F: Tensor, rng: Generator
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Augmented nights in random order: rows, codes, and lengths before the padding."""
    order = rng.permutation(len(examples))
    for begin in range(0, len(examples), config.batch_size):
        chosen = [examples[i] for i in order[begin : begin + config.batch_size]]
        pairs = [_augment(one, config, std_F.numpy(), rng) for one in chosen]
        rows_TF, codes_T = zip(*pairs, strict=True)
        yield (
            pad_sequence(list(rows_TF), batch_first=True),
            pad_sequence(list(codes_T), batch_first=True, padding_value=UNSCORED),
            torch.tensor([len(codes) for codes in codes_T]),
        )


def _augment(
    night: Example, config: TrainingConfig, std_F: NDArray[np.float32], rng: Generator
) -> tuple[Tensor, Tensor]:
    """Another night that the same person might have had."""
    begin, end = 0, len(night.codes)
    if rng.random() < config.crop_share and end > config.crop_epochs:
        # Starts of nights more often than chance: there the network has no state to lean on.
        begin = 0 if rng.random() < 0.3 else int(rng.integers(end - config.crop_epochs))
        end = begin + config.crop_epochs
    thinned = night.thinned and rng.random() < config.thinning
    source = night.thinned[rng.integers(len(night.thinned))] if thinned else night.rows
    rows = source[begin:end].astype(np.float64)
    shift = rng.normal(0, config.offset, size=(1, rows.shape[1]))
    rows = rows + std_F * (rng.normal(0, config.noise, size=rows.shape) + shift)
    if rng.random() < config.signal_dropout:
        signals = [FEATURES[FEATURE_NAMES.index(name)].signal for name in config.columns]
        repeats = rows.shape[1] // len(signals)
        lost = rng.choice(list(_LOST), p=list(_LOST.values()))
        rows[:, np.array(signals * repeats) == lost] = np.nan
    codes = night.codes[begin:end].astype(np.int64)
    return torch.tensor(rows, dtype=torch.float32), torch.tensor(codes)
