"""Around the clock: whole days, naps, weeks, a watch that is not worn; nothing is trained again.

Each test night is put into a day as people have them, and staged as it happens, in one session that
goes on. Heart rate and steps of the evening are real; nobody recorded motion then: it is drawn
(`sleepstage.simulate.waking`), as are the mornings, which repeat the evening.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from research.held_out import held_out, in_order
from sleepstage.core.agreement import agreement
from sleepstage.core.hypnogram import Hypnogram
from sleepstage.core.motion import MOTION_COLUMNS
from sleepstage.core.periods import SleepPeriod, sleep_periods
from sleepstage.core.samples import Samples
from sleepstage.engine.stager import Stager
from sleepstage.ml.variants import Codes, Variant, begin_earlier, go_on
from sleepstage.simulate import physiology
from sleepstage.stages import EPOCH_SECONDS, FOUR_CLASS, NO_DATA, NOT_WORN, UNSCORED, WAKE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.random import Generator

    from research.held_out import HeldOut
    from sleepstage.core.agreement import ScoredNight
    from sleepstage.core.recording import Recording
    from sleepstage.evaluation.run import Outcome
    from sleepstage.ml.dataset import PreparedNight

__all__ = ["DAYS", "GAPS", "Days", "Gap", "days", "gaps"]

_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR
_NAP: Final = 80 * 60  # s from the expert's sleep onset on
_BEFORE: Final = 8  # h before lights off
_BEFORE_A_NAP: Final = 4
_OF_A_WEEK: Final = (1, 2, 7)
_GRACE: Final = 300 // EPOCH_SECONDS  # epochs until a watch that is off may still be staged

DAYS: Final = (
    "a day, rare heart rate in the evening",
    "a day, dense heart rate",
    f"a nap of {_NAP // 60} minutes",
    *(f"a week: night {number}" for number in _OF_A_WEEK),
)
"""What each night is put into."""

GAPS: Final = {"on a table": NOT_WORN, "no data": NO_DATA}
"""Of the hour in the middle of the night: why it can't be staged."""


@dataclass(frozen=True)
class Days:
    """Days of all people; means and quantiles over their nights.

    Attributes
    ----------
    kind : str
        One of `DAYS`.
    found : float
        Share of the nights in whose sleep a sleep period was found.
    onset, awakening : tuple of float
        Median and 90th percentile of the error of sleep onset and of the final awakening of that
        period, in minutes.
    false_sleep : float
        Minutes called asleep in an hour of waking life.
    others : float
        Sleep periods a day of which nothing lies in the expert's.
    kappa : float or None
        Of the night, or of what is left of it in a nap; epochs that count in `PreparedNight`,
        pooled, four classes.
    """

    kind: str
    found: float
    onset: tuple[float, float]
    awakening: tuple[float, float]
    false_sleep: float
    others: float
    kappa: float | None


@dataclass(frozen=True)
class Gap:
    """A watch without a wrist, or without data, for an hour of all nights.

    Attributes
    ----------
    kind : str
        One of `GAPS`.
    asleep : float
        Minutes of the hour that are staged as sleep after the first five; mean over nights.
    named : float
        Share of the epochs from then on that have the right reason.
    before, after, usual : float or None
        Kappa of the half night before, of that after, and of that after without the gap; pooled.
    """

    kind: str
    asleep: float
    named: float
    before: float | None
    after: float | None
    usual: float | None


class _Day(NamedTuple):
    expert: Codes
    predicted: Codes
    onset: float
    awakening: float
    false_sleep: float
    others: float


class _Hour(NamedTuple):
    asleep: float
    named: float
    expert: tuple[Codes, Codes]
    predicted: tuple[Codes, Codes]
    usual: Codes


def days(
    outcomes: Sequence[Outcome],
    nights: Sequence[PreparedNight],
    *,
    jobs: int = -1,
    on_run: Callable[[int, int, str], None] | None = None,
) -> list[Days]:
    """Stage the test nights of all runs within each of `DAYS`.

    Parameters
    ----------
    outcomes, nights, jobs, on_run
        As of `research.conditions.under_conditions`.
    """
    runs = in_order(_stage_days, None, held_out(outcomes, nights), jobs=jobs, on_run=on_run)
    return [_pool(kind, [day[kind] for run in runs for day in run]) for kind in DAYS]


