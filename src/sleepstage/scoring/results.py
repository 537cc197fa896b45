"""Folders of results: which are ours, what is in them, and how a new one takes the place of one."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import is_dataclass
from datetime import datetime
from functools import lru_cache
from types import UnionType
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin, get_type_hints

from sleepstage.errors import DataError
from sleepstage.files import discard, stale
from sleepstage.metrics import Agreement
from sleepstage.scoring.night import FILES, SUMMARY, Summary
from sleepstage.scoring.places import is_local
from sleepstage.stages import FIVE_CLASS, FOUR_CLASS
from sleepstage.statistics import SleepStatistics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["publish", "read_result", "read_results", "read_summary", "recover", "refuse_others"]

_MARKS: Final = {"night", "source", "format", "stages", "fingerprint"}  # of every version
_LONGEST: Final = 1 << 22  # bytes of a summary
_LARGEST: Final = 1e12  # number in a summary
_MOST: Final = 100_000  # epochs
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_STAGES: Final = {*FOUR_CLASS.classes, *FIVE_CLASS.classes, "unscored"}
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


def read_summary(text: str) -> Summary | None:
    """What `write_night` wrote; None if it is of another version, or no summary at all."""
    content = _parse(text)
    if not _fits(content, Summary) or not _makes_sense(content):
        return None
    return Summary(**content)


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


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _fits(value: Any, kind: Any) -> bool:
    """Tell whether JSON holds what a type says."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return any(_fits(value, one) for one in inner)
    if origin is dict:
        return type(value) is dict and all(
            _fits(key, inner[0]) and _fits(one, inner[1]) for key, one in value.items()
        )
    if origin is list:
        return type(value) is list and all(_fits(one, inner[0]) for one in value)
    if origin is tuple:
        return type(value) is list and len(value) == len(inner) and all(map(_fits, value, inner))
    if hints := _hints(kind):
        return (
            type(value) is dict
            and set(value) == set(hints)
            and all(_fits(one, hints[name]) for name, one in value.items())
        )
    if kind is float:
        return type(value) in {int, float} and abs(value) <= _LARGEST
    if kind is int:
        return type(value) is int and 0 <= value <= _LARGEST
    if kind is str:
        return type(value) is str and not _SURROGATE.search(value)
    return kind is Any or type(value) is kind


@lru_cache
def _hints(kind: Any) -> dict[str, Any]:
    """Of a dataclass, and of nothing else; to find them is slow."""
    return get_type_hints(kind) if is_dataclass(kind) else {}


def _makes_sense(content: dict[str, Any]) -> bool:
    """What types do not tell, of a summary of the right types."""
    expected, statistics = content["expected"], content["statistics"]
    epochs = sum(n for n, _ in content["stages"])
    n_classes = len(FOUR_CLASS)
    try:
        clocks = [datetime.fromisoformat(clock) for clock in content["clock"]]
    except ValueError:
        return False
    return (
        len(clocks) in {0, 2}
        and epochs == content["n_epochs"] <= _MOST
        and {stage for _, stage in content["stages"]} <= _STAGES
        and (expected is None or _fits(expected.get("accuracy"), float))
        and (expected is None or _fits(expected.get("kappa"), float))
        and (_fits(statistics, SleepStatistics) or (statistics is None and bool(content["error"])))
        and all(
            _fits({name: one for name, one in compared.items() if name != "by"}, Agreement)
            and [len(row) for row in compared["confusion"]] == [n_classes] * n_classes
            and set(compared["recall"]) == set(FOUR_CLASS.classes)
            for compared in content["agreement"].values()
        )
    )


def refuse_others(target: Path) -> None:
    """See that nothing is there, or a result of this night, of whatever version.

    Raises
    ------
    DataError
        If something else is, which then must not be touched.
    """
    is_link = is_local(target) and target.is_symlink()
    if is_link or (target.exists() and not _is_ours(target)):
        msg = (
            f"{target} exists and is not a result of this night by sleepstage, so it is left as it "
            "is: move it away, or name another folder with --out"
        )
        raise DataError(msg)


def _is_ours(folder: Path) -> bool:
    text = _read_text(folder)
    content = None if text is None else _parse(text)
    return (
        type(content) is dict
        and set(content) >= _MARKS
        and content["night"] == folder.name
        and type(content["stages"]) is list
    )


def publish(written: Path, target: Path) -> None:
    """Put a local folder of files in place of `target`, or of an earlier result there.

    Files of others within that result are kept. A local result is there as a whole, the old or the
    new one; where it is neither as the process is killed, `recover` puts the old one back. A
    remote one is written file by file, and its summary has an error until it is complete.

    Parameters
    ----------
    written : Path
        Folder of `sleepstage.files.temporary_folder`, beside `target` if that is local. It is used
        up.
    target : Path
        Where the result shall be.

    Raises
    ------
    DataError
        If something else is there.
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
    summary = json.loads((written / SUMMARY).read_bytes())
    pending = {**summary, "error": _PENDING, "fingerprint": ""}
    replaces = target.exists()
    target.mkdir(parents=True, exist_ok=True)
    (target / SUMMARY).write_bytes(json.dumps(pending).encode())
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
