"""Who trains, who validates, who tests: always by person."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from sleepstage.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Split", "holdout", "kfold"]

_MIN_PEOPLE = 3  # one to train, one to validate, one to test


@dataclass(frozen=True)
class Split:
    """Disjoint groups of subjects.

    Attributes
    ----------
    train : tuple of str
        Weights are fitted on these.
    validation : tuple of str
        Taken out of the training part: every choice is made on these.
    test : tuple of str
        Seen once, at the end.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def to_dict(self) -> dict[str, list[str]]:
        """Lists of subjects by part."""
        return {part: list(subjects) for part, subjects in asdict(self).items()}


def holdout(
    subjects: Sequence[str],
    *,
    seed: int,
    test_share: float = 0.10,
    validation_share: float = 0.15,
) -> Split:
    """Random split: `test_share` of all people test, `validation_share` of the rest validate.

    Raises
    ------
    DataError
        If there are fewer than three people.
    """
    shuffled = _shuffled(subjects, seed)
    n_test = max(1, round(test_share * len(shuffled)))
    return _with_validation(shuffled[n_test:], shuffled[:n_test], validation_share)


def kfold(
    subjects: Sequence[str], *, n_folds: int, seed: int, validation_share: float = 0.15
) -> list[Split]:
    """Random folds: each person tests once, in the fold of people trained without them.

    Raises
    ------
    DataError
        If there are fewer than three people or fewer people than folds.
    """
    shuffled = _shuffled(subjects, seed)
    if not 2 <= n_folds <= len(shuffled):
        msg = f"{n_folds} folds of {len(shuffled)} people; choose 2 to {len(shuffled)} folds"
        raise DataError(msg)
    edges = np.linspace(0, len(shuffled), n_folds + 1).round().astype(int).tolist()
    return [
        # The next people in the round validate, so that every fold has others.
        _with_validation(shuffled[end:] + shuffled[:begin], shuffled[begin:end], validation_share)
        for begin, end in pairwise(edges)
    ]


def _shuffled(subjects: Sequence[str], seed: int) -> list[str]:
    if len(subjects) < _MIN_PEOPLE:
        msg = f"{len(subjects)} people with stages; a split by person needs {_MIN_PEOPLE} or more"
        raise DataError(msg)
    # Sorted first, so that a seed means the same split in whatever order people were found.
    shuffled: list[str] = np.random.default_rng(seed).permutation(sorted(subjects)).tolist()
    return shuffled


def _with_validation(rest: list[str], test: list[str], share: float) -> Split:
    n_validation = max(1, round(share * len(rest)))
    return Split(
        train=tuple(sorted(rest[n_validation:])),
        validation=tuple(sorted(rest[:n_validation])),
        test=tuple(sorted(test)),
    )
