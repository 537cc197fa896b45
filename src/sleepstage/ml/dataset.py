"""Nights as a classifier is fitted to them: feature rows and stage codes, and their batches."""

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sleepstage.core.recording import Recording
from sleepstage.engine import features
from sleepstage.engine.features import FEATURE_NAMES, SUMMARIES, extract_features
from sleepstage.errors import DataError
from sleepstage.ml.config import TrainingConfig
from sleepstage.ml.variants import between, make_variants
from sleepstage.stages import EPOCH_SECONDS, FOUR_CLASS, SCHEMES, UNSCORED, Scheme

_log = logging.getLogger(__name__)


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
    def variants(self) -> "Mapping[str, tuple[PreparedNight, ...]]":
        """The night as it might have been recorded; see `sleepstage.ml.variants`."""
        return {
            kind: tuple(PreparedNight(one, extract_features(one), codes) for one, codes in made)
            for kind, made in make_variants(self.recording, self.codes).items()
        }

    def until(self, n_epochs: int) -> "PreparedNight":
        """The night as it was known at the end of its first epochs, without the expert's stages."""
        now = self.recording.start + EPOCH_SECONDS * n_epochs
        known = between(self.recording, -math.inf, now)
        known = replace(known, end=now, reference=None, watch_stages=None)
        unscored = np.full(n_epochs, UNSCORED, dtype=np.int8)
        return PreparedNight(known, self.rows[:n_epochs], unscored)

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
        nights.append(PreparedNight(recording, extract_features(recording), codes))
    return nights


def class_counts(nights: Sequence[NDArray[np.int8]], scheme: Scheme) -> NDArray[np.int64]:
    """Epochs of each class in the codes of training nights, shape (n_classes,).

    Raises `DataError` if a class has none; names it.
    """
    codes = np.concatenate(nights)
    counts = np.bincount(codes[codes != UNSCORED], minlength=len(scheme))
    if not counts.all():
        missing = ", ".join(np.array(scheme.classes)[counts == 0])
        msg = f"no epoch of {missing} in the {len(nights)} training nights; use another seed"
        raise DataError(msg)
    return counts


_LOST: Final = (
    (0.40, {"motion", "steps"}),
    (0.25, {"motion"}),
    (0.15, {"steps"}),
    (0.10, {"heart_rate"}),
    (0.10, {"heart_rate", "steps"}),
)
"""Signals that are missing where any are, and how often; steps are counted from motion."""
_LOST_ALL_ALONG: Final = 0.6  # share of these; the others are without for a while


class Example(NamedTuple):
    """One night of a training person."""

    rows: NDArray[np.float32]
    """Shape (n_epochs, n_inputs)."""
    codes: NDArray[np.int8]
    """Shape (n_epochs,)."""
    variants: "tuple[tuple[float, Example], ...]" = ()
    """The same night as it might have been recorded, and how often it is taken in its place."""


def input_rows(night: PreparedNight, config: TrainingConfig) -> NDArray[np.float32]:
    """What the network reads, shape (n_epochs + look_ahead, n_inputs).

    A whole-night network gets the features of both directions side by side. A network that looks
    ahead decides on an epoch some rows later, so the night goes on for a few rows of nothing.
    """
    columns = [FEATURE_NAMES.index(name) for name in config.columns]
    directions = [night.rows, *([night.backward_rows] if config.whole_night else [])]
    inputs = np.concatenate([one[:, columns] for one in directions], axis=1)
    beyond = np.full((config.look_ahead, inputs.shape[1]), np.nan, dtype=np.float32)
    return np.concatenate([inputs, beyond])


def example(night: PreparedNight, config: TrainingConfig) -> Example:
    """Rows of a night and its variants, and what is to be predicted at each of them."""
    variants = [
        (share / len(night.variants[kind]), _example(one, config))
        for kind, share in config.variants.items()
        if share
        for one in night.variants[kind]
    ]
    return _example(night, config)._replace(variants=tuple(variants))


def _example(night: PreparedNight, config: TrainingConfig) -> Example:
    not_yet = np.full(config.look_ahead, UNSCORED, dtype=np.int8)
    codes = np.concatenate([not_yet, night.codes_in(SCHEMES[config.scheme])])
    return Example(input_rows(night, config), codes)


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
    chosen = np.searchsorted(np.cumsum([share for share, _ in night.variants]), rng.random())
    source = [*(one for _, one in night.variants), night][chosen]
    stretch = _crop(len(source.codes), config, rng)
    rows = source.rows[stretch].astype(np.float64)
    shift = rng.normal(0, config.offset, size=(1, rows.shape[1]))
    rows = rows + std_F * (rng.normal(0, config.noise, size=rows.shape) + shift)
    if rng.random() < config.signal_dropout:
        columns = [features.FEATURES[FEATURE_NAMES.index(name)] for name in config.columns]
        columns *= rows.shape[1] // len(columns)
        _, missing = _LOST[rng.choice(len(_LOST), p=[share for share, _ in _LOST])]
        lost = np.array([column.signal in missing for column in columns])
        # As `engine.features` has it where nothing was measured: a count is zero, and known.
        nothing = np.where([column.unit == "count" for column in columns], 0.0, np.nan)
        begin, end = np.sort(rng.integers(len(rows) + 1, size=2))
        rows[slice(None) if rng.random() < _LOST_ALL_ALONG else slice(begin, end), lost] = nothing[
            lost
        ]
    codes = source.codes[stretch].astype(np.int64)
    return torch.tensor(features.mark_known(rows)), torch.tensor(codes)


def _crop(n_epochs: int, config: TrainingConfig, rng: Generator) -> slice:
    """A stretch to train on: features remember what was before."""
    if n_epochs <= config.crop_epochs:
        return slice(None)
    # The start more often than chance: there the network has no state to lean on.
    begin = 0 if rng.random() < 0.3 else int(rng.integers(n_epochs - config.crop_epochs))
    return slice(begin, begin + config.crop_epochs)
