"""A night as it might have been recorded: from the evening on, from mid-night on, or rarely.

A laboratory switches the recorder on at lights off; people wear a watch. So networks are trained on
evenings, too: on the real heart rate and steps of the hours before, with drawn movement or none.
What is missing must carry no label: what an evening lacks, nights lack as often.
"""

import math
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sleepstage.core.recording import LONGEST_NIGHT, Recording
from sleepstage.core.samples import Samples
from sleepstage.simulate.waking import waking_heart_rate, waking_motion
from sleepstage.stages import EPOCH_SECONDS, UNSCORED, WAKE

Codes = NDArray[np.int8]
Variant = tuple[Recording, Codes]

SPARSE: Final = (60.0, 300.0)
"""Seconds between two heart rates of watches that measure now and then; Apple's without a workout
take one in about five minutes."""

_HOUR: Final = 3600.0
_EVENING: Final = (1.0, 10.0)  # h before lights off
_UNDRESSING: Final = 900.0  # s before lights off at which drawn movement ends
_PERHAPS_ASLEEP: Final = 1800.0  # s before lights off that are not scored
_PERHAPS_AWAKE: Final = 600.0  # s after the night that are not scored
_MORNING: Final = 2.0 * _HOUR
_LATE: Final = (0.05, 0.8)  # share of the night that is over when a recording begins
_N_OF_EACH: Final = 4


def make_variants(recording: Recording, codes: Codes) -> dict[str, list[Variant]]:
    """Other recordings of a scored night, and their stages, by kind; the same for each subject.

    Of a recording, what was measured before its start counts, too. Its stages, shape (n_epochs,),
    are in four classes and unscored where there is nothing to learn.

    ``thinned``: heart rate measured once in `SPARSE`; ``evening``: begun hours before lights off,
    none for a recording that would be too long then; ``late``: begun in mid-night.
    """
    rng = np.random.default_rng(list(recording.subject.encode()))

    def evening(*, motion: bool, dense: bool) -> Variant:
        hours = rng.uniform(*_EVENING)
        return begin_earlier(recording, codes, hours, rng, motion=motion, dense=dense)

    n_late = [int(len(codes) * share) for share in rng.uniform(*_LATE, _N_OF_EACH)]
    longest = recording.end - recording.start + _EVENING[1] * _HOUR + _MORNING
    n_evenings = _N_OF_EACH if longest <= LONGEST_NIGHT else 0
    rare = [evening(motion=True, dense=False) for _ in range(n_evenings)]
    return {
        "thinned": [(thin(recording, seconds), codes) for seconds in SPARSE],
        "evening": [
            *(evening(motion=False, dense=False) for _ in range(n_evenings)),
            *(
                go_on(evening(motion=True, dense=True), recording.start, rng)
                for _ in range(n_evenings)
            ),
            *rare[: n_evenings // 2],
            *((thin(one, SPARSE[-1]), stages) for one, stages in rare[n_evenings // 2 :]),
        ],
        "late": [begin_later(recording, codes, n_epochs) for n_epochs in n_late],
    }


def thin(recording: Recording, seconds: float) -> Recording:
    """Return the same night with one heart rate in so many seconds."""
    return replace(recording, heart_rate=recording.heart_rate.thinned(seconds))


def between(recording: Recording, first: float, last: float) -> Recording:
    """The signals between two times; all else stays."""
    return replace(
        recording,
        heart_rate=recording.heart_rate.between(first, last),
        motion=recording.motion.between(first, last, window_ends=True),
        steps=recording.steps.between(first, last),
    )


def begin_earlier(
    recording: Recording, codes: Codes, hours: float, rng: Generator, *, motion: bool, dense: bool
) -> Variant:
    """The same night, recorded from so many hours before lights off, with what was measured then.

    Movement of waking life is drawn where `motion` is asked for, and, if `dense`, heart rate
    between the rare real ones. The person is awake until half an hour before lights off.
    """
    n_before = int(hours * _HOUR / EPOCH_SECONDS)
    start, lights_off = recording.start - n_before * EPOCH_SECONDS, recording.start
    beats, moved = recording.heart_rate, recording.motion
    if motion:
        up = max(start, lights_off - _UNDRESSING)
        drawn = waking_motion(rng, start, up, recording.steps)
        moved = drawn.followed_by(moved.between(up, math.inf, window_ends=True))
    if dense:
        drawn = waking_heart_rate(rng, start, lights_off, beats)
        night = drawn.followed_by(beats.between(lights_off, math.inf))
        beats = beats.between(-math.inf, start).followed_by(night)
    earlier = replace(recording, start=start, heart_rate=beats, motion=moved)
    unknown = min(n_before, int(_PERHAPS_ASLEEP // EPOCH_SECONDS))
    return _scored(earlier, codes, before=[WAKE] * (n_before - unknown) + [UNSCORED] * unknown)


def go_on(variant: Variant, lights_off: float, rng: Generator) -> Variant:
    """The same, recorded until hours after getting up: an evening's signals, and drawn movement."""
    recording, codes = variant
    evening = lights_off - _PERHAPS_ASLEEP - _MORNING
    end = recording.start + EPOCH_SECONDS * len(codes)

    def repeat_evening(samples: Samples) -> Samples:
        again = samples.between(evening, evening + _MORNING)
        later = Samples(again.times + (end - evening), again.values)
        return samples.between(-math.inf, end).followed_by(later)

    steps = repeat_evening(recording.steps)
    night = recording.motion.between(-math.inf, end, window_ends=True)
    longer = replace(
        recording,
        end=end + _MORNING,
        heart_rate=repeat_evening(recording.heart_rate),
        motion=night.followed_by(waking_motion(rng, end, end + _MORNING, steps)),
        steps=steps,
    )
    unknown = int(_PERHAPS_AWAKE // EPOCH_SECONDS)
    n_awake = longer.n_epochs - len(codes) - unknown
    return _scored(longer, codes, after=[UNSCORED] * unknown + [WAKE] * n_awake)


def begin_later(recording: Recording, codes: Codes, n_epochs: int) -> Variant:
    """The same night, recorded from so many epochs after lights off: nothing earlier is known."""
    start = recording.start + n_epochs * EPOCH_SECONDS
    later = replace(between(recording, start, math.inf), start=start)
    return _scored(later, codes, first=n_epochs)


def _scored(
    recording: Recording,
    codes: Codes,
    *,
    first: int = 0,
    before: list[int] | None = None,
    after: list[int] | None = None,
) -> Variant:
    """Give a changed recording its stages: those from epoch `first` on, more before and after."""

    def change(stages: Codes) -> Codes:
        parts = (before or [], stages[first : len(codes)], after or [])
        return np.concatenate(parts, dtype=np.int8, casting="unsafe")

    if (scored := recording.reference) is not None:
        scored = replace(scored, start=recording.start, codes=change(scored.codes))
    return replace(recording, reference=scored), change(codes)
