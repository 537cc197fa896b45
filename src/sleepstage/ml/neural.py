"""Networks behind the contract of all classifiers: fit, export, and stage through the engine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from sleepstage.core.hypnogram import Hypnogram, temper
from sleepstage.core.recording import person_of
from sleepstage.engine.model_info import ModelInfo
from sleepstage.engine.prior_correction import PriorCorrection
from sleepstage.engine.stager import Stager
from sleepstage.errors import DataError
from sleepstage.io import bidsleep
from sleepstage.io.sleep_accel import read as sleep_accel
from sleepstage.io.source import Progress
from sleepstage.ml.classifier import Groups
from sleepstage.ml.config import TrainingConfig
from sleepstage.ml.dataset import PreparedNight
from sleepstage.ml.export import export_graph, model_file
from sleepstage.ml.fit import fit_members
from sleepstage.ml.networks import TransformerConfig
from sleepstage.stages import SCHEMES, UNSCORED

if TYPE_CHECKING:
    import onnx

REM_TARGET: Final = 0.70
"""Share of REM epochs that the operating point is to find, in the mean over people."""

_TEMPERATURES: Final = (0.2, 5.0)

_PUBLISHED: Final = {one["name"]: one for one in (bidsleep.ATTRIBUTION, sleep_accel.ATTRIBUTION)}


@dataclass(frozen=True)
class Neural(TrainingConfig):
    """An ensemble of networks in one file; see `TrainingConfig` for its settings."""

    exports: ClassVar[bool] = True

    def fit(
        self, nights: Sequence[PreparedNight], groups: Groups, *, on_epoch: Progress | None = None
    ) -> FittedNetworks:
        """Learn; see `sleepstage.ml.fit.fit_members`."""
        return _fit(nights, groups, [self], asdict(self), on_epoch)


@dataclass(frozen=True)
class Ensemble:
    """The mean of LSTMs and Transformers, half of each."""

    lstm: Neural = field(default_factory=Neural)
    transformer: Neural = field(default_factory=lambda: Neural(network=TransformerConfig()))
    """Both are of the same features and classes."""
    seed: int = 0
    """Used in place of the seeds of both."""
    exports: ClassVar[bool] = True

    @property
    def live(self) -> bool:
        """True if each epoch is predicted from data up to its own end."""
        return self.lstm.live

    def fit(
        self, nights: Sequence[PreparedNight], groups: Groups, *, on_epoch: Progress | None = None
    ) -> FittedNetworks:
        """Learn; see `sleepstage.ml.fit.fit_members`.

        Raises `DataError` if the kinds do not read or predict the same, or a class is
        missing in the nights.
        """
        for name in ("columns", "scheme", "whole_night", "look_ahead", "prior_correction"):
            if getattr(self.lstm, name) != getattr(self.transformer, name):
                raise DataError(f"{name} of lstm and transformer differ: set both to the same")
        kinds = [replace(kind, seed=self.seed) for kind in (self.lstm, self.transformer)]
        return _fit(nights, groups, kinds, asdict(self), on_epoch)


def _fit(
    nights: Sequence[PreparedNight],
    groups: Groups,
    kinds: Sequence[TrainingConfig],
    config: dict[str, Any],
    on_epoch: Progress | None,
) -> FittedNetworks:
    """Model of networks of these kinds, which read and predict the same."""
    networks, validation = fit_members(nights, groups, kinds, on_epoch=on_epoch)
    decided = decision(nights, validation, kinds[0])
    info = replace(describe(nights, groups, kinds[0]), config=config, **decided)
    return FittedNetworks(export_graph(networks, len(kinds[0].columns)), info)


@dataclass(frozen=True, eq=False)
class FittedNetworks:
    """An exported model; its predictions come out of the very graph that is saved."""

    graph: onnx.ModelProto
    info: ModelInfo

    @property
    def class_weights(self) -> Mapping[str, float]:
        """Operating point, chosen on validation people."""
        return self.info.class_weights

    @cached_property
    def _stager(self) -> Stager:
        return Stager(self.file())

    def predict(self, night: PreparedNight) -> Hypnogram:
        """Stages and probabilities of a night."""
        backward_rows = night.backward_rows if self.info.whole_night else None
        return self._stager.predict_rows(night.recording, night.rows, backward_rows)

    def file(self, **described: Any) -> bytes:
        """Content of the model file, with other values in its `ModelInfo`."""
        return model_file(self.graph, replace(self.info, **described))


def describe(nights: Sequence[PreparedNight], groups: Groups, config: TrainingConfig) -> ModelInfo:
    """Describe a model and the data behind it."""
    simulated = any(night.recording.simulated for night in nights)
    return ModelInfo(
        features=config.columns,
        scheme=config.scheme,
        version=version("sleepstage"),
        split={
            "train": [night.subject for night in nights],
            "validation": [list(group) for group in groups],
        },
        data={
            **({"name": "simulated nights"} if simulated else _attribution(nights)),
            "people": len({person_of(night.subject) for night in nights}),
            "fingerprint": fingerprint(nights),
        },
        simulated=simulated,
        whole_night=config.whole_night,
        look_ahead=config.look_ahead,
    )


def _attribution(nights: Sequence[PreparedNight]) -> Mapping[str, str]:
    """Of all published sets among the nights; nights of one's own have none."""
    names = sorted({night.recording.dataset for night in nights}, reverse=True)
    sets = [_PUBLISHED.get(name, {"name": name or "own nights"}) for name in names]
    keys = dict.fromkeys(key for one in sets for key in one)
    return {key: "; ".join(dict.fromkeys(one[key] for one in sets if key in one)) for key in keys}


