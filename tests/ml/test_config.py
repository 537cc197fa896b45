from __future__ import annotations

from dataclasses import replace

import pytest

from sleepstage.engine.features import FEATURE_NAMES, SUMMARIES, TRACE
from sleepstage.errors import DataError
from sleepstage.ml.baselines import Boosting
from sleepstage.ml.config import DEFAULT_FEATURES, HEART_RATE_FEATURES, TrainingConfig, override
from sleepstage.ml.networks import RecurrentConfig, TransformerConfig
from sleepstage.ml.neural import Ensemble, Neural

DEFAULT = TrainingConfig()


def test_the_default_names_known_features() -> None:
    assert set(DEFAULT.features) <= set(FEATURE_NAMES)


def test_no_feature_is_named_twice() -> None:
    for names in (DEFAULT_FEATURES, HEART_RATE_FEATURES):
        assert len(set(names)) == len(names)
    assert set(HEART_RATE_FEATURES) == {
        feature.name for feature in SUMMARIES if feature.signal == "heart_rate"
    } - {"hr_overdue"}


def test_nothing_set_changes_nothing() -> None:
    assert override(DEFAULT, []) == DEFAULT


def test_values_are_replaced_in_their_kind() -> None:
    config = override(
        DEFAULT,
        [
            *("batch_size=1", "noise=0", "offset=.2", "network.hidden = 32", "device=cpu"),
            *("features=hr_30s, still", "whole_night=true", "scheme=five_class"),
        ],
    )
    assert config.batch_size == 1
    assert (config.noise, config.offset) == (0.0, 0.2)
    assert isinstance(config.noise, float)
    assert config.network == RecurrentConfig(hidden=32)
    assert config.device == "cpu"
    assert config.features == ("hr_30s", "still")
    assert config.whole_night
    assert config.scheme == "five_class"


def test_the_trace_comes_after_the_features() -> None:
    config = override(DEFAULT, ["features=still,hr_30s"])
    trace = tuple(feature.name for feature in TRACE)
    assert config.columns == ("still", "hr_30s", *trace)
    assert override(config, ["trace=false"]).columns == ("still", "hr_30s")
    with pytest.raises(DataError, match="unknown features hr_trace_00"):
        override(DEFAULT, ["features=hr_trace_00"])


def test_any_classifier_is_set_in_the_same_way() -> None:
    network = Neural(network=TransformerConfig())
    assert override(network, ["network.context=30"]) == Neural(
        network=TransformerConfig(context=30)
    )
    ensemble = override(Ensemble(), ["transformer.network.heads=2", "seed=3"])
    assert ensemble.transformer.network == TransformerConfig(heads=2)
    assert (ensemble.lstm, ensemble.seed) == (Ensemble().lstm, 3)
    assert override(Boosting(), ["n_trees=3"]) == Boosting(n_trees=3)


@pytest.mark.parametrize(
    ("settings", "live"),
    [([], True), (["look_ahead=1"], False), (["whole_night=true"], False)],
)
def test_what_needs_later_epochs_is_not_live(settings: list[str], *, live: bool) -> None:
    assert override(DEFAULT, settings).live is live
    assert override(Neural(), settings).live is live


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("batch_size", "'batch_size': expected name=value"),
        (
            "bacth_size=1",
            "no 'bacth_size' in the configuration; there are features, trace, network",
        ),
        ("network.width=3", "no 'width' in the configuration; there are cell, hidden, layers"),
        ("batch_size=many", "'batch_size=many': expected a value like 4"),
        ("batch_size=1.5", "expected a value like 4"),
        ("batch_size=true", "expected a value like 4"),
        ("thinning=nan", "expected a value like 0.2"),
        ("network=32", "expected a value like RecurrentConfig"),
        ("batch_size.first=1", "expected a value like 4"),
        ("whole_night=1", "expected a value like False"),
        ("scheme=three_class", "scheme=three_class: expected one of four_class, five_class"),
        ("look_ahead=-1", "look_ahead=-1: expected 0 or more"),
        ("features=hr_30s,mood", "unknown features mood; there are hr_30s"),
        ("features=", "unknown features \\(none\\)"),
    ],
)
def test_what_is_not_understood_is_named(assignment: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        override(DEFAULT, [assignment])


def test_a_whole_night_looks_no_further() -> None:
    with pytest.raises(DataError, match="look_ahead=2: expected 0 or more, and 0 for a whole"):
        override(DEFAULT, ["whole_night=true", "look_ahead=2"])


@pytest.mark.parametrize(
    ("network", "assignment", "message"),
    [
        (RecurrentConfig(), "crop_epochs=0", "crop_epochs=0: expected 1 or more"),
        (RecurrentConfig(), "training_epochs=-1", "training_epochs=-1: expected 1 or more"),
        (RecurrentConfig(), "batch_size=0", "batch_size=0: expected 1 or more"),
        (
            RecurrentConfig(),
            "thinning=0.7",
            "evenings, late_starts and thinning are 1.2 of the recordings together; expected 0",
        ),
        (RecurrentConfig(), "network.hidden=0", "hidden=0: expected 1 or more"),
        (RecurrentConfig(), "network.cell=elman", "network.cell=elman: expected one of lstm, gru"),
        (TransformerConfig(), "network.context=0", "context=0: expected 1 or more"),
        (
            TransformerConfig(),
            "network.heads=3",
            "width=32: expected a multiple of network.heads=3",
        ),
    ],
)
def test_what_no_network_can_be_is_refused(
    network: RecurrentConfig | TransformerConfig, assignment: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        override(replace(DEFAULT, network=network), [assignment])


def test_what_only_parts_know_goes_to_all_of_them() -> None:
    ensemble = override(
        Ensemble(), ["training_epochs=1", "transformer.training_epochs=2", "look_ahead=3"]
    )
    epochs = (ensemble.lstm.training_epochs, ensemble.transformer.training_epochs)
    assert epochs == (1, 2)
    assert ensemble.lstm.look_ahead == ensemble.transformer.look_ahead == 3
    assert override(Ensemble(), ["seed=7"]).lstm.seed == Ensemble().lstm.seed  # it has its own
    with pytest.raises(
        DataError, match="no 'bacth_size' in the configuration; there are lstm, trans"
    ):
        override(Ensemble(), ["bacth_size=1"])
