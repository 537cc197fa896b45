"""Download of the dataset *sleep-accel* 1.0.0 from PhysioNet, each file checked by its SHA-256."""

from __future__ import annotations

import errno
import logging
import os
import re
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sleepstage.errors import DataError, MissingExtraError
from sleepstage.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["BASE_URL", "MIRROR_VARIABLE", "FetchReport", "fetch"]

_log = logging.getLogger(__name__)

BASE_URL: Final = "https://physionet.org/files/sleep-accel/1.0.0/"
MIRROR_VARIABLE: Final = "SLEEPSTAGE_MIRROR"
_SUMS: Final = "SHA256SUMS.txt"
_SUMS_LINE: Final = re.compile(r"([0-9a-fA-F]{64}) [ *]?(\S.*)")
_SAFE_PATH: Final = re.compile(r"(?!\.)[\w.-]+(/(?!\.)[\w.-]+)*", re.ASCII)
_NO_SERVER: Final = "cannot connect to the server"
_MEND: Final = (
    "check the network and the disk, or name another server with --mirror, then run the same "
    "command again: finished files are kept"
)


@dataclass(frozen=True, kw_only=True)
class FetchReport:
    """What a download did; paths are relative to the directory, in the server's order.

    Attributes
    ----------
    downloaded, already_there : tuple of str
        Files that came over the network, and files that were complete before.
    n_bytes : int
        Size of the `downloaded` files together.
    """

    downloaded: tuple[str, ...]
    already_there: tuple[str, ...]
    n_bytes: int


def fetch(
    directory: str | Path,
    *,
    mirror: str | None = None,
    subjects: Iterable[str] | None = None,
    motion: bool = True,
    jobs: int = 4,
    timeout: float = 30.0,
    retries: int = 3,
    on_progress: Callable[[int, int, str], None] | None = None,
) -> FetchReport:
    """Download the dataset, or what is still missing of it.

    Each file is checked against the server's ``SHA256SUMS.txt`` and gets its name only when it is
    complete, so that an interrupted download goes on where it stopped.

    Parameters
    ----------
    directory : path
        Where the files go; made if missing.
    mirror : str, optional
        Address of a copy of `BASE_URL`; by default what `MIRROR_VARIABLE` says in the environment.
    subjects : iterable of str, optional
        Whose files to take; everyone's by default.
    motion : bool
        False leaves out raw motion, 2 GB of it.
    jobs : int
        How many files are downloaded at a time.
    timeout : float
        Seconds without a byte after which a connection counts as lost.
    retries : int
        How often a file is tried again after trouble that may pass, at growing intervals.
    on_progress : callable, optional
        Called with the number of finished files, of all files, and the path just finished.

    Raises
    ------
    DataError
        If the list of checksums can't be had or is none, a subject is unknown, or, once all other
        files are there, some file can't be downloaded.
    MissingExtraError
        If pooch is not installed.
    """
    try:
        import pooch
    except ImportError as error:
        raise MissingExtraError(purpose="downloading the dataset", extra="fetch") from error
    for name, value, least in (("jobs", jobs, 1), ("timeout", timeout, 1), ("retries", retries, 0)):
        if not value >= least:
            msg = f"{name} is {value}, but must be at least {least}"
            raise DataError(msg)
    logger = pooch.get_logger()
    logger.setLevel(max(logger.level, logging.WARNING))
    url = (mirror or os.environ.get(MIRROR_VARIABLE) or BASE_URL).rstrip("/") + "/"
    # Absolute, because pooch expands "~" in a path and pathlib doesn't.
    directory = Path(directory).expanduser().absolute()
    stop = _Stop()
    download = partial(_download, timeout=timeout, stop=stop)
    try:
        with write_atomically(directory / _SUMS) as temporary:
            download(url + _SUMS, temporary, None)
            listed = _parse_sums(temporary.read_text(errors="replace"), url + _SUMS)
            registry = _choose(listed, subjects, motion=motion)
        # pooch makes folders too, but two of its threads can get in each other's way.
        for path in registry:
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
    except DataError:
        raise
    except (OSError, ValueError, _FinalError) as error:  # ValueError: an address that is none
        msg = f"{url}{_SUMS}: {_reason(error)}; {_MEND}"
        raise DataError(msg) from error
    keeper = pooch.Pooch(directory, url, registry, retry_if_failed=retries)

    def get(path: str) -> bool:
        action = keeper.fetch(path, processor=lambda _, action, __: action, downloader=download)
        return bool(action != "fetch")

    is_new = _get_all(registry, get, jobs=jobs, stop=stop, on_progress=on_progress)
    downloaded = tuple(path for path in registry if is_new[path])
    n_bytes = sum((directory / path).stat().st_size for path in downloaded)
    _log.info("%s: %d of %d files downloaded", directory, len(downloaded), len(registry))
    return FetchReport(
        downloaded=downloaded,
        already_there=tuple(path for path in registry if not is_new[path]),
        n_bytes=n_bytes,
    )


