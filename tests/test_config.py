from __future__ import annotations

import pytest

from sleepstage.errors import DataError
from sleepstage.features import FEATURE_NAMES
from sleepstage.training.config import TrainingConfig, override

DEFAULT = TrainingConfig()


def test_the_default_names_known_features() -> None:
    assert set(DEFAULT.features) <= set(FEATURE_NAMES)


def test_nothing_set_changes_nothing() -> None:
    assert override(DEFAULT, []) == DEFAULT


def test_values_are_replaced_in_their_kind() -> None:
    config = override(
        DEFAULT,
        ["members=1", "noise=0", "network.hidden = 32", "device=cpu", "features=hr_30s, still"],
    )
    assert config.members == 1
    assert config.noise == 0.0
    assert isinstance(config.noise, float)
    assert config.network.hidden == 32
    assert config.network.layers == DEFAULT.network.layers
    assert config.device == "cpu"
    assert config.features == ("hr_30s", "still")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("members", "'members': expected name=value"),
        ("mebmers=1", "no 'mebmers' in the configuration; there are features, network, members"),
        ("network.width=3", "no 'width' in the configuration; there are hidden, layers, dropout"),
        ("members=many", "'members=many': expected a value like 5"),
        ("members=1.5", "expected a value like 5"),
        ("members=true", "expected a value like 5"),
        ("network=32", "expected a value like LSTMConfig"),
        ("members.first=1", "expected a value like 5"),
        ("features=hr_30s,mood", "unknown features mood; there are hr_30s"),
        ("features=", "unknown features \\(none\\)"),
    ],
)
def test_what_is_not_understood_is_named(assignment: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        override(DEFAULT, [assignment])
