"""A state as bytes and back: versioned, checked, and without pickle."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from sleepstage.errors import SnapshotError, SnapshotMismatchError

_FORMAT: Final = 3  # raised when a state changes its fields or their meaning
_LEVEL: Final = 1  # of compression: more costs time and gains nothing on floats
State = TypeVar("State")


def pack(state: object, belongs_to: str) -> bytes:
    """Write arrays and numbers, and dataclasses, dicts and tuples of such, as bytes.

    They can only be unpacked with the same `belongs_to`, the digest of a model.
    """
    arrays = _flatten(state, "")
    header = {
        "format": _FORMAT,
        "belongs_to": belongs_to,
        "arrays": {name: [one.dtype.str, one.shape] for name, one in arrays.items()},
    }
    values = b"".join(one.tobytes() for one in arrays.values())
    # zlib ends with a checksum: what is cut short or changed is found out.
    return zlib.compress(json.dumps(header).encode() + b"\n" + values, _LEVEL)


def unpack(content: bytes, like: State, belongs_to: str) -> State:
    """Read what `pack` wrote: a state with the fields and array types of the one it is `like`.

    What else was packed beside it is left out. Raises `SnapshotError` if the content is damaged,
    `SnapshotMismatchError` if it is of another version or belongs to something else.
    """
    try:
        version, owner, arrays = _open(content)
    except (zlib.error, AttributeError, KeyError, TypeError, ValueError) as error:
        msg = "this is no snapshot of a session, or it is damaged or cut short"
        raise SnapshotError(msg) from error
    if version != _FORMAT:
        msg = f"a snapshot of format {version}; this version of sleepstage reads format {_FORMAT}"
        raise SnapshotMismatchError(msg)
    if owner != belongs_to:
        raise SnapshotMismatchError(
            f"the snapshot was taken with another model ({str(owner)[:12]}) than this one "
            f"({belongs_to[:12]}): load that model file to go on"
        )
    state: State = _rebuild(like, arrays, "")
    return state


def _open(content: bytes) -> tuple[int, str, dict[str, NDArray[Any]]]:
    """Format, owner and arrays; no arrays of a format that this version does not know."""
    text, _, values = zlib.decompress(content).partition(b"\n")
    header = json.loads(text)
    described = header["arrays"] if header["format"] == _FORMAT else {}
    arrays, begin = {}, 0
    for name, (kind, shape) in described.items():
        count = int(np.prod(shape))
        found = np.frombuffer(values, np.dtype(kind), count, begin)
        arrays[name] = found.reshape(shape).copy()  # a view of bytes can't be written to
        begin += found.nbytes
    return header["format"], header["belongs_to"], arrays


def _flatten(value: Any, name: str) -> dict[str, NDArray[Any]]:
    if is_dataclass(value) or isinstance(value, tuple | dict):
        return {
            path: array
            for part, one in _parts(value)
            for path, array in _flatten(one, f"{name}{part}.").items()
        }
    return {name.removesuffix("."): np.asarray(value)}


def _parts(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, tuple):
        return [(str(number), one) for number, one in enumerate(value)]
    if isinstance(value, dict):
        return list(value.items())
    return [(one.name, getattr(value, one.name)) for one in fields(value)]


def _rebuild(like: Any, arrays: Mapping[str, NDArray[Any]], name: str) -> Any:
    if is_dataclass(like) or isinstance(like, tuple | dict):
        parts = {part: _rebuild(one, arrays, f"{name}{part}.") for part, one in _parts(like)}
        return tuple(parts.values()) if isinstance(like, tuple) else type(like)(**parts)  # type: ignore[misc]
    path, expected = name.removesuffix("."), np.asarray(like)
    found = arrays.get(path)
    if found is None or (found.dtype, found.ndim) != (expected.dtype, expected.ndim):
        msg = f"the snapshot's {path} is not what this version expects: it is of another version"
        raise SnapshotMismatchError(msg)
    return found if isinstance(like, np.ndarray) else type(like)(found[()])
