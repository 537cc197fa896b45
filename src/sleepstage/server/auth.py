"""Who may do what: tokens of people, and links that show one session."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from cachetools import TTLCache

from sleepstage.errors import DataError
from sleepstage.server.problems import UnauthorizedError
from sleepstage.server.records import Grant
from sleepstage.server.settings import is_loopback
from sleepstage.server.store import Store

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

# So long a server goes by what it has read: a revoked token works that long at most.
_TRUST_SECONDS: Final = 5.0
_LOCAL: Final = Grant(id="", digest="", owner="local", created=0.0)  # of who needs no token
_SECRET_BYTES: Final = 32
_LONGEST_SECRET: Final = 200
_LONGEST_OWNER: Final = 100
_COOKIE: Final = "sleepstage-token"
_DAY: Final = 24 * 3600
_UNKNOWN: Final = "this token is unknown, expired or revoked"
_PROXY_HEADERS: Final = {"forwarded", "via", "x-real-ip"}


class Authenticator:
    """Authenticates requests by the secrets that they carry, of which `store` has the grants.

    With `loopback`, only this machine can reach the server: as long as there has never been a
    token, whoever comes without a proxy is let in. `token` is one that is not in the store, of the
    owner ``local``.
    """

    def __init__(self, store: Store, *, loopback: bool, token: str = "") -> None:
        self._store = store
        self._digest = _digest(token) if token else ""
        self._loopback = loopback
        self._clock: Callable[[], float] = time.time  # Unix seconds
        self._grants: TTLCache[str, Grant] = TTLCache(100_000, _TRUST_SECONDS)
        self._open: TTLCache[str, bool] = TTLCache(1, _TRUST_SECONDS)

    async def authenticate(self, connection: HTTPConnection) -> Grant:
        """Authenticate whoever asks, by the headers of a request or a WebSocket.

        Raises `UnauthorizedError` if a secret is unknown or expired, or needed and not there.
        """
        reads = connection.scope.get("method") == "GET"
        cookie = connection.cookies.get(_COOKIE) if reads else None  # the browser follows a link
        given = f"Bearer {cookie}" if cookie else None
        authorization = connection.headers.get("authorization", given)
        if authorization is None:
            proxied = _proxied(connection)
            # A page elsewhere can lead a browser here by a name of its own, but not as localhost.
            local = _is_local(connection.headers.get("host"))
            if self._loopback and local and not proxied and await self._is_open():
                return _LOCAL
            why = f" for what comes through a proxy ({proxied})" if proxied else ""
            raise UnauthorizedError(
                f"a token is needed{why}: Authorization: Bearer <token>; sleepstage token add "
                "makes one"
            )
        kind, _, secret = authorization.partition(" ")
        grant = await self._grant(secret.strip()) if kind.lower() == "bearer" else None
        if grant is None or (grant.expires is not None and grant.expires <= self._clock()):
            raise UnauthorizedError(_UNKNOWN)
        return grant

    async def add_link(self, link: Grant) -> None:
        """Store a link, unless the token that it is made with was revoked.

        Raises `UnauthorizedError` if it was, while it was still trusted here.
        """
        await self._store.add_grant(link)
        # Revoked from now on, the token takes the link along; what came before is seen here.
        known = {None, *(token.id for token in await self._store.grants())}
        if link.token not in known:
            await self._store.remove_grant(link.id)
            raise UnauthorizedError(_UNKNOWN)

    async def _grant(self, secret: str) -> Grant | None:
        if not 0 < len(secret) <= _LONGEST_SECRET:
            return None
        digest = _digest(secret)
        if digest == self._digest:
            return _LOCAL
        known: Grant | None = self._grants.get(digest)
        if known is None:
            known = await self._store.grant(digest)
            if known is not None:
                self._grants[digest] = known
        return known

    async def _is_open(self) -> bool:
        if self._digest:
            return False
        known: bool | None = self._open.get("open")
        if known is None:
            known = self._open["open"] = not await self._store.guarded()
        return known


def make_grant(
    owner: str,
    *,
    session: str | None = None,
    days: float | None = None,
    now: float | None = None,
    token: Grant = _LOCAL,
) -> tuple[Grant, str]:
    """Make a token of an owner, or a link to one `session`, which does not outlive its `token`.

    It expires after so many `days` from `now` (Unix seconds); never by default. The grant is to be
    stored, and the secret handed over, once: nobody can look it up later. Raises `DataError` if
    the owner has no proper name, or `days` is no positive number.
    """
    if not (owner.isprintable() and owner.strip() == owner and 0 < len(owner) <= _LONGEST_OWNER):
        msg = f"owner {owner[:40]!r}: expected 1 to {_LONGEST_OWNER} printable characters"
        raise DataError(msg)
    if days is not None and not 0 < days <= 36_500:
        raise DataError(f"days={days}: expected more than 0 and at most 36500")
    now = time.time() if now is None else now
    ends = [now + days * _DAY] if days is not None else []
    if token.expires is not None:
        ends.append(token.expires)
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    grant = Grant(
        id=secrets.token_hex(4),
        digest=_digest(secret),
        owner=owner,
        session=session,
        token=token.id or None,
        created=now,
        expires=min(ends, default=None),
    )
    return grant, secret


def _digest(secret: str) -> str:
    # Secrets are 256 random bits: nothing slower is needed to keep them from being guessed.
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _proxied(connection: HTTPConnection) -> str | None:
    """Give the sign that a proxy has passed this on; some older ones leave HTTP/1.0 only."""
    name: str
    for name in connection.headers:
        if name in _PROXY_HEADERS or name.startswith("x-forwarded-"):
            return name
    version = connection.scope.get("http_version", "1.1")
    return None if version == "1.1" else f"HTTP/{version}"


def _is_local(host: str | None) -> bool:
    return is_loopback(re.sub(r":\d*$", "", host or "").strip("[]"))
