"""A real `sleepstage serve`, as a process of its own that can be killed and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2


class Server:
    """A server on a free port of this machine.

    Parameters
    ----------
    folder : Path
        Where it logs, and stores unless `store` is given.
    store : str, optional
        As in `sleepstage.server.settings.Settings`.
    prepare : str
        Python that its process runs before it serves, as to shorten an interval.
    settings : str
        Further ones of `sleepstage.server.settings.Settings`.
    """

    def __init__(
        self, folder: Path, store: str | None = None, *, prepare: str = "", **settings: str
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"server-{self.port}.log"
        self._settings = {
            "PORT": str(self.port),
            "STORE": store or str(folder / "store"),
            **{name.upper(): value for name, value in settings.items()},
        }
        serve = "from sleepstage.cli import main\nmain(['serve'])"
        self._code = ["-c", f"{prepare}\n{serve}"] if prepare else ["-m", "sleepstage", "serve"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it takes messages."""
        environment = {f"SLEEPSTAGE_{name}": value for name, value in self._settings.items()}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self._code],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 60
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                msg = f"the server does not start:\n{self.log.read_text()}"
                raise RuntimeError(msg)
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx2.HTTPError:
            return False

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end, and give its exit status."""
        return self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Start it again, on the same port and store."""
        self.kill()
        self.start()

    def _end(self, number: int) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(timeout=30)


@contextmanager
def serving(folder: Path, store: str | None = None, **options: str) -> Iterator[Server]:
    """Give a running server; options are those of `Server`."""
    server = Server(folder, store, **options)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
