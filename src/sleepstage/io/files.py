"""Files from strangers: bounded, so that none takes all memory or time, and read as streams.

Text tables are read fast; where that fails, the line to blame is reported. Real nights stay far
below the limits; each can be set in the environment, which is read at every use.
"""

import math
import os
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, AnyStr, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sleepstage.errors import DataError, SleepstageError


class Limit(NamedTuple):
    """A largest number of something."""

    variable: str  # the environment variable that sets it
    default: int
    unit: str  # what is counted, in the plural

    @property
    def value(self) -> int:
        """The limit in force; a `DataError` if the variable is no whole number above zero."""
        text = os.environ.get(self.variable) or str(self.default)
        if text.isdecimal() and len(text) < 19 and int(text):
            return int(text)
        msg = f"{self.variable}={text[:40]!r}: expected a number of {self.unit}, 1 or more"
        raise DataError(msg)

    def require(self, found: int, what: str) -> None:
        """Raise a `DataError` that begins with `what` if there are more.

        `found` is how many there are, or how many were seen when reading stopped.
        """
        if found > self.value:
            raise DataError(
                f"{what}: {found} {self.unit}, more than the limit of {self.value}, which no night "
                f"reaches; if it is right all the same, raise the limit with {self.variable}"
            )


MAX_ROWS: Final = Limit("SLEEPSTAGE_MAX_ROWS", 64_000_000, "rows")
"""Of one table: a week of 100 Hz has 60 million."""

MAX_VALUE: Final = Limit("SLEEPSTAGE_MAX_VALUE_BYTES", 1 << 20, "bytes in one piece")
"""A line of text, or a value, a name or a tag in JSON and XML."""

MAX_MATLAB_BYTES: Final = Limit("SLEEPSTAGE_MAX_MATLAB_BYTES", 16 << 20, "bytes unpacked")
"""Of one ``labels.mat``: a night of labels has some kilobytes."""

MAX_FILES: Final = Limit("SLEEPSTAGE_MAX_FILES", 1_000_000, "files and folders")
"""Below the folder that is searched."""

MAX_DEPTH: Final = Limit("SLEEPSTAGE_MAX_DEPTH", 32, "folders within each other")
"""Also what ends the search of a remote file system that links to itself."""


_BLOCK: Final = 1 << 20  # bytes
_SHORTEST: Final = 2  # bytes of a row with its line end


def read_text_table(
    path: str | Path, columns: Sequence[str], *, separator: str, header: bool = False
) -> NDArray[np.float64]:
    """Read a table of finite numbers, shape (n_lines, n_columns), from a text file.

    With a `header` the first line holds the names, and lines that start with ``#`` are skipped.
    Raises `DataError` if the file is missing, empty, has other names, too many rows or a line that
    is not one number for each of `columns`; names the line.
    """
    import polars as pl

    path = Path(path)
    with suppress(*table_errors()), reading(path):
        require_rows(path)
        frame = pl.read_csv(
            path,
            has_header=header,
            separator=separator,
            new_columns=None if header else list(columns),
            schema_overrides=[pl.Float64] * len(columns),
            comment_prefix="#" if header else None,
            glob=False,
        )
        if frame.columns == list(columns) and len(frame):
            table = np.asarray(frame.to_numpy(), dtype=np.float64)
            if np.isfinite(table).all():
                return table
    # Line by line: finds the line to blame, and takes what only the fast way stumbles on.
    rows = array("d")
    with reading(path):
        for number, values in text_lines(path, columns, separator=separator, header=header):
            if isinstance(values, str):
                raise DataError(f"{path}, line {number}: {values}")
            rows.extend(values)
    if not rows:
        raise DataError(f"{path}: the file is empty; expected lines of {', '.join(columns)}")
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
        raise DataError(f"{path}: can't be read ({error.strerror or error})") from error


@contextmanager
def explaining(what: str, advice: str, *errors: type[BaseException]) -> Iterator[None]:
    """Raise a `DataError` in place of these errors of a library."""
    try:
        yield
    except SleepstageError:
        raise
    except errors as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:100]
        raise DataError(f"{what} ({reason}); {advice}") from error


def beginning_of(path: Path, size: int) -> bytes:
    """The first bytes of a file, local or remote, by which it shows what it is."""
    with reading(path), path.open("rb") as file:
        return file.read(size)


def text_lines(
    path: Path, columns: Sequence[str], *, separator: str, header: bool = False
) -> Iterator[tuple[int, list[float] | str]]:
    """Numbers of each line, or what is wrong with it, in the file's order, without blank lines.

    With a `header`, the first line that is no remark must hold the names of the columns.
    """
    is_named = not header
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, text in enumerate(bounded_lines(file, path), start=1):
            if not text.strip() or (header and text.startswith("#")):
                continue
            if not is_named:
                is_named = True
                names = [field.strip().strip('"') for field in text.split(separator)]
                if names != list(columns):
                    yield number, f"header {text.strip()[:200]}; expected {','.join(columns)}"
                continue
            values: list[float] = []
            with suppress(ValueError):
                values = list(map(float, text.strip().split(separator)))
            right = len(values) == len(columns) and all(map(math.isfinite, values))
            if right and "_" not in text:  # float takes 1_000
                yield number, values
            else:
                expected = f"expected {len(columns)} numbers ({', '.join(columns)})"
                found = repr(text.rstrip("\n")[:60])
                yield number, f"{expected}, found {found}; correct or delete the line"
