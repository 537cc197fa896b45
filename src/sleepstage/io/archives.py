"""Files, plain or in zip archives, which are never unpacked: as bytes, text, JSON and tables."""

import csv
import json
import re
import zipfile
import zlib
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, NamedTuple

from sleepstage.errors import DataError
from sleepstage.io.files import Limit, beginning_of, bounded_lines, explaining, reading

try:
    from lzma import LZMAError
except ImportError:  # pragma: no cover - Python can be built without it
    LZMAError = zlib.error  # type: ignore[misc, assignment]
from collections.abc import Iterator

MAX_UNPACKED: Final = Limit("SLEEPSTAGE_MAX_UNPACKED_BYTES", 32 << 30, "bytes unpacked")
"""Of one file in a zip archive: decades of Apple Health have some 10 GB."""

MAX_JSON: Final = Limit("SLEEPSTAGE_MAX_JSON_BYTES", 1 << 27, "bytes of JSON")
"""Of one file, which is parsed as a whole: a year of minutes has some 60 MB."""

_BEGINNING: Final = 1 << 14  # bytes in which it shows what a file is
_MAGIC: Final = b"PK\x03\x04"  # of zip
_HIDDEN: Final = re.compile(r"^__MACOSX/|(^|/)\.[^/]*$")  # Finder's files beside each, and others
# NotImplementedError is an unknown compression, RuntimeError a password, UnicodeDecodeError a name.
_BROKEN: Final = (
    *(zipfile.BadZipFile, zlib.error, LZMAError, EOFError),
    *(NotImplementedError, RuntimeError, UnicodeDecodeError),
)


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
    def open(self) -> Iterator[tuple[IO[bytes], int]]:
        """Open the file; give also its size.

        A `DataError` if it can't be read, is too large, or turns out to be damaged while it is
        read.
        """
        if not self.member:
            with reading(self.path), self.path.open("rb") as file:
                yield file, self.path.stat().st_size
            return
        with (
            explaining(f"{self.path}: {self.member} is damaged", "copy it again", *_BROKEN),
            reading(self.path),
            zipfile.ZipFile(self.path) as archive,
            archive.open(self.member) as member,
        ):
            size = archive.getinfo(self.member).file_size  # no more is read, whatever is packed
            MAX_UNPACKED.require(size, str(self))
            yield member, size

    @contextmanager
    def text(self) -> Iterator[IO[str]]:
        """Text of the file, which may begin with a byte order mark."""
        with self.open() as (file, _):
            yield TextIOWrapper(file, "utf-8-sig", errors="replace", newline="")

    def beginning(self) -> str:
        """The first bytes of the text."""
        with self.text() as file:
            return file.read(_BEGINNING)

    def json(self) -> Any:
        """Content of the file; refuses one that is too large or malformed."""
        with self.open() as (file, size):
            MAX_JSON.require(size, str(self))
            content = file.read()
        with explaining(f"{self}: malformed JSON", "export it again", RecursionError, ValueError):
            return json.loads(content)

    def rows(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Rows by the names of columns, with the numbers of their lines; passes over ``sep=,``."""
        with self.text() as text:
            lines = bounded_lines(text, self.path)
            header = next(lines, "")
            if header.lower().startswith("sep="):
                header = next(lines, "")
            mark = next((mark for mark in ";\t" if mark in header), ",")
            names = [name.strip() for name in next(csv.reader([header], delimiter=mark), [])]
            reader = csv.DictReader(lines, names, delimiter=mark)
            try:
                yield from ((reader.line_num + 1, row) for row in reader)
            except csv.Error as error:
                line = f"{self}, line {reader.line_num + 1}"
                raise DataError(f"{line}: {error}; export it again") from error

    def first_row(self) -> dict[str, str]:
        """The first row of a table; empty if there is none."""
        try:
            return next((row for _, row in self.rows()), {})
        except DataError:
            return {}


def member_names(path: Path) -> list[str] | None:
    """Names of the files in a zip archive, without hidden ones; None if the file is none.

    A `DataError` if it begins like an archive and can't be read as one, or a name leads out of it.
    """
    if beginning_of(path, len(_MAGIC)) != _MAGIC:
        return None
    advice = "was it copied to its end? copy it again"
    with (
        explaining(f"{path}: a damaged zip archive", advice, *_BROKEN),
        reading(path),
        path.open("rb") as file,
        zipfile.ZipFile(file) as archive,
    ):
        names = [one.filename for one in archive.infolist() if not one.is_dir()]
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in "".join(parts.parts[:1]):
            raise DataError(
                f"{path}: holds {name!r}, which leads out of the archive; it is not to be trusted"
            )
    return [name for name in names if PurePosixPath(name).name and not _HIDDEN.search(name)]


def places_in(path: Path) -> list[Place]:
    """A file, or the files in it if it is an archive; nothing if that is damaged."""
    try:
        names = member_names(path) if path.suffix.lower() == ".zip" else None
    except DataError:  # the search for files reports it
        return []
    return [Place(path)] if names is None else [Place(path, name) for name in names]
