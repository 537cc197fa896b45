"""A step of work on a session: the messages that wait become epochs. Nothing is stored here."""

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import numpy as np

from sleepstage.core.hypnogram import Epoch
from sleepstage.core.motion import MOTION_COLUMNS, WINDOW_SECONDS
from sleepstage.core.periods import SleepPeriod
from sleepstage.core.recording import LONGEST_NIGHT
from sleepstage.core.samples import Samples
from sleepstage.core.signals import Pedometer, count_steps
from sleepstage.engine.session import LONGEST_SILENCE, Session
from sleepstage.engine.snapshot import unpack
from sleepstage.engine.stager import Stager, load_model
from sleepstage.errors import DataError, SnapshotMismatchError
from sleepstage.server import nights, records
from sleepstage.server.message import Message, join, newest_in
from sleepstage.server.records import Advance, Backlog, Bodies, Epochs, SessionRecord
from sleepstage.stages import EPOCH_SECONDS

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Models:
    """What stages: epochs as they end, and nights that are over; `DataError` if they can't."""

    live: Stager
    night: Stager

    def __post_init__(self) -> None:
        if self.live.info.whole_night or self.live.look_ahead:
            msg = "to stage live, a model must predict each epoch at its end; this one looks ahead"
            raise DataError(msg)
        if self.live.scheme != self.night.scheme:
            raise DataError(
                f"the models predict different classes, {self.live.scheme.name} and "
                f"{self.night.scheme.name}; use two that were trained on the same classes"
            )

    @classmethod
    def load(cls, live: str, night: str) -> Self:
        """Load both, by name or file; see `sleepstage.load_model`."""
        return cls(load_model(live), load_model(night))


@dataclass
class _Night:
    """A session at work: what is remembered, and what came out in this step."""

    session: Session
    pedometer: Pedometer
    epochs: list[dict[str, Any]] = field(default_factory=list)
    passed: list[bytes] = field(default_factory=list)

    def push(self, bodies: Bodies, *, newest: float, counted_until: float) -> None:
        given = join(bodies)
        times, counts = given.pop("step_counts", (np.empty(0), np.empty(0)))
        counted = Samples.clean(times, counts, name="step counts")
        walked, pedometer = count_steps(self.pedometer, counted, counted_until)
        if len(walked):
            times, steps = given.get("steps", (np.empty(0), np.empty(0)))
            given["steps"] = np.append(walked.times, times), np.append(walked.values, steps)
        emitted = self.session.push(**given, now=newest)
        self.pedometer = pedometer  # only now: if the push is refused, its steps are not counted
        self.keep(emitted)

    def keep(self, emitted: Sequence[Epoch]) -> None:
        passed = self.session.passed
        self.epochs += records.describe_epochs(emitted, passed, self.session.events)
        message = Message(heart_rate=passed.heart_rate, motion=passed.summaries, steps=passed.steps)
        self.passed.append(message.to_bytes())

    def snapshot(self) -> bytes:
        return self.session.snapshot(pedometer=self.pedometer)


def advance(models: Models, backlog: Backlog) -> Advance:
    """Turn the messages that wait into epochs.

    Raises `SnapshotError` if the snapshot is damaged, or of another model.
    """
    record = backlog.record
    night = _work_off(models.live, backlog)
    if night is None:  # the start is not known yet: look again when there is more
        due = _newest(record) + EPOCH_SECONDS
        return Advance(replace(record, due=due, version=record.version + 1), None, -1)
    after, samples = _afterwards(record, night), b"".join(night.passed)
    return Advance(after, night.snapshot(), backlog.last, night.epochs, samples)


def close(models: Models, backlog: Backlog, samples: Bodies, *, final: bool) -> Advance:
    """Emit the last epochs, and stage the night as a whole, its last day if it is longer.

    What can't be staged is left out, and the result has it under ``problem``: a night that stayed
    open would never be whole either. The epochs before rest on `samples`; if not `final`, the
    session can go on from here when more come. Raises `SnapshotMismatchError` if the session was
    begun with another model.
    """
    record, night = backlog.record, None
    problems: list[str] = []
    epochs: Epochs = ()
    passed: Bodies = ()
    with nights.noted(problems, "the last samples could not be staged"):
        night = _finish(models.live, backlog, final=final)
    final = final or bool(problems)
    if night is not None:
        record, epochs, passed = _afterwards(record, night), night.epochs, night.passed
    kept = record.time - EPOCH_SECONDS * (record.n_epochs - record.first)
    period = SleepPeriod(max(kept, record.time - LONGEST_NIGHT), record.time)
    result = nights.read_whole(models.night, record, [*samples, *passed], period)
    problems += [result["problem"]] if "problem" in result else []
    if problems:
        _log.warning("a night is closed that could not be staged to its end")
        result["problem"] = "; ".join(problems)
    version = backlog.record.version + 1
    return Advance(
        record=replace(record, closed=True, reopens=not final, version=version),
        snapshot=None if final or night is None else night.snapshot(),
        used=backlog.last,
        epochs=epochs,
        samples=b"".join(passed),
        result=result,
    )


