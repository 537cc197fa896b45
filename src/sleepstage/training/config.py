"""How a network is trained, and how to say so on a command line."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sleepstage.errors import DataError
from sleepstage.features import FEATURE_NAMES
from sleepstage.training.network import LSTMConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DEFAULT_FEATURES", "TrainingConfig", "override"]

DEFAULT_FEATURES: Final = tuple(
    name
    for name in FEATURE_NAMES
    if name not in {"hr_trend_10m", "hr_age", "motion_windows_5m", "steps_24h", "since_walk"}
)
"""Features that help on people not trained on; `docs/approach.md` has the measurements."""


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained; `docs/approach.md` says how the values were found.

    Attributes
    ----------
    features : tuple of str
        Input columns.
    network : LSTMConfig
        Size of the network.
    members, groups : int
        Networks whose mean is the model, and groups of training people that take turns to
        validate.
    max_passes : int
        Passes over the nights at most.
    batch_size : int
        Nights per step.
    learning_rate, weight_decay : float
        Of AdamW.
    warm_up_steps : int
        Steps until the learning rate is reached.
    averaging : float
        Weight of what was before in the running mean of the weights.
    class_balance : float
        Exponent of the inverse class frequency as weight: 0 none, 1 full balance.
    label_smoothing : float
        Experts agree in four epochs of five only: no label is certain.
    noise, offset : float
        Random change of each value, and one for a whole night, in standard deviations.
    crop_epochs, crop_share : int, float
        This share of the nights is cut to a stretch of this length.
    signal_dropout : float
        Share of the nights from which heart rate or motion is taken away.
    seed : int
        Of the split, the weights and the order.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``mps``.
    """

    features: tuple[str, ...] = DEFAULT_FEATURES
    network: LSTMConfig = field(default_factory=LSTMConfig)
    members: int = 5
    groups: int = 5
    max_passes: int = 25
    batch_size: int = 4
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    warm_up_steps: int = 30
    averaging: float = 0.98
    class_balance: float = 0.25
    label_smoothing: float = 0.05
    noise: float = 0.1
    offset: float = 0.1
    crop_epochs: int = 480
    crop_share: float = 0.5
    signal_dropout: float = 0.1
    seed: int = 0
    device: str = "auto"


def override(config: TrainingConfig, assignments: Sequence[str]) -> TrainingConfig:
    """Configuration with some values replaced.

    Parameters
    ----------
    config : TrainingConfig
        Where to begin.
    assignments : sequence of str
        Each ``name=value``, as ``members=1``, ``network.hidden=32`` or ``features=hr_30s,still``.

    Raises
    ------
    DataError
        If a name is unknown or a value of the wrong kind; says which there are.
    """
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            msg = f"{assignment!r}: expected name=value"
            raise DataError(msg)
        config = _replaced(config, name.strip().split("."), text.strip(), assignment)
    unknown = [name for name in config.features if name not in FEATURE_NAMES]
    if unknown or not config.features:
        named = ", ".join(unknown) or "(none)"
        msg = f"unknown features {named}; there are {', '.join(FEATURE_NAMES)}"
        raise DataError(msg)
    return config


def _replaced(config: Any, path: list[str], text: str, assignment: str) -> Any:
    known = [one.name for one in fields(config)]
    if path[0] not in known:
        msg = f"{assignment!r}: no {path[0]!r} in the configuration; there are {', '.join(known)}"
        raise DataError(msg)
    old = getattr(config, path[0])
    if is_dataclass(old) and len(path) > 1:
        return replace(config, **{path[0]: _replaced(old, path[1:], text, assignment)})
    new = _parse(text, old)
    if new is None or len(path) > 1:
        msg = f"{assignment!r}: expected a value like {old!r}"
        raise DataError(msg)
    return replace(config, **{path[0]: new})


def _parse(text: str, old: Any) -> Any:
    """Value of the kind of `old`, None if `text` is none."""
    if isinstance(old, tuple):
        return tuple(name.strip() for name in text.split(",") if name.strip())
    if isinstance(old, str):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        return None
    if isinstance(old, float) and type(value) is int:
        return float(value)
    return value if type(value) is type(old) else None
