"""Files written whole or not at all, and fingerprints of what they hold."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sleepstage.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import polars as pl

__all__ = ["fingerprint", "write_atomically", "write_table"]


@contextmanager
def write_atomically(path: str | Path, *, suffixes: tuple[str, ...] = ()) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to, and move it there once all went well.

    On any error, a full disk or an interruption included, the temporary file is removed and
    what stood at `path` before is still there.

    Parameters
    ----------
    path : path
        Where the file shall end up. Missing folders are made.
    suffixes : tuple of str
        Endings that are understood; empty for any.

    Raises
    ------
    DataError
        If the ending of `path` is not among `suffixes`.
    """
    path = Path(path)
    if suffixes and path.suffix not in suffixes:
        msg = f"{path}: unknown ending {path.suffix!r}; use one of {', '.join(suffixes)}"
        raise DataError(msg)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
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


def fingerprint(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
