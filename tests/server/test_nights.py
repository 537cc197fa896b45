"""Sessions that go on for days: their sleep becomes nights, and what is old is dropped."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sleepstage.core.hypnogram import Hypnogram
from sleepstage.core.recording import Recording
from sleepstage.server.message import Message
from sleepstage.server.monitoring import Metrics
from sleepstage.server.nights import divide
from sleepstage.server.records import Advance, Backlog, SessionRecord
from sleepstage.server.sessions import SessionService
from sleepstage.server.settings import Settings
from sleepstage.server.store import open_store
from sleepstage.simulate.nights import simulate_night
from sleepstage.simulate.waking import Day
from sleepstage.stages import FOUR_CLASS
from tests.helpers.service import START, rows, running

HOUR = 3600.0


class Nights:
    """A model that finds light sleep in all that it reads, and remembers what that was."""

    scheme = FOUR_CLASS

    def __init__(self) -> None:
        self.read: list[Recording] = []

    def predict(self, recording: Recording) -> Hypnogram:
        self.read.append(recording)
        codes = np.ones(round((recording.end - recording.start) / 30), dtype=np.int8)
        return Hypnogram(recording.start, codes, FOUR_CLASS)


def session(stages: str, **given: Any) -> tuple[SessionRecord, list[dict[str, Any]]]:
    """A session of these epochs, w for wake and l for light sleep."""
    names = {"w": "wake", "l": "light"}
    epochs = [{"time": START + 30 * n, "stage": names[one]} for n, one in enumerate(stages)]
    slept = START + 30 * (stages.rfind("l") + 1) if "l" in stages else None
    described = {"start": START, "n_epochs": len(epochs), "slept": slept, **given}
    return SessionRecord(id="w", owner="ada", created=1.0, heard=2.0, **described), epochs


def divided(
    model: Nights, record: SessionRecord, epochs: list[dict[str, Any]]
) -> tuple[list[Advance], Advance]:
    times = START + np.arange(0, 30 * len(epochs), 60.0)
    hours = [times[begin : begin + 60] for begin in range(0, len(times), 60)]
    bodies = [Message.clean(heart_rate=(hour, np.full(len(hour), 60))) for hour in hours]
    samples = [body.to_bytes() for body in bodies]
    stager: Any = model
    return divide(stager, Backlog(record, b"snapshot", []), epochs, samples)


def test_sleep_that_is_over_becomes_a_night() -> None:
    record, epochs = session("w" * 360 + "l" * 960 + "w" * 140, label="hers", simulated=True)
    assert record.untidy
    model = Nights()
    (night,), step = divided(model, record, epochs)
    begin, end = START + 3 * HOUR, START + 11 * HOUR
    assert (night.record.watch, night.record.closed, night.record.label) == ("w", True, "hers")
    assert (night.record.start, night.record.n_epochs) == (begin, 960)
    assert night.record.owner == "ada"
    assert night.record.simulated
    assert night.epochs == epochs[360:1320]
    assert night.result is not None
    assert [one["time"] for one in night.result["epochs"]] == [one["time"] for one in night.epochs]
    assert night.result["statistics"]["total_sleep_time"] == 480.0
    assert [(one.start, one.end) for one in model.read] == [(begin - 2 * HOUR, end)]
    assert (step.record.kept, step.record.first, step.dropped) == (end, 0, 0)
    assert step.snapshot == b"snapshot"
    assert not step.record.untidy
    assert divided(model, replace(step.record, n_epochs=1460), epochs)[0] == []


def test_sleep_that_may_go_on_is_no_night_yet() -> None:
    record, _ = session("l" * 100 + "w" * 139)
    assert not record.untidy
    assert replace(record, n_epochs=record.n_epochs + 1).untidy


def test_a_night_is_the_same_whoever_finds_it_and_another_one_is_not() -> None:
    record, epochs = session("l" * 100 + "w" * 140 + "l" * 60 + "w" * 140)
    found, _ = divided(Nights(), record, epochs)
    again, _ = divided(Nights(), record, epochs)
    assert [one.record.id for one in found] == [one.record.id for one in again]
    assert len({one.record.id for one in found}) == 2


def test_what_is_older_than_two_days_is_dropped_every_third_day() -> None:
    record, epochs = session("w" * 8639)
    assert not record.untidy
    record, epochs = session("w" * 8640)
    assert record.untidy
    nights, step = divided(Nights(), record, epochs)
    assert nights == []
    assert (step.record.first, step.dropped) == (2880, 24)
    assert step.forgotten == step.record.heard - 2 * 24 * 3600
    assert not step.record.untidy


def test_of_sleep_that_does_not_end_for_a_day_the_last_day_is_read() -> None:
    record, epochs = session("l" * 3000 + "w" * 140)
    model = Nights()
    (night,), _ = divided(model, record, epochs)
    assert night.record.n_epochs == 3000
    assert [(one.start, one.end) for one in model.read] == [(START + 3600, START + 90_000)]


def test_a_night_that_can_not_be_staged_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Nights()
    monkeypatch.setattr(model, "predict", lambda _: 1 / 0)
    (night,), _ = divided(model, *session("l" * 100 + "w" * 140))
    assert night.result is not None
    assert "ZeroDivisionError" in night.result["problem"]


@pytest.mark.parametrize("deleted", [False, True])
def test_a_server_that_is_killed_as_it_makes_a_night_leaves_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, deleted: bool
) -> None:
    async def work() -> list[SessionRecord]:
        async with aclosing(await open_store(str(tmp_path))) as store:
            record, epochs = session("l" * 100 + "w" * 140)
            record = replace(record, due=START, newest=START + 7200)
            await store.open_session(record)
            body = Message.clean(heart_rate=([START], [60])).to_bytes()
            step = Advance(replace(record, version=1), b"snapshot", -1, epochs, body)
            assert await store.commit(0, step)
            commit = store.commit
            refused: list[Advance] = []

            async def refuse_once(version: int, step: Advance) -> bool:
                if step.record.id == "w" and not refused:
                    refused.append(step)
                    if deleted:
                        await store.delete_session("w")
                    return False
                return await commit(version, step)

            async def divide_here(*given: Any) -> Any:
                return divide(stager, *given)

            monkeypatch.setattr(store, "commit", refuse_once)
            stager: Any = Nights()
            workers: Any = SimpleNamespace(divide=divide_here)
            service = SessionService(store, workers, Settings(), Metrics())
            await service.start("w")
            await service.aclose()
            assert refused
            return await store.sessions("ada", limit=9)

    found = asyncio.run(work())
    if deleted:
        assert found == []
    else:
        night, watch = sorted(found, key=lambda one: one.id != "w", reverse=True)
        assert (night.watch, night.n_epochs, night.closed) == ("w", 100, True)
        assert not night.reopens
        assert (watch.kept, watch.untidy) == (START + 3000, False)


@pytest.mark.slow
def test_a_watch_is_worn_for_days_in_one_session(tmp_path: Path) -> None:
    made = simulate_night(1, Day(before=1, after=1.5), hours=5)
    shift = START - made.start
    signals: dict[str, Any] = {
        name: ((samples := getattr(made, name)).times + shift, samples.values)
        for name in ("heart_rate", "motion", "steps")
    }
    day = Recording.from_arrays(**signals, start=START, end=made.end + shift)
    with running(tmp_path) as one:
        watch = one.open(start=START, simulated=True)
        for number, begin in enumerate(np.arange(START, day.end, HOUR)):
            answer = one.push(watch, number, **rows(day, begin, begin + HOUR))
            assert answer.status_code == 201
        so_far = one.hypnogram(watch)
        assert not so_far["session"]["closed"]
        listed = one.client.get("/v1/sessions").json()["sessions"]
        nights = [night for night in listed if night["watch"]]
        assert [night["watch"] for night in nights] == [watch]
        night = one.hypnogram(nights[0]["id"])
        asleep = [event["time"] for event in so_far["events"] if event["kind"] == "fell_asleep"]
        assert night["session"]["start"] == night["night"]["epochs"][0]["time"] == asleep[0]
        assert 200 < night["night"]["statistics"]["total_sleep_time"] < 300
        assert len(night["night"]["epochs"]) == len(night["epochs"]) == night["session"]["n_epochs"]
        refused = one.push(nights[0]["id"], "m", heart_rate=[[day.end, 60]])
        assert refused.status_code == 409
        assert watch in refused.json()["detail"]

        for days in range(1, 5):  # in the end, the first days are dropped
            for beat in (day.end + (days - 0.5) * 24 * HOUR, day.end + days * 24 * HOUR):
                assert one.push(watch, beat, heart_rate=[[beat, 60]]).status_code == 201
            later = one.hypnogram(watch)
            n_epochs, first = later["session"]["n_epochs"], later["first"]
            assert len(later["epochs"]) == n_epochs - first <= 3 * 24 * 120
            assert later["epochs"][0]["time"] == START + 30 * first
        assert first > 0
        late = one.client.get(f"/v1/sessions/{watch}/hypnogram?after={n_epochs - 2}").json()
        assert (late["first"], len(late["epochs"])) == (n_epochs - 2, 2)
        silent = one.push(watch, "x", heart_rate=[[beat + 25 * HOUR, 60]])
        assert silent.status_code == 409
        assert "open another session" in silent.json()["detail"]

        assert one.client.delete(f"/v1/sessions/{watch}").status_code == 204
        assert one.client.get("/v1/sessions").json() == {"sessions": []}
