"""Tables of numbers in text files: read fast; where that fails, the line to blame is reported."""

from __future__ import annotations

import math
from array import array
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sleepstage.errors import DataError
from sleepstage.io.limits import MAX_ROWS, MAX_VALUE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import IO, AnyStr

    from numpy.typing import NDArray

__all__ = [
    "Line",
    "bounded_lines",
    "first_fields",
    "read_text_table",
    "reading",
    "require_header",
    "require_rows",
    "table_errors",
    "text_lines",
]

_BLOCK: Final = 1 << 20  # bytes
_SHORTEST: Final = 2  # bytes of a row with its line end


class Line(NamedTuple):
    """A line of a table: its numbers, or None if it is broken."""

    number: int
    text: str
    values: list[float] | None

    def describe(self, columns: Sequence[str]) -> str:
        """What is wrong with a broken line."""
        expected = f"expected {len(columns)} numbers ({', '.join(columns)})"
        return f"{expected}, found {self.text[:60]!r}; correct or delete the line"


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
        If it has too many rows.
    """
    import polars as pl

    path = Path(path)
    try:
        with reading(path):
            require_rows(path)
            frame = pl.read_csv(
                path,
                has_header=header,
                separator=separator,
                new_columns=list(columns),
                schema_overrides=[pl.Float64] * len(columns),
                comment_prefix="#" if header else None,
                glob=False,
            )
    except table_errors():
        return _read_slowly(path, columns, separator=separator, header=header)
    table = frame.to_numpy()
    if frame.width != len(columns) or not len(frame) or not np.isfinite(table).all():
        return _read_slowly(path, columns, separator=separator, header=header)
    return np.asarray(table, dtype=np.float64)


def _read_slowly(
    path: Path, columns: Sequence[str], *, separator: str, header: bool
) -> NDArray[np.float64]:
    """Read line by line: finds the line to blame, and takes what only the fast way stumbles on."""
    rows = array("d")
    with reading(path):
        for line in text_lines(path, columns, separator=separator, header=header):
            if line.values is None:
                msg = f"{path}, line {line.number}: {line.describe(columns)}"
                raise DataError(msg)
            rows.extend(line.values)
    if not rows:
        msg = f"{path}: the file is empty; expected lines of {', '.join(columns)}"
        raise DataError(msg)
    return np.frombuffer(rows).reshape(-1, len(columns))


def require_rows(path: Path) -> None:
    """Refuse a text file with more lines than `MAX_ROWS`."""
    if path.stat().st_size <= _SHORTEST * MAX_ROWS.value:
        return  # it need not be read to know that it has fewer
    with path.open("rb") as file:
        blocks = iter(partial(file.read, _BLOCK), b"")
        MAX_ROWS.require(sum(block.count(b"\n") for block in blocks), str(path))


def bounded_lines(file: IO[AnyStr], path: Path) -> Iterator[AnyStr]:
    """Lines of a file; refuses a line longer than `MAX_VALUE`, and more lines than `MAX_ROWS`."""
    longest, most = MAX_VALUE.value, MAX_ROWS.value
    lines = iter(partial(file.readline, longest + 1), file.read(0))
    for number, line in enumerate(lines, start=1):
        if len(line) > longest:
            MAX_VALUE.require(len(line), f"{path}, line {number}")
        if number > most:
            MAX_ROWS.require(number, str(path))
        yield line


def table_errors() -> tuple[type[BaseException], ...]:
    """What polars raises over a file that is no table; some files it panics over."""
    import polars as pl

    return pl.exceptions.PolarsError, pl.exceptions.PanicException


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise a `DataError` that names the file if it can't be read in the block."""
    try:
        yield
    except OSError as error:
        msg = f"{path}: can't be read ({error.strerror or error})"
        raise DataError(msg) from error


def first_fields(path: Path) -> tuple[str, list[str]]:
    """Separator and fields of the first line that is neither blank nor a remark."""
    with reading(path), path.open(encoding="utf-8-sig", errors="replace") as file:
        lines = (line.strip() for line in bounded_lines(file, path))
        first = next((line for line in lines if line and not line.startswith("#")), "")
    if not first:
        msg = f"{path}: the file is empty"
        raise DataError(msg)
    separator = next((mark for mark in (",", ";", "\t") if mark in first), " ")
    return separator, [field.strip().strip('"') for field in first.split(separator)]


def require_header(path: Path, columns: Sequence[str]) -> None:
    """Refuse a text file whose first line, after blank ones and remarks, has other names."""
    _, header = first_fields(path)
    if header != list(columns):
        msg = f"{path}: header {','.join(header)[:200]}; expected {','.join(columns)}"
        raise DataError(msg)


def text_lines(
    path: str | Path, columns: Sequence[str], *, separator: str, header: bool = False
) -> Iterator[Line]:
    """Lines that should hold numbers, in the file's order; blank lines are passed over."""
    path = Path(path)
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, text in enumerate(bounded_lines(file, path), start=1):
            if not text.strip() or (header and text.startswith("#")):
                continue
            if header:
                header = False  # the first line that is no remark holds the names
                continue
            yield Line(number, text.rstrip("\n"), _numbers(text.strip().split(separator), columns))


def _numbers(fields: list[str], columns: Sequence[str]) -> list[float] | None:
    if len(fields) != len(columns) or any("_" in field for field in fields):  # float takes 1_000
        return None
    try:
        values = [float(field) for field in fields]
    except ValueError:
        return None
    return values if all(map(math.isfinite, values)) else None
