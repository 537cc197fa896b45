"""What the verbs share: one console, tables, and progress bars that are quiet in a pipe."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from sleepstage.io.clocks import offset_at
from sleepstage.io.source import Options

_PIPE_WIDTH = 160  # columns: whoever reads a file or a log can scroll

# No markup: a folder may be called data[red], and an extra is installed as sleepstage[train].
console = Console(highlight=False, markup=False, soft_wrap=True)
if not console.is_terminal:
    console.width = _PIPE_WIDTH

errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
"""For what goes wrong while results stream to standard output."""


def reading_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of `to_options` to a command."""
    zone = click.option("--timezone", default="", help="Of clock times, as Europe/London.")
    dates = click.option(
        "--dates",
        type=click.Choice(["day-first", "month-first"]),
        help="Of dates as 03/04/2024, where a table does not show it.",
    )
    return zone(dates(command))


def to_options(timezone: str, dates: str | None) -> Options:
    """What the user states about files. Raises `DataError` if there is no such time zone."""
    if timezone:
        offset_at(0.0, timezone)
    return Options(timezone, None if dates is None else dates == "day-first")


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """Draw a bar while the block runs; call what it gives with done, total and a remark."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[remark]}", markup=False),
        TimeRemainingColumn(),
    )
    quiet = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=quiet) as progress:
        bar = progress.add_task(title, total=None, remark="")

        def advance(done: int, total: int, remark: str = "") -> None:
            progress.update(bar, completed=done, total=total, remark=remark)

        yield advance


def table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    n_words: int = 1,
    *,
    simulated: bool = False,
) -> None:
    """Print a table: the first columns, of words, to the left, the others to the right."""
    console.print()
    if simulated:
        console.print("SIMULATED ", style="bold red", end="")
    console.print(title)
    drawn = Table(box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
    for name in columns[:n_words]:
        drawn.add_column(name, min_width=7)
    for name in columns[n_words:]:
        drawn.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        drawn.add_row(*row)
    console.print(drawn, soft_wrap=False)


def number(value: float | None, decimals: int = 3) -> str:
    """Text of a number, or a dash where there is none."""
    return "-" if value is None else f"{value:.{decimals}f}"


def simulated_banner() -> None:
    """Say in large letters that nothing below comes from a person."""
    console.rule(Text("S I M U L A T E D   D A T A", style="bold red"), style="red", characters="=")
    console.print(
        "These nights were made by a program. No result below says anything about\n"
        "sleep: get the real data with: sleepstage data fetch",
        style="red",
    )


def trained_banner(nights: Sequence[str]) -> None:
    """Say that the model knows the people of these nights, if there are any."""
    if nights:
        console.rule(Text("N O T   A   T E S T", style="bold red"), style="red", characters="=")
        console.print(
            "The model was trained on nights of these people, so that agreement with the expert\n"
            f"is too high: {', '.join(nights)}",
            style="red",
        )
