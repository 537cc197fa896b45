"""A recording of Sensor Logger as JSON, read as a stream of objects."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sleepstage.errors import DataError, MissingExtraError
from sleepstage.readers.sensor_samples import FIELDS, no_number, number, sample_row
from sleepstage.readers.text import open_error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["json_row", "objects_of"]


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
    """Objects of an array, without what is nested in them.

    They are built from single events: `ijson.items` remembers the whole way to each, of which a
    file of brackets alone makes more than there is memory.
    """
    try:
        import ijson
    except ImportError as error:
        raise MissingExtraError(purpose="reading JSON recordings", extra="score") from error
    n_read = depth = 0
    item: dict[str, Any] = {}
    key = ""
    try:
        with path.open("rb") as file:
            for event, value in ijson.basic_parse(file, use_float=True):
                if event in ("start_map", "start_array"):
                    depth += 1
                elif event in ("end_map", "end_array"):
                    depth -= 1
                    if depth == 1:
                        yield item
                        n_read += 1
                        item = {}
                elif depth == 2 and event == "map_key":
                    key = value
                elif depth == 2:
                    item[key] = value
    except ijson.JSONError as error:
        msg = f"{path}: malformed JSON after object {n_read} ({_told(error)}); export it again"
        raise DataError(msg) from error
    except OSError as error:
        raise open_error(path, error) from error


def _told(error: Exception) -> str:
    """What a parser says of an error: text or, if there was something odd in it, bytes."""
    said = error.args[0] if error.args else ""
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    return text.strip().splitlines()[0] if text.strip() else "no JSON"
