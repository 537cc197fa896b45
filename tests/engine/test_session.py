"""A session: what it takes, what it refuses, what it reports, and what it remembers."""

from __future__ import annotations

import itertools
import json
import math
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sleepstage
from sleepstage import DataError, Session, SnapshotError, Stager
from sleepstage.core.hypnogram import Epoch
from sleepstage.core.samples import Samples
from sleepstage.core.signals import Pedometer
from sleepstage.engine.buffer import IngestStats
from sleepstage.engine.features import FeatureState
from sleepstage.engine.session import AHEAD_SECONDS, LONGEST_SILENCE, _last_end
from sleepstage.engine.snapshot import unpack
from sleepstage.ml.neural import FittedNetworks
from tests.conftest import Run
from tests.helpers.live import Arrays, assert_same, push_at, raw_night, stepped
from tests.helpers.networks import NAMES, network

START = 1.7e9
STILL = [0.0, 0.0, 1.0]


@pytest.fixture(scope="module")
def stager(small_run: Run) -> Stager:
    return sleepstage.load_model(small_run.model)


@pytest.fixture
def session(stager: Stager) -> Session:
    return stager.session(start=START)


def beats(first: float, last: float, bpm: float = 60.0) -> tuple[Any, Any]:
    times = START + np.arange(first, last, 5.0)
    return times, np.full(len(times), bpm)


# When epochs are told


def test_an_epoch_is_told_when_it_is_over_by_the_lateness(session: Session) -> None:
    assert session.time == session.start == START
    assert session.watermark == -math.inf
    assert session.push(heart_rate=beats(0, 30), now=START + 34.999) == []
    (epoch,) = session.push(now=START + 35)
    assert (epoch.time, session.time) == (START, START + 30)
    assert session.watermark == START + 30
    assert session.push(now=START + 35) == []


def test_nothing_is_waited_for_in_the_end(session: Session) -> None:
    assert session.finish() == []
    session.push(heart_rate=beats(0, 65), now=START + 61)
    assert [one.time for one in session.finish()] == [START + 30]
    assert session.time == START + 60


def test_after_the_end_samples_of_the_next_epoch_still_count(stager: Stager) -> None:
    times, bpm = beats(0, 200)
    whole, broken = (stager.session(start=START) for _ in range(2))
    expected = whole.push(heart_rate=(times, bpm), now=START + 215)
    emitted = broken.push(heart_rate=(times[:17], bpm[:17]), now=START + 83)
    emitted += broken.finish()
    assert broken.finish() == []
    assert (broken.time, broken.watermark) == (START + 60, START + 78)
    again = Session.restore(stager, broken.snapshot())
    emitted += again.push(heart_rate=(times[16:], bpm[16:]), now=START + 215)
    assert emitted == expected
    assert (again.intake.late, again.intake.duplicate) == (0, 1)


def test_the_watermark_stays_behind_what_was_emitted_in_the_end(session: Session) -> None:
    session.push(heart_rate=beats(0, 65), now=START + 62)
    session.finish()
    assert session.watermark == START + 60
    session.push(heart_rate=(START + np.array([59.0, 61.0]), [60.0, 60.0]), now=START + 63)
    assert session.intake.late == 1
    assert session.due == START + 95


@pytest.mark.parametrize("overshoot", [0.0, 7.0, 29.0])
def test_an_epoch_passes_with_all_of_its_samples(session: Session, overshoot: float) -> None:
    times, bpm = beats(0, 100)
    passed = []
    for now in (35 + overshoot, 65 + overshoot):
        session.push(heart_rate=(times, bpm), now=START + now)
        passed.append(session.passed.heart_rate.times.tolist())
    assert passed == [times[:6].tolist(), times[6:12].tolist()]


def test_lateness_may_be_nothing(stager: Stager) -> None:
    session = stager.session(start=START, lateness=0)
    assert len(session.push(heart_rate=beats(0, 95), now=START + 90)) == 3


def test_the_newest_sample_is_the_time_where_nobody_says_it(session: Session) -> None:
    assert session.push(heart_rate=beats(0, 35)) == []
    (epoch,) = session.push(steps=(START + 35, 0))
    assert epoch.time == START


def test_a_single_sample_needs_no_array(session: Session) -> None:
    session.push(heart_rate=(START + 1, 61), motion=(START + 1, STILL), steps=(START + 1, 4))
    assert session.intake == IngestStats(taken=3)


