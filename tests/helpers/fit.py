"""Writes FIT files by the layout of Garmin's FIT SDK: a header, messages and a checksum."""

from __future__ import annotations

import struct
from collections.abc import Sequence

EPOCH = 631065600
"""Unix seconds of FIT's zero."""

_TABLE = (
    *(0x0000, 0xCC01, 0xD801, 0x1400, 0xF001, 0x3C00, 0x2800, 0xE401),
    *(0xA001, 0x6C00, 0x7800, 0xB401, 0x5000, 0x9C01, 0x8801, 0x4400),
)
_TYPES = {"enum": 0x00, "B": 0x02, "H": 0x84, "I": 0x86, "byte": 0x0D, "z": 0x8C}
_CODES = {"enum": "B", "byte": "B", "z": "I"}

Field = tuple[int, str, int | Sequence[int]]
"""Number, type and value or values of a field."""


def checksum(data: bytes) -> int:
    value = 0
    for byte in data:
        for nibble in (byte & 0xF, byte >> 4):
            value = (value >> 4) ^ _TABLE[value & 0xF] ^ _TABLE[nibble]
    return value


def message(number: int, *fields: Field) -> bytes:
    """A definition and its data."""
    definition = struct.pack("<BBBHB", 0x40, 0, 0, number, len(fields))
    data = b"\x00"
    for field, kind, value in fields:
        values = (value,) if isinstance(value, int) else value
        packed = struct.pack(f"<{len(values)}{_CODES.get(kind, kind)}", *values)
        definition += struct.pack("<BBB", field, len(packed), _TYPES[kind])
        data += packed
    return definition + data


def document(*messages: bytes) -> bytes:
    body = b"".join((message(0, (0, "enum", 32), (3, "z", 77)), *messages))
    head = struct.pack("<BBHI4s", 14, 0x20, 2132, len(body), b".FIT")
    head += struct.pack("<H", checksum(head))
    return head + body + struct.pack("<H", checksum(head + body))
