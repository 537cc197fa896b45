"""Garmin's FIT: heart rate, steps and stages of monitoring, sleep and activity files.

By the profile of the FIT SDK (https://developer.garmin.com/fit). The library fitdecode splits the
messages; fields are taken raw, by their numbers: it does not merge 16-bit times, takes local times
for UTC and halves steps whose activity is packed with its intensity.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from sleepstage.errors import DataError, needs_extra
from sleepstage.io.files import beginning_of
from sleepstage.io.health import HEART_RATE, SLEEP, STEPS, Records, Row
from sleepstage.io.nights import nights_of_all
from sleepstage.io.source import Source, StoredNight

_Message = tuple[int, dict[int, Any]]  # kind of a message, and raw values of its fields by number
_log = logging.getLogger(__name__)

_EPOCH: Final = 631065600  # Unix seconds of FIT's zero, 1989-12-31
_ABSOLUTE: Final = 0x10000000  # earlier times count from when the device was switched on
_MINUTE, _QUARTER = 60, 900  # s
_FILE_ID, _RECORD, _ACTIVITY, _MONITORING, _INFO, _HR, _LEVEL = 0, 20, 34, 55, 103, 132, 275
_TIME: Final = 253  # field of all messages
_LOCAL: Final = {_ACTIVITY: 5, _INFO: 0}  # fields with the local time of the same moment
_ON_FOOT: Final = (1, 6)  # activity types whose cycles are steps: running, walking
_LEVELS: Final = ("unmeasurable", "awake", "light", "deep", "rem")


def find(_: Path, files: Sequence[Path]) -> list[Source]:
    """The files of a folder, of which a watch writes several a day, are one person's."""
    named = [path for path in files if path.suffix.lower() == ".fit"]
    ours = tuple(path for path in named if beginning_of(path, 12)[8:] == b".FIT")
    return [Source(ours[0].stem if len(ours) == 1 else "", ours)] if ours else []


def read(files: Sequence[Path], *_: object) -> list[StoredNight]:
    """Nights of a watch; a damaged file of several is left out."""
    records = Records(str(files[0]))
    for path in files:
        try:
            messages = _messages(path)
        except DataError as error:
            if len(files) == 1:
                raise
            _log.warning("left out %s", error)
            continue
        numbered = enumerate([*messages, (_LEVEL, {})], 1)  # the end of what is the last level
        records.take(f"{path}, record", numbered, _Decoder(messages).rows)
    return nights_of_all(records)


def _messages(path: Path) -> list[_Message]:
    with needs_extra("reading FIT files of Garmin", "devices"):
        import fitdecode
    check, lenient = fitdecode.CrcCheck.RAISE, fitdecode.ErrorHandling.IGNORE
    found: list[_Message] = []
    try:
        with fitdecode.FitReader(
            path, processor=None, check_crc=check, error_handling=lenient
        ) as reader:
            for frame in reader:
                if frame.frame_type == fitdecode.FIT_FRAME_DATA:
                    fields = {
                        one.def_num: one.raw_value
                        for one in frame.fields
                        if one.def_num == _TIME or (one.field_def and not one.field_def.is_dev)
                    }
                    found.append((frame.global_mesg_num, fields))
    except Exception as error:  # fitdecode fails in many ways over a damaged file
        msg = f"{path}: a damaged FIT file, after message {len(found)} ({error}); export it again"
        raise DataError(msg) from error
    return found


class _Decoder:
    """What a file's messages say, each after those before it."""

    def __init__(self, messages: Sequence[_Message]) -> None:
        self._offset = next(iter(filter(None, map(_utc_offset, messages))), 0)
        ids = (fields.get(3) for kind, fields in messages if kind == _FILE_ID)
        self._source = f"Garmin {next(filter(None, ids), '')}".rstrip()  # with the serial number
        self._time = 0  # of the last message that has one
        self._anchor = 0.0, 0  # s, and the count of 1/1024 s then
        self._count = 0  # the last of these counts
        self._walked: dict[int, int] = {}  # by activity type
        self._level: tuple[int, int] | None = None  # of sleep: when it began, and which it is

    def _row(self, kind: str, start: float, end: float, value: float | str) -> Row:
        if start < _ABSOLUTE:
            raise ValueError(f"time {start:g} counts from an unknown start")
        return Row(kind, start + _EPOCH, end + _EPOCH, value, self._offset, self._source)

    def rows(self, message: _Message) -> Iterator[Row]:
        """Heart rate and steps of a message, and the level of sleep that it ends."""
        kind, fields = message
        self._time = fields.get(_TIME) or self._time
        if kind == _MONITORING:
            if fields.get(26) is not None:
                self._time += (fields[26] - self._time) & 0xFFFF
            yield from self._steps(fields)
        beats = {_MONITORING: 27, _RECORD: 3}.get(kind)
        if beats is not None and fields.get(beats):  # 0 is not measured
            yield self._row(HEART_RATE, self._time, self._time, fields[beats])
        if kind == _HR:
            yield from self._beats(fields)
        if kind == _LEVEL:
            yield from self._sleep(fields)

    def _steps(self, fields: dict[int, Any]) -> Iterator[Row]:
        """Steps since the message before of that activity; the first of a file has no such."""
        activity = fields[24][0] & 0x1F if fields.get(24) else fields.get(5)
        count = fields.get(3)
        if activity not in _ON_FOOT or count is None:
            return
        before = self._walked.get(activity, count)
        self._walked[activity] = count
        taken = count - before if count >= before else count  # it begins anew at midnight
        if taken:
            yield self._row(STEPS, self._time - _MINUTE, self._time, taken)

    def _beats(self, fields: dict[int, Any]) -> Iterator[Row]:
        """Up to eight beats, with full counts of time or the last 12 bits of each."""
        counts = list(_values(fields.get(9)))
        if counts:
            self._anchor = self._time + (fields.get(0) or 0) / 32768, counts[0]
        packed = int.from_bytes(bytes(fields.get(10) or ()), "little")
        for at in range(len(_values(fields.get(10))) * 2 // 3):
            last = counts[-1] if counts else self._count
            counts.append(last + ((packed >> 12 * at) - last & 0xFFF))
        for count, bpm in zip(counts, _values(fields.get(6)), strict=False):
            self._count = count
            time = self._anchor[0] + (count - self._anchor[1]) / 1024
            if bpm:
                yield self._row(HEART_RATE, time, time, bpm)

    def _sleep(self, fields: dict[int, Any]) -> Iterator[Row]:
        """A level of sleep up to the next; the last of a file is a minute."""
        before, self._level = self._level, (self._time, fields.get(0, len(_LEVELS)))
        if before:
            time, level = before
            yield self._row(SLEEP, time, self._time if fields else time + _MINUTE, _LEVELS[level])


def _utc_offset(message: _Message) -> int:
    kind, fields = message
    time, local = fields.get(_TIME), fields.get(_LOCAL.get(kind, -1))
    return round((local - time) / _QUARTER) * _QUARTER if time and local else 0


def _values(value: Any) -> Sequence[Any]:
    """Of an array, a single value or none."""
    return () if value is None else value if isinstance(value, tuple | list | bytes) else (value,)