def _finish(stager: Stager, backlog: Backlog, *, final: bool) -> _Night | None:
    """Push what waits, and emit the last epochs."""
    night = _work_off(stager, backlog)
    if night is not None:
        newest = _within_reach(_newest(backlog.record), night)
        # Counts of steps are not waited for either; if the night may go on, those of the epochs.
        counted_until = math.inf if final else night.session.ended
        night.push([], newest=newest, counted_until=counted_until)
        night.keep(night.session.finish())
    return night


def _work_off(stager: Stager, backlog: Backlog) -> _Night | None:
    """Push what waits; None if nothing ever came, or the start is not known."""
    record, bodies = backlog.record, _readable([body for _, body in backlog.messages])
    night = _resume(stager, record, backlog.snapshot, bodies)
    if night is None or record.newest is None:
        return None
    try:
        night.push(bodies, newest=record.newest, counted_until=record.newest - record.lateness)
    except DataError:
        # One of them is bad in a way that shows only beside the others, or together they span more
        # than a day. The rest shall count.
        for body in bodies:
            latest = newest_in(body)
            try:
                night.push([body], newest=latest, counted_until=latest - record.lateness)
            except DataError as error:
                _leave_out(error)
        newest = _within_reach(record.newest, night)
        night.push([], newest=newest, counted_until=newest - record.lateness)
    return night


def _within_reach(newest: float, night: _Night) -> float:
    """Time up to which the session can go on at once, if what is newest was left out."""
    return min(newest, night.session.time + LONGEST_SILENCE)


def _readable(bodies: Bodies) -> list[bytes]:
    """Messages with samples, without those that can't be read."""
    found = []
    for body in bodies:
        try:
            if newest_in(body) != -math.inf:
                found.append(body)
        except Exception as error:  # whatever it is, it is this message's alone
            _leave_out(error)
    return found


def _leave_out(error: Exception) -> None:
    # Its text may have measured values.
    _log.warning("a stored message is left out (%s)", type(error).__name__)


def _resume(
    stager: Stager, record: SessionRecord, snapshot: bytes | None, bodies: Bodies
) -> _Night | None:
    if snapshot is not None:
        try:
            beside = unpack(snapshot, {"pedometer": Pedometer()}, stager.digest)
            return _Night(stager.restore(snapshot), beside["pedometer"])
        except SnapshotMismatchError as error:
            msg = f"{error}; start the server as the session was begun, or delete the session"
            raise SnapshotMismatchError(msg) from error
    start = record.start if record.start is not None else _first_time(bodies, _newest(record))
    if start is None:
        return None
    session = stager.session(start=start, lateness=record.lateness, find_rem=record.find_rem)
    return _Night(session, Pedometer())


def _first_time(bodies: Bodies, newest: float) -> float | None:
    """Where the night begins if it was not given: as in a recording, with the first motion.

    Without motion, with the first heart rate. What is older than a night can be is history.
    """
    firsts: dict[str, float] = {}
    for body in bodies:
        for name, (times, values) in join([body]).items():
            inside = times[times >= newest - LONGEST_NIGHT]
            if len(inside):
                summaries = values.shape[1:] == (len(MOTION_COLUMNS),)
                first = float(inside.min()) - (WINDOW_SECONDS if summaries else 0)
                firsts[name] = min(first, firsts.get(name, math.inf))
    return firsts.get("motion", firsts.get("heart_rate"))


def _newest(record: SessionRecord) -> float:
    return -math.inf if record.newest is None else record.newest


def _afterwards(record: SessionRecord, night: _Night) -> SessionRecord:
    session, period = night.session, night.session.sleep_period
    after = replace(
        record,
        start=session.start,
        watermark=session.watermark if math.isfinite(session.watermark) else None,
        n_epochs=record.n_epochs + len(night.epochs),
        slept=None if period is None else period.end,
        due=session.due,
        motion_columns=session.motion_columns,
        intake=asdict(session.intake),
        version=record.version + 1,
    )
    return replace(after, due=record.newest) if after.untidy else after
