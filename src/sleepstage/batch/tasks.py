"""All nights: found, separated from those that are done, and staged one by one, here or afar."""

import hashlib
import json
import logging
import unicodedata
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from sleepstage._utils.files import visible
from sleepstage._utils.parallel import run_tasks, time_limit
from sleepstage.batch.night import Summary, Wanted, score, write_night
from sleepstage.batch.outputs import publish, read_result, recover, refuse_others
from sleepstage.batch.overview import OVERVIEW, TABLE
from sleepstage.batch.places import is_local, local_copies, place, scratch, shown, stamp
from sleepstage.core.periods import sleep_periods
from sleepstage.core.recording import Recording
from sleepstage.engine.stager import Stager
from sleepstage.errors import DataError, SleepstageError
from sleepstage.io.registry import FORMATS, find_sources, read_source
from sleepstage.io.source import NO_OPTIONS, Options, Progress, Source, StoredNight

_log = logging.getLogger(__name__)
_load = lru_cache(maxsize=2)(Stager)  # models are kept from night to night within a process

HEART_RATE_MODEL: Final = "heart-rate"
"""Name of the model for nights without motion, where it is among those to choose from."""

_MARGIN: Final = 1800.0  # s around the sleep that is found in a day
_LONGEST_SLEEP: Final = 12 * 3600.0  # s: a day of which more seems to be sleep was not understood
_RARE: Final = 600.0  # s between heart rates, of which no night can be told from a day

NIGHT_SECONDS: Final = 600.0
"""Time that a night may take, by default."""


@dataclass(frozen=True)
class Work:
    """What all nights have in common."""

    models: Mapping[str, bytes]
    """Content of model files by name. Where `HEART_RATE_MODEL` is among them, it stages the nights
    without motion, and the first one all others."""
    wanted: Wanted
    out: Path
    """Folder of results, local or remote."""
    seconds: float = NIGHT_SECONDS

    def stamp(self) -> str:
        """SHA-256 of what a result depends on besides the night."""
        digest = hashlib.sha256(json.dumps(asdict(self.wanted)).encode())
        for name, content in self.models.items():
            digest.update(name.encode(errors="surrogatepass") + content)
        return digest.hexdigest()


@dataclass(frozen=True)
class StagingTask:
    """A night to be staged, by a name that no other has."""

    name: str
    source: Source
    night: StoredNight | None
    """What of the source it is; None if it is all there is."""
    fingerprint: str
    """Of the night; later, of all that its result depends on."""


def find_tasks(
    addresses: Sequence[str],
    *,
    as_format: str | None = None,
    options: Options = NO_OPTIONS,
    on_progress: Progress | None = None,
) -> tuple[list[StagingTask], list[Summary]]:
    """All nights at some addresses, and what can't be read as summaries with an error.

    Addresses are files, folders, or what fsspec knows; for `as_format` and `options` see
    `sleepstage.io.registry.find_sources`. Sources of many nights are read here, with progress.
    """
    tasks: list[StagingTask] = []
    broken: list[Summary] = []
    for group in _together(addresses):
        address = group[0]
        try:
            paths = map(place, group)
            sources, damaged = find_sources(*paths, as_format=as_format, options=options)
        except (SleepstageError, OSError) as error:
            broken.append(_damaged(address, address, error, as_format or ""))
            continue
        broken += [_damaged(name, address, error) for name, error in damaged]
        for source in sources:
            try:
                tasks += _tasks_of(source, on_progress)
            except (SleepstageError, OSError) as error:
                broken.append(_failure(source, visible(source.name), error))
    return list(_apart(tasks)), broken


def _together(addresses: Sequence[str]) -> list[list[str]]:
    """Files of one folder together, as they may be one night; all else alone."""
    groups: dict[tuple[str, bool], list[str]] = {}
    for address in addresses:
        is_file = Path(address).is_file()
        key = str(Path(address).parent) if is_file else address
        groups.setdefault((key, is_file), []).append(address)
    return list(groups.values())


def _tasks_of(source: Source, on_progress: Progress | None) -> Iterator[StagingTask]:
    """One task a night."""
    if not FORMATS[source.format].several(source.files, source.options):
        parts = [source.format, str(source.options), *map(stamp, source.files)]
        yield StagingTask(source.name, source, None, _digest(parts))
        return
    with local_copies(source.files) as files:
        for night in read_source(source, files, on_progress=on_progress):
            yield StagingTask(night.name, source, night, _content(night))


def _content(night: StoredNight) -> str:
    """Fingerprint of a night that is at hand: another export of the same night has the same."""
    try:
        recording = night.read()
    except SleepstageError as error:
        return str(error)
    watch = recording.watch_stages
    stages = "" if watch is None else watch.codes.tobytes().hex()
    return _digest([recording.fingerprint(), stages, str(recording.utc_offset)])


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode(errors="surrogatepass")).hexdigest()


def _apart(tasks: Iterable[StagingTask]) -> Iterator[StagingTask]:
    """The same tasks, named as folders can be; a name that is taken gets a number."""
    taken = {OVERVIEW, TABLE}
    count: Counter[str] = Counter()
    for task in tasks:
        plain = name = _folder_name(task.name)
        while name.casefold() in taken:  # some file systems do not distinguish a from A
            count[plain] += 1
            name = f"{plain} ({count[plain] + 1})"
        taken.add(name.casefold())
        yield replace(task, name=name)


