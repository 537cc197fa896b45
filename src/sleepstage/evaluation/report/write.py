"""Write a report: one self-contained HTML page, and its tables as Markdown."""

from __future__ import annotations

import base64
import io
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sleepstage.evaluation.report.sections import data_section, glossary_section, sections
from sleepstage.evaluation.report.tables import Picture, Section, Table, escaped
from sleepstage.evaluation.report.verdict import Card, key_numbers, verdict
from sleepstage.files import write_atomically
from sleepstage.page import render

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sleepstage.metrics import ScoredNight

__all__ = ["write_report"]

_TEMPLATE: Final = "report.html.j2"
_DOTS_PER_INCH: Final = 110
_SIMULATED: Final = "SIMULATED nights: these numbers say nothing about people."


def write_report(
    results: Mapping[str, Any],
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
    results : mapping
        As `sleepstage.evaluation.report.sections` takes it.
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
    notes = (glossary_section(), data_section(simulated=simulated))
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
