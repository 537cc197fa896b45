"""Where sessions are kept: SQLite in a folder, or Redis by address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sleepstage.server.store.contract import Store

__all__ = ["open_store"]

_REDIS: Final = ("redis://", "rediss://", "unix://")


async def open_store(address: str) -> Store:
    """Open the store at an address, which makes it if it is a new folder.

    Parameters
    ----------
    address : str
        ``redis://host:6379/0``, ``rediss://`` for TLS or ``unix:///path/of/socket``; anything else
        is a folder, in which ``sessions.sqlite`` is kept.

    Raises
    ------
    StoreError
        If the address is wrong, nobody answers, or the folder can't be written to.
    """
    # Each is imported where it is used: a server needs one of them.
    if address.startswith(_REDIS):
        from sleepstage.server.store.redis import RedisStore

        return await RedisStore.open(address)
    from sleepstage.server.store.sqlite import SqliteStore

    return await SqliteStore.open(address)
