"""A step of work on a session: the messages that wait become epochs. Nothing is stored here."""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sleepstage.errors import DataError
from sleepstage.motion import MOTION_COLUMNS, WINDOW_SECONDS
from sleepstage.pedometer import Pedometer, count_steps
from sleepstage.recording import LONGEST_NIGHT, Recording
from sleepstage.samples import Samples
from sleepstage.service.message import Message, join
from sleepstage.service.records import Advance
from sleepstage.service.report import describe_epochs, describe_night
from sleepstage.snapshot import pack, unpack
from sleepstage.stages import EPOCH_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sleepstage.epoch import Epoch
    from sleepstage.service.records import Backlog, SessionRecord
    from sleepstage.service.workers import Models
    from sleepstage.session import Session
    from sleepstage.stager import Stager

__all__ = ["advance", "close"]

_log = logging.getLogger(__name__)

_LENGTH: Final = 4  # bytes that say how long the session's part of a snapshot is


@dataclass
class _Night:
    """A session at work: what is remembered, and what came out in this step."""

    session: Session
    pedometer: Pedometer
    epochs: list[dict[str, Any]] = field(default_factory=list)
    passed: list[bytes] = field(default_factory=list)

    def push(self, bodies: Sequence[bytes], *, newest: float, lateness: float) -> None:
        given = join(bodies)
        times, counts = given.pop("step_counts", (np.empty(0), np.empty(0)))
        counted = Samples.clean(times, counts, name="step counts")
        walked, pedometer = count_steps(self.pedometer, counted, newest - lateness)
        if len(walked):
            known = given.get("steps", (np.empty(0), np.empty(0)))
            both = ((walked.times, known[0]), (walked.values, known[1]))
            given["steps"] = np.concatenate(both[0]), np.concatenate(both[1])
        told = self.session.push(**given, now=newest)
        self.pedometer = pedometer
        self.keep(told)

    def keep(self, told: Sequence[Epoch]) -> None:
        passed = self.session.passed
        self.epochs += describe_epochs(told, passed)
        message = Message(heart_rate=passed.heart_rate, motion=passed.summaries, steps=passed.steps)
        self.passed.append(message.to_bytes())

    def snapshot(self) -> bytes:
        session = self.session.snapshot()
        counter = pack(self.pedometer, self.session.model.digest)
        return len(session).to_bytes(_LENGTH, "little") + session + counter


def advance(models: Models, backlog: Backlog) -> Advance:
    """Turn the messages that wait into epochs.

    Raises
    ------
    SnapshotError
        If the session was begun with another model.
    """
    record = backlog.record
    night = _work_off(models.live, backlog)
    if night is None:  # nothing says yet when the night begins: look again when there is more
        newest = _newest(record)
        waiting = replace(record, due=newest + EPOCH_SECONDS, version=record.version + 1)
        return Advance(waiting, None, -1)
    return Advance(
        record=_afterwards(record, night),
        snapshot=night.snapshot(),
        used=backlog.last,
        epochs=night.epochs,
        samples=b"".join(night.passed),
    )


def close(models: Models, backlog: Backlog, samples: Sequence[bytes]) -> Advance:
    """Tell the last epochs, and stage the night as a whole.

    Parameters
    ----------
    models : Models
        For epochs as they end, and for nights that are over.
    backlog : Backlog
        The work that waits.
    samples : sequence of bytes
        What the epochs before rest on.
    """
    record, night = backlog.record, _work_off(models.live, backlog)
    recording = None
    if night is not None:
        # No more samples are waited for: the last counts are steps as well.
        newest = min(_newest(record), night.session.start + LONGEST_NIGHT)
        night.push([], newest=newest, lateness=-math.inf)
        night.keep(night.session.finish())
        record = _afterwards(record, night)
        recording = _recording(record, [*samples, *night.passed])
    return Advance(
        record=replace(record, closed=True, version=backlog.record.version + 1),
        snapshot=None,
        used=backlog.last,
        epochs=night.epochs if night is not None else (),
        samples=b"".join(night.passed) if night is not None else b"",
        result=describe_night(models.night, recording, find_rem=record.find_rem),
    )


def _work_off(stager: Stager, backlog: Backlog) -> _Night | None:
    """Push what waits; None if nothing ever came, or nothing says when the night begins."""
    record = backlog.record
    bodies = [body for _, body in backlog.messages if body]  # of some nothing could count
    night = _resume(stager, record, backlog.snapshot, bodies)
    if night is None or record.newest is None:
        return None
    newest = min(record.newest, night.session.start + LONGEST_NIGHT)
    try:
        night.push(bodies, newest=newest, lateness=record.lateness)
    except DataError:
        # One of them is bad in a way that shows only beside the others. The rest shall count.
        for body in bodies:
            try:
                night.push([body], newest=_latest(body), lateness=record.lateness)
            except DataError as error:
                _log.warning("a stored message is left out: %s", error)
        night.push([], newest=newest, lateness=record.lateness)
    return night


def _resume(
    stager: Stager, record: SessionRecord, snapshot: bytes | None, bodies: Sequence[bytes]
) -> _Night | None:
    if snapshot is not None:
        end = _LENGTH + int.from_bytes(snapshot[:_LENGTH], "little")
        return _Night(
            stager.restore(snapshot[_LENGTH:end]),
            unpack(snapshot[end:], Pedometer(), stager.digest),
        )
    start = record.start if record.start is not None else _first_time(bodies, _newest(record))
    if start is None:
        return None
    session = stager.session(start=start, lateness=record.lateness, find_rem=record.find_rem)
    return _Night(session, Pedometer())


def _first_time(bodies: Sequence[bytes], newest: float) -> float | None:
    """Where the night begins if nobody said: as in a recording, with the first motion.

    Without motion, with the first heart rate. What is older than a night can be is history.
    """
    given = [signals for body in bodies for signals in join([body]).items()]
    for wanted in ("motion", "heart_rate"):
        firsts = []
        for name, (times, values) in given:
            inside = times[times >= newest - LONGEST_NIGHT]
            if name == wanted and len(inside):
                summaries = values.shape[1:] == (len(MOTION_COLUMNS),)
                firsts.append(float(inside.min()) - (WINDOW_SECONDS if summaries else 0))
        if firsts:
            return min(firsts)
    return None


def _latest(body: bytes) -> float:
    return max(float(times.max()) for times, _ in join([body]).values())


def _newest(record: SessionRecord) -> float:
    return -math.inf if record.newest is None else record.newest


def _afterwards(record: SessionRecord, night: _Night) -> SessionRecord:
    return replace(
        record,
        start=night.session.start,
        n_epochs=record.n_epochs + len(night.epochs),
        due=night.session.due,
        motion_columns=night.session.motion_columns,
        intake=asdict(night.session.intake),
        version=record.version + 1,
    )


def _recording(record: SessionRecord, samples: Sequence[bytes]) -> Recording | None:
    if record.start is None or not record.n_epochs:
        return None
    signals: dict[str, Any] = join(samples)
    return Recording.from_arrays(
        **signals,
        start=record.start,
        end=record.start + EPOCH_SECONDS * record.n_epochs,
        subject=record.label,
        simulated=record.simulated,
    )
