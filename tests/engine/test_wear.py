"""Epochs without a stage, and why: a watch that is not worn, and one that sends nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import sleepstage
from sleepstage import Recording
from sleepstage.core.samples import Samples
from sleepstage.engine.features import extract_features
from sleepstage.engine.wear import never_worn, unscored_reasons
from sleepstage.io.sleep_accel.read import find_subjects, read_subject
from sleepstage.stages import NO_DATA, NOT_WORN
from tests.helpers.live import Arrays, push_at

MINUTES_5 = 10  # epochs
HOUR = 3600.0
FLAT, SIDEWAYS = (0.0, 0.0, 1.0), (0.0, 1.0, 0.0)


def beats(first: float, last: float, every: float = 5.0) -> tuple[Any, Any]:
    times = np.arange(first, last, every)
    return times, np.full(len(times), 58.0)


def motion(
    first: float, last: float, gravity: tuple[float, ...], noise: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Acceleration at 50 Hz of a watch that nobody wears; or of a wrist, if that is loud."""
    times = np.arange(first, last, 0.02)
    return times, np.random.default_rng(1).normal(gravity, noise, (len(times), 3))


def joined(*parts: tuple[Any, Any]) -> tuple[Any, Any]:
    times, values = zip(*parts, strict=True)
    return np.concatenate(times), np.concatenate(values)


def reasons(*, end: float, **signals: Any) -> NDArray[np.int8]:
    return unscored_reasons(extract_features(Recording.from_arrays(**signals, start=0, end=end)))


@pytest.mark.parametrize("gravity", [FLAT, SIDEWAYS])
@pytest.mark.parametrize("milli_g", [0.0, 0.5, 1.0])
def test_a_table_without_heart_rate_is_found_within_5_minutes(
    gravity: tuple[float, ...], milli_g: float
) -> None:
    found = reasons(motion=motion(0, HOUR, gravity, milli_g / 1000), end=HOUR)
    assert (found[:7] == 0).all()  # nothing is known of it yet
    assert np.mean(found[MINUTES_5:] == NOT_WORN) > (0.95 if milli_g else 0.999)


@pytest.mark.parametrize("gravity", [FLAT, SIDEWAYS])
@pytest.mark.parametrize("milli_g", [1.5, 2.0])
def test_a_noisy_table_takes_15_minutes(gravity: tuple[float, ...], milli_g: float) -> None:
    found = reasons(motion=motion(0, HOUR, gravity, milli_g / 1000), end=HOUR)
    assert np.mean(found[3 * MINUTES_5 :] == NOT_WORN) > 0.95


@pytest.mark.parametrize("milli_g", [0.0, 1.0, 2.0])
def test_a_watch_put_on_its_charger_is_found_within_5_minutes(milli_g: float) -> None:
    off = 2 * HOUR / 3
    moved = joined(motion(0, off, FLAT, 0.05), motion(off, 2 * HOUR, SIDEWAYS, milli_g / 1000))
    found = reasons(motion=moved, heart_rate=beats(0, off), end=2 * HOUR)
    first = int(off / 30) + MINUTES_5
    assert (found[:first] == 0).all()
    assert np.mean(found[first + 2 :] == NOT_WORN) > 0.98


def test_three_hours_of_a_still_watch_are_no_sleep() -> None:
    """It was light sleep 285 times, and deep sleep 74 times."""
    night = Recording.from_arrays(motion=motion(0, 3 * HOUR, FLAT, 0.0), start=0, end=3 * HOUR)
    hypnogram = sleepstage.load_model().predict(night)
    assert set(hypnogram.stages[MINUTES_5:]) == {"unscored"}
    assert set(hypnogram.reason_names[MINUTES_5:]) == {"not_worn"}


def test_no_stage_is_held_beyond_5_minutes_and_the_night_goes_on() -> None:
    stager = sleepstage.load_model()
    session = stager.session(start=0.0)
    before = session.push(heart_rate=beats(0, HOUR), motion=motion(0, HOUR, FLAT, 0.05), now=HOUR)
    silent = session.push(now=2 * HOUR)
    held = [one for one in silent if one.stage != "unscored"]
    assert {one.reason for one in before} == {""}
    assert max(one.time for one in held) < HOUR + 300
    assert {one.reason for one in silent if one.time >= HOUR + 300} == {"no_data"}
    assert silent[-1].to_dict()["reason"] == "no_data"
    back = session.push(
        heart_rate=beats(2 * HOUR, 2.1 * HOUR),
        motion=motion(2 * HOUR, 2.1 * HOUR, FLAT, 0.05),
        now=2.1 * HOUR,
    )
    scored = [one for one in back if one.time >= 2 * HOUR]
    assert len(scored) == 11
    assert {one.reason for one in scored} == {""}


