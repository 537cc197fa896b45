"""Epochs as they are emitted: server-sent events for viewers, a WebSocket for programs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Header, Request, WebSocket
from starlette.responses import StreamingResponse
from starlette.websockets import WebSocketDisconnect

from sleepstage.errors import DataError, SleepstageError
from sleepstage.server import problems, schemas
from sleepstage.server.message import Message, read_json
from sleepstage.server.middleware import read_aside
from sleepstage.server.problems import UnauthorizedError, UnknownSessionError
from sleepstage.server.routes import After, Given, Id, Seen, Service, only_owner, see

_NUMBER: Final = 8  # bytes that name a message, before its binary form
_GOING_AWAY: Final = 1001  # WebSocket close code
_LONGEST_ID: Final = 64

streams = APIRouter(prefix="/v1/sessions/{session_id}")


@streams.get(
    "/events",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
        **dict.fromkeys((401, 404, 422, 503), schemas.PROBLEM),
    },
)
async def events(
    request: Request,
    session: Seen,
    service: Given,
    after: After = 0,
    last_event_id: Annotated[int | None, Header(ge=0, le=10_000_000)] = None,
) -> StreamingResponse:
    """Epochs as server-sent events, from number `after` or that after `Last-Event-ID`.

    `session` describes the session, at first and when it is over; `epoch` has an epoch, with its
    number as id; `sleep`, just before the epoch that decided it, that somebody fell asleep or woke
    up, that REM began, or that the watch is not worn.
    """
    await service.nights.session(session)
    service.streams.check()
    first = after if last_event_id is None else last_event_id + 1
    return StreamingResponse(
        _events(service, request, session, first), media_type="text/event-stream"
    )


async def _follow(
    service: Service, viewer: Request | WebSocket, session_id: str, after: int
) -> AsyncIterator[dict[str, Any] | None]:
    """Messages about a session; `UnauthorizedError` once the viewer's token or link is revoked."""
    async for item in service.nights.follow(session_id, after=after):
        await service.access.authenticate(viewer)
        yield item


async def _events(
    service: Service, viewer: Request, session_id: str, after: int
) -> AsyncIterator[bytes]:
    with service.streams.open():
        try:
            async for item in _follow(service, viewer, session_id, after):
                if item is None:
                    yield b": still here\n\n"
                    continue
                name = b"id: %d\n" % item.pop("number") if "number" in item else b""
                ((kind, content),) = item.items()
                data = orjson.dumps(content)
                yield b"event: %b\n%bdata: %b\n\n" % (kind.encode(), name, data)
        except SleepstageError:  # deleted, revoked, no store: whoever comes back gets an error
            return


@streams.websocket("/stream")
async def stream(socket: WebSocket, session_id: Id, after: After = 0) -> None:
    """Messages in, acknowledgements and epochs out, on one connection.

    In: JSON as for a message, with its name as ``id``; or binary: the name as uint64, the binary
    form after it. Out, as JSON: ``{"id", "repeated", "warnings"}`` or ``{"id", "problem"}`` for
    each message, ``{"number", "epoch"}`` for each epoch, ``{"sleep"}`` for each event just before
    the epoch that decided it, ``{"session"}`` at first and in the end.
    """
    service: Service = socket.app.state.service
    try:
        await see(service, await service.access.authenticate(socket), session_id)
        service.streams.check()
    except problems.REFUSED as error:
        await socket.send_denial_response(problems.answer(error))
        return
    await socket.accept()
    with service.streams.open():
        async with asyncio.TaskGroup() as group:
            sender = group.create_task(_send_all(socket, service, session_id, after))
            await _listen(socket, service, session_id)
            sender.cancel()


async def _send_all(socket: WebSocket, service: Service, session_id: str, after: int) -> None:
    with suppress(SleepstageError):  # deleted, revoked, no store: whoever comes back gets an error
        async for item in _follow(service, socket, session_id, after):
            if item is not None:
                await _send(socket, item)
    await _leave(socket)


async def _leave(socket: WebSocket) -> None:
    with suppress(RuntimeError, WebSocketDisconnect):  # they were faster
        await socket.close(_GOING_AWAY)


async def _listen(socket: WebSocket, service: Service, session_id: str) -> None:
    while True:
        received = await socket.receive()
        if received["type"] == "websocket.disconnect":
            return
        body = received.get("bytes") or (received.get("text") or "").encode()
        message_id = None
        try:
            only_owner(await service.access.authenticate(socket))
            read = _read_json if received.get("bytes") is None else _read_bytes
            message_id, message = await read_aside(read, body, service.settings.max_samples)
            service.rate.take(session_id)
            receipt = await service.nights.push(session_id, message_id, message)
            await _send(socket, {"id": message_id, **receipt.answer})
        except (UnauthorizedError, UnknownSessionError):  # revoked, deleted: no way back
            await _leave(socket)
            return
        except problems.REFUSED as error:
            await _send(socket, {"id": message_id, "problem": problems.describe(error)})


def _read_bytes(body: bytes, limit: int) -> tuple[str, Message]:
    if len(body) <= _NUMBER:
        raise DataError(f"{len(body)} bytes: expected a number of {_NUMBER} bytes, and samples")
    number = int.from_bytes(body[:_NUMBER], "little")
    return str(number), Message.from_bytes(body[_NUMBER:], limit)


def _read_json(body: bytes, limit: int) -> tuple[str, Message]:
    content = read_json(body)
    name = content.pop("id", None) if isinstance(content, dict) else None
    if not isinstance(name, str | int) or not 0 < len(str(name)) <= _LONGEST_ID:
        raise DataError(f"expected an object with an id, of 1 to {_LONGEST_ID} characters")
    return str(name), Message.from_object(content, limit)


async def _send(socket: WebSocket, content: dict[str, Any]) -> None:
    with suppress(RuntimeError, WebSocketDisconnect):  # nobody is there any more
        await socket.send_text(orjson.dumps(content).decode())
