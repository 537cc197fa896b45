"""Nights begun in the evening: what is compared with what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from research import starts as module
from research.starts import SIGNALS, starts
from sleepstage.core.agreement import agreement
from sleepstage.core.hypnogram import Hypnogram
from sleepstage.core.periods import sleep_periods
from sleepstage.evaluation.run import load_nights
from sleepstage.ml.dataset import PreparedNight
from sleepstage.stages import FOUR_CLASS
from tests.conftest import Run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nights(simulated_data: Path) -> list[PreparedNight]:
    return load_nights(simulated_data)


def test_a_night_begun_at_lights_off_is_the_night_as_it_was_tested(
    small_run: Run, nights: list[PreparedNight], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HOURS", (0, 2))
    found = starts([small_run.outcome], nights, jobs=1)
    assert [(one.signals, one.hours) for one in found] == [
        (signals, hours) for signals in SIGNALS for hours in (0, 2)
    ]
    scored = small_run.outcome.scored.values()
    expert = np.concatenate(
        [one.reference.merge(FOUR_CLASS).codes[: len(one.mask)][one.mask] for one in scored]
    )
    predicted = np.concatenate([one.predicted.codes[one.mask] for one in scored])
    whole = agreement(expert, predicted, FOUR_CLASS)
    for one in (one for one in found if not one.hours and "alone" not in one.signals):
        assert (one.kappa, one.accuracy) == (whole.kappa, whole.accuracy)
        assert one.awake is one.staged is None
    for one in (one for one in found if one.hours):
        assert one.staged is not None
        assert 0 <= one.staged <= 1
        assert one.awake is None or 0 <= one.awake <= 1


def test_sleep_onset_is_that_of_the_first_sleep_period(nights: list[PreparedNight]) -> None:
    reference = nights[0].recording.reference
    assert reference is not None
    assert module._onset(reference) == sleep_periods(reference)[0].start
    assert np.isnan(module._onset(Hypnogram(0.0, np.zeros(30, dtype=np.int8), FOUR_CLASS)))
