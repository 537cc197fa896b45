"""A report: its sections, the same in HTML, in Markdown and in the docs, and how it is written.

The HTML page has its pictures in it; the Markdown has its tables.
"""

from __future__ import annotations

import base64
import io
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sleepstage._utils.files import render, write_atomically
from sleepstage.evaluation.report import agreement, people, probabilities
from sleepstage.evaluation.report.narrative import Card, key_numbers, verdict
from sleepstage.evaluation.report.tables import (
    Picture,
    Section,
    Table,
    by_kappa,
    escaped,
    pooled_confusion,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sleepstage.core.agreement import ScoredNight
    from sleepstage.evaluation.schema import Results

__all__ = ["DATASET", "sections", "write_report"]

_TEMPLATE: Final = "report.html.j2"
_DOTS_PER_INCH: Final = 110
_SIMULATED: Final = "SIMULATED nights: these numbers say nothing about people."
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


def sections(results: Results, nights: Mapping[str, ScoredNight] | None = None) -> list[Section]:
    """Sections on an evaluation, in order; what there is nothing on is left out.

    Parameters
    ----------
    results : Results
        From `sleepstage.evaluation.results.results`.
    nights : mapping of str to ScoredNight
        Test nights of the model named first; none for no section on single nights.
    """
    name, model = results.first
    runs, curves, finest = results.runs_of(name), model.curves, next(iter(model.people))
    confusion = pooled_confusion(runs, finest)
    found = [
        agreement.runs_section(runs, model.summary),
        agreement.failed_section(results.failed),
        agreement.operating_point_section(runs, model.summary, finest),
        agreement.confusion_section(confusion, finest),
        agreement.models_section(results),
        people.people_section(model.people),
        people.spread_section(name, by_kappa(model.per_night[finest]), finest),
        people.nights_section(nights or {}, finest),
        probabilities.curves_section(curves, confusion),
        probabilities.calibration_section(curves.reliability),
        probabilities.certainty_section(curves.certainty),
        probabilities.rem_section(curves.rem_trade_off, runs, finest),
        people.bland_altman_section(model.bland_altman),
    ]
    return [section for section in found if section is not None]


def write_report(
    results: Results,
    nights: Mapping[str, ScoredNight],
    out: Path,
    *,
    title: str,
    simulated: bool = False,
    more: Sequence[Section] = (),
) -> Path:
    """Write ``report.html``, which needs no other file and no network, and ``report.md``.

    Parameters
    ----------
    results : Results
        From `sleepstage.evaluation.results.results`.
    nights : mapping of str to ScoredNight
        Test nights of the model named first, from which the best, the median and the worst are
        drawn.
    out : path
        Folder to write to.
    title : str
        Heading.
    simulated : bool
        Says in words and across every picture that the nights are simulated; so does a simulated
        night among `nights`.
    more : sequence of Section
        Shown after those on the results.

    Returns
    -------
    path
        Of the HTML page.

    Raises
    ------
    MissingExtraError
        If Jinja or matplotlib is not installed.
    """
    simulated = simulated or any(night.predicted.simulated for night in nights.values())
    glossary = Table("", ("term", "meaning"), tuple(_GLOSSARY.items()), text_columns=2)
    notes = (Section("glossary", "Terms", "", (glossary,)), _data_section(simulated=simulated))
    filled: dict[str, Any] = {
        "title": title,
        "warning": _SIMULATED if simulated else "",
        "verdict": verdict(results),
        "cards": key_numbers(results),
        "sections": [*sections(results, nights), *more, *notes],
    }
    text = _markdown(**filled)
    filled["png"] = partial(_png, simulated=simulated)
    page = render(__package__, _TEMPLATE, filled, purpose="writing a report", extra="train")
    for name, content in (("report.md", text), ("report.html", page)):
        with write_atomically(out / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return out / "report.html"


def _markdown(
    title: str,
    warning: str,
    verdict: Sequence[str],
    cards: Sequence[Card],
    sections: Sequence[Section],
) -> str:
    numbers = Table("", ("mean over runs", "", ""), tuple(cards))
    lead, *rest = map(escaped, verdict)
    parts = [f"# {escaped(title)}", f"**{warning}**" if warning else "", f"**{lead}**"]
    parts.append(" ".join(rest))
    parts += [numbers.to_markdown(), *(section.to_markdown() for section in sections)]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _png(picture: Picture, *, simulated: bool) -> str:
    """A picture's bytes in base64."""
    buffer = io.BytesIO()
    figure = picture.figure(simulated=simulated)
    figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return base64.b64encode(buffer.getvalue()).decode()


def _data_section(*, simulated: bool) -> Section:
    """Attribution, as the licence of the nights asks for."""
    text = (
        "All nights are simulated: no number says anything about people."
        if simulated
        else "Contains information from 'Motion and heart rate from a wrist-worn wearable and "
        "labeled sleep from polysomnography' (Walch 2019), made available under the ODC "
        f"Attribution License: {DATASET}."
    )
    return Section("data", "Data", f"{text} Not a medical device.")
