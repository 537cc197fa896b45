"""Motion summaries: against their definition, and the same for any cut of the stream."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy.signal import butter, filtfilt

from sleepstage.core.motion import MOTION_COLUMNS, WINDOW_SECONDS, MotionState, summarise_motion
from sleepstage.core.samples import Samples
from sleepstage.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RATE = 50
SCALE = 3.07  # counts a bin
STATE_FIELDS = tuple(MotionState.__dataclass_fields__)


def motion(times: Any, xyz: Any) -> Samples:
    return Samples(np.asarray(times, dtype=np.float64), np.asarray(xyz, dtype=np.float64))


def on_grid(z: Floats, *, x: float = 0.0, y: float = 0.0) -> Samples:
    """Samples at just 50 Hz from time zero."""
    times = np.arange(len(z)) / RATE
    return motion(times, np.column_stack([np.full(len(z), x), np.full(len(z), y), z]))


def still(windows: int) -> tuple[Floats, Floats]:
    """Times, and a z axis that lies still."""
    n = windows * WINDOW_SECONDS * RATE
    return np.arange(n) / RATE, np.ones(n)


def published_counts(z: Floats) -> Floats:
    """Counts as the published code has them, a second late."""
    b, a = butter(5, [3, 11], "bandpass", fs=RATE)
    loud = np.abs(filtfilt(b, a, z))
    loud = np.concatenate([np.zeros(RATE), loud])[: len(z)]
    bins = np.digitize(loud.reshape(-1, RATE).max(axis=1), np.linspace(0, 5, 129))
    sums = bins.reshape(-1, WINDOW_SECONDS).sum(axis=1)
    return np.asarray(np.maximum(sums - 18, 0) * SCALE)


def counts(samples: Samples) -> Floats:
    summaries, _ = summarise_motion(samples)
    return summaries.values[:, 0]


def same(one: Samples, other: Samples) -> bool:
    return np.array_equal(one.times, other.times) and np.array_equal(one.values, other.values)


def same_state(one: MotionState, other: MotionState) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in STATE_FIELDS)


# The definition


@pytest.mark.parametrize("hertz", [3.5, 5.0, 7.3, 10.0])
@pytest.mark.parametrize("size", [0.1, 0.5, 2.0])
def test_bursts_count_as_in_the_published_code(hertz: float, size: float) -> None:
    times, z = still(8)
    for window in (1, 4, 5):
        burst = (times > window * 15 + 5) & (times < window * 15 + 10)
        z[burst] += size * np.sin(2 * np.pi * hertz * times[burst])
    expected = published_counts(z)
    assert (expected[[1, 4, 5]] > 0).all()
    assert (expected[[0, 2, 3, 6, 7]] == 0).all()
    assert counts(on_grid(z)) == pytest.approx(expected, rel=0.02, abs=SCALE * 2.01)


@pytest.mark.parametrize("size", [0.02, 0.1, 0.5, 2.0])
def test_noise_counts_as_in_the_published_code(size: float) -> None:
    times, z = still(12)
    rng = np.random.default_rng(1)
    loudness = size * rng.random(12)[(times // 15).astype(int)]
    z += np.where(times < 12 * 15 - 2, loudness, 0) * rng.normal(size=len(z))
    expected = published_counts(z)
    assert counts(on_grid(z)) == pytest.approx(expected, rel=0.02, abs=SCALE * 2.01)


@pytest.mark.parametrize("hertz", [0.3, 1.0, 20.0, 24.0])
def test_movement_outside_the_band_does_not_count(hertz: float) -> None:
    times, z = still(4)
    assert (counts(on_grid(z + 0.3 * np.sin(2 * np.pi * hertz * times))) == 0).all()


def test_counts_are_of_the_z_axis_alone() -> None:
    times, z = still(2)
    shake = 0.5 * np.sin(2 * np.pi * 6 * times)
    level = np.zeros_like(z)
    assert (counts(motion(times, np.column_stack([shake, shake, z]))) == 0).all()
    assert (counts(motion(times, np.column_stack([level, level, z + shake]))) > 0).all()


def test_counts_saturate_above_five_g() -> None:
    times, z = still(5)
    shake = np.sin(2 * np.pi * 6 * times) * ((times > 12) & (times < 32))
    most = (15 * 129 - 18) * SCALE
    assert counts(on_grid(z + 8 * shake))[1] == pytest.approx(most)
    assert counts(on_grid(z + 15 * shake))[1] == pytest.approx(most)


def test_counts_are_a_second_late() -> None:
    times, z = still(3)
    knock = (times > 29.4) & (times < 29.8)
    z[knock] += np.sin(2 * np.pi * 6 * times[knock])
    first, second, third = counts(on_grid(z))
    assert first == second == 0
    assert third > 0


@given(seed=st.integers(0, 2**32 - 1), rate=st.floats(10, 67))
def test_peaks_are_the_mean_of_each_seconds_largest_magnitudes(seed: int, rate: float) -> None:
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, 45, int(45 * rate)))
    xyz = rng.normal(0, 0.4, (len(times), 3))
    summaries, _ = summarise_motion(motion(times, xyz))
    for end, row in zip(summaries.times, summaries.values, strict=True):
        peaks = [
            np.abs(xyz[(times >= second) & (times < second + 1)]).max(axis=0)
            for second in np.arange(end - 15, end)
            if ((times >= second) & (times < second + 1)).any()
        ]
        assert row[1:] == pytest.approx(np.mean(peaks, axis=0), rel=1e-12)


def test_seconds_without_samples_do_not_thin_the_peaks() -> None:
    times = np.concatenate([np.arange(0, 2, 0.02), np.arange(9, 10, 0.02)])
    summaries, _ = summarise_motion(motion(times, np.full((len(times), 3), 0.5)))
    assert summaries.values[:, 1:] == pytest.approx(0.5)


@given(
    axis=st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda axis: math.hypot(*axis) > 0.1),
    rate=st.floats(10, 67),
)
def test_a_still_wrist_has_no_counts_and_peaks_of_one_g(
    axis: tuple[float, float, float], rate: float
) -> None:
    times = np.arange(0, 60, 1 / rate)
    gravity = np.array(axis) / math.hypot(*axis)
    noise = np.random.default_rng(0).normal(0, 0.0015, (len(times), 3))
    summaries, _ = summarise_motion(motion(times, gravity + noise))
    assert len(summaries) == 4
    assert (summaries.values[:, 0] == 0).all()
    assert np.linalg.norm(summaries.values[:, 1:], axis=1) == pytest.approx(1, abs=0.02)


def test_a_slow_turn_of_the_wrist_changes_the_peaks_but_counts_nothing() -> None:
    times, z = still(6)
    angle = np.clip((times - 30) / 30, 0, 1) * np.pi / 2
    turned = motion(times, np.column_stack([np.sin(angle), np.zeros_like(z), np.cos(angle)]))
    summaries, _ = summarise_motion(turned)
    assert (summaries.values[:, 0] == 0).all()
    assert summaries.values[0, 1:] == pytest.approx([0, 0, 1])
    assert summaries.values[-1, 1:] == pytest.approx([1, 0, 0], abs=1e-12)


def test_a_jump_of_gravity_counts_once() -> None:
    times, z = still(6)
    z[times >= 37] = -1
    found = counts(on_grid(z))
    assert found == pytest.approx(published_counts(z), rel=0.02, abs=SCALE * 2.01)
    assert (found > 0).tolist() == [False, False, True, False, False, False]


def test_a_gap_is_not_taken_for_a_movement() -> None:
    times, z = still(6)
    z[times >= 37] = -1  # turned while nobody looked
    seen = (times < 30) | (times >= 40)
    summaries, _ = summarise_motion(motion(times[seen], np.column_stack([0 * z, 0 * z, z])[seen]))
    assert (summaries.values[:, 0] == 0).all()
    assert len(summaries) == 6


def test_a_movement_before_a_gap_does_not_count_after_it() -> None:
    times, z = still(6)
    z[(times > 29) & (times < 30)] += np.sin(2 * np.pi * 6 * times[(times > 29) & (times < 30)])
    seen = (times < 30) | (times >= 47)
    summaries, _ = summarise_motion(motion(times[seen], np.column_stack([0 * z, 0 * z, z])[seen]))
    assert summaries.times.tolist() == [15, 30, 60, 75, 90]
    assert (summaries.values[:, 0] > 0).tolist() == [False, True, False, False, False]


# The grid of windows


def test_windows_are_stamped_with_their_end() -> None:
    summaries, _ = summarise_motion(on_grid(np.ones(31 * RATE)))
    assert summaries.times.tolist() == [15, 30, 45]
    assert summaries.values.shape == (3, len(MOTION_COLUMNS))


def test_a_window_without_samples_has_no_row() -> None:
    times = [1, 2, 16, 61]
    summaries, _ = summarise_motion(motion(times, [[0, 0, 1]] * 4))
    assert summaries.times.tolist() == [15, 30, 75]


def test_a_sample_on_the_border_belongs_to_the_window_that_it_begins() -> None:
    summaries, _ = summarise_motion(motion([15.0], [[0, 0, 1]]))
    assert summaries.times.tolist() == [30]


def test_windows_close_when_their_end_is_reached() -> None:
    samples = motion([1, 14], [[0, 0, 1]] * 2)
    early, _ = summarise_motion(samples, until=14.99)
    due, _ = summarise_motion(samples, until=15)
    assert (len(early), len(due)) == (0, 1)


@pytest.mark.parametrize("origin", [-600_000.0, 7.25, 1_700_000_000.0])
def test_the_origin_shifts_the_grid(origin: float) -> None:
    # Steps that are exact in binary, so that the shift is.
    times = np.arange(0, 64, 1 / 64)
    xyz = np.random.default_rng(0).normal([0, 0, 1], 0.3, (len(times), 3))
    plain, _ = summarise_motion(motion(times, xyz))
    shifted, _ = summarise_motion(motion(times + origin, xyz), MotionState(origin))
    assert np.array_equal(shifted.times, plain.times + origin)
    assert np.array_equal(shifted.values, plain.values)


def test_windows_before_the_origin_are_windows_too() -> None:
    summaries, _ = summarise_motion(motion([-16, -14, -1], [[0, 0, 1]] * 3))
    assert summaries.times.tolist() == [-15, 0]


def test_no_samples_have_no_summaries() -> None:
    summaries, state = summarise_motion(Samples.empty(3))
    assert summaries.values.shape == (0, 4)
    assert same_state(state, MotionState())


# Any cut of the stream


@st.composite
def streams(draw: st.DrawFn) -> Samples:
    """Irregular rates from 10 to 67 Hz, gaps, samples on the 50 Hz grid and at equal times."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pieces, begin = [], draw(st.floats(-40, 10))
    for _ in range(draw(st.integers(1, 4))):
        n = draw(st.integers(1, 900))
        steps = rng.exponential(1 / rng.uniform(10, 67), n)
        piece = begin + np.cumsum(steps)
        if draw(st.booleans()):
            piece = np.round(piece * RATE) / RATE
        pieces.append(piece)
        begin = piece[-1] + draw(st.sampled_from([0.0, 0.5, 1.0, 1.02, 3.0, 14.0, 47.0]))
    times = np.concatenate(pieces)
    xyz = rng.normal([0, 0, 1], draw(st.sampled_from([0.001, 0.1, 1.0])), (len(times), 3))
    return Samples.clean(times, xyz, name="motion", columns=3)


