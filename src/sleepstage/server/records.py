"""What the service stores, in plain types: sessions, grants, what a step of work changes.

Epochs and nights are stored as the API describes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import numpy as np
import orjson
import pydantic.dataclasses
from pydantic import BeforeValidator

from sleepstage.core.hypnogram import Epoch, Hypnogram
from sleepstage.core.periods import PERIOD_OVER, SleepEvent
from sleepstage.engine.buffer import SampleBuffer
from sleepstage.stages import EPOCH_SECONDS, REASONS, UNSCORED, Scheme

Epochs: TypeAlias = Sequence[Mapping[str, Any]]
Bodies: TypeAlias = Sequence[bytes]
"""Epochs as `describe_epochs` gives them, and bodies of messages, as they are stored."""

_MOST_EPOCHS: Final = 3 * 24 * 120  # that a session keeps, three days


def _from_text(value: Any) -> Any:
    return orjson.loads(value) if isinstance(value, str) else value


_Json = BeforeValidator(_from_text)
if TYPE_CHECKING:  # mypy does not know that the fields of pydantic's can be replaced
    from dataclasses import dataclass as stored
else:
    stored = partial(pydantic.dataclasses.dataclass, config={"use_attribute_docstrings": True})


@stored(frozen=True, kw_only=True)
class Shown:
    """What the interface shows of a session as it is stored; its docstrings describe it there."""

    id: str
    """Part of its address; can't be guessed."""
    label: str = ""
    """What people call it, as the name of a device."""
    source: str = "api"
    """``api`` or ``sensor-logger``."""
    simulated: bool = False
    """True if its samples were made by a program: whatever shows it must mark it."""
    created: float
    """When it was opened, by the server's clock, in Unix seconds."""
    start: float | None = None
    """Start of the first epoch on the samples' clock; null before the first sample."""
    lateness: float = 5.0
    """Seconds that late samples are waited for."""
    find_rem: bool = False
    """Whether it is decided at the model's operating point for REM."""
    closed: bool = False
    """Whether it is over; nothing is taken in any more."""
    n_epochs: int = 0
    """Epochs emitted so far."""
    newest: float | None = None
    """Time of the newest sample."""
    heard: float
    """When the last message came, by the server's clock."""
    intake: Annotated[Mapping[str, int | float], _Json] = field(default_factory=dict)
    """What became of all samples so far; fields of `sleepstage.engine.buffer.IngestStats`."""
    watch: str | None = None
    """Session that this night was found in; null for one that takes samples itself."""
    first: int = 0
    """Number of the first epoch that is kept."""


@stored(frozen=True, kw_only=True)
class SessionRecord(Shown):
    """A session, as the store knows it. Times are None as long as they are not known."""

    owner: str
    watermark: float | None = None  # samples before this time come too late
    due: float | None = None  # once a sample is as new as this, an epoch can be emitted
    slept: float | None = None  # end of the newest sleep period, as far as it has come
    kept: float | None = None  # sleep periods that end by this time are nights of their own
    motion_columns: int = 0  # 3 for raw acceleration, 4 for summaries, 0 before the first
    reopens: bool = False  # silence closed it: a message with samples opens it again
    # Number of samples that each kind of warning was about.
    warnings: Annotated[Mapping[str, int], _Json] = field(default_factory=dict)
    version: int = 0  # raised by every `Advance`: who works from an older one has to begin again

    @property
    def time(self) -> float:
        """End of the last epoch, or start of the first; minus infinity before the first sample."""
        return -math.inf if self.start is None else self.start + EPOCH_SECONDS * self.n_epochs

    @property
    def is_due(self) -> bool:
        """Whether an epoch can be emitted now."""
        if self.closed or self.due is None or self.newest is None:
            return False
        return self.newest >= self.due

    @property
    def untidy(self) -> bool:
        """Whether sleep is over that is no night of its own yet, or too many epochs are kept."""
        over = self.slept is not None and self.slept + PERIOD_OVER <= self.time
        is_night = self.kept is not None and self.slept == self.kept
        return (over and not is_night) or self.n_epochs - self.first >= _MOST_EPOCHS


