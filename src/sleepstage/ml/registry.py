"""All classifiers by name, and own ones by the place of their class."""

from __future__ import annotations

import importlib
import json
import os
import sys
from dataclasses import asdict, fields, is_dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from sleepstage.errors import DataError
from sleepstage.ml.baselines import ElapsedTime, Logistic, Majority, Walch
from sleepstage.ml.boosting import Boosting
from sleepstage.ml.config import HEART_RATE_FEATURES
from sleepstage.ml.networks import RecurrentConfig, TransformerConfig
from sleepstage.ml.neural import Ensemble, Neural

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sleepstage.ml.classifier import Classifier

__all__ = ["CLASSIFIERS", "DEFAULT", "find_classifier"]

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


def find_classifier(given: str | Classifier | Callable[[], Classifier]) -> Classifier:
    """Settings of a classifier: a frozen dataclass that `Classifier` describes.

    Parameters
    ----------
    given : str, class or Classifier
        A name in `CLASSIFIERS`, or ``package.module:Class`` of an own class, which is imported
        from the current directory or from what is installed; the class itself; or its settings.

    Raises
    ------
    DataError
        If there is no such name, module or class, or it lacks something; states what.
    """
    if isinstance(given, str) and ":" not in given:
        if given in CLASSIFIERS:
            return CLASSIFIERS[given]
        msg = f"no model {given}; there are {', '.join(CLASSIFIERS)}, and package.module:Class"
        raise DataError(msg)
    name = given if isinstance(given, str) else repr(given)
    found = _imported(given) if isinstance(given, str) else given
    try:
        made = found() if callable(found) else found
    except TypeError as error:
        msg = f"{name}: can't be made without arguments ({error}); give each setting a default"
        raise DataError(msg) from error
    _check(made, name)
    return made


def _imported(place: str) -> Any:
    name, _, attribute = place.partition(":")
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)  # a console script has the folder of the script there
    try:
        module = importlib.import_module(name)
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}.")
        reason = f"no such module in {here}, nor installed" if missing else repr(error)
        msg = f"{place}: {name or 'the module'} can't be imported: {reason}"
        raise DataError(msg) from error
    if not hasattr(module, attribute):
        classes = [key for key, one in vars(module).items() if is_dataclass(one)]
        msg = f"{place}: no {attribute!r} in {module.__file__}; there are {', '.join(classes)}"
        raise DataError(msg)
    return getattr(module, attribute)


def _check(made: Any, name: str) -> None:
    """Raise a `DataError` if it lacks anything of the interface `Classifier`."""
    lacks = [one for one in ("fit", "live") if not hasattr(made, one)]
    if not is_dataclass(made) or not made.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        lacks.insert(0, "the decorator @dataclass(frozen=True)")
    elif "seed" not in {one.name for one in fields(made)}:
        lacks.append("the field seed: int = 0")
    if lacks:
        msg = f"{name} is no classifier: it lacks {', '.join(lacks)}; see docs/my-model.md"
        raise DataError(msg)
    try:
        json.dumps(asdict(made))  # type: ignore[call-overload]
    except (TypeError, ValueError) as error:
        msg = f"{name}: settings must be numbers, text, or lists of these ({error})"
        raise DataError(msg) from error
