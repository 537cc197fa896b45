"""Who trains, who validates, who tests: always by person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sleepstage.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Split", "everyone", "fewer", "holdout", "kfold"]

_MIN_PEOPLE = 3  # one to train, one to validate, one to test


@dataclass(frozen=True)
class Split:
    """Who trains and who tests.

    Attributes
    ----------
    train : tuple of str
        Networks are fitted on these.
    validation : tuple of tuple of str
        The training people in groups that take turns to say how long to fit.
    test : tuple of str
        None of `train`; seen once, at the end.
    """

    train: tuple[str, ...]
    validation: tuple[tuple[str, ...], ...]
    test: tuple[str, ...]


def holdout(
    subjects: Sequence[str], *, seed: int, test_share: float = 0.10, n_groups: int = 5
) -> Split:
    """Random split: `test_share` of all people test, the others train, in `n_groups` groups.

    Raises
    ------
    DataError
        If there are fewer than three people.
    """
    shuffled = _shuffled(subjects, seed)
    n_test = max(1, round(test_share * len(shuffled)))
    return _split(shuffled[n_test:], shuffled[:n_test], n_groups)


def kfold(subjects: Sequence[str], *, n_folds: int, seed: int, n_groups: int = 5) -> list[Split]:
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
    return [
        _split([name for name in shuffled if name not in fold], fold, n_groups)
        for fold in _groups(shuffled, n_folds)
    ]


def everyone(subjects: Sequence[str], *, seed: int, n_groups: int = 5) -> Split:
    """Nobody tests: for a model that is to be used. Its people still take turns to validate."""
    return _split(_shuffled(subjects, seed), [], n_groups)


def fewer(split: Split, people: int, *, seed: int) -> Split:
    """Split with a random part of its training people; the test people stay.

    Raises
    ------
    DataError
        If there are not that many, or fewer than two are asked for.
    """
    if not 2 <= people <= len(split.train):
        msg = f"{people} of {len(split.train)} training people; choose 2 to {len(split.train)}"
        raise DataError(msg)
    kept = np.random.default_rng(seed).permutation(split.train)[:people].tolist()
    return _split(kept, list(split.test), len(split.validation))


def _shuffled(subjects: Sequence[str], seed: int) -> list[str]:
    if len(subjects) < _MIN_PEOPLE:
        msg = f"{len(subjects)} people with stages; a split by person needs {_MIN_PEOPLE} or more"
        raise DataError(msg)
    # Sorted first, so that a seed means the same split in whatever order people were found.
    shuffled: list[str] = np.random.default_rng(seed).permutation(sorted(subjects)).tolist()
    return shuffled


def _split(train: list[str], test: list[str], n_groups: int) -> Split:
    if len(train) < 2:
        msg = f"{len(train)} people left to train on, two are the least: use more folds"
        raise DataError(msg)
    groups = _groups(train, min(n_groups, len(train)))
    return Split(
        train=tuple(sorted(train)),
        validation=tuple(tuple(sorted(group)) for group in groups),
        test=tuple(sorted(test)),
    )


def _groups(names: list[str], number: int) -> list[list[str]]:
    """Deal names to groups whose sizes differ by one at most."""
    return [names[start::number] for start in range(number)]
