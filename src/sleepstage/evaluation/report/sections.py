"""Text, tables and pictures of a report: the same in HTML, in Markdown and in the docs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sleepstage.evaluation.report import agreement, people, probabilities
from sleepstage.evaluation.report.extracts import (
    by_kappa,
    first_model,
    pooled_confusion,
    runs_of,
    schemes,
)
from sleepstage.evaluation.report.tables import Section, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sleepstage.metrics import ScoredNight

__all__ = ["DATASET", "data_section", "glossary_section", "sections"]

DATASET: Final = "https://doi.org/10.13026/hmhs-py35"

_GLOSSARY: Final = {
    "accuracy": "Share of 30-second epochs in which model and expert name the same stage.",
    "kappa": (
        "Cohen's kappa: agreement beyond what guessing by the shares of the stages would reach; 0 "
        "is chance, 1 is perfect. Two experts reach about 0.76 with each other (Lee et al. 2022, "
        "five stages)."
    ),
    "recall, sensitivity": "Share of a stage's epochs that the model finds.",
    "specificity": "Share of the epochs of all other stages that the model does not give it.",
    "precision": "Share of the epochs given a stage that are of this stage.",
    "macro F1": (
        "F1, the harmonic mean of recall and precision, averaged over stages: a rare stage weighs "
        "as much as a frequent one."
    ),
    "operating point": (
        "A factor on the probability of REM before the most probable stage is taken. Validation "
        "people choose it, never test people."
    ),
    "live, whole night": (
        "Live: an epoch is told from nothing later than its own end. Whole night: told afterwards, "
        "from the full recording."
    ),
    "95 % CI": (
        "Confidence interval of a mean over people, by a bootstrap (BCa) that draws people, not "
        "epochs."
    ),
    "std": "Sample standard deviation, over runs or over people as the table says.",
}


def sections(
    results: Mapping[str, Any], nights: Mapping[str, ScoredNight] | None = None
) -> list[Section]:
    """Sections on an evaluation, in order; what there is nothing on is left out.

    Parameters
    ----------
    results : mapping
        From `sleepstage.evaluation.results.results`.
    nights : mapping of str to ScoredNight
        Test nights of the model named first; none for no section on single nights.
    """
    name, model = first_model(results)
    own, runs = schemes(model["summary"]), runs_of(results, name)
    confusion, curves = pooled_confusion(runs, own[0]), model["curves"]
    found = [
        agreement.runs_section(runs, model["summary"], own),
        agreement.failed_section(results["failed"]),
        agreement.operating_point_section(runs, model["summary"], own[0]),
        agreement.confusion_section(confusion, own[0]),
        agreement.models_section(results),
        people.people_section(model["people"], own),
        people.spread_section(name, by_kappa(model["per_night"][own[0]]), own[0]),
        people.nights_section(nights or {}, own[0]),
        probabilities.curves_section(curves, confusion),
        probabilities.calibration_section(curves["reliability"]),
        probabilities.certainty_section(curves["certainty"]),
        probabilities.rem_section(curves["rem_trade_off"], runs, own[0]),
        people.bland_altman_section(model["bland_altman"]),
    ]
    return [section for section in found if section is not None]


def glossary_section() -> Section:
    """Terms and their meanings."""
    table = Table("", ("term", "meaning"), tuple(_GLOSSARY.items()), text_columns=2)
    return Section("glossary", "Terms", "", (table,))


def data_section(*, simulated: bool) -> Section:
    """Attribution, as the licence of the nights asks for."""
    text = (
        "All nights are simulated: no number says anything about people."
        if simulated
        else "Contains information from 'Motion and heart rate from a wrist-worn wearable and "
        "labeled sleep from polysomnography' (Walch 2019), made available under the ODC "
        f"Attribution License: {DATASET}."
    )
    return Section("data", "Data", f"{text} Not a medical device.")