@pytest.mark.parametrize(
    ("every", "last_beat", "scored_until"),
    [
        (5.0, 3600.0, 3600 + 305),
        (60.0, 3600.0, 3600 + 360),
        (300.0, 3600.0, 3600 + 600),
        (3600.0, 3600.0, 3600 + 300),  # one alone has no usual gap
    ],
)
def test_a_heart_rate_is_overdue_by_its_usual_gap(
    every: float, last_beat: float, scored_until: float
) -> None:
    found = reasons(heart_rate=beats(last_beat % every, last_beat + 1, every), end=7200)
    ends = 30 * (1 + np.arange(len(found)))
    late = ends > last_beat
    assert found[late].tolist() == np.where(ends[late] > scored_until, NO_DATA, 0).tolist()


def test_current_heart_rate_is_always_scored() -> None:
    found = reasons(heart_rate=beats(0, HOUR), motion=motion(0, HOUR, FLAT, 0.0), end=HOUR)
    assert (found == 0).all()


def test_rare_motion_is_not_called_still() -> None:
    """Half of the windows are missing: what happened in between is not known."""
    times, xyz = motion(0, HOUR, FLAT, 0.0)
    seen = times % 30 < 15
    assert (reasons(motion=(times[seen], xyz[seen]), end=HOUR) == 0).all()


def test_activity_counts_are_no_stillness() -> None:
    ends = np.arange(15.0, HOUR + 1, 15)
    still = np.column_stack([np.zeros(len(ends)), np.tile(FLAT, (len(ends), 1))])
    busy = still.copy()
    busy[::10, 0] = 3.07
    assert (reasons(motion=(ends, still), end=HOUR)[MINUTES_5:] == NOT_WORN).all()
    assert (reasons(motion=(ends, busy), end=HOUR) == 0).all()


LOST: Mapping[str, Mapping[str, Any]] = {
    "nothing": {},
    "heart rate": {"heart_rate": Samples.empty()},
    "motion": {"motion": Samples.empty(4)},
}


@pytest.mark.slow
def test_real_nights_are_scored_whatever_is_missing(real_data: Path) -> None:
    """Of 22,839 epochs; as many as are named in `sleepstage.engine.wear` and the documents."""
    unscored = dict.fromkeys([*LOST, "all but a heart rate in 5 minutes"], 0)
    n_epochs = 0
    for subject in find_subjects(real_data):
        night = read_subject(real_data, subject)
        rare = replace(night, heart_rate=night.heart_rate.thinned(300), motion=Samples.empty(4))
        known = {name: replace(night, **lost) for name, lost in LOST.items()}
        for name, one in (known | {"all but a heart rate in 5 minutes": rare}).items():
            found = unscored_reasons(extract_features(one))
            # Motion is not there all the time: without heart rate, the rest has no data.
            unscored[name] += int((found == NOT_WORN if name == "heart rate" else found > 0).sum())
            if name == "nothing":
                assert not found[night.covered].any()
        n_epochs += night.n_epochs
    assert unscored["nothing"] < 0.001 * n_epochs
    assert unscored["heart rate"] <= 0.005 * n_epochs
    assert unscored["motion"] < 0.001 * n_epochs
    assert unscored["all but a heart rate in 5 minutes"] < 0.001 * n_epochs


def test_reasons_come_from_any_pushes_alike() -> None:
    """The same of chunks, snapshots and delayed models is in `test_contract`."""
    off, end = 1200.0, 2400.0
    moved = joined(motion(0, off, FLAT, 0.05), motion(off, 1800, FLAT, 0.0))
    heart_rate = beats(0, off)
    night = Arrays(0.0, end, {"heart_rate": heart_rate, "motion": moved})
    stager = sleepstage.load_model()
    whole = stager.predict(night.recording).reason_names.tolist()
    session = stager.session(start=0.0)
    pushed = push_at(session, night, np.arange(0, end, 47.0).tolist())
    assert [one.reason for one in pushed] == whole
    assert set(whole) == {"", "not_worn", "no_data"}


@pytest.mark.parametrize(
    ("signals", "expected"),
    [({}, True), ({"heart_rate": beats(0, 60)}, False), ({"turn": True}, False)],
    ids=["a table", "heart rate", "turning over"],
)
def test_rare_samples_of_a_table_are_known_by_the_whole_night(
    signals: dict[str, Any], expected: bool
) -> None:
    times = np.arange(0, 4 * HOUR, 5.0)
    xyz = np.random.default_rng(1).normal(FLAT, 0.001, (len(times), 3))
    if signals.pop("turn", False):
        for number in range(8):
            xyz[360 * number : 360 * number + 180] += 0.1
    recording = Recording.from_arrays(motion=(times, xyz), start=0, end=4 * HOUR, **signals)
    assert never_worn(extract_features(recording)) == expected
    if expected:
        assert set(sleepstage.load_model("live").predict(recording).stages) == {"unscored"}
