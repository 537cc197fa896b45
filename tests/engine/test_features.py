"""Features: by hand, by definition, and live as in one go."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sleepstage
from sleepstage.core.recording import Recording
from sleepstage.core.samples import Samples
from sleepstage.engine.features import (
    FEATURE_NAMES,
    FEATURES,
    FeatureState,
    extract_features,
    push,
)
from sleepstage.engine.wear import unscored_reasons
from sleepstage.errors import DataError
from sleepstage.io.sleep_accel.read import find_subjects, read_subject
from sleepstage.simulate.nights import simulate_night

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Rows = NDArray[np.float32]

NAN = math.nan
SIGNALS = ("heart_rate", "motion", "steps")
COUNTS = ("hr_samples_1m", "motion_windows_5m")  # known to be zero where a signal is missing
STATE_FIELDS = tuple(FeatureState.__dataclass_fields__)
STILL = [0.0, 0.0, 0.0, 1.0]


def recording(
    heart_rate: Any = None, motion: Any = None, steps: Any = None, *, end: float, start: float = 0.0
) -> Recording:
    """A night from lists of (time, value)."""
    given = {"heart_rate": heart_rate, "motion": motion, "steps": steps}
    signals: Any = {
        name: ([row[0] for row in rows], [row[1] for row in rows])
        for name, rows in given.items()
        if rows
    }
    return Recording.from_arrays(**signals, start=start, end=end)


def column(rows: Rows, name: str) -> Rows:
    return np.asarray(rows[:, FEATURE_NAMES.index(name)])


def same(one: Rows, other: Rows) -> bool:
    return one.dtype == other.dtype == np.float32 and np.array_equal(one, other, equal_nan=True)


def same_state(one: FeatureState, other: FeatureState) -> bool:
    def plain(value: Any) -> list[Any]:
        return [value.times, value.values] if isinstance(value, Samples) else [value]

    return all(
        np.array_equal(a, b, equal_nan=True)
        for name in STATE_FIELDS
        for a, b in zip(plain(getattr(one, name)), plain(getattr(other, name)), strict=True)
    )


# By hand

HAND = recording(
    heart_rate=[(0, 60), (10, 62), (20, 64), (30, 70), (60, 66)],
    motion=[
        (15, STILL),
        (30, STILL),
        (45, [math.expm1(1), 0.6, 0, 0.8]),
        (60, [0, 0.6, 0, 0.8]),
        (75, [math.expm1(2), 0, 0, 1.0]),
    ],
    steps=[(-3600, 100), (-1800, 0), (30, 4)],
    end=90,
)
BY_HAND = {
    "hr_30s": [62, 70, 66],
    "hr_sd_2m": [math.sqrt(8 / 3), math.sqrt(14), math.sqrt(59.2 / 5)],
    "hr_sd_10m": [math.sqrt(8 / 3), math.sqrt(14), math.sqrt(59.2 / 5)],
    "hr_step_sd_5m": [NAN, math.sqrt(32 / 9), math.sqrt(12.75)],
    "hr_1m_vs_10m": [0, 0, 3.6],
    "hr_5m_vs_30m": [0, 0, 0],
    "hr_1m_vs_rest": [0, -2, 2],
    "hr_10m_vs_rest": [0, -2, -1.6],
    "hr_floor_10h": [62, 62, 62],
    "hr_rest_10h": [1 / 120, 2 / 120, 3 / 120],
    "hr_samples_1m": [3, 4, 2],
    "hr_age": [math.log(11), math.log(31), math.log(31)],
    "hr_overdue": [0, 20, 15],
    "counts_30s": [0, 0.5, 2],
    "counts_5m": [0, 0.25, 0.6],
    "counts_max_20m": [0, 1, 2],
    "still": [math.log(1.5), math.log(1.25), math.log(1.25)],
    "posture_30s": [math.log(0.001), math.log(0.401), math.log(0.801)],
    "posture_5m": [math.log(0.001), math.log(0.8 / 3 + 0.001), math.log(0.401)],
    "peak_length": [1, 1, 1],
    "motion_windows_5m": [2, 4, 5],
    "drift_5m": [NAN, NAN, NAN],
    "drift_15m": [NAN, NAN, NAN],
    "calm_2h": [1 / 120, 1 / 120, 1 / 120],
    "calm_8h": [1 / 120, 1 / 120, 1 / 120],
    "since_up": [1 / 120, 2 / 120, 3 / 120],
    "since_walk": [math.log(61.5), math.log(1.5), math.log(2)],
}


# Samples lie at 0, 10, 20, 30 and 60 s. A step ends each 10 s, the last at the epoch's end; a
# sample at its very end is later, and one that is older than 20 s holds no more.
HELD = {
    30: {10: 60, 20: 62, 30: 64},
    60: {10: 60, 20: 62, 30: 64, 40: 70, 50: 70},
    90: {10: 60, 20: 62, 30: 64, 40: 70, 50: 70, 70: 66, 80: 66},
}
TRACES = {
    now: [held.get(now - 10 * step, NAN) for step in range(29, -1, -1)]
    for now, held in HELD.items()
}
BY_HAND |= {
    f"hr_trace_{step:02d}": [
        TRACES[now][step] - float(np.nanmean(TRACES[now])) for now in (30, 60, 90)
    ]
    for step in range(30)
}


def test_every_feature_of_a_shipped_model_is_worked_out_by_hand() -> None:
    models = [sleepstage.load_model(name) for name in sleepstage.available_models()]
    shipped = {name for model in models for name in model.info.features}
    assert shipped <= set(BY_HAND)


def test_every_feature_is_worked_out_by_hand() -> None:
    assert set(BY_HAND) == set(FEATURE_NAMES)
    assert len(BY_HAND) == 57


@pytest.mark.parametrize("name", BY_HAND)
def test_features_of_a_tiny_night(name: str) -> None:
    found = column(extract_features(HAND), name)
    assert found == pytest.approx(BY_HAND[name], rel=1e-5, abs=1e-5, nan_ok=True)


def test_five_minutes_are_held_against_thirty() -> None:
    beats = [(t, 66 if t >= 1500 else 60) for t in range(0, 1800, 10)]
    rows = extract_features(recording(heart_rate=beats, end=1800))
    assert column(rows, "hr_5m_vs_30m")[-1] == pytest.approx(5, rel=1e-5)


def test_heart_rate_before_the_night_is_looked_back_on_but_is_not_of_this_night() -> None:
    rows = extract_features(recording(heart_rate=[(-100, 90), (-50, 90), (0, 60)], end=30))
    assert column(rows, "hr_sd_10m") == pytest.approx(math.sqrt(200))
    assert column(rows, "hr_floor_10h") == pytest.approx(60)
    assert column(rows, "hr_10m_vs_rest") == pytest.approx(20)


def of_levels(*levels: tuple[int, float]) -> Rows:
    """So many epochs with one heart rate each, NaN for none."""
    values = [value for n, value in levels for _ in range(n)]
    beats = [(30 * at + 5, value) for at, value in enumerate(values) if not math.isnan(value)]
    return extract_features(recording(heart_rate=beats, end=30 * len(values)))


@pytest.mark.parametrize(("above", "resting"), [(8, 64), (8.5, 60)])
def test_rest_is_what_lies_within_eight_beats_of_the_floor(above: float, resting: float) -> None:
    rows = of_levels((20, 60), (20, 60 + above), (1, 90))
    rest = 20 if resting == 60 else 40
    assert column(rows, "hr_floor_10h")[-1] == 60
    assert column(rows, "hr_rest_10h")[-1] == pytest.approx(rest / 120)
    assert column(rows, "hr_1m_vs_rest")[-1] == pytest.approx((60 + above + 90) / 2 - resting)


def test_the_floor_is_the_lowest_but_for_one_level_in_twenty() -> None:
    floor = column(of_levels((1, 50), (40, 60)), "hr_floor_10h")
    assert floor[[0, 19, 20, 40]].tolist() == [50, 50, 60, 60]


def test_active_hours_before_the_night_move_neither_floor_nor_resting_level() -> None:
    night = (240, 62)
    rows, alone = of_levels((600, 85), night), of_levels(night)
    for name in ("hr_floor_10h", "hr_1m_vs_rest", "hr_rest_10h"):
        assert column(rows, name)[-1] == column(alone, name)[-1]


def test_levels_are_forgotten_after_ten_hours() -> None:
    floor = column(of_levels((240, 50), (100, NAN), (1100, 70)), "hr_floor_10h")
    # The last ten hours hold 1100 levels then, of which the floor is the 55th lowest.
    assert (floor == 50).nonzero()[0].max() == 1439 - 55
    assert set(floor.tolist()) == {50, 70}


def of_motion(*stretches: tuple[int, int]) -> Rows:
    """So many epochs of 15 s windows, of which each so many-th moves; none for 0."""
    moves = [at % each == 0 if each else False for n, each in stretches for at in range(2 * n)]
    windows = [(15 * (at + 1), [3.07 * moved, 0, 0, 1.0]) for at, moved in enumerate(moves)]
    return extract_features(recording(motion=windows, end=15 * len(windows)))


def test_calm_is_one_window_in_ten_with_movement() -> None:
    # Of the first 20 epochs, the 5th, 10th, 15th and 20th have seen a tenth, and all later ones.
    assert column(of_motion((60, 10)), "calm_2h")[-1] == pytest.approx(44 / 120)
    assert column(of_motion((60, 8)), "calm_2h")[-1] == 0


def test_two_and_eight_hours_of_calm() -> None:
    rows = of_motion((1300, 0))
    n = np.arange(1, 1301)
    assert column(rows, "calm_2h") == pytest.approx(np.minimum(n, 240) / 120)
    assert column(rows, "calm_8h") == pytest.approx(np.minimum(n, 960) / 120)
    assert column(rows, "since_up") == pytest.approx(np.minimum(n, 900) / 120)


def test_twenty_epochs_without_calm_are_somebody_up() -> None:
    up = column(of_motion((19, 1), (1, 1), (40, 0), (1000, 0)), "since_up")
    assert up[:20] == pytest.approx([*(np.arange(1, 20) / 120), 0])
    last = 19 + 17  # the last epoch of which more than four of the last forty windows move
    assert up[last - 1 : last + 3] == pytest.approx([0, 0, 1 / 120, 2 / 120])
    assert up[-1] == pytest.approx(900 / 120)
    short = column(of_motion((30, 0), (1, 1), (60, 0)), "since_up")
    assert short == pytest.approx(np.arange(1, 92) / 120)


def test_calm_is_unknown_after_ten_minutes_without_motion() -> None:
    windows = [(t, STILL) for t in range(15, 301, 15)]
    rows = extract_features(recording(motion=windows, end=1800))
    for name in ("calm_2h", "calm_8h", "since_up"):
        assert np.flatnonzero(~np.isnan(column(rows, name))).tolist() == list(range(29))


def test_stillness_counts_from_the_start_where_nothing_ever_moved() -> None:
    rows = extract_features(
        recording(motion=[(1000 + t, STILL) for t in (60, 120)], start=1000, end=1120)
    )
    assert column(rows, "still") == pytest.approx(
        [NAN, math.log1p(1), math.log1p(1.5), math.log1p(2)], rel=1e-5, nan_ok=True
    )


def test_the_last_movement_is_remembered_beyond_half_an_hour() -> None:
    moved = [3.07, 0, 0, 1.0]
    windows = [(t, moved if t == 30 else STILL) for t in range(15, 3601, 15)]
    rows = extract_features(recording(motion=windows, end=3600))
    assert column(rows, "still")[-1] == pytest.approx(math.log1p(59.5), rel=1e-5)
    assert column(rows, "counts_max_20m")[[40, 41]] == pytest.approx([0, 0])
    assert column(rows, "counts_max_20m")[39] == pytest.approx(math.log1p(3.07), rel=1e-5)


def test_movement_before_the_recording_is_remembered_however_it_comes() -> None:
    moved = [3.07, 0, 0, 1.0]
    night = recording(
        motion=[(-7200, moved), (-7000, STILL), *((t, STILL) for t in range(15, 121, 15))], end=120
    )
    expected = np.log1p(120 + np.arange(1, 5) / 2)
    assert column(at_once(night)[0], "still") == pytest.approx(expected)
    assert column(in_pieces(night, [-7100, -100])[0], "still") == pytest.approx(expected)


def test_peaks_are_longer_than_one_g_in_motion() -> None:
    rows = extract_features(recording(motion=[(15, [0, 1.2, 0, 0.5]), (30, [0, 0, 0, 1])], end=30))
    assert column(rows, "peak_length") == pytest.approx(1.15)


def test_steps_of_just_a_day_count() -> None:
    day = 86_400
    rows = extract_features(
        recording(
            heart_rate=[(0, 60)], steps=[(30 - day - 1, 50), (30 - day, 7), (30, 900)], end=60
        )
    )
    assert column(rows, "since_walk") == pytest.approx([math.log(1441), math.log(1.5)], rel=1e-5)


def test_a_day_without_a_step_is_a_day_since_the_last() -> None:
    rows = extract_features(recording(heart_rate=[(0, 60)], steps=[(-600, 0)], end=30))
    assert column(rows, "since_walk") == pytest.approx(math.log(1441), rel=1e-5)


def test_a_day_without_a_sample_of_steps_says_nothing() -> None:
    night = recording(heart_rate=[(0, 60)], steps=[(30 - 86_400, 7)], end=60)
    assert column(extract_features(night), "since_walk") == pytest.approx(
        [math.log(1441), NAN], rel=1e-5, nan_ok=True
    )


# Half-open conventions


def test_a_heart_rate_at_an_epochs_end_belongs_to_the_next() -> None:
    rows = extract_features(recording(heart_rate=[(0, 60), (30, 90)], end=60))
    assert column(rows, "hr_30s").tolist() == [60, 90]
    assert column(rows, "hr_samples_1m").tolist() == [1, 2]


def test_a_window_that_ends_with_the_epoch_belongs_to_it() -> None:
    rows = extract_features(recording(motion=[(30, [3, 0, 0, 1])], start=0, end=60))
    assert column(rows, "counts_30s") == pytest.approx([math.log(4), NAN], nan_ok=True)


def test_a_window_that_ended_with_the_night_before_is_not_of_the_first_epoch() -> None:
    rows = extract_features(recording(motion=[(0, [3, 0, 0, 1]), (30, STILL)], start=0, end=30))
    assert column(rows, "counts_30s").tolist() == [0]
    assert column(rows, "motion_windows_5m").tolist() == [2]


def test_steps_at_an_epochs_end_belong_to_the_next() -> None:
    night = recording(heart_rate=[(0, 60)], steps=[(-1, 0), (30, 9)], end=60)
    found = column(extract_features(night), "since_walk")
    assert found == pytest.approx([math.log(1441), math.log(1.5)])


# By definition, told once more and plainly


class Days(NamedTuple):
    """What lasts longer than a recording may."""

    start: float
    end: float
    heart_rate: Samples
    motion: Samples
    steps: Samples

    @property
    def n_epochs(self) -> int:
        return int((self.end - self.start) // 30)


def levels_of(night: Recording | Days) -> dict[int, float]:
    """Mean heart rate of each epoch that has any."""
    found: dict[int, list[float]] = defaultdict(list)
    for time, value in zip(night.heart_rate.times, night.heart_rate.values, strict=True):
        found[math.floor((time - night.start) / 30)].append(float(value))
    return {epoch: math.fsum(values) / len(values) for epoch, values in found.items()}


def calm_of(night: Recording | Days) -> list[bool | None]:
    """Of each epoch: were at most a tenth of the windows of ten minutes with movement?"""
    found: dict[int, list[bool]] = defaultdict(list)
    for time, values in zip(night.motion.times, night.motion.values, strict=True):
        found[math.ceil((time - night.start) / 30) - 1].append(bool(values[0] > 0))
    calm: list[bool | None] = []
    for epoch in range(night.n_epochs):
        moves = [move for at in range(epoch - 19, epoch + 1) for move in found[at]]
        calm.append(10 * sum(moves) <= len(moves) if moves else None)
    return calm


def since_up(calm: list[bool | None]) -> float:
    """Epochs since the last of 20 that were not calm, at most 900, and at most all there are."""
    for back in range(min(len(calm), 900)):
        last = calm[max(len(calm) - back - 20, 0) : len(calm) - back]
        if len(last) == 20 and all(one is False for one in last):
            return back
    return min(len(calm), 900)


def by_definition(
    night: Recording | Days,
    epoch: int,
    level_of_epoch: dict[int, float],
    calm_of_epoch: list[bool | None],
) -> dict[str, float]:
    now = night.start + 30 * (epoch + 1)
    beats = list(zip(night.heart_rate.times, night.heart_rate.values, strict=True))
    windows = list(zip(night.motion.times, night.motion.values, strict=True))

    def bpm(minutes: float) -> list[float]:
        return [float(v) for t, v in beats if now - 60 * minutes <= t < now]

    def mean(values: list[float]) -> float:
        return math.fsum(values) / len(values) if values else NAN

    def spread(values: list[float]) -> float:
        return statistics.pstdev(values) if len(values) > 2 else NAN

    def recent(minutes: float) -> list[Any]:
        return [v for t, v in windows if now - 60 * minutes < t <= now]

    def turning(minutes: float) -> float:
        inside = [i for i, (t, _) in enumerate(windows) if now - 60 * minutes < t <= now]
        before = [i for i in inside if i > 0 and windows[i - 1][0] > now - 1800]
        turns = [float(np.abs(windows[i][1][1:] - windows[i - 1][1][1:]).sum()) for i in before]
        return math.log(mean(turns) + 0.001) if inside else NAN

    def drift(minutes: float) -> float:
        known = [t for t, _ in windows if t <= now]
        newest = known[-1] if known else NAN
        peaks = [v[1:] for t, v in windows if newest - 60 * minutes < t <= newest]
        if not known or now - newest > 300 or len(peaks) < 0.8 * 4 * minutes:
            return NAN
        return float(np.ptp(peaks, axis=0).sum())

    lately = range(max(epoch - 1199, 0), epoch + 1)
    levels = sorted(level_of_epoch[at] for at in lately if at in level_of_epoch)
    floor = levels[(len(levels) - 1) // 20] if levels else NAN
    rest = [level for level in levels if level - floor <= 8]
    resting = statistics.median(rest) if rest else NAN
    calm = calm_of_epoch[: epoch + 1]
    known = calm[-1] is not None
    heard = [t for t, _ in beats if now - 1800 <= t < now]
    moves = [t for t, v in windows if t <= now and v[0] > 0]
    last_move = moves[-1] if moves else night.start
    steps = [
        (t, v)
        for t, v in zip(night.steps.times, night.steps.values, strict=True)
        if now - 86_400 <= t < now
    ]
    walks = [t for t, v in steps if v > 0]
    ends = [now - 10 * step for step in range(29, -1, -1)]
    held = [
        next((float(v) for t, v in reversed(beats) if end - 20 <= t < end), NAN) for end in ends
    ]
    heights = [value for value in held if not math.isnan(value)]
    return {
        **{f"hr_trace_{step:02d}": value - mean(heights) for step, value in enumerate(held)},
        "hr_30s": mean(bpm(0.5)),
        "hr_sd_2m": spread(bpm(2)),
        "hr_sd_10m": spread(bpm(10)),
        "hr_step_sd_5m": spread(np.diff(bpm(5)).tolist()),
        "hr_1m_vs_10m": mean(bpm(1)) - mean(bpm(10)),
        "hr_5m_vs_30m": mean(bpm(5)) - mean(bpm(30)),
        "hr_1m_vs_rest": mean(bpm(1)) - resting,
        "hr_10m_vs_rest": mean(bpm(10)) - resting,
        "hr_floor_10h": floor,
        "hr_rest_10h": len(rest) / 120 if rest else NAN,
        "hr_samples_1m": len(bpm(1)),
        "hr_age": math.log(1 + now - heard[-1]) if heard else NAN,
        "hr_overdue": now - heard[-1] - mean(np.diff(heard[:]).tolist() or [0.0]) if heard else NAN,
        "counts_30s": mean([math.log(1 + v[0]) for v in recent(0.5)]),
        "counts_5m": mean([math.log(1 + v[0]) for v in recent(5)]),
        "counts_max_20m": max([math.log(1 + v[0]) for v in recent(20)], default=NAN),
        "still": math.log(1 + (now - last_move) / 60) if recent(30) else NAN,
        "posture_30s": turning(0.5),
        "posture_5m": turning(5),
        "peak_length": mean([math.hypot(*v[1:]) for v in recent(0.5)]),
        "motion_windows_5m": len(recent(5)),
        "drift_5m": drift(5),
        "drift_15m": drift(15),
        "calm_2h": calm[-240:].count(True) / 120 if known else NAN,
        "calm_8h": calm[-960:].count(True) / 120 if known else NAN,
        "since_up": since_up(calm) / 120 if known else NAN,
        "since_walk": NAN
        if not steps
        else math.log(1 + ((now - walks[-1]) if walks else 86_400) / 60),
    }


@pytest.fixture(scope="module")
def gappy() -> Recording:
    """70 minutes with long and short gaps in all signals, and samples just on the borders."""
    rng = np.random.default_rng(5)
    beats = np.round(np.sort(rng.uniform(-1200, 4200, 800)))  # whole seconds: many on borders
    windows = np.arange(-600, 4201, 15)
    night = Recording.from_arrays(
        heart_rate=(beats, np.round(rng.normal(60, 5, 800))),
        motion=(
            windows,
            np.column_stack(
                [
                    3.07 * rng.poisson(0.3, len(windows)),
                    rng.normal([0.1, 0.2, 0.9], 0.05, (len(windows), 3)),
                ]
            ),
        ),
        steps=(np.arange(-90_000, 4200, 600), rng.poisson(0.3, 157)),
        start=0,
        end=4200,
    )

    def without(samples: Samples, *gaps: tuple[float, float]) -> Samples:
        inside = [(samples.times >= start) & (samples.times < end) for start, end in gaps]
        return samples.keep(~np.any(inside, axis=0))

    return replace(
        night,
        heart_rate=without(night.heart_rate, (-30, 200), (600, 2600), (3000, 3100)),
        motion=without(night.motion, (100, 500), (1000, 3000), (3300, 3340)),
    )


def all_by_definition(night: Recording | Days, epochs: range) -> list[dict[str, float]]:
    levels, calm = levels_of(night), calm_of(night)
    return [by_definition(night, epoch, levels, calm) for epoch in epochs]


@pytest.fixture(scope="module")
def defined(gappy: Recording) -> list[dict[str, float]]:
    return all_by_definition(gappy, range(0, gappy.n_epochs, 3))


@pytest.mark.parametrize("name", BY_HAND)
def test_features_are_what_they_are_defined_to_be(
    gappy: Recording, defined: list[dict[str, float]], name: str
) -> None:
    expected = [row[name] for row in defined]
    found = column(extract_features(gappy), name)[::3]
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4, nan_ok=True)
    assert np.isfinite(found).any()


@pytest.fixture(scope="module")
def days() -> Days:
    """40 hours and a day before: up, quiet and asleep in turns, with hours without a signal."""
    rng = np.random.default_rng(8)
    start, end = -7200.0, 40 * 3600.0 - 7200

    def kept(times: NDArray[np.float64], *gaps: tuple[float, float]) -> NDArray[np.float64]:
        inside = [(times >= 3600 * first) & (times < 3600 * last) for first, last in gaps]
        return np.asarray(times[~np.any(inside, axis=0)])

    beats = kept(np.arange(start - 1500, end, 20.0), (5, 5.6), (20, 31), (33, 33.1))
    windows = kept(np.arange(start - 1500, end + 1, 15.0), (4, 5), (13, 13.2), (30, 31))
    bins = kept(np.arange(start - 80_000, end, 600.0), (2, 28))
    phase = np.array([0.5, 0.02, 0.02, 0.09, 0.0])  # share of windows with movement
    moving = phase[(windows // 8000).astype(int) % len(phase)]
    active = phase[(beats // 8000).astype(int) % len(phase)]
    moved = np.where(rng.random(len(windows)) < moving, 3.07, 0.0)
    peaks = rng.normal([0.1, 0.2, 0.9], 0.05, (len(windows), 3))
    return Days(
        start,
        end,
        Samples(beats, np.round(rng.normal(55 + 40 * active, 4))),
        Samples(windows, np.column_stack([moved, peaks])),
        Samples(bins, rng.poisson(0.2, len(bins)).astype(np.float64)),
    )


@pytest.fixture(scope="module")
def whole_days(days: Days) -> tuple[Rows, FeatureState]:
    return at_once(days)


def test_features_of_days_are_what_they_are_defined_to_be(
    days: Days, whole_days: tuple[Rows, FeatureState]
) -> None:
    epochs = range(17, days.n_epochs, 139)
    expected = all_by_definition(days, epochs)
    for name in FEATURE_NAMES:
        found = column(whole_days[0], name)[epochs.start :: epochs.step]
        told = [row[name] for row in expected]
        assert found == pytest.approx(told, rel=1e-4, abs=1e-4, nan_ok=True), name
        assert np.isfinite(found).any(), name
    floor, up, calm = (
        column(whole_days[0], name) for name in ("hr_floor_10h", "since_up", "calm_8h")
    )
    # Hours without heart rate, without motion, and times of both kinds are among them.
    assert 0 < np.isnan(floor).sum() < days.n_epochs / 2
    assert 0 < np.isnan(calm).sum() < days.n_epochs / 2
    assert {0, 900 / 120} < set(up[~np.isnan(up)].tolist())


# The table


def test_names_are_unique_and_every_feature_says_what_it_is() -> None:
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES) == len(FEATURES)
    assert {feature.signal for feature in FEATURES} == {*SIGNALS}
    assert all(feature.unit and feature.reason for feature in FEATURES)


@pytest.mark.parametrize(("end", "n"), [(30, 1), (59.9, 1), (60, 2), (3600, 120)])
def test_there_is_a_row_for_every_whole_epoch(end: float, n: int) -> None:
    rows = extract_features(recording(heart_rate=[(0, 60)], end=end))
    assert rows.shape == (n, len(FEATURES))
    assert rows.dtype == np.float32


def test_no_epoch_has_no_row() -> None:
    rows, state = push(FeatureState(0.0), until=29.9)
    assert rows.shape == (0, len(FEATURES))
    assert state.n_epochs == 0


# Missing signals


@pytest.mark.parametrize(
    "present", [one for n in range(4) for one in itertools.combinations(SIGNALS, n)], ids="-".join
)
def test_a_missing_signal_blanks_its_own_columns_only(present: tuple[str, ...]) -> None:
    whole = simulate_night(4, hours=2.0)
    missing: Any = {
        name: Samples.empty(4 if name == "motion" else 1) for name in SIGNALS if name not in present
    }
    full, rows = extract_features(whole), extract_features(replace(whole, **missing))
    for i, feature in enumerate(FEATURES):
        if feature.signal not in missing:
            assert same(rows[:, i], full[:, i])
        elif feature.name in COUNTS:
            assert (rows[:, i] == 0).all()
        else:
            assert np.isnan(rows[:, i]).all()
    scored = unscored_reasons(rows) == 0
    assert scored.any() == bool({*present} & {"heart_rate", "motion"})


def test_a_full_night_knows_every_feature_in_the_end() -> None:
    assert np.isfinite(extract_features(simulate_night(4, hours=2.0))[-1]).all()


def test_an_epoch_is_scored_for_5_minutes_of_heart_rate_or_motion() -> None:
    rows = extract_features(recording(heart_rate=[(60, 60)], start=0, end=7200))
    assert np.flatnonzero(unscored_reasons(rows) == 0).tolist() == list(range(2, 12))
    rows = extract_features(recording(motion=[(60, STILL)], start=0, end=7200))
    assert np.flatnonzero(unscored_reasons(rows) == 0).tolist() == list(range(1, 11))


def test_a_heart_rate_is_overdue_by_its_age_less_the_usual_gap() -> None:
    night = recording(heart_rate=[(10, 60), (30, 60), (70, 60)], start=0, end=2100)
    overdue = extract_features(night)[:, FEATURE_NAMES.index("hr_overdue")]
    # 20 s old; then 30 s, less 20 s; then 20 s, less 30 s; after 30 minutes none is known.
    np.testing.assert_array_equal(overdue[:3], [20 - 0, 60 - 30 - 20, 90 - 70 - 30])
    assert overdue[29] == 900 - 70 - 30
    assert np.isnan(overdue[-1])


def test_drift_is_the_range_of_the_peaks_where_most_of_the_time_is_known() -> None:
    ends = np.arange(15, 901, 15)
    x = np.where(ends == 300, 0.25, 0.0)
    night = recording(
        motion=[(t, [0, one, 0.5, 1]) for t, one in zip(ends, x, strict=True)], end=900
    )
    rows = extract_features(night)
    five, fifteen = (rows[:, FEATURE_NAMES.index(name)] for name in ("drift_5m", "drift_15m"))
    assert np.isnan(five[:7]).all()
    assert np.isnan(fifteen[:23]).all()
    assert (five[7:9] == 0).all()
    assert (five[9:19] == 0.25).all()
    assert (five[19:] == 0).all()
    assert (fifteen[23:] == 0.25).all()


# Live as in one go

REAL = ("7749105", "1066528", "5383425")


def piece(night: Recording | Days, start: float, end: float) -> dict[str, Any]:
    """What comes in between two times; a window is known at its end and told then."""
    after, through = math.nextafter(start, math.inf), math.nextafter(end, math.inf)
    return {
        "heart_rate": night.heart_rate.between(start, end),
        "motion": night.motion.between(after, through),
        "steps": night.steps.between(start, end),
    }


def in_pieces(night: Recording | Days, cuts: list[float]) -> tuple[Rows, FeatureState]:
    state, parts = FeatureState(night.start), []
    for start, end in itertools.pairwise([-math.inf, *sorted(cuts), night.end]):
        rows, state = push(state, until=end, **piece(night, start, end))
        parts.append(rows)
    return np.concatenate(parts), state


def at_once(night: Recording | Days) -> tuple[Rows, FeatureState]:
    return push(FeatureState(night.start), until=night.end, **piece(night, -math.inf, night.end))


def cut(night: Recording, now: float) -> Recording:
    return replace(night, end=now, **piece(night, -math.inf, now))


@pytest.fixture(scope="module")
def nights(simulated_data: Path) -> list[Recording]:
    simulated = [read_subject(simulated_data, name) for name in find_subjects(simulated_data)[:2]]
    return [*simulated, simulate_night(11, hours=1.0, raw_motion=True)]


@pytest.fixture(scope="module", params=REAL)
def real_night(request: pytest.FixtureRequest, real_data: Path) -> Recording:
    return read_subject(real_data, request.param)


def assert_live(night: Recording, seed: int) -> None:
    """Neither cutting off the future nor cutting the stream changes a bit."""
    rng = np.random.default_rng(seed)
    whole, state = at_once(night)
    assert same(whole, extract_features(night))
    for n in {1, 2, night.n_epochs - 1, *rng.integers(1, night.n_epochs, 4).tolist()}:
        known = extract_features(cut(night, night.start + 30 * n))
        assert same(known, whole[:n])
    anywhere = rng.uniform(night.start - 60, night.end, 200)
    on_borders = night.start + 15 * rng.integers(0, 2 * night.n_epochs, 50)
    for cuts in ([], anywhere.tolist(), [*on_borders.tolist(), *anywhere[:20].tolist()]):
        rows, last_state = in_pieces(night, cuts)
        assert same(rows, whole)
        assert same_state(last_state, state)


def test_simulated_nights_are_the_same_live_and_in_one_go(nights: list[Recording]) -> None:
    for seed, night in enumerate(nights):
        assert_live(night, seed)


def test_real_nights_are_the_same_live_and_in_one_go(real_night: Recording) -> None:
    assert_live(real_night, 0)


@pytest.fixture(scope="module")
def otherwise(gappy: Recording) -> dict[str, Rows]:
    """Rows of one night: pushed in pieces, and as far as they were known at some ends of epochs."""
    rng = np.random.default_rng(3)
    cuts = rng.uniform(gappy.start - 60, gappy.end, 100).tolist()
    ends = [gappy.start + 30 * n for n in range(gappy.n_epochs)]
    pieces = {"at any time": in_pieces(gappy, cuts)[0], "epoch by epoch": in_pieces(gappy, ends)[0]}
    known = {f"until {end:g} s": extract_features(cut(gappy, end)) for end in ends[1::17]}
    return pieces | known


@pytest.mark.parametrize("name", FEATURE_NAMES)
def test_each_feature_looks_back_only_and_on_what_is_remembered(
    gappy: Recording, otherwise: dict[str, Rows], name: str
) -> None:
    whole = column(extract_features(gappy), name)
    assert np.isfinite(whole).any()
    for how, rows in otherwise.items():
        assert same(column(rows, name), whole[: len(rows)]), how


def test_a_night_with_gaps_is_the_same_live_and_in_one_go(gappy: Recording) -> None:
    assert_live(gappy, 0)
    epochs = [gappy.start + 30 * n for n in range(gappy.n_epochs)]
    rows, state = in_pieces(gappy, epochs)
    whole, last_state = at_once(gappy)
    assert same(rows, whole)
    assert same_state(state, last_state)


@given(cuts=st.lists(st.floats(-7200, 4200) | st.integers(0, 280).map(lambda n: 15.0 * n)))
def test_any_cut_of_the_stream_gives_the_same_bits(gappy: Recording, cuts: list[float]) -> None:
    rows, state = in_pieces(gappy, cuts)
    whole, last_state = at_once(gappy)
    assert same(rows, whole)
    assert same_state(state, last_state)


@given(epoch=st.integers(0, 139), seed=st.integers(0, 2**32 - 1))
def test_another_future_changes_no_earlier_row(gappy: Recording, epoch: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    now = gappy.start + 30 * (epoch + 1)

    def otherwise(samples: Samples, now: float, draw: Callable[..., Any]) -> Samples:
        known = samples.between(-math.inf, now)
        times = np.sort(rng.uniform(now, now + 600, rng.integers(0, 50)))
        return known.followed_by(Samples(times, draw((len(times), *samples.values.shape[1:]))))

    other = replace(
        gappy,
        heart_rate=otherwise(gappy.heart_rate, now, lambda n: rng.uniform(25, 240, n)),
        motion=otherwise(
            gappy.motion, math.nextafter(now, math.inf), lambda n: rng.exponential(50, n)
        ),
        steps=otherwise(gappy.steps, now, lambda n: np.floor(rng.exponential(100, n))),
    )
    assert same(extract_features(other)[: epoch + 1], extract_features(gappy)[: epoch + 1])


def test_steps_are_forgotten_alike_however_they_come() -> None:
    steps = Samples.clean([-90_000, -86_000], [1, 2], name="steps")
    _, state = push(FeatureState(0.0), until=1200, steps=steps)
    _, first = push(FeatureState(0.0), until=30, steps=steps)
    _, second = push(first, until=390)
    _, last = push(second, until=1200)
    assert same_state(last, state)


def test_memory_stays_small_through_the_night() -> None:
    night = simulate_night(4, hours=8.0)
    _, state = at_once(night)
    assert state.heart_rate.times[0] >= night.end - 1800
    assert state.motion.times[0] >= night.end - 1800
    assert len(state.steps) == 0


def n_bytes(state: FeatureState) -> int:
    """Bytes of all that grows."""
    values = [getattr(state, name) for name in STATE_FIELDS]
    arrays = [
        part for one in values if isinstance(one, Samples) for part in (one.times, one.values)
    ]
    arrays += [one for one in values if isinstance(one, np.ndarray)]
    assert len(arrays) == 8
    return sum(array.nbytes for array in arrays)


@settings(max_examples=8)
@given(
    cuts=st.lists(
        st.floats(-10_000, 136_800)
        | st.integers(-480, 4560).map(lambda n: 30.0 * n)
        | st.sampled_from([1200, 1201, 960, 959, 900, 256]).map(lambda n: 30.0 * n - 7200),
        max_size=40,
    )
)
def test_days_in_pieces_give_the_same_bits(
    days: Days, whole_days: tuple[Rows, FeatureState], cuts: list[float]
) -> None:
    rows, state = in_pieces(days, cuts)
    assert same(rows, whole_days[0])
    assert same_state(state, whole_days[1])


def test_epoch_by_epoch_where_the_memory_is_full_days_give_the_same_bits(
    days: Days, whole_days: tuple[Rows, FeatureState]
) -> None:
    ends = [0, 1, *range(890, 970), *range(1190, 1260), *range(2090, 2110)]
    rows, state = in_pieces(days, [days.start + 30 * n for n in ends])
    assert same(rows, whole_days[0])
    assert same_state(state, whole_days[1])


def test_the_state_is_as_small_after_days_as_after_a_night() -> None:
    def seconds(start: float, end: float, *shape: int, step: float = 1.0) -> Samples:
        times = np.arange(start, end, step)
        return Samples(times, np.ones((len(times), *shape)))

    state, sizes = FeatureState(0.0), []
    _, state = push(state, until=-10, steps=seconds(-86_400, -10))
    assert n_bytes(state) == 0
    for hour in range(0, 40, 2):
        start, end = 3600.0 * hour, 3600.0 * (hour + 2)
        _, state = push(
            state,
            until=end,
            heart_rate=seconds(start, end),
            motion=seconds(start + 15, end + 1, 4, step=15),
            steps=seconds(start, end),
        )
        sizes.append(n_bytes(state))
    assert len({*sizes[5:]}) == 1
    assert max(sizes) < 64 * 1024
    assert len(state.levels) == 1200
    assert len(state.calm) == 960


BASELINE = ("hr_floor_10h", "hr_rest_10h", "hr_1m_vs_rest", "hr_10m_vs_rest")
FROM_START = {
    **dict.fromkeys(BASELINE, 1200),
    "calm_2h": 240,
    "calm_8h": 960,
    "since_up": 900 + 20,
}
"""Epochs after the start from which a feature does not depend on it any more; others never do."""


@pytest.mark.parametrize("name", FEATURE_NAMES)
def test_features_do_not_depend_on_when_the_recording_began(
    days: Days, whole_days: tuple[Rows, FeatureState], name: str
) -> None:
    n_later = 240
    later, _ = at_once(days._replace(start=days.start + 30 * n_later))
    one, other = column(whole_days[0], name)[n_later:], column(later, name)
    first = FROM_START.get(name, 0)
    assert same(one[first:], other[first:])
    assert np.isfinite(one[first:]).any()
    if first:
        assert not same(one[:first], other[:first])


# What comes too late


def one(time: float, *, columns: int = 1) -> Samples:
    return Samples(np.array([time]), np.ones((1, columns)) if columns > 1 else np.array([60.0]))


@pytest.fixture
def closed() -> FeatureState:
    """Two epochs are closed, till 1060 s."""
    _, state = push(FeatureState(1000.0), until=1070.0, heart_rate=one(1065.0))
    assert state.time == 1060.0
    return state


@pytest.mark.parametrize(
    ("signal", "name", "time"),
    [
        ("heart_rate", "heart rate", 1059.9),
        ("heart_rate", "heart rate", 1064.9),  # older than one that was given
        ("heart_rate", "heart rate", -500.0),
        ("motion", "motion", 1060.0),
        ("motion", "motion", 15.0),
        ("steps", "steps", 1059.9),
    ],
)
def test_late_samples_are_refused(
    closed: FeatureState, signal: str, name: str, time: float
) -> None:
    late: Any = {signal: one(time, columns=4 if signal == "motion" else 1)}
    with pytest.raises(DataError, match=f"^{name} at {time:.3f} s comes after"):
        push(closed, until=1090, **late)


def test_samples_on_the_border_are_in_time(closed: FeatureState) -> None:
    rows, _ = push(
        closed,
        until=1090,
        heart_rate=one(1065.0),
        motion=one(math.nextafter(1060, 1061), columns=4),
        steps=one(1060.0),
    )
    assert column(rows, "hr_samples_1m").tolist() == [2]
    assert column(rows, "motion_windows_5m").tolist() == [1]
    assert column(rows, "since_walk") == pytest.approx(math.log(1.5))


def test_the_day_before_may_come_with_several_pushes_before_the_first_epoch_ends() -> None:
    state = FeatureState(0.0)
    _, state = push(state, until=-100, steps=one(-5000))
    _, state = push(state, until=10, steps=one(-600))
    rows, _ = push(state, until=30)
    assert column(rows, "since_walk") == pytest.approx(math.log(11.5))


def test_the_day_before_has_to_come_in_order() -> None:
    _, state = push(FeatureState(0.0), until=-100, steps=one(-600))
    with pytest.raises(DataError, match=r"steps at -5000\.000 s comes after"):
        push(state, until=10, steps=one(-5000))


def test_a_refused_push_leaves_the_state_as_it_was(closed: FeatureState) -> None:
    with pytest.raises(DataError, match="steps"):
        push(closed, until=1090, heart_rate=one(1070.0), steps=one(0.0))
    rows, _ = push(closed, until=1090)
    assert column(rows, "hr_samples_1m").tolist() == [1]


@given(start=st.floats(0, 2e9), n_epochs=st.integers(1, 300))
def test_every_epoch_has_a_row_whatever_the_start(start: float, n_epochs: int) -> None:
    beats = (start + np.arange(0, 30 * n_epochs, 5.0), np.full(6 * n_epochs, 60.0))
    recording = Recording.from_arrays(heart_rate=beats, start=start, stages=np.zeros(n_epochs))
    assert len(extract_features(recording)) == n_epochs