def test_an_epoch_says_how_sure_it_is(stager: Stager, session: Session) -> None:
    (epoch,) = session.push(heart_rate=beats(0, 30), now=START + 35)
    assert list(epoch.probabilities) == list(stager.scheme.classes)
    assert sum(epoch.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert epoch.stage == max(epoch.probabilities, key=lambda name: epoch.probabilities[name])
    assert 0 < epoch.confidence < 1
    assert epoch.to_dict()["probabilities"].keys() == epoch.probabilities.keys()


def test_labels_come_from_the_first_epoch_on(session: Session) -> None:
    (epoch,) = session.push(motion=(START + 29.0, STILL), now=START + 35)
    assert epoch.stage != "unscored"


def test_long_silence_is_unscored(session: Session) -> None:
    session.push(heart_rate=beats(0, 300), now=START + 300)
    epochs = session.push(now=START + 3 * 3600 + 5)
    stages = [one.stage for one in epochs]
    assert stages[0] != "unscored"
    assert stages[-1] == "unscored"
    # 5 minutes and the usual gap of 5 s after the last beat, at 295 s.
    assert stages.index("unscored") == (295 + 305) // 30 - 9
    silent = epochs[-1]
    assert (silent.confidence, set(silent.to_dict()["probabilities"].values())) == (0, {None})
    (again,) = session.push(heart_rate=beats(10800, 10830), now=START + 10835)
    assert again.stage != "unscored"


def test_the_operating_point_is_asked_for(stager: Stager) -> None:
    night = raw_night(20, rate=2, seed=8, start=START)
    epochs = push_at(stager.session(start=START, find_rem=True), night, [])
    told = stager.predict(night.recording)
    assert_same(epochs, told.decide(stager.info.class_weights))
    always = Session(stager, start=START, class_weights={"rem": 1e6})
    assert {one.stage for one in push_at(always, night, [])} == {"rem"}


# Late, early, twice


def test_what_is_older_than_the_watermark_is_late(session: Session) -> None:
    session.push(heart_rate=beats(0, 60), now=START + 60)
    session.push(heart_rate=(START + 54.9, 99), now=START + 60)
    session.push(heart_rate=(START + 55, 99), steps=(START + 10, 3), now=START + 60)
    assert session.intake == IngestStats(taken=13, late=2)


def test_history_may_come_before_the_night_begins(stager: Stager) -> None:
    night = raw_night(3, rate=2, seed=4, start=START)
    night = Arrays(START, night.end, {k: v for k, v in night.signals.items() if k != "motion"})
    session = stager.session(start=START)
    for name, (times, values) in night.signals.items():  # one signal's history after another's
        given: Any = {name: (times[times < START][::-1], values[times < START][::-1])}
        assert session.push(**given, now=START - 1) == []
    assert session.intake.late == 0
    rest = {name: (t[t >= START], v[t >= START]) for name, (t, v) in night.signals.items()}
    epochs = session.push(heart_rate=rest["heart_rate"], now=night.end + 5)
    assert_same(epochs, stepped(stager, night.recording))


def test_what_comes_twice_counts_once(session: Session) -> None:
    for _ in range(3):
        session.push(heart_rate=beats(0, 20), motion=(START + 1, STILL), now=START + 20)
    # What the watermark has passed is late, whether it came before or not.
    assert session.intake == IngestStats(taken=5, duplicate=2, late=8)
    session.push(steps=([START + 19] * 4, [7, 7, 7, 8]), now=START + 20)
    assert session.intake == IngestStats(taken=7, duplicate=4, late=8)


def test_samples_from_the_future_are_dropped(session: Session) -> None:
    ahead = START + 30 + AHEAD_SECONDS
    session.push(heart_rate=([ahead - 0.001, ahead], [60, 60]), now=START + 30)
    assert session.intake == IngestStats(taken=1, ahead=1)
    session.push(heart_rate=(START + LONGEST_SILENCE, 60), now=START + 30)
    assert session.intake.ahead == 2
    assert len(session.push(now=START + 35)) == 1


def test_a_clock_that_goes_back_holds_the_session_and_is_reported(session: Session) -> None:
    session.push(heart_rate=beats(0, 60), now=START + 60)
    assert session.push(heart_rate=(START - 3540, 60), now=START - 3540) == []
    assert session.intake.clock_back == 3600
    assert session.intake.late == 1
    assert session.watermark == START + 55
    assert len(session.push(heart_rate=beats(60, 90), now=START + 95)) == 2


def test_a_clock_that_jumps_ahead_is_a_silence_and_is_reported(session: Session) -> None:
    session.push(heart_rate=beats(0, 60), now=START + 60)
    assert len(session.push(now=START + 660)) == 20
    assert session.intake.clock_ahead == 600


def test_lost_pulse_is_dropped_and_counted(session: Session) -> None:
    session.push(heart_rate=([START, START + 5, START + 10], [0, 60, 300]), now=START + 10)
    assert session.intake == IngestStats(taken=1, implausible=2)


# What is refused, and harms nothing


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "lengths differ": ({"heart_rate": ([START], [60, 61])}, r"heart rate: times have shape \(1,\)"),
    "two axes": ({"motion": ([START], [[0.0, 1.0]])}, r"motion: values have shape \(1, 2\)"),
    "flat motion": ({"motion": ([START] * 3, [0, 0, 1])}, r"motion: values have shape \(3,\)"),
    "ragged": ({"motion": ([START] * 2, [[0, 0, 1], [0]])}, "motion: expected"),
    "no pair": ({"heart_rate": 60}, "heart rate: expected a pair"),
    "three": ({"heart_rate": (1, 2, 3)}, "heart rate: expected a pair"),
    "nan": ({"heart_rate": ([START], [math.nan])}, "heart rate: sample 0 is"),
    "time": ({"steps": ([math.inf], [1])}, "steps: sample 0 is"),
    "words": ({"heart_rate": (["now"], ["fast"])}, "heart rate: expected times and values"),
    "none": ({"heart_rate": ([START], [None])}, "heart rate: sample 0 is"),
    "negative steps": ({"steps": ([START], [-1])}, "no count is negative"),
    "too many steps": ({"steps": ([START], [2e7])}, r"steps: 2e\+07 at .*limit is 1e\+07"),
    "too many counts": ({"motion": ([START], [[1e300, 0, 0, 1]])}, r"activity count 1e\+300 at"),
    "absurd acceleration": (
        {"motion": ([START], [[0, -1e200, 1]])},
        r"motion: acceleration 0, -1e\+200, 1 at .*no watch measures more than 1000 g",
    ),
    "absurd peaks": ({"motion": ([START], [[0, 0, 0, 1001]])}, "acceleration 0, 0, 1001 at"),
    "negative counts": ({"motion": ([START], [[-1.0, 0, 0, 1]])}, "no count is negative"),
    "now": ({"now": math.nan}, "now=nan: expected seconds"),
    "now in words": ({"now": "tonight"}, "now='tonight': expected seconds"),
    "now in ms": (
        {"now": START * 1000},
        r"now is at 1\.7e\+12 s, the session at .*not milliseconds",
    ),
    "m/s²": (
        {"motion": (START + np.arange(500) / 50, np.tile([0.0, 0.0, 9.81], (500, 1)))},
        "must be in g; divide m/s² by 9.80665",
    ),
    "mixed": ({"motion": ([START + 30], [[0.0, 0, 0, 1]])}, "either raw acceleration"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_and_the_session_goes_on(stager: Stager, case: str) -> None:
    given, message = BAD[case]
    night = raw_night(4, rate=4, seed=2, start=START)
    session, before, epochs = stager.session(start=START), -np.inf, list[Epoch]()
    for now in [*np.arange(START, night.end, 7.0).tolist(), night.end + 5]:
        epochs += session.push(**night.between(before, now), now=now)
        before = now
        counted = session.intake
        with pytest.raises(DataError, match=message):
            session.push(**{"heart_rate": (now, 61), **given})
        assert session.intake == counted
    assert_same(epochs, stepped(stager, night.recording))


def test_another_unit_is_noticed_in_small_pushes_and_forgotten_when_mended(
    session: Session,
) -> None:
    def second(number: int, length: float) -> Any:
        return START + number + np.arange(50) / 50, np.tile([0.0, 0.0, length], (50, 1))

    for number in range(9):
        session.push(motion=second(number, 9.81))
    with pytest.raises(DataError, match=r"median length of 9\.81: it must be in g"):
        session.push(motion=second(9, 9.81))
    for number in range(10, 40):
        session.push(motion=second(number, 1.0))
    assert session.intake.taken == 39 * 50


@pytest.mark.parametrize("length", [0.0, 0.02])
def test_what_lacks_gravity_is_refused_in_small_pushes_too(session: Session, length: float) -> None:
    def push(number: int) -> None:
        times = START + number + np.arange(50) / 50
        session.push(motion=(times, np.tile([0.0, 0.0, length], (50, 1))))

    for number in range(9):
        push(number)
    with pytest.raises(DataError, match="with gravity, near 1 for a watch that is worn"):
        push(9)


def test_a_refused_push_leaves_the_snapshot_as_it_was(session: Session) -> None:
    session.push(heart_rate=beats(0, 30))
    before = session.snapshot()
    times = START + 30 + np.arange(500) / 50
    with pytest.raises(DataError, match="must be in g"):
        session.push(motion=(times, np.tile([0.0, 0.0, 9.81], (500, 1))))
    assert session.snapshot() == before


def test_a_model_that_fails_leaves_the_snapshot_as_it_was(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise MemoryError

    session.push(heart_rate=beats(0, 30))
    before = session.snapshot()
    with monkeypatch.context() as patched:
        patched.setattr(session.model, "step", fail)
        with pytest.raises(MemoryError):
            session.push(motion=([START + 1], [[0, 0, 1]]), steps=([START], [3]), now=START + 40)
    assert session.snapshot() == before
    assert len(session.push(now=START + 40)) == 1


def test_motion_that_is_dropped_does_not_decide_which_kind_is_taken(session: Session) -> None:
    session.push(heart_rate=beats(0, 60), now=START + 60)
    session.push(motion=([START + 1], [[0, 0, 1]]), now=START + 61)  # too late
    session.push(motion=([START + 500], [[0, 0, 1]]), now=START + 62)  # from a wrong clock
    assert (session.intake.late, session.intake.ahead, session.motion_columns) == (1, 1, 0)
    session.push(motion=([START + 75], [[0, 0, 0, 1]]), now=START + 75)
    assert session.motion_columns == 4


def test_dropped_acceleration_does_not_decide_on_the_unit(session: Session) -> None:
    def still(start: float, length: float) -> Any:
        return start + np.arange(400) / 50, np.tile([0.0, 0.0, length], (400, 1))

    session.push(heart_rate=beats(0, 60), now=START + 60)
    for _ in range(3):
        session.push(motion=still(START + 10, 9.81), now=START + 60)
    session.push(motion=still(START + 60, 1.0), now=START + 70)
    assert (session.intake.late, session.motion_columns) == (1200, 3)


def test_a_million_samples_at_once(stager: Stager) -> None:
    times = START + np.arange(1_000_000) / 50
    xyz = np.tile([0.1, 0.0, 1.0], (len(times), 1))
    xyz[::97, 2] = 1.2
    epochs = stager.session(start=START).push(motion=(times[::-1], xyz[::-1]), now=START + 20_005)
    assert len(epochs) == 20_000 // 30
    end = START + 30 * len(epochs)
    recording = sleepstage.Recording.from_arrays(motion=(times, xyz), start=START, end=end)
    assert_same(epochs, stepped(stager, recording))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": math.nan}, "start=nan: expected seconds"),
        ({"start": "22:00"}, "start='22:00': expected seconds"),
        ({"start": None}, "start=None: expected seconds"),
        ({"start": START, "lateness": -1}, "lateness=-1: expected 0 s or more"),
        ({"start": START, "lateness": math.inf}, "lateness=inf: expected seconds"),
    ],
)
def test_sessions_begin_at_a_time(stager: Stager, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        stager.session(**changes)


def test_a_push_goes_on_by_a_day_at_most(stager: Stager) -> None:
    session = stager.session(start=START)
    before = session.snapshot()
    message = r"2023-11-15T22:13:21.*, the session at 2023-11-14T22:13:20.*begin another session"
    for late in ({"now": START + LONGEST_SILENCE + 1}, {"steps": (START + LONGEST_SILENCE + 1, 3)}):
        given: Any = {"heart_rate": beats(0, 60), **late}
        with pytest.raises(DataError, match=message):
            session.push(**given)
        assert session.snapshot() == before
    epochs = session.push(heart_rate=beats(0, 60), now=START + LONGEST_SILENCE)
    assert len(epochs) == LONGEST_SILENCE // 30 - 1
    assert len(session.push(now=START + 2 * LONGEST_SILENCE)) == LONGEST_SILENCE // 30


@pytest.mark.slow
def test_weeks_of_history_are_refused_at_once_and_taken_day_by_day(session: Session) -> None:
    times = START + np.arange(0, 8 * LONGEST_SILENCE, 3600.0)
    bpm = np.full(len(times), 60.0)
    with pytest.raises(DataError, match=r"the newest sample is at .* push long histories a day"):
        session.push(heart_rate=(times, bpm))
    for first in range(0, len(times), 24):
        session.push(heart_rate=(times[first : first + 24], bpm[first : first + 24]))
    assert session.intake == IngestStats(taken=len(times))


@given(
    start=st.floats(-1e3, 2e9),
    n_epochs=st.integers(0, 100_000),
    ahead=st.integers(0, 3000),
    off=st.floats(-1e-6, 30),
)
def test_the_last_end_is_that_of_counting_epochs(
    start: float, n_epochs: int, ahead: int, off: float
) -> None:
    features = replace(FeatureState(start), n_epochs=n_epochs)
    time, n = start + 30 * (n_epochs + ahead) + off, n_epochs
    while start + 30 * (n + 1) <= time:
        n += 1
    assert _last_end(features, time) == start + 30 * n
    assert _last_end(features, -math.inf) == features.time


def test_whole_nights_are_not_staged_live() -> None:
    night = sleepstage.load_model("night")
    with pytest.raises(DataError, match="stages recordings, not epochs as they come"):
        night.session(start=START)
    with pytest.raises(DataError, match="stages recordings, not epochs as they come"):
        night.restore(b"")


# Snapshots


@pytest.fixture(scope="module")
def snapshot(stager: Stager) -> bytes:
    session = stager.session(start=START)
    push_at(session, raw_night(5, rate=10, seed=1, start=START), [START + 100])
    return session.snapshot()


@given(data=st.data())
def test_a_snapshot_cut_short_is_refused(
    small_run: Run, snapshot: bytes, data: st.DataObject
) -> None:
    length = data.draw(st.integers(0, len(snapshot) - 1))
    with pytest.raises(SnapshotError, match="damaged or cut short"):
        Stager(small_run.model).restore(snapshot[:length])


@given(data=st.data())
def test_a_snapshot_that_was_changed_is_refused_or_means_the_same(
    small_run: Run, snapshot: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(2, len(snapshot) - 1))
    changed = bytearray(snapshot)
    changed[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        restored = Stager(small_run.model).restore(bytes(changed))
    except SnapshotError:
        return
    assert restored.snapshot() == snapshot  # some bits of zlib change no byte of the content


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, zlib.compress(b"{}"), "text", None, 5])
def test_something_else_is_no_snapshot(stager: Stager, content: Any) -> None:
    with pytest.raises(SnapshotError, match="this is no snapshot of a session"):
        stager.restore(content)


def edited(snapshot: bytes, old: bytes, new: bytes) -> bytes:
    text = zlib.decompress(snapshot)
    assert old in text
    return zlib.compress(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"format": 3', b'"format": 4', "snapshot of format 4; this version of sleepstage reads"),
        (b'"features.calm"', b'"features.calf"', "features.calm is not what this version expect"),
        (b'"clock": ["<f8"', b'"clock": ["<i8"', "clock is not what this version expects"),
        (b'"clock": ["<f8"', b'"clock": ["|O"', "damaged or cut short"),
        (b'"clock": ["<f8"', b'"clock": ["no"', "damaged or cut short"),
        (b'"arrays"', b'"others"', "damaged or cut short"),
        (b'"belongs_to": "', b'"belongs_to": "0', "taken with another model"),
    ],
)
def test_snapshots_of_another_version_are_refused(
    stager: Stager, snapshot: bytes, old: bytes, new: bytes, message: str
) -> None:
    with pytest.raises(SnapshotError, match=message):
        stager.restore(edited(snapshot, old, new))


