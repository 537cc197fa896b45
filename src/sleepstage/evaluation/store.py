"""What a run left behind, read again: an interrupted evaluation goes on where it stopped."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl

from sleepstage.calibration import likeliest
from sleepstage.evaluation.run import MODEL_FILE, Outcome, save
from sleepstage.files import write_atomically, write_json
from sleepstage.hypnogram import Hypnogram
from sleepstage.metrics import ScoredNight
from sleepstage.stages import SCHEMES, UNSCORED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sleepstage.classifiers.contract import Classifier
    from sleepstage.evaluation.split import Split
    from sleepstage.training.nights import Night

__all__ = ["recall", "remember"]

_PREDICTIONS = "predictions.parquet"
_STAMP = "run.json"


def remember(outcome: Outcome, out: Path, fingerprint: str) -> None:
    """Write the run's files and predictions, and last of all the stamp that says they are whole."""
    (out / _STAMP).unlink(missing_ok=True)
    save(outcome, out)
    frame = pl.concat(
        night.predicted.to_frame().with_columns(subject=pl.lit(subject))
        for subject, night in outcome.scored.items()
    )
    with write_atomically(out / _PREDICTIONS) as temporary:
        frame.write_parquet(temporary)
    scheme = next(iter(outcome.scored.values())).predicted.scheme.name
    stamp = {"fingerprint": fingerprint, "scheme": scheme, "factors": outcome.factors}
    write_json(out / _STAMP, stamp)


def recall(
    out: Path, fingerprint: str, classifier: Classifier, split: Split, nights: Mapping[str, Night]
) -> Outcome | None:
    """What `remember` wrote, or None if it is of another run, or was not finished."""
    try:
        stamp = json.loads((out / _STAMP).read_text(encoding="utf-8"))
        if stamp["fingerprint"] != fingerprint:
            return None
        frame = pl.read_parquet(out / _PREDICTIONS)
        model_file = out / MODEL_FILE
        model = model_file.read_bytes() if model_file.exists() else b""
    except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError):
        return None
    scheme = SCHEMES[stamp["scheme"]]
    scored = {}
    for subject in split.test:
        night, mine = nights[subject], frame.filter(pl.col("subject") == subject)
        reference = night.recording.reference
        if reference is None or len(mine) != len(night.codes):
            return None
        probabilities = mine.select(f"p_{name}" for name in scheme.classes).to_numpy()
        predicted = Hypnogram(
            night.recording.start,
            likeliest(probabilities),
            scheme,
            probabilities,
            subject=subject,
            simulated="simulated" in mine.columns,
        )
        scored[subject] = ScoredNight(predicted, reference, night.codes != UNSCORED)
    return Outcome(classifier, split, scored, stamp["factors"], model)
