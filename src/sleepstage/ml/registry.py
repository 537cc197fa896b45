"""All classifiers by name, and own ones by the place of their class."""

import importlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from traceback import extract_tb
from types import MappingProxyType
from typing import Any, Final, cast

from sleepstage.errors import DataError
from sleepstage.ml.baselines import Boosting, ElapsedTime, Logistic, Majority, Walch
from sleepstage.ml.classifier import Classifier
from sleepstage.ml.config import HEART_RATE_FEATURES
from sleepstage.ml.networks import RecurrentConfig, TransformerConfig
from sleepstage.ml.neural import Ensemble, Neural

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
        # Both directions double a network: smaller ones, for a file of less than 1 MB.
        "ensemble-night": Ensemble(
            lstm=Neural(whole_night=True, network=RecurrentConfig(hidden=48)),
            transformer=Neural(whole_night=True, network=TransformerConfig(layers=1, context=120)),
        ),
        # Most nights are thinned: a watch at rest measures now and then.
        "heart-rate-night": Neural(
            whole_night=True,
            network=RecurrentConfig(hidden=48),
            features=HEART_RATE_FEATURES,
            signal_dropout=0.0,
            thinning=0.7,
            evenings=0.1,
            late_starts=0.05,
        ),
        "boosting": Boosting(),
        "logistic": Logistic(),
        "walch": Walch(),
        "elapsed": ElapsedTime(),
        "majority": Majority(),
    }
)
"""Each with its default settings; `sleepstage.ml.config.override` gives others."""


def find_classifier(given: str | Classifier | Callable[[], Classifier]) -> Classifier:
    """Settings of a classifier.

    `given` is a name in `CLASSIFIERS`, or ``package.module:Class`` of an own class, which is
    imported from the current directory or from what is installed; the class itself; or its
    settings.

    Raises `DataError` if there is no such name, module or class, or it lacks something; states
    what.
    """
    if isinstance(given, str) and ":" not in given:
        if given in CLASSIFIERS:
            return CLASSIFIERS[given]
        msg = f"no model {given}; there are {', '.join(CLASSIFIERS)}, and package.module:Class"
        raise DataError(msg)
    made: Any = _imported(given) if isinstance(given, str) else given
    name = given if isinstance(given, str) else repr(given)
    try:
        made = made() if callable(made) else made
        json.dumps(asdict(replace(made, seed=0)))  # it is written beside the results
    except Exception as error:
        msg = f"{name}: {error}; expected a dataclass with a seed and plain defaults"
        raise DataError(msg) from error
    if lacks := [one for one in ("fit", "live") if not hasattr(made, one)]:
        msg = f"{name} is no classifier: it has no {' and no '.join(lacks)}; see docs/my-model.md"
        raise DataError(msg)
    return cast("Classifier", made)


def _imported(place: str) -> Any:
    name, _, attribute = place.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # a console script has the folder of the script there
    try:
        return getattr(importlib.import_module(name), attribute)
    except Exception as error:
        frames = [one for one in extract_tb(error.__traceback__)[1:] if "importlib" not in one[0]]
        where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
        msg = f"{place}: {type(error).__name__}: {error}{where}; looked in {here} first"
        raise DataError(msg) from error
