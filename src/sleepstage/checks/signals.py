"""Are heart rate, motion and steps what a watch gives, and are they there all night."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sleepstage.checks.source import open_source
from sleepstage.files import fingerprint
from sleepstage.motion import WINDOW_SECONDS
from sleepstage.readers.sleep_accel import STEP_BIN_SECONDS, summary_source
from sleepstage.recording import PLAUSIBLE_BPM

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sleepstage.checks.night import Night
    from sleepstage.checks.source import Floats, Mask, Source

__all__ = ["check_heart_rate", "check_motion", "check_steps"]

GAP_MINUTES: Final = 5  # without a signal: features of the last 5 min have nothing to go by
MAX_IMPLAUSIBLE: Final = 0.2  # of the heart rates: a pulse lost at times explains no more
HEART_RATE_SECONDS: Final = (1.0, 10.0)  # between heart rates: a watch in a workout gives 5 s
MOTION_RATE: Final = (40.0, 60.0)  # Hz: nominally 50
MAX_OFF_RATE: Final = 0.05  # of the night's minutes: a few bad ones are no wrong rate
MAX_LENGTH_G: Final = 4.0  # of the median acceleration: a wrist at rest has 1 g
MAX_AXIS_G: Final = 16.0  # range of the accelerometer
MAX_STEPS: Final = 3000  # in 600 s: five a second is a sprint, and not for ten minutes
MAX_NIGHT_STEPS: Final = 300  # a few ways to the bathroom
MIN_DAY_HOURS: Final = 21.6  # of the 24 before the night (90 %): with less, its steps are too few
_DAY: Final = 24 * 3600


def check_heart_rate(path: Path, night: Night) -> None:
    """Check heart rates by themselves and against the night."""
    source = open_source(path, "heart_rate", night.findings, _is_plausible)
    good = _is_plausible(source.values)
    text = "{n} of {of} heart rates are outside %g to %g beats per minute, first {value} at {time}"
    text %= PLAUSIBLE_BPM
    if (~good).sum() > MAX_IMPLAUSIBLE * len(good):
        source.error("implausible-bpm", f"{text}; write beats per minute", ~good)
    else:
        source.warn("implausible-bpm", f"{text}; left out", ~good)
    source.keep(good)
    night.facts["heart_rate_gap_min"] = _check_gaps(source, night, "heart rate")
    night.beats = source.times[night.inside(source.times)]
    night.facts["n_heart_rate"] = len(night.beats)
    if len(night.beats) > 1:
        interval = float(np.median(np.diff(night.beats)))
        night.facts["heart_rate_interval_s"] = interval
        if not HEART_RATE_SECONDS[0] <= interval <= HEART_RATE_SECONDS[1]:
            text = f"a heart rate each {interval:g} s in the night, expected about 5 s"
            source.warn("sampling-rate", text)


def _is_plausible(bpm: Floats) -> Mask:
    low, high = PLAUSIBLE_BPM
    return np.asarray((bpm >= low) & (bpm <= high))


def check_motion(files: Mapping[str, Path], night: Night) -> None:
    """Check raw motion and its summary by themselves, and the first that is any good in the night.

    Without labels the night is as long as the motion.
    """
    raw = _open_raw(files["motion"], night) if "motion" in files else None
    path = files.get("summary") or files.get("summary_csv")
    summary = None if path is None else _open_summary(path, night)
    if raw and summary and summary_source(summary.path) != fingerprint(raw.path):
        text = f"it was not made from {raw.path.name} as that is now; it is not used"
        summary.warn("stale-summary", text)
    source = raw or summary
    if not source:
        return
    if not len(night.scored):
        start = source.times[0] - (0 if source is raw else WINDOW_SECONDS)
        night.take_span(source, float(start), float(source.times[-1]))
    night.facts["motion_gap_min"] = _check_gaps(source, night, "motion")
    if night.span is None:
        return
    windows = source.times[night.inside(source.times)]
    if source is raw:
        _check_rate(source, night, windows)
        number = np.unique((windows - night.span[0]) // WINDOW_SECONDS)
        windows = night.span[0] + WINDOW_SECONDS * (number + 1)
    night.windows = windows[windows > night.span[0]]
    night.facts["n_motion_windows"] = len(night.windows)


def _open_raw(path: Path, night: Night) -> Source:
    source = open_source(path, "motion", night.findings)
    if _check_unit(source, source.table[:, 1:]):
        beyond = (np.abs(source.table[:, 1:]) > MAX_AXIS_G).any(axis=1)
        text = f"samples beyond ±{MAX_AXIS_G:g} g: {{n}}, first {{row}}"
        source.warn("beyond-range", text, beyond)
    return source


def _open_summary(path: Path, night: Night) -> Source:
    source = open_source(path, "summary", night.findings)
    _check_unit(source, source.table[:, 2:])
    negative = (source.table[:, 1:] < 0).any(axis=1)
    text = "rows with a negative count or peak: {n}, first {row}; prepare it again"
    source.error("negative-summary", text, negative)
    if len(source) > 1 and (interval := np.median(np.diff(source.times))) != WINDOW_SECONDS:
        text = f"a row each {interval:g} s, expected {WINDOW_SECONDS} s; prepare it again"
        source.error("sampling-rate", text)
    return source


def _check_unit(source: Source, xyz: Floats) -> bool:
    """Whether acceleration is in g, by its median length."""
    length = float(np.median(np.linalg.norm(xyz, axis=1))) if len(xyz) else 1.0
    if length <= MAX_LENGTH_G:
        return True
    mend = "it looks like m/s², divide by 9.80665" if 6 < length < 14 else "write it in g"
    source.error("unit", f"acceleration has a median length of {length:.3g}, not 1 g; {mend}")
    return False


def _check_rate(source: Source, night: Night, times: Floats) -> None:
    """Look at the median interval in each minute of the night that has its share of samples."""
    times = np.unique(times)
    if len(times) < 2:
        return
    minutes = np.split(np.diff(times), np.flatnonzero(np.diff(times[:-1] // 60)) + 1)
    usual = np.median([len(minute) for minute in minutes])
    rates = 1 / np.array([np.median(minute) for minute in minutes if len(minute) >= usual / 10])
    low, middle, high = (float(rate) for rate in np.quantile(rates, [0, 0.5, 1]))
    night.facts |= {"motion_rate_hz": middle, "motion_rate_range_hz": (low, high)}
    if ((rates < MOTION_RATE[0]) | (rates > MOTION_RATE[1])).mean() > MAX_OFF_RATE:
        text = f"{middle:.3g} Hz, {low:.3g} to {high:.3g} Hz over the night; expected 50 Hz"
        source.warn("sampling-rate", text)


def check_steps(path: Path, night: Night) -> None:
    """Check step counts by themselves, and those of the night and the day before it."""
    source = open_source(path, "steps", night.findings)
    text = "negative step counts: {n}, first {value} at {time}; delete them"
    source.error("negative-steps", text, source.values < 0)
    text = f"bins of more than {MAX_STEPS} steps in 10 min: {{n}}, first {{value}} at {{time}}"
    source.warn("implausible-steps", text, source.values > MAX_STEPS)
    source.keep(source.values >= 0)
    bins = np.diff(source.times)
    if len(bins) and np.median(bins) != STEP_BIN_SECONDS:
        text = f"a step count each {np.median(bins):g} s, expected {STEP_BIN_SECONDS} s"
        source.warn("sampling-rate", text)
    if night.span is None or not len(source):
        return
    start, end = night.span
    day = (source.times >= start - _DAY) & (source.times < start)
    asleep = (source.times >= start) & (source.times < end)
    for name, rows in (("steps_day", day), ("steps_night", asleep)):
        if rows.any():
            night.facts[name] = int(np.nan_to_num(source.values[rows].sum()))
    hours = float(day.sum()) * STEP_BIN_SECONDS / 3600
    if hours < MIN_DAY_HOURS:
        source.warn("short-steps", f"steps cover {hours:.1f} of the 24 h before the night")
    walked = night.facts.get("steps_night", 0)
    if walked > MAX_NIGHT_STEPS:
        source.warn("night-steps", f"{walked} steps in the night, expected next to none")


def _check_gaps(source: Source, night: Night, name: str) -> float | None:
    """Find where a signal leaves the night without it; the longest such time in minutes."""
    if night.span is None or not len(source):
        return None
    start, end = night.span
    rows = np.flatnonzero(night.inside(source.times))
    if not len(rows):
        text = f"{name} from {source.times[0]:.10g} to {source.times[-1]:.10g} s has nothing of "
        text += f"the night, {start:.10g} to {end:.10g} s; set both to one clock"
        source.error("no-overlap", text)
        return (end - start) / 60
    minutes = np.diff(source.times[rows], prepend=start, append=end) / 60
    before, between, after = minutes[0], minutes[1:-1], minutes[-1]
    if before > GAP_MINUTES:
        text = f"{name} starts {before:.1f} min after the night does"
        source.warn("short-signal", text, int(rows[0]))
    if after > GAP_MINUTES:
        text = f"{name} ends {after:.1f} min before the night does"
        source.warn("short-signal", text, int(rows[-1]))
    gaps = rows[:-1][between > GAP_MINUTES]
    if len(gaps):
        since = source.times[rows[between.argmax()]]
        text = f"gaps of more than {GAP_MINUTES} min in {name}: {{n}}, the longest of "
        source.warn("gap", f"{text}{between.max():.1f} min from {since:.10g} s on", gaps)
    return float(minutes.max())
