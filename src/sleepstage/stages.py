"""What a sleep stage is: the AASM stages, the schemes that merge them, and their names.

This is the only table of stage codes in the package. Everywhere else a stage is a member of
`Stage` or the name of a class of a `Scheme`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sleepstage.errors import DataError

EPOCH_SECONDS: Final = 30
"""Length of a sleep epoch in seconds (AASM manual, section IV.1)."""

UNIX_TIME: Final = 1e9
"""Seconds: a night that begins later than this, in 2001, is on the calendar's clock."""

UNSCORED: Final = -1
"""Class code of an epoch that nobody scored, in every scheme."""

WAKE: Final = 0
"""Class code of wake, in every scheme."""

REASONS: Final = ("", "not_worn", "no_data")
"""Why an epoch could not be staged; the position of a name is its code."""

NOT_WORN: Final = REASONS.index("not_worn")
NO_DATA: Final = REASONS.index("no_data")


class Stage(IntEnum):
    """A sleep stage as scored by the AASM manual; ``N3`` includes the older rules' stage 4."""

    UNSCORED = -1
    WAKE = 0
    N1 = 1
    N2 = 2
    N3 = 3
    REM = 5


_OLDER_STAGE_4: Final = 4  # part of N3 today

FILE_CODES: Final = (*Stage, _OLDER_STAGE_4)
"""As stored in scored files (PhysioNet sleep-accel and others that follow R&K numbering)."""


@dataclass(frozen=True)
class Scheme:
    """A way to merge the AASM stages into classes."""

    name: str
    """Key of the scheme in result files, such as ``four_class``."""
    classes: tuple[str, ...]
    """Class names; the position of a name is the class code."""
    members: tuple[frozenset[Stage], ...]
    """The stages that each class holds, in the order of `classes`."""

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def from_top(self) -> list[str]:
        """Names in the order of a drawn hypnogram: REM stands right below wake (AASM)."""
        return sorted(self.classes, key=lambda name: name not in {"wake", "rem"})

    def encode(self, stages: ArrayLike) -> NDArray[np.int8]:
        """Class codes of `stages` (an array of `Stage`), `UNSCORED` where there is none.

        Raises `DataError` if a value is no `Stage`; the numbers of scored files are for
        `stages_from_codes`.
        """
        stages = np.asarray(stages)
        unknown = stages[~np.isin(stages, list(Stage))]
        if unknown.size:
            msg = f"{unknown[0]} is no Stage; for the numbers of scored files use stages_from_codes"
            raise DataError(msg)
        codes = np.full(stages.shape, UNSCORED, dtype=np.int8)
        for code, members in enumerate(self.members):
            codes[np.isin(stages, list(members))] = code
        return codes

    def merge_to(self, coarser: Self) -> tuple[int, ...]:
        """For each class of this scheme, the code of the class of `coarser` that contains it.

        Raises `DataError` if a class of this scheme is split between classes of the other.
        """
        merged = []
        for name, members in zip(self.classes, self.members, strict=True):
            into = [code for code, group in enumerate(coarser.members) if members <= group]
            if not into:
                raise DataError(f"{name!r} of {self.name} is no part of a class of {coarser.name}")
            merged.append(into[0])
        return tuple(merged)


def _scheme(name: str, **classes: set[Stage]) -> Scheme:
    return Scheme(name, tuple(classes), tuple(frozenset(members) for members in classes.values()))


_N = {Stage.N1, Stage.N2, Stage.N3}
FIVE_CLASS: Final = _scheme(
    "five_class",
    wake={Stage.WAKE},
    n1={Stage.N1},
    n2={Stage.N2},
    n3={Stage.N3},
    rem={Stage.REM},
)
FOUR_CLASS: Final = _scheme(
    "four_class",
    wake={Stage.WAKE},
    light={Stage.N1, Stage.N2},
    deep={Stage.N3},
    rem={Stage.REM},
)
THREE_CLASS: Final = _scheme("three_class", wake={Stage.WAKE}, nrem=_N, rem={Stage.REM})
TWO_CLASS: Final = _scheme("two_class", wake={Stage.WAKE}, sleep=_N | {Stage.REM})

SCHEMES: Final[Mapping[str, Scheme]] = MappingProxyType(
    {scheme.name: scheme for scheme in (FIVE_CLASS, FOUR_CLASS, THREE_CLASS, TWO_CLASS)}
)
"""Every scheme by its name, finest first."""


def stages_from_codes(codes: ArrayLike) -> NDArray[np.int8]:
    """Values of `Stage` for the stage numbers of scored files, shape (n_epochs,).

    -1 unscored, 0 wake, 1 N1, 2 N2, 3 N3, 4 stage 4 of the older rules, 5 REM.

    Raises `DataError` if a code is none of these; names the first one and its position.
    """
    codes = np.asarray(codes)
    unknown = np.flatnonzero(~np.isin(codes, FILE_CODES))
    if len(unknown):
        at = int(unknown[0])
        msg = f"unknown stage code {codes[at]:g} at position {at}: expected one of -1 to 5"
        raise DataError(msg)
    return np.where(codes == _OLDER_STAGE_4, Stage.N3, codes).astype(np.int8)
