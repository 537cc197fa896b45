"""Nights as they might have been recorded: what is changed, and what must not be."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sleepstage.core.recording import LONGEST_NIGHT, Recording
from sleepstage.core.samples import Samples
from sleepstage.engine.features import FEATURE_NAMES, extract_features
from sleepstage.ml import variants
from sleepstage.ml.dataset import PreparedNight, prepare_nights
from sleepstage.ml.variants import (
    SPARSE,
    begin_earlier,
    begin_later,
    go_on,
    make_variants,
    thin,
)
from sleepstage.simulate.nights import simulate_night
from sleepstage.stages import FIVE_CLASS, FOUR_CLASS, UNSCORED, Stage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Codes = NDArray[np.int8]
    Variant = tuple[Recording, Codes]

WAKE = FOUR_CLASS.classes.index("wake")
INFINITE = math.inf


@pytest.fixture(scope="module")
def night() -> PreparedNight:
    (one,) = prepare_nights([simulate_night(0, hours=2.0)])
    return one


@pytest.fixture(scope="module")
def made(night: PreparedNight) -> dict[str, list[Variant]]:
    return make_variants(night.recording, night.codes)


def rng() -> np.random.Generator:
    return np.random.default_rng(4)


def same(one: Samples, other: Samples) -> bool:
    return np.array_equal(one.times, other.times) and np.array_equal(one.values, other.values)


def same_recording(one: Recording, other: Recording) -> bool:
    return one.fingerprint() == other.fingerprint()


def assert_same_night(
    changed: Recording, night: Recording, start: float, *, heart_rate: bool = True
) -> None:
    """From `start` to the night's end, nothing but perhaps the heart rate is another."""
    for name in ("heart_rate", "motion", "steps") if heart_rate else ("motion", "steps"):
        one, other = (
            getattr(each, name).between(start, night.end, window_ends=name == "motion")
            for each in (changed, night)
        )
        assert len(other)
        assert same(one, other), name


def n_before(night: PreparedNight, variant: Variant) -> int:
    """Epochs by which the variant begins before the night; negative if later."""
    return round((night.recording.start - variant[0].start) / 30)


# All of them


def test_there_are_so_many_of_each_kind(made: dict[str, list[Variant]]) -> None:
    assert {kind: len(some) for kind, some in made.items()} == {
        "thinned": 2,
        "evening": 12,
        "late": 4,
    }


@pytest.mark.parametrize("kind", ["thinned", "evening", "late"])
def test_stages_stay_with_their_epochs(
    night: PreparedNight, made: dict[str, list[Variant]], kind: str
) -> None:
    for variant in made[kind]:
        recording, codes = variant
        assert codes.dtype == np.int8
        assert len(codes) == recording.n_epochs == len(extract_features(recording))
        at = n_before(night, variant)
        assert recording.start == night.recording.start - 30 * at
        n = len(night.codes)
        np.testing.assert_array_equal(codes[max(at, 0) : at + n], night.codes[max(-at, 0) :])
        assert recording.reference is not None
        assert recording.reference.start == recording.start
        assert len(recording.reference.codes) == len(codes)


def test_hours_before_are_wake_but_for_the_last_half(
    night: PreparedNight, made: dict[str, list[Variant]]
) -> None:
    starts = [n_before(night, one) / 120 for one in made["evening"]]
    assert 1 <= min(starts) < max(starts) <= 10
    assert len(set(starts)) == len(starts)
    for variant in made["evening"]:
        at = n_before(night, variant)
        assert (variant[1][: at - 60] == WAKE).all()
        assert (variant[1][at - 60 : at] == UNSCORED).all()


def test_late_starts_are_spread_over_the_night(
    night: PreparedNight, made: dict[str, list[Variant]]
) -> None:
    shares = [-n_before(night, one) / len(night.codes) for one in made["late"]]
    assert all(0.04 < share <= 0.8 for share in shares)
    assert max(shares) - min(shares) > 0.2


