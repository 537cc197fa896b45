"""Names of columns: what they mean, by ``names.toml``, and which columns make a signal."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Final, NamedTuple

from sleepstage._utils.files import read_toml
from sleepstage.core.motion import MOTION_COLUMNS

SIGNALS: Final = {
    "heart_rate": (("bpm",),),
    "motion": (("x", "y", "z"), MOTION_COLUMNS),
    "steps": (("steps",),),
}
"""Of each signal, what its columns mean, in each of the ways to have them."""

KNOWN: Final = read_toml(__package__, "names.toml")
_TIMES: Final[list[str]] = KNOWN["names"]["time"]
_MOTION: Final = {name.removesuffix("_g").replace("_", ""): name for name in MOTION_COLUMNS}
_MEANINGS: Final[Mapping[str, str]] = _MOTION | {
    name: meaning for meaning, names in KNOWN["names"].items() for name in names
}
_AXIS: Final = re.compile(r"(?:a|acc|accel|acceleration|accelerometer|gf|gforce)?([xyz])(?:axis)?")
_UNITLESS: Final = ("", "person", "value")
_BRACKETS: Final = re.compile(r"(.*?)\s*[(\[]\s*([^()\[\]]*?)\s*[)\]]")


class Name(NamedTuple):
    """A name of a column, taken apart."""

    text: str  # as the file has it; empty where it has none
    plain: str
    meaning: str
    """``time``, ``person``, ``value``, a column of a signal, or empty if it is not known."""
    unit: str

    @property
    def units(self) -> Mapping[str, float]:
        """Units that it may have, and their factors."""
        return _units(self.meaning)

    @property
    def factor(self) -> float | None:
        """To the unit that is used here; None if its unit is not known."""
        return self.units.get(self.unit)


def parse_name(text: str) -> Name:
    """Take a name apart, whose unit is in brackets or its last word."""
    plain = text.strip().lower()
    if plain.count(".") > 1:  # com.samsung.health.heart_rate.start_time
        plain = plain.rpartition(".")[2]
    bracketed = _BRACKETS.fullmatch(plain)
    unit = bracketed[2] if bracketed else ""
    words = re.findall(r"[^\W_]+", bracketed[1] if bracketed else plain)
    plain = "".join(words)
    if not _meaning(plain) and len(words) > 1 and not unit:
        shorter, last = "".join(words[:-1]), words[-1]
        if last in _units(_meaning(shorter)):
            plain, unit = shorter, last
    return Name(text, plain, _meaning(plain), unit)


def _meaning(plain: str) -> str:
    axis = _AXIS.fullmatch(plain)
    return axis[1] if axis else _MEANINGS.get(plain, "")


def _units(meaning: str) -> Mapping[str, float]:
    units: dict[str, dict[str, float]] = KNOWN["units"]
    return {} if meaning in _UNITLESS else units.get(meaning, units["acceleration"])


def columns_for(
    names: Sequence[Name], signal: str, *, value: bool = True
) -> tuple[list[int], list[int]]:
    """Columns of time, the usual ones first, and of a signal; empty where they are missing.

    With `value`, a column of that name is the signal's.
    """
    times = [at for at, one in enumerate(names) if one.meaning == "time"]
    times.sort(key=lambda at: _TIMES.index(names[at].plain))
    known = {one.meaning: at for at, one in reversed(list(enumerate(names)))}
    for way in SIGNALS[signal]:
        if set(way) <= set(known):
            return times, [known[meaning] for meaning in way]
    return times, [known["value"]] if value and signal != "motion" and "value" in known else []


def is_header(fields: Sequence[str]) -> bool:
    """Recognise a header, in which time and some signal have names."""
    names = list(map(parse_name, fields))
    return any(all(columns_for(names, signal)) for signal in SIGNALS)


def describe(names: Sequence[Name]) -> str:
    """Names of columns, and of those nobody knows the nearest that would do."""
    usual = [*_TIMES[:6], *KNOWN["names"]["bpm"], *KNOWN["names"]["steps"], *_MOTION, *"xyz"]
    unknown = [one for one in names[:20] if not one.meaning]
    nearest = ", ".join(
        f"{found} for {one.text!r:.40}"
        for one in unknown
        for found in get_close_matches(one.plain, usual, 1)
    )
    hint = f" (rename to {nearest}?)" if nearest else ""
    return ", ".join(one.text for one in names)[:200] + hint
