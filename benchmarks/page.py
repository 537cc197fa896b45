"""Tables in Markdown that read well on a terminal too, and the places in documents for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sleepstage._utils.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * widths[0], *(f"{'-' * (width - 1)}:" for width in widths[1:])]
    return [line(head), line(rule), *map(line, rows)]


def write_section(page: Path, name: str, text: str) -> None:
    """Replace what stands between the markers ``<!-- name -->`` and ``<!-- /name -->``.

    Raises ``SystemExit`` if the page lacks them.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        msg = f"{page}: no place for the results; add the lines {begin.strip()} and {end}"
        raise SystemExit(msg)
    with write_atomically(page) as temporary:
        temporary.write_text(f"{before}{begin}{text}\n{end}{after}", encoding="utf-8")
