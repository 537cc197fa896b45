"""Tables of numbers in text files: read fast, and where that fails, say which line is to blame."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sleepstage.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["BrokenLine", "broken_lines", "open_error", "read_text_table"]


class BrokenLine(NamedTuple):
    """A line that is not what it should be."""

    number: int
    text: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.reason}, found {self.text[:60]!r}"


def read_text_table(
    path: str | Path,
    columns: Sequence[str],
    *,
    separator: str,
    header: bool = False,
) -> NDArray[np.float64]:
    """Read a table of finite numbers.

    Parameters
    ----------
    path : path
        Text file.
    columns : sequence of str
        What the columns hold, for error messages.
    separator : str
        A single character.
    header : bool
        Whether the first line holds names. Lines that start with ``#`` are passed over then.

    Returns
    -------
    ndarray of float64, shape (n_lines, n_columns)

    Raises
    ------
    DataError
        If the file is missing, empty or has a line that is not `columns` numbers; names the line.
    """
    import polars as pl

    path = Path(path)
    try:
        frame = pl.read_csv(
            path,
            has_header=header,
            separator=separator,
            new_columns=list(columns),
            schema_overrides=[pl.Float64] * len(columns),
            comment_prefix="#" if header else None,
        )
    except OSError as error:
        raise open_error(path, error) from error
    except pl.exceptions.NoDataError:
        frame = pl.DataFrame()
    except pl.exceptions.PolarsError as error:
        raise _blame(path, columns, separator, header) from error
    if not len(frame):
        msg = f"{path}: the file is empty; expected lines of {', '.join(columns)}"
        raise DataError(msg)
    table = frame.to_numpy() if frame.width == len(columns) else np.full((1, 1), np.nan)
    if not np.isfinite(table).all():
        raise _blame(path, columns, separator, header)
    return np.ascontiguousarray(table, dtype=np.float64)


def open_error(path: Path, error: OSError) -> DataError:
    """What to say when a file can't be read."""
    return DataError(f"{path}: can't be read ({error.strerror or error})")


def _blame(path: Path, columns: Sequence[str], separator: str, header: bool) -> DataError:
    first = next(broken_lines(path, columns, separator=separator, header=header), None)
    return DataError(f"{path}, {first}" if first else f"{path}: not a table of {columns}")


def broken_lines(
    path: str | Path, columns: Sequence[str], *, separator: str, header: bool = False
) -> Iterator[BrokenLine]:
    """Lines that are not as many finite numbers as there are `columns`, in the file's order."""
    expected = f"expected {len(columns)} numbers ({', '.join(columns)})"
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if (header and (number == 1 or line.startswith("#"))) or not line.strip():
                continue
            fields = line.strip().split(separator)
            if len(fields) != len(columns) or not all(map(_is_finite, fields)):
                yield BrokenLine(number, line.rstrip("\n"), expected)


def _is_finite(field: str) -> bool:
    try:
        return math.isfinite(float(field))
    except ValueError:
        return False
