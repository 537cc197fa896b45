"""Networks of different kinds in one file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from sleepstage.classifiers.neural import FittedNetworks, Neural, decision, describe
from sleepstage.errors import DataError
from sleepstage.training.export import export_step
from sleepstage.training.fit import fit_members
from sleepstage.training.transformer import TransformerConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sleepstage.training.nights import Night

__all__ = ["Ensemble"]


@dataclass(frozen=True)
class Ensemble:
    """The mean of LSTMs and Transformers, each fitted as it would be alone.

    Attributes
    ----------
    lstm, transformer : Neural
        Of the same features and classes.
    seed : int
        Used in place of theirs.
    """

    lstm: Neural = field(default_factory=lambda: Neural(members=3))
    transformer: Neural = field(
        default_factory=lambda: Neural(members=3, max_passes=30, network=TransformerConfig())
    )
    seed: int = 0

    def _require_alike(self) -> None:
        for name in ("columns", "scheme", "whole_night", "look_ahead", "centring"):
            if getattr(self.lstm, name) != getattr(self.transformer, name):
                msg = f"{name} of lstm and transformer differ: set both to the same"
                raise DataError(msg)

    @property
    def live(self) -> bool:
        """True if an epoch is told from nothing later than its own end."""
        return self.lstm.live

    def fit(
        self,
        nights: Sequence[Night],
        groups: Sequence[Sequence[str]],
        *,
        on_pass: Callable[[int, int, str], None] | None = None,
    ) -> FittedNetworks:
        """Learn; see `sleepstage.training.fit.fit_members`.

        Raises
        ------
        DataError
            If the kinds do not read or tell the same, or a class is missing in the nights.
        """
        self._require_alike()
        kinds = [replace(kind, seed=self.seed) for kind in (self.lstm, self.transformer)]
        fitted = [fit_members(nights, groups, kind, on_pass=on_pass) for kind in kinds]
        sizes = [len(members.networks) for members in fitted]
        validation = {
            subject: np.average(
                [members.validation[subject] for members in fitted], axis=0, weights=sizes
            )
            for subject in fitted[0].validation
        }
        info = replace(
            describe(nights, groups, self.lstm.columns, self.lstm.scheme),
            config=asdict(self),
            whole_night=self.lstm.whole_night,
            look_ahead=self.lstm.look_ahead,
            **decision(nights, validation, self.lstm),
        )
        networks = [network for members in fitted for network in members.networks]
        return FittedNetworks(export_step(networks, len(self.lstm.columns)), info)
