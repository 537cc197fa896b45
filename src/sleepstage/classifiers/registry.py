"""All classifiers by name."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sleepstage.classifiers.baselines import ElapsedTime, Logistic, Majority
from sleepstage.classifiers.boosting import Boosting
from sleepstage.classifiers.neural import Ensemble, Neural
from sleepstage.classifiers.walch import Walch
from sleepstage.training.config import HEART_RATE_FEATURES
from sleepstage.training.network import RecurrentConfig
from sleepstage.training.transformer import TransformerConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sleepstage.classifiers.contract import Classifier

__all__ = ["CLASSIFIERS", "DEFAULT"]

DEFAULT: Final = "ensemble"

CLASSIFIERS: Final[Mapping[str, Classifier]] = MappingProxyType(
    {
        DEFAULT: Ensemble(),
        "lstm": Neural(),
        "gru": Neural(network=RecurrentConfig(cell="gru")),
        "transformer": Neural(network=TransformerConfig()),
        "lstm-night": Neural(whole_night=True),
        "gru-night": Neural(whole_night=True, network=RecurrentConfig(cell="gru")),
        "transformer-night": Neural(whole_night=True, network=TransformerConfig()),
        "ensemble-night": Ensemble(
            lstm=Neural(members=2, whole_night=True),
            transformer=Neural(
                members=2, max_passes=30, whole_night=True, network=TransformerConfig()
            ),
        ),
        # Two nights in three are thinned: a watch at rest measures now and then.
        "heart-rate-night": Neural(
            members=3,
            whole_night=True,
            features=HEART_RATE_FEATURES,
            signal_dropout=0.0,
            thinning=2 / 3,
        ),
        "boosting": Boosting(),
        "boosting-hmm": Boosting(hmm=True),
        "logistic": Logistic(),
        "walch": Walch(),
        "elapsed": ElapsedTime(),
        "majority": Majority(),
    }
)
"""Each with its default settings; `sleepstage.training.config.override` gives others."""
