"""A recording of Sensor Logger as JSON, read as a stream of objects."""

from __future__ import annotations

import math
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from sleepstage.errors import DataError, needs_extra
from sleepstage.readers.limits import MAX_VALUE
from sleepstage.readers.sensor_samples import FIELDS, ZONE, no_number, number, sample_row
from sleepstage.readers.text import reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import IO

__all__ = ["json_row", "objects_of"]

_BEGINS: Final = frozenset(("start_map", "start_array"))
_ENDS: Final = frozenset(("end_map", "end_array"))
_DEEPEST: Final = 100  # a recording has 3
_USED: Final = frozenset(("sensor", "time", ZONE, *chain(*FIELDS.values())))


def json_row(item: dict[str, Any], sensor: str, place: str) -> list[float] | None:
    """Time in seconds and values; None if nothing was measured."""
    fields = FIELDS[sensor]
    if all(item.get(name) in (None, "") for name in fields):
        return None
    row = sample_row(item.get("time"), item, fields)
    if row is None:
        wrong = (name for name in fields if not math.isfinite(number(item.get(name))))
        column = next(wrong, "time")
        raise no_number(place, column, item.get(column))
    return row


def objects_of(path: Path) -> Iterator[dict[str, Any]]:
    """Objects of an array with the fields that are used, without what is nested in them.

    They are built from single events: `ijson.items` remembers the whole way to each, of which a
    file of brackets alone makes more than there is memory.
    """
    with needs_extra("reading JSON recordings", "score"):
        import ijson
    n_read = 0
    item: dict[str, Any] = {}
    key = ""
    try:
        with reading(path), path.open("rb") as file:
            stream = _Stream(file, path)
            events = ijson.basic_parse(stream, use_float=True)
            for depth, event, value in _with_depth(events, stream):
                if event in _ENDS:
                    if depth == 1:
                        yield item
                        n_read += 1
                        item = {}
                elif depth == 2 and event == "map_key":
                    key = value
                elif depth == 2 and event not in _BEGINS and key in _USED:
                    item[key] = value
    except ijson.JSONError as error:
        msg = f"{path}: malformed JSON after object {n_read} ({_told(error)}); export it again"
        raise DataError(msg) from error


def _with_depth(
    events: Iterable[tuple[str, Any]], stream: _Stream
) -> Iterator[tuple[int, str, Any]]:
    """Events of a stream, and within how many arrays and objects each leaves it."""
    depth = 0
    for event, value in events:
        stream.n_unparsed = 0
        if event in _BEGINS:
            depth += 1
            if depth > _DEEPEST:
                msg = f"{stream.path}: arrays or objects more than {_DEEPEST} deep; export it again"
                raise DataError(msg)
        elif event in _ENDS:
            depth -= 1
        yield depth, event, value


class _Stream:
    """A file for the parser, which keeps in memory what it has read and not yet parsed."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self.path = file, path
        self.n_unparsed = 0

    def read(self, size: int) -> bytes:
        MAX_VALUE.require(self.n_unparsed, f"{self.path}, at byte {self._file.tell()}")
        data = self._file.read(size)
        self.n_unparsed += len(data)
        return data


def _told(error: Exception) -> str:
    """What a parser says of an error: text or, if there was something odd in it, bytes."""
    said = error.args[0] if error.args else ""
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    return text.strip().splitlines()[0] if text.strip() else "no JSON"
