"""One night: read, staged, written to a folder of its own, and summed up."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import numpy as np

from sleepstage._utils.arrays import Floats
from sleepstage.batch.exports import write_annot, write_edf, write_fhir, write_yasa
from sleepstage.batch.places import write_text
from sleepstage.core.agreement import NUMBERS, agreement
from sleepstage.core.hypnogram import Hypnogram, show_time, stage_runs
from sleepstage.core.periods import sleep_periods
from sleepstage.core.recording import Recording
from sleepstage.core.samples import Samples
from sleepstage.engine.stager import Stager
from sleepstage.errors import DataError
from sleepstage.stages import EPOCH_SECONDS, FOUR_CLASS, UNIX_TIME, UNSCORED

HYPNOGRAM: Final = "hypnogram.csv"
PICTURE: Final = "night.png"
SUMMARY: Final = "summary.json"
_YASA: Final = "hypnogram.yasa.json"
_CHECKSUM: Final = "checksum"
_LONGER: Final = 2.0  # than where it was measured may a gap be for the accuracy still to hold

EXPECTED: Final = Path(__file__).parents[1] / "engine" / "models" / "expected.json"
"""Of each model, its recipe's accuracy on people it was not trained on; ``make results`` writes
it."""

_ON_REQUEST: Final = {
    "edf": ("hypnogram.edf", write_edf),
    "annot": ("hypnogram.annot", write_annot),
    "fhir": ("sleep.fhir.json", write_fhir),
}
FILES: Final = (HYPNOGRAM, _YASA, *(name for name, _ in _ON_REQUEST.values()), PICTURE, SUMMARY)
"""All that are ever written of a night, the summary last."""


@dataclass(frozen=True)
class Wanted:
    """What is decided and written."""

    find_rem: bool = False
    """Decide at the model's operating point for REM."""
    pictures: bool = True
    """Draw each night."""
    edf: bool = False
    annot: bool = False
    fhir: bool = False
    """Write EDF+ annotations, annotations for Luna, an Observation of FHIR, too."""


@dataclass(frozen=True)
class Summary:
    """A night in one object, as ``summary.json`` has it; with an error, little else is known."""

    night: str
    """Its name, and that of its folder."""
    source: str
    format: str
    """Where it comes from."""
    error: str = ""
    """Why it could not be staged; empty if it was."""
    subject: str = ""
    """Whose night it is, where that is known."""
    simulated: bool = False
    """True if a simulator made the night or what the model was trained on."""
    trained_on: bool = False
    """True if the model was trained on nights of this person: agreement with them is no test."""
    start: float | None = None
    """In seconds on the recording's clock."""
    clock: list[str] = field(default_factory=list)
    """Start and end as clocks showed them; empty where time is no Unix time."""
    n_epochs: int = 0
    n_unscored: int = 0
    """Epochs, and those among them without a stage."""
    model: dict[str, str] = field(default_factory=dict)
    """Name, SHA-256 and version of the model."""
    signals: dict[str, dict[str, float | None]] = field(default_factory=dict)
    """Of heart rate, motion summaries and steps: number of samples during the night and the median
    of seconds between them."""
    expected: dict[str, Any] | None = None
    """How well the model does with such signals; see `expected_accuracy`."""
    statistics: dict[str, Any] | None = None
    """As `SleepStatistics`."""
    sleep_periods: list[dict[str, Any]] = field(default_factory=list)
    """``start`` and ``end`` in seconds on the recording's clock, ``nap``, and the period's own
    ``statistics``; see `sleepstage.core.periods`."""
    agreement: dict[str, dict[str, Any]] = field(default_factory=dict)
    """With the ``watch``, with the ``expert``: as `sleepstage.core.agreement.Agreement`, and
    ``by``, who scored those stages."""
    stages: list[tuple[int, str]] = field(default_factory=list)
    """The hypnogram: so many epochs of a stage, one stretch after the other."""
    others: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """The hypnograms that it is compared with, likewise."""
    fingerprint: str = ""
    """Of all that the result depends on."""

    @property
    def sparse(self) -> bool:
        """Whether less than half of it could be staged, so that its statistics say little."""
        return 2 * self.n_unscored > self.n_epochs


def score(
    recording: Recording, stager: Stager, model: str, wanted: Wanted
) -> tuple[Hypnogram, dict[str, Any]]:
    """Stage a night; its hypnogram, and values of `Summary`.

    Raises `DataError` if no epoch can be staged.
    """
    hypnogram = stager.predict(recording)
    if wanted.find_rem:
        hypnogram = hypnogram.decide(stager.info.class_weights)
    if (hypnogram.codes == UNSCORED).all():
        raise DataError(
            f"none of the {len(hypnogram)} epochs has heart rate or motion of a wrist: was the "
            "watch worn, and are all times on one clock?"
        )
    others = _others(recording, len(hypnogram))
    return hypnogram, {
        "subject": recording.subject,
        "simulated": hypnogram.simulated,
        "trained_on": stager.info.trained_on(recording.subject, recording.dataset),
        "start": recording.start,
        "clock": _span(hypnogram),
        "n_epochs": len(hypnogram),
        "n_unscored": int((hypnogram.codes == UNSCORED).sum()),
        "model": {"name": model, "sha256": stager.digest, "version": stager.info.version},
        "signals": {
            name: _describe(getattr(recording, name), recording)
            for name in ("heart_rate", "motion", "steps")
        },
        # It was measured at the largest probability.
        "expected": None if wanted.find_rem else expected_accuracy(model, recording),
        "statistics": asdict(hypnogram.statistics()),
        "sleep_periods": [
            {
                **asdict(period),
                "nap": period.nap,
                "statistics": asdict(hypnogram.statistics(mask=period.mask(hypnogram))),
            }
            for period in sleep_periods(hypnogram)
        ],
        "agreement": {
            name: {"by": other.subject, **compared}
            for name, other in others.items()
            if (compared := _compare(hypnogram, other))
        },
        "stages": _runs(hypnogram),
        "others": {name: _runs(other) for name, other in others.items()},
    }


