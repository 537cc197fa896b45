"""sleepstage live, and the night it draws in a terminal."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sleepstage.cli import main
from sleepstage.cli.live import hypnogram_rows, night_view
from sleepstage.core.hypnogram import Epoch, Hypnogram
from sleepstage.core.periods import SleepEvent
from sleepstage.engine.stager import Stager
from sleepstage.io.sleep_accel.read import read_subject
from sleepstage.stages import FOUR_CLASS, Stage
from tests.conftest import Run
from tests.helpers.live import raw_night

MODULE = sys.modules["sleepstage.cli.live"]  # the name in the package is the command's
NIGHT = raw_night(6, rate=4, seed=9, start=1.7e9)


def invoke(*arguments: object, lines: list[Any] | None = None) -> Result:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines or []]
    result = CliRunner().invoke(
        main, ["live", *map(str, arguments)], input="".join(text + "\n" for text in texts)
    )
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def as_lines(every: float) -> list[dict[str, Any]]:
    """The night as a phone would send it."""
    lines: list[dict[str, Any]] = []
    before = -np.inf
    for now in [*np.arange(NIGHT.start, NIGHT.end, every).tolist(), NIGHT.end]:
        for name, (times, values) in NIGHT.between(before, now).items():
            if len(times) == 1:
                lines.append({"time": float(times[0]), name: values[0].tolist()})
            else:
                lines.append({"time": times.tolist(), name: values.tolist()})
        lines.append({"now": now})
        before = now
    return lines


def told(result: Result) -> list[dict[str, Any]]:
    """Lines of epochs; those of events have no stage."""
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return [line for line in lines if "stage" in line]


def assert_told(epochs: list[dict[str, Any]], hypnogram: Hypnogram) -> None:
    assert [one["time"] for one in epochs] == hypnogram.times.tolist()
    assert [one["stage"] for one in epochs] == hypnogram.stages.tolist()
    assert hypnogram.probabilities is not None
    shares = [list(one["probabilities"].values()) for one in epochs]
    np.testing.assert_allclose(shares, hypnogram.probabilities, atol=1e-6)
    np.testing.assert_allclose(
        [one["confidence"] for one in epochs], hypnogram.confidence, atol=1e-6
    )


@pytest.mark.parametrize("every", [1.0, 13.0])
def test_lines_in_epochs_out(small_run: Run, every: float) -> None:
    lines = [*as_lines(every), "", "  "]
    # Each line has one signal: the others of the same time come later, but soon enough.
    options = ("--model", small_run.model, "--start", NIGHT.start, "--lateness", every + 5)
    result = invoke(*options, lines=lines)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert_told(told(result), Stager(small_run.model).predict(NIGHT.recording))


def test_the_night_begins_with_the_first_sample_and_ends_with_the_last() -> None:
    result = invoke(
        lines=[{"time": [100, 95], "heart_rate": [60, 61]}, {"time": 156, "heart_rate": 60}]
    )
    assert result.exit_code == 0, result.output
    assert [one["time"] for one in told(result)] == [95, 125]


def test_signals_measured_at_one_time_may_share_a_line() -> None:
    line = {"time": 0, "heart_rate": 60, "motion": [0, 0, 1], "steps": 0, "now": 36}
    (epoch,) = told(invoke(lines=[line]))
    assert epoch["time"] == 0


def test_lines_of_events_stand_among_those_of_epochs(simulated_data: Path, small_run: Run) -> None:
    night = f"{simulated_data}:{small_run.split.test[0]}"
    result = invoke("--replay", night, "--speed", "inf")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    events = [line for line in lines if "kind" in line]
    assert len(events) + len(told(result)) == len(lines)
    assert events[0]["kind"] == "fell_asleep"
    assert events[0].keys() == {"kind", "time", "delay", "confidence"}
    decided = lines[lines.index(events[0]) - 1]
    assert decided["time"] + 30 == events[0]["time"] + events[0]["delay"]


def test_nothing_in_nothing_out() -> None:
    result = invoke()
    assert (result.exit_code, result.output) == (0, "")


REFUSED = {
    "steps: 5": "not JSON",
    '["steps"]': "expected an object with some of time, heart_rate, motion, steps, now; got",
    '{"time": 1, "pulse": 60}': "expected an object with some of",
    '{"heart_rate": 60}': "heart_rate without a time",
    '{"time": 20, "heart_rate": NaN}': "heart rate: sample 0 is",
    '{"time": [20, 21], "heart_rate": [60]}': "heart rate: times have shape (2,)",
    '{"time": "soon", "heart_rate": 60}': "heart rate: expected times and values",
    '{"now": "soon"}': "now='soon': expected seconds",
    f'{{"now": {"9" * 400}}}': "now=9999",
    f'{{"time": {"9" * 400}, "heart_rate": 60}}': "heart rate: expected times and values",
    "[" * 100_000: "not JSON (maximum recursion depth",
}


@pytest.mark.parametrize("line", REFUSED)
def test_a_line_that_is_refused_is_named_and_the_night_goes_on(line: str) -> None:
    good = [{"time": time, "heart_rate": 60} for time in range(0, 70, 5)]
    result = invoke(lines=[*good[:3], line, *good[3:]])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"line 4: {REFUSED[line]}")
    assert result.stderr.endswith("Error: lines refused: 1; the others were taken in\n")
    assert told(result) == told(invoke(lines=[*good]))
    assert len(told(result)) == 2


@pytest.mark.parametrize(
    "line",
    [
        '{"time": null, "now": "x"}',
        '{"time": [], "heart_rate": []}',
        f'{{"time": {"9" * 400}, "heart_rate": 60}}',
    ],
)
def test_a_first_line_without_a_time_is_refused(line: str) -> None:
    result = invoke(lines=[line, {"time": 5, "heart_rate": 60, "now": 41}])
    assert "line 1: the first line has no time in seconds" in result.stderr
    assert [one["time"] for one in told(result)] == [5]


def test_what_was_dropped_is_reported() -> None:
    lines = [
        {"time": time, "heart_rate": bpm} for time, bpm in ((0, 60), (40, 0), (40, 61), (9, 9))
    ]
    lines += [{"time": 3, "heart_rate": 70}]
    result = invoke(lines=lines)
    assert result.exit_code == 0
    assert result.stderr == "2 samples taken in; dropped: 1 late, 2 implausible\n"


# Replay


def test_a_replay_tells_what_predict_tells(small_run: Run, simulated_data: Path) -> None:
    subject = small_run.split.test[0]
    night = f"{simulated_data}:{subject}"
    result = invoke("--model", small_run.model, "--replay", night, "--speed", "inf")
    assert result.exit_code == 0, result.output
    expected = Stager(small_run.model).predict(read_subject(simulated_data, subject))
    assert_told(told(result), expected)


def test_a_replay_keeps_its_pace(
    simulated_data: Path, small_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda wait: clock.__setitem__(0, clock[0] + wait))
    shown: list[float] = []

    def write(found: Epoch | SleepEvent) -> None:
        if isinstance(found, Epoch):
            shown.append(clock[0])

    monkeypatch.setattr(MODULE, "_write_line", write)
    night = f"{simulated_data}:{small_run.split.test[0]}"
    assert invoke("--replay", night, "--speed", 120).exit_code == 0
    assert clock[0] == pytest.approx(2 * 3600 / 120)
    np.testing.assert_allclose(np.diff(shown[:-1]), 30 / 120)
    assert shown[0] == pytest.approx((30 + 5) / 120)  # the lateness


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--replay", "nowhere:1"], "nowhere"),
        (["--speed", "0"], "--speed"),
        (["--model", "none.onnx"], "none.onnx: no such model file"),
        (["--model", "night"], "Error: a whole-night model stages recordings"),
        (["--start", "nan"], "Error: start=nan: expected seconds"),
        (["--lateness", "-3"], "Error: lateness=-3.0: expected 0 s or more"),
    ],
)
def test_what_can_not_be_played(arguments: list[str], message: str) -> None:
    result = invoke(*arguments, lines=[{"time": 1, "heart_rate": 60}])
    assert result.exit_code != 0
    assert message in result.output


# In a terminal

stages = st.lists(st.sampled_from(FOUR_CLASS.classes), min_size=1, max_size=300)


@given(stages=stages, width=st.integers(1, 90))
def test_each_column_shows_one_stage_that_was_there(stages: list[str], width: int) -> None:
    rows = hypnogram_rows(stages, FOUR_CLASS.classes, width)
    assert len(rows) == 4
    (length,) = {len(row) for row in rows}
    assert math.ceil(length / 2) <= len(stages)
    assert length <= min(width, len(stages))
    each = math.ceil(len(stages) / width)
    for column in range(length):
        (name,) = [
            name for name, row in zip(FOUR_CLASS.classes, rows, strict=True) if row[column] == "█"
        ]
        part = stages[column * each : (column + 1) * each]
        assert part.count(name) == max(map(part.count, part))


def test_unscored_epochs_are_empty_columns() -> None:
    rows = hypnogram_rows(["wake", "unscored", "rem"], ["wake", "rem"], 10)
    assert rows == ["█  ", "  █"]


def test_a_terminal_shows_the_night_and_the_expert() -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=120)
    reference = Hypnogram.from_stages([Stage.WAKE, Stage.N2, Stage.UNSCORED], start=10.0)
    shares = {"wake": 0.75, "light": 0.25, "deep": 0.0, "rem": 0.0}
    with night_view(screen, FOUR_CLASS, "me", reference) as show:
        for number in range(3):
            show(Epoch(10.0 + 30 * number, "wake", shares, 0.5))
        show(Epoch(100.0, "unscored", dict.fromkeys(shares, math.nan), 0.0))
        show(Epoch(130.0, "unscored", dict.fromkeys(shares, math.nan), 0.0, "not_worn"))
        show(SleepEvent("woke_up", 70.0, 370.0, 0.8))
    text = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "WAKE" in text
    assert "confidence 50%" in text
    assert "agrees with the expert in 50%" in text  # of the two that were scored
    assert "▪" * 15 + "·" * 5 in text
    assert "0:02 h" in text
    assert "UNSCORED" in text
    assert "NOT WORN" in text
    assert "woke up at 0:01 h" in text


def test_a_terminal_gets_a_picture_and_a_pipe_gets_lines(
    small_run: Run, simulated_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=80)
    monkeypatch.setattr(MODULE, "console", screen)
    night = f"{simulated_data}:{small_run.split.test[0]}"
    result = invoke("--replay", night, "--speed", "inf")
    assert result.stdout == ""
    assert "agrees with the expert" in screen.file.getvalue()  # type: ignore[attr-defined]
    result = invoke("--replay", night, "--speed", "inf", "--json")
    assert len(told(result)) == 240


def test_a_reader_that_leaves_early_is_no_error(simulated_data: Path, small_run: Run) -> None:
    night = f"{simulated_data}:{small_run.split.test[0]}"
    command = [sys.executable, "-m", "sleepstage", "live", "--replay", night, "--speed", "inf"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b'{"time": ')
        process.stdout.close()
        assert process.stderr.read() == b""
