"""The stream of an Apple Health export: of millions of records, those that sleep is staged from.

Apple describes the values in its documentation of HealthKit (HKQuantityTypeIdentifier.heartRate,
stepCount; HKCategoryValueSleepAnalysis). The file is read with expat, whose memory does not grow
with it, and its document type definition is cut out: some versions of iOS write one that is not
well-formed, and an honest one holds nothing that is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache, partial
from typing import IO, Final
from xml.parsers import expat

from sleepstage.errors import DataError
from sleepstage.io.files import MAX_ROWS, MAX_VALUE
from sleepstage.io.health import Collector, Columns, Export, Odd, SleepRecord, add_sample
from sleepstage.io.source import Progress

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
_SLEEP_PREFIX: Final = "HKCategoryValueSleepAnalysis"
_SLEEP_VALUES: Final = frozenset(
    ("InBed", "Awake", "Asleep", "AsleepUnspecified", "AsleepCore", "AsleepDeep", "AsleepREM")
)


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
            f"{name}, {': '.join(records.describe(error))}; was the file changed, or copied only "
            "in part? export it again"
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


class _Records:
    """Takes elements as the parser meets them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._found, self._odd = Collector(), Odd()
        self._n_broken = 0
        self._zones: dict[int, str] = {}
        self._begun = ""  # start of the newest record
        self._depth = 0
        self._given = self._parsed = 0  # bytes of this parser
        self._lines = 0  # before those of this parser
        self._error: expat.ExpatError | None = None  # after which the next record is sought
        self._passed = b""  # the last bytes of what was passed over
        self._takers: dict[str | None, Callable[[dict[str, str]], None]] = {
            "HKQuantityTypeIdentifierHeartRate": self._take_heart_rate,
            "HKQuantityTypeIdentifierStepCount": partial(_append, self._found.steps, 1.0),
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

    def describe(self, error: expat.ExpatError) -> tuple[str, str]:
        """Where and what an error of the parser is."""
        reason = expat.ErrorString(error.code)
        return f"line {self._lines + error.lineno}", f"malformed XML ({reason})"

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
                self._odd.count(*self.describe(error))
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
            self._odd.count(f"line {self._line}", error)

    def _take_heart_rate(self, attributes: dict[str, str]) -> None:
        factor = _BPM.get(attributes["unit"])
        if factor is None:
            raise ValueError(f"heart rate in {attributes['unit']!r}, not in {' or '.join(_BPM)}")
        _append(self._found.heart_rate, factor, attributes)

    def _take_sleep(self, attributes: dict[str, str]) -> None:
        value = attributes["value"].removeprefix(_SLEEP_PREFIX)
        if value not in _SLEEP_VALUES:
            raise ValueError(f"unknown sleep {attributes['value']!r}")
        start, offset = _time(attributes["startDate"])
        end, _ = _time(attributes["endDate"])
        self._found.add_sleep(SleepRecord(start, end, value, _source(attributes), offset * 60))

    def require_bounded(self) -> None:
        """Check between chunks that nothing grows without end."""
        # The index is -1 where the parser has put off its work.
        self._parsed = max(self._parsed, self._parser.CurrentByteIndex)
        place = f"{self._name}, line {self._line}"
        if self._error is None:
            MAX_VALUE.require(self._given - self._parsed, place)
        series = [*self._found.heart_rate.values(), *self._found.steps.values()]
        MAX_ROWS.require(sum(len(ends) for _, ends, *_ in series), place)
        for found, limit, what in (
            (self._depth, _DEEPEST, "elements within each other"),
            (len(series), _MOST_SOURCES, "sources of heart rate and steps"),
            (len(self._found.sleep), _MOST_SLEEP, "records of sleep"),
            (self._n_broken, _MOST_BROKEN, "records that are not well-formed"),
        ):
            if found > limit:
                msg = f"{place}: {found} {what}, more than {limit}: no export of Apple Health"
                raise DataError(msg)

    def export(self) -> Export:
        """All that was taken; logs what was not."""
        self._odd.report(self._name)
        return self._found.export(self._zones)


def _source(attributes: dict[str, str]) -> str:
    source = attributes["sourceName"]
    if len(source) > _LONGEST_NAME:
        raise ValueError(f"a source's name of {len(source)} characters")
    return source


def _append(sources: dict[str, Columns], factor: float, attributes: dict[str, str]) -> None:
    """One sample; nothing is appended where a part of it can't be read."""
    start, _ = _time(attributes["startDate"])
    end, offset = _time(attributes["endDate"])
    value = float(attributes["value"]) * factor
    add_sample(sources[_source(attributes)], start, end, value, offset)


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