def gaps(
    outcomes: Sequence[Outcome],
    nights: Sequence[PreparedNight],
    *,
    jobs: int = -1,
    on_run: Callable[[int, int, str], None] | None = None,
) -> list[Gap]:
    """Stage the test nights of all runs with each of `GAPS` in their middle.

    Parameters
    ----------
    outcomes, nights, jobs, on_run
        As of `research.conditions.under_conditions`.
    """
    runs = in_order(_stage_gaps, None, held_out(outcomes, nights), jobs=jobs, on_run=on_run)
    return [_pool_hours(kind, [hour[kind] for run in runs for hour in run]) for kind in GAPS]


def _stage_days(_shared: None, run: HeldOut) -> list[dict[str, _Day]]:
    model, nights = run
    stager = Stager(model)
    return [_stage_one(stager, night, scored) for night, scored in nights]


def _stage_one(stager: Stager, night: PreparedNight, scored: ScoredNight) -> dict[str, _Day]:
    expert = _expert(night, scored)
    asleep = _main(expert)
    rng = np.random.default_rng(list(night.subject.encode()))

    def day(until: float, hours: float, *, dense: bool) -> Variant:
        night_until = _end_at(night.recording, until)
        codes = expert.codes[: night_until.n_epochs]
        begun = begin_earlier(night_until, codes, hours, rng, motion=True, dense=dense)
        return go_on(begun, night.recording.start, rng)

    end = night.recording.end
    whole = {dense: day(end, _BEFORE, dense=dense) for dense in (False, True)}
    nap = day(min(asleep.start + _NAP, end), _BEFORE_A_NAP, dense=True)
    week = _stage_week(stager, whole[False][0])
    staged = [
        *((stager.predict(recording), codes) for recording, codes in (*whole.values(), nap)),
        *((week[number - 1], whole[False][1]) for number in _OF_A_WEEK),
    ]
    return {
        kind: _judge(hypnogram, codes, night)
        for kind, (hypnogram, codes) in zip(DAYS, staged, strict=True)
    }


def _stage_week(stager: Stager, day: Recording) -> list[Hypnogram]:
    """The same day again and again in one session, and nothing in between: the watch is charged."""
    session = stager.session(start=day.start, lateness=0)
    signals = {name: getattr(day, name) for name in ("heart_rate", "motion", "steps")}
    known = {name: one.between(day.start, day.end) for name, one in signals.items()}
    classes = ("unscored", *FOUR_CLASS.classes)
    staged = []
    for number in range(_OF_A_WEEK[-1]):
        later = {name: (one.times + number * _DAY, one.values) for name, one in known.items()}
        epochs = session.push(**later, now=day.end + number * _DAY)
        codes = [classes.index(one.stage) - 1 for one in epochs[-day.n_epochs :]]
        staged.append(Hypnogram(day.start, np.array(codes, dtype=np.int8), FOUR_CLASS))
    return staged


def _end_at(recording: Recording, end: float) -> Recording:
    """The same up to the end of the epoch that holds `end`."""
    n_epochs = math.ceil((end - recording.start) / EPOCH_SECONDS)
    end = min(recording.end, recording.start + n_epochs * EPOCH_SECONDS)
    return replace(recording, end=end, reference=None)


def _expert(night: PreparedNight, scored: ScoredNight) -> Hypnogram:
    codes = scored.reference.merge(FOUR_CLASS).codes[: len(night.codes)]
    return Hypnogram(night.recording.start, codes, FOUR_CLASS)


def _main(hypnogram: Hypnogram) -> SleepPeriod:
    """The longest sleep period; an expert's night has one."""
    return max(sleep_periods(hypnogram), key=lambda period: period.end - period.start)


def _judge(predicted: Hypnogram, codes: Codes, night: PreparedNight) -> _Day:
    """Compare a day with the expert's night in it and the waking life around it."""
    hypnogram = predicted.merge(FOUR_CLASS)
    lights_off = round((night.recording.start - hypnogram.start) / EPOCH_SECONDS)
    in_bed = slice(lights_off, min(lights_off + len(night.codes), len(codes)))
    expert = np.full_like(codes, UNSCORED)
    expert[in_bed] = codes[in_bed]
    true = _main(Hypnogram(hypnogram.start, expert, FOUR_CLASS))
    waking = codes == WAKE
    waking[in_bed] = False
    false = waking & (hypnogram.codes > WAKE)
    periods = sleep_periods(hypnogram)
    same = [one for one in periods if one.start < true.end and one.end > true.start]
    counted = night.codes[: in_bed.stop - lights_off] != UNSCORED
    return _Day(
        expert[in_bed][counted],
        hypnogram.codes[in_bed][counted],
        abs(same[0].start - true.start) / 60 if same else math.nan,
        abs(same[-1].end - true.end) / 60 if same else math.nan,
        60 * float(false.sum() / waking.sum()),
        len(periods) - len(same),
    )


