"""The same training on many splits by person: each run's results, and their mean and spread."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from joblib import Parallel, delayed

from sleepstage.files import write_atomically
from sleepstage.metrics import REPORTED_SCHEMES
from sleepstage.training.run import train_and_test
from sleepstage.training.split import holdout, kfold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sleepstage.training.config import TrainingConfig
    from sleepstage.training.nights import Night
    from sleepstage.training.run import Run
    from sleepstage.training.split import Split

__all__ = ["Experiment", "evaluate", "plan"]

_NUMBERS: Final = ("accuracy", "kappa", "macro_f1")


@dataclass(frozen=True)
class Experiment:
    """What was done and what came out.

    Attributes
    ----------
    runs : tuple of Run
        In the order of the splits.
    summary : dict
        ``{scheme: {number: {"mean": …, "std": …}, "recall": {class: {"mean": …, "std": …}}}}``
        over the runs; runs in which a number is not defined are left out of it.
    """

    runs: tuple[Run, ...]
    summary: dict[str, Any]


def plan(
    subjects: Sequence[str], protocol: str, *, number: int, config: TrainingConfig
) -> list[tuple[Split, TrainingConfig]]:
    """Splits of a protocol, each with the configuration to train with.

    Parameters
    ----------
    subjects : sequence of str
        All people.
    protocol : {"holdout", "kfold"}
        `number` fresh random 90/10 splits, with seeds that count up from the configuration's;
        or `number` folds in which each person tests once.
    number : int
        How many.
    config : TrainingConfig
        For the first run.
    """
    if protocol == "kfold":
        splits = kfold(subjects, n_folds=number, seed=config.seed, n_groups=config.groups)
        return [(split, config) for split in splits]
    configs = [replace(config, seed=config.seed + repeat) for repeat in range(number)]
    return [(holdout(subjects, seed=one.seed, n_groups=one.groups), one) for one in configs]


def evaluate(
    nights: Sequence[Night],
    tasks: Sequence[tuple[Split, TrainingConfig]],
    out: str | Path,
    *,
    jobs: int = -1,
    on_run: Callable[[int, int, str], None] | None = None,
) -> Experiment:
    """Train and test once for each task, several at a time, and write ``results.json``.

    Parameters
    ----------
    nights : sequence of Night
        One for each person.
    tasks : sequence of (Split, TrainingConfig)
        From `plan`.
    out : path
        Gets a folder for each run, as `train_and_test` fills it, and ``results.json``.
    jobs : int
        Runs at a time; -1 for one a core.
    on_run : callable, optional
        Called with runs done, of all, and a remark, after each.
    """
    out = Path(out)
    results = Parallel(n_jobs=jobs, return_as="generator")(
        delayed(train_and_test)(nights, config, out / f"run-{number}", split=split)
        for number, (split, config) in enumerate(tasks, start=1)
    )
    runs = []
    for run in results:
        runs.append(run)
        if on_run:
            accuracy = run.metrics["four_class"]["accuracy"]
            on_run(len(runs), len(tasks), f"test accuracy {accuracy:.3f}")
    experiment = Experiment(tuple(runs), summarise([run.metrics for run in runs]))
    with write_atomically(out / "results.json") as temporary:
        content = {
            "runs": [{"split": asdict(run.split), **run.metrics} for run in runs],
            "summary": experiment.summary,
        }
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return experiment


def summarise(metrics: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and sample standard deviation over runs of each number and each recall."""
    return {
        scheme.name: {
            **{key: _spread([run[scheme.name][key] for run in metrics]) for key in _NUMBERS},
            "recall": {
                name: _spread([run[scheme.name]["recall"][name] for run in metrics])
                for name in scheme.classes
            },
        }
        for scheme in REPORTED_SCHEMES
    }


def _spread(values: Sequence[float | None]) -> dict[str, float | None]:
    known = [value for value in values if value is not None]
    return {
        "mean": float(np.mean(known)) if known else None,
        "std": float(np.std(known, ddof=1)) if len(known) > 1 else None,
    }
