"""Fitting networks: what they learn from, how long, and who says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from threading import Barrier, Event
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sleepstage.core.agreement import agreement
from sleepstage.errors import DataError
from sleepstage.ml import fit as fitting
from sleepstage.ml.config import TrainingConfig
from sleepstage.ml.dataset import Example, PreparedNight, example, input_rows, prepare_nights
from sleepstage.ml.fit import Network, fit, fit_members, predict
from sleepstage.ml.networks import (
    Dropout,
    RecurrentConfig,
    RecurrentNetwork,
    TransformerConfig,
    WholeNightNetwork,
)
from sleepstage.simulate.nights import simulate_night
from sleepstage.stages import FOUR_CLASS, SCHEMES, UNSCORED
from tests.helpers.small import SMALL

ONE_PASS = replace(SMALL, training_epochs=1)
REM = FOUR_CLASS.classes.index("rem")


@pytest.fixture(scope="module")
def nights() -> list[PreparedNight]:
    return prepare_nights(simulate_night(seed, hours=2.0) for seed in range(6))


@pytest.fixture(scope="module")
def examples(nights: list[PreparedNight]) -> list[Example]:
    return [example(night, SMALL) for night in nights]


def weights(model: Network) -> NDArray[np.float32]:
    return np.concatenate([one.detach().numpy().ravel() for one in model.parameters()])


# One network


def test_the_same_seed_gives_the_same_weights_and_leaves_torch_alone(
    examples: list[Example],
) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state(), torch.get_num_threads()
    one, two, other = (
        fit(examples, replace(SMALL, training_epochs=2, seed=seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]
    np.testing.assert_array_equal(weights(one), weights(two))
    assert not np.array_equal(weights(one), weights(other))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"network": TransformerConfig(width=16, heads=2, layers=1, context=40)},
        {"whole_night": True, "scheme": "five_class"},
        {"look_ahead": 4},
    ],
)
def test_networks_learn_to_stage_people_they_have_not_seen(changes: dict[str, Any]) -> None:
    nights = prepare_nights(simulate_night(seed, hours=3.0) for seed in range(6))
    settings: dict[str, Any] = {"learning_rate": 0.02, "signal_dropout": 0.0, "warm_up_steps": 1}
    config = replace(SMALL, training_epochs=20, **{**settings, **changes})
    losses: list[float] = []
    examples = [example(night, config) for night in nights]
    model = fit(examples[:5], config, after=losses.append)
    guesses = predict(model, [examples[5].rows])[0].argmax(axis=1).astype(np.int8)
    scored = examples[5].codes != UNSCORED
    scheme = SCHEMES[config.scheme]
    kappa = agreement(examples[5].codes[scored], guesses[scored], scheme).kappa
    assert losses[-1] < 0.8 * losses[0]
    assert kappa is not None
    assert kappa > 0.3


def test_weights_are_a_mean_over_the_steps(examples: list[Example]) -> None:
    last, mean = (
        weights(fit(examples[:2], replace(SMALL, training_epochs=30, averaging=averaging)))
        for averaging in (0.0, 0.9)
    )
    assert not np.allclose(last, mean)
    np.testing.assert_allclose(last, mean, atol=0.5)


def test_columns_are_normalised_over_what_the_training_people_know(
    examples: list[Example],
) -> None:
    model = fit(examples[:2], ONE_PASS)
    assert isinstance(model, RecurrentNetwork)
    known = np.concatenate([one.rows for one in examples[:2]])
    assert np.isnan(known).any()
    np.testing.assert_allclose(model.inputs.mean_F, np.nanmean(known, axis=0), atol=1e-3)
    np.testing.assert_allclose(model.inputs.std_F, np.nanstd(known, axis=0), rtol=1e-3)


def test_a_column_that_nobody_has_or_that_never_changes_is_left_as_it_is() -> None:
    rows = np.zeros((60, len(SMALL.columns)), dtype=np.float32)
    rows[:, 0], rows[:, 1] = np.nan, 7.0
    one = Example(rows, np.arange(60, dtype=np.int8) % 4)
    model = fit([one], ONE_PASS)
    assert isinstance(model, RecurrentNetwork)
    assert model.inputs.mean_F[:2].tolist() == [0, 7]
    assert model.inputs.std_F[:2].tolist() == [1, 1]
    assert np.isfinite(weights(model)).all()


def test_each_direction_of_a_whole_night_has_its_own_normalisation(
    nights: list[PreparedNight],
) -> None:
    config = replace(ONE_PASS, whole_night=True)
    model = fit([example(night, config) for night in nights[:2]], config)
    assert isinstance(model, WholeNightNetwork)
    both = np.concatenate([input_rows(night, config) for night in nights[:2]])
    for part, known in zip((model.ahead, model.back), np.split(both, 2, axis=1), strict=True):
        assert isinstance(part, RecurrentNetwork)
        # Steps are not turned round: nobody has them in that direction.
        there = ~np.isnan(known).all(axis=0)
        expected = np.nanmean(known[:, there], axis=0)
        np.testing.assert_allclose(part.inputs.mean_F[there], expected, atol=1e-3)
        assert not part.inputs.mean_F[~there].any()


def test_rare_classes_weigh_more_and_balance_says_how_much(examples: list[Example]) -> None:
    codes = np.concatenate([one.codes for one in examples])
    counts = np.bincount(codes[codes != UNSCORED])
    for balance in (0.0, 0.5, 1.0):
        config = replace(SMALL, class_balance=balance)
        found = fitting._class_weights(examples, config).numpy()
        np.testing.assert_allclose(found, (counts.sum() / (4 * counts)) ** balance, rtol=1e-5)


def test_a_stage_missing_in_training_is_named(examples: list[Example]) -> None:
    codes = examples[0].codes.copy()
    codes[codes == REM] = UNSCORED
    with pytest.raises(DataError, match="no epoch of rem in the 1 training nights"):
        fit([Example(examples[0].rows, codes)], ONE_PASS)


def test_an_unknown_device_is_named(examples: list[Example]) -> None:
    with pytest.raises(DataError, match="device 'abacus' is not available; use auto"):
        fit(examples, replace(ONE_PASS, device="abacus"))


# An ensemble


def test_each_group_is_left_out_once_and_the_kinds_take_turns(
    nights: list[PreparedNight], monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = [replace(SMALL, features=("hr_30s",), training_epochs=n, seed=10) for n in (2, 1)]
    subjects = {input_rows(night, kinds[0]).tobytes(): night.subject for night in nights}
    assert len(subjects) == 6
    fitted: list[tuple[set[str], int, int]] = []

    def fake_fit(train: list[Example], config: TrainingConfig, *, after: Any) -> Any:
        people = {subjects[one.rows.tobytes()] for one in train}
        fitted.append((people, config.seed, config.training_epochs))
        for _ in range(config.training_epochs):
            after(1.0)
        return len(fitted)

    def fake_predict(number: int, tables: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        return [np.full((len(rows), 4), number, dtype=np.float32) for rows in tables]

    monkeypatch.setattr(fitting, "fit", fake_fit)
    monkeypatch.setattr(fitting, "predict", fake_predict)
    names = [night.subject for night in nights]
    groups = [names[:2], names[2:5], names[5:]]
    calls: list[tuple[int, int]] = []
    networks, validation = fit_members(
        nights, groups, kinds, on_epoch=lambda done, total, _: calls.append((done, total))
    )
    assert list(map(str, networks)) == ["1", "2", "3"]
    # Seeds of models that count up share no network's.
    assert fitted == [
        (set(names) - set(group), 30 + number, kinds[number % 2].training_epochs)
        for number, group in enumerate(groups)
    ]
    assert {name: rows[0, 0] for name, rows in validation.items()} == {
        name: number for number, group in enumerate(groups, start=1) for name in group
    }
    assert calls == [(done, 5) for done in range(1, 6)]


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_networks_fitted_at_a_time_are_those_fitted_one_after_the_other(
    nights: list[PreparedNight],
) -> None:
    tiny = replace(SMALL, training_epochs=2, network=RecurrentConfig(hidden=8))
    attentive = TransformerConfig(width=8, heads=2, layers=1, context=20)
    stacked = RecurrentConfig(hidden=8, layers=2)
    kinds = [tiny, replace(tiny, network=attentive), replace(tiny, network=stacked)]
    groups = [[night.subject] for night in nights[:3]]
    networks, validation = fit_members(nights, groups, kinds)
    for number, (network, kind) in enumerate(zip(networks, kinds, strict=True)):
        others = [example(night, kind) for night in nights if night is not nights[number]]
        alone = fit(others, replace(kind, seed=number))
        np.testing.assert_array_equal(weights(network), weights(alone))
        expected = predict(alone, [input_rows(nights[number], kind)])[0]
        np.testing.assert_array_equal(validation[nights[number].subject], expected)


@pytest.mark.usefixtures("two_threads")
def test_as_many_are_fitted_at_a_time_as_there_are_threads_and_an_error_ends_all(
    nights: list[PreparedNight], monkeypatch: pytest.MonkeyPatch
) -> None:
    both, ended = Barrier(2, timeout=60), Event()

    def fake_fit(train: list[Example], config: TrainingConfig, *, after: Any) -> Any:
        if config.seed < 2:  # a third may begin before the error is seen
            both.wait()
        if config.seed == 1:
            raise DataError("broken")
        try:
            while True:
                after(1.0)
        finally:
            ended.set()

    monkeypatch.setattr(fitting, "fit", fake_fit)
    groups = [[night.subject] for night in nights[:4]]
    with pytest.raises(DataError, match="broken"):
        fit_members(nights, groups, [ONE_PASS])
    assert ended.is_set()


def test_dropout_is_drawn_as_torch_draws_it() -> None:
    network, rows = Dropout(0.3), torch.ones(50, 7)
    torch.manual_seed(5)
    expected = [network(rows) for _ in range(3)]
    network.generator = torch.Generator().manual_seed(5)
    torch.manual_seed(6)
    found = [network(rows) for _ in range(3)]
    assert torch.equal(network.eval()(rows), rows)
    assert torch.equal(torch.stack(found), torch.stack(expected))


def test_validation_people_are_predicted_by_a_network_fitted_without_them(
    nights: list[PreparedNight],
) -> None:
    names = [night.subject for night in nights[:4]]
    config = replace(SMALL, training_epochs=2, look_ahead=3)
    networks, validation = fit_members(nights[:4], [names[:1], names[1:]], [config])
    assert set(validation) == set(names)
    model = fit([example(night, config) for night in nights[1:4]], config)
    np.testing.assert_array_equal(weights(networks[0]), weights(model))
    expected = predict(model, [input_rows(nights[0], config)])[0]
    assert expected.shape == (nights[0].recording.n_epochs + 3, 4)
    np.testing.assert_allclose(validation[names[0]], expected, atol=1e-6)


def test_networks_of_other_seeds_are_others(nights: list[PreparedNight]) -> None:
    names = [night.subject for night in nights]
    found = [
        fit_members(nights, [names[:3], names[3:]], [replace(ONE_PASS, seed=seed)])
        for seed in (0, 1)
    ]
    drawn = [weights(network) for members in found for network in members.networks]
    assert len(np.unique(drawn, axis=0)) == 4


def test_normalisation_knows_the_training_people_only(
    nights: list[PreparedNight], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [night.subject for night in nights]
    seen: list[NDArray[np.float32]] = []
    moments = fitting._moments

    def watched(examples: list[Example]) -> Any:
        mean_F, std_F = moments(examples)
        seen.append(mean_F.numpy())
        return mean_F, std_F

    monkeypatch.setattr(fitting, "_moments", watched)
    config = ONE_PASS
    fit_members(nights, [names[:3], names[3:]], [config])
    for found, own in zip(seen, (nights[3:], nights[:3]), strict=True):
        known = np.concatenate([input_rows(night, config) for night in own])
        np.testing.assert_allclose(found, np.nanmean(known, axis=0), atol=1e-3)
