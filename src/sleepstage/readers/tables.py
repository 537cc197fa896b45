"""A night from one file a signal, CSV or Parquet, with or without a header."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from sleepstage.errors import DataError
from sleepstage.motion import MOTION_COLUMNS
from sleepstage.readers.text import first_fields, open_error, read_text_table
from sleepstage.recording import Recording

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["read_tables"]

_TIME_NAMES: Final = ("time", "seconds", "t", "t_s", "timestamp")
_HEART_RATE: Final = ("bpm",)
_RAW_MOTION: Final = ("x", "y", "z")
_STEPS: Final = ("steps",)


def read_tables(
    *,
    heart_rate: str | Path | None = None,
    motion: str | Path | None = None,
    steps: str | Path | None = None,
    start: float | None = None,
    end: float | None = None,
    subject: str = "",
) -> Recording:
    """Read a night from up to three files.

    A file is Parquet by its ending, else text: separated by comma, semicolon, tab or space. With
    a header the columns are found by name (``time`` or ``seconds``, and those below), without
    one they are taken in this order. Times are seconds on one clock.

    Parameters
    ----------
    heart_rate : path, optional
        ``time, bpm``.
    motion : path, optional
        ``time, x, y, z`` in g, or 15 s summaries ``time, counts, peak_x_g, peak_y_g, peak_z_g``.
    steps : path, optional
        ``time, steps``: steps since the row before.
    start, end : float, optional
        The night; see `Recording.from_arrays`.
    subject : str
        Whose night it is.

    Raises
    ------
    DataError
        If a file is broken, names its line or column; or if nothing is given.
    """
    files = {"heart_rate": heart_rate, "motion": motion, "steps": steps}
    return Recording.from_arrays(
        heart_rate=_read_signal(heart_rate, [_HEART_RATE]),
        motion=_read_signal(motion, [_RAW_MOTION, MOTION_COLUMNS]),
        steps=_read_signal(steps, [_STEPS]),
        start=start,
        end=end,
        subject=subject,
        names={name: str(path) for name, path in files.items() if path is not None},
    )


def _read_signal(
    given: str | Path | None, choices: list[tuple[str, ...]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Times and values of the first of `choices` whose columns the file has."""
    if given is None:
        return None
    path = Path(given)
    names, table = _read_parquet(path) if path.suffix == ".parquet" else _read_text(path, choices)
    lowered = [name.strip().lower() for name in names]
    time = next((lowered.index(name) for name in _TIME_NAMES if name in lowered), None)
    for wanted in choices:
        if time is not None and set(wanted) <= set(lowered):
            values = table[:, [lowered.index(name) for name in wanted]]
            return table[:, time], values[:, 0] if len(wanted) == 1 else values
    expected = " or ".join(", ".join(("time", *wanted)) for wanted in choices)
    msg = f"{path}: has columns {', '.join(names)}; expected {expected}"
    raise DataError(msg)


def _read_text(path: Path, choices: list[tuple[str, ...]]) -> tuple[list[str], NDArray[np.float64]]:
    separator, fields = first_fields(path, remarks=True)
    header = any(field[:1].isalpha() and field.lower() != "nan" for field in fields)
    if header:
        return fields, read_text_table(path, fields, separator=separator, header=True)
    for wanted in choices:
        if len(fields) == 1 + len(wanted):
            names = ["time", *wanted]
            return names, read_text_table(path, names, separator=separator)
    expected = " or ".join(", ".join(("time", *wanted)) for wanted in choices)
    msg = f"{path}, line 1: expected numbers ({expected}), found {separator.join(fields)[:60]!r}"
    raise DataError(msg)


def _read_parquet(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    import polars as pl

    try:
        frame = pl.read_parquet(path, glob=False)
        dates = [name for name, kind in frame.schema.items() if kind.is_temporal()]
        if dates:
            msg = f"{path}: {', '.join(dates)} must be in seconds, as numbers"
            raise DataError(msg)
        return frame.columns, frame.cast(pl.Float64).to_numpy()
    except OSError as error:
        raise open_error(path, error) from error
    except pl.exceptions.PolarsError as error:
        msg = f"{path}: not a table of numbers in Parquet ({str(error).splitlines()[0]})"
        raise DataError(msg) from error
