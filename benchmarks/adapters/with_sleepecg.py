"""sleepecg, which stages heartbeats: they are derived from the heart rate.

A beat falls wherever the running sum of the heart rate, on straight lines between its samples,
passes a whole number. What a real heart does from beat to beat is not in it.
"""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import sleepecg

if TYPE_CHECKING:
    from adapters.run import Night

PACKAGE = "sleepecg"
BEGIN = dt.time(23)  # of every night, as the data do not have it; age and sex stay unknown
WAKE = -1  # the last one in every scheme of sleepecg
RATE = 10  # Hz


def heartbeats(night: Night) -> Any:
    """Times of beats, to a minute after the night, so that its last epoch is staged, too."""
    times = np.arange(0, 30 * night.n_epochs + 60, 1 / RATE)
    beats = np.cumsum(np.interp(times, night.beats, night.bpm)) / 60 / RATE
    return np.interp(np.arange(1, beats[-1]), beats, times)


def load(name: str) -> tuple[Any, Any]:
    """Whether each epoch is sleep, and one less the probability of wake."""
    model = sleepecg.load_classifier(name, "SleepECG")

    def probabilities(night: Night) -> Any:
        record = sleepecg.SleepRecord(heartbeat_times=heartbeats(night), recording_start_time=BEGIN)
        return sleepecg.stage(model, record, return_mode="prob")[: night.n_epochs]

    def asleep(night: Night) -> Any:
        found = probabilities(night)
        return found.argmax(axis=1) != found.shape[1] + WAKE

    return asleep, lambda night: 1 - probabilities(night)[:, WAKE]


METHODS = {name: partial(load, name) for name in ("ws-gru-mesa", "wrn-gru-mesa")}
