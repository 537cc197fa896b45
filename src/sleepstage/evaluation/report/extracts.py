"""What sections and pictures both take out of the results of an evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sleepstage.stages import SCHEMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


__all__ = [
    "by_kappa",
    "class_label",
    "first_model",
    "number_labels",
    "pooled_confusion",
    "runs_of",
    "scheme_words",
    "schemes",
]


def schemes(of: Mapping[str, Any]) -> list[str]:
    """Names of the schemes that are keys of a mapping, finest first."""
    return [name for name in SCHEMES if name in of]


def scheme_words(scheme: str) -> str:
    """Name of a scheme in plain words."""
    return scheme.replace("_class", " classes")


def class_label(name: str) -> str:
    """Name of a class as it is written: REM, N2, light."""
    short = name in {"rem", "nrem"} or name[-1].isdigit()
    return name.upper() if short else name


def first_model(results: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Name and numbers of the model that the report is about."""
    name = next(iter(results["models"]))
    return name, results["models"][name]


def runs_of(results: Mapping[str, Any], model: str) -> list[Mapping[str, Any]]:
    """The runs of a model."""
    return [run for run in results["runs"] if run["model"] == model]


def pooled_confusion(runs: Sequence[Mapping[str, Any]], scheme: str) -> list[list[int]]:
    """Confusion of all runs together; rows: the expert's class."""
    pooled: list[list[int]] = np.sum([run[scheme]["confusion"] for run in runs], axis=0).tolist()
    return pooled


def number_labels(scheme: str) -> tuple[str, ...]:
    """Names of accuracy, kappa, macro F1 and the recall of each class."""
    recalls = (f"{class_label(name)} recall" for name in SCHEMES[scheme].classes)
    return "accuracy", "kappa", "macro F1", *recalls


def by_kappa(people: Mapping[str, Mapping[str, float | None]]) -> dict[str, Any]:
    """Numbers of each person, the lowest kappa first, and none at the end."""
    kappas = {name: (one["kappa"] is None, one["kappa"] or 0.0) for name, one in people.items()}
    return {name: people[name] for name in sorted(people, key=kappas.__getitem__)}
