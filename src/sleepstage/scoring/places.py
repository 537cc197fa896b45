"""Where nights lie and results go: a folder here, or an address that fsspec knows, as ``s3://``."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, cast

from sleepstage.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["is_local", "local_copies", "place", "publish", "stamp", "write_text"]

_LEVELS: Final = 3  # of a file's path that readers look at: dataset, folder, file
_EXTRAS: Final = {"s3": "s3"}


def place(address: str) -> Path:
    """Path of an address, local or remote; both are used alike.

    Raises
    ------
    DataError, MissingExtraError
        If the address is of a kind that nobody knows, or for which libraries are missing.
    """
    protocol, colon, _ = address.partition("://")
    if not colon:
        return Path(address)
    try:
        from upath import UPath
    except ImportError as error:
        raise MissingExtraError(purpose=f"reading {address}", extra="score") from error
    try:
        path = UPath(address)
        _ = path.fs
    except ImportError as error:
        extra = _EXTRAS.get(protocol)
        if extra is None:
            msg = f"{address}: needs a library for {protocol} ({error}); install it beside this"
            raise DataError(msg) from error
        raise MissingExtraError(purpose=f"reading {address}", extra=extra) from error
    except ValueError as error:
        msg = f"{address}: {error}; give a folder, or an address as s3://bucket/folder"
        raise DataError(msg) from error
    return cast("Path", path)


def is_local(path: Path) -> bool:
    """Tell a path of this machine from one of another file system."""
    return isinstance(path, Path)  # what is remote only behaves like one


@contextmanager
def local_copies(files: Sequence[Path]) -> Iterator[tuple[Path, ...]]:
    """The files where they are, or copies in a folder that lasts as long as the block.

    Copies keep the names of the folders above them, by which readers tell people and signals.
    """
    if all(map(is_local, files)):
        yield tuple(files)
        return
    with TemporaryDirectory() as folder:
        copies = tuple(Path(folder, *_last_parts(file)) for file in files)
        for file, copy in zip(files, copies, strict=True):
            copy.parent.mkdir(parents=True, exist_ok=True)
            with file.open("rb") as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target)
        yield copies


def _last_parts(file: Path) -> list[str]:
    return [part for part in file.parts[-_LEVELS:] if part.strip("/")]


def stamp(file: Path) -> str:
    """What changes when a file does: its length, and when it was written."""
    found = file.stat()
    return f"{file.name} {found.st_size} {found.st_mtime}"


def publish(written: Path, target: Path, *, last: str) -> None:
    """Put a local folder of files in place of `target`.

    Parameters
    ----------
    written : Path
        Folder without folders; on the file system of `target`, if that is local. It is used up.
    target : Path
        Where it shall be: all of it at once if local, else file by file.
    last : str
        Name of the file whose presence says that all others are there.
    """
    if is_local(target):
        shutil.rmtree(target, ignore_errors=True)
        written.rename(target)
        return
    (target / last).unlink(missing_ok=True)
    for file in sorted(written.iterdir(), key=lambda one: one.name == last):
        (target / file.name).write_bytes(file.read_bytes())


def write_text(path: Path, text: str) -> None:
    """Write a file, local or remote; a reader never sees half of it."""
    if is_local(path):
        from sleepstage.files import write_atomically

        with write_atomically(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    else:
        path.write_bytes(text.encode())
