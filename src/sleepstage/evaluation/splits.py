"""Who trains, who validates, who tests: always by person, with all nights that a person has."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sleepstage.core.recording import person_of
from sleepstage.errors import DataError

_TEST_SHARE = 0.10
_GROUPS = 6  # of training people, that take turns to validate
_MIN_PEOPLE = 3  # one to train, one to validate, one to test


@dataclass(frozen=True)
class Split:
    """Who trains and who tests: subjects, so that a person with several nights is there in each."""

    train: tuple[str, ...]
    """Networks are fitted on these."""
    validation: tuple[tuple[str, ...], ...]
    """The training people in groups, held out in turn to select how decisions are made."""
    test: tuple[str, ...]
    """No person of `train`; seen once, at the end."""


def holdout(subjects: Sequence[str], *, seed: int) -> Split:
    """Random split: a tenth of all people test, the others train, in six groups.

    Raises `DataError` if there are fewer than three people.
    """
    shuffled = _shuffled(subjects, seed)
    n_test = max(1, round(_TEST_SHARE * len(shuffled)))
    return _split(subjects, shuffled, shuffled[:n_test])


def kfold(subjects: Sequence[str], *, n_folds: int, seed: int) -> list[Split]:
    """Random folds: each person tests once, in the fold of people trained without them.

    Raises `DataError` if there are fewer than three people or fewer people than folds.
    """
    shuffled = _shuffled(subjects, seed)
    if not 2 <= n_folds <= len(shuffled):
        msg = f"{n_folds} folds of {len(shuffled)} people; choose 2 to {len(shuffled)} folds"
        raise DataError(msg)
    return [_split(subjects, shuffled, fold) for fold in _groups(shuffled, n_folds)]


def everyone(subjects: Sequence[str], *, seed: int) -> Split:
    """Nobody tests: for a model that is to be used. Its people still take turns to validate."""
    return _split(subjects, _shuffled(subjects, seed), [])


def _shuffled(subjects: Sequence[str], seed: int) -> list[str]:
    # Sorted, so that a seed means the same split in whatever order people were found.
    people = sorted(set(map(person_of, subjects)))
    if len(people) < _MIN_PEOPLE:
        msg = f"{len(people)} people with stages; a split by person needs {_MIN_PEOPLE} or more"
        raise DataError(msg)
    shuffled: list[str] = np.random.default_rng(seed).permutation(people).tolist()
    return shuffled


def _split(subjects: Sequence[str], people: list[str], test: list[str]) -> Split:
    """Split of nights: who of these people does not test trains."""
    train = [name for name in people if name not in test]
    if len(train) < 2:
        raise DataError(f"{len(train)} people left to train on, two are the least: use more folds")
    groups = _groups(train, min(_GROUPS, len(train)))

    def nights(chosen: Sequence[str]) -> tuple[str, ...]:
        return tuple(sorted(one for one in subjects if person_of(one) in chosen))

    return Split(train=nights(train), validation=tuple(map(nights, groups)), test=nights(test))


def _groups(names: list[str], number: int) -> list[list[str]]:
    """Deal names to groups whose sizes differ by one at most."""
    return [names[start::number] for start in range(number)]