def _span(hypnogram: Hypnogram) -> list[str]:
    """Start of the first epoch and end of the last one, as the clock showed them."""
    if hypnogram.start < UNIX_TIME:
        return []
    edges = (hypnogram.start, hypnogram.start + EPOCH_SECONDS * len(hypnogram))
    return [show_time(edge, hypnogram.utc_offset) for edge in edges]


def _others(recording: Recording, n_epochs: int) -> dict[str, Hypnogram]:
    """Hypnograms to compare with, of the very epochs that are staged."""
    by_source = {"expert": recording.reference, "watch": recording.watch_stages}
    found = {}
    for name, other in by_source.items():
        if other is not None:
            four = other.merge(FOUR_CLASS)
            codes = np.full(n_epochs, UNSCORED, dtype=np.int8)
            codes[: len(four)] = four.codes[:n_epochs]
            found[name] = replace(four, codes=codes, probabilities=None)
    return found


def _compare(hypnogram: Hypnogram, other: Hypnogram) -> dict[str, Any] | None:
    """Agreement where both have a stage; None where they never do."""
    codes = hypnogram.merge(FOUR_CLASS).codes
    both = (codes != UNSCORED) & (other.codes != UNSCORED)
    if not both.any():
        return None
    return asdict(agreement(other.codes[both], codes[both], FOUR_CLASS))


def _describe(samples: Samples, recording: Recording) -> dict[str, float | None]:
    times = samples.between(recording.start, recording.end).times
    gaps = np.sort(np.diff(times))
    # Weighted by the time that each gap covers: a burst has many samples and lasts minutes.
    every = float(gaps[gaps.cumsum().searchsorted(gaps.sum() / 2)]) if len(gaps) else None
    return {"samples": len(times), "seconds_between": every}


def expected_accuracy(model: str, recording: Recording) -> dict[str, Any] | None:
    """What was measured of a model of the package with signals like these, epoch by epoch.

    ``accuracy``, ``kappa`` and ``macro_f1`` in four classes, means over ten folds of so many
    ``people``, averaged over the epochs of the night; ``motion`` and ``seconds`` between heart
    rates as in most epochs. None for another model, and where half of the night or more has signals
    with which the model was not measured: no heart rate, one that is more than twice as rare,
    motion or no motion.
    """
    rows = json.loads(EXPECTED.read_text(encoding="utf-8")).get(model, [])
    edges = recording.start + EPOCH_SECONDS * np.arange(recording.n_epochs + 1, dtype=np.float64)
    moved = np.diff(recording.motion.n_before(edges, window_ends=True)) > 0
    gaps = _gaps(recording.heart_rate.times, edges[:-1] + EPOCH_SECONDS / 2)

    def nearest(motion: bool, gap: float) -> dict[str, Any] | None:
        fit = [one for one in rows if one["motion"] == motion and gap <= _LONGER * one["seconds"]]
        return min(fit, key=lambda one: abs(math.log(one["seconds"] / max(gap, 1.0))), default=None)

    known = list(filter(None, map(nearest, moved.tolist(), gaps.tolist())))
    if 2 * len(known) <= recording.n_epochs:
        return None
    means = {name: round(fmean(one[name] for one in known), 3) for name in NUMBERS}
    commonest: dict[str, Any] = max(rows, key=known.count)
    return {**commonest, **means}


def _gaps(times: Floats, moments: Floats) -> Floats:
    """Seconds between the samples before and after each moment; infinite outside all samples."""
    after = times.searchsorted(moments)
    known = np.concatenate([[-np.inf], times, [np.inf]])
    return np.asarray(known[after + 1] - known[after])


def _runs(hypnogram: Hypnogram) -> list[tuple[int, str]]:
    return [(n, stage) for _, n, stage in stage_runs(hypnogram)]


def write_night(
    folder: Path, hypnogram: Hypnogram, recording: Recording, summary: Summary, wanted: Wanted
) -> None:
    """Write all files of a night."""
    hypnogram.save(folder / HYPNOGRAM)
    write_yasa(hypnogram, folder / _YASA)
    for option, (name, write) in _ON_REQUEST.items():
        if getattr(wanted, option):
            write(hypnogram, folder / name)
    if wanted.pictures:
        from sleepstage.plotting import save_figure

        known, title = _others(recording, len(hypnogram)), summary.night
        if summary.expected is not None:
            title += f" (accuracy to expect: {summary.expected['accuracy']:.0%})"
        figure = hypnogram.plot(
            reference=known.get("expert"), watch=known.get("watch"), title=title
        )
        save_figure(figure, folder / PICTURE)
    write_text(folder / SUMMARY, summary_text(summary))


def summary_text(summary: Summary) -> str:
    """Return a summary as JSON, with a checksum by which `read_summary` believes it."""
    content = asdict(summary)
    return json.dumps({**content, _CHECKSUM: _checksum(content)}, indent=1) + "\n"


def read_summary(text: str) -> Summary | None:
    """Return what `summary_text` wrote; None if it was changed, or is of another version."""
    try:
        content = json.loads(text)
        checksum = content.pop(_CHECKSUM)
        return Summary(**content) if checksum == _checksum(content) else None
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return None


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
