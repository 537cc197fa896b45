"""Where steps of work are done: in other processes, so that the one that listens is never busy."""

import asyncio
import logging
import multiprocessing
import signal
import traceback
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sleepstage._utils.parallel import end_with_parent
from sleepstage.errors import SleepstageError, StoreError
from sleepstage.server import nights, work
from sleepstage.server.records import Advance
from sleepstage.server.work import Models

T = TypeVar("T")

_log = logging.getLogger(__name__)


class WorkerDiedError(StoreError):
    """A process that stages died at a step of work."""


class Workers:
    """Do the steps of `work` and `nights` with two models, each given by name or file.

    `n_processes` processes share the work; with 0, a thread of this process does it.
    """

    def __init__(self, live: str, night: str, n_processes: int) -> None:
        self._named = live, night
        self.models = Models.load(live, night)
        self._n_processes = n_processes
        self._executor = self._make()
        self.advance = partial(self._do, work.advance)
        self.close = partial(self._do, work.close)
        self.divide = partial(self._do, _divide)

    def _make(self) -> Executor:
        if not self._n_processes:
            return ThreadPoolExecutor(1, thread_name_prefix="work")
        return ProcessPoolExecutor(
            self._n_processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=self._named,
        )

    async def _do(self, step: Callable[..., T], *given: Any, **named: Any) -> T:
        loop, executor = asyncio.get_running_loop(), self._executor
        models = None if self._n_processes else self.models  # a process has its own
        try:
            located = partial(_located, models, step, *given, **named)
            return await loop.run_in_executor(executor, located)
        except BrokenProcessPool as error:
            if executor is self._executor:
                _log.error("a process that stages has died; another one is begun")
                self._executor = self._make()
            raise WorkerDiedError("a process that stages has died; try again") from error

    async def start(self) -> None:
        """Have the processes ready, so that the first epoch need not wait for them."""
        # Any call will do: it is answered once a process has begun.
        loop = asyncio.get_running_loop()
        ready = [loop.run_in_executor(self._executor, bool) for _ in range(self._n_processes)]
        await asyncio.gather(*ready)

    async def aclose(self) -> None:
        """End the processes."""
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)


_models: Models  # of a process that stages; its own, and set once


def _begin(live: str, night: str) -> None:
    global _models
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server gets it, and ends this process
    end_with_parent()
    _models = Models.load(live, night)


def _divide(models: Models, *given: Any) -> tuple[list[Advance], Advance]:
    return nights.divide(models.night, *given)


def _located(models: Models | None, step: Callable[..., T], *given: Any, **named: Any) -> T:
    """Do it; note in an error of the program where it is, as its text may have measured values."""
    try:
        return step(models or _models, *given, **named)
    except SleepstageError:
        raise
    except Exception as error:
        *_, last = traceback.extract_tb(error.__traceback__)
        error.add_note(f"in {Path(last.filename).name}, line {last.lineno}")
        raise
