"""The stream of an Apple Health export: of millions of records, those that sleep is staged from.

Apple describes the values in its documentation of HealthKit (HKQuantityTypeIdentifier.heartRate,
stepCount; HKCategoryValueSleepAnalysis). The file is read with expat, whose memory does not grow
with it, and its document type definition is cut out: some versions of iOS write one that is not
well-formed, and an honest one holds nothing that is needed.
"""

from __future__ import annotations

import logging
from array import array
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple
from xml.parsers import expat

import numpy as np

from sleepstage.core.signals import MAX_STEPS
from sleepstage.errors import DataError
from sleepstage.io.files import MAX_ROWS, MAX_VALUE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from sleepstage.io.source import Progress

    # Starts, ends, values and offsets of one source as they come; see `Series`.
    _Columns = tuple[array[Any], array[Any], array[Any], array[Any]]

_log = logging.getLogger(__name__)

BEGINNING: Final = 4096
"""Bytes within which an export names itself."""

_CONTROLS: Final = bytes({*range(32)} - {*b"\t\n\r"})
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<")
_ROOT: Final = b"<HealthData>"
_RECORD: Final = b"<Record "
_CHUNK: Final = 1 << 18  # bytes, parsed at a time
_LONGEST_DTD: Final = 1 << 20
_DEEPEST: Final = 100  # elements within each other; an export has 5
_FIRST_YEAR, _LAST_YEAR = 1900, 2262
_MOST_SOURCES: Final = 1000  # watches, phones and apps
_LONGEST_NAME: Final = 1000  # characters, of a source
_MOST_SLEEP: Final = 1_000_000  # records of sleep: a century of stages
_MOST_BROKEN: Final = 10_000  # records: each costs a new parser
_BPM: Final = {"count/min": 1.0, "count/s": 60.0}
_LONGEST_SLEEP: Final = 86400.0  # s: some apps begin records and never end them
_SLEEP_PREFIX: Final = "HKCategoryValueSleepAnalysis"
_SLEEP_VALUES: Final = frozenset(
    ("InBed", "Awake", "Asleep", "AsleepUnspecified", "AsleepCore", "AsleepDeep", "AsleepREM")
)


class SleepRecord(NamedTuple):
    """Somebody in bed, awake or asleep."""

    start: float
    end: float
    value: str
    """``InBed``, ``Awake``, ``Asleep``, ``AsleepCore``, ..."""
    source: str
    utc_offset: int
    """Seconds, at the start."""


@dataclass(frozen=True, eq=False)
class Series:
    """Samples of one source, in order of their ends; all columns are of shape (n,)."""

    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    """Unix seconds, like `starts`: each sample was measured between the two."""
    values: NDArray[np.float32]
    """Beats per minute, or steps."""
    offsets: NDArray[np.int16]
    """Minutes by which clocks were ahead of UTC."""

    def between(self, start: float, end: float) -> Series:
        """Samples that end within, as views."""
        first, last = np.searchsorted(self.ends, [start, end])
        return self._take(slice(int(first), int(last)))

    def apart_from(self, other: Series, seconds: float) -> Series:
        """Those samples that are further than this from any of another series."""
        after = other.ends.searchsorted(self.ends)
        known = np.concatenate([[-np.inf], other.ends, [np.inf]])
        distance = np.minimum(self.ends - known[after], known[after + 1] - self.ends)
        return self._take(distance > seconds)

    def joined(self, other: Series) -> Series:
        """The samples of both."""
        columns = zip(vars(self).values(), vars(other).values(), strict=True)
        return Series(*map(np.concatenate, columns)).in_order()

    def in_order(self) -> Series:
        """The same samples, sorted."""
        if (self.ends[1:] >= self.ends[:-1]).all():
            return self
        return self._take(np.argsort(self.ends, kind="stable"))

    def _take(self, rows: slice | NDArray[np.intp] | NDArray[np.bool_]) -> Series:
        return Series(self.starts[rows], self.ends[rows], self.values[rows], self.offsets[rows])


@dataclass(frozen=True, eq=False)
class Export:
    """What an export holds of sleep, by the names of the sources that wrote it."""

    heart_rate: dict[str, Series]
    steps: dict[str, Series]
    sleep: list[SleepRecord]
    zones: dict[int, str]
    """Time zones that records name, by hours of Unix time. The offsets that times are written with
    say little: they are those in force where and when the export was made."""


def is_export(beginning: bytes) -> bool:
    """Recognise an export by its first bytes."""
    return b"<!DOCTYPE HealthData" in beginning or b"<HealthData" in beginning


