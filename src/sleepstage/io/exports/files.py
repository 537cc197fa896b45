"""Files of exports, plain or in archives, as JSON and as tables with names of columns."""

from __future__ import annotations

import csv
import json
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from sleepstage.errors import DataError
from sleepstage.io.files import Limit, bounded_lines, member_names, open_member, reading

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_JSON: Final = Limit("SLEEPSTAGE_MAX_JSON_BYTES", 1 << 27, "bytes of JSON")
"""Of one file, which is parsed as a whole: a year of minutes has some 60 MB."""

_BEGINNING: Final = 1 << 14  # bytes in which it shows what a file is


class Place(NamedTuple):
    """A file, or one in an archive."""

    path: Path
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}, {self.member}" if self.member else str(self.path)

    @property
    def name(self) -> str:
        """Without folders."""
        return PurePosixPath(self.member).name or self.path.name

    @contextmanager
    def text(self) -> Iterator[IO[str]]:
        """Text of the file, which may begin with a byte order mark."""
        with open_member(*self) as (file, _), reading(self.path):
            yield TextIOWrapper(file, "utf-8-sig", errors="replace", newline="")

    def beginning(self) -> str:
        """The first bytes of the text."""
        with self.text() as file:
            return file.read(_BEGINNING)


def places_in(path: Path) -> list[Place]:
    """A file, or the files in it if it is an archive; nothing if that is damaged."""
    try:
        names = member_names(path) if path.suffix.lower() == ".zip" else None
    except DataError:  # the search for files reports it
        return []
    places = [Place(path)] if names is None else [Place(path, name) for name in names]
    return [one for one in places if not one.name.startswith(".") and "__MACOSX" not in one.member]


def load_json(place: Place) -> Any:
    """Content of a file; refuses one that is too large or malformed."""
    with open_member(*place) as (file, size):
        MAX_JSON.require(size, str(place))
        content = file.read()
    try:
        return json.loads(content)
    except (RecursionError, ValueError) as error:
        raise DataError(f"{place}: malformed JSON ({str(error)[:100]}); export it again") from error


def csv_rows(place: Place) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows by the names of columns, and the numbers of their lines; ``sep=,`` is passed over."""
    with place.text() as text:
        lines = bounded_lines(text, place.path)
        header = next(lines, "")
        if header.lower().startswith("sep="):
            header = next(lines, "")
        mark = next((mark for mark in ";\t" if mark in header), ",")
        names = [name.strip() for name in next(csv.reader([header], delimiter=mark), [])]
        reader = csv.DictReader(lines, names, delimiter=mark)
        try:
            yield from ((reader.line_num + 1, row) for row in reader)
        except csv.Error as error:
            msg = f"{place}, line {reader.line_num + 1}: {error}; export it again"
            raise DataError(msg) from error


def first_row(place: Place) -> dict[str, str]:
    """The first row of a table; empty if there is none."""
    try:
        return next((row for _, row in csv_rows(place)), {})
    except DataError:
        return {}