def piecewise(whole: Samples, cuts: list[int], data: st.DataObject) -> tuple[Samples, MotionState]:
    """Push pieces between `cuts`, each until some time before the next sample."""
    parts, state = [], MotionState()
    edges = [0, *sorted(cuts), len(whole)]
    for first, last in itertools.pairwise(edges):
        chunk = Samples(whole.times[first:last], whole.values[first:last])
        if last < len(whole):
            so_far = whole.times[max(last - 1, 0)]
            share = data.draw(st.sampled_from([-3.0, 0.0, 0.5, 1.0]))
            until = so_far + share * (whole.times[last] - so_far)
            until = min(until, whole.times[last]) if share else -math.inf
        else:
            until = math.inf
        summaries, state = summarise_motion(chunk, state, until=until)
        parts.append(summaries)
    joined = parts[0]
    for part in parts[1:]:
        joined = joined.followed_by(part)
    return joined, state


@settings(max_examples=100)
@given(whole=streams(), data=st.data())
def test_any_cut_of_the_stream_gives_the_same_bits(whole: Samples, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=12))
    at_once, state = summarise_motion(whole)
    in_pieces, last_state = piecewise(whole, cuts, data)
    assert same(in_pieces, at_once)
    assert same_state(last_state, state)


@given(whole=streams(), data=st.data())
def test_samples_may_come_one_by_one(whole: Samples, data: st.DataObject) -> None:
    whole = whole.between(whole.times[0], whole.times[0] + 5)
    at_once, state = summarise_motion(whole)
    in_pieces, last_state = piecewise(whole, list(range(len(whole))), data)
    assert same(in_pieces, at_once)
    assert same_state(last_state, state)


