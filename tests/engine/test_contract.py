"""What every live model promises: the same night gives the same epochs, however it comes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sleepstage
from sleepstage.core.hypnogram import Epoch
from sleepstage.engine.session import Session
from sleepstage.engine.stager import Stager
from sleepstage.evaluation.run import load_nights
from sleepstage.evaluation.splits import holdout
from sleepstage.io.sleep_accel.read import find_subjects, read_subject
from sleepstage.ml.networks import TransformerConfig
from sleepstage.ml.neural import Ensemble
from sleepstage.simulate.nights import simulate_night
from tests.helpers.live import (
    Arrays,
    assert_same,
    lost_night,
    push_at,
    raw_night,
    shortened,
    stepped,
)
from tests.helpers.small import SMALL

pytestmark = pytest.mark.slow

RAW = raw_night(12, rate=8, seed=3, start=1.7e9)
SUMMARISED = Arrays.of(simulate_night(5, hours=0.6))
NIGHTS = {"raw": RAW, "summaries": SUMMARISED, "taken off, then silent": lost_night(1.7e9)}
LATENESS = 5.0

moments = st.lists(st.floats(-60, 2000), max_size=12)
night_names = st.sampled_from(sorted(NIGHTS))


def _shipped(name: str) -> Callable[[Path], Stager]:
    return lambda _: sleepstage.load_model(name)


def _trained(**changes: object) -> Callable[[Path], Stager]:
    def train(data: Path) -> Stager:
        nights = load_nights(data)
        split = holdout([night.subject for night in nights], seed=0)
        config = replace(SMALL, training_epochs=1, **changes)  # type: ignore[arg-type]
        chosen = [night for night in nights if night.subject in split.train]
        return Stager(config.fit(chosen, split.validation).file())

    return train


def _mixed(data: Path) -> Stager:
    nights = load_nights(data)
    split = holdout([night.subject for night in nights], seed=0)
    tiny = replace(SMALL, training_epochs=1)
    attentive = TransformerConfig(width=8, heads=2, layers=1, context=7)
    kinds = Ensemble(lstm=tiny, transformer=replace(tiny, network=attentive))
    chosen = [night for night in nights if night.subject in split.train]
    return Stager(kinds.fit(chosen, split.validation).file())


MODELS = {
    "shipped": _shipped("live"),
    "shipped in eight bits": _shipped("live-int8"),
    "lstm": _trained(),
    "ensemble": _mixed,
    "looking ahead, five classes": _trained(look_ahead=3, scheme="five_class"),
}


@pytest.fixture(scope="module", params=list(MODELS))
def stager(request: pytest.FixtureRequest, simulated_data: Path) -> Stager:
    return MODELS[request.param](simulated_data)


def batch(stager: Stager, night: Arrays) -> sleepstage.Hypnogram:
    """The recording staged epoch by epoch, as far as a live model knows it by the night's end."""
    whole = stepped(stager, night.recording)
    return shortened(whole, len(whole) - stager.look_ahead)


def ordered(night: Arrays, cuts: list[float]) -> list[float]:
    """Moments of the night, one after the other."""
    return sorted(time for cut in cuts if (time := night.start + cut) < night.end)


@settings(max_examples=15)
@given(name=night_names, cuts=moments)
def test_any_chunking_gives_what_the_whole_recording_gives(
    stager: Stager, name: str, cuts: list[float]
) -> None:
    night = NIGHTS[name]
    session = stager.session(start=night.start)
    epochs = push_at(session, night, [night.start + cut for cut in cuts])
    assert_same(epochs, batch(stager, night))
    assert session.intake.late == session.intake.ahead == session.intake.duplicate == 0


@settings(max_examples=15)
@given(name=night_names, cuts=moments, data=st.data())
def test_a_session_goes_on_from_its_snapshot(
    stager: Stager, name: str, cuts: list[float], data: st.DataObject
) -> None:
    night = NIGHTS[name]
    session, before, epochs = stager.session(start=night.start), -np.inf, list[Epoch]()
    for now in [*ordered(night, cuts), night.end + LATENESS]:
        if data.draw(st.booleans()):
            session = stager.restore(session.snapshot())
        epochs += session.push(**night.between(before, now), now=now)
        before = now
    assert_same(epochs, batch(stager, night))


@settings(max_examples=15)
@given(name=night_names, seed=st.integers(0, 999), every=st.floats(0.5, 40))
def test_samples_that_come_in_disorder_change_nothing(
    stager: Stager, name: str, seed: int, every: float
) -> None:
    night = NIGHTS[name]
    rng = np.random.default_rng(seed)
    arrives = {
        name: times + rng.uniform(0, LATENESS, len(times))
        for name, (times, _) in night.signals.items()
    }
    session, before, epochs = stager.session(start=night.start), -np.inf, list[Epoch]()
    for now in np.arange(night.start - 30, night.end + 2 * LATENESS + every, every).tolist():
        given = {}
        for signal, (times, values) in night.signals.items():
            here = np.flatnonzero((arrives[signal] > before) & (arrives[signal] <= now))
            rng.shuffle(here)
            given[signal] = (times[here], values[here])
        epochs += session.push(**given, now=now)
        before = now
    assert session.intake.late == 0
    whole = batch(stager, night)
    assert_same(epochs[: len(whole)], whole)


@settings(max_examples=10)
@given(name=night_names, now=st.floats(0, 1500))
def test_what_comes_later_changes_no_epoch_told(stager: Stager, name: str, now: float) -> None:
    night = NIGHTS[name]
    known = night.start + now
    session = stager.session(start=night.start)
    told = session.push(**night.between(-np.inf, known), now=known)
    whole = batch(stager, night)
    n = min(len(told), len(whole))
    assert len(told) == max(0, int((now - LATENESS) // 30) - stager.look_ahead)
    assert_same(told[:n], shortened(whole, n))


@settings(max_examples=10)
@given(name=night_names, cuts=moments)
def test_samples_tell_the_time_where_nobody_says_it(
    stager: Stager, name: str, cuts: list[float]
) -> None:
    night = NIGHTS[name]
    session, before, epochs = stager.session(start=night.start), -np.inf, list[Epoch]()
    for now in [*ordered(night, cuts), night.end]:
        epochs += session.push(**night.between(before, now))
        before = now
    epochs += session.push(now=night.end + LATENESS)
    assert_same(epochs, batch(stager, night))


def test_a_real_night_pushed_as_a_watch_pushes_it(real_data: Path) -> None:
    """To the last epoch what `sleepstage evaluate` and `sleepstage predict` count."""
    stager = sleepstage.load_model()
    for subject in find_subjects(real_data)[:3]:
        recording = read_subject(real_data, subject)
        night = Arrays.of(recording)
        session = stager.session(start=recording.start)
        every = np.arange(recording.start, recording.end, 10.0).tolist()
        epochs = push_at(session, night, every)
        assert_same(epochs[: recording.n_epochs], stepped(stager, recording))


def test_a_restored_session_is_another(stager: Stager) -> None:
    session = stager.session(start=RAW.start)
    session.push(**RAW.between(-np.inf, RAW.start + 100), now=RAW.start + 100)
    twin: Session = stager.restore(session.snapshot())
    assert twin.snapshot() == session.snapshot()
    twin.push(now=RAW.start + 400)
    assert session.time == RAW.start + 90 - 30 * min(stager.look_ahead, 3)
    assert twin.snapshot() != session.snapshot()
