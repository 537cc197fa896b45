"""Networks as classifiers: what a file says of them, their operating point, and ensembles."""

from __future__ import annotations

from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sleepstage.core.hypnogram import Hypnogram, temper
from sleepstage.core.recording import Recording
from sleepstage.engine.prior_correction import PriorCorrection
from sleepstage.engine.stager import Stager
from sleepstage.errors import DataError
from sleepstage.ml import neural
from sleepstage.ml.dataset import PreparedNight, input_rows, prepare_nights
from sleepstage.ml.fit import Members, fit_members, predict
from sleepstage.ml.networks import (
    RecurrentConfig,
    RecurrentNetwork,
    TransformerConfig,
    TransformerNetwork,
)
from sleepstage.ml.neural import (
    REM_TARGET,
    Ensemble,
    Neural,
    best_temperature,
    decision,
    describe,
    fingerprint,
    rem_point,
)
from sleepstage.ml.registry import CLASSIFIERS, DEFAULT
from sleepstage.simulate.nights import simulate_night
from sleepstage.stages import FIVE_CLASS, FOUR_CLASS, Stage
from tests.helpers.small import SMALL

pytestmark = pytest.mark.slow

TINY = replace(SMALL, training_epochs=1, network=RecurrentConfig(hidden=8))
NARROW = TransformerConfig(width=8, heads=2, layers=1, context=20)
REM = FOUR_CLASS.classes.index("rem")


@pytest.fixture(scope="module")
def nights() -> list[PreparedNight]:
    return prepare_nights(simulate_night(seed, hours=2.0) for seed in range(5))


@pytest.fixture(scope="module")
def groups(nights: list[PreparedNight]) -> list[list[str]]:
    return [[night.subject for night in nights[:2]], [night.subject for night in nights[2:4]]]


def told(hypnogram: Hypnogram) -> NDArray[np.float32]:
    assert hypnogram.probabilities is not None
    return hypnogram.probabilities


def night_of(subject: str, *stages: Stage) -> PreparedNight:
    recording = Recording.from_arrays(start=0.0, stages=list(stages), subject=subject)
    assert recording.reference is not None
    codes = recording.reference.merge(FOUR_CLASS).codes
    return PreparedNight(recording, np.zeros((len(codes), 1), dtype=np.float32), codes)


# The operating point


def in_need_of(*class_weights: float, n_classes: int = 4) -> NDArray[np.float64]:
    """Probabilities of epochs that are called REM, the last class, from these class_weights on."""
    rows = np.full((len(class_weights), n_classes), 0.01)
    rows[:, 1], rows[:, -1] = 0.1 * np.array(class_weights), 0.1
    return rows


def test_the_operating_point_by_hand() -> None:
    rem = Stage.REM
    nights = [night_of("a", Stage.WAKE, rem, Stage.N1), night_of("b", rem, rem, Stage.N3, rem, rem)]
    validation = {"a": in_need_of(9, 4, 9), "b": in_need_of(6, 2, 9, 5, 3)}
    # People weigh the same: 2 and 3 are half of b, 4 is all of a, and 1.5 of 2 are 75 %.
    assert rem_point(nights, validation, "four_class") == {"rem": pytest.approx(4, rel=1e-5)}
    # Of b alone three of four are needed, as two are too few.
    assert rem_point(nights[1:], validation, "four_class") == {"rem": pytest.approx(5, rel=1e-5)}
    # Who has no REM says nothing.
    nobody = night_of("c", Stage.WAKE)
    found = rem_point([*nights, nobody], {**validation, "c": in_need_of(1)}, "four_class")
    assert found == {"rem": pytest.approx(4, rel=1e-5)}


def test_where_rem_is_found_already_the_factor_is_one() -> None:
    night = night_of("a", Stage.REM, Stage.REM)
    probabilities = np.array([[0.1, 0.1, 0.1, 0.7], [0.0, 0.3, 0.1, 0.6]])
    assert rem_point([night], {"a": probabilities}, "four_class") == {"rem": 1.0}


def test_the_operating_point_is_of_the_models_own_classes() -> None:
    night = night_of("a", Stage.N1, Stage.N3, Stage.REM)
    found = rem_point([night], {"a": in_need_of(7, 8, 3, n_classes=5)}, FIVE_CLASS.name)
    assert found == {"rem": pytest.approx(3, rel=1e-5)}


@pytest.mark.parametrize("seed", range(5))
def test_never_less_than_the_target_is_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet([2, 4, 2, 1], size=20).astype(np.float32)
    night = night_of("a", *[Stage.REM] * 20)
    class_weights = rem_point([night], {"a": probabilities}, "four_class")
    decided = Hypnogram(0.0, night.codes, FOUR_CLASS, probabilities).decide(class_weights)
    assert (decided.codes == REM).sum() == 14


