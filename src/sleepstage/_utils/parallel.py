"""Many tasks at a time: on the cores of this machine, or on the workers of a Dask cluster."""

import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing.connection import wait
from typing import Any, Final, TypeVar

from sleepstage.errors import DataError, needs_extra

Shared = TypeVar("Shared")
Task = TypeVar("Task")
Result = TypeVar("Result")
_LOOK: Final = 0.5  # seconds between looks at who started this process
_AGAIN: Final = 10.0  # seconds after which a time limit is enforced again
_PATIENCE: Final = 10.0  # seconds for a scheduler to answer, and for a first worker to be there


def in_threads(
    function: Callable[..., Result],
    calls: Mapping[str, tuple[Any, ...]],
    jobs: int | None,
    expected: type[Exception] | tuple[type[Exception], ...],
    on_progress: Callable[[int, int, str], None] | None,
) -> dict[str, Result | Exception]:
    """Result of each call by its name, or the error if it is an expected one; others end it.

    Threads serve what waits, or works in libraries that let others run, as polars and numpy do.
    """
    with ThreadPoolExecutor(jobs) as pool:
        tasks = {pool.submit(function, *given): name for name, given in calls.items()}
        errors: dict[str, Exception] = {}
        try:
            for done, task in enumerate(as_completed(tasks), 1):
                try:
                    task.result()
                except expected as error:
                    errors[tasks[task]] = error
                if on_progress is not None:
                    on_progress(done, len(tasks), tasks[task])
        finally:
            pool.shutdown(cancel_futures=True)  # an interruption need not wait for the rest
    return {name: errors.get(name) or task.result() for task, name in tasks.items()}


def run_tasks(
    function: Callable[[Shared, Task], Result],
    shared: Shared,
    tasks: Sequence[Task],
    *,
    jobs: int = -1,
    cluster: str | None = None,
) -> Generator[tuple[int, Result]]:
    """Yield (index of the task, result) as each one is finished, in whatever order.

    The function is called with `shared`, which it must not change and which is sent to a cluster
    once, and a task; again if a worker is lost. What it raises comes out here and ends the others,
    as closing the generator does.

    `jobs` is the number of calls at a time on this machine: -1 for one a core, 1 to stay in this
    process. `cluster` is the address of a Dask scheduler, such as ``tcp://127.0.0.1:8786``, whose
    workers are used instead; what a lost one had is done by the others, or waits for a new one.

    Raises `DataError` if the cluster is not there, not fit for the work or lost, or a process of
    this machine dies; `MissingExtraError` without the extra ``cluster``, or ``score`` for this
    machine.
    """
    if cluster is not None:
        yield from _on_cluster((function, shared, tasks), range(len(tasks)), cluster)
        return
    with needs_extra("working on several cores", "score"):
        from joblib import Parallel, delayed
        from joblib.externals.loky.process_executor import TerminatedWorkerError
    calls = (delayed(_call)(n, (function, shared, {n: task})) for n, task in enumerate(tasks))
    try:
        # No two partials are equal, so that joblib starts new processes: those of an earlier call
        # may have loaded a module that has changed, or look for modules elsewhere.
        yield from Parallel(
            n_jobs=jobs, return_as="generator_unordered", initializer=partial(end_with_parent)
        )(calls)
    except TerminatedWorkerError as error:
        raise DataError(
            "a process that did the work died, of too little memory or of a damaged file: what is "
            "done is kept; run it again, with --jobs 1 if it dies again"
        ) from error


def end_with_parent() -> None:
    """End this process when the one that started it is gone: killed, that one can't see to it."""
    threading.Thread(target=_outlive_nobody, daemon=True).start()


def _outlive_nobody() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if parent.sentinel is not None:
        wait([parent.sentinel])
    else:  # of loky on POSIX
        while os.getppid() == parent.pid:
            time.sleep(_LOOK)
    os._exit(1)


class _OutOfTimeError(BaseException):
    """No library on the way takes it for an error of its own and goes on."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise a `DataError` in the block after so many seconds: in a main thread, on POSIX.

    A library that does not return to Python is not stopped before it does.
    """
    if os.name == "nt" or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, _raise_out_of_time)
    try:
        try:
            # Raised where Python ignores errors, as in __del__, it would be lost: hence again.
            signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _OutOfTimeError:
        raise DataError(
            f"not finished after {seconds:g} s: look at the file, or give it more time with "
            "--night-seconds"
        ) from None
    finally:
        signal.signal(signal.SIGALRM, before)


def _raise_out_of_time(*_: object) -> None:
    raise _OutOfTimeError


def _call(number: int, work: Any) -> tuple[int, Any]:
    function, shared, tasks = work
    return number, function(shared, tasks[number])


def _on_cluster(work: Any, numbers: range, address: str) -> Generator[tuple[int, Any]]:
    with ExitStack() as stack:
        with needs_extra("running on a cluster", "cluster"):
            from dask import config
            from distributed import CancelledError, Client, KilledWorker, as_completed
            from distributed.comm.addressing import get_address_host_port
            from distributed.protocol.pickle import dumps, loads
        try:
            with socket.create_connection(get_address_host_port(address), _PATIENCE) as probe:
                probe.recv(1)  # a scheduler greets; with another server Client would hang
            client = stack.enter_context(Client(address, timeout=_PATIENCE, set_as_default=False))
            client.wait_for_workers(1, timeout=_PATIENCE)
            versions: Any = client.get_versions(packages=["sleepstage"])
        except (OSError, ValueError) as error:
            message = f"no cluster at {address} ({error}): start 'dask scheduler' and 'dask worker'"
            raise DataError(message) from error
        nodes = [versions["client"], versions["scheduler"], *versions["workers"].values()]
        if len(found := {str(node["packages"]["sleepstage"]) for node in nodes}) > 1:
            raise DataError(
                f"install one version of sleepstage here and at {address}, not {sorted(found)}"
            )
        with config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"}):
            held = client.submit(loads, dumps(work), pure=False)  # scattered, it could be lost
        done = as_completed(client.map(_call, numbers, work=held, pure=False), loop=client.loop)
        lost = f"the cluster at {address} was lost: start it and run again; what is done is kept"
        if client.status != "running":  # what is asked of it now would stay pending for ever
            raise DataError(lost)
        for future in done:
            try:
                result = future.result()
            except KilledWorker as error:
                message = "a task lost all workers that tried it: see their logs, and mind memory"
                raise DataError(message) from error
            except (CancelledError, OSError) as error:
                if future.status == "error":
                    raise  # it is the task's
                logging.getLogger("distributed.client").disabled = True  # of a traceback on closing
                raise DataError(lost) from error
            future.release()  # or the task would be done again if its worker were lost now
            yield result
