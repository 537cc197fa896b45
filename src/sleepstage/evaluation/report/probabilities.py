"""Sections on what the probabilities are worth."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sleepstage.core.agreement import pooled
from sleepstage.evaluation.report.tables import Picture, Section, Table, class_label
from sleepstage.plotting import plot_certainty, plot_curves, plot_reliability, plot_rem_trade_off
from sleepstage.stages import SCHEMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SHOWN: Final = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)


def curves_section(curves: Mapping[str, Any], confusion: Sequence[Sequence[int]]) -> Section:
    """Areas under the curves of each class, and its share of the epochs."""
    both = roc, precision_recall = curves["roc"], curves["precision_recall"]
    total = sum(map(sum, confusion))
    shares = {
        name: sum(row) / total if total else None for name, row in zip(roc, confusion, strict=True)
    }
    rows = tuple(
        (class_label(name), share, *(one[name] and one[name]["area"] for one in both))
        for name, share in shares.items()
    )
    head = ("class", "share of epochs", "ROC area", "average precision")
    text = (
        "Each class against all others, over all thresholds of its probability; all runs pooled. "
        "Guessing has a ROC area of 0.5 and an average precision of the share of the class."
    )
    drawn = Picture(
        "ROC and precision-recall curves",
        partial(plot_curves, roc, precision_recall, shares=shares),
    )
    return Section("curves", "ROC and precision-recall", text, (Table("", head, rows),), (drawn,))


def calibration_section(reliability: Mapping[str, Any]) -> Section:
    """Expected calibration error, and each bin that has epochs."""
    edges = reliability["edges"]
    columns = (reliability[name] for name in ("n_epochs", "confidence", "accuracy"))
    rows = tuple(
        (f"{low:.3f} to {high:.3f}", n_epochs, confidence, accuracy)
        for low, high, n_epochs, confidence, accuracy in zip(
            edges, edges[1:], *columns, strict=False
        )
        if n_epochs
    )
    error = reliability["expected_calibration_error"]
    text = (
        "Whether a stage predicted with a probability of 80 % is right in 80 %. The expected "
        f"calibration error, the mean distance of the two, is {error:.3f} (0 is perfect)."
    )
    head = ("probability", "epochs", "mean probability", "share that is right")
    drawn = Picture("reliability diagram", partial(plot_reliability, reliability))
    return Section("calibration", "Calibration", text, (Table("", head, rows),), (drawn,))


def certainty_section(points: Sequence[Mapping[str, Any]]) -> Section:
    """Agreement once the least certain epochs are set aside."""
    names = ("n_epochs", "certainty", "accuracy", "kappa")
    rows = tuple(
        (f"{100 * point['set_aside']:.0f} %", *(point[name] for name in names))
        for point in points
        if point["set_aside"] in _SHOWN
    )
    text = (
        "What the certainty of an epoch is worth: the least certain epochs of all people are set "
        "aside, and the others compared with the expert. Certainty is 1 less the normalised "
        "entropy of the probabilities; the least that is left is the threshold that does this. "
        "All runs pooled. What is left has other shares of the stages, on which kappa depends."
    )
    head = ("set aside", "epochs left", "least certainty left", "accuracy", "kappa")
    table = Table("", head, rows)
    drawn = Picture(
        "accuracy and kappa of the more certain epochs", partial(plot_certainty, points)
    )
    return Section("certainty", "Setting uncertain epochs aside", text, (table,), (drawn,))


def rem_section(
    points: Sequence[Mapping[str, float | None]], runs: Sequence[Mapping[str, Any]], scheme: str
) -> Section:
    """Numbers at each factor on the probability of REM; the picture shows the chosen one."""
    names = ("factor", "recall", "precision", "accuracy", "kappa", "macro_f1")
    rows = tuple(tuple(point[name] for name in names) for point in points)
    head = ("factor", "REM recall", "REM precision", "accuracy", "kappa", "macro F1")
    text = (
        "What finding more REM costs: the probability of REM is multiplied by a factor before the "
        "most probable class is taken; factor 1 leaves it. All runs pooled. No factor is chosen "
        "here: these are test people."
    )
    table = Table("", head, rows, text_columns=0)
    chosen = operating_point(runs, scheme)
    drawn = Picture(
        "REM recall against accuracy", partial(plot_rem_trade_off, points, operating_point=chosen)
    )
    return Section("rem", "Trading REM recall for accuracy", text, (table,), (drawn,))


def operating_point(
    runs: Sequence[Mapping[str, Any]], scheme: str
) -> dict[str, float | None] | None:
    """REM factor (geometric mean over runs), and REM recall and accuracy of all runs pooled.

    None where a run has no factor for REM.
    """
    decided = [run.get("operating_point", {"factors": {}}) for run in runs]
    class_weights = [one["factors"].get("rem") for one in decided]
    if None in class_weights or "rem" not in SCHEMES[scheme].classes:
        return None
    found = pooled([one[scheme]["confusion"] for one in decided], SCHEMES[scheme])
    n_epochs = sum(one[scheme]["n_epochs"] for one in decided)
    return {
        "factor": float(np.exp(np.mean(np.log(class_weights)))),
        "recall": found.recall["rem"],
        "accuracy": float(np.trace(found.confusion) / n_epochs) if n_epochs else None,
    }
