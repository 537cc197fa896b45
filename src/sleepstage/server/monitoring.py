"""What whoever runs a server sees of it: log lines, and metrics for Prometheus.

Neither has anything that identifies anybody: no session, person or address, and nothing measured.
"""

import logging
import threading
import traceback
from functools import partial
from typing import Any, Final, Literal

from cachetools import TTLCache
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from pythonjsonlogger.json import JsonFormatter

_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # s
_WINDOW: Final = 60  # s over which lines are counted
_REPEATS: Final = 10
_KIND: Final = 50  # characters of a message before its details
_DEEPEST: Final = 5


def set_up_logs(form: Literal["json", "text"]) -> None:
    """Log to standard error: a bounded number of lines, and nothing that identifies anybody."""
    handler = logging.StreamHandler()
    fields = "%(asctime)s %(levelname)s %(name)s %(message)s"
    if form == "json":
        handler.setFormatter(_JsonLines(fields, rename_fields={"asctime": "time"}))
    else:
        handler.setFormatter(_WithoutValues("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(_Bounded())
    # Its warnings are about requests that make no sense, and name the addresses of WebSockets.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)


class _Bounded(logging.Filter):
    """Lets so many lines of one kind pass in a minute: whoever sends requests can't fill a disk."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: TTLCache[tuple[str, str], list[int]] = TTLCache(1000, _WINDOW)
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        with self._lock:
            count = self._counts.setdefault((record.name, str(record.msg)[:_KIND]), [0])
            count[0] += 1
            if count[0] == _REPEATS:
                record.msg = f"{record.msg} (more of these are left out for up to {_WINDOW} s)"
            return count[0] <= _REPEATS


class _WithoutValues(logging.Formatter):
    """Shows where an error arose and of what kind it is; its text can name what was measured."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 - a method of logging's
        return "".join(_stack(ei[1]))


def _stack(error: BaseException | None, depth: int = 0) -> list[str]:
    if error is None or depth == _DEEPEST:
        return []
    inner = [error.__cause__ or error.__context__, *getattr(error, "exceptions", ())]
    before = [line for one in inner for line in _stack(one, depth + 1)]
    return [*before, *traceback.format_tb(error.__traceback__), f"{type(error).__name__}\n"]


class _JsonLines(_WithoutValues, JsonFormatter):
    pass


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._registry = registry
        prefix = "sleepstage"
        counter = partial(Counter, namespace=prefix, registry=registry)
        gauge = partial(Gauge, namespace=prefix, registry=registry)
        seconds = partial(Histogram, namespace=prefix, buckets=_BUCKETS, registry=registry)
        self.requests = seconds(
            "request_seconds", "Time to answer a request", ["method", "route", "status"]
        )
        self.messages = counter("messages", "Messages, by what became of them", ["delivery"])
        what = "Samples that senders were warned about, by kind of warning"
        self.warnings = counter("warnings", what, ["kind"])
        self.opened = counter("sessions_opened", "Sessions opened")
        self.epochs = counter("epochs", "Epochs emitted")
        self.work = seconds("work_seconds", "Time of a step of work, with its turn to wait")
        self.waiting = gauge("sessions_waiting", "Sessions whose work is under way")
        self.streams = gauge("streams", "Viewers and sockets that are connected")

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)
