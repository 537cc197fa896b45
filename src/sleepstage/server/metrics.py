"""Metrics for Prometheus. Numbers only: no session, person or address is in a label."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

__all__ = ["Metrics"]

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._registry = registry
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        seconds = partial(Histogram, buckets=_BUCKETS, registry=registry)
        self.requests = seconds(
            "sleepstage_request_seconds", "Time to answer a request", ["method", "route", "status"]
        )
        self.messages = counter(
            "sleepstage_messages", "Messages, by what became of them", ["delivery"]
        )
        self.warnings = counter(
            "sleepstage_warnings",
            "Samples that senders were warned about, by kind of warning",
            ["kind"],
        )
        self.opened = counter("sleepstage_sessions_opened", "Sessions opened")
        self.epochs = counter("sleepstage_epochs", "Epochs told")
        self.work = seconds(
            "sleepstage_work_seconds", "Time of a step of work, with its turn to wait"
        )
        self.waiting = gauge("sleepstage_sessions_waiting", "Sessions whose work is under way")
        self.streams = gauge("sleepstage_streams", "Viewers and sockets that are connected")

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)
