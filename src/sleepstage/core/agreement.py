"""How well predicted stages agree with an expert's, epoch by epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from sleepstage._utils.arrays import Codes, Counts, Mask
from sleepstage._utils.files import FLAT
from sleepstage.core.hypnogram import Hypnogram
from sleepstage.stages import SCHEMES, UNSCORED, Scheme

NUMBERS: Final = ("accuracy", "kappa", "macro_f1")
"""Fields of `Agreement` that are one number."""


@dataclass(frozen=True)
class Agreement:
    """Agreement of two sequences of classes."""

    n_epochs: int
    accuracy: float
    """Share of epochs in which both agree."""
    kappa: float | None
    """Cohen's kappa; None where it is not defined (both know one class only)."""
    macro_f1: float
    """Mean F1 over the classes that occur in the reference."""
    recall: dict[str, float | None]
    precision: dict[str, float | None]
    f1: dict[str, float | None]
    """Of each class; None where it never occurs (recall) or is never predicted (precision)."""
    confusion: list[list[int]]
    """Rows: reference; columns: prediction; in the order of the scheme's classes."""


@dataclass(frozen=True)
class Report:
    """Agreement over nights in every scheme that the predictions can be merged to, finest first."""

    schemes: dict[str, Agreement] = field(metadata=FLAT)
    """All epochs pooled, by name of the scheme."""
    per_person: dict[str, dict[str, Agreement]]
    """By subject and scheme."""


@dataclass(frozen=True)
class ScoredNight:
    """A predicted hypnogram beside the expert's, and the epochs that count."""

    predicted: Hypnogram
    """In any of the schemes that can be merged to those reported."""
    reference: Hypnogram
    mask: Mask
    """Epochs that are compared, such as those with heart rate and motion, shape (n_epochs,)."""

    @property
    def counted(self) -> Mask:
        """Epochs that count and that the expert scored, shape (n_epochs,)."""
        return np.asarray(self.mask & (self.reference.codes != UNSCORED))

    def pair(self, scheme: Scheme) -> tuple[Codes, Codes]:
        """Class codes of the expert and of the model in the epochs that count and are scored."""
        reference = self.reference.merge(scheme).codes
        return reference[self.counted], self.predicted.merge(scheme).codes[self.counted]


def agreement(reference: Codes, predicted: Codes, scheme: Scheme) -> Agreement:
    """Compare class codes of the same epochs, shape (n_epochs,); unscored predictions are wrong."""
    with_unscored = np.zeros((len(scheme) + 1, len(scheme) + 1), dtype=np.int64)
    np.add.at(with_unscored, (reference, predicted), 1)  # UNSCORED, -1, is the last one
    return _measure(with_unscored, scheme)


def pooled(confusions: Sequence[Sequence[Sequence[int]]], scheme: Scheme) -> Agreement:
    """Agreement over nights from the confusion of each, which lacks unscored predictions."""
    return _measure(np.pad(np.sum(confusions, axis=0), (0, 1)), scheme)


def _measure(with_unscored: Counts, scheme: Scheme) -> Agreement:
    """Agreement from counts whose last row and column are of unscored epochs."""
    n_epochs = int(with_unscored.sum())
    confusion = with_unscored[:-1, :-1]
    hits, scored, given = confusion.diagonal(), with_unscored[:-1].sum(axis=1), confusion.sum(0)

    def by_class(parts: Counts, wholes: Counts) -> dict[str, float | None]:
        shares = map(_share, parts, wholes)
        return dict(zip(scheme.classes, shares, strict=True))

    recall, f1 = by_class(hits, scored), by_class(2 * hits, scored + given)
    occurring = [f1[name] or 0.0 for name, share in recall.items() if share is not None]
    return Agreement(
        n_epochs=n_epochs,
        accuracy=_share(hits.sum(), n_epochs) or 0.0,
        kappa=_kappa(with_unscored),
        macro_f1=float(np.mean(occurring)) if occurring else 0.0,
        recall=recall,
        precision=by_class(hits, given),
        f1=f1,
        confusion=confusion.tolist(),
    )


def _kappa(confusion: Counts) -> float | None:
    """Cohen's kappa (Cohen 1960, Educ Psychol Meas 20:37-46)."""
    n_epochs = confusion.sum()
    by_chance = confusion.sum(axis=0) @ confusion.sum(axis=1)
    if by_chance == n_epochs**2:  # both know one class only, or there is no epoch
        return None
    same = confusion.trace() * n_epochs
    return float((same - by_chance) / (n_epochs**2 - by_chance))


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def reported_schemes(scheme: Scheme) -> list[Scheme]:
    """A model's own scheme and all coarser ones, finest first."""
    return [other for other in SCHEMES.values() if len(other) <= len(scheme)]


def report(nights: Mapping[str, ScoredNight]) -> Report:
    """Agreement in every scheme, pooled and by person, of one night or more by subject."""
    schemes = reported_schemes(next(iter(nights.values())).predicted.scheme)

    def in_each(scored: Sequence[ScoredNight]) -> dict[str, Agreement]:
        return {scheme.name: _pooled(scored, scheme) for scheme in schemes}

    per_person = {subject: in_each([night]) for subject, night in nights.items()}
    return Report(in_each(list(nights.values())), per_person)


def _pooled(nights: Sequence[ScoredNight], scheme: Scheme) -> Agreement:
    references, predictions = zip(*(night.pair(scheme) for night in nights), strict=True)
    return agreement(np.concatenate(references), np.concatenate(predictions), scheme)
