"""sleepstage serve: the live service."""

from __future__ import annotations

from typing import Any

import click

from sleepstage.errors import needs_extra

__all__ = ["serve"]


@click.command(
    epilog="Each option can be given as SLEEPSTAGE_<NAME> in the environment, as "
    "SLEEPSTAGE_MAX_BODY; docs/service.md lists further ones."
)
@click.option("--host", help="Address to listen on; 127.0.0.1 if not said otherwise.")
@click.option("--port", type=int, help="Port to listen on; 8000 if not said otherwise.")
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
        from sleepstage.service.server import serve as run
        from sleepstage.service.settings import read_settings
    run(read_settings(**flags))
