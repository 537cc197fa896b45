"""A real Redis for tests, which can be killed and started again on the same data."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_START_SECONDS = 10.0


class RedisServer:
    """``redis-server`` on a socket in a folder, which writes to the disk before it answers.

    Attributes
    ----------
    address : str
        For `open_store`.
    folder : Path
        Where it keeps its files.
    """

    def __init__(self, program: str, folder: Path, **options: str) -> None:
        self._program = program
        self._options = options
        self.folder = folder
        self._socket = folder / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"unix://{self._socket}"

    def start(self) -> None:
        """Start it, and return once it answers."""
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            **self._options,
        }
        given = [text for name, value in options.items() for text in (f"--{name}", value)]
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen([self._program, *given], stdout=log, stderr=log)
        self._wait()

    @property
    def log(self) -> str:
        """What it logged."""
        return (self.folder / "redis.log").read_text()

    def _wait(self) -> None:
        from redis import Redis
        from redis.exceptions import RedisError

        until = time.monotonic() + _START_SECONDS
        with Redis(unix_socket_path=str(self._socket)) as client:
            while True:
                try:
                    client.ping()
                except RedisError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.02)
                else:
                    return

    def kill(self) -> None:
        """Kill it as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it if it runs."""
        if self._process is not None:
            self.pause(on=False)
            self._end(signal.SIGTERM)

    def pause(self, *, on: bool) -> None:
        """Let it answer nobody, or go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if on else signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait()
        self._process = None


@contextmanager
def redis_server(**options: str) -> Iterator[RedisServer]:
    """Give a running server with no data; skip the test where none is installed, but not in CI."""
    program = shutil.which("redis-server")
    if program is None:
        reason = "no redis-server: apt install redis-server"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    # Not in pytest's folder: the path of a socket may have some hundred characters only.
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(program, Path(folder), **options)
        try:
            server.start()
            yield server
        finally:
            server.stop()
