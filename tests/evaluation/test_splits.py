from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from research.studies import fewer
from sleepstage.core.recording import person_of
from sleepstage.errors import DataError
from sleepstage.evaluation.splits import Split, holdout, kfold

PEOPLE = [f"{number:03d}" for number in range(26)]


def everyone(split: Split) -> list[str]:
    return [*split.train, *split.test]


@given(n_people=st.integers(3, 60), seed=st.integers(0, 10_000))
def test_holdout_parts_are_disjoint_and_complete(n_people: int, seed: int) -> None:
    people = [str(number) for number in range(n_people)]
    split = holdout(people, seed=seed)
    assert sorted(everyone(split)) == sorted(people)
    assert sorted(name for group in split.validation for name in group) == sorted(split.train)
    assert all(split.validation)
    assert split.test


def test_holdout_tests_a_tenth_of_the_people() -> None:
    split = holdout(PEOPLE, seed=0)
    assert (len(split.train), len(split.test)) == (23, 3)
    assert [len(group) for group in split.validation] == [4, 4, 4, 4, 4, 3]


def test_a_seed_means_the_same_split_in_whatever_order_people_come() -> None:
    assert holdout(PEOPLE, seed=4) == holdout(PEOPLE[::-1], seed=4)
    assert holdout(PEOPLE, seed=4) != holdout(PEOPLE, seed=5)


@pytest.mark.parametrize("n_folds", [2, 5, 10, 26])
def test_each_person_tests_in_exactly_one_fold(n_folds: int) -> None:
    splits = kfold(PEOPLE, n_folds=n_folds, seed=1)
    assert len(splits) == n_folds
    assert sorted(name for split in splits for name in split.test) == PEOPLE
    assert all(sorted(everyone(split)) == PEOPLE for split in splits)


def test_folds_differ_in_size_by_one_at_most() -> None:
    sizes = {len(split.test) for split in kfold(PEOPLE, n_folds=10, seed=1)}
    assert sizes == {2, 3}


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 7)), unique=True), st.integers(0, 99))
def test_all_nights_of_a_person_are_in_one_part(nights: list[tuple[int, int]], seed: int) -> None:
    subjects = [f"p{person}/{night}" for person, night in nights]
    people = {person_of(subject) for subject in subjects}
    assume(len(people) >= 4)
    for split in [holdout(subjects, seed=seed), *kfold(subjects, n_folds=2, seed=seed)]:
        assert sorted(everyone(split)) == sorted(subjects)
        parts = [*split.validation, split.test]
        who = [{person_of(subject) for subject in part} for part in parts]
        assert sum(map(len, who)) == len(people)
        assert set.union(*who) == people
        few = fewer(split, 2, seed=seed)
        assert len({person_of(subject) for subject in few.train}) == 2
        assert few.test == split.test


@pytest.mark.parametrize("n_people", [0, 1, 2])
def test_too_few_people_are_refused(n_people: int) -> None:
    with pytest.raises(DataError, match=f"{n_people} people .* needs 3 or more"):
        holdout(PEOPLE[:n_people], seed=0)


def test_nobody_left_to_validate_is_refused() -> None:
    with pytest.raises(DataError, match="1 people left to train on"):
        kfold(PEOPLE[:3], n_folds=2, seed=0)


@pytest.mark.parametrize("n_folds", [0, 1, 6])
def test_more_folds_than_people_are_refused(n_folds: int) -> None:
    with pytest.raises(DataError, match="choose 2 to 5 folds"):
        kfold(PEOPLE[:5], n_folds=n_folds, seed=0)


@given(people=st.integers(2, 23), seed=st.integers(0, 1000))
def test_fewer_train_and_the_same_are_tested(people: int, seed: int) -> None:
    split = holdout(PEOPLE, seed=0)
    some = fewer(split, people, seed=seed)
    assert some.test == split.test
    assert len(set(some.train)) == len(some.train) == people
    assert set(some.train) <= set(split.train)
    assert sorted(name for group in some.validation for name in group) == sorted(some.train)
    assert len(some.validation) == min(len(split.validation), people)
    assert some == fewer(split, people, seed=seed)


def test_which_people_are_kept_is_drawn() -> None:
    split = holdout(PEOPLE, seed=0)
    assert len({fewer(split, 5, seed=seed) for seed in range(5)}) > 1


@pytest.mark.parametrize("people", [-1, 0, 1, 24])
def test_keeping_too_few_or_more_than_there_are_is_refused(people: int) -> None:
    split = holdout(PEOPLE, seed=0)
    with pytest.raises(DataError, match=f"{people} of 23 training people; choose 2 to 23"):
        fewer(split, people, seed=0)


def test_each_alone_is_as_many_folds_as_people() -> None:
    splits = kfold(PEOPLE, n_folds=len(PEOPLE), seed=3)
    assert {len(split.test) for split in splits} == {1}
