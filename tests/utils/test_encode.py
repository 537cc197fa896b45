"""Dataclasses as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field

from sleepstage._utils.files import FLAT, encode


@dataclass(frozen=True)
class Point:
    x: float
    y: float | None


@dataclass(frozen=True)
class Named:
    by_name: dict[str, Point] = field(metadata=FLAT)
    count: int


@dataclass(frozen=True)
class Owner:
    named: Named = field(metadata=FLAT)
    points: list[Point]
    names: tuple[str, ...]
    nothing: Point | None
    extra: Point | None = None


OWNER = Owner(Named({"a": Point(1.0, None)}, 3), [Point(0.5, 2.0)], ("u", "v"), nothing=None)


def test_flat_fields_stand_among_those_of_their_owner_and_extras_are_left_out() -> None:
    assert encode(OWNER) == {
        "a": {"x": 1.0, "y": None},
        "count": 3,
        "points": [{"x": 0.5, "y": 2.0}],
        "names": ["u", "v"],
        "nothing": None,
    }
