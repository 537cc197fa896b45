"""What the service stores, in plain types: sessions, grants, and what a step of work changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ADVANCED", "Advance", "Backlog", "Delivery", "Grant", "SessionRecord"]


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
