"""All classifiers by name."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sleepstage.ml.baselines import ElapsedTime, Logistic, Majority, Walch
from sleepstage.ml.boosting import Boosting
from sleepstage.ml.config import HEART_RATE_FEATURES
from sleepstage.ml.networks import RecurrentConfig, TransformerConfig
from sleepstage.ml.neural import Ensemble, Neural

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sleepstage.ml.classifier import Classifier

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
                members=2, max_training_epochs=30, whole_night=True, network=TransformerConfig()
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
"""Each with its default settings; `sleepstage.ml.config.override` gives others."""
