"""The application: everything put together, and taken apart again."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import orjson
from fastapi import FastAPI, Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from sleepstage import __version__
from sleepstage.server.auth import Authenticator
from sleepstage.server.limits import Rate, Slots
from sleepstage.server.middleware import Answers, Bodies, Strangers
from sleepstage.server.monitoring import Metrics
from sleepstage.server.problems import BusyError, add_handlers
from sleepstage.server.routes import Given, Owner, Service, api
from sleepstage.server.sessions import SessionService
from sleepstage.server.store import open_store
from sleepstage.server.streaming import streams
from sleepstage.server.upkeep import Upkeep
from sleepstage.simulate.nights import simulate_night
from sleepstage.simulate.waking import Day

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sleepstage.server.settings import Settings
    from sleepstage.server.workers import Workers

_PAGE: Final = Path(__file__).parent / "web"


def create_app(settings: Settings, workers: Workers) -> FastAPI:
    """Make the application; it opens its store when it starts."""
    metrics = Metrics()
    requests = Slots(settings.max_waiting, "requests are under way")
    viewers = Slots(settings.max_waiting, "viewers are connected")
    metrics.streams.set_function(lambda: viewers.n_open)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        store = await open_store(settings.store)
        nights = SessionService(store, workers, settings, metrics)
        access = Authenticator(store, loopback=settings.loopback)
        rate = Rate(settings.messages_per_second)
        app.state.service = Service(nights, access, settings, rate, requests, viewers)
        await workers.start()
        upkeep = asyncio.create_task(Upkeep(nights, settings).run())
        try:
            yield
        finally:
            upkeep.cancel()
            with suppress(asyncio.CancelledError):
                await upkeep
            await nights.aclose()
            await workers.aclose()
            await store.aclose()

    app = FastAPI(
        title="sleepstage",
        version=__version__,
        description="Sleep stages in real time from heart rate, wrist motion and steps.",
        openapi_url="/v1/openapi.json",
        docs_url=None,  # these would load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.metrics = metrics
    # The last is the first that a request passes.
    app.add_middleware(Bodies, settings=settings, slots=requests)
    app.add_middleware(Strangers)
    app.add_middleware(Answers, metrics=metrics)
    add_handlers(app)
    app.include_router(api)
    app.include_router(streams)
    _add_operation(app)
    _add_page(app)
    return app


def _add_operation(app: FastAPI) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        """Whether the server is alive."""
        return Response("ok\n", media_type="text/plain")

    @app.get("/readyz", include_in_schema=False)
    async def readyz(service: Given) -> Response:
        """Whether it can take messages now."""
        if service.nights.changes.stopped:
            msg = "the server is about to stop"
            raise BusyError(msg)
        service.requests.check()
        await service.nights.store.ping()
        return Response("ready\n", media_type="text/plain")

    @app.get("/metrics", include_in_schema=False)
    async def metrics(request: Request, visitor: Owner) -> Response:  # noqa: ARG001
        """Numbers for Prometheus, with a token where one is needed; a link does not do."""
        return Response(
            request.app.state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8"
        )


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(_PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/v1/demo", include_in_schema=False)
    async def demo() -> Response:
        """Samples of a simulated evening and night, in seconds from their start."""
        night = _night() if _night.cache_info().currsize else await asyncio.to_thread(_night)
        headers = {"Cache-Control": "public, max-age=86400"}
        return Response(night, headers=headers, media_type="application/json")

    app.mount("/page", StaticFiles(directory=_PAGE, check_dir=False))


@cache
def _night() -> bytes:
    night = simulate_night(1, Day(before=2, after=0.25))
    night_json = {"seconds": night.end - night.start}
    for name in ("heart_rate", "motion", "steps"):
        samples = getattr(night, name)
        night_json[name] = np.column_stack([samples.times - night.start, samples.values]).tolist()
    return orjson.dumps(night_json)
