"""A night from tables: CSV or Parquet, one file a signal or all in one.

Columns are found by name, in any order and case. A file without names may hold one signal, whose
columns are taken in the order of `read_tables`.

The app that recorded the dataset sleep-accel (github.com/ojwalch/sleep_accel) writes two tables a
night, named after the Unix second in which the recording began: ``<start>_acceleration.csv``, in g
and with a header, and ``<start>_hr.csv`` without one.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np

from sleepstage.core.hypnogram import show_time
from sleepstage.core.recording import LONGEST_NIGHT, Recording
from sleepstage.core.samples import Time
from sleepstage.errors import DataError
from sleepstage.io.columns import Columns, may_hold_several, read_columns, signals_of
from sleepstage.io.files import table_errors
from sleepstage.io.source import NO_OPTIONS, Floats, Options, Source, StoredNight, days_in

_DAY: Final = 86400.0
_COMPARED: Final = 3600.0  # s that signals last whose clocks are compared

_ENDINGS: Final = {
    "heart_rate": "hr|heart[ _-]?rate|bpm",
    "motion": "motion|acc|accel|acceleration|accelerometer",
    "steps": "steps?",
}
_APP_NAME: Final = re.compile(r"\d{9,10}_(?:acceleration|hr)\.csv")


def read_tables(
    *,
    heart_rate: str | Path | None = None,
    motion: str | Path | None = None,
    steps: str | Path | None = None,
    start: float | None = None,
    end: float | None = None,
    subject: str = "",
    options: Options = NO_OPTIONS,
) -> Recording:
    """Read a night from up to three files, which may be one and the same.

    A file is Parquet by its ending, else text in any form that docs/my-csv.md describes. Columns
    without names are taken in this order: ``time, bpm``; ``time, x, y, z`` in g, or 15 s summaries
    ``time, counts, peak_x_g, peak_y_g, peak_z_g``; ``time, steps``, those since the row before.
    All times are of one clock. A row may leave a signal blank.

    For `start`, `end` and `subject` see `Recording.from_arrays`. Raises `DataError` if a file is
    broken, naming its line or column, if it is of several people, if clocks disagree or if nothing
    is given.
    """
    given = {"heart_rate": heart_rate, "motion": motion, "steps": steps}
    files = {name: Path(path) for name, path in given.items() if path is not None}
    signals = _read_signals(files, options)
    if people := _people(files, signals) - {""}:
        msg = f"{next(iter(files.values()))}: is of {len(people)} people; give a table for each"
        raise DataError(msg)
    return _recording(signals, files, start=start, end=end, subject=subject)


def _read_signals(files: Mapping[str, Path], options: Options) -> dict[str, Columns]:
    signals = {name: read_columns(path, name, options) for name, path in files.items()}
    for one, other in combinations((name for name in signals if len(signals[name].times)), 2):
        if files[one] != files[other]:
            _compare_clocks(
                (files[one], files[other]), (signals[one], signals[other]), walks="steps" in other
            )
    return signals


def _compare_clocks(
    files: tuple[Path, Path], signals: tuple[Columns, Columns], *, walks: bool
) -> None:
    """Refuse signals of which one is hours ahead of the other; steps may be of a day before."""
    if signals[0].local != signals[1].local:
        local, other = files if signals[0].local else files[::-1]
        raise DataError(
            f"{local}: has clock times without a time zone, and {other} has Unix time or a zone: "
            "name the zone with --timezone, as Europe/London"
        )
    starts, ends = zip(*((one.times.min(), one.times.max()) for one in signals), strict=True)
    shortest = min(end - start for start, end in zip(starts, ends, strict=True))
    overlap = max(0.0, min(ends) - max(starts))
    if not walks and shortest >= _COMPARED and overlap < shortest / 2:
        spans = " and ".join(
            f"{path} from {show_time(start)} to {show_time(end)}"
            for path, start, end in zip(files, starts, ends, strict=True)
        )
        raise DataError(
            f"{spans}: these overlap by only {overlap / 3600:.1f} h; is one of them in another "
            "time zone, or of another night?"
        )


def _recording(
    signals: Mapping[str, Columns],
    files: Mapping[str, Path],
    *,
    start: Time | None = None,
    end: Time | None = None,
    subject: str = "",
) -> Recording:
    pairs: dict[str, Any] = {name: (one.times, one.values) for name, one in signals.items()}
    return Recording.from_arrays(
        **pairs,
        start=start,
        end=end,
        subject=subject,
        utc_offset=next((one.utc_offset for one in signals.values()), 0),
        names={name: str(path) for name, path in files.items()},
    )


def _people(files: Mapping[str, Path], signals: Mapping[str, Columns]) -> set[str]:
    """Whose rows there are; empty text where nobody is named."""
    named = {name: one for name, one in signals.items() if one.people is not None}
    if named and (others := set(signals) - set(named)):
        msg = f"{files[others.pop()]}: does not say whose each row is, as other tables do"
        raise DataError(msg)
    people = [one.people for one in named.values() if one.people is not None]
    return {str(one) for column in people for one in np.unique(column.astype(str))} or {""}


def table_signals(path: Path) -> list[str]:
    """Signals that a file can hold, by its columns or its name."""
    return signals_of(path, _split(path)[1])


def _split(path: Path) -> tuple[str, str | None]:
    """Name of a file without the part that names its signal, and that signal."""
    stem = path.name.removesuffix(path.suffix)
    for signal, endings in _ENDINGS.items():
        found = re.fullmatch(rf"(.*?)(?:^|[ _.-])(?:{endings})", stem, re.IGNORECASE)
        if found:
            return found[1].rstrip(" _.-"), signal
    return stem, None


def find(_: Path, files: Sequence[Path]) -> list[Source]:
    """Files whose names differ only in the signal belong together."""
    groups = defaultdict(list)
    for path in files:
        try:
            signals = table_signals(path)
        except DataError:  # an empty file is no table
            continue
        if signals:
            groups[_split(path)[0]].append(path)
    return [Source(name, tuple(paths)) for name, paths in groups.items()]


def _chosen(files: Sequence[Path]) -> dict[str, Path]:
    """The file of each signal."""
    chosen: dict[str, Path] = {}
    for path in files:
        for signal in table_signals(path):
            if signal in chosen:
                name = signal.replace("_", " ")
                msg = f"{path}: has {name}, and so has {chosen[signal].name}; keep one of them"
                raise DataError(msg)
            chosen[signal] = path
    return chosen


def _read_together(files: Sequence[Path], options: Options) -> Recording:
    return read_tables(**_chosen(files), options=options)  # type: ignore[arg-type]  # signals


def hold_several(files: Sequence[Path], options: Options) -> bool:
    """Whether tables may be of several people or days; they are read to see that."""
    with suppress(DataError, OSError, *table_errors()):  # reported when it is read as a night
        return any(may_hold_several(path, options) for path in files)
    return False


def _times_of_nights(signals: Mapping[str, Columns]) -> Floats:
    """Of heart rate and motion; of motion alone if that is of one night and heart rate of days."""
    main = {name: one.times for name, one in signals.items() if name != "steps" and len(one.times)}
    if "motion" in main and np.ptp(main["motion"]) <= LONGEST_NIGHT:
        return main["motion"]
    return np.concatenate([[], *main.values()])


def read(files: Sequence[Path], _: object, options: Options) -> list[StoredNight]:
    """The night in tables, or those of each person and day."""
    if not hold_several(files, options):
        return [StoredNight("", partial(_read_together, tuple(files), options))]
    chosen = _chosen(files)
    signals = _read_signals(chosen, options)
    nights = []
    for person in sorted(_people(chosen, signals)):
        own = {name: one.of(person) for name, one in signals.items()}
        ahead = next(iter(own.values())).utc_offset
        for day, start, end in days_in(_times_of_nights(own), str(files[0]), ahead):
            part, span = own, {}
            if day:
                part = {name: one.between(start - _DAY, end) for name, one in own.items()}
                span = {"start": start, "end": end}
            read = partial(_recording, part, chosen, subject=person, **span)
            name = "-".join(filter(None, (person, day)))
            nights.append(StoredNight(name, read, whole_day=bool(day)))
    return nights


def find_app(folder: Path, files: Sequence[Path]) -> list[Source]:
    """Nights of the app, which have acceleration."""
    named = find(folder, [path for path in files if _APP_NAME.fullmatch(path.name)])
    return [one for one in named if any("_acceleration" in path.name for path in one.files)]
