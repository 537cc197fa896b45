"""Raw acceleration to 15 s summaries, as it arrives: state in, state out.

The summaries are those of Walch et al. 2019 (Sleep 42(12) zsz180, and the code published with
it): an activity count in the manner of te Lindert & Van Someren 2013 (Sleep 36(5) 781-789), and
the mean of each second's largest magnitude of x, y and z, which shows posture when the wrist is
still. The published code filters forwards and backwards over the whole night. The same response
is had here with a finite impulse response that is one second late, so that nothing later than
the sample at hand is used and any cut of the stream gives the same numbers.
"""

import math
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sleepstage._utils.arrays import Counts, Floats, Mask
from sleepstage.core.samples import Samples
from sleepstage.errors import DataError

MOTION_COLUMNS: Final = ("counts", "peak_x_g", "peak_y_g", "peak_z_g")
"""Values of a motion summary."""

WINDOW_SECONDS: Final = 15
"""Length of a summary window; its time is that of its end."""

MAX_LENGTH: Final = 4.0
"""g: if acceleration is mostly longer, its unit must be another."""

MIN_LENGTH: Final = 0.25
"""g: if it is mostly shorter, it is without gravity, or no acceleration."""

UNIT_SAMPLES: Final = 500
"""Enough to recognise the unit; fewer may be one movement."""

_WORN_LENGTHS: Final = (0.7, 1.5)
"""g: the median over some minutes lies between these, whatever a wrist does."""
_SOME_MINUTES: Final = 600.0  # s

_RATE: Final = 50  # Hz, to which the z axis is resampled
_BAND: Final = (3.0, 11.0)  # Hz
_ORDER: Final = 5
_HALF: Final = _RATE  # samples of the impulse response on either side of its centre
_PIECE: Final = 30_000  # samples taken in at once: what the processor's cache holds
_MAX_GAP: Final = 1.0  # s without a sample after which the filter starts anew
_BIN_WIDTH: Final = 5.0 / 128  # g
_COUNT_OFFSET: Final = 18
_COUNT_SCALE: Final = 3.07


def _impulse_response() -> Floats:
    """Zero-phase response of a Butterworth band-pass run forwards and backwards, cut at 1 s.

    Its gain is the squared magnitude of the digital Butterworth filter, from the bilinear
    transform of the analogue prototype.
    """
    frequencies = np.fft.rfftfreq(4096, 1 / _RATE)
    warped = np.tan(np.pi * np.minimum(frequencies, 0.4999 * _RATE) / _RATE)
    low, high = (math.tan(math.pi * edge / _RATE) for edge in _BAND)
    with np.errstate(divide="ignore"):
        detuning = (warped**2 - low * high) / (warped * (high - low))
    response = np.fft.irfft(1 / (1 + detuning ** (2 * _ORDER)))
    response = np.concatenate([response[-_HALF:], response[: _HALF + 1]])
    return np.asarray(response - response.mean())  # gravity leaves nothing behind


_KERNEL: Final = _impulse_response()


@dataclass(frozen=True, eq=False)
class MotionState:
    """All that is remembered between two pushes of acceleration; at first, nothing."""

    origin: float = 0.0
    """Where the grid of windows begins, in seconds on the recording's clock."""
    last: Floats = field(default_factory=lambda: np.empty(0))
    """Time since `origin` and x, y, z of the newest sample, shape (4,) or (0,)."""
    filter_tail: Floats = field(default_factory=lambda: np.zeros(2 * _HALF))
    """The resampled z axis before the next grid point, shape (2 * _HALF,)."""
    next_point: int = 0
    """Number of the next grid point of the resampled z axis."""
    seconds: Counts = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """The seconds since `origin` of the open window that have samples, shape (m,)."""
    maxima: Floats = field(default_factory=lambda: np.empty((0, len(MOTION_COLUMNS))))
    """Their largest magnitudes of filtered z and of x, y and z, in g, shape (m, 4)."""
    closed_until: float = -math.inf
    """End of the last closed window since `origin`: older samples come too late."""


