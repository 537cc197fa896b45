"""The server: everything put together; listens, and stops without losing anything."""

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from sleepstage import __version__
from sleepstage.errors import DataError
from sleepstage.server.auth import Authenticator
from sleepstage.server.exports import Exports
from sleepstage.server.middleware import Answers, Guard, Rate, Slots
from sleepstage.server.monitoring import Metrics, set_up_logs
from sleepstage.server.problems import add_handlers
from sleepstage.server.protocol import HttpProtocol, WebSocketProtocol
from sleepstage.server.routes import Given, Owner, Service, api
from sleepstage.server.sessions import SessionService
from sleepstage.server.settings import Settings
from sleepstage.server.store import open_store
from sleepstage.server.streaming import streams
from sleepstage.server.upkeep import Upkeep
from sleepstage.server.workers import Workers
from sleepstage.simulate.nights import simulate_night
from sleepstage.simulate.waking import Day

_log = logging.getLogger(__name__)

_PAGE: Final = Path(__file__).parent / "web"
_FAREWELL: Final = 3  # s in which streams end when the server stops
_KEEP_ALIVE: Final = 75  # s between two messages of a watch, on one connection
_OWN_FILES: Final = 200  # of the store, the processes that stage, and so on
_PATIENCE: Final = 10  # s that requests under way may take when the server stops
_POLL: Final = 0.02  # s between two looks at the streams that are left


def create_app(settings: Settings, workers: Workers) -> FastAPI:
    """Make the application; it opens its store when it starts."""
    metrics = Metrics()
    exports = Exports(settings)
    requests = Slots(settings.max_waiting, "requests are under way")
    viewers = Slots(settings.max_waiting, "viewers are connected")
    metrics.streams.set_function(lambda: viewers.n_open)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        store = await open_store(settings.store)
        nights = SessionService(store, workers, settings, metrics)
        access = Authenticator(store, loopback=settings.loopback, token=settings.token)
        rate = Rate(settings.messages_per_second)
        app.state.service = Service(nights, access, settings, rate, requests, viewers)
        await workers.start()
        tasks = Upkeep(nights, settings).run(), exports.run()
        upkeep = asyncio.gather(*tasks, return_exceptions=True)  # it ends when both have
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
    app.add_middleware(Guard, settings=settings, slots=requests)
    app.add_middleware(Answers, metrics=metrics)
    add_handlers(app)
    app.include_router(api)
    app.include_router(streams)
    app.include_router(exports.router)
    _add_operation(app)
    _add_page(app)
    return app


def _add_operation(app: FastAPI) -> None:

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        return Response("ok\n", media_type="text/plain")

    @app.get("/readyz", include_in_schema=False)
    async def readyz(service: Given) -> Response:
        if service.nights.changes.stopped:
            raise HTTPException(503, "the server is about to stop")
        service.requests.check()
        await service.nights.store.ping()
        return Response("ready\n", media_type="text/plain")

    @app.get("/metrics", include_in_schema=False)
    async def metrics(request: Request, visitor: Owner) -> Response:  # noqa: ARG001
        text = request.app.state.metrics.text()
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


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


class _Server(uvicorn.Server):
    """Ends streams when it has to stop: they would never end by themselves."""

    @property
    def _service(self) -> Service | None:
        return getattr(self.config.app.state, "service", None)  # type: ignore[union-attr]

    def handle_exit(self, sig: int, frame: Any) -> None:  # noqa: ARG002
        if self._service is not None:
            stop = self._service.nights.changes.stop
            asyncio.get_running_loop().call_soon_threadsafe(stop)
        # That of uvicorn would, once all is done, end the process by the signal: with no status 0.
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let streams end first: uvicorn cuts off, with another code, those that have not."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                while self._service is not None and self._service.streams.n_open:
                    await asyncio.sleep(_POLL)
        await super().shutdown(sockets)


def serve(settings: Settings, on_listening: Callable[[], object] = lambda: None) -> None:
    """Run until stopped by a signal; calls `on_listening` when clients can connect.

    Raises `DataError` if the address is taken, or can be reached from elsewhere and there is no
    token; `ModelFileError` or `StoreError` if a model can't be loaded or the store not opened.
    """
    asyncio.run(_check_store(settings))
    set_up_logs(settings.log)
    workers = Workers(settings.model, settings.night_model, settings.workers)
    listening = _listen(settings)
    n_connections = _allow_connections(settings.max_connections)
    limited = settings.model_copy(update={"max_connections": n_connections})
    config = uvicorn.Config(
        create_app(settings, workers),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        http=partial(HttpProtocol, settings=limited),  # type: ignore[arg-type]
        ws=WebSocketProtocol,
        ws_max_size=settings.max_body,
        timeout_graceful_shutdown=_PATIENCE,
        timeout_keep_alive=_KEEP_ALIVE,
    )
    _log.info("the page: %s", settings.url)
    on_listening()
    # A full collection looks at all that thousands of connections hold, and everybody waits for it.
    # Reference counts free nearly all that a request leaves behind: what they don't can wait.
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
    _Server(config).run([listening])


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    address = settings.host, settings.port
    try:
        listening = socket.create_server(address, family=family, backlog=2048)
    except OSError as error:
        raise DataError(
            f"{settings.host}:{settings.port}: can't listen there ({error.strerror}); choose "
            "another --port or --host"
        ) from error
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # connections inherit it: who takes nothing must go
        milliseconds = int(1000 * settings.slow_seconds)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    return listening


def _allow_connections(wanted: int) -> int:
    """Give how many connections the system has files for, besides those of the server itself."""
    if sys.platform == "win32":
        return wanted
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _OWN_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < needed:
            wanted = max(soft - _OWN_FILES, soft // 2)
            _log.warning("%d connections at once: the system allows %d files", wanted, soft)
    return wanted


async def _check_store(settings: Settings) -> None:
    async with aclosing(await open_store(settings.store)) as store:
        if not settings.loopback and not await store.grants():
            raise DataError(
                f"{settings.host} can be reached from elsewhere, and there is no token: make one, "
                f"where the server runs, with sleepstage token add <name> --store {settings.store} "
                "(with Docker Compose: docker compose run --rm server sleepstage token add <name>)"
            )
