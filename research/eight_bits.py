"""What a model with weights of eight bits costs on people it does not know."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from research.held_out import held_out, in_order
from research.quantise import quantise
from sleepstage.core.agreement import agreement
from sleepstage.engine.stager import Stager
from sleepstage.stages import FOUR_CLASS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from research.held_out import HeldOut
    from sleepstage.evaluation.run import Outcome
    from sleepstage.ml.dataset import PreparedNight

__all__ = ["Cost", "cost_of_int8"]


@dataclass(frozen=True)
class Cost:
    """A run's model with weights of 32 bits and of eight, on its test people.

    Attributes
    ----------
    n_bytes, n_bytes_int8 : int
        Of the two files.
    kappa, kappa_int8 : float or None
        In four classes, all epochs that count pooled.
    largest_difference : float
        Of two probabilities of the same class and epoch.
    changed : float
        Share of the epochs that count that get another stage.
    """

    n_bytes: int
    n_bytes_int8: int
    kappa: float | None
    kappa_int8: float | None
    largest_difference: float
    changed: float


def cost_of_int8(
    outcomes: Sequence[Outcome],
    nights: Sequence[PreparedNight],
    *,
    jobs: int = -1,
    on_run: Callable[[int, int, str], None] | None = None,
) -> list[Cost]:
    """Stage the test nights of each run with its own model in eight bits; in the order of the runs.

    Parameters
    ----------
    outcomes, nights, jobs, on_run
        As of `research.conditions.under_conditions`.
    """
    return in_order(_cost, None, held_out(outcomes, nights), jobs=jobs, on_run=on_run)


def _cost(_shared: None, run: HeldOut) -> Cost:
    model, nights = run
    small = quantise(model)
    stager = Stager(small)
    expert, full, int8 = [], [], []
    largest = 0.0
    for night, scored in nights:
        small_scored = replace(scored, predicted=stager.predict(night.recording))
        before, after = scored.predicted.probabilities, small_scored.predicted.probabilities
        if before is not None and after is not None:
            largest = max(largest, float(np.nanmax(np.abs(after - before))))
        expert.append(scored.pair(FOUR_CLASS)[0])
        full.append(scored.pair(FOUR_CLASS)[1])
        int8.append(small_scored.pair(FOUR_CLASS)[1])
    reference, codes, codes_int8 = map(np.concatenate, (expert, full, int8))
    return Cost(
        len(model),
        len(small),
        agreement(reference, codes, FOUR_CLASS).kappa,
        agreement(reference, codes_int8, FOUR_CLASS).kappa,
        largest,
        float(np.mean(codes != codes_int8)),
    )
