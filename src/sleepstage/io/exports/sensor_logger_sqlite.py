"""SQLite of the app Sensor Logger, whose columns are not documented: it says what to export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from sleepstage.errors import DataError
from sleepstage.io.source import Format, Found

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sleepstage.io.source import Progress

_MAGIC: Final = b"SQLite format 3\x00"
_COLUMN: Final = b"seconds_elapsed"  # as tables are declared in the first pages
_BEGINNING: Final = 1 << 16


def _find(_: Path, files: Sequence[Path]) -> list[Found]:
    return [Found(path.stem, (path,)) for path in files if _is_ours(path)]


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC and _COLUMN in file.read(_BEGINNING)


def _refuse(files: Sequence[Path], _: Progress | None) -> NoReturn:
    msg = (
        f"{files[0]}: a recording of Sensor Logger as SQLite, which is not read; in the app, "
        "export it as zip or JSON"
    )
    raise DataError(msg)


FORMAT: Final = Format(
    "sensor-logger-sqlite",
    "SQLite of Sensor Logger (export it as zip or JSON)",
    _find,
    _refuse,
    many=True,
)
