"""sleepstage live: samples in as they arrive, epochs out as they end, drawn in a terminal."""

import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

import click
import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from sleepstage.cli.console import console, errors
from sleepstage.cli.predict import one_night
from sleepstage.core.hypnogram import Epoch, Hypnogram
from sleepstage.core.periods import SleepEvent
from sleepstage.core.recording import Recording
from sleepstage.engine.session import Session
from sleepstage.engine.stager import load_model
from sleepstage.errors import DataError
from sleepstage.stages import EPOCH_SECONDS, Scheme

Show = Callable[[Epoch | SleepEvent], None]

_SIGNALS: Final = ("heart_rate", "motion", "steps")
_TICK: Final = 5.0  # s of a night that a replay pushes at a time
_COLOURS: Final = {"wake": "yellow", "rem": "red", "deep": "blue", "n3": "blue"}
_OTHER: Final = "cyan"
_MARGIN: Final = 8  # columns for the names of the classes
_BAR: Final = 20


@click.command()
@click.option("--model", default="live", help="live, or a model file.")
@click.option("--start", type=float, help="Start of the night, in the samples' seconds.")
@click.option("--lateness", default=5.0, help="Seconds that late samples are waited for.")
@click.option("--find-rem", is_flag=True, help="Decide at the model's operating point for REM.")
@click.option("--replay", metavar="RECORDING", help="Play this night: DIR:SUBJECT or SUBJECT.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    help="Of the replay, times real time; inf: as fast as it goes.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON lines on a terminal, too.")
def live(
    model: str,
    start: float | None,
    lateness: float,
    find_rem: bool,
    replay: str | None,
    speed: float,
    as_json: bool,
) -> None:
    """Stage a night as it happens.

    Reads JSON lines from standard input. Each has the time of a sample in seconds, or an array of
    times, and what was measured then; docs/live.md says it exactly:

    \b
    {"time": 1700000000, "heart_rate": 61}
    {"time": [1700000000.02, 1700000000.04], "motion": [[0, 0, 1], [0, 0, 1]]}
    {"time": 1700000600, "steps": 12}
    {"now": 1700000630}

    Writes a JSON line for each epoch that has ended, and for each event: fell_asleep, woke_up,
    rem_began, not_worn; a terminal gets a picture of the night. What comes later than the lateness
    allows is dropped: with rare lines, give a longer one.
    """  # noqa: D301 - click's sign for lines that stay as they are
    stager = load_model(model)
    night = one_night(replay).read() if replay is not None else None

    def begin(first: float) -> Session:
        return stager.session(
            start=first if start is None else start, lateness=lateness, find_rem=find_rem
        )

    begin(0.0)  # what is wrong with model or options is said before anything is read
    view: AbstractContextManager[Show] = nullcontext(_write_line)
    if console.is_terminal and not as_json:
        subject, reference = (night.subject, night.reference) if night else ("", None)
        view = night_view(console, stager.scheme, subject, reference)
    with view as show:
        if night is not None:
            _play(night, begin(night.start), speed, show)
            n_refused = 0
        else:
            n_refused = _listen(sys.stdin, begin, show)
    if n_refused:
        raise DataError(f"lines refused: {n_refused}; the others were taken in")


def _write_line(found: Epoch | SleepEvent) -> None:
    click.echo(json.dumps(found.to_dict()))
    sys.stdout.flush()


def _listen(lines: Iterable[str], begin: Callable[[float], Session], show: Show) -> int:
    """Push each line; a line that is refused is named on standard error, and the night goes on."""
    session, n_refused = None, 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            given = parse_line(line)
            if session is None:
                session = begin(_first_time(given))
            epochs = session.push(**given)
        except DataError as error:
            errors.print(f"line {number}: {error}")
            n_refused += 1
            continue
        _show_all(show, session, epochs)
    if session is not None:
        _show_all(show, session, session.finish())
        _report(session)
    return n_refused


def _show_all(show: Show, session: Session, epochs: Iterable[Epoch], end: float = math.inf) -> None:
    emitted: list[Epoch | SleepEvent] = [*epochs, *session.events]
    for found in emitted:
        if found.time < end:
            show(found)


def _report(session: Session) -> None:
    intake = session.intake
    kinds = ("late", "ahead", "duplicate", "implausible")
    named = [f"{count} {kind}" for kind in kinds if (count := getattr(intake, kind))]
    if named:
        errors.print(f"{intake.taken} samples taken in; dropped: {', '.join(named)}")


def parse_line(line: str) -> dict[str, Any]:
    """Arguments of `Session.push`; a `DataError` for other keys, or samples without a time."""
    try:
        said = json.loads(line)
    except (RecursionError, ValueError) as error:
        raise DataError(f"not JSON ({error})") from error
    known = ("time", *_SIGNALS, "now")
    if not isinstance(said, dict) or not said or not set(said) <= set(known):
        msg = f"expected an object with some of {', '.join(known)}; got {line.strip()[:80]}"
        raise DataError(msg)
    when = said.get("time")
    given: dict[str, Any] = {name: (when, said[name]) for name in _SIGNALS if name in said}
    if given and when is None:
        raise DataError(f"{', '.join(given)} without a time; say when it was measured, in seconds")
    if "now" in said:
        given["now"] = said["now"]
    return given


def _first_time(given: dict[str, Any]) -> float:
    times = [value[0] if name in _SIGNALS else value for name, value in given.items()]
    try:
        first = min(float(np.min(one)) for one in times)
    except (OverflowError, TypeError, ValueError):
        first = math.nan
    if not math.isfinite(first):
        msg = "the first line has no time in seconds to begin with; name one with --start"
        raise DataError(msg)
    return first


def _play(night: Recording, session: Session, speed: float, show: Show) -> None:
    """Push a recorded night as it happened, so many times as fast."""
    began, before = time.monotonic(), -math.inf
    for now in np.append(np.arange(night.start, night.end, _TICK), night.end).tolist():
        wait = (now - night.start) / speed - (time.monotonic() - began)
        if wait > 0:
            time.sleep(wait)
        # What is measured at this very moment is known by now.
        until = math.nextafter(now, math.inf)
        signals = {name: getattr(night, name).between(before, until) for name in _SIGNALS}
        given: Any = {name: (one.times, one.values) for name, one in signals.items() if len(one)}
        _show_all(show, session, session.push(**given, now=now))
        before = until
    _show_all(show, session, session.finish(), night.end)


@contextmanager
def night_view(
    console: Console, scheme: Scheme, subject: str, reference: Hypnogram | None
) -> Iterator[Show]:
    """Give a function that draws the night, last event and expert's agreement with each epoch."""
    scored = [] if reference is None else reference.merge(scheme).epochs()
    expert = {epoch.time: epoch.stage for epoch in scored if epoch.stage != "unscored"}
    epochs: list[Epoch] = []
    event = ""

    def show(found: Epoch | SleepEvent) -> None:
        nonlocal event
        if isinstance(found, SleepEvent):
            after = _clock(found.time - epochs[0].time)
            event = f"  {found.kind.replace('_', ' ')} at {after}"
        else:
            epochs.append(found)
        same = [one.stage == expert[one.time] for one in epochs if one.time in expert]
        agreeing = f"  agrees with the expert in {np.mean(same):.0%}" if same else ""
        drawn = _draw(epochs, scheme.from_top, subject, event + agreeing, console.width)
        screen.update(drawn, refresh=True)

    with Live(console=console, auto_refresh=False) as screen:
        yield show


def _draw(
    epochs: Sequence[Epoch], classes: Sequence[str], subject: str, remarks: str, width: int
) -> Group:
    now = epochs[-1]
    shown = (now.reason or now.stage).replace("_", " ")
    title = Text.assemble(
        (f" {shown.upper()} ", f"bold reverse {_COLOURS.get(now.stage, _OTHER)}"),
        f"  {subject}  {_clock(len(epochs) * EPOCH_SECONDS)}",
        f"  confidence {now.confidence:.0%}",
        remarks,
    )
    rows = hypnogram_rows([one.stage for one in epochs], classes, max(width - _MARGIN, 1))
    night = [
        Text.assemble((f"{name:>{_MARGIN - 2}}  ", "dim"), (row, _COLOURS.get(name, _OTHER)))
        for name, row in zip(classes, rows, strict=True)
    ]
    bars = Text("  ").join(
        Text.assemble((f"{name} ", "dim"), (_bar(now.probabilities[name]), "bold"))
        for name in classes
    )
    return Group(title, Text(), *night, Text(), bars)


def hypnogram_rows(stages: Sequence[str], classes: Sequence[str], width: int) -> list[str]:
    """A line of text for each class, with a block where it is the stage.

    To fit the night into `width` columns, each shows the stage that most of its epochs have.
    """
    each = -(-len(stages) // width)
    columns = [stages[begin : begin + each] for begin in range(0, len(stages), each)]
    shown = [max(dict.fromkeys(column), key=list(column).count) for column in columns]
    return ["".join("█" if one == name else " " for one in shown) for name in classes]


def _bar(share: float) -> str:
    full = 0 if np.isnan(share) else round(share * _BAR)
    return "▪" * full + "·" * (_BAR - full)


def _clock(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes // 60}:{minutes % 60:02d} h"
