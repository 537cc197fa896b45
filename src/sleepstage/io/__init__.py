"""Readers of each format; all give recordings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sleepstage.errors import DataError
from sleepstage.io.registry import find_nights
from sleepstage.io.sleep_accel.read import find_data, read_subject
from sleepstage.io.tables import read_tables
from sleepstage.simulate.nights import simulate_night

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sleepstage.core.recording import Recording

__all__ = ["find_nights", "read"]


def _read_sleep_accel(subject: str, *, data: str | Path | None = None) -> Recording:
    return read_subject(find_data(data), str(subject))


_READERS: Final[Mapping[str, Callable[..., Recording]]] = {
    "sleep-accel": _read_sleep_accel,
    "simulated": simulate_night,
    "tables": read_tables,
}


def read(source: str, **options: Any) -> Recording:
    """Read one night.

    Parameters
    ----------
    source : {"sleep-accel", "simulated", "tables"}
        Kind of input.
    **options
        ``sleep-accel``: `subject`, and `data`, the dataset's folder, if it is not in one of the
        usual places. ``tables``: files `heart_rate`, `motion`, `steps`. ``simulated``: `seed`.

    Raises
    ------
    DataError
        If the kind is unknown, or the input is missing or broken.

    Examples
    --------
    >>> import sleepstage
    >>> sleepstage.read("simulated", seed=7).n_epochs
    960
    """
    if source not in _READERS:
        msg = f"unknown source {source!r}; choose from {', '.join(_READERS)}"
        raise DataError(msg)
    return _READERS[source](**options)