@dataclass(frozen=True)
class Incoming:
    """A message as it is given to the store."""

    id: str  # its sender's name for it
    body: bytes  # the samples that are kept
    # Of all samples that came: what is dropped depends on the clock, and may differ next time.
    digest: bytes
    span: tuple[float, float] | None  # times of the oldest and the newest sample that is kept
    now: float  # when it came, by the server's clock
    warnings: Mapping[str, int] = field(default_factory=dict)  # as those of `SessionRecord`


class Delivery(Enum):
    """What became of a message."""

    STORED = "stored"
    REPEATED = "repeated"
    CONFLICT = "conflict"  # its id had come before, with another content
    CLOSED = "closed"
    MISSING = "missing"


@dataclass(frozen=True)
class Backlog:
    """A session with the work that waits for it."""

    record: SessionRecord
    snapshot: bytes | None  # where its work was left; None before the first epoch
    messages: Sequence[tuple[int, bytes]]  # those that no `Advance` has used, by rising number

    @property
    def last(self) -> int:
        """Number of the last message; -1 for none."""
        return self.messages[-1][0] if self.messages else -1


@dataclass(frozen=True)
class Advance:
    """What a step of work changes, all at once or not at all."""

    record: SessionRecord  # afterwards; what of it a step writes is in `store.ADVANCED`
    snapshot: bytes | None  # where work is left; None once the session is closed for good
    used: int  # messages up to this number are used; -1 for none
    epochs: Epochs = ()  # those emitted; the first has number ``record.n_epochs - len(epochs)``
    samples: bytes = b""  # what these epochs rest on, for the whole-night model
    result: Mapping[str, Any] | None = None  # the night as a whole, once the session is closed
    # So many of the `samples` of earlier steps, the oldest, are dropped, and the epochs before
    # ``record.first``.
    dropped: int = 0
    # Ids of used messages that came before this time, by the server's clock, are forgotten.
    forgotten: float | None = None


@stored(frozen=True, kw_only=True)
class ShownGrant:
    """What the interface shows of a link."""

    id: str
    """To list and revoke it by; no secret."""
    created: float
    """Unix seconds."""
    expires: float | None = None
    """Unix seconds; null for never."""


@stored(frozen=True, kw_only=True)
class Grant(ShownGrant):
    """The right to use the service: a person's token, or a link to look at one session.

    Whoever makes a request has one: without a token on a server's own machine, an empty one.
    """

    digest: str  # SHA-256 of the secret, in hexadecimal; the secret itself is stored nowhere
    owner: str  # whose sessions it opens; one person may have several tokens
    session: str | None = None  # None for a token; a link opens this session alone, to look at
    # Id of the token that a link was made with, if it was with one: it is revoked with it.
    token: str | None = None

    def may_see(self, record: SessionRecord) -> bool:
        """Whether a session is theirs to look at."""
        return record.owner == self.owner and self.session in (None, record.id)


def describe_epochs(
    epochs: Sequence[Epoch], samples: SampleBuffer, events: Sequence[SleepEvent]
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
        shown = epoch.to_dict()
        shown["heart_rate"] = _rounded(beats.values[first:last].mean()) if last > first else None
        shown["activity"] = _rounded(moved.values[begin:end, 0].sum()) if end > begin else None
        described.append({**shown, "events": decided} if decided else shown)
    return described


def number_of(record: SessionRecord, epoch: Mapping[str, Any]) -> int:
    """Number of a stored epoch."""
    return round((float(epoch["time"]) - (record.start or 0.0)) / EPOCH_SECONDS)


def _rounded(value: float) -> float:
    return round(float(value), 2)


def read_epochs(epochs: Epochs, scheme: Scheme, start: float = 0.0) -> Hypnogram:
    """Make a hypnogram of stored epochs."""
    code = {name: number for number, name in enumerate(scheme.classes)}
    codes = np.array([code.get(epoch["stage"], UNSCORED) for epoch in epochs], dtype=np.int8)
    given = [epoch.get("reason", "") for epoch in epochs]  # those of earlier versions have none
    reasons = np.array([REASONS.index(one) for one in given], dtype=np.int8)
    return Hypnogram(start, codes, scheme, reasons=reasons)


def describe_statistics(epochs: Epochs, scheme: Scheme) -> dict[str, Any]:
    """Sleep statistics of stored epochs."""
    return asdict(read_epochs(epochs, scheme).statistics())
