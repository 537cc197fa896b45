"""Nights of the app that recorded the dataset: ``<start>_acceleration.csv`` and ``<start>_hr.csv``.

The app of Walch et al. 2019 (github.com/ojwalch/sleep_accel) names both files after the second in
which the recording began. Acceleration, in g, has a header; heart rate has none. Times are Unix
seconds.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from sleepstage.readers.source import Format, Found, one_night
from sleepstage.readers.tables import read_tables

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sleepstage.recording import Recording

__all__ = ["FORMAT"]

_NAME: Final = re.compile(r"(\d{9,10})_(acceleration|hr)\.csv")
_HEADER: Final = b"Timestamp,x,y,z"
_SIGNALS: Final = {"acceleration": "motion", "hr": "heart_rate"}


def _find(_: Path, files: Sequence[Path]) -> list[Found]:
    nights = defaultdict(list)
    for path in files:
        found = _NAME.fullmatch(path.name)
        if found:
            nights[found[1]].append(path)
    return [Found(name, tuple(paths)) for name, paths in nights.items() if _has_header(paths)]


def _has_header(paths: Sequence[Path]) -> bool:
    motion = [path for path in paths if path.name.endswith("_acceleration.csv")]
    if not motion:
        return False
    with motion[0].open("rb") as file:
        return file.read(len(_HEADER)) == _HEADER


def _read(files: Sequence[Path]) -> Recording:
    signals = {_SIGNALS[found[2]]: path for path in files if (found := _NAME.fullmatch(path.name))}
    return read_tables(**signals)  # type: ignore[arg-type]


FORMAT: Final = Format(
    "sleep-accel-app",
    "a night of the app sleep_accel (<start>_acceleration.csv, <start>_hr.csv)",
    _find,
    one_night(_read),
)