@given(whole=streams(), data=st.data())
def test_a_sample_that_is_sent_twice_counts_once(whole: Samples, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=5))
    at_once, state = summarise_motion(whole)
    parts, last_state = [], MotionState()
    edges = sorted({0, *cuts, len(whole)})
    for first, last in itertools.pairwise(edges):
        again = slice(max(first - 1, 0), last)
        chunk = Samples(whole.times[again], whole.values[again])
        summaries, last_state = summarise_motion(chunk, last_state, until=chunk.times[0])
        parts.append(summaries)
    summaries, last_state = summarise_motion(Samples.empty(3), last_state)
    joined = summaries
    for part in reversed(parts):
        joined = part.followed_by(joined)
    assert same(joined, at_once)
    assert same_state(last_state, state)


@given(values=st.lists(st.floats(-1, 1), min_size=2, max_size=4, unique=True))
@example(values=[0.0, 1.0])
def test_equal_times_may_be_cut_between(values: list[float]) -> None:
    # On a point of the 50 Hz grid, where it matters which of them is taken.
    times = np.concatenate([np.arange(0, 5, 0.02), np.full(len(values), 5.0), [5.02, 5.5, 6.0]])
    z = np.concatenate([np.zeros(250), sorted(values), [0.0, 0.0, 0.0]])
    whole = motion(times, np.column_stack([0 * z, 0 * z, z]))
    at_once, state = summarise_motion(whole)
    for cut in range(250, 250 + len(values) + 1):
        chunks = [
            Samples(whole.times[part], whole.values[part])
            for part in (slice(cut), slice(cut, None))
        ]
        nothing, middle = summarise_motion(chunks[0], until=0)
        in_pieces, last_state = summarise_motion(chunks[1], middle)
        assert len(nothing) == 0
        assert same(in_pieces, at_once)
        assert same_state(last_state, state)


