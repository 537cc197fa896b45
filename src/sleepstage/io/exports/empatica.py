"""Empatica E4: ``ACC.csv`` and ``HR.csv`` in a folder, or in the zip of one session.

Each begins with the Unix time of its first sample and its rate in Hz, once a column; acceleration
is in 1/64 g (https://support.empatica.com/hc/en-us/articles/201608896). The E4 stores no time zone.
"""

from __future__ import annotations

import re
from collections import defaultdict
from io import TextIOWrapper
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

import numpy as np

from sleepstage.errors import DataError
from sleepstage.io.exports.gather import Place, nights_in, places_in, read_numbers, readable_places
from sleepstage.io.source import Format, Found, StoredNight

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sleepstage.io.exports.gather import Signal
    from sleepstage.io.source import Progress

_NAME: Final = re.compile(r"(.*?)[ _-]?(ACC|HR)\.csv", re.IGNORECASE)
_WIDTHS: Final = {"ACC": 3, "HR": 1}
_FIRST: Final = 1.3e9  # Unix seconds, in 2011: no E4 is older
_FASTEST: Final = 64.0  # Hz
_UNITS_PER_G: Final = 64.0


def _signal(place: Place) -> str:
    """``ACC`` or ``HR``; empty if it is no such file."""
    found = _NAME.fullmatch(place.name)
    return found[2].upper() if found and _start_and_rate(place, found[2].upper()) else ""


def _start_and_rate(place: Place, signal: str) -> tuple[float, float] | None:
    rows = [line.split(",") for line in place.beginning().splitlines()[:2]]
    try:
        (starts, rates) = ([float(field) for field in row] for row in rows)
    except ValueError:
        return None
    width = _WIDTHS[signal]
    right = len(starts) == len(rates) == width and len({*starts}) == len({*rates}) == 1
    if right and starts[0] > _FIRST and 0 < rates[0] <= _FASTEST:
        return starts[0], rates[0]
    return None


def _find(_: Path, files: Sequence[Path]) -> list[Found]:
    """A zip is a session, and so are the files of a folder that are named alike."""
    found = []
    groups = defaultdict(list)
    for path in files:
        if not any(map(_signal, readable_places(path))):
            continue
        if named := _NAME.fullmatch(path.name):
            groups[named[1]].append(path)
        else:
            found.append(Found(path.stem, (path,)))
    return [*found, *(Found(name, tuple(paths)) for name, paths in groups.items())]


def _read(files: Sequence[Path], _: Progress | None) -> list[StoredNight]:
    places = {place: signal for place in places_in(files) if (signal := _signal(place))}
    folders = {PurePosixPath(place.member).parent for place in places}
    if len(folders) > 1:
        msg = f"{files[0]}: holds {len(folders)} sessions; unpack it, and give the folder"
        raise DataError(msg)
    read = {signal: _read_signal(place, signal) for place, signal in places.items()}
    return nights_in(str(files[0]), heart_rate=read.get("HR"), motion=read.get("ACC"))


def _read_signal(place: Place, signal: str) -> Signal:
    known = _start_and_rate(place, signal)
    if known is None:  # pragma: no cover - it was found by them
        msg = f"{place}: no start and rate"
        raise DataError(msg)
    start, rate = known
    with place.open() as (file, _):
        lines = TextIOWrapper(file, "utf-8-sig", errors="replace")
        table = read_numbers(lines, place, skip=2, columns=_WIDTHS[signal])
    times = start + np.arange(len(table)) / rate
    return (times, table[:, 0]) if signal == "HR" else (times, table / _UNITS_PER_G)


FORMAT: Final = Format(
    "empatica-e4",
    "a session of Empatica E4 (ACC.csv, HR.csv, or their zip)",
    _find,
    _read,
    many=True,
)
