"""Download of the dataset *sleep-accel* 1.0.0 from PhysioNet, each file checked by its SHA-256."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sleepstage._utils.files import fingerprint, temporary_folder, write_atomically
from sleepstage._utils.parallel import in_threads
from sleepstage.errors import DataError, needs_extra
from sleepstage.io.sleep_accel.read import CHECKSUMS
from sleepstage.io.source import Progress

if TYPE_CHECKING:
    from pooch import Pooch

Sums = dict[str, str]  # checksums of paths

BASE_URL: Final = "https://physionet.org/files/sleep-accel/1.0.0/"
MIRROR_VARIABLE: Final = "SLEEPSTAGE_MIRROR"
# No name begins with a dot, so that no path leads outside the directory.
_NAME: Final = r"[\w-][\w.-]*"
_SUMS_LINE: Final = re.compile(rf"([0-9a-fA-F]{{64}}) [ *]?({_NAME}(?:/{_NAME})*)", re.ASCII)
_MAY_PASS: Final = {408, 429, 500, 502, 503, 504}  # HTTP statuses
_TROUBLE: Final = (OSError, ValueError)  # the disk and requests; a wrong checksum, a bad address
_TIMEOUT: Final = 30  # s without a byte
_MEND: Final = "check network and disk or name --mirror, then run it again: finished files are kept"


@dataclass(frozen=True, kw_only=True)
class FetchReport:
    """What a download did; paths are relative to the directory, in the server's order."""

    downloaded: tuple[str, ...]
    already_there: tuple[str, ...]  # files that were complete before


def fetch(
    directory: str | Path,
    *,
    mirror: str | None = None,
    subjects: Iterable[str] | None = None,
    motion: bool = True,
    jobs: int = 4,
    on_progress: Progress | None = None,
) -> FetchReport:
    """Download the dataset, or what is still missing of it.

    Each file is checked against the server's ``SHA256SUMS.txt`` and gets its name only when it is
    complete, so that an interrupted download goes on where it stopped. In a folder that was
    downloaded to before, a file that differs is replaced; in another one, nothing is.

    The `mirror` is the address of a copy of `BASE_URL`, by default `MIRROR_VARIABLE` of the
    environment. Without `subjects`, everyone's files are taken; without `motion`, all but 2 GB of
    raw motion; `jobs` of them at a time.

    Raises `DataError` if the list of checksums can't be had or is none, a subject is unknown, other
    files are in the way, or, once all other files are there, some file can't be downloaded;
    `MissingExtraError` if pooch is not installed.
    """
    with needs_extra("downloading the dataset", "fetch"):
        import pooch
    pooch.get_logger().setLevel("WARNING")  # It would announce each file on the terminal.
    url = (mirror or os.environ.get(MIRROR_VARIABLE) or BASE_URL).rstrip("/") + "/"
    directory = Path(directory).expanduser()
    sums = _fetch_sums(url + CHECKSUMS, directory)
    chosen = _choose(sums, subjects, motion=motion)
    with temporary_folder(directory) as folder:  # pooch does not know its own temporary files
        keeper = pooch.Pooch(folder, url, registry=chosen, retry_if_failed=3)
        calls = {path: (keeper, directory, path) for path in chosen}
        # Whatever fails, the others are fetched first.
        outcomes = in_threads(_fetch_one, calls, jobs, _TROUBLE, on_progress)
    errors = {path: one for path, one in outcomes.items() if isinstance(one, Exception)}
    failed = [f"{path} ({_reason(error)})" for path, error in errors.items()]
    if failed:
        some = ", ".join(failed[:3]) + f" and {len(failed) - 3} more" * (len(failed) > 3)
        msg = f"{len(failed)} of {len(chosen)} files could not be downloaded: {some}; {_MEND}"
        raise DataError(msg)
    new = tuple(path for path, is_new in outcomes.items() if is_new)
    there = tuple(path for path in outcomes if path not in new)
    return FetchReport(downloaded=new, already_there=there)