def test_at_the_operating_point_the_target_is_found() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([2, 4, 2, 1], size=2000)
    stages = rng.choice([Stage.WAKE, Stage.N2, Stage.N3, Stage.REM], size=2000)
    night = night_of("a", *stages)
    class_weights = rem_point([night], {"a": probabilities}, "four_class")
    hypnogram = Hypnogram(0.0, night.codes, FOUR_CLASS, probabilities.astype(np.float32))
    decided = hypnogram.decide(class_weights).codes[night.codes == REM]
    assert np.mean(decided == REM) == pytest.approx(REM_TARGET, abs=0.005)


@pytest.mark.parametrize("prior_correction", [True, False])
def test_the_operating_point_is_of_what_is_told_in_the_end(
    nights: list[PreparedNight], *, prior_correction: bool
) -> None:
    # With look-ahead, the first outputs belong to no epoch; the correction has seen them, too.
    config = replace(TINY, look_ahead=3, prior_correction=prior_correction)
    rng = np.random.default_rng(0)
    validation = {night.subject: rng.dirichlet([2, 3, 2, 1], size=243) for night in nights}
    found = decision(nights, validation, config)
    measure = PriorCorrection.fit(validation.values()) if prior_correction else PriorCorrection()
    assert found["typical"] == measure.typical
    assert bool(measure.typical) == prior_correction
    centred = {
        name: measure.apply(rows, measure.initial_state(4))[0][3:]
        for name, rows in validation.items()
    }
    assert found["temperature"] == best_temperature(nights, centred, "four_class")
    calibrated = {name: temper(rows, found["temperature"]) for name, rows in centred.items()}
    assert found["class_weights"] == rem_point(nights, calibrated, "four_class")


# What a file says of itself


def test_a_model_says_how_it_was_made(nights: list[PreparedNight], groups: list[list[str]]) -> None:
    config = replace(TINY, look_ahead=2, scheme="five_class", training_epochs=2, batch_size=4)
    fitted = config.fit(nights[:4], groups)
    info = fitted.info
    assert info.config == asdict(config)
    assert (info.scheme, info.look_ahead, info.whole_night) == ("five_class", 2, False)
    assert info.features == config.columns
    assert info.class_weights == fitted.class_weights
    assert info.class_weights["rem"] >= 1
    assert info.version == version("sleepstage")
    hypnogram = fitted.predict(nights[4])
    assert hypnogram.scheme is FIVE_CLASS
    assert len(hypnogram) == 240


@pytest.mark.parametrize("whole_night", [False, True])
def test_what_is_predicted_is_what_the_file_predicts(
    nights: list[PreparedNight], groups: list[list[str]], *, whole_night: bool
) -> None:
    config = replace(TINY, whole_night=whole_night)
    fitted = config.fit(nights[:4], groups)
    assert fitted.info.whole_night is whole_night
    rows = [input_rows(nights[4], config)]
    members = fit_members(nights[:4], groups, [config]).networks
    prior_correction = PriorCorrection(fitted.info.typical)
    centred, _ = prior_correction.apply(
        np.mean([predict(member, rows)[0] for member in members], axis=0),
        prior_correction.initial_state(len(FOUR_CLASS)),
    )
    expected = temper(centred, fitted.info.temperature)
    found = told(fitted.predict(nights[4]))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    stager = Stager(fitted.file(metrics={"kappa": 0.5}))
    np.testing.assert_array_equal(told(stager.predict(nights[4].recording)), found)
    assert stager.info.metrics == {"kappa": 0.5}
    assert stager.info.data == fitted.info.data
    assert stager.info.typical == fitted.info.typical


@pytest.mark.parametrize("simulated", [False, True])
def test_the_data_behind_a_model_are_named(*, simulated: bool) -> None:
    nights = [night_of("a", Stage.WAKE), night_of("b", Stage.WAKE)]
    if simulated:
        made = replace(nights[1].recording, simulated=True)
        nights[1] = replace(nights[1], recording=made)
    config = replace(TINY, features=("hr_30s",), trace=False, scheme="five_class")
    info = describe(nights, [["a"], ["b"]], config)
    assert info.split == {"train": ["a", "b"], "validation": [["a"], ["b"]]}
    assert (info.features, info.scheme) == (("hr_30s",), "five_class")
    assert info.simulated is simulated
    assert info.data["people"] == 2
    assert info.data["fingerprint"] == fingerprint(nights)
    if simulated:
        assert info.data["name"] == "simulated nights"
        assert "licence" not in info.data
    else:
        assert info.data["name"] == "own nights"
        assert not {"source", "licence", "attribution"} & set(info.data)