class _FinalError(Exception):
    """Trouble that another try can't mend; pooch would try again after a `ValueError`."""


class _Stop(threading.Event):
    """Set to end the downloads that are under way."""

    def check(self) -> None:
        if self.is_set():
            msg = "stopped"
            raise _FinalError(msg)


def _download(
    url: str, output: str | Path, _keeper: object, *, timeout: float, stop: _Stop
) -> None:
    """Do as `pooch.HTTPDownloader`, but stop on demand, and don't let pooch retry in vain."""
    import requests

    stop.check()
    # Who can't be connected to within 10 s isn't there; an answer may take longer.
    limits = (min(timeout, 10), timeout)
    # pooch has made this file readable by its owner alone, but data folders get shared.
    Path(output).unlink(missing_ok=True)
    with requests.get(url, stream=True, timeout=limits) as response, Path(output).open("wb") as out:
        if not response.ok:
            may_pass = response.status_code >= 500 or response.status_code in {408, 429}
            kind = requests.HTTPError if may_pass else _FinalError
            msg = f"HTTP {response.status_code} {response.reason}"
            raise kind(msg)
        for chunk in response.iter_content(1 << 16):
            stop.check()
            out.write(chunk)


def _parse_sums(sums: str, url: str) -> dict[str, str]:
    """Checksum of each path; refuse what is no such list or would write outside the directory."""
    registry = {}
    for number, line in enumerate(sums.splitlines() or [""], 1):
        match = _SUMS_LINE.fullmatch(line.rstrip())
        if match is None or not _SAFE_PATH.fullmatch(match[2]):
            msg = (
                f"{url}: line {number} is {line[:99]!r}, expected '<sha256> <path>', the path "
                f"inside the directory, and no login page or the like; {_MEND}"
            )
            raise DataError(msg)
        registry[match[2]] = match[1].lower()
    return registry


def _choose(
    listed: dict[str, str], subjects: Iterable[str] | None, *, motion: bool
) -> dict[str, str]:
    """Leave the wanted files: those at the top, the licence above all, belong to everyone."""
    owners = {path: path.split("/")[-1].split("_")[0] for path in listed if "/" in path}
    known = set(owners.values())
    wanted = known if subjects is None else set(subjects)
    if not wanted or wanted - known:
        unknown = ", ".join(sorted(wanted - known)) or "none named"
        some = ", ".join(sorted(known)[:5])
        msg = f"unknown subject: {unknown}; the server lists {len(known)}, such as {some}"
        raise DataError(msg)
    return {
        path: checksum
        for path, checksum in listed.items()
        if owners.get(path, "") in {*wanted, ""} and (motion or not path.startswith("motion/"))
    }


def _get_all(
    paths: Iterable[str],
    get: Callable[[str], bool],
    *,
    jobs: int,
    stop: _Stop,
    on_progress: Callable[[int, int, str], None] | None,
) -> dict[str, bool]:
    """Get each path in a few threads; what `get` said of each, or one error about all failures."""
    is_new: dict[str, bool] = {}
    failed: list[str] = []
    pool = ThreadPoolExecutor(jobs)
    try:
        futures = {pool.submit(get, path): path for path in paths}
        for future in as_completed(futures):
            try:
                is_new[futures[future]] = future.result()
            except CancelledError:
                continue
            except (OSError, ValueError, _FinalError) as error:
                failed.append(f"{futures[future]} ({_reason(error)})")
                disk_full = getattr(error, "errno", None) == errno.ENOSPC
                if disk_full or _reason(error) == _NO_SERVER:
                    for other in futures:  # They can only fail as well, one after the other.
                        other.cancel()
            else:
                if on_progress is not None:
                    on_progress(len(is_new), len(futures), futures[future])
    finally:
        # After an interruption: without this it would first download everything else.
        stop.set()
        pool.shutdown(cancel_futures=True)
    if failed:
        n_missing = len(futures) - len(is_new)
        some = ", ".join(sorted(failed)[:3]) + (f" and {n_missing - 3} more" * (n_missing > 3))
        msg = f"{n_missing} of {len(futures)} files could not be downloaded: {some}; {_MEND}"
        raise DataError(msg)
    return is_new


def _reason(error: Exception) -> str:
    """Trouble with the network or the disk in a user's words."""
    import requests
    from urllib3.exceptions import MaxRetryError

    if isinstance(error, requests.exceptions.SSLError):
        return "no secure connection (TLS, certificate) to the server"
    if error.args and isinstance(error.args[0], MaxRetryError):
        return _NO_SERVER
    if isinstance(error, requests.Timeout):
        return "the server stopped answering"
    if isinstance(error, (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        return "truncated: the connection broke off"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot write {error.filename or ''}: {error.strerror}".replace(" :", ":")
    return "wrong checksum" if "known hash" in str(error) else str(error)
