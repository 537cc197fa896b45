"""When alarms ring in a night, and what they ring into."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from research.alarms import KINDS, alarms, ring_time
from sleepstage.core.alarm import Alarm
from sleepstage.core.hypnogram import Hypnogram
from sleepstage.evaluation.run import load_nights
from sleepstage.stages import FOUR_CLASS
from tests.conftest import Run

DEEP_THEN_LIGHT = Hypnogram(0.0, np.repeat(np.array([2, 1], dtype=np.int8), 20), FOUR_CLASS)


def test_it_rings_when_the_first_light_epoch_is_known() -> None:
    assert ring_time(DEEP_THEN_LIGHT, Alarm(300.0, 900.0)) == 20 * 30 + 30 + 5
    assert ring_time(DEEP_THEN_LIGHT, Alarm(0.0, 500.0)) == 500
    assert ring_time(DEEP_THEN_LIGHT, Alarm(700.0, 900.0)) == 725


@pytest.mark.slow
def test_all_kinds_ring_and_their_shares_are_of_all(small_run: Run, simulated_data: Path) -> None:
    found = {
        one.kind: one for one in alarms([small_run.outcome], load_nights(simulated_data), jobs=1)
    }
    assert list(found) == list(KINDS)
    for one in found.values():
        assert sum(one.shares.values()) == pytest.approx(1)
    assert found["at the deadline"].early == found["at the deadline"].in_time == 0
    assert 0 <= found["smart"].early <= 30
