"""Features: by hand, by definition, and live as in one go."""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
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
    "hr_trend_10m": [NAN, NAN, NAN],
    "hr_1m_vs_10m": [0, 0, 3.6],
    "hr_5m_vs_30m": [0, 0, 0],
    "hr_1m_vs_night": [0, -2, 2],
    "hr_10m_vs_night": [0, -2, -1.6],
    "hr_night_p5": [62, 62.4, 62.4],
    "hr_samples_1m": [3, 4, 2],
    "hr_age": [math.log(11), math.log(31), math.log(31)],
    "counts_30s": [0, 0.5, 2],
    "counts_5m": [0, 0.25, 0.6],
    "counts_max_20m": [0, 1, 2],
    "still": [math.log(1.5), math.log(1.25), math.log(1.25)],
    "posture_30s": [math.log(0.001), math.log(0.401), math.log(0.801)],
    "posture_5m": [math.log(0.001), math.log(0.8 / 3 + 0.001), math.log(0.401)],
    "peak_length": [1, 1, 1],
    "motion_windows_5m": [2, 4, 5],
    "elapsed": [30 / 3600, 60 / 3600, 90 / 3600],
    "steps_24h": [math.log(101), math.log(105), math.log(105)],
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
    assert shipped < set(BY_HAND) <= set(FEATURE_NAMES)
    assert len(BY_HAND) == 53


@pytest.mark.parametrize("name", BY_HAND)
def test_features_of_a_tiny_night(name: str) -> None:
    found = column(extract_features(HAND), name)
    assert found == pytest.approx(BY_HAND[name], rel=1e-5, abs=1e-5, nan_ok=True)


def test_the_trend_is_a_slope_per_minute() -> None:
    rising = [(t, 60 + 0.5 * t / 60) for t in range(0, 300, 10)]
    rows = extract_features(recording(heart_rate=rising, end=300))
    found = column(rows, "hr_trend_10m")
    assert np.isnan(found[:4]).all()  # the first that spans two minutes ends at 150 s
    assert found[4:] == pytest.approx(0.5, rel=1e-4)


def test_a_trend_needs_six_heart_rates() -> None:
    beats = [(t, 60 + t / 60) for t in range(0, 150, 30)]
    rows = extract_features(recording(heart_rate=beats, end=180))
    assert np.isnan(column(rows, "hr_trend_10m")).all()
    beats.append((151, 60 + 151 / 60))
    rows = extract_features(recording(heart_rate=beats, end=180))
    assert column(rows, "hr_trend_10m")[-1] == pytest.approx(1, rel=1e-4)


def test_five_minutes_are_held_against_thirty() -> None:
    beats = [(t, 66 if t >= 1500 else 60) for t in range(0, 1800, 10)]
    rows = extract_features(recording(heart_rate=beats, end=1800))
    assert column(rows, "hr_5m_vs_30m")[-1] == pytest.approx(5, rel=1e-5)


def test_heart_rate_before_the_night_is_looked_back_on_but_is_not_of_this_night() -> None:
    rows = extract_features(recording(heart_rate=[(-100, 90), (-50, 90), (0, 60)], end=30))
    assert column(rows, "hr_sd_10m") == pytest.approx(math.sqrt(200))
    assert column(rows, "hr_night_p5") == pytest.approx(60)


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
    assert column(rows, "steps_24h") == pytest.approx([math.log(8), math.log(901)], rel=1e-5)
    assert column(rows, "since_walk") == pytest.approx([math.log(1441), math.log(1.5)], rel=1e-5)


def test_a_day_without_a_step_is_a_day_since_the_last() -> None:
    rows = extract_features(recording(heart_rate=[(0, 60)], steps=[(-600, 0)], end=30))
    assert column(rows, "steps_24h")[0] == 0
    assert column(rows, "since_walk") == pytest.approx(math.log(1441), rel=1e-5)


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
    assert column(extract_features(night), "steps_24h") == pytest.approx([0, math.log(10)])


# By definition, told once more and plainly


