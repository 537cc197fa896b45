"""Tables in Parquet: described without being read, and no more of them read than is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sleepstage.errors import DataError
from sleepstage.io.limits import MAX_ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import polars as pl

__all__ = ["column_names", "read_parquet", "require_numbers"]

_LONGEST_TEXT: Final = 1000  # bytes: a longer one is no number and no time


def column_names(path: Path) -> list[str]:
    """Names of all columns; the path may be remote."""
    import polars as pl

    with path.open("rb") as file:
        return list(pl.read_parquet_schema(file))


def read_parquet(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Some columns of a table; refuses too many rows, and a text too long for a number or a time.

    What can't be read raises OSError or one of `sleepstage.io.text.table_errors`.
    """
    import polars as pl

    table = pl.scan_parquet(path, glob=False)
    # Equal rows take next to nothing in a file, and all their width in memory.
    MAX_ROWS.require(int(table.select(pl.len()).collect().item()), str(path))
    frame = table.select(columns).collect()
    for column in frame.select(pl.col(pl.String)):
        # Of dictionaries, millions of rows can have one long text, which is parsed in each.
        lengths = column.str.len_bytes()
        if (lengths > _LONGEST_TEXT).any():
            at = lengths.arg_max() or 0
            found = f"{lengths[at]} bytes of text as {column.name!r}"
            msg = f"{path}, row {at + 1}: expected a number, found {found}; correct it"
            raise DataError(msg)
    return frame


def require_numbers(path: Path, frame: pl.DataFrame) -> None:
    """Refuse columns, other than text, of which a cast to numbers fails or gives odd ones."""
    import polars as pl

    for name, kind in frame.schema.items():
        if not (kind.is_numeric() or isinstance(kind, pl.String | pl.Null)):
            msg = f"{path}: column {name!r} is of type {str(kind)[:60]}; write it as numbers"
            raise DataError(msg)
