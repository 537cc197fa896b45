"""Nights in files and folders: every format, and which of them a file is."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Final

from sleepstage._utils.files import read_toml
from sleepstage.core.recording import Recording
from sleepstage.errors import DataError
from sleepstage.io import apple_health, bidsleep, tables
from sleepstage.io.archives import member_names
from sleepstage.io.columns import described
from sleepstage.io.exports import binary, devices, garmin, people
from sleepstage.io.files import MAX_DEPTH, MAX_FILES, reading
from sleepstage.io.sensor_logger import nights as sensor_logger
from sleepstage.io.sleep_accel import read as sleep_accel
from sleepstage.io.source import NO_OPTIONS, Options, Progress, Source, StoredNight

_Find = Callable[[Path, Sequence[Path]], list[Source]]

_TITLES: Final = read_toml(__package__, "formats.toml")
_DESCRIBED: Final = 3  # tables that an error describes


@dataclass(frozen=True)
class Format:
    """One kind of input."""

    name: str  # as ``--format`` takes it
    find: _Find
    """Takes a folder and the files directly in it that nobody has claimed, and gives those that
    hold this format, by what is in them. Opens files, and reads their beginnings at most.
    Paths may be local or, by way of `universal_pathlib`, of any file system."""
    read: Callable[[Sequence[Path], Progress | None, Options], list[StoredNight]]
    """Takes local files that `find` put together, a callable for progress, and what the user
    states; gives the nights in them. Raises `DataError` where there can be none."""
    several: Callable[[Sequence[Path], Options], bool] = lambda *_: True
    """Whether files hold several nights, which are best found in one go; they may be remote."""

    @property
    def title(self) -> str:
        """For people."""
        return str(_TITLES[self.name])


def _each_file(is_one: Callable[[Path], bool]) -> _Find:
    """A way to find a format of which each file is a source of its own."""
    return lambda _, files: [Source(one.stem, (one,)) for one in files if is_one(one)]


def _one_night(name: str, find: _Find, read: Callable[[Sequence[Path]], Recording]) -> Format:
    """A format whose sources are one night each; `read` can be pickled."""

    def nights(files: Sequence[Path], *_: object) -> list[StoredNight]:
        return [StoredNight("", partial(read, tuple(files)))]

    return Format(name, find, nights, several=lambda *_: False)


_IN_ORDER: Final = (
    Format("apple-health", _each_file(apple_health.holds_export), apple_health.read),
    _one_night("sensor-logger", sensor_logger.find, sensor_logger.read_night),
    _one_night("bidsleep", bidsleep.find, bidsleep.read_night),
    _one_night("sleep-accel", sleep_accel.find, sleep_accel.read_files),
    Format("records", people.find, people.read),
    Format("empatica-e4", devices.find_e4, devices.read_e4),
    Format("raw-csv", _each_file(devices.is_raw), devices.read_raw),
    Format("sensor-logger-sqlite", _each_file(devices.is_sqlite), devices.refuse_sqlite),
    Format("garmin-fit", garmin.find, garmin.read),
    Format("raw-binary", binary.find, binary.read),
    Format("sleep-accel-app", tables.find_app, tables.read, tables.hold_several),
    Format("tables", tables.find, tables.read, tables.hold_several),
)
FORMATS: Final = MappingProxyType({one.name: one for one in _IN_ORDER})
"""By name, in the order in which they are asked: those that could be taken for another come
first."""


def open_nights(
    path: str | Path,
    format: str | None = None,  # noqa: A002 - the word that users expect
    *,
    options: Options = NO_OPTIONS,
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
    options : Options, optional
        A time zone, and the order of dates, where files do not state them.
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
        yield _night_named(name, Path(directory), format, options)
        return
    sources, broken = find_sources(Path(path), as_format=format, options=options)
    for _, error in broken:
        raise error
    for source in sources:
        yield from read_source(source, source.files, on_progress=on_progress)


def _night_named(
    name: str, directory: Path, as_format: str | None, options: Options
) -> StoredNight:
    sources, _ = find_sources(directory, as_format=as_format, options=options)
    for source in sources:
        for night in read_source(source, source.files) if name.startswith(source.name) else ():
            if night.name == name:
                return night
    known = ", ".join(source.name for source in sources[:5])
    raise DataError(f"{directory}: no night {name!r}; there are {known}, …")


def read_source(
    source: Source, files: Sequence[Path], *, on_progress: Progress | None = None
) -> list[StoredNight]:
    """Nights of a source, named in full, from local copies of its files."""
    nights = FORMATS[source.format].read(files, on_progress, source.options)
    return [
        replace(one, name="-".join(filter(None, (source.name, one.name))), files=source.files)
        for one in nights
    ]


def find_sources(
    *paths: Path, as_format: str | None = None, options: Options = NO_OPTIONS
) -> tuple[list[Source], list[tuple[str, DataError]]]:
    """Files that are read together, and those that are damaged, in a folder or some of its files.

    Paths are local, or of any file system by way of `universal_pathlib`. Each of `FORMATS` is
    asked, unless one is named. Raises `DataError` if a path is not there, the format unknown, or
    nothing of a known format is in one of them.
    """
    if as_format is not None and as_format not in FORMATS:
        raise DataError(f"unknown format {as_format!r}; choose from {', '.join(FORMATS)}")
    formats = [FORMATS[as_format]] if as_format else list(FORMATS.values())
    path = paths[0]
    with reading(path):
        if path.is_dir():
            folders, top = list(_walk(path)), path
        elif path.exists():
            folders, top = [(path.parent, [*paths])], path.parent
        else:
            raise DataError(f"{path}: no such file or folder")
        sources, broken = _find_in(folders, formats, top)
    sources = [replace(source, options=options) for source in sources]
    if not sources and not broken:
        raise _nothing_in(path, formats, [one for _, files in folders for one in files])
    if path.is_file():
        seen = {*(one for source in sources for one in source.files)}
        names = {name for name, _ in broken}
        left = [one for one in paths if one not in seen and _name(top, one.name, top) not in names]
        broken += [(one.name, _nothing_in(one, formats, [one])) for one in left]
    return sources, broken


def _nothing_in(path: Path, formats: Sequence[Format], files: Sequence[Path]) -> DataError:
    """The error about a file or folder; names the columns of tables in it that nobody knows."""
    known = "; ".join(one.title for one in formats)
    if len(formats) == 1:
        msg = f"{path}: not {known}; without a format named, its content shows what it is"
    else:
        msg = f"{path}: nothing that can be staged; expected one of these: {known}"
    found = (f"{one.name} has columns {has}" for one in files if (has := described(one)))
    return DataError("; ".join([msg, *islice(found, _DESCRIBED)]))


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
        for form in formats:
            for one in form.find(folder, [file for file in left if file not in claimed]):
                claimed.update(one.files)
                real = frozenset(file.resolve() for file in one.files)
                if real not in known:  # else it is the same night by way of links
                    known.add(real)
                    name = _name(folder, one.name, top)
                    sources.append(replace(one, format=form.name, name=name))
    return sources, broken


def _name(folder: Path, name: str, top: Path) -> str:
    """Of the folders from the top down and of the file; of the top where there is nothing else."""
    parts = [part for part in (*folder.relative_to(top).parts, name) if part]
    return "-".join(parts) or top.absolute().name or "night"
