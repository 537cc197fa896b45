"""Nights as a whole: of a session that is over, and sleep that is found in one that goes on."""

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import takewhile
from typing import Any, Final

from sleepstage.core.hypnogram import Epoch
from sleepstage.core.periods import PERIOD_OVER, SleepPeriod, sleep_periods
from sleepstage.core.recording import LONGEST_NIGHT, Recording
from sleepstage.engine.stager import Stager
from sleepstage.errors import SleepstageError, SnapshotMismatchError
from sleepstage.server import records
from sleepstage.server.message import join, newest_in
from sleepstage.server.records import Advance, Backlog, Bodies, Epochs, SessionRecord
from sleepstage.stages import EPOCH_SECONDS

_BEFORE: Final = 2 * 3600.0  # s before sleep that the model for nights reads as well
_INHERITED: Final = ("owner", "label", "source", "simulated", "find_rem", "lateness")
_KEPT: Final = 2 * 24 * 3600.0  # s of a session that goes on, once its nights are made
_MAY_PASS: Final = (MemoryError, OSError, SnapshotMismatchError)
"""Errors that are not those of a night's own data: later, or on another server, it may succeed."""


def divide(
    stager: Stager, backlog: Backlog, epochs: Epochs, samples: Bodies
) -> tuple[list[Advance], Advance]:
    """Make nights of the sleep that is over; drop what is older than two days.

    Gives a step for each night, and one for the session itself. `epochs` and `samples` are all
    that are stored of it.
    """
    record = backlog.record
    known = -math.inf if record.kept is None else record.kept
    hypnogram = records.read_epochs(epochs, stager.scheme, epochs[0]["time"])
    over = record.time - PERIOD_OVER
    periods = [one for one in sleep_periods(hypnogram) if known < one.end <= over]
    nights = [_night(stager, record, one, epochs, samples) for one in periods]
    since = record.time - _KEPT
    dropped = sum(1 for _ in takewhile(lambda body: newest_in(body) < since, samples))
    after = replace(
        record,
        kept=max((one.end for one in periods), default=record.kept),
        first=record.n_epochs - sum(epoch["time"] >= since for epoch in epochs),
        due=record.time + EPOCH_SECONDS + record.lateness,
        version=record.version + 1,
    )
    forgotten = record.heard - _KEPT
    step = Advance(after, backlog.snapshot, used=-1, dropped=dropped, forgotten=forgotten)
    return nights, step


def _night(
    stager: Stager, record: SessionRecord, period: SleepPeriod, epochs: Epochs, samples: Bodies
) -> Advance:
    own = [one for one in epochs if period.start <= one["time"] < period.end]
    name = f"{record.id} {period.start:.0f}"
    night = SessionRecord(
        id=hashlib.sha256(name.encode()).hexdigest()[:32],
        watch=record.id,
        start=period.start,
        newest=period.end,
        n_epochs=len(own),
        closed=True,
        version=1,
        created=record.heard,
        heard=record.heard,
        **{one: getattr(record, one) for one in _INHERITED},
    )
    # Of sleep that does not end, as a watch on a bed may seem to sleep, the last day is read.
    read = SleepPeriod(max(period.start, period.end - LONGEST_NIGHT), period.end)
    before = min(_BEFORE, read.start - epochs[0]["time"], LONGEST_NIGHT - (read.end - read.start))
    result = read_whole(stager, record, samples, read, before=before)
    return Advance(night, None, used=-1, epochs=own, result=result)


def read_whole(
    stager: Stager, record: SessionRecord, samples: Bodies, period: SleepPeriod, before: float = 0.0
) -> dict[str, Any]:
    """Stage a part of a session at once, with some seconds `before` it, of which nothing is given.

    Gives its epochs and statistics, or the ``problem`` if it could not be staged.
    """
    problems: list[str] = []
    with noted(problems, "the whole night could not be staged"):
        epochs: list[Epoch] = []
        if period.end > period.start:
            epochs = _staged(stager, record, samples, period.start - before, period.end)
        shown = [one.to_dict() for one in epochs if one.time >= period.start]
        statistics = records.describe_statistics(shown, stager.scheme)
        return {"epochs": shown, "statistics": statistics}
    return {"problem": problems[0]}


def _staged(
    stager: Stager, record: SessionRecord, samples: Bodies, start: float, end: float
) -> list[Epoch]:
    signals: dict[str, Any] = join(samples)
    signals |= {"subject": record.label, "simulated": record.simulated}
    hypnogram = stager.predict(Recording.from_arrays(**signals, start=start, end=end))
    if record.find_rem:
        hypnogram = hypnogram.decide(stager.info.class_weights)
    return hypnogram.epochs()


@contextmanager
def noted(problems: list[str], what: str) -> Iterator[None]:
    """Add `what` to the problems if the night's own data make the block fail."""
    try:
        yield
    except _MAY_PASS:
        raise
    except SleepstageError as error:
        problems.append(f"{what}: {error}")
    except Exception as error:
        problems.append(f"{what}: an error in the program ({type(error).__name__})")
