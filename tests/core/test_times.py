from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import polars as pl
import pytest

from sleepstage import Recording, load_model
from sleepstage.core.samples import to_seconds, to_time
from sleepstage.errors import DataError

BEGIN = datetime(2026, 3, 28, 22, 0, 0, 250_000, tzinfo=UTC)
SECONDS = 1774735200.25
IN_BERLIN = BEGIN.astimezone(timezone(timedelta(hours=1)))
NUMPY = np.array(["2026-03-28T22:00:00.25", "2026-03-28T22:00:30.25"], dtype="datetime64[ns]")
MOMENTS = [IN_BERLIN, IN_BERLIN + timedelta(seconds=30)]
COLUMN = pl.Series(MOMENTS)


def of_pandas(zone: str | None) -> Any:
    pandas = pytest.importorskip("pandas")
    column = pandas.Series(NUMPY)
    return column.dt.tz_localize("UTC").dt.tz_convert(zone) if zone else column


@pytest.mark.parametrize(
    "times",
    [
        [SECONDS, SECONDS + 30],
        NUMPY,
        NUMPY.astype("datetime64[us]"),
        list(NUMPY),
        MOMENTS,
        COLUMN,
        pl.Series([timedelta(seconds=SECONDS), timedelta(seconds=SECONDS + 30)]),
    ],
)
def test_times_of_many_kinds_are_the_same_seconds(times: Any) -> None:
    assert to_seconds(times).tolist() == [SECONDS, SECONDS + 30]


def test_columns_of_pandas_with_a_time_zone() -> None:
    for zone in ("UTC", "Europe/Berlin"):
        assert to_seconds(of_pandas(zone)).tolist() == [SECONDS, SECONDS + 30]


@pytest.mark.parametrize("moment", [SECONDS, BEGIN, IN_BERLIN, NUMPY[0]])
def test_a_night_can_begin_at_a_moment(moment: Any) -> None:
    night = Recording(start=moment, end=BEGIN + timedelta(minutes=5))  # type: ignore[arg-type]
    assert (night.start, night.end) == (SECONDS, SECONDS + 300)
    session = load_model("live").session(start=moment)
    session.push(heart_rate=(moment, 60), now=BEGIN + timedelta(seconds=40))
    assert (session.start, session.time, session.intake.taken) == (SECONDS, SECONDS + 30, 1)


def test_a_recording_of_columns() -> None:
    night = Recording.from_arrays(
        heart_rate=(COLUMN, pl.Series([60, 61])),
        start=IN_BERLIN,
        end=IN_BERLIN + timedelta(minutes=1),
    )
    assert night.heart_rate.times.tolist() == [SECONDS, SECONDS + 30]
    assert (night.start, night.end) == (SECONDS, SECONDS + 60)


@pytest.mark.parametrize(
    ("times", "shown"),
    [
        ([BEGIN.replace(tzinfo=None)] * 2, "2026-03-28 22:00:00.250000 has no time zone"),
        (COLUMN.dt.replace_time_zone(None), "a column of .* has no time zone"),
        (pl.Series([BEGIN.date()] * 2), "a column of Date has no time zone"),
        ([BEGIN.date()] * 2, "real number, not 'datetime.date'"),
        (["22:00", "22:01"], "could not convert string to float: .*'22:00'"),
    ],
)
def test_times_that_are_refused(times: Any, shown: str) -> None:
    with pytest.raises(DataError, match=f"heart rate: expected times .*{shown}"):
        Recording.from_arrays(heart_rate=(times, [60, 61]))


def test_a_column_of_pandas_without_a_time_zone_is_refused() -> None:
    with pytest.raises(DataError, match=r"a column of datetime64\[ns\] has no time zone"):
        Recording.from_arrays(heart_rate=(of_pandas(None), [60, 61]))


def test_a_missing_moment_is_named() -> None:
    times = np.array(["2026-03-28T22:00", "NaT"], dtype="datetime64[s]")
    with pytest.raises(DataError, match=r"sample 1 is \[nan, 61.0\]"):
        Recording.from_arrays(heart_rate=(times, [60, 61]))


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        (datetime(2026, 3, 28, 22), "has no time zone; name one"),
        (np.datetime64("NaT"), "expected seconds as a finite number, or a datetime$"),
        ("22:00", "start='22:00': expected seconds as a finite number, or a datetime"),
        (timedelta(hours=22), "start=datetime.timedelta.*: expected seconds"),
    ],
)
def test_a_moment_that_is_refused(moment: Any, shown: str) -> None:
    with pytest.raises(DataError, match=shown):
        to_time(moment, "start")
    with pytest.raises(DataError, match=shown):
        Recording(start=moment, end=SECONDS)
    with pytest.raises(DataError, match=shown):
        load_model("live").session(start=moment)