def decision(
    nights: Sequence[PreparedNight],
    validation: Mapping[str, NDArray[np.floating]],
    config: TrainingConfig,
) -> dict[str, Any]:
    """Select by the validation people how to decide.

    The values of ``typical``, ``temperature`` and ``class_weights`` of a `ModelInfo`.
    """
    correction = (
        PriorCorrection.fit(validation.values()) if config.prior_correction else PriorCorrection()
    )
    begin = correction.initial_state(len(SCHEMES[config.scheme]))
    centred = {
        subject: correction.apply(probabilities, begin)[0][config.look_ahead :]
        for subject, probabilities in validation.items()
    }
    temperature = best_temperature(nights, centred, config.scheme)
    calibrated = {name: temper(predicted, temperature) for name, predicted in centred.items()}
    return {
        "typical": correction.typical,
        "temperature": temperature,
        "class_weights": rem_point(nights, calibrated, config.scheme),
    }


def best_temperature(
    nights: Sequence[PreparedNight], validation: Mapping[str, NDArray[np.floating]], scheme: str
) -> float:
    """Temperature with which the expert's stages are likeliest, epochs of all people pooled."""
    predicted = np.concatenate([validation[night.subject] for night in nights])
    codes = np.concatenate([night.codes_in(SCHEMES[scheme]) for night in nights])
    predicted, codes = predicted[codes != UNSCORED], codes[codes != UNSCORED]

    def surprise(temperature: float) -> float:
        of_truth = temper(predicted, temperature)[np.arange(len(codes)), codes]
        return -float(np.log(of_truth.astype(np.float64) + 1e-9).mean())

    found = minimize_scalar(surprise, bounds=_TEMPERATURES, method="bounded")
    return round(float(found.x), 4)


def rem_point(
    nights: Sequence[PreparedNight], validation: Mapping[str, NDArray[np.floating]], scheme: str
) -> dict[str, float]:
    """Smallest factor on the REM probability with which `REM_TARGET` of REM epochs are found.

    An epoch is called REM once its factor exceeds the ratio of the largest other probability to
    its own; so the factor asked for is a quantile of these ratios, in which all people weigh the
    same, and a hair more, for a tie is no REM. Never below 1.
    """
    rem = SCHEMES[scheme].classes.index("rem")
    needed, weights = [], []
    for night in nights:
        probabilities = validation[night.subject][night.codes_in(SCHEMES[scheme]) == rem]
        others = np.delete(probabilities, rem, axis=1).max(axis=1)
        needed.append(others / probabilities[:, rem])
        weights.append(np.full(len(others), 1 / max(len(others), 1)))
    factor = np.quantile(
        np.concatenate(needed), REM_TARGET, weights=np.concatenate(weights), method="inverted_cdf"
    )
    return {"rem": max(1.0, float(factor) * (1 + 1e-6))}


def fingerprint(nights: Sequence[PreparedNight]) -> str:
    """SHA-256 over the recordings, in whatever order."""
    every = sorted(night.recording.fingerprint() for night in nights)
    return hashlib.sha256("".join(every).encode()).hexdigest()