@pytest.mark.parametrize("scheme", [FOUR_CLASS, FIVE_CLASS])
def test_the_expert_is_asked_in_any_scheme(night: PreparedNight, scheme: object) -> None:
    expected = night.codes_in(scheme)  # type: ignore[arg-type]
    if scheme == FIVE_CLASS:
        assert not np.array_equal(expected, night.codes)
    for some in night.variants.values():
        for one in some:
            codes = one.codes_in(scheme)  # type: ignore[arg-type]
            assert len(codes) == len(one.rows)
            at = n_before(night, (one.recording, one.codes))
            np.testing.assert_array_equal(
                codes[max(at, 0) : at + len(expected)], expected[max(-at, 0) :]
            )
            np.testing.assert_array_equal(codes == UNSCORED, one.codes == UNSCORED)
            outside = np.append(codes[: max(at, 0)], codes[at + len(expected) :])
            assert set(outside.tolist()) <= {FIVE_CLASS.classes.index("wake"), UNSCORED}


def test_rows_are_those_of_the_variant(
    night: PreparedNight, made: dict[str, list[Variant]]
) -> None:
    for kind, some in night.variants.items():
        for one, (recording, codes) in zip(some, made[kind], strict=True):
            np.testing.assert_array_equal(one.rows, extract_features(recording))
            np.testing.assert_array_equal(one.codes, codes)
            assert one.subject == night.subject


def test_the_same_person_has_the_same_variants_and_another_has_others(
    night: PreparedNight, made: dict[str, list[Variant]]
) -> None:
    again = make_variants(night.recording, night.codes)
    other = make_variants(replace(night.recording, subject="somebody"), night.codes)
    for kind, some in made.items():
        for (one, codes), (same_one, same_codes) in zip(some, again[kind], strict=True):
            assert same_recording(one, same_one)
            np.testing.assert_array_equal(codes, same_codes)
    for kind in ("evening", "late"):
        assert [one.start for one, _ in made[kind]] != [one.start for one, _ in other[kind]]
    unnamed = replace(night.recording, subject="")
    first, second = (make_variants(unnamed, night.codes)["evening"][4][0] for _ in range(2))
    assert same_recording(first, second)


def test_the_night_itself_is_left_as_it_was(night: PreparedNight) -> None:
    before, codes = night.recording.fingerprint(), night.codes.copy()
    make_variants(night.recording, night.codes)
    assert night.recording.fingerprint() == before
    np.testing.assert_array_equal(night.codes, codes)


def test_an_evening_is_as_the_watch_saw_it_or_drawn(
    night: PreparedNight, made: dict[str, list[Variant]]
) -> None:
    """Every kind of poverty: nothing drawn; all drawn; movement drawn; heart rate rare, too."""
    recording = night.recording
    for number, (one, _) in enumerate(made["evening"]):
        thinned = number >= 10
        assert_same_night(one, recording, recording.start, heart_rate=not thinned)
        evening = one.motion.between(one.start, recording.start, window_ends=True)
        beats, real = (
            each.heart_rate.between(one.start, recording.start) for each in (one, recording)
        )
        assert len(evening) == 0 if number < 4 else len(evening) > 0
        assert (len(beats) > 20 * len(real)) if 4 <= number < 8 else same(beats, real) or thinned
        assert one.end == recording.end + (7200 if 4 <= number < 8 else 0)
        gaps = np.diff(one.heart_rate.times)
        assert (gaps.min() >= 300) if thinned else (gaps.min() < 60)


# Heart rate now and then


def test_thinning_changes_heart_rate_alone(
    night: PreparedNight, made: dict[str, list[Variant]]
) -> None:
    for (one, codes), seconds in zip(made["thinned"], SPARSE, strict=True):
        assert same_recording(one, thin(night.recording, seconds))
        assert same(one.heart_rate, night.recording.heart_rate.thinned(seconds))
        assert len(one.heart_rate) < len(night.recording.heart_rate) / 4
        assert same(one.motion, night.recording.motion)
        assert same(one.steps, night.recording.steps)
        np.testing.assert_array_equal(codes, night.codes)
    assert SPARSE == (60.0, 300.0)


# The evening


