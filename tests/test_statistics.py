from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sleepstage.errors import DataError
from sleepstage.hypnogram import Hypnogram
from sleepstage.stages import FIVE_CLASS, FOUR_CLASS, Stage
from sleepstage.statistics import SleepStatistics, sleep_statistics

from .scored import hypnogram, is_plain


def test_numbers_of_a_small_night_by_hand() -> None:
    assert sleep_statistics(hypnogram("wwwllwdrrw")) == SleepStatistics(
        time_in_bed=5.0,
        total_sleep_time=2.5,
        sleep_onset_latency=1.5,
        wake_after_sleep_onset=1.0,
        sleep_efficiency=0.5,
        minutes={"wake": 2.5, "light": 1.0, "deep": 0.5, "rem": 1.0},
    )


def test_unscored_epochs_and_those_outside_the_mask_are_as_if_cut_out() -> None:
    whole = hypnogram("w-wl-drrlw")
    mask = np.array([digit == "1" for digit in "1110111101"])
    assert sleep_statistics(whole, mask=mask) == sleep_statistics(hypnogram("wwdrrw"))


def test_n1_is_the_onset_of_sleep() -> None:
    stages = [Stage.WAKE, Stage.N1, Stage.WAKE, Stage.N2]
    found = sleep_statistics(Hypnogram.from_stages(stages))
    assert (found.sleep_onset_latency, found.wake_after_sleep_onset) == (0.5, 0.5)
    assert found.minutes == {"wake": 1.0, "n1": 0.5, "n2": 0.5, "n3": 0.0, "rem": 0.0}


def test_who_never_sleeps_has_no_onset() -> None:
    found = sleep_statistics(hypnogram("www"))
    assert (found.sleep_onset_latency, found.wake_after_sleep_onset) == (None, None)
    assert (found.total_sleep_time, found.sleep_efficiency) == (0.0, 0.0)


def test_a_night_of_one_class_is_all_sleep() -> None:
    found = sleep_statistics(hypnogram("ll"))
    assert (found.sleep_onset_latency, found.wake_after_sleep_onset) == (0.0, 0.0)
    assert found.sleep_efficiency == 1.0


@pytest.mark.parametrize("epochs", ["", "--", "lw"])
def test_where_no_epoch_counts_there_is_no_efficiency(epochs: str) -> None:
    found = sleep_statistics(hypnogram(epochs), mask=np.zeros(len(epochs), dtype=np.bool_))
    assert (found.time_in_bed, found.total_sleep_time, found.sleep_efficiency) == (0.0, 0.0, None)
    assert found.sleep_onset_latency is None


def test_a_mask_of_another_night_is_refused() -> None:
    with pytest.raises(DataError, match=r"mask has shape \(1,\), the hypnogram \(3,\)"):
        sleep_statistics(hypnogram("wlr"), mask=np.ones(1, dtype=np.bool_))


@given(st.lists(st.sampled_from(list(Stage)), max_size=40), st.booleans())
def test_parts_add_up_to_the_time_in_bed(stages: list[Stage], merged: bool) -> None:
    night = Hypnogram.from_stages(np.array(stages, dtype=np.int8))
    found = sleep_statistics(night.merge(FOUR_CLASS if merged else FIVE_CLASS))
    assert sum(found.minutes.values()) == found.time_in_bed
    assert found.total_sleep_time == found.time_in_bed - found.minutes["wake"]
    if found.sleep_onset_latency is not None and found.wake_after_sleep_onset is not None:
        awake = found.sleep_onset_latency + found.wake_after_sleep_onset
        assert awake + found.total_sleep_time == found.time_in_bed
    assert is_plain(found)
