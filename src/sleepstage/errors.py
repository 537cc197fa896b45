"""What can go wrong by a user's doing: each states where, what was found and how to fix it."""

from collections.abc import Iterator
from contextlib import contextmanager


class SleepstageError(Exception):
    """Base of every error that a user can correct; the command line prints no traceback."""


class DataError(SleepstageError, ValueError):
    """Input that is not what it should be: a file, a line, a field, a value."""


class ModelFileError(SleepstageError, ValueError):
    """A file that is no model of this package, or one of another version or other features."""


class SnapshotError(SleepstageError, ValueError):
    """A session's snapshot that is damaged, or of another version or model."""


class SnapshotMismatchError(SnapshotError):
    """A sound snapshot that another model, or another version of the package, can go on from."""


class StoreError(SleepstageError, OSError):
    """The service can't store or read: a full disk, no answer, a wrong address."""


class MissingExtraError(SleepstageError, ImportError):
    """A part of the package was called whose optional libraries are not installed."""

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs more libraries: pip install 'sleepstage[{extra}]'")


@contextmanager
def needs_extra(purpose: str, extra: str) -> Iterator[None]:
    """Name the extra to install if what is imported in the block is missing."""
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(purpose, extra) from error
