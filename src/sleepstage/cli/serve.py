"""sleepstage serve and token: the live service, and who may use it."""

import asyncio
import secrets
import socket
import threading
import webbrowser
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any, Final, TypeVar

import click

from sleepstage.cli.console import console, errors, table
from sleepstage.errors import DataError, needs_extra

_Result = TypeVar("_Result")
_EXTRAS: Final = "sleepstage[serve,score]"


@click.command(
    epilog="Each option can be given as SLEEPSTAGE_<NAME> in the environment, as "
    "SLEEPSTAGE_MAX_BODY; docs/service.md lists further ones."
)
@click.option("--host", help="Address to listen on; 127.0.0.1 by default.")
@click.option("--port", type=int, help="Port to listen on; 8000 by default.")
@click.option("--store", help="Where sessions are kept: a folder (~/.sleepstage), or redis://…")
@click.option("--model", help="Model for epochs as they end: live, or a file.")
@click.option("--night-model", help="Model for nights that are over: night, or a file.")
@click.option("--log", type=click.Choice(["text", "json"]), help="Form of log lines.")
@click.option("--public-url", help="Address of the page as people reach it, for the log.")
@click.option("--keep-days", type=float, help="Days after which a night is deleted; 30.")
def serve(**flags: Any) -> None:
    """Stage the nights of many watches as they happen, and show them on a page.

    Listens for apps that push (docs/service.md), Sensor Logger among them (docs/apple-watch.md).
    On another address than this machine's own it asks for tokens: sleepstage token.
    """
    with needs_extra("the server", "serve"):
        from sleepstage.server.app import serve as run
        from sleepstage.server.settings import read_settings
    run(read_settings(**flags))


def open_page() -> None:
    """Serve to this machine alone, with a token for this time only, and open the page there."""
    if not all(map(find_spec, ("fastapi", "joblib", "matplotlib"))):
        raise DataError(
            "the page needs more libraries; start it in one of these ways (sleepstage --help shows "
            f"what works without them):\n  uvx --from '{_EXTRAS}' sleepstage\n  pipx run --spec "
            f"'{_EXTRAS}' sleepstage\n  pip install '{_EXTRAS}'"
        )
    from sleepstage.server.app import serve as run
    from sleepstage.server.settings import read_settings

    host, secret = "127.0.0.1", secrets.token_urlsafe()
    port = _free_port(host, read_settings().port)
    page = f"http://{host}:{port}/#/token/{secret}"
    console.print(
        f"The page opens in your browser. If it does not, open this address there:\n  {page}\n"
        "Nothing that you give it leaves this computer. To stop it, press Ctrl+C."
    )
    # A browser in this terminal would keep the server waiting.
    browser = threading.Thread(target=webbrowser.open, args=(page,), daemon=True)
    run(read_settings(host=host, port=port, token=secret), browser.start)


def _free_port(host: str, wanted: int) -> int:
    with suppress(OSError), socket.create_server((host, wanted)):
        return wanted
    with socket.create_server((host, 0)) as free:
        return int(free.getsockname()[1])


@click.group()
def token() -> None:
    """Make, list and revoke the tokens of a server.

    A running server knows a new token at once, and forgets a revoked one within seconds.
    """


_store_option = click.option(
    "--store", help="The server's store: a folder (~/.sleepstage), or redis://…"
)


@token.command()
@click.argument("owner")
@click.option("--days", type=float, help="Until it expires; never if not given.")
@_store_option
def add(owner: str, days: float | None, store: str | None) -> None:
    """Make a token for OWNER, and print it: it can't be looked up later.

    One person may have several; all see the same sessions. Sessions that were opened without a
    token belong to the owner "local".
    """
    from sleepstage.server.auth import make_grant

    grant, secret = make_grant(owner, days=days)
    _with_store(store, lambda opened: opened.add_grant(grant))
    errors.print(f"token {grant.id} of {owner}, {_until(grant.expires)}; apps send it as")
    errors.print("Authorization: Bearer <token>")
    console.print(secret)


@token.command(name="list")
@_store_option
def list_(store: str | None) -> None:
    """List tokens, without their secrets."""
    grants = _with_store(store, lambda opened: opened.grants())
    rows = [[one.id, one.owner, _day(one.created), _until(one.expires)] for one in grants]
    table(f"{len(rows)} tokens", ["token", "owner", "made", "valid"], rows)


@token.command()
@click.argument("token_id")
@_store_option
def revoke(token_id: str, store: str | None) -> None:
    """Revoke the token that is listed as TOKEN_ID."""
    if not _with_store(store, lambda opened: opened.remove_grant(token_id)):
        raise DataError(f"there is no token {token_id}; see sleepstage token list")
    console.print(f"token {token_id} is revoked")


def _with_store(address: str | None, step: Callable[[Any], Awaitable[_Result]]) -> _Result:
    with needs_extra("the server", "serve"):
        from sleepstage.server.settings import read_settings
        from sleepstage.server.store import open_store

    async def run() -> _Result:
        async with aclosing(await open_store(read_settings(store=address).store)) as store:
            return await step(store)

    return asyncio.run(run())


def _day(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d")


def _until(time: float | None) -> str:
    return "for good" if time is None else f"until {_day(time)}"
