"""Folders of results: which are ours, what is in them, and how a new one takes the place of one."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from sleepstage._utils.files import discard, stale
from sleepstage.batch.night import FILES, SUMMARY, Summary, read_summary, summary_text
from sleepstage.batch.places import is_local
from sleepstage.errors import DataError

_MARKS: Final = {"night", "source", "format", "stages", "fingerprint"}  # of every version
_LONGEST: Final = 1 << 22  # bytes of a summary
_PENDING: Final = "a run was ended while it wrote these files: run it again"


def read_results(out: Path) -> Iterator[Summary]:
    """Summaries of all results in a folder, by name."""
    with suppress(OSError):
        for folder in sorted(out.iterdir()):
            if (summary := read_result(folder)) is not None and not summary.error:
                yield summary


def read_result(folder: Path) -> Summary | None:
    """Summary of a folder of results; None if it is none, or one of another version."""
    text = _read_text(folder)
    summary = None if text is None else read_summary(text)
    return summary if summary and summary.night == folder.name else None


def _read_text(folder: Path) -> str | None:
    file = folder / SUMMARY
    try:
        if is_local(file) and not file.is_file():
            return None
        with file.open("rb") as opened:
            content = opened.read(_LONGEST + 1)
        return content.decode() if len(content) <= _LONGEST else None
    except (OSError, ValueError):
        return None


def refuse_others(target: Path) -> None:
    """Raise a `DataError` if something is there but a result of this night, of any version."""
    is_link = is_local(target) and target.is_symlink()
    if is_link or (target.exists() and not _is_ours(target)):
        raise DataError(
            f"{target} exists and is not a result of this night by sleepstage, so it is left as it "
            "is: move it away, or name another folder with --out"
        )


def _is_ours(folder: Path) -> bool:
    try:
        content = json.loads(_read_text(folder) or "")
    except (ValueError, RecursionError):
        return False
    return (
        isinstance(content, dict)
        and set(content) >= _MARKS
        and content["night"] == folder.name
        and isinstance(content["stages"], list)
    )


def publish(written: Path, target: Path) -> None:
    """Put a local folder of files in place of `target`, or of an earlier result there.

    Files of others within that result are kept. A local result is there as a whole, the old or the
    new one; where it is neither as the process is killed, `recover` puts the old one back. A
    remote one is written file by file, and its summary has an error until it is complete.

    `written`, of `sleepstage._utils.files.temporary_folder` beside a local target, is used up.
    Raises `DataError` if something else is there.
    """
    refuse_others(target)
    if not is_local(target):
        _publish_far(written, target)
        return
    aside = written.with_name("old") / target.name
    try:
        if target.exists():
            aside.parent.mkdir()
            target.rename(aside)
        written.rename(target)
    finally:
        _settle(aside, target)


def _publish_far(written: Path, target: Path) -> None:
    summary = read_summary((written / SUMMARY).read_text(encoding="utf-8"))
    replaces = target.exists()
    target.mkdir(parents=True, exist_ok=True)
    if summary is not None:
        pending = replace(summary, error=_PENDING, fingerprint="")
        (target / SUMMARY).write_bytes(summary_text(pending).encode())
    for name in FILES:
        if (written / name).exists():
            (target / name).write_bytes((written / name).read_bytes())
        elif replaces:
            (target / name).unlink(missing_ok=True)


def _settle(aside: Path, target: Path) -> None:
    """Put an old result back, or what others put into it, and remove our own files."""
    if not aside.exists():
        return
    if not target.exists():
        aside.rename(target)
    else:
        for file in list(aside.iterdir()):
            if file.name in FILES:
                file.unlink()
            elif not (target / file.name).exists():
                file.rename(target / file.name)
        aside.rmdir()


def recover(out: Path) -> None:
    """Put right what processes left behind that were killed while they wrote to a folder."""
    if not is_local(out):
        return
    for folder in stale(out):
        for aside in list(folder.glob("old/*")):
            with suppress(OSError):
                _settle(aside, out / aside.name)
        discard(folder)
