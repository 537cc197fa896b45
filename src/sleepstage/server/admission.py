"""What a session keeps of a message, and what its sender is warned about.

One bad sample must not hold up the queue of a watch: samples that can never count are dropped and
counted, and the others are kept. A message is refused only if resending it can't help: a kind of
motion that does not fit, a clock ahead of the server's, a session that is over.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from sleepstage.core.recording import LONGEST_NIGHT
from sleepstage.core.signals import is_plausible
from sleepstage.engine.session import AHEAD_SECONDS, LONGEST_SILENCE
from sleepstage.errors import DataError
from sleepstage.server.message import Message
from sleepstage.server.problems import OverError
from sleepstage.server.records import Delivery, SessionRecord

_HISTORY: Final = 8 * 24 * 3600  # s before a night that samples may reach back: a week of steps
_EARLIEST: Final = -1e10  # s; as for a session's start. Much further off, seconds are no more exact
_LIVE: Final = 900.0  # s; the samples of a message that is sent live span less
_OFF: Final = 90.0  # s by which a clock in another time zone may be off besides
_FURTHEST: Final = 14 * 3600  # s between local time and UTC
_HERTZ: Final = (0.5, 3.5)  # heart rates of 30 to 210 beats per minute
_SPARSE: Final = 5.0  # s between samples of raw acceleration
_TELLING: Final = 10  # samples that show their rate

_WARNINGS: Final = {
    "late": "{} came too late to count: newer ones had been worked off. Send samples sooner, or "
    "open sessions with a longer lateness.",
    "stale": "Dropped {}: older than this session can use. Check the clock of the watch; old "
    "samples belong in a session of their own.",
    "ahead": "Dropped {}: ahead of the server's clock. Set the clock of the watch or of the "
    "server, and send Unix time in seconds, in UTC.",
    "after_end": "Dropped {}: after the end of the session, 24 hours after its newest sample. Open "
    "another session. (Or are times not in seconds?)",
    "clock_hours": "{} come from a clock that seems to be hours behind the server's. Send Unix "
    "time, in UTC, not local time.",
    "time_unit": "{} of acceleration are more than 5 s apart. Send times in seconds, not in "
    "milliseconds.",
    "heart_rate_hertz": "{} of heart rate seem to be in beats per second, and do not count. "
    "Multiply them by 60: heart rate is in beats per minute.",
    "heart_rate_implausible": "{} of heart rate are outside 25 to 240 beats per minute, and do "
    "not count. A watch that has lost the pulse may send 0; if all are outside, check the unit.",
    "unusable": "{} came in messages of which no sample can count.",
}
"""What each kind of warning means and how to fix it; in it stands the number of samples."""


@dataclass(frozen=True, eq=False)
class Receipt:
    """What a session keeps of a message."""

    message: Message  # of the samples that are stored; they may be none
    # About samples that are dropped or will not count: kind, number of samples, and in words.
    warnings: list[dict[str, Any]] = field(default_factory=list)
    repeated: bool = False  # it had come before: nothing was changed

    @property
    def answer(self) -> dict[str, Any]:
        """What became of the message, as `schemas.PushOut`."""
        return {"repeated": self.repeated, "warnings": self.warnings}

    @property
    def counts(self) -> dict[str, int]:
        """Number of samples that each kind of warning is about."""
        return {warning["kind"]: warning["count"] for warning in self.warnings}

    def warn(self, kind: str, count: int, fact: str = "") -> None:
        """Add a warning, if it is about any samples."""
        if count:
            self.warnings.append(_describe(kind, count, fact))


def describe_warnings(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """Put the warnings of all messages into words; a kind that is not known is left out."""
    return [_describe(kind, counts[kind]) for kind in _WARNINGS if kind in counts]


def _describe(kind: str, count: int, fact: str = "") -> dict[str, Any]:
    detail = _WARNINGS[kind].format("1 sample" if count == 1 else f"{count} samples")
    return {"kind": kind, "count": count, "detail": f"{detail} ({fact})" if fact else detail}


def admit(record: SessionRecord, message: Message, *, now: float) -> Receipt:
    """Decide what a session keeps of a message, which has samples, by the server's clock.

    Raises `DataError` if all samples are ahead of the clock, or the session takes another kind of
    motion; `OverError` if the session ended before some samples, and no other can count.
    """
    if record.watch is not None:
        raise OverError(f"this night was found in session {record.watch}: push samples there")
    _check_motion(record, message)
    if is_ahead(message, now):
        raise DataError(_all_ahead(message.newest, now))
    reached = max((one for one in (record.start, record.newest) if one is not None), default=None)
    end = math.inf if reached is None else reached + LONGEST_SILENCE
    in_time = message.between(-math.inf, now + AHEAD_SECONDS)
    in_night = in_time.between(-math.inf, end)
    kept = in_night.between(_beginning(record, in_night), math.inf)
    if not kept.n_samples and in_night.n_samples < in_time.n_samples:
        raise OverError(
            f"the session ended at {end:.10g} s, after a silence of {LONGEST_SILENCE // 3600:.0f} "
            f"h, before the newest sample, at {in_time.newest:.10g} s: open another session, or "
            "give times in seconds"
        )
    receipt = Receipt(kept)
    n_given, n_in_time, n_in_night = message.n_samples, in_time.n_samples, in_night.n_samples
    oldest = f"the oldest is at {message.oldest:.10g} s"
    receipt.warn("stale", n_in_night - kept.n_samples, oldest)
    newest = f"the newest is at {message.newest:.10g} s, the server's clock at {now:.10g} s"
    receipt.warn("ahead", n_given - n_in_time, newest)
    receipt.warn("after_end", n_in_time - n_in_night, f"it ended at {end:.10g} s")
    _warn_of_clock(receipt, record, now)
    _warn_of_values(receipt, message, record)
    return receipt


def is_ahead(message: Message, now: float) -> bool:
    """Whether all samples are further ahead of the clock than can be."""
    return message.oldest >= now + AHEAD_SECONDS


def confirm(
    delivery: Delivery, record: SessionRecord, message_id: str, receipt: Receipt
) -> Receipt:
    """Give the receipt of a message as it was delivered to the store.

    Raises `OverError` if the night is over, or another message has had this id.
    """
    if delivery is Delivery.REPEATED:
        return Receipt(receipt.message, repeated=True)
    if delivery is Delivery.CONFLICT:
        raise OverError(
            f"message {message_id}: the session has had another message with this id, and nothing "
            "was changed; give each message an id of its own, as a random UUID (a counter must not "
            "begin again when the sender restarts)"
        )
    # Without samples a message can't open a night again that silence has closed. What follows it
    # may, so its sender does not learn that the night is over.
    if delivery is Delivery.CLOSED and not record.reopens:
        raise OverError("the night is over; open another session")
    return receipt


def _check_motion(record: SessionRecord, message: Message) -> None:
    columns = message.motion.values.shape[1] if len(message.motion) else 0
    if columns and record.motion_columns not in (0, columns):
        raise DataError(
            f"motion: {columns} values a sample, and {record.motion_columns} before; a session "
            "takes either acceleration (3) or summaries (4)"
        )


def _beginning(record: SessionRecord, message: Message) -> float:
    """Time before which no sample is of use."""
    if record.start is not None:
        return max(record.start - _HISTORY, _EARLIEST)
    newest = max(message.newest, -math.inf if record.newest is None else record.newest)
    return max(newest - LONGEST_NIGHT - _HISTORY, _EARLIEST)


def _all_ahead(newest: float, now: float) -> str:
    ahead = newest - now
    hours = _time_zone(ahead)
    hint = f"; {hours:g} h: is it local time? Send it in UTC" if hours else ""
    return (
        f"no sample can count: the newest, at {newest:.10g} s, is {ahead:.0f} s ahead of the "
        f"server's clock; set the clock, and give Unix time in seconds{hint}"
    )


def _time_zone(seconds: float) -> float:
    """Hours, by halves, that a clock is off if it shows local time; 0 if it does not seem so."""
    halves = round(seconds / 1800)
    near = abs(seconds - 1800 * halves) <= _OFF
    return halves / 2 if near and 0 < seconds <= _FURTHEST + _OFF else 0.0


def _warn_of_clock(receipt: Receipt, record: SessionRecord, now: float) -> None:
    """Compare the clocks, also as they were at first: samples that waited for hours began then."""
    message = receipt.message
    newest = message.newest
    if not message.n_samples or record.simulated or newest - message.oldest > _LIVE:
        return
    hours = _time_zone(now - newest)
    # Half hours are rare behind UTC, and would double the number of false alarms.
    begun = newest if record.start is None else record.start
    if hours and hours.is_integer() and _time_zone(record.created - begun) == hours:
        fact = f"{hours:g} h: the newest at {newest:.10g} s, the server's clock at {now:.10g} s"
        receipt.warn("clock_hours", message.n_samples, fact)


def _warn_of_values(receipt: Receipt, given: Message, record: SessionRecord) -> None:
    """Warn of samples that are stored, and will not count."""
    message = receipt.message
    raw = message.motion.values.shape[1] != 4
    mark = -math.inf if record.watermark is None else record.watermark
    n_late = {
        name: int(samples.n_before(mark, window_ends=name == "motion" and not raw))
        for name, samples in message.signals.items()
    }
    late = sum(n_late.values())
    fact = f"all before {mark:.10g} s are late; the oldest is at {message.oldest:.10g} s"
    receipt.warn("late", late, fact)
    values = message.heart_rate.values[n_late.get("heart_rate", 0) :]
    strange = len(values) - int(np.count_nonzero(is_plausible(values)))
    hertz = int(np.count_nonzero((values >= _HERTZ[0]) & (values <= _HERTZ[1])))
    hertz = hertz if 2 * hertz > len(values) else 0
    receipt.warn("heart_rate_hertz", hertz)
    receipt.warn("heart_rate_implausible", strange - hertz)
    times = message.motion.times
    # Looked at first, as it costs less: a median is at most some twice the mean.
    sparse = raw and len(times) >= _TELLING and times[-1] - times[0] > _SPARSE / 3 * len(times)
    if sparse and np.median(np.diff(times)) > _SPARSE:
        receipt.warn("time_unit", len(times))
    if message.n_samples == late + strange:
        receipt.warn("unusable", given.n_samples)
