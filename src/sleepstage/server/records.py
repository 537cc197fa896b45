"""What the service stores, in plain types: sessions, grants, what a step of work changes.

Epochs and nights are stored as the API describes them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sleepstage.core.hypnogram import Hypnogram
from sleepstage.core.statistics import sleep_statistics
from sleepstage.stages import EPOCH_SECONDS, REASONS, UNSCORED, Scheme

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sleepstage.core.hypnogram import Epoch
    from sleepstage.core.periods import SleepEvent
    from sleepstage.core.recording import Recording
    from sleepstage.engine.buffer import SampleBuffer
    from sleepstage.engine.stager import Stager


@dataclass(frozen=True, kw_only=True)
class SessionRecord:
    """A session, as the store knows it."""

    id: str
    """Part of its address; can't be guessed."""
    owner: str
    """Whose it is; see `Grant.owner`."""
    label: str = ""
    """What people call it, as the name of a device."""
    source: str = "api"
    """``api`` or ``sensor-logger``."""
    simulated: bool = False
    """True if its samples were made by a program: whatever shows it must mark it."""
    created: float
    """When it was opened, by the server's clock, in Unix seconds."""
    lateness: float = 5.0
    """Seconds that late samples are waited for."""
    find_rem: bool = False
    """Whether it is decided at the model's operating point for REM."""
    start: float | None = None
    """Start of the first epoch on the samples' clock; None until the first sample."""
    watermark: float | None = None
    """Samples before this time come too late; None before the first step of work."""
    n_epochs: int = 0
    """Epochs emitted so far."""
    due: float | None = None
    """Once a sample is as new as this, an epoch can be emitted. None before the first sample."""
    motion_columns: int = 0
    """3 for raw acceleration, 4 for summaries, 0 before the first."""
    intake: Mapping[str, float] = field(default_factory=dict)
    """What became of all samples so far; fields of `sleepstage.engine.buffer.IngestStats`."""
    closed: bool = False
    """Whether the night is over; nothing is taken in any more."""
    reopens: bool = False
    """True if silence closed it: a message with samples opens it again."""
    warnings: Mapping[str, int] = field(default_factory=dict)
    """Number of samples that each kind of warning was about."""
    version: int = 0
    """Raised by every `Advance`: who works from an older one has to begin again."""
    newest: float | None = None
    """Time of the newest sample."""
    heard: float
    """When the last message came, by the server's clock."""


@dataclass(frozen=True)
class Incoming:
    """A message as it is given to the store."""

    id: str
    """Its sender's name for it."""
    body: bytes
    """The samples that are kept."""
    digest: bytes
    """Of all samples that came: what is dropped depends on the clock, and may differ next time."""
    span: tuple[float, float] | None
    """Times of the oldest and the newest sample; None if there is none."""
    now: float
    """When it came, by the server's clock."""
    warnings: Mapping[str, int] = field(default_factory=dict)
    """Number of samples that each kind of warning is about."""


class Delivery(Enum):
    """What became of a message."""

    STORED = "stored"
    REPEATED = "repeated"
    CONFLICT = "conflict"
    """Its id had come before, with another content."""
    CLOSED = "closed"
    MISSING = "missing"


@dataclass(frozen=True)
class Backlog:
    """A session with the work that waits for it."""

    record: SessionRecord
    """As it is now."""
    snapshot: bytes | None
    """Where its work was left; None before the first epoch."""
    messages: Sequence[tuple[int, bytes]]
    """Stored messages that no `Advance` has used, by rising number."""

    @property
    def last(self) -> int:
        """Number of the last message; -1 for none."""
        return self.messages[-1][0] if self.messages else -1


ADVANCED: Final = (
    *("start", "watermark", "n_epochs", "due", "motion_columns", "intake"),
    *("closed", "reopens", "version"),
)
"""Fields of a session that a step of work writes; `newest`, `heard` and `warnings` belong to the
messages."""


@dataclass(frozen=True)
class Advance:
    """What a step of work changes, all at once or not at all."""

    record: SessionRecord
    """The session afterwards, of which the fields `ADVANCED` are written."""
    snapshot: bytes | None
    """Where work is left; None once the session is closed for good."""
    used: int
    """Messages up to this number are used; -1 for none."""
    epochs: Sequence[Mapping[str, Any]] = ()
    """Those emitted, in order; the first has number ``record.n_epochs - len(epochs)``."""
    samples: bytes = b""
    """What these epochs rest on, for the whole-night model; empty for none."""
    result: Mapping[str, Any] | None = None
    """The night as a whole, once the session is closed."""


@dataclass(frozen=True, kw_only=True)
class Grant:
    """The right to use the service: a person's token, or a link to look at one session."""

    id: str
    """To list and revoke it by; no secret."""
    digest: str
    """SHA-256 of the secret, in hexadecimal. The secret itself is stored nowhere."""
    owner: str
    """Whose sessions it opens. One person may have several tokens."""
    session: str | None = None
    """None for a token; a link opens this session alone, to look at."""
    token: str | None = None
    """Id of the token that a link was made with: revoked with it. None for a token, for a link
    that was made without one, and for those of stores before version 2."""
    created: float
    """Unix seconds."""
    expires: float | None = None
    """Unix seconds; None for never."""


def describe_epochs(
    epochs: Sequence[Epoch], samples: SampleBuffer, events: Sequence[SleepEvent] = ()
) -> list[dict[str, Any]]:
    """Epochs, each with its mean heart rate (bpm) and its activity counts, None where unknown.

    Events are stored with the epoch that decided them: none is lost, or sent without it.
    """
    beats, moved = samples.heart_rate, samples.summaries
    described = []
    for epoch in epochs:
        known = epoch.time + EPOCH_SECONDS
        decided = [event.to_dict() for event in events if event.known == known]
        edges = [epoch.time, known]
        first, last = beats.n_before(edges)
        begin, end = moved.n_before(edges, window_ends=True)
        described.append(
            {
                **epoch.to_dict(),
                "heart_rate": _rounded(beats.values[first:last].mean()) if last > first else None,
                "activity": _rounded(moved.values[begin:end, 0].sum()) if end > begin else None,
                **({"events": decided} if decided else {}),
            }
        )
    return described


def _rounded(value: float) -> float:
    return round(float(value), 2)


def describe_statistics(epochs: Sequence[Mapping[str, Any]], scheme: Scheme) -> dict[str, Any]:
    """Sleep statistics of epochs as `describe_epochs` gives them."""
    code = {name: number for number, name in enumerate(scheme.classes)}
    codes = np.array([code.get(epoch["stage"], UNSCORED) for epoch in epochs], dtype=np.int8)
    given = [epoch.get("reason", "") for epoch in epochs]  # those of earlier versions have none
    reasons = np.array([REASONS.index(one) for one in given], dtype=np.int8)
    return asdict(sleep_statistics(Hypnogram(0.0, codes, scheme, reasons=reasons)))


def describe_night(
    stager: Stager, recording: Recording | None, *, find_rem: bool
) -> dict[str, Any]:
    """Stage a night that is over: its epochs and statistics; no epochs if there is no recording."""
    epochs: list[dict[str, Any]] = []
    if recording is not None:
        hypnogram = stager.predict(recording)
        if find_rem:
            hypnogram = hypnogram.decide(stager.info.class_weights)
        epochs = [epoch.to_dict() for epoch in hypnogram.epochs()]
    return {"epochs": epochs, "statistics": describe_statistics(epochs, stager.scheme)}
