"""Where nights lie and results go: a folder here, or an address that fsspec knows, as ``s3://``."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import Final, cast

from sleepstage._utils.files import temporary_folder, write_atomically
from sleepstage.errors import DataError, MissingExtraError, needs_extra

_LEVELS: Final = 3  # of a file's path that readers look at: dataset, folder, file


def place(address: str) -> Path:
    """Path of an address, local or remote; both are used alike.

    Raises `DataError` if nobody knows such addresses, `MissingExtraError` if libraries are missing.
    """
    protocol, colon, path_of_file = address.partition("://")
    if not colon:
        return Path(address)
    if protocol in {"file", "local"}:
        return Path(path_of_file)
    with needs_extra(f"reading {address}", "score"):
        from upath import UPath
    try:
        path = UPath(address)
        _ = path.fs
    except ImportError as error:
        if protocol == "s3":
            raise MissingExtraError(purpose=f"reading {address}", extra="s3") from error
        msg = f"{address}: needs a library for {protocol} ({error}); install it beside this"
        raise DataError(msg) from error
    except ValueError as error:
        msg = f"{address}: {error}; give a folder, or an address as s3://bucket/folder"
        raise DataError(msg) from error
    return cast("Path", path)


def is_local(path: Path) -> bool:
    """Distinguish a path of this machine from one of another file system."""
    return isinstance(path, Path)  # what is remote only behaves like one


@contextmanager
def local_copies(files: Sequence[Path]) -> Iterator[tuple[Path, ...]]:
    """The files where they are, or copies in a folder that lasts as long as the block.

    Copies keep the names of the folders above them, by which readers know people and signals. A
    file whose name is not Unicode is copied, too: polars can't open it.
    """
    if all(is_local(file) and shown(file) == str(file) for file in files):
        yield tuple(files)
        return
    with temporary_folder(Path(gettempdir())) as folder:
        copies = tuple(folder.joinpath(*_last_parts(file)) for file in files)
        for file, copy in zip(files, copies, strict=True):
            copy.parent.mkdir(parents=True, exist_ok=True)
            with file.open("rb") as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target)
        yield copies


def scratch(out: Path) -> AbstractContextManager[Path]:
    """Give an empty folder on this machine, on the same file system as `out` if that is local."""
    return temporary_folder(out if is_local(out) else Path(gettempdir()))


def _last_parts(file: Path) -> list[str]:
    return [part for part in Path(shown(file)).parts[-_LEVELS:] if part.strip("/")]


def shown(path: Path) -> str:
    """The path as text that can be written anywhere: a file's name need not be Unicode."""
    return str(path).encode(errors="replace").decode()


def stamp(file: Path) -> str:
    """What changes when a file does: its length, and when it was written."""
    found = file.stat()
    return f"{file.name} {found.st_size} {found.st_mtime}"


def write_text(path: Path, text: str) -> None:
    """Write a file, local or remote; a local reader never sees half of it."""
    content = text.encode(errors="replace")  # a file's name need not be Unicode
    if is_local(path):
        with write_atomically(path) as temporary:
            temporary.write_bytes(content)
    else:
        path.write_bytes(content)
