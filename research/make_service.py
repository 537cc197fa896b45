"""Write the table of settings in docs/service.md: ``make docs``."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic_core import PydanticUndefined

from research import DOCS
from sleepstage.server.settings import Settings

PAGE = DOCS / "service.md"
MARKER = re.compile(r"(<!-- settings -->\n).*?(<!-- /settings -->)", re.DOTALL)
HOME = str(Path.home())


def table() -> str:
    """Each setting with its default and what it is."""
    rows = ["| | | |", "|---|--:|---|"]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        shown = "" if default in (PydanticUndefined, "") else str(default).replace(HOME, "~")
        rows.append(f"| `{name}` | {shown} | {field.description} |")
    return "\n".join(rows) + "\n"


def page() -> str:
    """The document with the table in it."""
    return MARKER.sub(rf"\g<1>{table()}\g<2>", PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
