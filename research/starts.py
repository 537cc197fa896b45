"""The same nights, recorded from the evening on: nothing is trained again.

People put a watch on long before they go to bed. Each test night is begun so many hours before
lights off, with the heart rate and steps that were really measured then. Nobody recorded motion: it
is missing, or drawn (`sleepstage.simulate.waking`). Whoever is not in bed is taken for awake until
half an hour before lights off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from research.conditions import without_motion
from research.held_out import held_out, in_order
from sleepstage.core.agreement import agreement
from sleepstage.core.periods import sleep_periods
from sleepstage.engine.stager import Stager
from sleepstage.ml.variants import SPARSE, begin_earlier, thin
from sleepstage.stages import FOUR_CLASS, UNSCORED, WAKE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from research.held_out import HeldOut
    from sleepstage.core.agreement import ScoredNight
    from sleepstage.core.hypnogram import Hypnogram
    from sleepstage.evaluation.run import Outcome
    from sleepstage.ml.dataset import PreparedNight

__all__ = ["HOURS", "SIGNALS", "Start", "starts"]

HOURS: Final = (0, 2, 4, 8, 12)
"""Before lights off."""


SIGNALS: Final = {
    "heart rate and steps": {"motion": False, "dense": False},
    "and drawn motion": {"motion": True, "dense": False},
    "and drawn motion, dense heart rate": {"motion": True, "dense": True},
    "one heart rate in 5 minutes, alone": {"motion": False, "dense": False},
}
"""What there is before lights off; in the last, of the night as well."""

_ALONE: Final = "one heart rate in 5 minutes, alone"


@dataclass(frozen=True)
class Start:
    """All nights, begun so many hours before lights off.

    Attributes
    ----------
    signals : str
        One of `SIGNALS`.
    hours : int
        One of `HOURS`.
    kappa, accuracy : float
        Of the night, epochs that count in `PreparedNight`; all nights pooled, in four classes.
    awake, staged : float or None
        Share of the hours before that is called wake, of those that are staged, and the share that
        is; means over nights.
    onset : tuple of float
        Median and 90th percentile over nights of the error of sleep onset, in minutes: see
        `sleepstage.core.periods`.
    """

    signals: str
    hours: int
    kappa: float | None
    accuracy: float | None
    awake: float | None
    staged: float | None
    onset: tuple[float, float]


class _Staged(NamedTuple):
    expert: NDArray[np.int8]
    predicted: NDArray[np.int8]
    awake: float
    staged: float
    onset: float


def starts(
    outcomes: Sequence[Outcome],
    nights: Sequence[PreparedNight],
    *,
    jobs: int = -1,
    on_run: Callable[[int, int, str], None] | None = None,
) -> list[Start]:
    """Stage the test nights of all runs from each of `HOURS` before lights off on.

    Parameters
    ----------
    outcomes, nights, jobs, on_run
        As of `research.conditions.under_conditions`.
    """
    kinds = [(signals, hours) for signals in SIGNALS for hours in HOURS]
    runs = in_order(_stage, kinds, held_out(outcomes, nights), jobs=jobs, on_run=on_run)
    return [
        _pool(*kind, [staged for run in runs for staged in run[number]])
        for number, kind in enumerate(kinds)
    ]


def _stage(kinds: Sequence[tuple[str, int]], run: HeldOut) -> list[list[_Staged]]:
    model, nights = run
    stager = Stager(model)
    return [[_stage_one(stager, *night, *kind) for night in nights] for kind in kinds]


def _stage_one(
    stager: Stager, night: PreparedNight, scored: ScoredNight, signals: str, hours: int
) -> _Staged:
    # The same evening is drawn whatever the model and the signals.
    rng = np.random.default_rng([hours, *night.subject.encode()])
    recording, codes = begin_earlier(night.recording, night.codes, hours, rng, **SIGNALS[signals])
    if signals == _ALONE:
        recording = without_motion(thin(recording, SPARSE[-1]))
    hypnogram = stager.predict(recording).merge(FOUR_CLASS)
    predicted, n_before = hypnogram.codes, len(codes) - len(night.codes)
    evening = predicted[:n_before][codes[:n_before] == WAKE]
    staged = evening[evening != UNSCORED]
    return _Staged(
        night.codes,
        predicted[n_before:],
        float((staged == WAKE).mean()) if len(staged) else np.nan,
        len(staged) / len(evening) if len(evening) else np.nan,
        abs(_onset(hypnogram) - _onset(scored.reference)) / 60,
    )


def _onset(hypnogram: Hypnogram) -> float:
    """Start of the first sleep period, NaN without one."""
    return min((period.start for period in sleep_periods(hypnogram)), default=np.nan)


def _pool(signals: str, hours: int, nights: Sequence[_Staged]) -> Start:
    expert, predicted = (
        np.concatenate([getattr(night, name) for night in nights])
        for name in ("expert", "predicted")
    )
    counted = expert != UNSCORED
    found = agreement(expert[counted], predicted[counted], FOUR_CLASS)
    onsets = np.array([night.onset for night in nights])
    known = onsets[np.isfinite(onsets)]
    return Start(
        signals,
        hours,
        found.kappa,
        found.accuracy,
        _mean([night.awake for night in nights]),
        _mean([night.staged for night in nights]),
        tuple(np.quantile(known, (0.5, 0.9)).tolist()) if len(known) else (np.nan, np.nan),
    )


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else None