def _pool(kind: str, staged: Sequence[_Day]) -> Days:
    expert, predicted = (
        np.concatenate([getattr(one, name) for one in staged]) for name in ("expert", "predicted")
    )
    return Days(
        kind,
        float(np.mean([math.isfinite(one.onset) for one in staged])),
        _quantiles([one.onset for one in staged]),
        _quantiles([one.awakening for one in staged]),
        float(np.mean([one.false_sleep for one in staged])),
        float(np.mean([one.others for one in staged])),
        agreement(expert, predicted, FOUR_CLASS).kappa,
    )


def _quantiles(values: Sequence[float]) -> tuple[float, float]:
    known = [value for value in values if math.isfinite(value)]
    median, late = np.quantile(known, (0.5, 0.9)) if known else (math.nan, math.nan)
    return float(median), float(late)


def _stage_gaps(_shared: None, run: HeldOut) -> list[dict[str, _Hour]]:
    model, nights = run
    stager = Stager(model)
    return [
        {kind: _stage_gap(stager, night, scored, kind) for kind in GAPS} for night, scored in nights
    ]


def _stage_gap(stager: Stager, night: PreparedNight, scored: ScoredNight, kind: str) -> _Hour:
    n_epochs = len(night.codes)
    first = n_epochs // 2
    last = first + _HOUR // EPOCH_SECONDS
    without = _take_off(night.recording, first, last, kind)
    staged = stager.predict(without).merge(FOUR_CLASS)
    hour = slice(first + _GRACE, last)
    halves = slice(0, first), slice(last, n_epochs)
    counted = [night.codes[half] != UNSCORED for half in halves]
    reasons = staged.reasons
    return _Hour(
        float((staged.codes[hour] > WAKE).sum() * EPOCH_SECONDS / 60),
        0.0 if reasons is None else float((reasons[hour] == GAPS[kind]).mean()),
        tuple(night.codes[half][one] for half, one in zip(halves, counted, strict=True)),
        tuple(staged.codes[half][one] for half, one in zip(halves, counted, strict=True)),
        scored.predicted.merge(FOUR_CLASS).codes[halves[1]][counted[1]],
    )


def _take_off(recording: Recording, first: int, last: int, kind: str) -> Recording:
    """The same without what a watch measures on a wrist, from epoch `first` until `last`."""
    start, end = (recording.start + EPOCH_SECONDS * number for number in (first, last))

    def put(samples: Samples, part: Samples, *, window_ends: bool = False) -> Samples:
        before = samples.between(-math.inf, start, window_ends=window_ends)
        after = samples.between(end, math.inf, window_ends=window_ends)
        return before.followed_by(part).followed_by(after)

    still = Samples.empty(len(MOTION_COLUMNS))
    if GAPS[kind] == NOT_WORN:
        still = _lie_still(np.random.default_rng(list(recording.subject.encode())), start, end)
    return replace(
        recording,
        heart_rate=put(recording.heart_rate, Samples.empty()),
        motion=put(recording.motion, still, window_ends=True),
        steps=put(recording.steps, Samples.empty()),
    )


def _lie_still(rng: Generator, start: float, end: float) -> Samples:
    """Motion summaries of a table: nothing moves, and nothing drifts."""
    nothing = physiology.Movements(*np.empty((3, 0)))
    gravity, shaking = physiology.draw_motion(rng, nothing, int(end - start))
    motion = physiology.summaries(np.broadcast_to(gravity[0], gravity.shape), shaking)
    return Samples(start + motion.times, motion.values)


def _pool_hours(kind: str, staged: Sequence[_Hour]) -> Gap:
    def kappa(expert: Sequence[Codes], predicted: Sequence[Codes]) -> float | None:
        return agreement(np.concatenate(expert), np.concatenate(predicted), FOUR_CLASS).kappa

    first, second = ([one.expert[half] for one in staged] for half in (0, 1))
    return Gap(
        kind,
        float(np.mean([one.asleep for one in staged])),
        float(np.mean([one.named for one in staged])),
        kappa(first, [one.predicted[0] for one in staged]),
        kappa(second, [one.predicted[1] for one in staged]),
        kappa(second, [one.usual for one in staged]),
    )
