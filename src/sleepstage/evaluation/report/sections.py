"""A report: its sections, the same in HTML, in Markdown and in the docs, and how it is written.

The HTML page has its pictures in it; the Markdown has its tables.
"""

from __future__ import annotations

import base64
import io
import json
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from sleepstage._utils.files import render, write_atomically
from sleepstage.evaluation.report import agreement, people, probabilities
from sleepstage.evaluation.report.tables import (
    Picture,
    Section,
    Table,
    by_kappa,
    escaped,
    number,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sleepstage.core.agreement import ScoredNight
    from sleepstage.evaluation.schema import Estimate, Results, Spread, Summary

DATASET: Final = "https://doi.org/10.13026/hmhs-py35"

_CONSISTENT_BELOW: Final = 0.05  # standard deviation of accuracy over runs
_DOTS_PER_INCH: Final = 110
_SIMULATED: Final = "SIMULATED nights: these numbers say nothing about people."
_TEMPLATE: Final = "report.html.j2"
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
    summary, finest = results.summary, next(iter(results.summary.schemes))
    accuracies = [run.metrics.schemes[finest].accuracy for run in results.runs_of(name)]
    sentences = [
        _headline(results, finest, len(accuracies)),
        _over_people(model.people[finest]),
        _coarser(summary),
        _rem(summary, finest),
        _consistency(accuracies, summary.schemes[finest].accuracy.std),
        _others(results, finest),
    ]
    if failed := len(results.failed):
        sentences.append(f"{failed} of {failed + len(results.runs)} runs could not be done.")
    return [sentence for sentence in sentences if sentence]


def _headline(results: Results, finest: str, n_runs: int) -> str:
    name, model = results.first
    main = results.summary.schemes[finest]
    how = "from nothing later than the epoch itself" if model.live else "once the night is over"
    runs = "one run" if n_runs == 1 else f"mean over {n_runs} runs"
    one_of = f"names the right one of {_WORDS[finest]} stages" if finest in _WORDS else ""
    task = one_of or "separates sleep from wake"
    return (
        f"On people it has never seen, {name} {task} in "
        f"{_percent(main.accuracy.mean)} of epochs, {how} ({runs}); its agreement with the "
        f"expert beyond chance, kappa, is {number(main.kappa.mean)}."
    )


def _over_people(people: Mapping[str, Estimate]) -> str:
    accuracy, kappa = people["accuracy"], people["kappa"]
    if None in (accuracy.low, kappa.low):
        return "There are too few people for a confidence interval."
    return (
        f"Averaged over {accuracy.n} people, accuracy is {_percent(accuracy.mean)} "
        f"(95 % CI {_percent(accuracy.low)} to {_percent(accuracy.high)}) and kappa "
        f"{number(kappa.mean)} ({number(kappa.low)} to {number(kappa.high)})."
    )


def _coarser(summary: Summary) -> str:
    parts = []
    _, *coarser = summary.schemes.items()
    right = {name: _percent(one.accuracy.mean) for name, one in coarser}
    if "three_class" in right:
        parts.append(f"With three classes (wake, NREM, REM) it is right in {right['three_class']}")
    if "two_class" in right:
        parts.append(f"sleep is separated from wake in {right['two_class']}")
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}." if parts else ""


def _rem(summary: Summary, finest: str) -> str:
    found = summary.schemes[finest].rem_recall
    if found is None:
        return ""
    sentence = f"It finds {_percent(found)} of REM sleep"
    if summary.operating_point:
        decided = summary.operating_point[finest]
        sentence += (
            f", and {_percent(decided.rem_recall)} at the operating point, where "
            f"accuracy is {_percent(decided.accuracy.mean)}"
        )
    return sentence + "."


def _consistency(accuracies: Sequence[float], std: float | None) -> str:
    if std is None:
        return "One run only says nothing about consistency."
    word = "consistent" if std < _CONSISTENT_BELOW else "not consistent"
    return (
        f"Over {len(accuracies)} runs accuracy ranges from {_percent(min(accuracies))} to "
        f"{_percent(max(accuracies))} with a standard deviation of {number(std)}: {word}, by the "
        f"rule that it must be below {_CONSISTENT_BELOW}."
    )


def _others(results: Results, finest: str) -> str:
    kappas = {
        name: kappa
        for name, model in results.models.items()
        if finest in model.people and (kappa := model.people[finest]["kappa"].mean) is not None
    }
    if len(kappas) < 2:
        return ""
    best = max(kappas, key=kappas.__getitem__)
    when = "live" if results.models[best].live else "which needs the whole night"
    return f"Of {len(kappas)} models compared, {best} ({when}) has the highest kappa over people."


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def sections(results: Results, nights: Mapping[str, ScoredNight] | None = None) -> list[Section]:
    """Sections on an evaluation, in order; what there is nothing on is left out.

    Single nights, of the model named first, are shown if their test `nights` are given.
    """
    name, model = results.first
    runs, curves, finest = results.runs_of(name), model.curves, next(iter(model.people))
    confusion = np.sum([run.metrics.schemes[finest].confusion for run in runs], axis=0).tolist()
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
    nights : mapping of str to ScoredNight
        Test nights of the model named first, from which the best, the median and the worst are
        drawn.
    simulated : bool
        Says in words and across every picture that the nights are simulated; so does a simulated
        night among `nights`.
    more : sequence of Section
        Shown after those on the results.

    Returns
    -------
    path
        Of the HTML page.
    """
    simulated = simulated or any(night.predicted.simulated for night in nights.values())
    terms = json.loads(files(__package__).joinpath("glossary.json").read_text(encoding="utf-8"))
    glossary = Table("", ("term", "meaning"), tuple(terms.items()), text_columns=2)
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
