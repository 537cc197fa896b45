"""The very models that were evaluated, with less to go on: nothing is trained again.

A study (`research.studies`) trains for what it takes away. Here a model meets what
happens to a watch on its own: a signal that is missing, rare or lost in the middle of the night.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from research.held_out import held_out, in_order
from sleepstage.core.agreement import report
from sleepstage.core.motion import MOTION_COLUMNS
from sleepstage.core.samples import Samples
from sleepstage.engine.stager import Stager
from sleepstage.evaluation.people import compare
from sleepstage.evaluation.results import summarise
from sleepstage.ml.variants import SPARSE, thin
from sleepstage.stages import FOUR_CLASS, UNSCORED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from research.held_out import HeldOut
    from sleepstage.core.agreement import ScoredNight
    from sleepstage.core.recording import Recording
    from sleepstage.evaluation.run import Outcome
    from sleepstage.evaluation.schema import Estimate, SchemeSummary
    from sleepstage.ml.dataset import PreparedNight

    Condition = Callable[[Recording], Recording]

__all__ = ["CONDITIONS", "EVERYTHING", "ConditionResult", "under_conditions", "without_motion"]

EVERYTHING: Final = "everything"

_MINUTE, _FIVE_MINUTES = SPARSE
_HOUR: Final = 3600.0
_GAP: Final = 900.0


def _no_heart_rate(recording: Recording) -> Recording:
    return replace(recording, heart_rate=Samples.empty())


def without_motion(recording: Recording) -> Recording:
    """What is left where motion is missing: steps, which are counted from it, are missing, too."""
    return replace(recording, motion=Samples.empty(len(MOTION_COLUMNS)), steps=Samples.empty())


def _no_steps(recording: Recording) -> Recording:
    return replace(recording, steps=Samples.empty())


def _middle(recording: Recording) -> float:
    return (recording.start + recording.end) / 2


def _heart_rate_lost(recording: Recording) -> Recording:
    """No more heart rate from the middle of the night on."""
    known = recording.heart_rate.times < _middle(recording)
    return replace(recording, heart_rate=recording.heart_rate.keep(known))


def _motion_lost(recording: Recording) -> Recording:
    """No more motion, and no more steps, from the middle of the night on."""
    motion, steps = (
        samples.keep(samples.times < _middle(recording))
        for samples in (recording.motion, recording.steps)
    )
    return replace(recording, motion=motion, steps=steps)


def _gaps(recording: Recording) -> Recording:
    """No heart rate in the last quarter of each hour: a strap that sits loosely."""
    within = (recording.heart_rate.times - recording.start) % _HOUR
    return replace(recording, heart_rate=recording.heart_rate.keep(within < _HOUR - _GAP))


CONDITIONS: Final[Mapping[str, Condition]] = MappingProxyType(
    {
        EVERYTHING: lambda night: night,
        "no steps": _no_steps,
        "one heart rate a minute": lambda night: thin(night, _MINUTE),
        "one heart rate in 5 minutes": lambda night: thin(night, _FIVE_MINUTES),
        "no heart rate for 15 minutes of each hour": _gaps,
        "heart rate lost in the middle of the night": _heart_rate_lost,
        "motion lost in the middle of the night": _motion_lost,
        "heart rate alone": without_motion,
        "one heart rate a minute, alone": lambda night: without_motion(thin(night, _MINUTE)),
        "one heart rate in 5 minutes, alone": lambda night: without_motion(
            thin(night, _FIVE_MINUTES)
        ),
        "motion alone": lambda night: _no_steps(_no_heart_rate(night)),
    }
)
"""By name: what is left of a recording."""


@dataclass(frozen=True)
class ConditionResult:
    """All runs under one condition, in four classes."""

    summary: SchemeSummary
    unscored: float
    """Share of the epochs that count."""
    difference: Estimate
    """Of kappa to `EVERYTHING`, night by night."""


def under_conditions(
    outcomes: Sequence[Outcome],
    nights: Sequence[PreparedNight],
    *,
    conditions: Mapping[str, Condition] = CONDITIONS,
    jobs: int = -1,
    on_run: Callable[[int, int, str], None] | None = None,
) -> dict[str, ConditionResult]:
    """Stage the test nights of each run with its own model, as each condition leaves them.

    The epochs that count are the same under every condition: those that an expert scored and that
    have heart rate and motion before anything is taken away. Where nothing is left to predict from,
    the epoch is unscored, which counts as wrong: it lowers accuracy and the recall of the
    expert's stage, and for kappa it is a class of its own in which the two never agree.

    Parameters
    ----------
    outcomes : sequence of Outcome
        Runs with model files.
    nights : sequence of PreparedNight
        One for each person.
    conditions : mapping of str to callable
        What is left of a recording; `EVERYTHING` among them.
    jobs : int
        Runs at a time; see `research.held_out.in_order`.
    on_run : callable, optional
        Called with runs done, of all, and a remark.

    Returns
    -------
    dict
        By condition.
    """
    tested = held_out(outcomes, nights)
    staged = in_order(_stage, dict(conditions), tested, jobs=jobs, on_run=on_run)
    runs = {name: [one[name] for one in staged] for name in conditions}
    return {name: _numbers(runs[name], runs[EVERYTHING]) for name in conditions}


def _stage(conditions: Mapping[str, Condition], run: HeldOut) -> dict[str, dict[str, ScoredNight]]:
    model, nights = run
    stager = Stager(model)
    return {
        name: {
            night.subject: replace(scored, predicted=stager.predict(left(night.recording)))
            for night, scored in nights
        }
        for name, left in conditions.items()
    }


def _numbers(
    runs: Sequence[Mapping[str, ScoredNight]], everything: Sequence[Mapping[str, ScoredNight]]
) -> ConditionResult:
    mine, others = _each_night(runs), _each_night(everything)
    predicted = [night.pair(FOUR_CLASS)[1] for night in mine.values()]
    n_unscored = sum(int((codes == UNSCORED).sum()) for codes in predicted)
    return ConditionResult(
        summary=summarise([report(run) for run in runs], [FOUR_CLASS])[FOUR_CLASS.name],
        unscored=n_unscored / sum(map(len, predicted)),
        difference=compare(mine, others, FOUR_CLASS)["kappa"].difference,
    )


def _each_night(runs: Sequence[Mapping[str, ScoredNight]]) -> dict[str, ScoredNight]:
    """Nights of all runs; who tests in several has one in each."""
    return {
        f"{subject}, run {number}": night
        for number, run in enumerate(runs, start=1)
        for subject, night in run.items()
    }