def summarise_motion(
    acceleration: Samples, state: MotionState | None = None, *, until: float = math.inf
) -> tuple[Samples, MotionState]:
    """Summaries of all 15 s windows that end by `until`, and the state for the next call.

    Acceleration, values of shape (n, 3), is in g, at any rate and with gaps, and later than in the
    calls before; all of it up to `until` has been given. A summary, of shape (4,), is stamped with
    the end of its window; a window without samples has none.

    Raises `DataError` if samples belong to a window that was closed before, or look like m/s².
    """
    state = state or MotionState()
    check_unit(acceleration.values)
    for begin in range(0, len(acceleration), _PIECE):
        piece = slice(begin, begin + _PIECE)
        times, xyz = acceleration.times[piece], acceleration.values[piece]
        state = _absorb(state, times - state.origin, xyz)
    return _close_windows(state, until - state.origin)


def summarise_night(acceleration: Samples, *, origin: float = 0.0, name: str) -> Samples:
    """All summaries of a night at once; errors begin with `name`. See `summarise_motion`."""
    try:
        _check_night(acceleration)
        return summarise_motion(acceleration, MotionState(origin))[0]
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def is_implausible(lengths: Floats) -> Mask:
    """Which samples are not of a watch at rest or in gentle movement, if they are in g."""
    return np.asarray((lengths > MAX_LENGTH) | (lengths < MIN_LENGTH))