def test_a_snapshot_belongs_to_its_model(stager: Stager, snapshot: bytes) -> None:
    with pytest.raises(SnapshotError, match="taken with another model"):
        sleepstage.load_model().restore(snapshot)


def test_a_snapshot_holds_settings_and_report(stager: Stager) -> None:
    session = stager.session(start=START, lateness=20, find_rem=True)
    session.push(heart_rate=beats(0, 60), now=START + 60)
    session.push(heart_rate=(START, 0), now=START + 50)
    twin = stager.restore(session.snapshot())
    assert twin.intake == session.intake == IngestStats(taken=12, implausible=1, clock_back=10.0)
    assert (twin.start, twin.time, twin.watermark) == (START, START + 30, START + 40)
    assert twin.snapshot() == session.snapshot()


def test_a_snapshot_keeps_what_is_given_beside_it(stager: Stager, snapshot: bytes) -> None:
    session = stager.restore(snapshot)
    pedometer = Pedometer(last=5.0, until=START, waiting=Samples(np.ones(1), np.ones(1)))
    both = session.snapshot(pedometer=pedometer)
    beside = unpack(both, {"pedometer": Pedometer()}, stager.digest)["pedometer"]
    assert (beside.last, beside.until, beside.waiting.times.tolist()) == (5.0, START, [1.0])
    assert stager.restore(both).snapshot() == snapshot