def test_a_strong_movement_in_a_short_piece_is_no_other_unit() -> None:
    times, z = still(2)
    z[(times >= 10) & (times < 10.1)] = 9.5  # the median of the second is 1 g all the same
    whole = on_grid(z)
    at_once, _ = summarise_motion(whole)
    state = MotionState()
    first, state = summarise_motion(whole.between(0, 10), state, until=10)
    second, state = summarise_motion(whole.between(10, 10.1), state, until=10.1)
    third, state = summarise_motion(whole.between(10.1, 30), state)
    assert same(first.followed_by(second).followed_by(third), at_once)


@given(whole=streams(), share=st.floats(0, 1))
def test_what_comes_later_changes_no_earlier_window(whole: Samples, share: float) -> None:
    now = whole.times[0] + share * (whole.times[-1] - whole.times[0])
    at_once, _ = summarise_motion(whole)
    known, _ = summarise_motion(whole.between(-math.inf, now), until=now)
    assert same(known, Samples.between(at_once, -math.inf, math.nextafter(now, math.inf)))


@given(whole=streams(), seed=st.integers(0, 99))
def test_another_future_changes_no_earlier_window(whole: Samples, seed: int) -> None:
    now = float(np.median(whole.times))
    later = whole.times >= now
    assume(later.any())
    values = whole.values.copy()
    values[later] = np.random.default_rng(seed).normal(0, 2, (int(later.sum()), 3))
    at_once, _ = summarise_motion(whole, until=now)
    otherwise, _ = summarise_motion(Samples(whole.times, values), until=now)
    assert same(otherwise, at_once)


# What is refused


def test_samples_of_a_closed_window_come_too_late() -> None:
    _, state = summarise_motion(motion([1], [[0, 0, 1]]), MotionState(100.0), until=130)
    with pytest.raises(DataError, match=r"acceleration at 114\.999 s is older"):
        summarise_motion(motion([114.999], [[0, 0, 1]]), state)
    summaries, _ = summarise_motion(motion([130], [[0, 0, 1]]), state)
    assert summaries.times.tolist() == [145]


def test_samples_older_than_the_newest_are_refused() -> None:
    _, state = summarise_motion(motion([1, 2], [[0, 0, 1]] * 2), until=3)
    with pytest.raises(DataError, match=r"acceleration at 1\.990 s is older"):
        summarise_motion(motion([1.99], [[0, 0, 1]]), state)


def test_time_without_samples_closes_windows_too() -> None:
    _, state = summarise_motion(Samples.empty(3), until=31)
    with pytest.raises(DataError, match=r"acceleration at 29\.000 s is older"):
        summarise_motion(motion([29], [[0, 0, 1]]), state)


def test_metres_per_second_squared_are_refused() -> None:
    with pytest.raises(DataError, match=r"median length of 9\.81: it must be in g; divide m/s²"):
        summarise_motion(on_grid(np.full(500, 9.81)))


def test_other_units_are_refused_without_a_guess() -> None:
    with pytest.raises(DataError, match=r"median length of 981: it must be in g$"):
        summarise_motion(on_grid(np.full(500, 981.0)))