def check_unit(xyz: Floats, *, least: int = UNIT_SAMPLES) -> None:
    """Refuse what can't be acceleration in g, shape (n, 3), by that many samples or more."""
    if len(xyz) >= least:
        # Some hundred samples show the unit as well as a million.
        some = xyz[:: max(len(xyz) // UNIT_SAMPLES, 1)]
        _check_length(float(np.median(np.linalg.norm(some, axis=1))), MIN_LENGTH, MAX_LENGTH)


def _check_length(length: float, low: float, high: float) -> None:
    if low <= length <= high:
        return
    msg = f"acceleration has a median length of {length:.3g}: it must be in g"
    if 6 < length < 14:
        msg += "; divide m/s² by 9.80665"
    elif length < low:
        msg += (
            " with gravity, near 1 for a watch that is worn; angular rate, and acceleration "
            "without gravity as userAcceleration, are no motion of this kind"
        )
    raise DataError(msg)


def _check_night(acceleration: Samples) -> None:
    """Refuse what is no acceleration of a worn watch, where there are some minutes of it."""
    times = acceleration.times
    if len(times) < UNIT_SAMPLES // 10 or times[-1] - times[0] < _SOME_MINUTES:
        return
    some = acceleration.values[:: max(len(times) // (20 * UNIT_SAMPLES), 1)]
    _check_length(float(np.median(np.linalg.norm(some, axis=1))), *_WORN_LENGTHS)
    moving = np.ptp(some, axis=0) > 0
    if moving.sum() == 1 and not some[:, ~moving].any():
        axis = "xyz"[int(moving.argmax())]
        msg = f"acceleration has only {axis}, and zeros as the other axes: all three are needed"
        raise DataError(msg)


def _absorb(state: MotionState, times: Floats, xyz: Floats) -> MotionState:
    """Take samples into the per-second maxima."""
    newest = state.last[0] if len(state.last) else state.closed_until
    if times[0] < max(newest, state.closed_until):
        msg = f"acceleration at {times[0] + state.origin:.3f} s is older than what was summarised"
        raise DataError(msg)
    if len(state.last):
        times = np.concatenate([state.last[:1], times])
        xyz = np.vstack([state.last[1:], xyz])
    # Of samples at one time the first makes the line, however the stream is cut.
    line = np.append(True, times[1:] > times[:-1])
    point_seconds, filtered, tail, next_point = _filter_z(state, times[line], xyz[line, 2])
    fresh = len(state.last) and 1  # the remembered sample has been counted already
    seconds, peaks = _maxima_by_second(np.floor(times[fresh:]), np.abs(xyz[fresh:]))
    loud_seconds, loudness = _maxima_by_second(point_seconds, filtered[:, np.newaxis])
    maxima = np.column_stack([np.zeros(len(seconds)), peaks])
    # A grid point is counted to the second of the sample that completes it, which is a fresh one.
    maxima[np.searchsorted(seconds, loud_seconds), 0] = loudness[:, 0]
    # The newest second of the open window may go on.
    seconds, maxima = _maxima_by_second(
        np.append(state.seconds, seconds), np.vstack([state.maxima, maxima])
    )
    last = np.array([times[line][-1], *xyz[line][-1]])
    return replace(
        state, last=last, filter_tail=tail, next_point=next_point, seconds=seconds, maxima=maxima
    )


def _filter_z(state: MotionState, times: Floats, z: Floats) -> tuple[Floats, Floats, Floats, int]:
    """Resample to 50 Hz and filter, piece by piece between gaps.

    Returns the second and the magnitude of every filtered grid point, and the filter's state.
    """
    tail, next_point = state.filter_tail, state.next_point
    edges = [0, *(np.flatnonzero(times[1:] - times[:-1] > _MAX_GAP) + 1), len(times)]
    seconds, filtered = [np.empty(0)], [np.empty(0)]
    for begin, end in pairwise(edges):
        t, values = times[begin:end], z[begin:end]
        if begin > 0 or not len(state.last):
            next_point = _last_point(t[0]) + 1
            tail = np.full(2 * _HALF, values[0])
        points = np.arange(next_point, _last_point(t[-1]) + 1) / _RATE
        line = np.concatenate([tail, np.interp(points, t, values)])
        if len(points):
            filtered.append(np.abs(np.convolve(line, _KERNEL, mode="valid")))
            seconds.append(np.floor(t[np.searchsorted(t, points)]))
        tail, next_point = line[len(line) - 2 * _HALF :], next_point + len(points)
    return np.concatenate(seconds), np.concatenate(filtered), tail, next_point


def _last_point(time: float) -> int:
    """Number of the last grid point at or before `time`, free of rounding surprises."""
    point = math.floor(time * _RATE)
    if (point + 1) / _RATE <= time:
        return point + 1
    return point - 1 if point / _RATE > time else point


def _maxima_by_second(seconds: NDArray[np.number], values: Floats) -> tuple[Counts, Floats]:
    """The ascending seconds that have values, shape (m,), and the largest of each, (m, k)."""
    if not len(seconds):
        return np.empty(0, dtype=np.int64), np.empty((0, values.shape[1]))
    first = np.flatnonzero(np.append(True, seconds[1:] != seconds[:-1]))
    return seconds[first].astype(np.int64), np.maximum.reduceat(values, first)


def _close_windows(state: MotionState, until: float) -> tuple[Samples, MotionState]:
    windows = state.seconds // WINDOW_SECONDS
    n_closed = int(np.searchsorted((windows + 1) * WINDOW_SECONDS, until, side="right"))
    numbers, row = np.unique(windows[:n_closed], return_inverse=True)
    second = state.seconds[:n_closed] % WINDOW_SECONDS
    # One slot a second, so that a window's sums are over the same values in the same order
    # however the stream was cut.
    slots = np.zeros((len(numbers), WINDOW_SECONDS, len(MOTION_COLUMNS)))
    slots[row, second] = state.maxima[:n_closed]
    present = np.zeros((len(numbers), WINDOW_SECONDS))
    present[row, second] = 1
    bins = np.minimum(np.floor(slots[:, :, 0] / _BIN_WIDTH), 128) + 1
    counts = np.maximum(bins.sum(axis=1) - _COUNT_OFFSET, 0) * _COUNT_SCALE
    peaks = slots[:, :, 1:].sum(axis=1) / present.sum(axis=1)[:, np.newaxis]
    ends = ((numbers + 1) * WINDOW_SECONDS).astype(np.float64)
    closed_until = max(state.closed_until, ends[-1]) if len(ends) else state.closed_until
    if math.isfinite(until):
        closed_until = max(closed_until, float(math.floor(until / WINDOW_SECONDS) * WINDOW_SECONDS))
    values = np.column_stack([counts, peaks]).astype(np.float64)
    seconds, maxima = state.seconds[n_closed:], state.maxima[n_closed:]
    state = replace(state, seconds=seconds, maxima=maxima, closed_until=closed_until)
    return Samples(ends + state.origin, values), state
