"""Nights in files and folders: every format, and which of them a file is."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sleepstage.errors import DataError
from sleepstage.io import bidsleep, tables
from sleepstage.io.apple_health import nights as apple_health
from sleepstage.io.exports import binary, devices, garmin, people
from sleepstage.io.files import MAX_DEPTH, MAX_FILES, member_names, reading
from sleepstage.io.sensor_logger import nights as sensor_logger
from sleepstage.io.sleep_accel import read as sleep_accel
from sleepstage.io.source import Format, Source, StoredNight

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sleepstage.io.source import Progress

_IN_ORDER: Final = (
    apple_health.FORMAT,
    sensor_logger.FORMAT,
    bidsleep.FORMAT,
    sleep_accel.FORMAT,
    people.FORMAT,
    devices.E4,
    devices.RAW,
    devices.SQLITE,
    garmin.FORMAT,
    binary.FORMAT,
    tables.APP_FORMAT,
    tables.FORMAT,
)
FORMATS: Final = MappingProxyType({one.name: one for one in _IN_ORDER})
"""By name, in the order in which they are asked: those that could be taken for another come
first."""


def open_nights(
    path: str | Path,
    format: str | None = None,  # noqa: A002 - the word that users expect
    *,
    on_progress: Progress | None = None,
) -> Iterator[StoredNight]:
    """Nights in a file, or in a folder and all folders below it.

    Parameters
    ----------
    path : path
        An export of Apple Health, a recording of an app, a table, a dataset, or a folder of these;
        ``DIR:SUBJECT`` for one night of a folder, by its name.
    format : str, optional
        One of `FORMATS`, where the content fits none, or more than one.
    on_progress : callable, optional
        Called with what is done, of all, and a remark, while a source of many nights is read.

    Yields
    ------
    StoredNight
        Its ``read()`` gives the recording.

    Raises
    ------
    DataError
        If there is nothing, no known format, no night of this name or a damaged file.

    Examples
    --------
    >>> import sleepstage
    >>> model = sleepstage.load_model("night")
    >>> for night in sleepstage.open_nights("export.zip"):  # doctest: +SKIP
    ...     model.predict(night.read()).save(f"{night.name}.csv")
    """
    directory, colon, name = str(path).rpartition(":")
    if colon and not Path(path).exists():
        if not (directory and name and Path(directory).is_dir()):
            msg = f"{path}: no such file or folder; for one night of a folder expected DIR:SUBJECT"
            raise DataError(msg)
        yield _night_named(name, Path(directory), format)
        return
    sources, broken = find_sources(Path(path), as_format=format)
    for _, error in broken:
        raise error
    for source in sources:
        yield from read_source(source, source.files, on_progress=on_progress)


def _night_named(name: str, directory: Path, as_format: str | None) -> StoredNight:
    sources, _ = find_sources(directory, as_format=as_format)
    for source in sources:
        for night in read_source(source, source.files) if name.startswith(source.name) else ():
            if night.name == name:
                return night
    known = ", ".join(source.name for source in sources[:5])
    msg = f"{directory}: no night {name!r}; there are {known}, …"
    raise DataError(msg)


def read_source(
    source: Source, files: Sequence[Path], *, on_progress: Progress | None = None
) -> list[StoredNight]:
    """Nights of a source, named in full, from local copies of its files."""
    nights = FORMATS[source.format].read(files, on_progress)
    return [
        StoredNight("-".join(filter(None, (source.name, one.name))), one.read, source.files)
        for one in nights
    ]


def find_sources(
    path: Path, *, as_format: str | None = None
) -> tuple[list[Source], list[tuple[str, DataError]]]:
    """Files that are read together, and those that are damaged, in a file or folder.

    The path is local, or of any file system by way of `universal_pathlib`. Each of `FORMATS` is
    asked, unless one is named. Raises `DataError` if the path is not there, the format unknown, or
    nothing of a known format is in it.
    """
    if as_format is not None and as_format not in FORMATS:
        msg = f"unknown format {as_format!r}; choose from {', '.join(FORMATS)}"
        raise DataError(msg)
    formats = [FORMATS[as_format]] if as_format else list(FORMATS.values())
    with reading(path):
        if path.is_dir():
            folders, top = list(_walk(path)), path
        elif path.exists():
            folders, top = [(path.parent, [path])], path.parent
        else:
            msg = f"{path}: no such file or folder"
            raise DataError(msg)
        sources, broken = _find_in(folders, formats, top)
    if not sources and not broken:
        known = "; ".join(one.title for one in formats)
        if as_format:
            msg = f"{path}: not {known}; without a format named, its content shows what it is"
        else:
            msg = f"{path}: nothing that can be staged; expected one of these: {known}"
        raise DataError(msg)
    return sources, broken


def _walk(top: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Folders from the top down, and the files directly in each; hidden ones are left out.

    A folder that links lead to as well is visited once, by its own name if that is below `top`.
    Remote file systems do not show links: there `MAX_DEPTH` ends what leads back to itself.
    """
    visited: set[Path] = set()
    waiting = [(top, 0)]
    n_entries = 0
    while waiting:
        folder, depth = waiting.pop()
        if (real := folder.resolve()) in visited:
            continue
        visited.add(real)
        MAX_DEPTH.require(depth, str(folder))
        entries = []
        for one in folder.iterdir():
            n_entries += 1
            MAX_FILES.require(n_entries, str(top))
            if not one.name.startswith("."):
                entries.append(one)
        entries.sort()
        yield folder, [one for one in entries if one.is_file()]
        folders = [one for one in reversed(entries) if one.is_dir()]
        waiting += [(one, depth + 1) for one in folders if not one.is_symlink()]
        waiting[:0] = [(one, depth + 1) for one in folders if one.is_symlink()]


def _find_in(
    folders: Sequence[tuple[Path, list[Path]]], formats: Sequence[Format], top: Path
) -> tuple[list[Source], list[tuple[str, DataError]]]:
    sources: list[Source] = []
    broken: list[tuple[str, DataError]] = []
    claimed: set[Path] = set()
    known: set[frozenset[Path]] = set()
    for folder, files in folders:
        left = []
        for file in files:
            try:
                if file.suffix.lower() == ".zip":
                    member_names(file)
                left.append(file)
            except DataError as error:
                broken.append((_name(folder, file.name, top), error))
        for one in formats:
            found = one.find(folder, [file for file in left if file not in claimed])
            for name, together in found:
                claimed.update(together)
                real = frozenset(file.resolve() for file in together)
                if real not in known:  # else it is the same night by way of links
                    known.add(real)
                    sources.append(Source(one.name, _name(folder, name, top), together))
    return sources, broken


def _name(folder: Path, name: str, top: Path) -> str:
    """Of the folders from the top down and of the file; of the top where there is nothing else."""
    parts = [part for part in (*folder.relative_to(top).parts, name) if part]
    return "-".join(parts) or top.absolute().name or "night"
