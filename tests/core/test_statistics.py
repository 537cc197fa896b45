from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sleepstage.core.hypnogram import Hypnogram
from sleepstage.core.statistics import SleepStatistics
from sleepstage.errors import DataError
from sleepstage.stages import FIVE_CLASS, FOUR_CLASS, TWO_CLASS, Stage
from tests.helpers.scored import hypnogram, is_plain


def test_numbers_of_a_small_night_by_hand() -> None:
    assert hypnogram("wwwllwdrrw").statistics() == SleepStatistics(
        time_in_bed=5.0,
        total_sleep_time=2.5,
        sleep_period_time=3.0,
        sleep_onset_latency=1.5,
        latency_to_persistent_sleep=None,
        wake_after_sleep_onset=1.0,
        sleep_efficiency=0.5,
        sleep_maintenance_efficiency=2.5 / 3,
        awakenings=1,
        rem_latency=2.0,
        deep_latency=1.5,
        minutes={"wake": 2.5, "light": 1.0, "deep": 0.5, "rem": 1.0},
        shares={"light": 0.4, "deep": 0.2, "rem": 0.4},
    )


def test_unscored_epochs_and_those_outside_the_mask_are_as_if_cut_out() -> None:
    whole = hypnogram("w-wl-drrlw")
    mask = np.array([digit == "1" for digit in "1110111101"])
    assert whole.statistics(mask=mask) == hypnogram("wwdrrw").statistics()
    assert whole.statistics(mask=mask) == hypnogram("wwdrrw").statistics()


def test_minutes_without_a_stage_are_counted_by_reason() -> None:
    one = replace(hypnogram("w---lr"), reasons=np.array([0, 1, 2, 2, 0, 0], dtype=np.int8))
    found = one.statistics()
    assert (found.not_worn, found.no_data, found.time_in_bed) == (0.5, 1.0, 1.5)
    masked = one.statistics(mask=np.array([True, False, True, False, True, True]))
    assert (masked.not_worn, masked.no_data) == (0.0, 0.5)


def test_n1_is_the_onset_of_sleep() -> None:
    stages = [Stage.WAKE, Stage.N1, Stage.WAKE, Stage.N2]
    found = Hypnogram.from_stages(stages).statistics()
    assert (found.sleep_onset_latency, found.wake_after_sleep_onset) == (0.5, 0.5)
    assert found.minutes == {"wake": 1.0, "n1": 0.5, "n2": 0.5, "n3": 0.0, "rem": 0.0}


def test_who_never_sleeps_has_no_onset() -> None:
    found = hypnogram("www").statistics()
    assert (found.sleep_onset_latency, found.wake_after_sleep_onset) == (None, None)
    assert (found.total_sleep_time, found.sleep_efficiency) == (0.0, 0.0)
    assert (found.sleep_period_time, found.sleep_maintenance_efficiency) == (None, None)
    assert (found.awakenings, found.rem_latency, found.deep_latency) == (0, None, None)
    assert found.shares == {}


def test_sleep_before_half_an_hour_of_wake_is_not_persistent() -> None:
    found = hypnogram("lll" + "w" * 60 + "l" * 19 + "w" + "lr" * 10 + "w").statistics()
    assert found.sleep_onset_latency == 0.0
    assert found.latency_to_persistent_sleep == (3 + 60 + 20) / 2
    assert hypnogram("l" * 19).statistics().latency_to_persistent_sleep is None
    assert hypnogram("l" * 20).statistics().latency_to_persistent_sleep == 0.0


def test_each_stretch_of_wake_between_sleep_is_an_awakening() -> None:
    assert hypnogram("wlwwlwlw").statistics().awakenings == 2


def test_where_a_class_never_comes_or_is_not_told_it_has_no_latency() -> None:
    night = hypnogram("wllr")
    assert night.statistics().deep_latency is None
    assert night.merge(TWO_CLASS).statistics().rem_latency is None
    assert Hypnogram.from_stages([Stage.N1, Stage.N3]).statistics().deep_latency == 0.5


def test_a_night_of_one_class_is_all_sleep() -> None:
    found = hypnogram("ll").statistics()
    assert (found.sleep_onset_latency, found.wake_after_sleep_onset) == (0.0, 0.0)
    assert found.sleep_efficiency == 1.0


@pytest.mark.parametrize("epochs", ["", "--", "lw"])
def test_where_no_epoch_counts_there_is_no_efficiency(epochs: str) -> None:
    found = hypnogram(epochs).statistics(mask=np.zeros(len(epochs), dtype=np.bool_))
    assert (found.time_in_bed, found.total_sleep_time, found.sleep_efficiency) == (0.0, 0.0, None)
    assert found.sleep_onset_latency is None


def test_a_mask_of_another_night_is_refused() -> None:
    with pytest.raises(DataError, match=r"mask has shape \(1,\), the hypnogram \(3,\)"):
        hypnogram("wlr").statistics(mask=np.ones(1, dtype=np.bool_))


@given(st.lists(st.sampled_from(list(Stage)), max_size=40), st.booleans())
def test_parts_add_up_to_the_time_in_bed(stages: list[Stage], merged: bool) -> None:
    night = Hypnogram.from_stages(np.array(stages, dtype=np.int8))
    found = night.merge(FOUR_CLASS if merged else FIVE_CLASS).statistics()
    assert sum(found.minutes.values()) == found.time_in_bed
    assert found.total_sleep_time == found.time_in_bed - found.minutes["wake"]
    if found.sleep_onset_latency is not None and found.wake_after_sleep_onset is not None:
        awake = found.sleep_onset_latency + found.wake_after_sleep_onset
        assert awake + found.total_sleep_time == found.time_in_bed
    assert is_plain(found)


@given(st.lists(st.sampled_from("wldr"), min_size=1, max_size=60).filter(lambda x: set(x) != {"w"}))
def test_yasa_finds_the_same(stages: list[str]) -> None:
    yasa = pytest.importorskip("yasa", reason="yasa is not installed")
    night = hypnogram("".join(stages))
    ours = night.statistics()
    named = {"wake": "WAKE", "light": "N2", "deep": "N3", "rem": "REM"}
    theirs = yasa.Hypnogram([named[stage] for stage in night.stages], n_stages=5).sleep_statistics()
    assert ours.time_in_bed == pytest.approx(theirs["TIB"])
    assert ours.total_sleep_time == pytest.approx(theirs["TST"])
    assert ours.sleep_period_time == pytest.approx(theirs["SPT"])
    assert ours.sleep_onset_latency == pytest.approx(theirs["SOL"])
    rounded = 1e-6  # of a share: theirs are per cent with four decimals
    assert ours.sleep_efficiency == pytest.approx(theirs["SE"] / 100, abs=rounded)
    assert ours.sleep_maintenance_efficiency == pytest.approx(theirs["SME"] / 100, abs=rounded)
    # Theirs ends with the last epoch of sleep, and its latency begins with the recording.
    assert ours.sleep_period_time is not None
    assert ours.sleep_period_time - ours.total_sleep_time == pytest.approx(theirs["WASO"])
    if ours.rem_latency is None:
        assert np.isnan(theirs["Lat_REM"])
    else:
        assert ours.rem_latency + (ours.sleep_onset_latency or 0) == theirs["Lat_REM"]
    for name, other in (("light", "N2"), ("deep", "N3"), ("rem", "REM")):
        assert ours.minutes[name] == pytest.approx(theirs[other])
        assert ours.shares[name] == pytest.approx(theirs[f"%{other}"] / 100, abs=rounded)
