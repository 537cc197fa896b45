"""When an alarm rings, and when it does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sleepstage
from sleepstage.core.alarm import Alarm
from sleepstage.core.hypnogram import Epoch
from sleepstage.errors import DataError
from sleepstage.stages import EPOCH_SECONDS

STAGES = ("wake", "light", "deep", "rem", "unscored")
ALARM = Alarm(1000.0, 2800.0)


def epoch(time: float, stage: str) -> Epoch:
    return Epoch(time, stage, {"wake": 1.0}, 1.0)


@pytest.mark.parametrize(
    ("stage", "reason"),
    [("wake", "awake"), ("light", "light"), ("deep", ""), ("rem", ""), ("unscored", "")],
)
def test_within_the_window_it_rings_in_light_sleep_and_to_somebody_awake(
    stage: str, reason: str
) -> None:
    assert ALARM.reason(1500.0, epoch(1460.0, stage)) == reason


def test_an_epoch_that_ended_before_the_window_does_not_count() -> None:
    assert ALARM.reason(1000.0, epoch(970.0, "light")) == ""
    assert ALARM.reason(1000.0, epoch(970.5, "light")) == "light"
    assert ALARM.reason(999.9, epoch(999.0, "light")) == ""


@given(st.sampled_from(STAGES), st.floats(2800.0, 1e6), st.booleans())
def test_at_the_deadline_it_rings_whatever_there_is(stage: str, now: float, known: bool) -> None:
    newest = epoch(now - EPOCH_SECONDS, stage) if known else None
    assert ALARM.reason(now, newest) == "deadline"
    assert ALARM.reason(2799.9, None) == ""


def test_a_deadline_before_the_window_is_refused() -> None:
    with pytest.raises(DataError, match=r"deadline 1 is before its earliest time 2"):
        Alarm(2.0, 1.0)
    with pytest.raises(
        DataError, match="deadline 1710280799 is before its earliest time 1710280800"
    ):
        Alarm(1710280800.0, 1710280799.0)
    with pytest.raises(DataError, match="deadline nan"):
        sleepstage.Alarm(2.0, float("nan"))
