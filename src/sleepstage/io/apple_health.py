"""Exports of Apple Health: ``export.zip`` as the iPhone makes it, or ``export.xml``.

Of millions of records, those that sleep is staged from are taken.

Apple describes the values in its documentation of HealthKit (HKQuantityTypeIdentifier.heartRate,
stepCount; HKCategoryValueSleepAnalysis). All that is needed is in the attributes of single tags. So
the file is cut into tags, and those that count are parsed one by one: what is not well-formed costs
its own record alone, and memory does not grow with the file. The document type definition, of which
some versions of iOS write one that is not well-formed, is passed over.
"""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Final
from xml.parsers import expat

from sleepstage.errors import DataError
from sleepstage.io.archives import Place, member_names
from sleepstage.io.clocks import moment
from sleepstage.io.files import MAX_VALUE, beginning_of
from sleepstage.io.health import APPLE_TYPES, BPM, HEART_RATE, SLEEP, Records, Row
from sleepstage.io.nights import nights_of_all
from sleepstage.io.source import Options, Progress, StoredNight

_BEGINNING: Final = 4096  # bytes within which an export names itself
_CONTROLS: Final = bytes({*range(32)} - {*b"\t\n\r"})  # names that apps give themselves hold some
_CHUNK: Final = 1 << 18  # bytes
_FIRST: Final = re.compile(rb"<(\w+)")
_DATED: Final = (b"Record ", b"Workout ")  # elements with a start, to which a time zone may belong
_TYPE: Final = re.compile(rb"""Record\b.*?\stype\s*=\s*["'](\w+)""", re.DOTALL)
_ENCODING: Final = re.compile(rb"""\?xml\s.*?encoding\s*=\s*["']([^"']*)""", re.DOTALL)
_END: Final = re.compile(rb"/HealthData\s*>|HealthData[^>]*/>")
_ZONE: Final = "zone"
_LONGEST_NAME: Final = 1000  # characters, of a source


def _tags(
    file: IO[bytes], size: int, name: str, on_progress: Progress | None
) -> Iterator[tuple[int, tuple[str, bytes, bytes]]]:
    """Tags that count, without their first sign, and the lines on which they begin.

    Each has its kind, and where that is `_ZONE` the tag of its record. Raises `DataError` if the
    file, of `size` bytes and called `name` in messages, ends too early, declares entities or is no
    export; names the line.
    """
    line, done, rest, dated = 1, 0, b"", b""
    while chunk := file.read(_CHUNK):
        _require_root(chunk if not done else b"", name)
        done += len(chunk)
        *tags, rest = (rest + chunk.translate(None, _CONTROLS)).split(b"<")
        for tag in tags:
            if tag.startswith(_DATED):
                dated = tag
                found = _TYPE.match(tag)
                if found and (kind := APPLE_TYPES.get(found[1].decode())):
                    yield line, (kind, tag, b"")
            elif tag.startswith(b"MetadataEntry") and b"HKTimeZone" in tag:
                yield line, (_ZONE, tag, dated)
            elif tag.startswith((b"?", b"!")):
                _require_plain(tag, name)
            line += tag.count(b"\n")
        if len(rest) > MAX_VALUE.value:
            tag, end, text = rest.rpartition(b">")
            MAX_VALUE.require(0 if end else len(rest), f"{name}, line {line}")
            rest, line = tag + end, line + text.count(b"\n")
        if on_progress:
            on_progress(done // 10**6, size // 10**6, "MB")
    if not _END.match(rest):
        raise DataError(
            f"{name}, line {line}: malformed XML (no element found that ends it, </HealthData>); "
            "was the file changed, or copied only in part? export it again"
        )


def _require_root(beginning: bytes, name: str) -> None:
    first = _FIRST.search(beginning)
    if first and first[1] != b"HealthData":
        msg = f"{name}: begins with <{first[1].decode()}>, and an export of Apple Health with "
        raise DataError(msg + "<HealthData>; give the export.xml or export.zip of the app")


def _require_plain(tag: bytes, name: str) -> None:
    """Refuse what no honest export has: entities, and another encoding than UTF-8."""
    if tag.startswith(b"!ENTITY"):
        msg = f"{name}: declares XML entities, which no export of Apple Health does"
        raise DataError(f"{msg}; not read any more")
    encoding = _ENCODING.match(tag)
    if encoding and encoding[1].lower() != b"utf-8":
        msg = f"{name}: the XML names an encoding that can't be read (unknown here:"
        raise DataError(f"{msg} {encoding[1].decode(errors='replace')[:40]}); export it again")


def _rows(zones: dict[int, str], element: tuple[str, bytes, bytes]) -> Iterator[Row]:
    """The row of a record of heart rate, steps or sleep; a time zone is noted."""
    kind, tag, dated = element
    attributes = _attributes(tag)
    value = attributes["value"]
    if kind == _ZONE:
        time, _ = moment(_attributes(dated)["startDate"])
        zones[int(time // 3600)] = value
        return
    source = attributes["sourceName"]
    if len(source) > _LONGEST_NAME:
        raise ValueError(f"a source's name of {len(source)} characters")
    start, offset = moment(attributes["startDate"])
    end, ended = moment(attributes["endDate"])
    if kind == SLEEP:
        yield Row(kind, start, end, value, offset, source)
        return
    factor = BPM.get(attributes["unit"]) if kind == HEART_RATE else 1.0
    if factor is None:
        raise ValueError(f"heart rate in {attributes['unit']!r}, not in {' or '.join(BPM)}")
    yield Row(kind, start, end, float(value) * factor, ended, source)


def _attributes(tag: bytes) -> dict[str, str]:
    """Attributes of a tag; a ValueError if it is not well-formed."""
    found: dict[str, str] = {}
    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = lambda _, attributes: found.update(attributes)
    try:
        parser.Parse(b"<" + tag.rpartition(b">")[0].removesuffix(b"/") + b"/>", True)
    except expat.ExpatError as error:
        raise ValueError(f"malformed XML ({expat.ErrorString(error.code)})") from error
    return found


def holds_export(path: Path) -> bool:
    """Recognise an export."""
    if path.suffix.lower() == ".zip":
        names = member_names(path)
        return names is not None and _export_in(names) is not None
    if path.suffix.lower() != ".xml":
        return False
    beginning = beginning_of(path, _BEGINNING)
    return b"<!DOCTYPE HealthData" in beginning or b"<HealthData" in beginning


def _export_in(names: Sequence[str]) -> str | None:
    """The export among the files of an archive: its name depends on the language of the phone.

    Beside it lies ``export_cda.xml``, the same in the form of clinical documents.
    """
    found = [
        name
        for name in names
        if name.lower().endswith(".xml")
        and not name.lower().endswith("_cda.xml")
        and len(PurePosixPath(name).parts) <= 2
    ]
    return found[0] if len(found) == 1 else None


def read(
    files: Sequence[Path], on_progress: Progress | None, options: Options
) -> list[StoredNight]:
    """Nights of an export."""
    (path,) = files
    names = member_names(path)
    member = "" if names is None else _export_in(names)
    if member is None:
        raise DataError(f"{path}: has no export.xml; give the export.zip that the app Health makes")
    place = Place(path, member)
    records = Records(str(place))
    with place.open() as (file, size):
        tags = _tags(file, size, records.name, on_progress)
        records.take("line", tags, partial(_rows, records.zones))
    return nights_of_all(records, options)