def by_definition(night: Recording, epoch: int) -> dict[str, float]:
    now = night.start + 30 * (epoch + 1)
    beats = list(zip(night.heart_rate.times, night.heart_rate.values, strict=True))
    windows = list(zip(night.motion.times, night.motion.values, strict=True))

    def bpm(minutes: float, until: float = now) -> list[float]:
        return [float(v) for t, v in beats if until - 60 * minutes <= t < until]

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

    levels = [bpm(0.5, night.start + 30 * (i + 1)) for i in range(epoch + 1)]
    levels_of_night = [mean(level) for level in levels if level]
    median = statistics.median(levels_of_night) if levels_of_night else NAN
    p5 = float(np.quantile(levels_of_night, 0.05)) if levels_of_night else NAN
    ten = [(t, v) for t, v in beats if now - 600 <= t < now]
    trend = NAN
    if len(ten) >= 6 and ten[-1][0] - ten[0][0] >= 120:
        trend = 60 * float(np.polyfit([t - now for t, _ in ten], [v for _, v in ten], 1)[0])
    heard = [t for t, _ in beats if now - 1800 <= t < now]
    moves = [t for t, v in windows if night.start < t <= now and v[0] > 0]
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
    known = [value for value in held if not math.isnan(value)]
    return {
        **{f"hr_trace_{step:02d}": value - mean(known) for step, value in enumerate(held)},
        "hr_30s": mean(bpm(0.5)),
        "hr_sd_2m": spread(bpm(2)),
        "hr_sd_10m": spread(bpm(10)),
        "hr_step_sd_5m": spread(np.diff(bpm(5)).tolist()),
        "hr_trend_10m": trend,
        "hr_1m_vs_10m": mean(bpm(1)) - mean(bpm(10)),
        "hr_5m_vs_30m": mean(bpm(5)) - mean(bpm(30)),
        "hr_1m_vs_night": mean(bpm(1)) - median,
        "hr_10m_vs_night": mean(bpm(10)) - median,
        "hr_night_p5": p5,
        "hr_samples_1m": len(bpm(1)),
        "hr_age": math.log(1 + now - heard[-1]) if heard else NAN,
        "counts_30s": mean([math.log(1 + v[0]) for v in recent(0.5)]),
        "counts_5m": mean([math.log(1 + v[0]) for v in recent(5)]),
        "counts_max_20m": max([math.log(1 + v[0]) for v in recent(20)], default=NAN),
        "still": math.log(1 + (now - last_move) / 60) if recent(30) else NAN,
        "posture_30s": turning(0.5),
        "posture_5m": turning(5),
        "peak_length": mean([math.hypot(*v[1:]) for v in recent(0.5)]),
        "motion_windows_5m": len(recent(5)),
        "elapsed": (now - night.start) / 3600,
        "steps_24h": math.log(1 + sum(v for _, v in steps)) if steps else NAN,
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


@pytest.fixture(scope="module")
def defined(gappy: Recording) -> list[dict[str, float]]:
    return [by_definition(gappy, epoch) for epoch in range(0, gappy.n_epochs, 3)]


@pytest.mark.parametrize("name", BY_HAND)
def test_features_are_what_they_are_defined_to_be(
    gappy: Recording, defined: list[dict[str, float]], name: str
) -> None:
    expected = [row[name] for row in defined]
    found = column(extract_features(gappy), name)[::3]
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4, nan_ok=True)
    assert np.isfinite(found).any()


# The table


def test_names_are_unique_and_every_feature_says_what_it_is() -> None:
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES) == len(FEATURES)
    assert {feature.signal for feature in FEATURES} == {*SIGNALS, "time"}
    assert all(feature.unit and feature.reason for feature in FEATURES)


@pytest.mark.parametrize(("end", "n"), [(30, 1), (59.9, 1), (60, 2), (3600, 120)])
def test_there_is_a_row_for_every_whole_epoch(end: float, n: int) -> None:
    rows = extract_features(recording(heart_rate=[(0, 60)], end=end))
    assert rows.shape == (n, len(FEATURES))
    assert rows.dtype == np.float32


def test_no_epoch_has_no_row() -> None:
    rows, state = push(FeatureState.initial(0.0), until=29.9)
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


def piece(night: Recording, start: float, end: float) -> dict[str, Any]:
    """What comes in between two times; a window is known at its end and told then."""
    after, through = math.nextafter(start, math.inf), math.nextafter(end, math.inf)
    return {
        "heart_rate": night.heart_rate.between(start, end),
        "motion": night.motion.between(after, through),
        "steps": night.steps.between(start, end),
    }


def in_pieces(night: Recording, cuts: list[float]) -> tuple[Rows, FeatureState]:
    state, parts = FeatureState.initial(night.start), []
    for start, end in itertools.pairwise([-math.inf, *sorted(cuts), night.end]):
        rows, state = push(state, until=end, **piece(night, start, end))
        parts.append(rows)
    return np.concatenate(parts), state


def at_once(night: Recording) -> tuple[Rows, FeatureState]:
    return push(
        FeatureState.initial(night.start), until=night.end, **piece(night, -math.inf, night.end)
    )


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
    _, state = push(FeatureState.initial(0.0), until=1200, steps=steps)
    _, first = push(FeatureState.initial(0.0), until=30, steps=steps)
    _, second = push(first, until=390)
    _, last = push(second, until=1200)
    assert same_state(last, state)


def test_memory_stays_small_through_the_night() -> None:
    night = simulate_night(4, hours=8.0)
    _, state = at_once(night)
    assert state.heart_rate.times[0] >= night.end - 1800
    assert state.motion.times[0] >= night.end - 1800
    assert state.steps.times[0] >= night.end - 86_400


# What comes too late


def one(time: float, *, columns: int = 1) -> Samples:
    return Samples(np.array([time]), np.ones((1, columns)) if columns > 1 else np.array([60.0]))


@pytest.fixture
def closed() -> FeatureState:
    """Two epochs are closed, till 1060 s."""
    _, state = push(FeatureState.initial(1000.0), until=1070.0, heart_rate=one(1065.0))
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
    assert column(rows, "steps_24h") == pytest.approx(math.log(61))


def test_the_day_before_may_come_with_several_pushes_before_the_first_epoch_ends() -> None:
    state = FeatureState.initial(0.0)
    _, state = push(state, until=-100, steps=one(-5000))
    _, state = push(state, until=10, steps=one(-600))
    rows, _ = push(state, until=30)
    assert column(rows, "steps_24h") == pytest.approx(math.log(121))


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
