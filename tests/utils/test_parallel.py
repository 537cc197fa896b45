from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from distributed import Client
from numpy.typing import NDArray

from research.held_out import in_order
from sleepstage._utils import parallel
from sleepstage._utils.parallel import run_tasks
from sleepstage.errors import DataError, MissingExtraError

pytestmark = pytest.mark.slow

CLUSTER = """
import sys, dask
from distributed import LocalCluster

if __name__ == "__main__":
    workers, failures = map(int, sys.argv[1:])
    dask.config.set({"distributed.scheduler.allowed-failures": failures})
    cluster = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=None,
        local_directory=".",
    )
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()
"""


@contextmanager
def running(
    directory: Path, *, workers: int, failures: int = 3
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A real cluster: its address, and the process of its scheduler, whose end ends the workers."""
    script = directory / "cluster.py"
    script.write_text(CLUSTER)
    with subprocess.Popen(
        [sys.executable, str(script), str(workers), str(failures)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=directory,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},  # the same code as here
    ) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a scheduler with two workers."""
    with running(tmp_path_factory.mktemp("cluster"), workers=2) as (address, _):
        yield address


@pytest.fixture(params=["here", "cluster"])
def place(request: pytest.FixtureRequest) -> str | None:
    """For tests that must go alike on this machine and on a cluster."""
    return None if request.param == "here" else request.getfixturevalue("cluster")


NIGHTS = [np.random.default_rng(number).normal(size=200_000) for number in range(8)]  # 13 MB
Task = tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], int]
TASKS: list[Task] = [(np.cumsum, number) for number in range(8)]  # Dask must not call what is first


def total(nights: list[NDArray[np.float64]], task: Task) -> float:
    function, number = task
    return float(np.mean(function(nights[number])))


def leave_mark(folder: Path, name: str) -> str:
    (folder / name).touch()
    time.sleep(0.1)
    return name


def kill_worker_once(folder: Path, name: str) -> str:
    time.sleep(0.2)
    if name == "deadly" and not (folder / name).exists():
        (folder / name).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return name


def kill_worker(_: None, name: str) -> str:
    if name == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    return name


def read(_: None, path: Path) -> str:
    return path.read_text()


@pytest.mark.parametrize("jobs", [1, 2])
def test_each_result_comes_with_the_index_of_its_task(place: str | None, jobs: int) -> None:
    results = dict(run_tasks(total, NIGHTS, TASKS, jobs=jobs, cluster=place))
    assert results == {number: total(NIGHTS, task) for number, task in enumerate(TASKS)}


def test_a_process_that_dies_is_told() -> None:
    with pytest.raises(DataError, match="a process that did the work died"):
        list(run_tasks(kill_worker, None, ["a", "deadly", "b"], jobs=2))


def test_no_tasks_give_no_results(place: str | None) -> None:
    assert list(run_tasks(total, NIGHTS, [], jobs=1, cluster=place)) == []


def test_what_a_task_raises_comes_out(place: str | None, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.txt"):
        list(run_tasks(read, None, [tmp_path / "nothing.txt"], jobs=1, cluster=place))


@pytest.mark.filterwarnings(r"ignore:\d+ tasks (have been|which were) :UserWarning:joblib")
def test_closing_ends_what_is_not_begun(place: str | None, tmp_path: Path) -> None:
    names = [f"{number}" for number in range(60)]
    results = run_tasks(leave_mark, tmp_path, names, jobs=2, cluster=place)
    number, name = next(results)
    assert name == names[number]
    results.close()
    # Were they still to be done, they would be done before this one.
    assert list(run_tasks(leave_mark, tmp_path, ["last"], jobs=2, cluster=place)) == [(0, "last")]
    assert len(list(tmp_path.iterdir())) < 50


def test_lost_worker_is_survived(cluster: str, tmp_path: Path) -> None:
    names = ["a", "b", "deadly", "c", "d", "e"]
    results = dict(run_tasks(kill_worker_once, tmp_path, names, cluster=cluster))
    assert results == dict(enumerate(names))
    assert (tmp_path / "deadly").exists()


def test_what_is_lost_for_good_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = logging.getLogger("distributed.client")
    monkeypatch.setattr(log, "disabled", False)
    told: list[logging.LogRecord] = []
    monkeypatch.setattr(log, "handle", told.append)
    with running(tmp_path, workers=1, failures=1) as (address, scheduler):
        # With the only worker, the only copy of what is shared is lost, and made again.
        results = run_tasks(kill_worker_once, tmp_path, ["a", "deadly"], cluster=address)
        assert sorted(results) == [(0, "a"), (1, "deadly")]
        with pytest.raises(DataError, match="a task lost all workers that tried it: see their"):
            list(run_tasks(kill_worker, None, ["deadly"], cluster=address))
        results = run_tasks(leave_mark, tmp_path, ["a"] * 50, cluster=address)
        next(results)
        scheduler.kill()
        with pytest.raises(DataError, match=f"{address} was lost: start it and run again; what is"):
            list(results)
    assert not [record for record in told if record.exc_info]


def test_scheduler_without_workers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "_PATIENCE", 1.0)
    with (
        running(tmp_path, workers=0) as (address, _),
        pytest.raises(DataError, match=r"0/1 workers .* start 'dask scheduler' and 'dask worker'"),
    ):
        list(run_tasks(total, NIGHTS, TASKS, cluster=address))


def test_address_without_scheduler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_PATIENCE", 0.2)
    begin = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(DataError, match=rf"no cluster at {address} \(timed out\): start"):
            list(run_tasks(total, NIGHTS, TASKS, cluster=address))
    with pytest.raises(DataError, match=rf"no cluster at {address} \(.*refused\): start"):
        list(run_tasks(total, NIGHTS, TASKS, cluster=address))
    with pytest.raises(DataError, match=r"no cluster at nowhere \(missing port number"):
        list(run_tasks(total, NIGHTS, TASKS, cluster="nowhere"))
    assert time.monotonic() - begin < 5


def test_other_version_on_the_cluster_is_refused(
    cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, other = {"packages": {"sleepstage": "2.0"}}, {"packages": {"sleepstage": None}}
    versions = {"client": here, "scheduler": here, "workers": {"tcp://worker": other}}
    monkeypatch.setattr(Client, "get_versions", lambda self, packages: versions)
    with pytest.raises(DataError, match=rf"one version of .* {cluster}, not \['2.0', 'None'\]"):
        list(run_tasks(total, NIGHTS, TASKS, cluster=cluster))


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"running on a cluster .*'sleepstage\[cluster\]'"):
        list(run_tasks(total, NIGHTS, TASKS, cluster="tcp://127.0.0.1:8786"))


def test_results_in_the_order_of_the_tasks(tmp_path: Path) -> None:
    heard: list[tuple[int, int, str]] = []
    names = [f"task {number}" for number in range(7)]
    told = in_order(
        leave_mark, tmp_path, names, jobs=2, on_run=lambda *progress: heard.append(progress)
    )
    assert told == names
    assert heard == [(done, 7, "") for done in range(1, 8)]
