"""Log lines, as JSON for machines or as text for people."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pythonjsonlogger.json import JsonFormatter

if TYPE_CHECKING:
    from typing import Literal

__all__ = ["set_up_logs"]


def set_up_logs(form: Literal["json", "text"]) -> None:
    """Have everything logged to standard error; nothing in it tells who somebody is."""
    handler = logging.StreamHandler()
    fields = "%(asctime)s %(levelname)s %(name)s %(message)s"
    if form == "json":
        handler.setFormatter(JsonFormatter(fields, rename_fields={"asctime": "time"}))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    # It says of each WebSocket who came, and which session's address they asked for.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
