"""Files written whole or not at all and never over an input; pages; fingerprints."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unicodedata import category

from sleepstage.errors import DataError, needs_extra

if TYPE_CHECKING:
    import polars as pl

_TEMPORARY: Final = re.compile(r"\.sleepstage-([0-9a-f]{8})-(\d+)-[0-9a-f]{8}(\.\w+)?")
_ABANDONED: Final = 86400.0  # seconds after which no run can still be writing a temporary
FLAT: Final[Mapping[str, bool]] = {"flat": True}
"""Metadata of a field, a mapping or a dataclass, whose keys stand among those of its owner."""


def _temporary(folder: Path, suffix: str = "") -> Path:
    """A path that no other writer has, and by which `stale` knows who wrote there."""
    return folder / f".sleepstage-{_machine()}-{os.getpid()}-{secrets.token_hex(4)}{suffix}"


@lru_cache
def _machine() -> str:
    """Distinguishes the processes that can be looked up from here: of this host and container."""
    namespace = Path("/proc/self/ns/pid")
    host = f"{socket.gethostname()} {namespace.readlink() if namespace.is_symlink() else ''}"
    return hashlib.sha256(host.encode()).hexdigest()[:8]


def stale(folder: Path) -> list[Path]:
    """Temporary files and folders directly in `folder` that runs left behind which were killed."""
    with suppress(OSError):
        return [path for path in folder.glob(".sleepstage-*") if _is_stale(path)]
    return []


def _is_stale(path: Path) -> bool:
    match = _TEMPORARY.fullmatch(path.name)
    if match is None:
        return False
    with suppress(OSError):
        here = match[1] == _machine() and not _is_running(int(match[2]))
        return here or time.time() - path.lstat().st_mtime > _ABANDONED
    return False


def _is_running(process: int) -> bool:
    if os.name == "nt":
        return True  # there, os.kill would end it
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Give an empty folder within `parent` that is removed in the end, by the next run if killed.

    It may be moved away; ``old`` beside it, for what must outlive an error, stays unless empty.
    """
    for left in stale(parent):
        discard(left)
    folder = _temporary(parent)
    new = folder / "new"
    new.mkdir(parents=True)
    try:
        yield new
    finally:
        discard(folder)


def discard(left: Path) -> None:
    """Remove a temporary file, or a temporary folder with what `temporary_folder` gave."""
    if left.is_symlink() or not left.is_dir():
        with suppress(OSError):
            left.unlink()
        return
    shutil.rmtree(left / "new", ignore_errors=True)
    for folder in (left / "old", left):
        with suppress(OSError):
            folder.rmdir()


def keep_apart(outputs: Iterable[Path | None], inputs: Iterable[Path | None]) -> None:
    """Raise a `DataError` for an output that is an input, by whatever name or link, or named twice.

    Paths that are None and inputs that do not exist are ignored.
    """
    written: set[Path] = set()
    there = [path for path in inputs if path is not None and path.exists()]
    for output in filter(None, outputs):
        if output.resolve() in written:
            raise DataError(f"{output} is named for two results: give each a path of its own")
        written.add(output.resolve())
        for path in there:
            if output.exists() and output.samefile(path):
                raise DataError(f"{output} is an input ({path}): name another place for the result")


def refuse_other_files(folder: Path, marks: Mapping[str, bytes]) -> None:
    """Raise a `DataError` if a file to be written would replace one that is not ours.

    `marks` has, by the name of each file in a local or remote folder, what is in all that we wrote.
    """
    for name, mark in marks.items():
        file = folder / name
        if file.exists() and mark not in file.read_bytes():
            msg = f"{file} was not made by this command: move it away, or name another --out"
            raise DataError(msg)


def check_ending(path: Path, suffixes: Sequence[str]) -> None:
    """Raise a `DataError` if the ending of `path` is not among `suffixes`."""
    if path.suffix not in suffixes:
        raise DataError(f"{path}: unknown ending {path.suffix!r}; use one of {', '.join(suffixes)}")


@contextmanager
def write_atomically(path: str | Path, *, suffixes: tuple[str, ...] = ()) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to, and move it there once all went well.

    On any error, a full disk or an interruption included, the temporary file is removed and
    what stood at `path` before is still there. If the process is killed, the next one that writes
    to the folder removes it. Missing folders are made. An ending that is not among the suffixes,
    if there are any, is a `DataError`.
    """
    path = Path(path)
    if suffixes:
        check_ending(path, suffixes)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in stale(path.parent):
        discard(left)
    temporary = _temporary(path.parent, path.suffix)
    try:
        yield temporary
        os.replace(temporary, path)  # noqa: PTH105 - the one call that is atomic everywhere
    finally:
        temporary.unlink(missing_ok=True)


def write_table(path: str | Path, frame: pl.DataFrame, description: Mapping[str, Any]) -> None:
    """Write a table of epochs as CSV, JSON or Parquet, by the ending of `path`; NaN as empty.

    JSON alone has room for the description, beside which the rows stand as ``epochs``.
    """
    with write_atomically(path, suffixes=(".csv", ".json", ".parquet")) as temporary:
        known = frame.fill_nan(None)
        if temporary.suffix == ".csv":
            known.write_csv(temporary, float_precision=6)
        elif temporary.suffix == ".parquet":
            known.write_parquet(temporary)
        else:
            document = {**description, "epochs": known.to_dicts()}
            temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def text_cell(text: str) -> str:
    """Text for a CSV file that no spreadsheet takes for a formula, and that is Unicode."""
    shown = text.encode(errors="replace").decode()
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@", "\t", "\r")) else shown


def visible(text: str) -> str:
    """Text without control characters but ends of lines: names of files can steer a terminal."""
    return "".join("_" if category(one) == "Cc" and one != "\n" else one for one in text)


def fingerprint(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_toml(package: str, name: str) -> dict[str, Any]:
    """Content of a TOML file of a package."""
    return tomllib.loads(files(package).joinpath(name).read_text(encoding="utf-8"))


def encode(value: Any) -> Any:
    """Mappings, lists and scalars; an optional field that is left at None has no key."""
    if is_dataclass(value):
        found: dict[str, Any] = {}
        for field in fields(value):
            content = getattr(value, field.name)
            if content is not None or field.default is not None:
                found |= encode(content) if field.metadata else {field.name: encode(content)}
        return found
    if isinstance(value, Mapping):
        return {key: encode(one) for key, one in value.items()}
    return [encode(one) for one in value] if isinstance(value, list | tuple) else value


def write_json(path: str | Path, content: object) -> None:
    """Write a JSON document, which may hold dataclasses, whole or not at all."""
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(encode(content), indent=1) + "\n", encoding="utf-8")


def render(
    package: str, template: str, content: Mapping[str, Any], *, purpose: str, extra: str
) -> str:
    """Fill a template of a package; all that it names must be in `content`.

    In a template of HTML, by its name, text is escaped. Functions in `content` may be called, or
    used as filters. Raises `MissingExtraError`, with purpose and extra, without Jinja.
    """
    with needs_extra(purpose, extra):
        from jinja2 import Environment, StrictUndefined
    source = files(package).joinpath(template).read_text(encoding="utf-8")
    environment = Environment(
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: one for name, one in content.items() if callable(one)}
    return environment.from_string(source).render(content)
