"""A night as arrays, and ways to push it into a session."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sleepstage.core.hypnogram import Epoch, Hypnogram, likeliest
from sleepstage.core.recording import Recording
from sleepstage.engine.features import extract_features
from sleepstage.engine.session import Session
from sleepstage.engine.stager import Stager
from sleepstage.engine.wear import unscored_reasons

SIGNALS = ("heart_rate", "motion", "steps")


@dataclass(frozen=True, eq=False)
class Arrays:
    """Times and values of each signal, and the night's start and end."""

    start: float
    end: float
    signals: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]

    @classmethod
    def of(cls, recording: Recording) -> Arrays:
        signals = {name: getattr(recording, name) for name in SIGNALS}
        pairs = {name: (one.times, one.values) for name, one in signals.items() if len(one)}
        return cls(recording.start, recording.end, pairs)

    @property
    def recording(self) -> Recording:
        given: dict[str, Any] = dict(self.signals)
        return Recording.from_arrays(**given, start=self.start, end=self.end)

    def between(self, first: float, last: float) -> dict[str, Any]:
        """What happened in first < time <= last, as arguments of `Session.push`."""
        return {
            name: (times[inside], values[inside])
            for name, (times, values) in self.signals.items()
            if (inside := (times > first) & (times <= last)).any()
        }


def raw_night(minutes: float, *, rate: float, seed: int, start: float = 0.0) -> Arrays:
    """Irregular acceleration with a gap, heart rate with another, and steps of before."""
    rng = np.random.default_rng(seed)
    end = start + 60 * minutes
    beats = np.sort(rng.uniform(start - 100, end, int(12 * minutes)))
    beats = beats[(beats < start + 200) | (beats > start + 320)]
    moved = np.sort(rng.uniform(start - 20, end, int(60 * minutes * rate)))
    moved = moved[(moved < start + 95) | (moved > start + 170)]
    xyz = rng.normal([0.2, -0.1, 0.95], 0.02, (len(moved), 3))
    restless = rng.random(len(moved)) < 0.05
    xyz[restless] += rng.normal(0, 0.6, (int(restless.sum()), 3))
    walked = start - np.array([7200.0, 3600.0, 600.0])
    return Arrays(
        start,
        end,
        {
            "heart_rate": (beats, np.round(rng.normal(62, 6, len(beats)).clip(45, 90))),
            "motion": (moved, xyz),
            "steps": (walked, np.array([200.0, 0.0, 35.0])),
        },
    )


def lost_night(start: float) -> Arrays:
    """Twelve minutes on a wrist, eight on a table, eight without data, and again two on a wrist."""
    rng = np.random.default_rng(5)
    worn, off, silent, back = (start + 60 * minutes for minutes in (0, 12, 20, 28))
    beats = np.arange(worn, back + 120, 5.0)
    beats = beats[(beats < off) | (beats >= back)]
    moved = np.arange(worn, back + 120, 0.25)
    moved = moved[(moved < silent) | (moved >= back)]
    xyz = rng.normal([0, 0, 1], 0.05, (len(moved), 3))
    xyz[(moved >= off) & (moved < silent)] = [0, 0, 1]
    given = {"heart_rate": (beats, np.full(len(beats), 61.0)), "motion": (moved, xyz)}
    return Arrays(start, back + 120, given)


def stepped(stager: Stager, recording: Recording) -> Hypnogram:
    """A recording as a session gives it, to the last bit: epoch after epoch."""
    rows = extract_features(recording)
    beyond = np.full((stager.look_ahead, rows.shape[1]), np.nan, dtype=np.float32)
    probabilities, _ = stager.step(np.concatenate([rows, beyond]), stager.initial_state())
    probabilities = probabilities[stager.look_ahead :]
    reasons = unscored_reasons(rows)
    probabilities[reasons > 0] = np.nan
    codes = likeliest(probabilities)
    return Hypnogram(recording.start, codes, stager.scheme, probabilities, reasons=reasons)


def shortened(hypnogram: Hypnogram, n_epochs: int) -> Hypnogram:
    """The first epochs of it."""
    known = {name: getattr(hypnogram, name) for name in ("codes", "probabilities", "reasons")}
    return replace(hypnogram, **{name: one[:n_epochs] for name, one in known.items()})


def push_at(session: Session, night: Arrays, times: list[float]) -> list[Epoch]:
    """Push what has happened at each of these times, and then the rest."""
    lateness, before, epochs = 5.0, -np.inf, []
    last = night.end + lateness
    for now in [*sorted(time for time in times if time < last), last]:
        epochs += session.push(**night.between(before, now), now=now)
        before = now
    return epochs


def assert_same(epochs: list[Epoch], hypnogram: Hypnogram) -> None:
    """Every epoch is that of the hypnogram, to the last bit."""
    assert hypnogram.probabilities is not None
    assert [one.time for one in epochs] == hypnogram.times.tolist()
    assert [one.stage for one in epochs] == hypnogram.stages.tolist()
    assert [one.reason for one in epochs] == hypnogram.reason_names.tolist()
    told = [list(one.probabilities.values()) for one in epochs]
    shape = hypnogram.probabilities.shape
    found = np.array(told, dtype=np.float32).reshape(shape)
    np.testing.assert_array_equal(found, hypnogram.probabilities)
    confidence = np.array([one.confidence for one in epochs], dtype=np.float32)
    np.testing.assert_array_equal(confidence, hypnogram.confidence)
