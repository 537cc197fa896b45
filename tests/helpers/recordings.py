"""Nights as readers give them: of one format, nothing broken."""

from __future__ import annotations

from pathlib import Path

from sleepstage import open_nights
from sleepstage.core.recording import Recording
from sleepstage.io.registry import find_sources


def nights(path: Path, kind: str) -> dict[str, Recording]:
    """All nights of a path, by name; its files are all of this format."""
    sources, broken = find_sources(path)
    assert not broken
    assert {source.format for source in sources} == {kind}
    return {night.name: night.read() for night in open_nights(path)}


def only(path: Path, kind: str) -> Recording:
    """The one night of a path."""
    (night,) = nights(path, kind).values()
    return night


def peaks(recording: Recording) -> list[float]:
    """Largest length of acceleration in each axis, of all summaries, in g."""
    return [round(float(peak), 3) for peak in recording.motion.values[:, 1:].max(axis=0)]
