"""Dataclasses as plain JSON values, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, Final, get_args, get_origin, get_type_hints

FLAT: Final[Mapping[str, bool]] = {"flat": True}
"""Metadata of a field, a mapping or a dataclass, whose keys stand among those of its owner."""


def encode(value: Any) -> Any:
    """Mappings, lists and scalars; an optional field that is left at None has no key."""
    if is_dataclass(value):
        found: dict[str, Any] = {}
        for field in fields(value):
            content = getattr(value, field.name)
            if content is not None or field.default is not None:
                found |= encode(content) if field.metadata else {field.name: encode(content)}
        return found
    if isinstance(value, Mapping):
        return {key: encode(one) for key, one in value.items()}
    return [encode(one) for one in value] if isinstance(value, list | tuple) else value


def decode(kind: Any, content: Any) -> Any:
    """Value of a type from what `encode` made of it.

    Parameters
    ----------
    kind : type
        A dataclass, or a dict, list, tuple or optional of what can be decoded; else `content` is
        taken as it is.
    content
        As `json.loads` returns it. Keys that the type does not know are ignored.

    Raises
    ------
    TypeError, AttributeError
        If a key is missing, or a value has another shape.
    """
    if is_dataclass(kind):
        types, rest = get_type_hints(kind), dict(content)
        flat = [field.name for field in fields(kind) if field.metadata]
        named = [field.name for field in fields(kind) if field.name in rest]
        values = {name: decode(types[name], rest.pop(name)) for name in named if name not in flat}
        return kind(**values, **{name: decode(types[name], rest) for name in flat})  # type: ignore[operator]
    origin, parts = get_origin(kind), get_args(kind)
    if origin is dict:
        return {key: decode(parts[1], one) for key, one in content.items()}
    if origin in {list, tuple}:
        return origin(decode(parts[0], one) for one in content)
    if origin is UnionType:
        return None if content is None else decode(parts[0], content)
    return content
