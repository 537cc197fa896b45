"""How networks are trained, and how to set that on a command line."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Final, TypeVar

from sleepstage.engine.features import SUMMARIES, TRACE
from sleepstage.errors import DataError
from sleepstage.ml.networks import RecurrentConfig, TransformerConfig, require_positive
from sleepstage.stages import FIVE_CLASS, FOUR_CLASS

_SUMMARY_NAMES: Final = tuple(feature.name for feature in SUMMARIES)

DEFAULT_FEATURES: Final = tuple(
    name
    for name in _SUMMARY_NAMES
    if name not in {"hr_overdue", "drift_5m", "drift_15m"}  # for `sleepstage.engine.wear`
)
"""Features that help on people not trained on; `docs/approach.md` has the measurements."""

HEART_RATE_FEATURES: Final = tuple(
    feature.name
    for feature in SUMMARIES
    if feature.signal == "heart_rate" and feature.name in DEFAULT_FEATURES
)
"""For nights without motion, whose heart rate may be rare."""


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained; `docs/approach.md` has how the values were found."""

    features: tuple[str, ...] = DEFAULT_FEATURES
    """Input columns, of `sleepstage.engine.features.SUMMARIES`."""
    trace: bool = True
    """Give the network the shape of the last minutes' heart rate, too."""
    network: RecurrentConfig | TransformerConfig = field(default_factory=RecurrentConfig)
    """Kind and size of the networks."""
    scheme: str = FOUR_CLASS.name
    """Classes to distinguish: ``four_class`` or ``five_class``."""
    whole_night: bool = False
    """Read the night from both ends, on the morning after; not live."""
    look_ahead: int = 0
    """Epochs that a live network waits before it decides on an epoch."""
    training_epochs: int = 90
    """Passes over the nights."""
    batch_size: int = 4
    """Nights per step."""
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    """Both of AdamW."""
    warm_up_steps: int = 30
    """Steps until the learning rate is reached."""
    averaging: float = 0.98
    """Weight of what was before in the running mean of the weights."""
    class_balance: float = 0.25
    """Exponent of the inverse class frequency as weight: 0 none, 1 full balance."""
    label_smoothing: float = 0.05
    """Experts agree in four epochs of five only: no label is certain."""
    noise: float = 0.1
    offset: float = 0.1
    """Random change of each value (noise) and one for a whole night, in standard deviations."""
    crop_epochs: int = 480
    """Stretches of so many epochs are cut out."""
    signal_dropout: float = 0.6
    """Share of the nights from which signals are taken away, all along or for a while."""
    evenings: float = 0.4
    """Share of the recordings that begin hours before lights off; see `sleepstage.ml.variants`."""
    late_starts: float = 0.1
    """Share of those that begin in mid-night."""
    thinning: float = 0.2
    """Share of those with one heart rate in a minute or in five."""
    prior_correction: bool = True
    """Correct the prior by the night so far; see `sleepstage.engine.prior_correction`."""
    seed: int = 0
    """Of the weights and the order."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``mps``."""

    def __post_init__(self) -> None:
        schemes = (FOUR_CLASS.name, FIVE_CLASS.name)
        if self.scheme not in schemes:
            raise DataError(f"scheme={self.scheme}: expected one of {', '.join(schemes)}")
        require_positive(self, "training_epochs", "batch_size", "crop_epochs", "warm_up_steps")
        if not 0 <= (share := sum(self.variants.values())) < 1 + 1e-9:
            named = "evenings, late_starts and thinning"
            raise DataError(f"{named} are {share:g} of the recordings together; expected 0 to 1")
        if self.look_ahead < 0 or (self.look_ahead and self.whole_night):
            msg = f"look_ahead={self.look_ahead}: expected 0 or more, and 0 for a whole night"
            raise DataError(msg)
        unknown = [name for name in self.features if name not in _SUMMARY_NAMES]
        if unknown or not self.features:
            named = ", ".join(unknown) or "(none)"
            raise DataError(f"unknown features {named}; there are {', '.join(_SUMMARY_NAMES)}")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all that the network reads: the trace comes last."""
        return (*self.features, *(feature.name for feature in TRACE if self.trace))

    @property
    def variants(self) -> dict[str, float]:
        """Shares of the kinds of `sleepstage.ml.variants.make_variants`; the rest is as it was."""
        return {"evening": self.evenings, "late": self.late_starts, "thinned": self.thinning}

    @property
    def live(self) -> bool:
        """True if each epoch is predicted from data up to its own end."""
        return not self.whole_night and not self.look_ahead


Config = TypeVar("Config")


def override(config: Config, assignments: Sequence[str]) -> Config:
    """Configuration (a frozen dataclass) with some values replaced.

    Each assignment is ``name=value``, as ``noise=0.2``, ``network.hidden=32`` or
    ``features=hr_30s,still``. A name that only parts of the configuration know goes to all of them.

    Raises `DataError` if a name is unknown or a value of the wrong kind; names those there are.
    """
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise DataError(f"{assignment!r}: expected name=value")
        config = _replaced(config, name.strip().split("."), text.strip(), assignment)
    return config


def _replaced(config: Any, path: list[str], text: str, assignment: str) -> Any:
    known = {one.name: getattr(config, one.name) for one in fields(config)}
    parts = {name: value for name, value in known.items() if is_dataclass(value)}
    if path[0] not in known:
        named = [
            name for name, part in parts.items() if path[0] in {one.name for one in fields(part)}
        ]
        if not named:
            raise DataError(
                f"{assignment!r}: no {path[0]!r} in the configuration; there are {', '.join(known)}"
            )
        return replace(
            config, **{name: _replaced(parts[name], path, text, assignment) for name in named}
        )
    old = known[path[0]]
    if is_dataclass(old) and len(path) > 1:
        return replace(config, **{path[0]: _replaced(old, path[1:], text, assignment)})
    new = _parse(text, old)
    if new is None or len(path) > 1:
        raise DataError(f"{assignment!r}: expected a value like {old!r}")
    return replace(config, **{path[0]: new})


def _parse(text: str, old: Any) -> Any:
    """Value of the kind of `old`, None if `text` is none."""
    if isinstance(old, tuple):
        return tuple(name.strip() for name in text.split(",") if name.strip())
    if isinstance(old, str):
        return text
    try:
        value = float(text) if isinstance(old, float) else json.loads(text)
    except ValueError:
        return None
    valid = math.isfinite(value) if isinstance(old, float) else type(value) is type(old)
    return value if valid else None
