"""HTML pages from templates that lie beside the modules that fill them."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

from sleepstage.errors import needs_extra

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["render"]


def render(
    package: str, template: str, content: Mapping[str, Any], *, purpose: str, extra: str
) -> str:
    """Fill a template of a package; text is escaped, and all that it names must be in `content`.

    Functions in `content` may be called, or used as filters.

    Raises
    ------
    MissingExtraError
        If Jinja is not installed: names the `purpose` of the page, and the `extra` to install.
    """
    with needs_extra(purpose, extra):
        from jinja2 import Environment, StrictUndefined
    source = files(package).joinpath(template).read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {name: one for name, one in content.items() if callable(one)}
    return environment.from_string(source).render(content)