@pytest.mark.parametrize("motion", [False, True])
def test_real_heart_rate_and_steps_of_the_evening_are_kept(
    night: PreparedNight, *, motion: bool
) -> None:
    one, codes = begin_earlier(night.recording, night.codes, 4, rng(), motion=motion, dense=False)
    assert one.start == night.recording.start - 4 * 3600
    assert len(codes) == 480 + 240
    assert same(one.heart_rate, night.recording.heart_rate)
    assert same(one.steps, night.recording.steps)
    assert len(one.steps.between(one.start, night.recording.start)) > 20
    assert_same_night(one, night.recording, night.recording.start)
    if not motion:
        assert same(one.motion, night.recording.motion)


def test_movement_is_drawn_until_a_quarter_of_an_hour_before_lights_off(
    night: PreparedNight,
) -> None:
    one, _ = begin_earlier(night.recording, night.codes, 3, rng(), motion=True, dense=False)
    windows = one.motion.between(-INFINITE, night.recording.start, window_ends=True)
    np.testing.assert_array_equal(
        windows.times, night.recording.start - 3 * 3600 + 15 * np.arange(1, 4 * 165 + 1)
    )
    assert windows.times[-1] == night.recording.start - 900
    assert 0.1 < np.mean(windows.values[:, 0] > 0) < 0.9


def test_measured_motion_of_the_last_quarter_of_an_hour_is_kept_and_earlier_is_replaced(
    night: PreparedNight,
) -> None:
    times = night.recording.start - np.arange(7200, 0, -15.0)
    measured = Samples(times, np.tile([7.0, 0, 0, 1], (len(times), 1)))
    worn = replace(night.recording, motion=measured.followed_by(night.recording.motion))
    one, _ = begin_earlier(worn, night.codes, 1, rng(), motion=True, dense=False)
    lately = night.recording.start - 900
    assert same(
        one.motion.between(lately, INFINITE, window_ends=True),
        worn.motion.between(lately, INFINITE, window_ends=True),
    )
    earlier = one.motion.between(-INFINITE, lately, window_ends=True)
    assert earlier.times[0] == one.start + 15
    assert not (earlier.values[:, 0] == 7).any()
    assert (np.diff(one.motion.times) > 0).all()


def test_dense_heart_rate_follows_the_rare_ones_that_were_measured(night: PreparedNight) -> None:
    one, _ = begin_earlier(night.recording, night.codes, 6, rng(), motion=True, dense=True)
    start, lights_off, real = one.start, night.recording.start, night.recording.heart_rate
    assert same(one.heart_rate.between(-INFINITE, start), real.between(-INFINITE, start))
    drawn = one.heart_rate.between(start, lights_off)
    assert np.diff(drawn.times).max() < 60
    line = np.interp(drawn.times, real.times, real.values)
    assert abs(float(np.mean(drawn.values - line))) < 2
    assert 1 < float(np.std(drawn.values - line)) < 8
    assert (drawn.values == drawn.values.round()).all()
    assert_same_night(one, night.recording, lights_off)
    assert same(one.steps, night.recording.steps)


def test_a_night_without_heart_rate_or_steps_has_evenings_too() -> None:
    times = np.arange(15.0, 3601, 15)
    still = np.tile([0.0, 0, 0, 1], (len(times), 1))
    bare = Recording.from_arrays(
        motion=(times, still), start=0, end=3600, stages=np.full(120, Stage.N2)
    )
    codes = np.full(120, UNSCORED, dtype=np.int8)
    for some in make_variants(bare, codes).values():
        for one, stages in some:
            assert len(one.heart_rate) == len(one.steps) == 0
            assert len(stages) == one.n_epochs


def test_a_short_evening_is_not_scored_at_all(night: PreparedNight) -> None:
    _, codes = begin_earlier(night.recording, night.codes, 0.25, rng(), motion=True, dense=True)
    assert (codes[:30] == UNSCORED).all()
    np.testing.assert_array_equal(codes[30:], night.codes)


