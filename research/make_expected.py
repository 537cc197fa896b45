"""Write what accuracy to expect of the models in the package: ``make results``.

The recipe of each model on ten folds by person, with motion and without, with heart rate as often
as it was measured and thinned. `sleepstage score` reports the numbers nearest to a night's
signals beside its result. Runs that ``make_results`` left in runs/results are used.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from research.conditions import EVERYTHING, under_conditions, without_motion
from research.make_models import RECIPES
from research.make_results import OUT, SEEDS, real_nights
from sleepstage._utils.files import write_atomically
from sleepstage.batch.night import EXPECTED
from sleepstage.cli.console import console, progress_bar
from sleepstage.evaluation.experiment import evaluate, plan
from sleepstage.evaluation.run import Outcome
from sleepstage.ml.registry import CLASSIFIERS
from sleepstage.ml.variants import thin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sleepstage.core.recording import Recording
    from sleepstage.evaluation.schema import SchemeSummary
    from sleepstage.ml.dataset import PreparedNight

    Left = Callable[[Recording], Recording]

SECONDS: Final = (60.0, 120.0, 180.0, 300.0)
ALONE: Final = "heart-rate"  # the model that never sees motion


def conditions() -> dict[str, tuple[bool, float | None, Left]]:
    """By name: with motion or without, seconds between heart rates or None, what is left."""
    return {
        f"{'with motion' if motion else 'alone'}, {seconds or 'all'}": (
            motion,
            seconds,
            partial(left_of, motion=motion, seconds=seconds),
        )
        for motion in (True, False)
        for seconds in (None, *SECONDS)
    }


def left_of(night: Recording, *, motion: bool, seconds: float | None) -> Recording:
    """What a night would be without motion, or with a heart rate in so many seconds."""
    thinned = night if seconds is None else thin(night, seconds)
    return thinned if motion else without_motion(thinned)


def measure(nights: Sequence[PreparedNight], model: str) -> list[dict[str, Any]]:
    """What a model's recipe reaches under each condition."""
    people = [night.subject for night in nights]
    tasks = plan(
        people,
        "kfold",
        {RECIPES[model]: CLASSIFIERS[RECIPES[model]]},
        number=10,
        seed=SEEDS["kfold"],
    )
    with progress_bar(model) as progress:
        outcomes = evaluate(nights, tasks, OUT / "kfold", on_run=progress)
    runs = [one for one in outcomes.values() if isinstance(one, Outcome)]
    thinned = conditions()
    everything = {EVERYTHING: partial(left_of, motion=True, seconds=None)}
    with progress_bar(f"{model}: conditions") as progress:
        found = under_conditions(
            runs,
            nights,
            conditions=everything | {name: left for name, (_, _, left) in thinned.items()},
            on_run=progress,
        )
    usual = usual_seconds(nights)
    return [
        {
            "motion": motion,
            "seconds": seconds or usual,
            **rounded(found[one].summary),
            "people": len(people),
        }
        for one, (motion, seconds, _) in thinned.items()
        if not (motion and model == ALONE)
    ]


def rounded(summary: SchemeSummary) -> dict[str, float]:
    """Means over runs of the numbers that the table holds."""
    spreads = {"accuracy": summary.accuracy, "kappa": summary.kappa, "macro_f1": summary.macro_f1}
    means = ((name, spread.mean) for name, spread in spreads.items())
    return {name: round(mean, 3) for name, mean in means if mean is not None}


def usual_seconds(nights: Sequence[PreparedNight]) -> float:
    """Median over people of the median time between heart rates."""
    gaps = [np.median(np.diff(night.recording.heart_rate.times)) for night in nights]
    return round(float(np.median(gaps)), 1)


def main() -> None:
    """Measure all models, and write the table into the package."""
    nights = real_nights()
    table: Mapping[str, Any] = {name: measure(nights, name) for name in RECIPES}
    with write_atomically(EXPECTED) as temporary:
        temporary.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    console.print(f"wrote {EXPECTED}")


if __name__ == "__main__":
    main()
