"""Nights under way: messages are stored, worked off, and closed. All state is in the store.

A message is stored before anything is made of it. Work is done when a sample is new enough for an
epoch to end, by whichever server heard it, or by another one that finds it undone: each step takes
the session as it is, and is written only if nobody was faster.
"""

import asyncio
import math
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final

from cachetools import LRUCache

from sleepstage.core.recording import LONGEST_NIGHT
from sleepstage.engine.session import LONGEST_SILENCE
from sleepstage.errors import DataError, StoreError
from sleepstage.server import records
from sleepstage.server.admission import Receipt, admit, confirm
from sleepstage.server.background import Changes, Erasing, Failing
from sleepstage.server.message import Message
from sleepstage.server.monitoring import Metrics
from sleepstage.server.problems import OverError, UnknownSessionError
from sleepstage.server.records import Advance, Backlog, Incoming, SessionRecord
from sleepstage.server.schemas import describe_session
from sleepstage.server.settings import Settings
from sleepstage.server.store import Store
from sleepstage.server.workers import Workers

_TRIES: Final = 20  # of a step of work while other servers are faster
_LIFE_SECONDS: Final = 15.0


class SessionService:
    """All that is done to sessions, for the HTTP interface and for `Upkeep`."""

    def __init__(
        self, store: Store, workers: Workers, settings: Settings, metrics: Metrics
    ) -> None:
        self.store = store
        self._workers = workers
        self.clock: Callable[[], float] = time.time  # Unix seconds
        self.changes = Changes(store)
        self.failing = Failing()
        self.erasing = Erasing(store)
        self._settings = settings
        self._metrics = metrics
        self._known: LRUCache[str, SessionRecord] = LRUCache(maxsize=100_000)
        self._under_way: dict[str, asyncio.Task[None]] = {}
        metrics.waiting.set_function(lambda: len(self._under_way))

    async def open(
        self, owner: str, *, session_id: str = "", start: float | None = None, **details: Any
    ) -> SessionRecord:
        """Begin a session, or give the one that has this id.

        Raises `DataError` if it starts further ahead than a night is long, as nothing sent until
        then would count; `OverError` if the owner has as many open sessions as are allowed.
        """
        if await self.store.count_open(owner) >= self._settings.max_open:
            raise OverError(f"{self._settings.max_open} sessions are open; close or delete some")
        now = self.clock()
        if start is not None and start > now + LONGEST_NIGHT:
            raise DataError(
                f"start={start:.10g} s is over a day ahead of the server's clock, {now:.10g} s; "
                "give Unix time in seconds"
            )
        session_id = session_id or secrets.token_urlsafe(16)
        record = SessionRecord(
            id=session_id, owner=owner, created=now, heard=now, start=start, **details
        )
        if await self.store.open_session(record):
            self._metrics.opened.inc()
            return record
        return await self.session(session_id)

    async def session(self, session_id: str) -> SessionRecord:
        """Give a session as it is now. Raises `UnknownSessionError` if there is none."""
        return self._seen(session_id, await self.store.session(session_id))

    def _seen(self, session_id: str, record: SessionRecord | None) -> SessionRecord:
        if record is None:
            self._known.pop(session_id, None)
            raise UnknownSessionError(session_id)
        self._known[session_id] = record
        return record

    async def known(self, session_id: str) -> SessionRecord:
        """Give a session as it was when it was last seen here; its owner never changes."""
        known: SessionRecord | None = self._known.get(session_id)
        return known or await self.session(session_id)

    async def push(self, session_id: str, message_id: str, message: Message) -> Receipt:
        """Store of a message what can count.

        Raises `DataError` if it has no samples, or none that can belong to this night; `OverError`
        if the night is over, or the session has had another message with this id;
        `UnknownSessionError` if there is no such session.
        """
        if not message.n_samples:
            raise DataError("no samples; give some of heart_rate, motion, steps")
        before = await self._current(session_id, message)
        now = self.clock()
        receipt = admit(before, message, now=now)
        kept = receipt.message
        span = (kept.oldest, kept.newest) if kept.n_samples else None
        body, counts = kept.to_bytes(), receipt.counts
        incoming = Incoming(message_id, body, message.digest, span, now, counts)
        delivery, found = await self.store.add_message(session_id, incoming)
        record = self._seen(session_id, found)
        self._metrics.messages.labels(delivery.value).inc()
        receipt = confirm(delivery, record, message_id, receipt)
        self.count(receipt.warnings)
        if record.is_due and not self.failing.rests(session_id):
            self.start(session_id)
        return receipt

    def count(self, warnings: list[dict[str, Any]]) -> None:
        """Count what a sender is warned about."""
        for warning in warnings:
            self._metrics.warnings.labels(warning["kind"]).inc(warning["count"])

    async def _current(self, session_id: str, message: Message) -> SessionRecord:
        """Give a session as it is now; read again only if samples do not just continue it."""
        known = await self.known(session_id)
        newest = math.inf if known.newest is None else known.newest
        goes_on = newest <= message.oldest and message.newest < newest + LONGEST_SILENCE
        return known if goes_on else await self.session(session_id)

    async def hypnogram(self, session_id: str, *, after: int = 0) -> dict[str, Any]:
        """Give what is kept of the night so far, with all in it that was acknowledged."""
        for _ in range(2):  # work that is under way may have begun before the last message came
            if (await self.session(session_id)).is_due:
                await asyncio.shield(self.start(session_id))
        record = await self.session(session_id)
        epochs = await self.store.epochs(session_id) if record.n_epochs else []
        kept = records.number_of(record, epochs[0]) if epochs else record.n_epochs
        first = min(max(after, kept), kept + len(epochs))
        events = [event for epoch in epochs for event in epoch.pop("events", [])]
        result = await self.store.result(session_id) if record.closed else None
        problem = (result or {}).pop("problem", None)
        return {
            "session": describe_session(record),
            "first": first,
            "epochs": epochs[first - kept :],
            "events": events,
            "statistics": records.describe_statistics(epochs, self._workers.models.live.scheme),
            "night": result or None,
            "problem": problem,
        }

    async def follow(self, session_id: str, *, after: int) -> AsyncIterator[dict[str, Any] | None]:
        """The ``session``, then each ``epoch`` from ``number`` `after` on as it is emitted.

        What happened to the sleeper (``sleep``) comes just before the epoch that decided it: who is
        cut off between them gets both when they go on from the epochs that they have. Now and then
        None, as a sign of life. Ends with the session once more when the night is over, or when
        the server stops.
        """
        record = await self.session(session_id)
        yield {"session": describe_session(record)}
        while not self.changes.stopped:
            # Those that have come since are seen next time: their session has a start by then.
            epochs = await self.store.epochs(session_id, after=after) if record.n_epochs else []
            for epoch in epochs:
                for event in epoch.pop("events", []):
                    yield {"sleep": event}
                after = records.number_of(record, epoch) + 1
                yield {"number": after - 1, "epoch": epoch}
            if record.closed:
                yield {"session": describe_session(record)}
                return
            await self.changes.wait(session_id, record.version, seconds=_LIFE_SECONDS)
            before, record = record, await self.session(session_id)
            if record.version == before.version:
                yield None

    async def close(self, session_id: str, *, silent_since: float | None = None) -> None:
        """End a night: emit its last epochs, and stage it as a whole. Again, it changes nothing.

        With `silent_since`, only if it was last heard before that time; it then opens again when
        more samples come. Raises `SnapshotMismatchError` if it was begun with another model, and
        `UnknownSessionError` if there is no such session.
        """
        final = silent_since is None

        async def last_step(backlog: Backlog) -> Advance | None:
            record = backlog.record
            if record.closed and not (final and record.reopens):
                return None
            # Heard meanwhile, it would no longer wait for samples that are out of order.
            if silent_since is not None and record.heard >= silent_since:
                return None
            if record.closed:
                record = replace(record, reopens=False, version=record.version + 1)
                return Advance(record, None, -1, result=await self.store.result(session_id))
            if record.untidy:
                return await self._step(backlog)
            samples = await self.store.samples(session_id)
            return await self._workers.close(backlog, samples, final=final)

        await self._work(session_id, last_step)

    async def delete(self, session_id: str, *, heard_before: float | None = None) -> None:
        """Remove all that is known of a session; `erasing` takes it off the disk.

        Raises `UnknownSessionError` if there is no such session, or it was last heard at
        `heard_before` or later.
        """
        self._known.pop(session_id, None)
        if not await self.store.delete_session(session_id, heard_before=heard_before):
            raise UnknownSessionError(session_id)
        self.failing.forget(session_id)
        self.erasing.ask()
        self.changes.notify(session_id)

    def start(self, session_id: str) -> asyncio.Task[None]:
        """Have a session worked off, if that is not under way."""
        task = self._under_way.get(session_id)
        if task is None:
            task = asyncio.create_task(self._advance(session_id))
            self._under_way[session_id] = task
            task.add_done_callback(partial(self._done, session_id))
        return task

    def _done(self, session_id: str, task: asyncio.Task[None]) -> None:
        self._under_way.pop(session_id, None)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.failing.add(session_id, error)
        else:
            self.failing.forget(session_id)

    async def _advance(self, session_id: str) -> None:
        async def next_step(backlog: Backlog) -> Advance | None:
            return await self._step(backlog) if backlog.record.is_due else None

        with suppress(UnknownSessionError):
            await self._work(session_id, next_step)

    async def _work(
        self, session_id: str, choose: Callable[[Backlog], Awaitable[Advance | None]]
    ) -> None:
        """Do steps until there is none, or one is written after which nothing is to be tidied."""
        for _ in range(_TRIES):
            backlog = await self.store.backlog(session_id)
            if backlog is None:
                raise UnknownSessionError(session_id)
            with self._metrics.work.time():
                step = await choose(backlog)
            if step is None:
                return
            if await self.store.commit(backlog.record.version, step):
                self._metrics.epochs.inc(len(step.epochs))
                self.changes.notify(session_id)
                if not (backlog.record.untidy or step.record.untidy):
                    return
        raise StoreError("other servers work on this session all the time; try again")

    async def _step(self, backlog: Backlog) -> Advance:
        """Emit epochs; before that, make nights of the sleep that is over."""
        session_id = backlog.record.id
        if not backlog.record.untidy:
            return await self._workers.advance(backlog)
        epochs, samples = await self.store.epochs(session_id), await self.store.samples(session_id)
        nights, step = await self._workers.divide(backlog, epochs, samples)
        for night in nights:
            # Takes this one step only: who does it again after a crash finds it done.
            await self.store.open_session(replace(night.record, reopens=True, version=0))
            await self.store.commit(0, night)
        return step

    async def aclose(self) -> None:
        """Finish what is under way."""
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)
        await self.erasing.aclose()
