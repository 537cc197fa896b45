"""Sections of a report, made once and written as Markdown and as HTML alike."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from sleepstage._utils.files import read_toml
from sleepstage.evaluation.schema import Numbers
from sleepstage.plotting import mark_simulated
from sleepstage.stages import SCHEMES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cell = str | float | None
_MARKS = re.compile(r"([\\`*_\[\]|])")


def number(value: float | None) -> str:
    """Three decimals, a count as it is, and - for what is not defined."""
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:z.3f}"


def interval(low: float | None, high: float | None) -> str:
    """Two numbers as a range; - where one is not defined."""
    return "-" if low is None or high is None else f"{number(low)} to {number(high)}"


def p_value(value: float | None) -> str:
    """Three decimals, or that it is below them."""
    return "<0.001" if value is not None and value < 0.001 else number(value)


def escaped(text: str) -> str:
    """Markdown that shows `text` as it is, on one line: names hold any signs."""
    return _MARKS.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))


@dataclass(frozen=True)
class Table:
    """Rows under a head."""

    caption: str
    """Above the table; empty for none."""
    head: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    """Numbers get three decimals, counts none."""
    text_columns: int = 1
    """So many columns on the left hold words; the others hold numbers, which stand to the right."""
    totals: int = 0
    """So many rows at the end sum up those above."""

    @property
    def cells(self) -> list[list[str]]:
        """Of each row, as they are shown."""
        return [
            [cell if isinstance(cell, str) else number(cell) for cell in row] for row in self.rows
        ]

    def to_markdown(self) -> str:
        """GitHub's pipe table under its caption in bold."""
        lines = [[escaped(cell) for cell in row] for row in self.cells]
        for line in lines[len(lines) - self.totals :]:
            line[0] = f"**{line[0]}**"
        n_numbers = len(self.head) - self.text_columns
        rule = ["---"] * self.text_columns + ["--:"] * n_numbers
        table = [[escaped(name) for name in self.head], rule, *lines]
        caption = f"**{escaped(self.caption)}**\n\n" if self.caption else ""
        return caption + "".join(f"| {' | '.join(line)} |\n" for line in table)


@dataclass(frozen=True)
class Picture:
    """What a picture shows, in words, and what draws it."""

    shows: str
    draw: Callable[[], Figure]

    def figure(self, *, simulated: bool = False) -> Figure:
        """Draw it; across one of simulated nights that is written."""
        figure = self.draw()
        if simulated:
            mark_simulated(figure)
        return figure


@dataclass(frozen=True)
class Section:
    """A part of a report."""

    name: str
    """What it is found by."""
    title: str
    text: str
    """What is shown and how to read it."""
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    """In order."""
    leaky: bool = False
    """True if it shows what a mistake would claim: never to be taken for a result."""

    def to_markdown(self) -> str:
        """Heading, text and tables."""
        text = escaped(self.text)
        if self.leaky:
            text = f"> **LEAK: these are no results.** {text}"
        parts = [f"## {escaped(self.title)}", text, *(table.to_markdown() for table in self.tables)]
        return "\n\n".join(part.strip() for part in parts if part) + "\n"


@cache
def texts(name: str) -> dict[str, str]:
    """Texts of this name in ``texts.toml``: of a section, or meanings by term."""
    found = read_toml(__package__, "texts.toml")[name]
    return {key: " ".join(text.split()) for key, text in found.items()}


def section(name: str, *shown: Table | Picture, **numbers: str) -> Section:
    """Section with the title and the text of its name, into which `numbers` are filled."""
    found = texts(name)
    tables = tuple(one for one in shown if isinstance(one, Table))
    pictures = tuple(one for one in shown if isinstance(one, Picture))
    return Section(name, found["title"], found["text"].format(**numbers), tables, pictures)


def scheme_words(scheme: str) -> str:
    """Name of a scheme in plain words."""
    return scheme.replace("_class", " classes")


def class_label(name: str) -> str:
    """Name of a class as it is written: REM, N2, light."""
    short = name in {"rem", "nrem"} or name[-1].isdigit()
    return name.upper() if short else name


def number_labels(scheme: str) -> tuple[str, ...]:
    """Names of accuracy, kappa, macro F1 and the recall of each class."""
    recalls = (f"{class_label(name)} recall" for name in SCHEMES[scheme].classes)
    return "accuracy", "kappa", "macro F1", *recalls


def by_kappa(people: Mapping[str, Numbers]) -> dict[str, Numbers]:
    """Numbers of each person, the lowest kappa first, and none at the end."""
    kappas = {name: (one["kappa"] is None, one["kappa"] or 0.0) for name, one in people.items()}
    return {name: people[name] for name in sorted(people, key=kappas.__getitem__)}
