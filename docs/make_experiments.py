"""Write docs/experiments.md: what each choice is worth. ``make experiments``, half an hour.

Each row trains and tests on the same ten folds by person with one thing changed.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import numpy as np
from make_results import markdown_table

from sleepstage.cli.console import console, number, progress_bar
from sleepstage.evaluation.experiment import Experiment, evaluate, plan
from sleepstage.features import FEATURES
from sleepstage.readers.sleep_accel import find_data
from sleepstage.training.config import DEFAULT_FEATURES, TrainingConfig, override
from sleepstage.training.run import load_nights

PAGE = Path(__file__).with_name("experiments.md")
SEED = 200  # folds that no other page and no choice of a default has used


def _features(*signals: str) -> str:
    names = [
        feature.name
        for feature in FEATURES
        if feature.signal in signals and feature.name in DEFAULT_FEATURES
    ]
    return f"features={','.join(names)}"


VARIATIONS: Final = {
    "the default": [],
    "one network in place of five": ["members=1"],
    "no class weights": ["class_balance=0"],
    "class weights of 0.5": ["class_balance=0.5"],
    "steps, too": [f"features={','.join([*DEFAULT_FEATURES, 'steps_24h', 'since_walk'])}"],
    "all features": [f"features={','.join(feature.name for feature in FEATURES)}"],
    "without elapsed time": [_features("heart_rate", "motion")],
    "heart rate and time only": [_features("heart_rate", "time")],
    "motion and time only": [_features("motion", "time")],
    "time only": [_features("time")],
    "no signal taken away in training": ["signal_dropout=0"],
    "no noise and no offset": ["noise=0", "offset=0"],
    "128 units": ["network.hidden=128"],
}

HEAD = """\
<!-- Written by `make experiments`, and by nothing else. -->
# What each choice is worth

Ten folds by person (seed {seed}), four classes, live; each row has one thing changed, as it is \
written
for `--set`. *Difference*: of kappa to the default on the same fold, mean over the folds ± its
standard error. A difference smaller than twice its error is no difference.

"""


def kappas(experiment: Experiment) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Kappa of each fold."""
    return np.array([run.metrics["four_class"]["kappa"] for run in experiment.runs])


def main() -> None:
    """Run all variations."""
    nights = load_nights(find_data())
    people = [night.subject for night in nights]
    experiments = {}
    for name, settings in VARIATIONS.items():
        config = override(TrainingConfig(seed=SEED), settings)
        tasks = plan(people, "kfold", number=10, config=config)
        out = Path("runs") / "experiments" / name.replace(" ", "-")
        with progress_bar(name) as progress:
            experiments[name] = evaluate(nights, tasks, out, on_run=progress)
        console.print(f"{name}: kappa {kappas(experiments[name]).mean():.3f}")
    rows = []
    for name, experiment in experiments.items():
        summary = experiment.summary["four_class"]
        difference = kappas(experiment) - kappas(experiments["the default"])
        error = difference.std(ddof=1) / math.sqrt(len(difference))
        set_to = " ".join(f"`{one}`" for one in VARIATIONS[name] if len(one) < 30)
        means = [number(summary[key]["mean"]) for key in ("accuracy", "kappa", "macro_f1")]
        rows.append(
            [
                f"{name} {set_to}".strip(),
                *means,
                number(summary["recall"]["rem"]["mean"]),
                f"{difference.mean():+.3f} ± {error:.3f}" if VARIATIONS[name] else "",
            ]
        )
    head = ["changed", "accuracy", "kappa", "macro F1", "REM recall", "difference"]
    PAGE.write_text(HEAD.format(seed=SEED) + markdown_table(head, rows), encoding="utf-8")
    console.print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
