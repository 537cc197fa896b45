"""Zip archives from strangers: nothing is unpacked, members are read as streams."""

from __future__ import annotations

import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Final

from sleepstage.errors import DataError
from sleepstage.io.limits import MAX_UNPACKED
from sleepstage.io.text import reading

try:
    from lzma import LZMAError
except ImportError:  # pragma: no cover - Python can be built without it
    LZMAError = zlib.error  # type: ignore[misc, assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["member_names", "open_member"]

_MAGIC: Final = b"PK\x03\x04"
# NotImplementedError is an unknown compression, RuntimeError a password, UnicodeDecodeError a name.
_BROKEN: Final = (
    *(zipfile.BadZipFile, zlib.error, LZMAError, EOFError),
    *(NotImplementedError, RuntimeError, UnicodeDecodeError),
)


def member_names(path: Path) -> list[str] | None:
    """Names of the files in a zip archive; None if the file is none.

    A `DataError` if it begins like an archive and can't be read as one, or a name leads out of it.
    """
    try:
        with reading(path), path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return None
            file.seek(0)
            with zipfile.ZipFile(file) as archive:
                names = [one.filename for one in archive.infolist() if not one.is_dir()]
    except _BROKEN as error:
        msg = f"{path}: a damaged zip archive ({error}); was it copied to its end? copy it again"
        raise DataError(msg) from error
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in parts.parts[0]:
            msg = f"{path}: holds {name!r}, which leads out of the archive; it is not to be trusted"
            raise DataError(msg)
    return names


@contextmanager
def open_member(path: Path, name: str) -> Iterator[tuple[IO[bytes], int]]:
    """Open a file in an archive or, where `name` is empty, a plain file; give also its size.

    A `DataError` if it can't be read, is too large, or turns out to be damaged while it is read.
    """
    if not name:
        with reading(path), path.open("rb") as file:
            yield file, path.stat().st_size
        return
    try:
        with reading(path), zipfile.ZipFile(path) as archive, archive.open(name) as member:
            size = archive.getinfo(name).file_size  # no more is read, whatever is packed
            MAX_UNPACKED.require(size, f"{path}, {name}")
            yield member, size
    except _BROKEN as error:
        msg = f"{path}: {name} is damaged ({error}); copy or export it again"
        raise DataError(msg) from error
