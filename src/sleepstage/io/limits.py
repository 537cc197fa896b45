"""Limits on what is read, so that no file takes all memory or time.

Real nights stay far below them. Each can be set in the environment, which is read at every use.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from sleepstage.errors import DataError

__all__ = ["MAX_DEPTH", "MAX_FILES", "MAX_MATLAB_BYTES", "MAX_ROWS", "MAX_UNPACKED", "MAX_VALUE"]


class Limit(NamedTuple):
    """A largest number of something."""

    variable: str  # the environment variable that sets it
    default: int
    unit: str  # what is counted, in the plural

    @property
    def value(self) -> int:
        """The limit in force; a `DataError` if the variable is no whole number above zero."""
        text = os.environ.get(self.variable) or str(self.default)
        if text.isdecimal() and len(text) < 19 and int(text):
            return int(text)
        msg = f"{self.variable}={text[:40]!r}: expected a number of {self.unit}, 1 or more"
        raise DataError(msg)

    def require(self, found: int, what: str) -> None:
        """Raise a `DataError` that begins with `what` if there are more.

        `found` is how many there are, or how many were seen when reading stopped.
        """
        if found > self.value:
            msg = (
                f"{what}: {found} {self.unit}, more than the limit of {self.value}, which no night "
                f"reaches; if it is right all the same, raise the limit with {self.variable}"
            )
            raise DataError(msg)


MAX_ROWS: Final = Limit("SLEEPSTAGE_MAX_ROWS", 64_000_000, "rows")
"""Of one table: a week of 100 Hz has 60 million."""

MAX_VALUE: Final = Limit("SLEEPSTAGE_MAX_VALUE_BYTES", 1 << 20, "bytes in one piece")
"""A line of text, or a value, a name or a tag in JSON and XML."""

MAX_UNPACKED: Final = Limit("SLEEPSTAGE_MAX_UNPACKED_BYTES", 32 << 30, "bytes unpacked")
"""Of one file in a zip archive: decades of Apple Health have some 10 GB."""

MAX_MATLAB_BYTES: Final = Limit("SLEEPSTAGE_MAX_MATLAB_BYTES", 16 << 20, "bytes unpacked")
"""Of one ``labels.mat``: a night of labels has some kilobytes."""

MAX_FILES: Final = Limit("SLEEPSTAGE_MAX_FILES", 1_000_000, "files and folders")
"""Below the folder that is searched."""

MAX_DEPTH: Final = Limit("SLEEPSTAGE_MAX_DEPTH", 32, "folders within each other")
"""Also what ends the search of a remote file system that links to itself."""
