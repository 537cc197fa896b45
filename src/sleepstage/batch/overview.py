"""All nights on one page and in one table."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.parse import quote

from sleepstage._utils.files import render, text_cell
from sleepstage.batch.night import HYPNOGRAM, PICTURE, Summary
from sleepstage.batch.outputs import read_results
from sleepstage.batch.places import write_text
from sleepstage.core.agreement import Agreement, pooled
from sleepstage.core.statistics import SleepStatistics
from sleepstage.stages import EPOCH_SECONDS, FOUR_CLASS

OVERVIEW: Final = "index.html"
TABLE: Final = "nights.csv"

MARKS: Final = {OVERVIEW: b"Made by sleepstage.", TABLE: b"night,error,start,epochs,"}
"""What `sleepstage._utils.files.refuse_other_files` knows them by."""

_TEMPLATE: Final = "overview.html.j2"
_DAY: Final = 86400.0
_STATISTICS: Final = [
    one.name for one in fields(SleepStatistics) if one.name not in {"minutes", "shares"}
]


def agreements(nights: Sequence[Summary]) -> dict[str, Agreement]:
    """Agreement over all nights with the ``expert`` and with the ``watch``, where they staged."""
    found = {}
    for name in ("expert", "watch"):
        known = [night.agreement[name] for night in nights if name in night.agreement]
        if known:
            found[name] = pooled([one["confusion"] for one in known], FOUR_CLASS)
    return found


def write_overview(nights: Sequence[Summary], out: Path) -> Path:
    """Write ``index.html``, which needs no network, and ``nights.csv``; return the page's path.

    Both show the results of earlier runs in the folder, too. Raises `MissingExtraError` without
    Jinja.
    """
    import polars as pl

    new = {night.night for night in nights if not night.error}
    nights = [*(one for one in read_results(out) if one.night not in new), *nights]
    staged = [night for night in nights if not night.error]
    content = {
        "staged": staged,
        "failed": [night for night in nights if night.error],
        "simulated": any(night.simulated for night in nights),
        "trained_on": [night.night for night in staged if night.trained_on],
        "strips": _strips(staged),
        "ticks": _ticks(staged),
        "middle": _middle(staged),
        "agreements": agreements(staged),
        "classes": FOUR_CLASS.classes,
        "links": [_link(out, night.night) for night in staged],
        "table": TABLE,
        "hours": hours,
    }
    page = render(__package__, _TEMPLATE, content, purpose="the page of all nights", extra="score")
    write_text(out / OVERVIEW, page)
    columns = list(_row(Summary("", "", "")))  # also where there is no night
    table = pl.DataFrame(list(map(_row, nights)), schema=columns, infer_schema_length=None)
    write_text(out / TABLE, table.write_csv(float_precision=4))
    return out / OVERVIEW


def _link(out: Path, night: str) -> str:
    file = PICTURE if (out / night / PICTURE).exists() else HYPNOGRAM
    return f"{quote(night)}/{file}"


def hours(minutes: float | None) -> str:
    """Hours and minutes, or a dash where there is no time."""
    if minutes is None:
        return "-"
    whole = round(minutes)
    return f"{whole // 60}:{whole % 60:02d}"


def _middle(nights: Sequence[Summary]) -> dict[str, float | None]:
    """Median of each statistic over the nights that have it and are not sparse; None for none."""
    known_nights = [one.statistics for one in nights if one.statistics and not one.sparse]
    known = {
        name: [one[name] for one in known_nights if one.get(name) is not None]  # older have fewer
        for name in _STATISTICS
    }
    return {name: median(values) if values else None for name, values in known.items()}


def _begin(night: Summary) -> float:
    """Where on the page's axis a night begins: seconds since noon by the clock, or its start."""
    if not night.clock:
        return 0.0
    begun = datetime.fromisoformat(night.clock[0])
    noon = begun.replace(hour=12, minute=0, second=0, microsecond=0)
    return (begun - noon).total_seconds() % _DAY


def _axis(nights: Sequence[Summary]) -> tuple[float, float]:
    """First and last moment of the axis that all nights share, whole hours."""
    first = min((_begin(one) for one in nights), default=0.0)
    last = max((_begin(one) + EPOCH_SECONDS * one.n_epochs for one in nights), default=3600.0)
    return first // 3600 * 3600, -(-last // 3600) * 3600


def _strips(nights: Sequence[Summary]) -> list[dict[str, str]]:
    """Each night as SVG paths, one a stage, that fill a thousand by ten."""
    first, last = _axis(nights)
    scale = 1000 / (last - first)
    drawn = []
    for night in nights:
        at = _begin(night) - first
        paths: dict[str, str] = {}
        for n_epochs, stage in night.stages:
            width = round(scale * EPOCH_SECONDS * n_epochs, 2)
            paths[stage] = f"{paths.get(stage, '')}M{round(scale * at, 2)} 0h{width}v10h-{width}z"
            at += EPOCH_SECONDS * n_epochs
        drawn.append(paths)
    return drawn


def _ticks(nights: Sequence[Summary]) -> list[tuple[float, str]]:
    """Every second hour of the axis: where, and what the clock shows."""
    first, last = _axis(nights)
    clock = all(night.clock for night in nights)
    ticks = []
    for moment in range(int(first), int(last), 7200):
        hour = moment // 3600
        label = f"{(hour + 12) % 24}:00" if clock else f"{hour} h"
        ticks.append(((moment - first) / (last - first), label))
    return ticks


def _row(night: Summary) -> dict[str, Any]:
    statistics: dict[str, Any] = night.statistics or {}
    classes = FOUR_CLASS.classes
    expected = night.expected or {}
    start = None if night.start is None else str(night.start)  # a column is of one type: text
    return {
        "night": text_cell(night.night),
        "error": text_cell(night.error) or None,
        "start": night.clock[0] if night.clock else start,
        "epochs": night.n_epochs,
        "unscored": night.n_unscored,
        **{name: statistics.get(name) for name in _STATISTICS},
        "sleep_periods": len(night.sleep_periods),
        "naps": sum(period["nap"] for period in night.sleep_periods),
        **{f"{name}_minutes": statistics.get("minutes", {}).get(name) for name in classes},
        **{f"{name}_share": statistics.get("shares", {}).get(name) for name in classes[1:]},
        "model": text_cell(night.model.get("name", "")) or None,
        "expected_accuracy": expected.get("accuracy"),
        "expected_kappa": expected.get("kappa"),
        **{
            f"{name}_{number}": night.agreement.get(name, {}).get(number)
            for name in ("expert", "watch")
            for number in ("accuracy", "kappa")
        },
        "simulated": night.simulated,
        "trained_on": night.trained_on,
        "sparse": night.sparse,
    }
