"""Hypnograms as other software reads them: EDF+ annotations, and the JSON of YASA."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np

from sleepstage._utils.files import write_atomically
from sleepstage.core.hypnogram import Hypnogram, clock_time, stage_runs
from sleepstage.errors import needs_extra
from sleepstage.stages import EPOCH_SECONDS, FIVE_CLASS, UNIX_TIME

# The standard texts of EDF+ know no class for N1 and N2 together, nor for all of NREM.
_EDF: Final = {
    "wake": "W",
    "n1": "N1",
    "light": "N2",
    "n2": "N2",
    "deep": "N3",
    "n3": "N3",
    "rem": "R",
    "unscored": "?",
}
_YASA: Final = {name: name.upper() for name in _EDF} | {"unscored": "UNS"}


def write_edf(hypnogram: Hypnogram, path: Path) -> None:
    """Write an EDF+ file that holds annotations and no signal (edfplus.info, section 2.2).

    Light sleep is written as N2. The start is what the clock showed; where times are no Unix time,
    it is 1 January 1985, midnight, the earliest that EDF knows.

    Raises `MissingExtraError` if edfio is not installed.
    """
    with needs_extra("writing EDF+", "edf"):
        from edfio import Edf, EdfAnnotation, Recording

    begun = _clock_start(hypnogram) or datetime(1985, 1, 1)
    annotations = [
        EdfAnnotation(first * EPOCH_SECONDS, n * EPOCH_SECONDS, f"Sleep stage {_EDF[stage]}")
        for first, n, stage in stage_runs(hypnogram)
    ]
    edf = Edf(
        [],
        recording=Recording(startdate=begun.date(), equipment_code="sleepstage"),
        starttime=begun.time(),
        annotations=annotations,
    )
    with write_atomically(path, suffixes=(".edf",)) as temporary:
        edf.write(temporary)


def write_yasa(hypnogram: Hypnogram, path: Path) -> None:
    """Write what ``yasa.Hypnogram.from_json`` reads (YASA 0.7 and later)."""
    begun = _clock_start(hypnogram)
    content = {
        "values": [_YASA[stage] for stage in hypnogram.stages],
        "n_stages": 5 if hypnogram.scheme == FIVE_CLASS else 4,
        "freq": f"{EPOCH_SECONDS}s",
        "start": begun.isoformat() if begun else None,
        "scorer": "sleepstage",
        "proba": _probabilities(hypnogram),
    }
    with write_atomically(path, suffixes=(".json",)) as temporary:
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _clock_start(hypnogram: Hypnogram) -> datetime | None:
    if hypnogram.start < UNIX_TIME:
        return None
    return clock_time(hypnogram.start, hypnogram.utc_offset)


def _probabilities(hypnogram: Hypnogram) -> dict[str, list[float]] | None:
    """By class; an epoch that is unscored could be any of them."""
    if hypnogram.probabilities is None:
        return None
    known = np.nan_to_num(hypnogram.probabilities, nan=1 / len(hypnogram.scheme))
    return {
        _YASA[name]: [round(float(share), 6) for share in column]
        for name, column in zip(hypnogram.scheme.classes, known.T, strict=True)
    }
