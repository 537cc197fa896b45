"""What readers find and give: files that are read together, and the nights in them."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sleepstage.core.recording import LONGEST_NIGHT, Recording
from sleepstage.errors import DataError
from sleepstage.stages import UNIX_TIME

Progress = Callable[[int, int, str], None]  # called with what is done, of all, and a remark
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

Signal = tuple[Floats, Floats]  # times in seconds and values, as `Recording.from_arrays` takes them
_log = logging.getLogger(__name__)

_DAY: Final = 86400.0
_SHORTEST: Final = 2 * 3600.0  # s of a day that are staged


class Options(NamedTuple):
    """What a user states about files that they do not state themselves."""

    timezone: str = ""
    """Of clock times, as Europe/London; empty where it is not known."""
    day_first: bool | None = None
    """Whether dates as 03/04/2024 begin with the day; None to see from the others."""


NO_OPTIONS: Final = Options()


@dataclass(frozen=True)
class Source:
    """Files that are read together."""

    name: str
    """What it is called in tables and folders; when a format finds it, what distinguishes it in its
    folder, and empty where the folder as a whole is meant."""
    files: tuple[Path, ...]  # local, or of any file system
    format: str = ""  # name of a `Format`
    options: Options = NO_OPTIONS  # what the user states about them


@dataclass(frozen=True)
class StoredNight:
    """A night that is known to be there, and is read when it is asked for."""

    name: str
    """What distinguishes it in its source; empty where it is the only one."""
    read: Callable[[], Recording]
    """Gives the recording, or raises `DataError`. It can be pickled."""
    files: tuple[Path, ...] = ()
    """What it is read from."""
    whole_day: bool = False
    """True if a night is still to be found in it."""


def times_and_values(rows: Floats) -> Signal:
    """The first column, and the others; one other as shape (n,)."""
    return rows[:, 0], rows[:, 1] if rows.shape[1] == 2 else rows[:, 1:]


def days_in(times: Floats, name: str, utc_offset: int = 0) -> list[tuple[str, float, float]]:
    """Name, start and end of each day, noon to noon, in which two hours were measured.

    The times are of all signals but steps, in any order. Where they are within a day, it is one
    without a name; other days are named after their mornings. Those that are left out are counted.
    """
    if not len(times):
        raise DataError(f"{name}: has neither heart rate nor motion")
    if not np.isfinite(times).all():
        raise DataError(f"{name}: a time is no number: the file is damaged, export it again")
    first, last = float(times.min()), float(times.max())
    if last - first <= LONGEST_NIGHT:
        return [("", first, last)]
    is_unix = first >= UNIX_TIME
    days = np.floor((times - (_DAY / 2 - utc_offset if is_unix else first)) / _DAY)
    spans = {
        day: (float(times[days == day].min()), float(times[days == day].max()))
        for day in np.unique(days).tolist()
    }
    found = []
    for day, (start, end) in spans.items():
        if end - start >= _SHORTEST:
            morning = datetime.fromtimestamp((day + 1) * _DAY, UTC)
            label = morning.date().isoformat() if is_unix else f"day-{day + 1:.0f}"
            found.append((label, start, end))
    if len(found) < len(spans):
        n_left = len(spans) - len(found)
        _log.warning("%s: left out %d days of less than 2 h", name, n_left)
    return found


def nights_in(name: str, signals: Mapping[str, Signal], utc_offset: int = 0) -> list[StoredNight]:
    """A recording as one night, or from noon to noon if it is longer than a day.

    The `signals` are by the names that `Recording.from_arrays` has for them.
    """
    main = [times for times, _ in signals.values()]
    found = []
    for day, start, end in days_in(np.concatenate([[], *main]), name, utc_offset):
        part = {
            signal: (times[inside], values[inside])
            for signal, (times, values) in signals.items()
            if (inside := (times >= start) & (times <= end)).any()
        }
        recording = Recording.from_arrays(
            **part,  # type: ignore[arg-type]  # its keywords are the signals
            subject=day,
            utc_offset=utc_offset,
            names=dict.fromkeys(part, name),
        )
        found.append(StoredNight(day, partial(replace, recording), whole_day=bool(day)))
    return found


def attribution(name: str, doi: str, work: str) -> Mapping[str, str]:
    """What a model file states about a dataset under the ODC Attribution License."""
    text = f"Contains information from {work}, made available under the ODC Attribution License"
    source = f"https://doi.org/{doi}"
    return MappingProxyType(
        {"name": name, "source": source, "licence": "ODC-By 1.0", "attribution": text}
    )