def _folder_name(name: str) -> str:
    """The name without what would lead elsewhere, and what terminals and pages can't show."""
    plain = "".join(
        "_" if one in "/\\" or unicodedata.category(one) in {"Cc", "Cs"} else one for one in name
    )
    return f"_{plain}" if plain.startswith(".") else plain


def score_all(
    tasks: Sequence[StagingTask], work: Work, *, jobs: int = -1, cluster: str | None = None
) -> Generator[tuple[Summary, bool]]:
    """Yield the summary of each night as it is there, and whether it had been done before.

    A night that can't be staged gives a summary with its error. Each night's files are written by
    whoever stages it: for `jobs` and `cluster` see `sleepstage._utils.parallel.run_tasks`.

    Raises `DataError`, `MissingExtraError` or `OSError` if the cluster is not there, or the folder
    of results holds an input or can't be written to.
    """
    if (folder := shown(work.out)) != str(work.out):
        raise DataError(f"{folder}: this folder's name is not Unicode: name another one with --out")
    _refuse_inputs(tasks, work.out)
    work.out.mkdir(parents=True, exist_ok=True)
    recover(work.out)
    stamped = work.stamp()
    left = []
    for task in tasks:
        whole = replace(task, fingerprint=_digest([stamped, task.fingerprint]))
        there = read_result(work.out / task.name)
        if there is not None and there.fingerprint == whole.fingerprint:
            yield there, True
            continue
        try:
            refuse_others(work.out / task.name)
        except (SleepstageError, OSError) as error:
            yield _failure(task.source, task.name, error), False
        else:
            left.append(whole)
    try:
        for _, summary in run_tasks(_score, work, left, jobs=jobs, cluster=cluster):
            yield summary, False
    finally:
        recover(work.out)


def _refuse_inputs(tasks: Iterable[StagingTask], out: Path) -> None:
    """Results and inputs in one folder would be taken for each other, by people and programs."""
    resolve = cache(_full)
    folder = resolve(out)
    for file in (file for task in tasks for file in task.source.files):
        # A link within `out` to a file elsewhere is an input in it, as is a file that a link
        # elsewhere leads to.
        paths = (file.absolute(), file.resolve()) if is_local(file) else (file,)
        if any(resolve(one) == folder for path in paths for one in path.parents):
            raise DataError(
                f"{out} holds an input, {file}: name another folder for the results with --out, "
                "such as one beside the inputs"
            )


def _full(path: Path) -> str:
    return (path.resolve().as_posix() if is_local(path) else str(path)).rstrip("/")


def _score(work: Work, task: StagingTask) -> Summary:
    """Stage one night and write its files; whatever goes wrong stays with this night."""
    try:
        with scratch(work.out) as written:
            with time_limit(work.seconds):
                summary = _stage(work, task, written)
            publish(written, work.out / task.name)
    except (SleepstageError, OSError) as error:
        return _failure(task.source, task.name, error)
    except Exception as error:
        _log.exception("%s", task.name)
        fault = f"{type(error).__name__}: {error}; this is a fault of sleepstage: report it, please"
        return _failure(task.source, task.name, fault)
    return summary


def _stage(work: Work, task: StagingTask, folder: Path) -> Summary:
    recording = _read(task)
    alone = HEART_RATE_MODEL in work.models and not len(recording.motion)
    model = HEART_RATE_MODEL if alone else next(iter(work.models))
    stager = _load(work.models[model])
    if task.night is not None and task.night.whole_day:
        recording = _around_sleep(recording, stager)
    hypnogram, values = score(recording, stager, model, work.wanted)
    file, kind = shown(task.source.files[0]), task.source.format
    summary = Summary(task.name, file, kind, fingerprint=task.fingerprint, **values)
    write_night(folder, hypnogram, recording, summary, work.wanted)
    return summary


def _around_sleep(recording: Recording, stager: Stager) -> Recording:
    """The longest sleep period of a day, and half an hour before and after it.

    Raises `DataError` if there is none, or where heart rate is too rare or too even to show it.
    """
    periods = sleep_periods(stager.predict(recording))
    longest = max(periods, key=lambda one: one.end - one.start, default=None)
    rare = not len(recording.motion) and np.median(np.diff(recording.heart_rate.times)) > _RARE
    if longest is None or longest.nap or longest.end - longest.start > _LONGEST_SLEEP or rare:
        raise DataError(
            "no night can be found in this day: cut the table to nights, or give --start and --end "
            "of one to sleepstage predict"
        )
    start = max(recording.start, longest.start - _MARGIN)
    return replace(recording, start=start, end=min(recording.end, longest.end + _MARGIN))


def _read(task: StagingTask) -> Recording:
    if task.night is not None:
        return task.night.read()
    with local_copies(task.source.files) as files:
        (night,) = read_source(task.source, files)
        return night.read()


def _damaged(name: str, address: str, error: Exception, as_format: str = "") -> Summary:
    return Summary(visible(name), visible(address), as_format, visible(str(error)))


def _failure(source: Source, name: str, error: Exception | str) -> Summary:
    return Summary(name, visible(shown(source.files[0])), source.format, visible(str(error)))