def read_export(
    file: IO[bytes], size: int, name: str, on_progress: Progress | None = None
) -> Export:
    """Read an export, called `name` in messages, from its beginning to its end.

    Of its `size` in bytes, `on_progress` is called with megabytes read, of all, and a remark.
    A record that is not well-formed is left out, and counted. Raises `DataError` if the file ends
    too early, declares entities or is no export; names the line.
    """
    records = _Records(name)
    done = 0
    try:
        chunk = _without_dtd(file, name)
        # Names that apps give themselves hold some; bytes of UTF-16 are not characters.
        controls = b"" if chunk[:2] in _UTF16 else _CONTROLS
        while chunk:
            records.parse(chunk.translate(None, controls))
            done += len(chunk)
            records.require_bounded()
            if on_progress:
                on_progress(done // 10**6, size // 10**6, "MB")
            chunk = file.read(_CHUNK)
        records.parse(b"", final=True)
    except expat.ExpatError as error:
        raise DataError(
            f"{name}, {records.describe(error)}; was the file changed, or copied only in part? "
            "export it again"
        ) from error
    except DataError:
        raise
    except (LookupError, ValueError) as error:  # raised by expat for encodings
        msg = f"{name}: the XML names an encoding that can't be read ({error}); export it again"
        raise DataError(msg) from error
    return records.export()


def _without_dtd(file: IO[bytes], name: str) -> bytes:
    """Beginning of the file with the document type definition cut out; its line ends stay."""
    head = file.read(_CHUNK)
    begin = head.find(b"<!DOCTYPE", 0, BEGINNING)
    bracket = head.find(b"[", begin)
    if begin < 0 or bracket < 0 or b">" in head[begin:bracket]:
        return head
    end = head.find(b"]>", bracket)
    while end < 0:
        more = file.read(_CHUNK)
        head += more
        end = head.find(b"]>", bracket)
        if end < 0 and (not more or len(head) > _LONGEST_DTD):
            raise DataError(f"{name}: the document type definition does not end; export it again")
    definition = head[begin : end + 2]
    if b"<!ENTITY" in definition:
        _refuse_entities(name)
    return head[:begin] + b"\n" * definition.count(b"\n") + head[end + 2 :]


def _refuse_entities(name: str) -> None:
    msg = f"{name}: declares XML entities, which no export of Apple Health does; not read any more"
    raise DataError(msg)


def _new_columns() -> _Columns:
    return array("d"), array("d"), array("f"), array("h")


def _series(sources: Mapping[str, _Columns]) -> dict[str, Series]:
    return {
        source: Series(*(np.frombuffer(column, column.typecode) for column in columns)).in_order()
        for source, columns in sources.items()
    }


class _Records:
    """Takes elements as the parser meets them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._heart_rate: defaultdict[str, _Columns] = defaultdict(_new_columns)
        self._steps: defaultdict[str, _Columns] = defaultdict(_new_columns)
        self._sleep: list[SleepRecord] = []
        self._n_odd = self._n_broken = 0
        self._first_odd = ""
        self._zones: dict[int, str] = {}
        self._begun = ""  # start of the newest record
        self._depth = 0
        self._given = self._parsed = 0  # bytes of this parser
        self._lines = 0  # before those of this parser
        self._error: expat.ExpatError | None = None  # after which the next record is sought
        self._passed = b""  # the last bytes of what was passed over
        self._takers: dict[str | None, Callable[[dict[str, str]], None]] = {
            "HKQuantityTypeIdentifierHeartRate": self._take_heart_rate,
            "HKQuantityTypeIdentifierStepCount": partial(_append, self._steps, 1.0),
            "HKCategoryTypeIdentifierSleepAnalysis": self._take_sleep,
        }
        self._begin()

    def _begin(self) -> None:
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._root
        self._parser.EndElementHandler = self._end
        self._parser.EntityDeclHandler = lambda *_: _refuse_entities(self._name)

    @property
    def _line(self) -> int:
        return self._lines + self._parser.CurrentLineNumber

    def describe(self, error: expat.ExpatError) -> str:
        """Where and what an error of the parser is."""
        reason = expat.ErrorString(error.code)
        return f"line {self._lines + error.lineno}: malformed XML ({reason})"

    def parse(self, data: bytes, *, final: bool = False) -> None:
        """Take the next bytes. After an error, go on with the next record."""
        while self._error is None or self._resume(data, final=final):
            if self._error is not None:
                data = _RECORD + (self._passed + data).partition(_RECORD)[2]
                self._error = None
            try:
                self._parser.Parse(data, final)
                self._given += len(data)
            except expat.ExpatError as error:
                if final or not self._depth:
                    raise
                self._count_odd(self.describe(error))
                self._n_broken += 1
                self._error, self._passed = error, b""
                self._lines += error.lineno - 1
                data = data[max(self._parser.ErrorByteIndex - self._given, 0) + 1 :]
            else:
                return

    def _resume(self, data: bytes, *, final: bool) -> bool:
        """Pass over what is before the next record; whether there is one."""
        seen = self._passed + data
        skipped, found, _ = seen.partition(_RECORD)
        self._lines += skipped.count(b"\n") - self._passed.count(b"\n")
        if found:
            self._begin()
            self._parser.Parse(_ROOT, False)
            self._given, self._parsed = len(_ROOT), 0
            return True
        if final and self._error is not None and b"</HealthData>" not in seen:
            raise self._error
        self._passed = seen[-2 * len(_ROOT) :]
        return False

    def _count_odd(self, problem: str) -> None:
        self._n_odd += 1
        self._first_odd = self._first_odd or problem

    def _root(self, element: str, _: dict[str, str]) -> None:
        if element != "HealthData":
            msg = f"{self._name}: begins with <{element}>, and an export of Apple Health with "
            raise DataError(msg + "<HealthData>; give the export.xml or export.zip of the app")
        self._depth = 1
        self._parser.StartElementHandler = self._element

    def _end(self, _: str) -> None:
        self._depth -= 1

    def _element(self, element: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        try:
            if element == "Record":
                self._begun = attributes.get("startDate", "")
                take = self._takers.get(attributes.get("type"))
                if take is not None:
                    take(attributes)
            elif element == "Workout":
                self._begun = attributes.get("startDate", "")
            elif element == "MetadataEntry" and attributes.get("key") == "HKTimeZone":
                self._zones[int(_time(self._begun)[0] // 3600)] = attributes["value"]
        except (KeyError, ValueError) as error:
            problem = f"no {error}" if isinstance(error, KeyError) else str(error)
            self._count_odd(f"line {self._line}: {problem[:200]}")

    def _take_heart_rate(self, attributes: dict[str, str]) -> None:
        factor = _BPM.get(attributes["unit"])
        if factor is None:
            raise ValueError(f"heart rate in {attributes['unit']!r}, not in {' or '.join(_BPM)}")
        _append(self._heart_rate, factor, attributes)

    def _take_sleep(self, attributes: dict[str, str]) -> None:
        value = attributes["value"].removeprefix(_SLEEP_PREFIX)
        if value not in _SLEEP_VALUES:
            raise ValueError(f"unknown sleep {attributes['value']!r}")
        start, offset = _time(attributes["startDate"])
        end, _ = _time(attributes["endDate"])
        source = _source(attributes)
        if not end >= start:
            raise ValueError(f"sleep that ends, {attributes['endDate']}, before it begins")
        if end - start > _LONGEST_SLEEP:
            raise ValueError(f"sleep of {(end - start) / 3600:.0f} h")
        self._sleep.append(SleepRecord(start, end, value, source, offset * 60))

    def require_bounded(self) -> None:
        """Check between chunks that nothing grows without end."""
        # The index is -1 where the parser has put off its work.
        self._parsed = max(self._parsed, self._parser.CurrentByteIndex)
        place = f"{self._name}, line {self._line}"
        if self._error is None:
            MAX_VALUE.require(self._given - self._parsed, place)
        series = [*self._heart_rate.values(), *self._steps.values()]
        MAX_ROWS.require(sum(len(ends) for _, ends, *_ in series), place)
        for found, limit, what in (
            (self._depth, _DEEPEST, "elements within each other"),
            (len(series), _MOST_SOURCES, "sources of heart rate and steps"),
            (len(self._sleep), _MOST_SLEEP, "records of sleep"),
            (self._n_broken, _MOST_BROKEN, "records that are not well-formed"),
        ):
            if found > limit:
                msg = f"{place}: {found} {what}, more than {limit}: no export of Apple Health"
                raise DataError(msg)

    def export(self) -> Export:
        """All that was taken; logs what was not."""
        if self._n_odd:
            message = "%s: left out %d records that can't be read, the first in %s"
            _log.warning(message, self._name, self._n_odd, self._first_odd)
        series = _series(self._heart_rate), _series(self._steps)
        return Export(*series, sorted(self._sleep), self._zones)


def _source(attributes: dict[str, str]) -> str:
    source = attributes["sourceName"]
    if len(source) > _LONGEST_NAME:
        raise ValueError(f"a source's name of {len(source)} characters")
    return source


def _append(sources: defaultdict[str, _Columns], factor: float, attributes: dict[str, str]) -> None:
    """One sample; nothing is appended where a part of it can't be read."""
    start, _ = _time(attributes["startDate"])
    end, offset = _time(attributes["endDate"])
    value = float(attributes["value"]) * factor
    if not (0 <= value <= MAX_STEPS and start <= end):
        raise ValueError(f"value {attributes['value']:.60} from {attributes['startDate']}")
    sample = (start, end, value, offset)
    for column, part in zip(sources[_source(attributes)], sample, strict=True):
        column.append(part)


def _time(text: str) -> tuple[float, int]:
    """Unix seconds of ``2024-03-31 02:15:00 +0100``, and its offset from UTC in minutes."""
    # Neighbours lie in the same hour: only the first of them costs a look at the calendar.
    hour, offset = _hour(text[:13], text[19:])
    minutes, seconds = int(text[14:16]), int(text[17:19])
    return hour + 60 * minutes + seconds, offset


@lru_cache(maxsize=1024)
def _hour(text: str, zone: str) -> tuple[float, int]:
    moment = datetime.strptime(text + zone, "%Y-%m-%d %H %z")
    offset = moment.utcoffset()
    if offset is None:  # pragma: no cover - %z gives one or raises
        raise ValueError(text)
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError(f"the year {moment.year}")
    return moment.timestamp(), int(offset.total_seconds()) // 60