def test_a_model_file_names_every_published_set_among_its_nights() -> None:
    names = ("", "PhysioNet sleep-accel 1.0.0", "PhysioNet BIDSleep 1.0.0", "my study")
    nights = [night_of(str(number), Stage.WAKE) for number in range(len(names))]
    nights = [
        replace(night, recording=replace(night.recording, dataset=name))
        for night, name in zip(nights, names, strict=True)
    ]
    data = describe(nights, [["0"]], TINY).data
    assert set(data["name"].split("; ")) == {"own nights", *names[1:]}
    assert data["licence"] == "ODC-By 1.0"
    assert "Walch 2019" in data["attribution"]
    assert "Song 2026" in data["attribution"]


def test_the_fingerprint_follows_the_data_and_not_their_order(nights: list[PreparedNight]) -> None:
    whole = fingerprint(nights)
    assert len(whole) == 64
    assert fingerprint(nights[::-1]) == whole
    recording = nights[0].recording
    changed = replace(recording, heart_rate=recording.heart_rate.between(0, 1000))
    assert fingerprint([replace(nights[0], recording=changed), *nights[1:]]) != whole
    assert fingerprint(nights[1:]) != whole


# Ensembles


def tiny_ensemble(seed: int = 0) -> Ensemble:
    return Ensemble(lstm=TINY, transformer=replace(TINY, network=NARROW), seed=seed)


def test_an_ensemble_is_the_mean_of_all_its_networks(
    nights: list[PreparedNight], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[list[Neural], Members]] = []

    def kept(*arguments: Any, **options: Any) -> Members:
        made.append((arguments[2], fit_members(*arguments, **options)))
        return made[-1][1]

    monkeypatch.setattr(neural, "fit_members", kept)
    groups = [[night.subject] for night in nights[:3]]
    fitted = tiny_ensemble(seed=3).fit(nights[:3], groups)
    ((kinds, members),) = made
    assert [config.seed for config in kinds] == [3, 3]
    assert [type(config.network) for config in kinds] == [RecurrentConfig, TransformerConfig]
    assert [type(network) for network in members.networks] == [
        RecurrentNetwork,
        TransformerNetwork,
        RecurrentNetwork,
    ]
    rows = input_rows(nights[4], TINY)
    mean = np.mean([predict(network, [rows])[0] for network in members.networks], axis=0)
    prior_correction = PriorCorrection(fitted.info.typical)
    centred, _ = prior_correction.apply(mean, prior_correction.initial_state(len(FOUR_CLASS)))
    expected = temper(centred, fitted.info.temperature)
    np.testing.assert_allclose(told(fitted.predict(nights[4])), expected, atol=1e-5)
    assert fitted.info.config == asdict(tiny_ensemble(seed=3))
    assert fitted.class_weights == decision(nights[:3], members.validation, TINY)["class_weights"]


@pytest.mark.parametrize(
    "changed",
    [{"look_ahead": 2}, {"whole_night": True}, {"trace": False}, {"scheme": "five_class"}],
)
def test_kinds_that_do_not_fit_together_are_refused(
    nights: list[PreparedNight], groups: list[list[str]], changed: dict[str, Any]
) -> None:
    one = tiny_ensemble()
    with pytest.raises(DataError, match="of lstm and transformer differ: set both to the same"):
        replace(one, lstm=replace(one.lstm, **changed)).fit(nights[:4], groups)


def test_an_ensemble_may_look_ahead_as_a_whole(
    nights: list[PreparedNight], groups: list[list[str]]
) -> None:
    other = RecurrentConfig(cell="gru", hidden=8)
    parts = (replace(TINY, look_ahead=2), replace(TINY, network=other, look_ahead=2))
    ensemble_ahead = Ensemble(*parts)
    assert not ensemble_ahead.live
    fitted = ensemble_ahead.fit(nights[:4], groups)
    assert fitted.info.look_ahead == 2
    assert len(fitted.predict(nights[4])) == len(nights[4].codes)


# All by name


def test_every_classifier_is_found_by_name() -> None:
    assert DEFAULT in CLASSIFIERS
    assert {name for name, one in CLASSIFIERS.items() if not one.live} == {
        name for name in CLASSIFIERS if name.endswith("-night") or name == "walch"
    }
    for name, one in CLASSIFIERS.items():
        assert replace(one, seed=7).seed == 7, name  # type: ignore[type-var]
        assert hash(one) == hash(replace(one)), name  # type: ignore[type-var]
    networks = {name: one for name, one in CLASSIFIERS.items() if isinstance(one, Neural)}
    assert {name: one.whole_night for name, one in networks.items()} == {
        name: name.endswith("-night") for name in networks
    }
