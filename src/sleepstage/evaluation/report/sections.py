"""Sections of a report: tables of numbers, and the pictures that go with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from sleepstage.core.agreement import NUMBERS, Agreement, Report, ScoredNight, agreement, pooled
from sleepstage.evaluation import schema
from sleepstage.evaluation.report import pictures
from sleepstage.evaluation.report.tables import (
    Cell,
    Picture,
    Section,
    Table,
    by_kappa,
    class_label,
    interval,
    number,
    number_labels,
    p_value,
    scheme_words,
    section,
)
from sleepstage.plotting import drawable
from sleepstage.stages import SCHEMES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN: Final = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)  # shares of epochs set aside


def sections(
    results: schema.Results, nights: Mapping[str, ScoredNight] | None = None
) -> list[Section]:
    """Sections on an evaluation, in order; what there is nothing on is left out.

    Single nights, of the model named first, are shown if their test `nights` are given.
    """
    name, model = results.first
    runs, finest = results.runs_of(name), next(iter(model.people))
    confusion = np.sum([run.metrics.schemes[finest].confusion for run in runs], axis=0).tolist()
    found = [
        _every_run(runs, model.summary),
        _failed(results.failed),
        _operating_point(runs, model.summary, finest),
        _confusion(confusion, finest),
        _models(results),
        _people(model.people),
        _each_person(name, model.per_night[finest], finest),
        _nights(nights or {}, finest),
        _curves(model.curves, confusion),
        _calibration(model.curves.reliability),
        _certainty(model.curves.certainty),
        _rem(model.curves.rem_trade_off, operating_point(runs, finest)),
        _bland_altman(model.bland_altman),
    ]
    return [section for section in found if section is not None]


def _numbers(of: Agreement) -> list[Cell]:
    return [of.accuracy, of.kappa, of.macro_f1, *of.recall.values()]


def _means(of: schema.SchemeSummary) -> list[Cell]:
    return [one.mean for one in of.spreads]


def _runs_table(
    reports: Sequence[tuple[int, str, Report]],
    summary: Mapping[str, schema.SchemeSummary],
    scheme: str,
    whose: str = "test people",
) -> Table:
    """A line for each run, a column of words on it, and mean and standard deviation at the end."""
    rows: list[tuple[Cell, ...]] = [
        (f"run {run}", words, *_numbers(report.schemes[scheme])) for run, words, report in reports
    ]
    rows.append(("mean", "", *_means(summary[scheme])))
    rows.append(("std", "", *(one.std for one in summary[scheme].spreads)))
    head = ("run", whose, *number_labels(scheme))
    return Table(scheme_words(scheme), head, rows, text_columns=2, totals=2)


def _every_run(runs: Sequence[schema.RunResult], summary: schema.Summary) -> Section:
    reports = [(run.run, " ".join(run.split.test), run.metrics) for run in runs]
    tables = [_runs_table(reports, summary.schemes, scheme) for scheme in summary.schemes]
    return section("runs", *tables)


def _failed(failed: Sequence[schema.FailedRun]) -> Section | None:
    rows = [(one.model, str(one.run), one.reason) for one in failed]
    table = Table("", ("model", "run", "reason"), rows, text_columns=3)
    return section("failed", table) if failed else None


def _operating_point(
    runs: Sequence[schema.RunResult], summary: schema.Summary, scheme: str
) -> Section | None:
    """The most probable class and the operating point beside each other; None without one."""
    if summary.operating_point is None:
        return None
    reports = []
    for run in runs:
        if (point := run.metrics.operating_point) is not None:
            factors = (f"{class_label(key)} {number(one)}" for key, one in point.factors.items())
            reports.append((run.run, ", ".join(factors), point))
    rows = (
        ("most probable class", *_means(summary.schemes[scheme])),
        ("operating point", *_means(summary.operating_point[scheme])),
    )
    beside = Table("mean over runs", ("decided by", *number_labels(scheme)), rows)
    return section(
        "operating point", beside, _runs_table(reports, summary.operating_point, scheme, "factor")
    )


def _confusion(confusion: Sequence[Sequence[int]], scheme: str) -> Section:
    """Confusion in epochs and in shares."""
    classes = SCHEMES[scheme].classes
    labels = tuple(map(class_label, classes))
    totals = [sum(row) for row in confusion]
    lines = list(zip(labels, confusion, totals, strict=True))
    head = ("expert \\ predicted", *labels)
    return section(
        "confusion",
        Table("epochs", (*head, "all"), [(name, *row, all_) for name, row, all_ in lines]),
        Table(
            "share of the expert's class",
            head,
            [(name, *(one / all_ if all_ else None for one in row)) for name, row, all_ in lines],
        ),
        Picture("confusion matrix", partial(pictures.plot_confusion, confusion, classes)),
    )


def _models(results: schema.Results) -> Section | None:
    """Every model and its difference to the first; None for a single one."""
    models = results.models
    if len(models) < 2:
        return None
    # The finest scheme in which all models are compared.
    every = [model.people for model in models.values()]
    scheme = next(name for name in every[0] if all(name in people for people in every))
    compared = ("kappa to the first", "95 % CI", "p")
    head = ("model", "decided", "people", "accuracy", "kappa", "macro F1", "REM recall", *compared)
    rows = [_model_row(name, model, scheme) for name, model in models.items()]
    order = sorted({run.run for run in results.runs})
    kappas = {(one.model, one.run): one.metrics.schemes[scheme].kappa for one in results.runs}
    each = [(f"run {run}", *(kappas.get((name, run)) for name in models)) for run in order]
    means = {name: model.people[scheme] for name, model in models.items()}
    live = {name: model.live for name, model in models.items()}
    people = {name: model.per_night[scheme] for name, model in models.items()}
    return section(
        "models",
        Table(scheme_words(scheme), head, rows, text_columns=2),
        Table("kappa of each run", ("run", *models), each),
        Picture(
            "mean over people of each model with its confidence interval",
            partial(pictures.plot_models, means, live=live),
        ),
        Picture("spread over people of each model", partial(pictures.plot_people, people)),
    )


def _model_row(name: str, model: schema.ModelResult, scheme: str) -> tuple[Cell, ...]:
    people, rem = model.people[scheme], model.people[scheme].get("sensitivity rem")
    kappa = model.against_first and model.against_first["kappa"]
    return (
        name,
        "live" if model.live else "whole night",
        people["accuracy"].n,
        *(people[key].mean for key in NUMBERS),
        rem.mean if rem else None,
        kappa.difference.mean if kappa else None,
        interval(kappa.difference.low, kappa.difference.high) if kappa else None,
        p_value(kappa.p_value) if kappa else None,
    )


def _people(people: Mapping[str, Mapping[str, schema.Estimate]]) -> Section:
    """Mean over people of each number, as Menghini et al. report it."""
    head = ("number", "people", "mean", "95 % CI", "std")
    tables = []
    for scheme, numbers in people.items():
        rows = [
            (_label(key), one.n, one.mean, interval(one.low, one.high), one.std)
            for key, one in numbers.items()
        ]
        tables.append(Table(scheme_words(scheme), head, rows))
    return section("people", *tables)


def _label(key: str) -> str:
    """Name of a number: macro F1, sensitivity REM."""
    kind, _, name = key.replace("macro_f1", "macro F1").partition(" ")
    return f"{kind} {class_label(name)}" if name else kind


def _each_person(model: str, people: Mapping[str, schema.Numbers], scheme: str) -> Section:
    names = (*NUMBERS, *(f"sensitivity {name}" for name in SCHEMES[scheme].classes))
    rows = [(who, *(one[name] for name in names)) for who, one in by_kappa(people).items()]
    return section(
        "spread",
        Table("", ("person", *number_labels(scheme)), rows),
        Picture(
            "kappa and accuracy of each person", partial(pictures.plot_people, {model: people})
        ),
    )


def _nights(nights: Mapping[str, ScoredNight], scheme: str) -> Section | None:
    """Which nights are drawn; None if none has a kappa."""
    chosen = chosen_nights(nights, scheme)
    rows = [(which, key, one.accuracy, one.kappa, one.macro_f1) for which, key, one in chosen]
    table = Table("", ("night", "person", "accuracy", "kappa", "macro F1"), rows, text_columns=2)
    drawn = [
        Picture(
            f"hypnogram of the {which} night, {key}",
            partial(_draw, nights[key], which, key, one.kappa),
        )
        for which, key, one in chosen
    ]
    return section("nights", table, *drawn) if chosen else None


def chosen_nights(
    nights: Mapping[str, ScoredNight], scheme: str
) -> list[tuple[str, str, Agreement]]:
    """Worst, median and best night by kappa: which, its key and its agreement.

    Nights without a kappa are left out; of two nights there is no median, one night is the only.
    """
    classes = SCHEMES[scheme]
    found = {key: agreement(*night.pair(classes), classes) for key, night in nights.items()}
    kappas = {key: one.kappa for key, one in found.items() if one.kappa is not None}
    order = sorted(kappas, key=kappas.__getitem__)
    last = len(order) - 1
    places = {"best": last, "median": last // 2, "worst": 0}
    if last < 2:
        places = {"best": 1, "worst": 0} if last == 1 else {"only": 0} if order else {}
    return [(which, order[place], found[order[place]]) for which, place in places.items()]


def _draw(night: ScoredNight, which: str, key: str, kappa: float | None) -> Figure:
    title = f"{which} night: {drawable(key)}, kappa {number(kappa)}"
    predicted = replace(night.predicted, simulated=False)  # `Picture` marks what is simulated
    return predicted.plot(reference=night.reference, title=title)


def _curves(curves: schema.Curves, confusion: Sequence[Sequence[int]]) -> Section:
    """Areas under the curves of each class, and its share of the epochs."""
    roc, precision_recall = curves.roc, curves.precision_recall
    total = sum(map(sum, confusion))
    shares = {
        name: sum(row) / total if total else None for name, row in zip(roc, confusion, strict=True)
    }
    areas = [
        [curve.area if curve else None for curve in of.values()] for of in (roc, precision_recall)
    ]
    rows = list(zip(map(class_label, roc), shares.values(), *areas, strict=True))
    draw = partial(pictures.plot_curves, roc, precision_recall, shares=shares)
    return section(
        "curves",
        Table("", ("class", "share of epochs", "ROC area", "average precision"), rows),
        Picture("ROC and precision-recall curves", draw),
    )


def _calibration(reliability: schema.Reliability) -> Section:
    """Expected calibration error, and each bin that has epochs."""
    edges = reliability.edges
    columns = reliability.n_epochs, reliability.confidence, reliability.accuracy
    rows = [
        (f"{low:.3f} to {high:.3f}", n_epochs, confidence, accuracy)
        for low, high, n_epochs, confidence, accuracy in zip(
            edges, edges[1:], *columns, strict=False
        )
        if n_epochs
    ]
    return section(
        "calibration",
        Table("", ("probability", "epochs", "mean probability", "share that is right"), rows),
        Picture("reliability diagram", partial(pictures.plot_reliability, reliability)),
        error=f"{reliability.expected_calibration_error:.3f}",
    )


def _certainty(points: Sequence[schema.CertaintyPoint]) -> Section:
    """Agreement once the least certain epochs are set aside."""
    rows = [
        (f"{100 * one.set_aside:.0f} %", *astuple(one)[1:])
        for one in points
        if one.set_aside in _SHOWN
    ]
    return section(
        "certainty",
        Table("", ("set aside", "epochs left", "least certainty left", "accuracy", "kappa"), rows),
        Picture(
            "accuracy and kappa of the more certain epochs",
            partial(pictures.plot_certainty, points),
        ),
    )


def _rem(points: Sequence[schema.RemPoint], chosen: pictures.RemChoice | None) -> Section:
    """Numbers at each factor on the probability of REM; the picture shows the chosen one."""
    head = ("factor", "REM recall", "REM precision", "accuracy", "kappa", "macro F1")
    return section(
        "rem",
        Table("", head, list(map(astuple, points)), text_columns=0),
        Picture(
            "REM recall against accuracy",
            partial(pictures.plot_rem_trade_off, points, operating_point=chosen),
        ),
    )


def operating_point(runs: Sequence[schema.RunResult], scheme: str) -> pictures.RemChoice | None:
    """REM factor (geometric mean over runs), and REM recall and accuracy of all runs pooled.

    None where a run has no factor for REM.
    """
    points = [run.metrics.operating_point for run in runs]
    decided = [one for one in points if one is not None and "rem" in one.factors]
    if len(decided) < len(runs) or "rem" not in SCHEMES[scheme].classes:
        return None
    agreements = [one.schemes[scheme] for one in decided]
    found = pooled([one.confusion for one in agreements], SCHEMES[scheme])
    n_epochs = sum(one.n_epochs for one in agreements)
    return pictures.RemChoice(
        factor=float(np.exp(np.mean(np.log([one.factors["rem"] for one in decided])))),
        recall=found.recall["rem"],
        accuracy=float(np.trace(found.confusion) / n_epochs) if n_epochs else None,
    )


def _bland_altman(measures: Mapping[str, schema.BlandAltman]) -> Section:
    """Bias, limits of agreement and slope of each sleep statistic."""
    head = ("statistic", "people", "bias", "95 % CI of bias", "limits of agreement", "slope", "p")
    labelled = {_measure_label(name): one for name, one in measures.items()}
    rows = [
        (
            label,
            one.bias.n,
            one.bias.mean,
            interval(one.bias.low, one.bias.high),
            interval(one.lower_limit, one.upper_limit),
            one.slope,
            p_value(one.p_value),
        )
        for label, one in labelled.items()
    ]
    draw = partial(pictures.plot_bland_altman, labelled)
    return section("bland-altman", Table("", head, rows), Picture("Bland-Altman plots", draw))


def _measure_label(name: str) -> str:
    """Name of a sleep statistic with its unit."""
    unit = "share" if name == "sleep_efficiency" else "min"
    words = " ".join(map(class_label, name.removeprefix("minutes ").split("_")))
    return f"{words} ({unit})"
