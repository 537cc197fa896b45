"""The report of an evaluation: what its numbers come to, and its sections.

The HTML page has its pictures in it; the Markdown has its tables.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from sleepstage._utils.files import render, write_atomically
from sleepstage.core.agreement import ScoredNight
from sleepstage.evaluation.report.sections import sections
from sleepstage.evaluation.report.tables import (
    Picture,
    Section,
    Table,
    escaped,
    number,
    section,
    texts,
)
from sleepstage.evaluation.schema import Results, Spread

DATASET: Final = "https://doi.org/10.13026/hmhs-py35"

_CONSISTENT_BELOW: Final = 0.05  # standard deviation of accuracy over runs
_DOTS_PER_INCH: Final = 110
_SIMULATED: Final = "SIMULATED nights: these numbers say nothing about people."
_PURPOSE: Final = "writing a report"
_WORDS: Final = {"five_class": "five", "four_class": "four", "three_class": "three"}


class Card(NamedTuple):
    """A number that matters: what it is, as it is shown, and how sure it is."""

    name: str
    value: str
    note: str


def key_numbers(results: Results) -> list[Card]:
    """Means over the runs of the model named first."""
    summary = results.summary
    finest, main = next(iter(summary.schemes.items()))
    cards = [_card("accuracy", main.accuracy, share=True), _card("kappa", main.kappa)]
    cards.append(_card("macro F1", main.macro_f1))
    if "rem" in main.recall:
        cards.append(_card("REM recall", main.recall["rem"], share=True))
        if summary.operating_point:
            decided = summary.operating_point[finest].recall["rem"]
            cards.append(_card("REM recall at the operating point", decided, share=True))
    if "three_class" in summary.schemes and finest != "three_class":
        accuracy = summary.schemes["three_class"].accuracy
        cards.append(_card("accuracy, three classes", accuracy, share=True))
    return cards


def _card(name: str, spread: Spread, *, share: bool = False) -> Card:
    show = _percent if share else number
    note = "one run" if spread.std is None else f"std over runs {show(spread.std)}"
    return Card(name, show(spread.mean), note)


def verdict(results: Results) -> list[str]:
    """What the model named first is worth, in a few plain sentences; the main one first."""
    name, model = results.first
    (finest, main), *coarser = results.summary.schemes.items()
    kappas = {
        one: kappa
        for one, compared in results.models.items()
        if finest in compared.people
        and (kappa := compared.people[finest]["kappa"].mean) is not None
    }
    filled = {
        "name": name,
        "model": model,
        "n_classes": _WORDS.get(finest),
        "main": main,
        "coarser": dict(coarser),
        "decided": (results.summary.operating_point or {}).get(finest),
        "people": model.people[finest],
        "accuracies": [run.metrics.schemes[finest].accuracy for run in results.runs_of(name)],
        "consistent_below": _CONSISTENT_BELOW,
        "kappas": kappas,
        "best": max(kappas, key=kappas.__getitem__, default=None),
        "results": results,
        "percent": _percent,
        "number": number,
    }
    text = render(__package__, "verdict.txt.j2", filled, purpose=_PURPOSE, extra="train")
    return [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


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

    Of the test `nights` of the model named first, the best, the median and the worst are drawn. If
    nights are `simulated`, or any of these is, words and every picture show it. `more` sections
    follow those on the results. Returns the path of the HTML page.
    """
    simulated = simulated or any(night.predicted.simulated for night in nights.values())
    terms = tuple(texts("terms").items())
    glossary = Table("", ("term", "meaning"), terms, text_columns=2)
    attribution = section("simulated data" if simulated else "data", dataset=DATASET)
    notes = (section("glossary", glossary), attribution)
    filled = {
        "title": title,
        "warning": _SIMULATED if simulated else "",
        "verdict": verdict(results),
        "cards": key_numbers(results),
        "sections": [*sections(results, nights), *more, *notes],
        "escaped": escaped,
        "png": partial(_png, simulated=simulated),
    }
    pages = {
        name: render(__package__, f"{name}.j2", filled, purpose=_PURPOSE, extra="train")
        for name in ("report.md", "report.html")
    }
    for name, page in pages.items():
        with write_atomically(out / name) as temporary:
            temporary.write_text(page, encoding="utf-8")
    return out / "report.html"


def _png(picture: Picture, *, simulated: bool) -> str:
    """A picture's bytes in base64."""
    buffer = io.BytesIO()
    figure = picture.figure(simulated=simulated)
    figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return base64.b64encode(buffer.getvalue()).decode()
