"""Pictures of a report, and the section that each belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sleepstage.evaluation.report.extracts import (
    chosen_nights,
    first_model,
    measure_label,
    numbers_of_people,
    pooled_confusion,
    runs_of,
    schemes,
    shared_scheme,
)
from sleepstage.evaluation.report.studies import LEAKS, study_scheme
from sleepstage.evaluation.report.tables import number
from sleepstage.plotting import (
    plot_ablation,
    plot_bland_altman,
    plot_certainty,
    plot_confusion,
    plot_curves,
    plot_learning_curve,
    plot_models,
    plot_night,
    plot_people,
    plot_reliability,
    plot_rem_trade_off,
)
from sleepstage.plotting.style import drawable, mark_simulated
from sleepstage.stages import SCHEMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matplotlib.figure import Figure

    from sleepstage.metrics import ScoredNight

    Pictures = Iterator[tuple[str, str, Figure]]

__all__ = ["operating_point", "pictures"]


def pictures(
    results: Mapping[str, Any], nights: Mapping[str, ScoredNight], *, simulated: bool
) -> Pictures:
    """Draw one picture after the other: name of its section, what it shows, and the picture."""
    for section, shows, figure in _pictures(results, nights):
        if simulated:
            mark_simulated(figure)
        yield section, shows, figure


def _pictures(results: Mapping[str, Any], nights: Mapping[str, ScoredNight]) -> Pictures:
    name, model = first_model(results)
    runs, curves = runs_of(results, name), model["curves"]
    scheme = schemes(model["summary"])[0]
    classes = SCHEMES[scheme].classes
    confusion = pooled_confusion(runs, scheme)
    yield "confusion", "confusion matrix", plot_confusion(confusion, classes)
    yield from _models(results)
    people = {name: numbers_of_people(runs, scheme)}
    yield "spread", "kappa and accuracy of each person", plot_people(people)
    yield from _nights(nights, scheme)
    yield from _curves(curves, confusion)
    chosen = operating_point(runs, scheme)
    drawn = plot_rem_trade_off(curves["rem_trade_off"], operating_point=chosen)
    yield "rem", "REM recall against accuracy", drawn
    measures = {measure_label(key): one for key, one in model["bland_altman"].items()}
    yield "bland-altman", "Bland-Altman plots", plot_bland_altman(measures)
    for study, variations in results.get("studies", {}).items():
        yield from _study(study, variations)


def operating_point(
    runs: Sequence[Mapping[str, Any]], scheme: str
) -> dict[str, float | None] | None:
    """REM factor (geometric mean over runs), and REM recall and accuracy of all runs pooled.

    None where a run has no factor for REM.
    """
    decided = [run.get("operating_point", {"factors": {}}) for run in runs]
    factors = [one["factors"].get("rem") for one in decided]
    if None in factors or "rem" not in SCHEMES[scheme].classes:
        return None
    confusion = np.array(pooled_confusion(decided, scheme))
    rem = SCHEMES[scheme].classes.index("rem")
    n_epochs = [one[scheme]["n_epochs"] for one in decided]
    total, scored = sum(n_epochs), confusion[rem].sum()
    return {
        "factor": float(np.exp(np.mean(np.log(factors)))),
        "recall": float(confusion[rem, rem] / scored) if scored else None,
        "accuracy": float(np.trace(confusion) / total) if total else None,
    }


def _models(results: Mapping[str, Any]) -> Pictures:
    models = results["models"]
    if len(models) < 2:
        return
    scheme = shared_scheme(results)
    means = {name: model["people"][scheme] for name, model in models.items()}
    live = {name: model["live"] for name, model in models.items()}
    drawn = plot_models(means, live=live)
    yield "models", "mean over people of each model with its confidence interval", drawn
    people = {name: numbers_of_people(runs_of(results, name), scheme) for name in models}
    yield "models", "spread over people of each model", plot_people(people)


def _curves(curves: Mapping[str, Any], confusion: Sequence[Sequence[int]]) -> Pictures:
    roc, precision_recall = curves["roc"], curves["precision_recall"]
    total = sum(map(sum, confusion)) or 1
    shares = {name: sum(row) / total for name, row in zip(roc, confusion, strict=True)}
    drawn = plot_curves(roc, precision_recall, shares=shares)
    yield "curves", "ROC and precision-recall curves", drawn
    drawn = plot_reliability(curves["reliability"])
    yield "calibration", "reliability diagram", drawn
    drawn = plot_certainty(curves["certainty"])
    yield "certainty", "accuracy and kappa of the more certain epochs", drawn


def _nights(nights: Mapping[str, ScoredNight], scheme: str) -> Pictures:
    for which, key, numbers in chosen_nights(nights, scheme):
        predicted, reference = nights[key].predicted, nights[key].reference
        drawn = plot_night(
            predicted.times,
            [("expert", reference.merge(predicted.scheme).codes), ("model", predicted.codes)],
            predicted.scheme,
            probabilities=predicted.probabilities,
            title=f"{which} night: {drawable(key)}, kappa {number(numbers['kappa'])}",
        )
        yield "nights", f"hypnogram of the {which} night, {key}", drawn


def _study(study: str, variations: Mapping[str, Mapping[str, Any]]) -> Pictures:
    """Draw the learning curve where numbers of people differ, else differences; no leaks."""
    if study == LEAKS or not variations:
        return
    counted = [one for one in variations.values() if one["n_people"] is not None]
    if len({one["n_people"] for one in counted}) > 1:
        scheme = study_scheme(variations)
        points = [
            {"n_people": one["n_people"], **_within_std(one["summary"][scheme]["kappa"])}
            for one in counted
        ]
        drawn = plot_learning_curve(points)
        yield f"study {study}", "learning curve", drawn
        return
    differences = {name: one["difference"] for name, one in variations.items()}
    if any(differences.values()):
        drawn = plot_ablation(differences)
        yield f"study {study}", "difference of kappa to the unchanged model", drawn


def _within_std(spread: Mapping[str, float | None]) -> dict[str, float | None]:
    mean, std = spread["mean"], spread["std"]
    reach = 0.0 if std is None else std
    return {
        "mean": mean,
        "low": None if mean is None else mean - reach,
        "high": None if mean is None else mean + reach,
    }
