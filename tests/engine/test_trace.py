"""The trace of heart rate: its last minutes in steps of ten seconds, about their mean."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sleepstage.core.recording import Recording
from sleepstage.core.samples import Samples
from sleepstage.engine.features import FEATURE_NAMES, SUMMARIES, TRACE, extract_features

FIRST = FEATURE_NAMES.index(TRACE[0].name)


def trace(times: list[float], values: list[float], n_epochs: int = 20) -> NDArray[np.float32]:
    """Traces of all epochs, shape (n_epochs, n_steps)."""
    beats = Samples(np.array(times, dtype=np.float64), np.array(values, dtype=np.float64))
    rows = extract_features(Recording(start=0, end=30 * n_epochs, heart_rate=beats))
    return rows[:, FIRST : FIRST + len(TRACE)]


def test_the_trace_stands_after_all_summaries() -> None:
    assert FEATURE_NAMES[len(SUMMARIES) :] == tuple(feature.name for feature in TRACE)
    assert len(TRACE) == 30
    assert {feature.signal for feature in TRACE} == {"heart_rate"}


def test_the_trace_by_hand() -> None:
    # In the tenth epoch, from 0 to 300 s, each step has one heart rate: 1, 2, ..., 30.
    times = [10.0 * number + 5 for number in range(60)]
    values = [60.0 + number for number in range(60)]
    found = trace(times, values)
    assert found[9] == pytest.approx(np.arange(30) - 14.5)
    assert found[10] == pytest.approx(np.arange(30) - 14.5)  # later, and about its own mean
    # In the first there are three only.
    assert np.isnan(found[0, :27]).all()
    assert found[0, 27:] == pytest.approx([-1, 0, 1])


def test_a_heart_rate_holds_for_a_while_and_then_is_unknown() -> None:
    found = trace([101, 200], [60, 64])[9]
    known = {10 * (step + 1): value for step, value in enumerate(found) if not np.isnan(value)}
    # At the end of a step: after 101 s and not after 121 s; 200 s belongs to the step after.
    assert known == {110: -2, 120: -2, 210: 2, 220: 2}


def test_without_heart_rate_there_is_no_trace() -> None:
    assert np.isnan(trace([], [])).all()


def test_of_several_in_a_step_the_last_counts() -> None:
    found = trace([291, 292, 299], [50, 90, 70])[9]
    assert found[-1] == 0
    assert np.isnan(found[:-1]).all()
