"""Events of a session: the same however a night is pushed, and wherever it is stopped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sleepstage import Session
from sleepstage.core.hypnogram import Epoch
from sleepstage.core.periods import SleepEvent, SleepState, follow
from sleepstage.engine.features import FEATURE_NAMES
from sleepstage.stages import FOUR_CLASS

START = 1.7e9
BEATS = {"w": 80.0, "l": 60.0, "d": 50.0, "r": 70.0}


class ByHeartRate:
    """A model that tells the stage by the heart rate of the epoch."""

    scheme = FOUR_CLASS
    digest = "by heart rate"

    def __init__(self, look_ahead: int = 0) -> None:
        self.look_ahead = look_ahead

    def initial_state(self) -> tuple[NDArray[Any], ...]:
        return (np.full((self.look_ahead, 4), 0.25, dtype=np.float32),)

    def step(
        self, rows: NDArray[np.float32], state: tuple[NDArray[Any], ...]
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...]]:
        level: NDArray[Any] = rows[:, [FEATURE_NAMES.index("hr_30s")]]
        shares = np.where(np.abs(level - list(BEATS.values())) < 5, 0.7, 0.1).astype(np.float32)
        known: NDArray[Any] = np.concatenate([state[0], shares])
        return known[: len(rows)], (known[len(rows) :],)


def samples(letters: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A heart rate in the middle of each epoch."""
    times: NDArray[np.float64] = START + 15 + 30.0 * np.arange(len(letters), dtype=np.float64)
    return times, np.array([BEATS[one] for one in letters])


NIGHT = "w" * 5 + "l" * 30 + "r" * 8 + "w" * 12 + "d" * 25 + "r" * 5 + "w" * 20
KINDS = ["fell_asleep", "rem_began", "woke_up", "fell_asleep", "rem_began", "woke_up"]


def expected(look_ahead: int) -> list[SleepEvent]:
    session = Session(ByHeartRate(look_ahead), start=START)
    state, found = SleepState(), list[SleepEvent]()
    for epoch in session.push(heart_rate=samples(NIGHT), now=START + 30 * len(NIGHT) + 5):
        state, decided = follow(state, epoch, look_ahead=look_ahead)
        found += decided
    return found


@settings(max_examples=25)
@given(
    cuts=st.lists(st.floats(0, 30 * len(NIGHT)), max_size=12),
    look_ahead=st.sampled_from([0, 2]),
    data=st.data(),
)
def test_any_chunks_and_snapshots_give_the_same_events(
    cuts: list[float], look_ahead: int, data: st.DataObject
) -> None:
    model = ByHeartRate(look_ahead)
    session, before = Session(model, start=START), -np.inf
    times, beats = samples(NIGHT)
    found = list[SleepEvent]()
    for now in [*sorted(START + cut for cut in cuts), START + 30 * len(NIGHT) + 5]:
        if data.draw(st.booleans()):
            session = Session.restore(model, session.snapshot())
            assert not session.events
        here = (times > before) & (times <= now)
        epochs: list[Epoch] = session.push(heart_rate=(times[here], beats[here]), now=now)
        decided = {epoch.time + 30 * (1 + look_ahead) for epoch in epochs}
        assert {event.known for event in session.events} <= decided
        found += session.events
        before = now
    assert found == expected(look_ahead)
    assert [event.kind for event in found] == KINDS


def test_events_are_those_of_the_last_push_and_a_period_stays() -> None:
    session = Session(ByHeartRate(), start=START)
    assert not session.events
    assert session.sleep_period is None
    session.push(heart_rate=samples("l" * 25), now=START + 20 * 30 + 5)
    (event,) = session.events
    assert (event.kind, event.time, event.delay) == ("fell_asleep", START, 600.0)
    assert event.confidence == pytest.approx(0.9)
    session.push(now=START + 22 * 30 + 5)
    assert not session.events
    assert session.sleep_period is not None
    assert (session.sleep_period.start, session.sleep_period.end) == (START, START + 22 * 30)


def test_the_last_epochs_have_events_too() -> None:
    session = Session(ByHeartRate(), start=START)
    session.push(heart_rate=samples("l" * 20), now=START + 20 * 30)
    assert not session.events
    session.finish()
    assert [event.kind for event in session.events] == ["fell_asleep"]