def test_recordings_that_would_get_too_long_have_no_evenings() -> None:
    times = np.arange(0.0, 13 * 3600, 60)
    stages = np.full(13 * 120, Stage.N2)
    longest = LONGEST_NIGHT - 12 * 3600
    for end, n_evenings in ((longest, 12), (longest + 30, 0)):
        one = Recording.from_arrays(
            heart_rate=(times, np.full(len(times), 60.0)),
            motion=(times, np.tile([0.0, 0, 0, 1], (len(times), 1))),
            start=0,
            end=end,
            stages=stages,
        )
        made = make_variants(one, np.ones(one.n_epochs, dtype=np.int8))
        assert len(made["evening"]) == n_evenings
        assert len(made["late"]) == 4


# The morning


def test_the_morning_repeats_the_evening_with_other_movement(night: PreparedNight) -> None:
    evening = begin_earlier(night.recording, night.codes, 5, rng(), motion=True, dense=True)
    one, codes = go_on(evening, night.recording.start, rng())
    end, begin = night.recording.end, night.recording.start - 2.5 * 3600
    assert one.end == end + 7200
    assert (codes[-240:-220] == UNSCORED).all()
    assert (codes[-220:] == WAKE).all()
    np.testing.assert_array_equal(codes[:-240], evening[1])
    for signal in ("heart_rate", "steps"):
        before, after = getattr(evening[0], signal), getattr(one, signal)
        assert same(after.between(-INFINITE, end), before.between(-INFINITE, end))
        again, first = after.between(end, INFINITE), before.between(begin, begin + 7200)
        assert len(again) > 10
        np.testing.assert_allclose(again.times, first.times + end - begin)
        np.testing.assert_array_equal(again.values, first.values)
    assert same(one.motion.between(-INFINITE, end, window_ends=True), evening[0].motion)
    morning = one.motion.between(end, INFINITE, window_ends=True)
    np.testing.assert_array_equal(morning.times, end + 15 * np.arange(1, 481))
    assert 0.1 < np.mean(morning.values[:, 0] > 0) < 0.9


def test_what_came_after_the_last_epoch_is_not_in_the_morning(night: PreparedNight) -> None:
    late = night.recording.end + 20
    rate = night.recording.heart_rate.followed_by(Samples(np.array([late]), np.array([199.0])))
    ragged = replace(night.recording, end=night.recording.end + 25, heart_rate=rate)
    evening = begin_earlier(ragged, night.codes, 5, rng(), motion=True, dense=True)
    one, codes = go_on(evening, night.recording.start, rng())
    assert one.n_epochs == len(codes) == 600 + 240 + 240
    assert 199 not in one.heart_rate.values
    assert (np.diff(one.heart_rate.times) >= 0).all()


# Mid-night


@pytest.mark.parametrize("n", [0, 1, 100, 239])
def test_a_late_start_knows_nothing_from_before(night: PreparedNight, n: int) -> None:
    one, codes = begin_later(night.recording, night.codes, n)
    start = night.recording.start + 30 * n
    assert (one.start, one.end) == (start, night.recording.end)
    np.testing.assert_array_equal(codes, night.codes[n:])
    assert one.heart_rate.times[0] >= start
    assert one.motion.times[0] > start
    assert not len(one.steps) or one.steps.times[0] >= start
    for signal in ("heart_rate", "motion", "steps"):
        assert same(
            getattr(one, signal),
            getattr(night.recording, signal).between(
                start, INFINITE, window_ends=signal == "motion"
            ),
        )
    rows = extract_features(one)
    level = FEATURE_NAMES.index("hr_30s")
    np.testing.assert_array_equal(rows[:, level], night.rows[n:, level])


# The constants


def test_constants_are_what_they_say() -> None:
    assert variants._EVENING == (1.0, 10.0)
    assert variants._MORNING % 30 == variants._UNDRESSING % 30 == 0
    assert variants._PERHAPS_AWAKE % 30 == variants._PERHAPS_ASLEEP % 30 == 0
    # The movement that is drawn last is in the half hour that is not scored.
    assert variants._UNDRESSING < variants._PERHAPS_ASLEEP < variants._EVENING[0] * 3600
