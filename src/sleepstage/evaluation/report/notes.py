"""What stands at the end of every report: words explained, and whose data it is."""

from __future__ import annotations

from typing import Final

from sleepstage.evaluation.report.tables import Section, Table

__all__ = ["DATASET", "data_section", "glossary_section"]

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
