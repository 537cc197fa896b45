"""Times as tables write them: numbers in any unit, and dates in any order."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from sleepstage.errors import DataError
from sleepstage.io.source import Floats, Mask, Options

if TYPE_CHECKING:
    import polars as pl

_Ints = NDArray[np.int64]

_LARGEST_UNIT: Final = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3))
"""Numbers beyond the first are Unix time in units of the second: today is 1.7e9 s. Seconds since
any start, and Unix seconds until the year 5138, are less than the last."""

_MONTHS: Final = "jan feb mar apr may jun jul aug sep oct nov dec"
TIME_OF_DAY: Final = r"^\s*\d{1,2}:\d{2}(:\d{2}([.,:]\d+)?)?\s*([AaPp]\.?[Mm]\.?)?\s*$"
DATE: Final = r"^\s*\d{1,4}[-/.](\d{1,2}|[A-Za-z]{3})[-/.]\d{1,4}"
_MOMENT: Final = (
    r"^(\d{1,4})([-/.])(\d{1,2}|[a-z]{3})[-/.](\d{1,4})[t ,]+(\d{1,2}):(\d{2})"
    r"(?::(\d{2})(?:[.,:](\d{1,9}))?)?\s*([ap])?\.?m?\.?\s*(z|utc|gmt|[+-]\d{2}:?\d{2})?$"
)
_ZONE_STEP: Final = 900  # s: no zone changes within them


def seconds_of_numbers(numbers: Floats) -> Floats:
    """Seconds, of times in a unit that is recognised by their size."""
    typical = float(np.median(np.abs(numbers))) if len(numbers) else 0.0
    return numbers * next((factor for limit, factor in _LARGEST_UNIT if typical >= limit), 1.0)


def seconds_of_texts(
    texts: pl.Series, options: Options, place: Callable[[int], str]
) -> tuple[Floats, int, bool]:
    """Unix seconds; by how many clocks were ahead of UTC at the first; whether that is unknown.

    Raises `DataError` for a text that is no date and time, and where day and month can't be
    distinguished in the whole column.
    """
    parts = texts.str.strip_chars().str.to_lowercase().str.extract_groups(_MOMENT).struct
    first, dot, second, third, hour, minute, second_, fraction, half, zone = (
        parts.field(str(number)) for number in range(1, 11)
    )
    names = {name: str(number) for number, name in enumerate(_MONTHS.split(), 1)}
    month_named = second.is_in(list(names))
    ints = [
        np.nan_to_num(column.cast(float, strict=False).to_numpy(), nan=-1).astype(np.int64)
        for column in (first, second.replace(names), third, hour, minute, second_.fill_null("0"))
    ]
    one, two, three, hours, minutes, whole = ints
    if half.is_not_null().any():
        afternoon = half.eq_missing("p").to_numpy()
        hours = np.where(half.is_null().to_numpy(), hours, hours % 12 + 12 * afternoon)
    of_day = np.asarray(hours * 3600 + minutes * 60 + whole, dtype=np.float64)
    right = (hours < 24) & (minutes < 60) & (whole <= 60)
    of_day += ("0." + fraction.fill_null("0")).cast(float).to_numpy()
    if (one > 31).any():
        days, valid = _days(one, two, three)
    else:
        by_day, by_month = _days(three, two, one), _days(three, one, two)
        if month_named.any() or (dot == ".").any() or not by_month[1].all():
            day_first: bool | None = True
        elif half.is_not_null().any() or not by_day[1].all():
            day_first = False
        elif (by_day[0] == by_month[0]).all():
            day_first = True
        else:
            day_first = options.day_first
            spans = [np.ptp(days) for days, _ in (by_day, by_month)]
            if day_first is None and spans[0] != spans[1]:
                day_first = bool(spans[0] < spans[1])  # a table has days in sequence
        if day_first is None:
            raise DataError(
                f"{place(0)}: {texts[0]!r:.60} may have the day first or the month: choose with "
                "--dates day-first or --dates month-first, or write dates as 2026-03-29"
            )
        days, valid = by_day if day_first else by_month
    right &= valid
    if not right.all():
        at = int(np.argmin(right))
        raise DataError(
            f"{place(at)}: expected seconds or a time as 2026-03-29T01:30:00+01:00 as "
            f"{texts.name!r}, found {texts[at]!r:.60}; correct or delete the row"
        )
    return _in_utc(days * 86400.0 + of_day, zone, options)


def _days(year: _Ints, month: _Ints, day: _Ints) -> tuple[_Ints, Mask]:
    """Days since 1970, and which of them are in the calendar."""
    year = np.where((year >= 0) & (year < 100), year + 2000, year)
    valid = (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31) & (year >= 1900)
    months = np.where(valid, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + np.where(valid, day - 1, 0)
    return days.astype(np.int64), valid & (days.astype("datetime64[M]") == months)


def _in_utc(local: Floats, zone: pl.Series, options: Options) -> tuple[Floats, int, bool]:
    if zone.is_null().all():
        if not options.timezone:
            return local, 0, True
        stretches, at = np.unique(local // _ZONE_STEP, return_inverse=True)
        place = ZoneInfo(options.timezone)
        clocks = [datetime.fromtimestamp(one * _ZONE_STEP, UTC) for one in stretches.tolist()]
        known = [clock.replace(tzinfo=place).utcoffset() for clock in clocks]
        ahead = np.array([one.total_seconds() if one else 0.0 for one in known])[at]
    else:
        digits = zone.replace({"z": "+0000", "utc": "+0000", "gmt": "+0000"}).str.replace(":", "")
        signed = digits.fill_null("+0000").cast(int).to_numpy()
        ahead = np.sign(signed) * (np.abs(signed) // 100 * 3600.0 + np.abs(signed) % 100 * 60)
    return local - ahead, int(ahead[0]) if len(ahead) else 0, False


@lru_cache(maxsize=16)  # records often begin and end in the same second
def moment(text: str, zone: tzinfo = UTC) -> tuple[float, int]:
    """Unix seconds and offset from UTC of a time, which is in `zone` if it names no offset.

    It is ISO 8601, with spaces, or as in America: ``3/12/2024 10:15:30 PM``, ``03/12/24 22:15:30``.
    """
    plain = text.strip().replace("\u202f", " ").replace(" +", "+").replace(" -", "-")
    try:
        time = _american(plain) if "/" in plain else datetime.fromisoformat(plain)
    except ValueError:  # on phones that show 12 hours
        time = datetime.strptime(plain, "%Y-%m-%d %I:%M:%S %p%z")
    time = time if time.tzinfo else time.replace(tzinfo=zone)
    return time.timestamp(), int((time.utcoffset() or timedelta()).total_seconds())


def _american(text: str) -> datetime:
    date, clock, *half = text.split(" ")
    month, day, year = map(int, date.split("/"))
    hour, minute, second = map(int, clock.split(":"))
    if half:
        hour = hour % 12 + {"AM": 0, "PM": 12}[half[0].upper()]
    return datetime(year + 2000 if year < 100 else year, month, day, hour, minute, second)


def offset_at(time: float, zone: str) -> int:
    """Seconds by which clocks in a time zone were ahead of UTC.

    Raises `DataError` if the zone is unknown.
    """
    try:
        ahead = datetime.fromtimestamp(time, ZoneInfo(zone)).utcoffset()
    except (KeyError, OSError, ValueError, OverflowError) as error:  # a continent is a folder
        msg = f"unknown time zone {zone!r:.60}; expected a name as Europe/London"
        raise DataError(msg) from error
    return int(ahead.total_seconds()) if ahead is not None else 0
