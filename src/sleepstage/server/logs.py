"""Log lines, as JSON for machines or as text for people."""

from __future__ import annotations

import logging
import threading
import traceback
from typing import TYPE_CHECKING, Final

from cachetools import TTLCache
from pythonjsonlogger.json import JsonFormatter

if TYPE_CHECKING:
    from typing import Any, Literal

__all__ = ["set_up_logs"]

_WINDOW: Final = 60  # s
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
