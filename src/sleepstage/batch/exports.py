"""Hypnograms as other software reads them: EDF+, annotations of Luna, JSON of YASA and of FHIR."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from sleepstage._utils.files import write_atomically
from sleepstage.core.hypnogram import Hypnogram, clock_time, stage_runs
from sleepstage.errors import needs_extra
from sleepstage.stages import EPOCH_SECONDS, FIVE_CLASS, FOUR_CLASS, UNIX_TIME

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
# LOINC codes of HL7's guide to personal health records, which has none for being awake.
_LOINC: Final = {
    "sleep": ("93832-4", "Sleep duration"),
    "light": ("93830-8", "Light sleep duration"),
    "deep": ("93831-6", "Deep sleep duration"),
    "rem": ("93829-0", "REM sleep duration"),
}
_CATEGORIES: Final = "http://terminology.hl7.org/CodeSystem/observation-category"
_YASA: Final = {name: name.upper() for name in _EDF} | {"unscored": "UNS"}


def write_edf(hypnogram: Hypnogram, path: Path) -> None:
    """Write an EDF+ file that holds annotations and no signal (edfplus.info, section 2.2).

    Light sleep is written as N2, as the file says itself. The start is what the clock showed, in
    whole seconds: software differs in how it reads the rest. Where times are no Unix time, it is
    1 January 1985, midnight, the earliest that EDF knows.

    Raises `MissingExtraError` if edfio is not installed.
    """
    with needs_extra("writing EDF+", "edf"):
        from edfio import Edf, EdfAnnotation, Recording

    begun = _whole_second(hypnogram)
    annotations = [
        EdfAnnotation(first * EPOCH_SECONDS, n * EPOCH_SECONDS, f"Sleep stage {_EDF[stage]}")
        for first, n, stage in stage_runs(hypnogram)
    ]
    edf = Edf(
        [],
        recording=Recording(
            startdate=begun.date(), equipment_code="sleepstage", additional=["light_sleep_is_N2"]
        ),
        starttime=begun.time(),
        annotations=annotations,
    )
    with write_atomically(path, suffixes=(".edf",)) as temporary:
        edf.write(temporary)


def write_annot(hypnogram: Hypnogram, path: Path) -> None:
    """Write annotations of Luna (zzz.bwh.harvard.edu/luna), light sleep as N2.

    Starts are clock times in whole seconds, midnight being the start where times are no Unix time.
    """
    begun = _whole_second(hypnogram)
    rows = [
        ("# N2 | light sleep, N1 or N2",),
        ("class", "instance", "channel", "start", "stop", "meta"),
    ]
    for first, n, stage in stage_runs(hypnogram):
        start = begun + timedelta(seconds=first * EPOCH_SECONDS)
        rows.append((_EDF[stage], ".", ".", f"{start:%H:%M:%S}", f"+{n * EPOCH_SECONDS}", "."))
    with write_atomically(path, suffixes=(".annot",)) as temporary:
        temporary.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")


def write_fhir(hypnogram: Hypnogram, path: Path) -> None:
    """Write a FHIR Observation (R4 and later): sleep duration, and that of each stage, in minutes.

    The period is left out where times are no Unix time: FHIR wants a date and a time zone.
    """
    fine = len(hypnogram.scheme) > len(FOUR_CLASS)
    statistics = (hypnogram.merge(FOUR_CLASS) if fine else hypnogram).statistics()
    content = {
        "resourceType": "Observation",
        "status": "final",
        "category": [{"coding": [{"system": _CATEGORIES, "code": "activity"}]}],
        **_duration("sleep", statistics.total_sleep_time),
        "component": [
            _duration(name, minutes)
            for name, minutes in statistics.minutes.items()
            if name in _LOINC
        ],
        "device": {"display": "sleepstage: predicted from a watch, not scored by an expert"},
    }
    if hypnogram.subject:
        content["subject"] = {"display": hypnogram.subject}
    if (begun := _clock_start(hypnogram)) is not None:
        end = begun + timedelta(seconds=EPOCH_SECONDS * len(hypnogram))
        content["effectivePeriod"] = {
            "start": begun.isoformat(timespec="seconds"),
            "end": end.isoformat(timespec="seconds"),
        }
    with write_atomically(path, suffixes=(".json",)) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _duration(name: str, minutes: float) -> dict[str, Any]:
    code, display = _LOINC[name]
    unit = {"unit": "min", "system": "http://unitsofmeasure.org", "code": "min"}
    return {
        "code": {"coding": [{"system": "http://loinc.org", "code": code, "display": display}]},
        "valueQuantity": {"value": minutes, **unit},
    }


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


def _whole_second(hypnogram: Hypnogram) -> datetime:
    return (_clock_start(hypnogram) or datetime(1985, 1, 1)).replace(microsecond=0)


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
