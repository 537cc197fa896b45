"""The service in this process, for tests."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from fastapi import FastAPI
from starlette.testclient import TestClient

import sleepstage
from sleepstage.core.recording import Recording
from sleepstage.server.app import create_app
from sleepstage.server.auth import make_grant
from sleepstage.server.routes import Service
from sleepstage.server.settings import Settings
from sleepstage.server.upkeep import Upkeep
from sleepstage.server.workers import Workers

T = TypeVar("T")
START = 1_700_000_000.0
LOCAL = {"host": "localhost"}


@dataclass(frozen=True)
class Running:
    """An application that runs, and a client of it."""

    app: FastAPI
    client: TestClient

    @property
    def service(self) -> Service:
        service: Service = self.app.state.service
        return service

    def do(self, step: Callable[..., Coroutine[Any, Any, T]], *given: Any, **named: Any) -> T:
        """Call what is asynchronous in the application's own loop."""
        portal = self.client.portal
        assert portal is not None
        result: T = portal.call(lambda: step(*given, **named))
        return result

    def open(self, **given: Any) -> str:
        answer = self.client.post("/v1/sessions", json=given)
        assert answer.status_code == 201, answer.text
        session: str = answer.json()["id"]
        return session

    def push(self, session: str, name: object, **signals: Any) -> Any:
        return self.client.put(f"/v1/sessions/{session}/messages/{name}", json=signals)

    def hypnogram(self, session: str) -> dict[str, Any]:
        answer = self.client.get(f"/v1/sessions/{session}/hypnogram")
        assert answer.status_code == 200, answer.text
        night: dict[str, Any] = answer.json()
        return night

    def sweep(self) -> None:
        """Do at once what the server does by itself now and then."""
        self.do(Upkeep(self.service.nights, self.service.settings).sweep)

    def token(self, owner: str, **given: Any) -> dict[str, str]:
        """Make a token, and give the header that it is sent in."""
        grant, secret = make_grant(owner, **given)
        self.do(self.service.nights.store.add_grant, grant)
        self.service.access._open.clear()
        return {"Authorization": f"Bearer {secret}"}


@contextmanager
def running(folder: Path, **settings: Any) -> Iterator[Running]:
    """Give an application on a store in this folder."""
    given = Settings(store=str(folder), workers=0, **settings)
    app = create_app(given, Workers(given.model, given.night_model, 0))
    with TestClient(app, base_url="http://localhost:8000", raise_server_exceptions=False) as client:
        yield Running(app, client)


@cache
def simulated(hours: float = 1.0, seed: int = 4) -> Recording:
    """A simulated night, on the clock of Unix time."""
    night = sleepstage.simulate.nights.simulate_night(seed, hours=hours)
    shifted: dict[str, Any] = {
        name: (samples.times + START, samples.values)
        for name in ("heart_rate", "motion", "steps")
        if len(samples := getattr(night, name))
    }
    return Recording.from_arrays(**shifted, start=START, end=START + night.end)


def rows(recording: Recording, begin: float, end: float) -> dict[str, Any]:
    """What was measured from `initial_state` on and before `end`, as JSON has it."""
    signals = {}
    for name in ("heart_rate", "motion", "steps"):
        samples = getattr(recording, name).between(begin, end)
        if len(samples):
            signals[name] = np.column_stack([samples.times, samples.values]).tolist()
    return signals
