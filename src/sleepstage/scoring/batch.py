"""All nights: found, told apart from those that are done, and staged one by one, here or afar."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from sleepstage.errors import SleepstageError
from sleepstage.readers.formats import FORMATS, find_sources, read_source
from sleepstage.scale import run_tasks
from sleepstage.scoring.night import SUMMARY, Summary, read_summary, score, write_night
from sleepstage.scoring.places import is_local, local_copies, place, publish, stamp
from sleepstage.stager import Stager

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

    from sleepstage.readers.source import Night, Progress, Source
    from sleepstage.recording import Recording
    from sleepstage.scoring.night import Wanted

__all__ = ["HEART_RATE_MODEL", "Task", "Work", "find_tasks", "score_all"]

_log = logging.getLogger(__name__)

HEART_RATE_MODEL: Final = "heart-rate"
"""Name of the model for nights without motion, where it is among those to choose from."""


@dataclass(frozen=True)
class Work:
    """What all nights have in common.

    Attributes
    ----------
    models : mapping of str to bytes
        Content of model files by name. Where `HEART_RATE_MODEL` is among them, it stages the
        nights without motion, and the first one all others.
    wanted : Wanted
        What is decided and written.
    out : Path
        Folder of results, local or remote.
    """

    models: Mapping[str, bytes]
    wanted: Wanted
    out: Path

    def stamp(self) -> str:
        """SHA-256 of what a result depends on besides the night."""
        digest = hashlib.sha256(json.dumps(asdict(self.wanted)).encode())
        for name, content in self.models.items():
            digest.update(name.encode() + content)
        return digest.hexdigest()

    def choose(self, recording: Recording) -> str:
        """Name of the model for a night."""
        alone = HEART_RATE_MODEL in self.models and not len(recording.motion)
        return HEART_RATE_MODEL if alone else next(iter(self.models))


@dataclass(frozen=True)
class Task:
    """A night to be staged.

    Attributes
    ----------
    name : str
        Unlike all others.
    source : Source
        Where it is.
    night : Night or None
        What of the source it is; None if it is all there is.
    fingerprint : str
        Of the night.
    """

    name: str
    source: Source
    night: Night | None
    fingerprint: str


def find_tasks(
    addresses: Sequence[str],
    *,
    as_format: str | None = None,
    on_progress: Progress | None = None,
) -> tuple[list[Task], list[Summary]]:
    """All nights at some addresses, and what can't be read as summaries with an error.

    Parameters
    ----------
    addresses : sequence of str
        Files, folders, or addresses that fsspec knows.
    as_format : str, optional
        See `sleepstage.readers.formats.find_sources`.
    on_progress : callable, optional
        Called while sources of many nights are read.
    """
    tasks: list[Task] = []
    broken: list[Summary] = []
    for address in addresses:
        try:
            sources, damaged = find_sources(place(address), as_format=as_format)
        except (SleepstageError, OSError) as error:
            broken.append(Summary(address, address, as_format or "", str(error)))
            continue
        broken += [Summary(name, address, "", str(error)) for name, error in damaged]
        for source in sources:
            try:
                tasks += _tasks_of(source, on_progress)
            except (SleepstageError, OSError) as error:
                broken.append(_failure(source, source.name, error))
    return list(_apart(tasks)), broken


def _tasks_of(source: Source, on_progress: Progress | None) -> Iterator[Task]:
    """One task a night; sources of many nights are read here, once."""
    if not FORMATS[source.format].many:
        told = [source.format, *map(stamp, source.files)]
        yield Task(source.name, source, None, _digest(told))
        return
    with local_copies(source.files) as files:
        for night in read_source(source, files, on_progress=on_progress):
            yield Task(night.name, source, night, _content(night))


def _content(night: Night) -> str:
    """Fingerprint of a night that is at hand: another export of the same night has the same."""
    try:
        recording = night.read()
    except SleepstageError as error:
        return str(error)
    watch = recording.watch_stages
    told = "" if watch is None else watch.codes.tobytes().hex()
    return _digest([recording.fingerprint(), told, str(recording.utc_offset)])


def _digest(told: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def _apart(tasks: Iterable[Task]) -> Iterator[Task]:
    """The same tasks; of those with one name, the second and later ones are numbered."""
    seen: Counter[str] = Counter()
    for task in tasks:
        seen[task.name] += 1
        number = seen[task.name]
        yield task if number == 1 else replace(task, name=f"{task.name} ({number})")


def score_all(
    tasks: Sequence[Task], work: Work, *, jobs: int = -1, cluster: str | None = None
) -> Generator[tuple[Summary, bool]]:
    """Yield the summary of each night as it is there, and whether it had been done before.

    A night that can't be staged gives a summary with its error. Each night's files are written by
    whoever stages it.

    Parameters
    ----------
    tasks : sequence of Task
        From `find_tasks`.
    work : Work
        What to do with each.
    jobs, cluster
        Where; see `sleepstage.scale.run_tasks`.

    Raises
    ------
    DataError, MissingExtraError, OSError
        If the cluster is not there, or the folder of results can't be written to.
    """
    work.out.mkdir(parents=True, exist_ok=True)
    stamped = work.stamp()
    left = []
    for task in tasks:
        whole = replace(task, fingerprint=_digest([stamped, task.fingerprint]))
        done = _done(work.out / task.name, whole.fingerprint)
        if done is None:
            left.append(whole)
        else:
            yield done, True
    for _, summary in run_tasks(_score, work, left, jobs=jobs, cluster=cluster):
        yield summary, False


def _done(folder: Path, fingerprint: str) -> Summary | None:
    try:
        summary = read_summary((folder / SUMMARY).read_bytes().decode())
    except (OSError, ValueError):
        return None
    return summary if summary and summary.fingerprint == fingerprint else None


def _score(work: Work, task: Task) -> Summary:
    """Stage one night and write its files; whatever goes wrong stays with this night."""
    try:
        if task.night is not None:
            return _stage(work, task, task.night.read())
        with local_copies(task.source.files) as files:
            (night,) = read_source(task.source, files)
            return _stage(work, task, night.read())
    except (SleepstageError, OSError) as error:
        return _failure(task.source, task.name, error)
    except Exception as error:
        _log.exception("%s", task.name)
        fault = RuntimeError(
            f"{type(error).__name__}: {error}; this is a fault of sleepstage: report it, please"
        )
        return _failure(task.source, task.name, fault)


def _stage(work: Work, task: Task, recording: Recording) -> Summary:
    model = work.choose(recording)
    stager = _load(work.models[model])
    hypnogram, values = score(recording, stager, model, work.wanted)
    summary = Summary(
        task.name,
        str(task.source.files[0]),
        task.source.format,
        fingerprint=task.fingerprint,
        **values,
    )
    beside = work.out if is_local(work.out) else None
    with TemporaryDirectory(prefix=".", dir=beside) as folder:
        written = Path(folder) / "night"
        written.mkdir()
        write_night(written, hypnogram, recording, summary, work.wanted)
        publish(written, work.out / task.name, last=SUMMARY)
    return summary


@lru_cache(maxsize=2)
def _load(content: bytes) -> Stager:
    """The model, kept from night to night within a process."""
    return Stager(content)


def _failure(source: Source, name: str, error: Exception) -> Summary:
    return Summary(name, str(source.files[0]), source.format, str(error))
