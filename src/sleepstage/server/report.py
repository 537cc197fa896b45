"""Epochs and nights as the API describes them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from sleepstage.core.hypnogram import Epoch, Hypnogram
from sleepstage.core.statistics import sleep_statistics
from sleepstage.stages import EPOCH_SECONDS, UNSCORED, Scheme

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sleepstage.core.recording import Recording
    from sleepstage.engine.buffer import SampleBuffer
    from sleepstage.engine.stager import Stager

__all__ = ["describe_epochs", "describe_night", "describe_statistics"]


def describe_epochs(epochs: Sequence[Epoch], samples: SampleBuffer) -> list[dict[str, Any]]:
    """Epochs, each with its mean heart rate (bpm) and its activity counts, None where unknown."""
    beats, moved = samples.heart_rate, samples.summaries
    described = []
    for epoch in epochs:
        edges = [epoch.time, epoch.time + EPOCH_SECONDS]
        first, last = np.searchsorted(beats.times, edges)
        # A summary is stamped with its end: one at an epoch's end belongs to it.
        begin, end = np.searchsorted(moved.times, edges, side="right")
        described.append(
            {
                **epoch.to_dict(),
                "heart_rate": _rounded(beats.values[first:last].mean()) if last > first else None,
                "activity": _rounded(moved.values[begin:end, 0].sum()) if end > begin else None,
            }
        )
    return described


def _rounded(value: float) -> float:
    return round(float(value), 2)


def describe_statistics(epochs: Sequence[Mapping[str, Any]], scheme: Scheme) -> dict[str, Any]:
    """Sleep statistics of epochs as `describe_epochs` gives them."""
    code = {name: number for number, name in enumerate(scheme.classes)}
    codes = np.array([code.get(epoch["stage"], UNSCORED) for epoch in epochs], dtype=np.int8)
    return asdict(sleep_statistics(Hypnogram(0.0, codes, scheme)))


def describe_night(
    stager: Stager, recording: Recording | None, *, find_rem: bool
) -> dict[str, Any]:
    """Stage a night that is over: its epochs and statistics; no epochs if there is no recording."""
    epochs: list[dict[str, Any]] = []
    if recording is not None:
        hypnogram = stager.predict(recording)
        if find_rem:
            hypnogram = hypnogram.decide(stager.info.class_weights)
        epochs = _rows(hypnogram)
    return {"epochs": epochs, "statistics": describe_statistics(epochs, stager.scheme)}


def _rows(hypnogram: Hypnogram) -> list[dict[str, Any]]:
    table = hypnogram.to_frame()
    names = hypnogram.scheme.classes
    shares = table.select(f"p_{name}" for name in names).rows()
    return [
        Epoch(time, stage, dict(zip(names, probabilities, strict=True)), confidence).to_dict()
        for time, stage, confidence, probabilities in zip(
            table["time"], table["stage"], table["confidence"], shares, strict=True
        )
    ]
