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
    """Fill a template; text is escaped, and what the template names must be there.

    Parameters
    ----------
    package, template : str
        Where the template lies.
    content : mapping of str to object
        What it names; functions may be called, or used as filters.
    purpose, extra : str
        What the page is for, and the extra that installs Jinja for it.

    Raises
    ------
    MissingExtraError
        If Jinja is not installed.
    """
    with needs_extra(purpose, extra):
        from jinja2 import Environment, StrictUndefined
    source = files(package).joinpath(template).read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {name: one for name, one in content.items() if callable(one)}
    return environment.from_string(source).render(content)