def test_a_night_of_raw_motion_stays_small() -> None:
    """What a server keeps of each sleeper."""
    stager = sleepstage.load_model()
    night = raw_night(40, rate=50, seed=6, start=START)
    session = stager.session(start=START)
    push_at(session, night, np.arange(START, night.end, 1.0).tolist()[:-1])
    assert len(session.snapshot()) <= 64 * 1024


def test_state_does_not_grow_with_the_night(stager: Stager) -> None:
    session, sizes = stager.session(start=START), []
    for hour in range(14):
        begin, end = 3600 * hour, 3600 * (hour + 1)
        steps = (START + np.arange(begin, end, 1.0), np.ones(3600))
        session.push(heart_rate=beats(begin, end), steps=steps, now=START + end)
        sizes.append(len(zlib.decompress(session.snapshot())))
    growth = [later - earlier for earlier, later in itertools.pairwise(sizes)]
    assert max(growth[:9]) <= 120 * (8 + 1) + 100  # heart rate and calm of each epoch: ten hours
    assert max(map(abs, growth[10:])) < 100
    assert max(sizes) <= 64 * 1024


@pytest.fixture(scope="module")
def sizes_by_day(stager: Stager) -> list[dict[str, int]]:
    """Bytes of each array of a session's state after each of 21 days with a heart rate a minute."""
    session, found = stager.session(start=START), []
    for hour in range(21 * 24):
        times = START + 3600 * hour + np.arange(0, 3600, 60.0)
        session.push(heart_rate=(times, np.full(60, 60.0)), steps=(times[0], 3), now=times[-1] + 59)
        if hour % 24 == 23:
            text, _, values = zlib.decompress(session.snapshot()).partition(b"\n")
            described = json.loads(text)["arrays"].items()
            sizes = {
                name: np.dtype(kind).itemsize * math.prod(shape)
                for name, (kind, shape) in described
            }
            assert sum(sizes.values()) == len(values)
            found.append(sizes)
    return found


