"""A night of one person: heart rate, motion and steps on one clock, and the expert's stages."""

import hashlib
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sleepstage.core.hypnogram import Hypnogram, show_time
from sleepstage.core.motion import MOTION_COLUMNS, WINDOW_SECONDS, check_unit, summarise_night
from sleepstage.core.samples import Samples, Time, to_time
from sleepstage.core.signals import (
    PLAUSIBLE_BPM,
    Given,
    clean_heart_rate,
    clean_motion,
    clean_steps,
)
from sleepstage.errors import DataError
from sleepstage.stages import EPOCH_SECONDS

_log = logging.getLogger(__name__)

LONGEST_NIGHT: Final = 24 * 3600
"""Seconds: what spans more is no night, but several or a wrong clock."""

_ROUNDING: Final = 1e-6  # epochs that an end may lack that was added up from decimal numbers

OF_PERSON: Final = "/"
"""Stands between person and night in the subject of who slept several nights."""


def person_of(subject: str) -> str:
    """Who slept: the subject, or the part of it before the number of the night."""
    return subject.partition(OF_PERSON)[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class Recording:
    """One night. Any of the three signals may be empty. Build it with `from_arrays` or a reader."""

    start: float
    end: float
    """The night in seconds on the recording's clock (Unix time, or since the start of
    polysomnography). Samples before `start` are history; those after `end` are not used."""
    heart_rate: Samples = field(default_factory=Samples.empty)
    """Beats per minute."""
    motion: Samples = field(default_factory=lambda: Samples.empty(len(MOTION_COLUMNS)))
    """15 s summaries (`sleepstage.core.motion.MOTION_COLUMNS`) at the end of their windows; shape
    (n, 4)."""
    steps: Samples = field(default_factory=Samples.empty)
    """Steps since the sample before, at the time when the count was known."""
    reference: Hypnogram | None = None
    """Stages scored by an expert."""
    watch_stages: Hypnogram | None = None
    """Stages predicted by the watch's own software: something to compare with, and no truth."""
    subject: str = ""
    """Whose night it is; ``person/night`` where a person has several."""
    simulated: bool = False
    """True if made by the simulator."""
    dataset: str = ""
    """Name of the published set that it is of, if any, for the attribution of models."""
    utc_offset: int = 0
    """Seconds by which clocks were ahead of UTC when the night began, where times are Unix time."""

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            if not isinstance(time := getattr(self, name), int | float):
                object.__setattr__(self, name, to_time(time, name))
        if not EPOCH_SECONDS * (1 - _ROUNDING) <= self.end - self.start <= LONGEST_NIGHT:
            raise DataError(
                f"recording of {self.subject or 'unnamed'} goes from {self.start:.10g} to "
                f"{self.end:.10g} s: a night has at least one epoch of {EPOCH_SECONDS} s, and at "
                f"most {LONGEST_NIGHT // 3600} h; correct the times, or give its start and end"
            )

    @classmethod
    def from_arrays(
        cls,
        *,
        heart_rate: Given | None = None,
        motion: Given | None = None,
        steps: Given | None = None,
        start: Time | None = None,
        end: Time | None = None,
        stages: ArrayLike | None = None,
        watch_stages: Hypnogram | None = None,
        subject: str = "",
        simulated: bool = False,
        dataset: str = "",
        utc_offset: int = 0,
        names: Mapping[str, str] | None = None,
    ) -> Self:
        """Check, sort and, for raw motion, summarise what was measured.

        Parameters
        ----------
        heart_rate : (times, bpm), optional
            Beats per minute, each of shape (n,). Values outside `PLAUSIBLE_BPM` are left out. Times
            are seconds, or moments; see `sleepstage.core.samples.Times`.
        motion : (times, xyz) or (times, summaries), optional
            Raw acceleration in g, shape (n, 3), at any rate; or 15 s summaries, shape (n, 4).
        steps : (times, steps), optional
            Steps since the sample before, at the time when the count was known.
        start, end : float or moment, optional
            The night. By default from the first motion (first heart rate if there is none) to
            the last sample of either, or to the end of `stages`.
        stages : array_like of `Stage`, shape (n_epochs,), optional
            The expert's stages from `start` on.
        watch_stages, subject, simulated, dataset, utc_offset
            See `Recording`.
        names : mapping of str to str, optional
            What ``heart_rate``, ``motion`` and ``steps`` are called in error messages, as their
            files.

        Raises
        ------
        DataError
            If shapes do not fit, values are not finite or implausible, or nothing is given.
        """
        named = {"heart_rate": "heart rate", "motion": "motion", "steps": "steps", **(names or {})}
        beats = _plausible(heart_rate, named["heart_rate"])
        walked = clean_steps(steps, named["steps"])
        raw_motion = clean_motion(motion, named["motion"])
        start = _default_start(beats, raw_motion) if start is None else to_time(start, "start")
        reference = None
        if stages is not None:
            reference = Hypnogram.from_stages(
                stages, start=start, subject=subject, simulated=simulated
            )
            end = start + EPOCH_SECONDS * len(reference) if end is None else end
        if end is None:
            end = max(float(signal.times[-1]) for signal in (beats, raw_motion) if len(signal))
        summaries = raw_motion
        if raw_motion.values.shape[1] == 3:
            summaries = summarise_night(raw_motion, origin=start, name=named["motion"])
        else:
            check_unit(raw_motion.values[:, 1:])
        return cls(
            start=start,
            end=to_time(end, "end"),
            heart_rate=beats,
            motion=summaries,
            steps=walked,
            reference=reference,
            watch_stages=watch_stages,
            subject=subject,
            simulated=simulated,
            dataset=dataset,
            utc_offset=utc_offset,
        )

    def __repr__(self) -> str:
        name = f"Recording of {self.subject}" if self.subject else "Recording"
        start, end = (show_time(time, self.utc_offset) for time in (self.start, self.end))
        signals = {"heart rate": self.heart_rate, "motion": self.motion, "steps": self.steps}
        counts = ", ".join(f"{len(samples)} {signal}" for signal, samples in signals.items())
        scored = ", scored" if self.reference is not None else ""
        return f"<{name} from {start} to {end}: {self.n_epochs} epochs{scored}; samples: {counts}>"

    @property
    def n_epochs(self) -> int:
        """Number of whole 30 s epochs."""
        return math.floor((self.end - self.start) / EPOCH_SECONDS + _ROUNDING)

    def fingerprint(self) -> str:
        """SHA-256 of everything measured and scored, in hexadecimal."""
        digest = hashlib.sha256(f"{self.subject} {self.start} {self.end}".encode())
        for samples in (self.heart_rate, self.motion, self.steps):
            digest.update(f" {len(samples)} ".encode())
            digest.update(np.ascontiguousarray(samples.times).tobytes())
            digest.update(np.ascontiguousarray(samples.values).tobytes())
        if self.reference is not None:
            digest.update(self.reference.codes.tobytes())
        return digest.hexdigest()

    @property
    def covered(self) -> NDArray[np.bool_]:
        """Epochs with at least one heart rate and one motion summary, shape (n_epochs,)."""
        edges = self.start + EPOCH_SECONDS * np.arange(self.n_epochs + 1, dtype=np.float64)
        beats = np.diff(self.heart_rate.n_before(edges))
        windows = np.diff(self.motion.n_before(edges, window_ends=True))
        return np.asarray((beats > 0) & (windows > 0))

    def reversed(self) -> Self:
        """The night run backwards: what happened last comes first, on the same clock.

        A summary keeps its window and is stamped at what is now its end. Steps and what was before
        the night are left out; so are the expert's stages.

        A heart rate at the very start of an epoch comes into the epoch after it: the shipped
        whole-night model was trained so.
        """
        turn = 2 * self.start + EPOCH_SECONDS * self.n_epochs

        def mirrored(samples: Samples, window: float) -> Samples:
            times = turn - samples.times[::-1] + window
            inside = (times > self.start) & (times <= turn - self.start)
            return Samples(times[inside], samples.values[::-1][inside])

        return replace(
            self,
            end=turn - self.start,
            heart_rate=mirrored(self.heart_rate, 0),
            motion=mirrored(self.motion, WINDOW_SECONDS),
            steps=Samples.empty(),
            reference=None,
            watch_stages=None,
        )


def _plausible(given: Given | None, name: str) -> Samples:
    samples, n_dropped = clean_heart_rate(given, name)
    # 0 and -1 are what watches and apps write while nothing is measured.
    n_blank = 0 if given is None else np.isin(given[1], (0, -1)).sum()
    if n_dropped - n_blank > len(samples):
        low, high = PLAUSIBLE_BPM
        raise DataError(
            f"{name}: {n_dropped} of {n_dropped + len(samples)} values lie outside {low:g} to "
            f"{high:g} beats per minute; are the columns swapped? expected time, then heart rate"
        )
    if n_dropped:
        n_all = n_dropped + len(samples)
        _log.warning("%s: left out %d implausible of %d values", name, n_dropped, n_all)
    return samples


def _default_start(heart_rate: Samples, motion: Samples) -> float:
    if len(motion):
        ready = motion.values.shape[1] == len(MOTION_COLUMNS)
        return float(motion.times[0]) - (WINDOW_SECONDS if ready else 0)
    if len(heart_rate):
        return float(heart_rate.times[0])
    raise DataError("a recording needs heart rate or motion; give at least one of them")
