"""The HTTP interface to sessions: each route authenticates, and passes on to `SessionService`."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from sleepstage.server import schemas
from sleepstage.server.admission import describe_warnings, is_ahead
from sleepstage.server.auth import Authenticator, make_grant
from sleepstage.server.message import Message
from sleepstage.server.middleware import Rate, Slots, read_aside, read_body
from sleepstage.server.problems import UnknownSessionError
from sleepstage.server.records import Grant, SessionRecord, ShownGrant
from sleepstage.server.sensor_logger import Push, read_push
from sleepstage.server.sessions import SessionService
from sleepstage.server.settings import Settings

_LISTED: Final = 1000
BINARY: Final = "application/octet-stream"


@dataclass(frozen=True)
class Service:
    """What the routes work with."""

    nights: SessionService
    access: Authenticator
    settings: Settings
    rate: Rate
    requests: Slots
    streams: Slots


# All of them are asynchronous: FastAPI calls others in a thread, which costs more than they do.


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _visitor(request: Request) -> Grant:
    known: Grant | None = request.scope.get("visitor")
    return known or await (await _service(request)).access.authenticate(request)


async def _owner(request: Request) -> Grant:
    return only_owner(await _visitor(request))


def only_owner(visitor: Grant) -> Grant:
    """Give the visitor; raise `HTTPException` if they came by a link: those only look."""
    if visitor.session is not None:
        raise HTTPException(403, "a link is to look at its session only")
    return visitor


async def see(service: Service, visitor: Grant, session_id: str) -> str:
    """Give the id of a session that the visitor may see; to others it does not exist."""
    if not visitor.may_see(await service.nights.known(session_id)):
        raise UnknownSessionError(session_id)
    return session_id


Id = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[\w-]+$")]


async def _seen(request: Request, session_id: Id) -> str:
    return await see(await _service(request), await _visitor(request), session_id)


async def _own(request: Request, session_id: Id) -> str:
    return await see(await _service(request), await _owner(request), session_id)


AnyVisitor = Annotated[Grant, Depends(_visitor)]
Owner = Annotated[Grant, Depends(_owner)]
Given = Annotated[Service, Depends(_service)]
Seen = Annotated[str, Depends(_seen)]
Own = Annotated[str, Depends(_own)]
MessageId = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[\w.:-]+$")]
After = Annotated[int, Query(ge=0, le=10_000_000, description="Number of the first epoch to give.")]

_CODES: Final = (401, 403, 404, 408, 409, 413, 422, 429, 503)
api = APIRouter(prefix="/v1", responses=dict.fromkeys(_CODES, schemas.PROBLEM))


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


@api.get("/me", response_model=schemas.VisitorOut)
async def show_visitor(visitor: AnyVisitor) -> Response:
    """Who you are to this server."""
    return _json({"owner": visitor.owner, "session": visitor.session})


@api.post("/sessions", status_code=201, response_model=schemas.SessionOut)
async def open_session(given: schemas.SessionIn, visitor: Owner, service: Given) -> Response:
    """Open a session of one person: a night, or as many days and nights as a watch is worn."""
    record = await service.nights.open(visitor.owner, **given.model_dump())
    return _json(schemas.describe_session(record), 201)


@api.get("/sessions", response_model=schemas.SessionsOut)
async def list_sessions(visitor: AnyVisitor, service: Given) -> Response:
    """Your sessions, newest first, with the nights that were found in them (`watch`)."""
    if visitor.session is not None:
        records = [await service.nights.session(visitor.session)]
    else:
        records = await service.nights.store.sessions(visitor.owner, limit=_LISTED)
    return _json({"sessions": [schemas.describe_session(one) for one in records]})


@api.delete("/sessions", status_code=204)
async def forget_everything(visitor: Owner, service: Given) -> Response:
    """Delete all your sessions and everything measured."""
    while records := await service.nights.store.sessions(visitor.owner, limit=_LISTED):
        for record in records:
            with suppress(UnknownSessionError):  # somebody was faster
                await service.nights.delete(record.id)
    await service.nights.erasing.wait()
    return Response(status_code=204)


@api.get("/sessions/{session_id}", response_model=schemas.SessionOut)
async def show_session(session: Seen, service: Given) -> Response:
    """Show a session as it is now."""
    return _json(schemas.describe_session(await service.nights.session(session)))


@api.delete("/sessions/{session_id}", status_code=204)
async def delete_session(session: Own, service: Given) -> Response:
    """Delete a session, everything measured in it, and the nights that were found in it."""
    await service.nights.delete(session)
    await service.nights.erasing.wait()
    return Response(status_code=204)


@api.put(
    "/sessions/{session_id}/messages/{message_id}",
    status_code=201,
    response_model=schemas.PushOut,
    responses={
        200: {"model": schemas.PushOut, "description": "It had come before"},
        415: schemas.PROBLEM,
    },
    openapi_extra=schemas.MESSAGE_BODY,
)
async def push(session: Own, message_id: MessageId, request: Request, service: Given) -> Response:
    """Push samples. Once this is answered they are stored; the same message again changes nothing.

    A message has any of the signals, in any order, and may be packed with gzip. Each has an id of
    your choice: with another content, a known id is refused. Samples that can never count are
    dropped, and `warnings` reports them.
    """
    service.rate.take(session)
    binary = request.headers.get("content-type", "").startswith(BINARY)
    body = await read_body(request, service.settings)
    read = Message.from_bytes if binary else Message.from_json
    message = await read_aside(read, body, service.settings.max_samples)
    receipt = await service.nights.push(session, message_id, message)
    return _json(receipt.answer, 200 if receipt.repeated else 201)


@api.get("/sessions/{session_id}/hypnogram", response_model=schemas.HypnogramOut)
async def show_hypnogram(session: Seen, service: Given, after: After = 0) -> Response:
    """Give the night so far: all epochs that follow from what was acknowledged.

    A session that goes on for days keeps its last two or three.
    """
    return _json(await service.nights.hypnogram(session, after=after))


@api.post("/sessions/{session_id}/close", response_model=schemas.HypnogramOut)
async def close_session(session: Own, service: Given) -> Response:
    """End the night: its last epochs, and the whole night staged at once, with its statistics."""
    await service.nights.close(session)
    return _json(await service.nights.hypnogram(session))


@api.post("/sessions/{session_id}/links", status_code=201, response_model=schemas.LinkOut)
async def make_link(
    session: Own, given: schemas.LinkIn, visitor: Owner, service: Given
) -> Response:
    """Make a link that shows this session to whoever has it, and lets nobody change it."""
    await service.nights.session(session)
    now = service.nights.clock()
    grant, secret = make_grant(
        visitor.owner, session=session, days=given.days, now=now, token=visitor
    )
    await service.access.add_link(grant)
    page = f"/#/sessions/{session}/{secret}"
    described = {"secret": secret, "session": session, "page": page}
    return _json({**schemas.shown(grant, ShownGrant), **described}, 201)


@api.get("/sessions/{session_id}/links", response_model=schemas.LinksOut)
async def list_links(session: Own, service: Given) -> Response:
    """Links to this session, without their secrets."""
    await service.nights.session(session)
    grants = await service.nights.store.grants(session_id=session)
    return _json({"links": [schemas.shown(one, ShownGrant) for one in grants]})


@api.delete("/sessions/{session_id}/links/{link_id}", status_code=204)
async def revoke_link(session: Own, link_id: Id, service: Given) -> Response:
    """Revoke a link; within seconds it shows nothing."""
    if link_id not in [one.id for one in await service.nights.store.grants(session_id=session)]:
        raise UnknownSessionError(link_id)
    await service.nights.store.remove_grant(link_id)
    return Response(status_code=204)


@api.post(
    "/sensor-logger",
    response_model=schemas.SensorLoggerOut,
    responses={415: schemas.PROBLEM},
    openapi_extra=schemas.SENSOR_LOGGER_BODY,
)
async def push_from_sensor_logger(request: Request, visitor: Owner, service: Given) -> Response:
    """Take what the app Sensor Logger pushes; a recording's session opens by itself."""
    nights, limit = service.nights, service.settings.max_samples
    given = await read_aside(read_push, await read_body(request, service.settings), limit)
    message = given.message
    count = message.n_samples
    if is_ahead(message, nights.clock()):  # so it is, too, where there are no samples
        warnings = describe_warnings({"ahead": count, "unusable": count} if count else {})
        nights.count(warnings)
        nothing = {"session": None, "page": None, "stored": 0, "repeated": False}
        return _json({**nothing, "ignored": given.n_ignored + count, "warnings": warnings})
    record = await _session_of(service, visitor, given)
    service.rate.take(record.id)
    # The app counts its messages, and can't do anything about a number that has been used.
    message_id = f"{given.message_id}.{message.digest.hex()}"
    receipt = await nights.push(record.id, message_id, message)
    n_stored, n_new = (0, 0) if receipt.repeated else (receipt.message.n_samples, count)
    counts = {"stored": n_stored, "ignored": given.n_ignored + n_new - n_stored}
    page = f"/#/sessions/{record.id}"
    return _json({"session": record.id, "page": page, **counts, **receipt.answer})


async def _session_of(service: Service, visitor: Grant, given: Push) -> SessionRecord:
    """Give the session of a recording; it is named by whose it is, so that no server need ask."""
    named = orjson.dumps([visitor.owner, given.device, given.session])
    session_id = hashlib.sha256(named).hexdigest()[:32]
    try:
        return await service.nights.known(session_id)
    except UnknownSessionError:
        return await service.nights.open(
            visitor.owner,
            session_id=session_id,
            label=f"Sensor Logger {given.device[:8]}".strip(),
            source="sensor-logger",
            lateness=service.settings.sensor_logger_lateness,
        )