@pytest.mark.slow
def test_state_does_not_grow_with_the_days(sizes_by_day: list[dict[str, int]]) -> None:
    _, second, *_, last = sizes_by_day
    assert last == second


@pytest.mark.slow
def test_state_is_small_after_three_weeks(sizes_by_day: list[dict[str, int]]) -> None:
    assert sum(sizes_by_day[-1].values()) <= 64 * 1024


def test_look_ahead_delays_epochs() -> None:
    from sleepstage.engine.model_info import ModelInfo
    from tests.helpers.exports import export_graph

    info = ModelInfo(features=NAMES, scheme="four_class", look_ahead=2)
    stager = Stager(FittedNetworks(export_graph([network("lstm")], len(NAMES)), info).file())
    session = stager.session(start=START)
    assert session.push(heart_rate=beats(0, 60), now=START + 65) == []
    assert session.time == START
    (epoch,) = session.push(heart_rate=beats(60, 90), now=START + 95)
    assert (epoch.time, session.time) == (START, START + 30)


def test_restoring_does_not_depend_on_the_path(small_run: Run, tmp_path: Path) -> None:
    session = sleepstage.load_model(small_run.model).session(start=START)
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(small_run.model.read_bytes())
    assert sleepstage.load_model(copy).restore(session.snapshot()).intake == IngestStats()


def test_epochs_are_plain_values(session: Session) -> None:
    (epoch,) = session.push(heart_rate=beats(0, 30), now=START + 35)
    assert replace(epoch) == epoch
    assert all(type(share) is float for share in epoch.probabilities.values())