def _fetch_sums(url: str, directory: Path) -> Sums:
    """Checksum of each file on the server, saved once they are known to be checksums."""
    import requests

    try:
        response = requests.get(url, timeout=_TIMEOUT)
        response.raise_for_status()
        sums = _parse_sums(response.content.decode(errors="replace"))
        _refuse_others(directory, sums)
        with write_atomically(directory / CHECKSUMS) as temporary:
            temporary.write_bytes(response.content)
    except DataError:
        raise
    except _TROUBLE as error:
        raise DataError(f"{url}: {_reason(error)}; {_MEND}") from error
    return sums


def _refuse_others(directory: Path, sums: Sums) -> None:
    """Where nothing was downloaded before, a file of the same name is somebody else's."""
    if (directory / CHECKSUMS).exists():
        return
    for path, checksum in sums.items():
        file = directory / path
        if file.is_file() and not _is_whole(file, checksum):
            msg = f"{file} is there and is not the dataset's: move it away, or name another folder"
            raise DataError(msg)


def _is_whole(file: Path, checksum: str) -> bool:
    return file.is_file() and fingerprint(file) == checksum.lower()


def _parse_sums(text: str) -> Sums:
    sums = {}
    for number, line in enumerate(text.splitlines() or [""], 1):
        match = _SUMS_LINE.fullmatch(line.rstrip())
        if match is None:
            expected = "'<sha256> <path>', the path inside the directory, and no login page"
            raise ValueError(f"line {number} is {line[:99]!r}, expected {expected}")
        sums[match[2]] = match[1]
    return sums


def _choose(sums: Sums, subjects: Iterable[str] | None, *, motion: bool) -> Sums:
    """Leave the wanted files: those at the top, the licence above all, belong to everyone."""
    owners = {path: path.split("/")[-1].split("_")[0] for path in sums if "/" in path}
    known = set(owners.values())
    wanted = known if subjects is None else set(subjects)
    if not wanted or wanted - known:
        unknown = ", ".join(sorted(wanted - known)) or "none named"
        some = ", ".join(sorted(known)[:5])
        msg = f"unknown subject: {unknown}; the server lists {len(known)}, such as {some}"
        raise DataError(msg)
    return {
        path: checksum
        for path, checksum in sums.items()
        if owners.get(path, "") in {*wanted, ""} and (motion or not path.startswith("motion/"))
    }


def _fetch_one(keeper: Pooch, directory: Path, path: str) -> bool:
    """Fetch a file unless it is there; whether it was fetched."""
    target = directory / path
    if _is_whole(target, keeper.registry[path]):
        return False
    # pooch makes folders too, but two of its threads can get in each other's way.
    for folder in (target.parent, (keeper.abspath / path).parent):
        folder.mkdir(parents=True, exist_ok=True)
    Path(keeper.fetch(path, downloader=_download)).replace(target)
    return True


def _download(url: str, output: str, _keeper: Pooch) -> None:
    """Download as pooch would, but without asking again for what the server refuses."""
    import requests

    # pooch has made this file readable by its owner alone, but data folders get shared.
    Path(output).unlink()
    with requests.get(url, stream=True, timeout=_TIMEOUT) as answer, Path(output).open("wb") as out:
        if not answer.ok and answer.status_code not in _MAY_PASS:
            msg = f"{answer.status_code} {answer.reason}"
            raise OSError(msg)  # pooch tries again after errors of requests only
        answer.raise_for_status()
        for chunk in answer.iter_content(1 << 16):
            out.write(chunk)


def _reason(error: Exception) -> str:
    """Trouble in short, where requests and pooch are lengthy."""
    import requests

    broken = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    if isinstance(error, broken):
        return f"no connection, or it broke off: {type(error).__name__}"
    return "wrong checksum" if "known hash" in str(error) else str(error)
