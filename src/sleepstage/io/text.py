"""Tables in text as programs and people write them: encoding, separator, header and what is above.

Lines are counted as an editor counts them.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sleepstage.errors import DataError
from sleepstage.io.clocks import DATE
from sleepstage.io.files import (
    MAX_ROWS,
    beginning_of,
    bounded_lines,
    reading,
    require_rows,
    table_errors,
)
from sleepstage.io.names import Name, is_header, parse_name

if TYPE_CHECKING:
    import polars as pl

BLANKS: Final = ("", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", "--", ".")
"""Cells where nothing was measured, in small letters."""

_BEGINNING: Final = 1 << 12  # bytes in which a line ends
_LOOKED_AT: Final = 100  # lines, in which the table begins
_MARKS: Final = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))
_COMMA: Final = r"^[+-]?\d*,\d+([eE][+-]?\d+)?$"
_QUOTED_COMMA: Final = r"^[+-]?(0?,\d+|\d+,(\d{1,2}|\d{4,}))$"  # it may divide thousands, too
_NUMBER: Final = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?")


class Layout(NamedTuple):
    """How a file has its table; what follows the width is of text."""

    path: Path
    names: Sequence[Name]
    """Of its columns, empty where one has none; all are where there is no header."""
    width: int  # number of fields of most rows
    encoding: str = ""
    direct: bool = True
    """Whether polars reads the file as it is: neither UTF-16 nor with lines of old computers."""
    separator: str = ""
    first: int = 0  # number of the line of its first row
    found: str = ""  # that line, for errors

    @property
    def is_named(self) -> bool:
        """Whether there is a header, which Parquet always has."""
        return not self.encoding or any(one.text for one in self.names)

    def label(self, at: int) -> str:
        """Name or number of a column."""
        return self.names[at].text or str(at + 1)

    def place(self, row: int) -> str:
        """Where in the file a row stands: its line if it is text."""
        if not self.encoding:
            return f"{self.path}, row {row + 1}"
        with self.path.open(encoding=self.encoding, errors="replace") as file:
            # Blank lines are rows, too, once there was a first one; remarks are not.
            numbered = enumerate(bounded_lines(file, self.path), 1)
            lines = (n for n, line in numbered if n >= self.first and not line.startswith("#"))
            return f"{self.path}, line {next(islice(lines, row, None))}"


def layout_of(path: Path) -> Layout:
    """Find the table in a file, local or remote, by its first lines.

    Its header is the first line with known names; without one, the line above the first row.
    Raises `DataError` if the file can't be read or is empty.
    """
    beginning = beginning_of(path, _BEGINNING)
    encoding = next((name for mark, name in _MARKS if beginning.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in beginning[:4]:
        encoding = "utf-16-be" if beginning[:1] == b"\0" else "utf-16-le"
    lines = list(islice(_lines(path, encoding), _LOOKED_AT))
    stated = re.fullmatch(r'"?sep=(.)"?', lines[0][1].strip(), re.IGNORECASE) if lines else None
    if stated:
        del lines[0]
    if not lines:
        raise DataError(f"{path}: the file is empty")
    separator = stated[1] if stated else _separator([line for _, line in lines])
    rows = [(number, split(line, separator)) for number, line in lines]
    data = next((at for at, (_, fields) in enumerate(rows) if _is_data(fields)), None)
    header = next((at for at, (_, fields) in enumerate(rows[:data]) if is_header(fields)), None)
    if header is None and data != 0:
        above = 0 if data is None else data - 1
        width = None if data is None else len(rows[data][1])
        if width in (None, len(rows[above][1])) and _is_header(rows[above][1]):
            header = above
    if header is None and data is not None:  # a row that is broken is one all the same
        width = len(rows[data][1])
        data = next(at for at, (_, fields) in enumerate(rows) if len(fields) == width)
    first = (data or 0) if header is None else header + 1
    names = [] if header is None else rows[header][1]
    widths = Counter(len(fields) for _, fields in rows[first:])
    width = max(widths, key=widths.__getitem__, default=len(names))
    number, found = lines[first] if first < len(lines) else (lines[-1][0] + 1, "")
    parsed = [*map(parse_name, names + [""] * (width - len(names)))]
    direct = encoding.startswith("utf-8") and (b"\n" in beginning or b"\r" not in beginning)
    return Layout(path, parsed, width, encoding, direct, separator, number, found)


def _lines(path: Path, encoding: str) -> Iterator[tuple[int, str]]:
    """Lines that are neither blank nor remarks, with their numbers."""
    with reading(path), path.open(encoding=encoding, errors="replace") as file:
        for number, line in enumerate(bounded_lines(file, path), 1):
            if line.strip() and not line.startswith("#"):
                yield number, line.rstrip("\r\n")


def _separator(lines: Sequence[str]) -> str:
    """What divides most of the last lines into equally many fields."""
    some = lines[len(lines) // 2 :]
    for mark in "\t;, ":
        ((width, n_lines),) = Counter(len(split(line, mark)) for line in some).most_common(1)
        if width > 1 and n_lines > len(some) / 2:
            return mark
    return next((mark for mark in "\t;," if mark in lines[0]), " ")


def split(line: str, separator: str) -> list[str]:
    """Fields of a line, without quotes and spaces around them."""
    try:
        fields = next(csv.reader([line.strip()], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        fields = line.split(separator)
    return [field.strip() for field in fields]


def _is_header(fields: Sequence[str]) -> bool:
    """Whether fields are names, and not values."""
    return any(field[:1].isalpha() and field.lower() not in BLANKS for field in fields)


def _is_data(fields: Sequence[str]) -> bool:
    """Whether a line holds a time and values."""
    first, *others = fields
    return bool(
        others
        and (_NUMBER.fullmatch(first) or re.match(DATE, first))
        and any(_NUMBER.fullmatch(one) for one in others)
    )


def read_frame(layout: Layout) -> pl.DataFrame:
    """All rows, columns named 0, 1, ...; as numbers where all are, else as text, with blanks null.

    Raises `DataError` if the file is empty, has too many rows, or a line more fields than there are
    columns; names the line.
    """
    import polars as pl

    path = layout.path
    source: Path | BytesIO = path
    frame = None
    texts = dict.fromkeys(map(str, range(layout.width)), pl.String)
    kinds: tuple[dict[str, Any], ...] = (
        {"infer_schema_length": 1000},
        {"schema": texts, "encoding": "utf8-lossy"},
    )
    with reading(path):
        require_rows(path)
        if not layout.direct:
            content = path.read_text(encoding=layout.encoding, errors="replace")
            MAX_ROWS.require(content.count("\n"), str(path))
            source = BytesIO(content.encode())
        for kind in kinds:
            with suppress(*table_errors()):
                frame = pl.read_csv(
                    source,
                    separator=layout.separator,
                    has_header=False,
                    skip_lines=layout.first - 1,
                    comment_prefix="#",
                    null_values=["NA", "NaN", "nan", "null"],
                    glob=False,
                    **kind,
                )
                break
    if not layout.found:
        raise DataError(f"{path}: the file is empty below its header")
    if frame is None or frame.width > layout.width:
        raise _misfit(layout)
    text = pl.col(pl.String)
    stripped = text.str.strip_chars()
    decimal = text.str.contains(_QUOTED_COMMA if layout.separator == "," else _COMMA)
    blank = stripped.str.to_lowercase().is_in(list(BLANKS))
    missing = map(str, range(frame.width, len(layout.names)))
    return (
        frame.rename(dict(zip(frame.columns, map(str, range(frame.width)), strict=True)))
        .with_columns(pl.when(~blank).then(stripped))
        .with_columns(pl.when(decimal).then(text.str.replace(",", ".")).otherwise(text))
        .with_columns(pl.lit(None).alias(name) for name in missing)
    )


def _misfit(layout: Layout) -> DataError:
    """The error about the first line that does not fit."""
    path = layout.path
    for number, line in _lines(path, layout.encoding):
        fields = split(line, layout.separator)
        wrong = len(fields) > layout.width or line.count('"') % 2
        if number >= layout.first and wrong:
            return DataError(
                f"{path}, line {number}: expected {layout.width} fields, found {len(fields)} in "
                f"{line!r:.60}; correct or delete the line"
            )
    return DataError(f"{path}: not a table of text; was it damaged? export it again")
