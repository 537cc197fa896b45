"""Text, tables and pictures of a report: the same in HTML, in Markdown and in the docs."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from sleepstage.evaluation.report.agreement import (
    confusion_section,
    failed_section,
    models_section,
    operating_point_section,
    runs_section,
)
from sleepstage.evaluation.report.extracts import (
    first_model,
    numbers_of_people,
    pooled_confusion,
    runs_of,
    schemes,
)
from sleepstage.evaluation.report.people import (
    bland_altman_section,
    nights_section,
    people_section,
    spread_section,
)
from sleepstage.evaluation.report.probabilities import (
    calibration_section,
    certainty_section,
    curves_section,
    operating_point,
    rem_section,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sleepstage.evaluation.report.tables import Section
    from sleepstage.metrics import ScoredNight

__all__ = ["sections"]

_NO_NIGHTS: Final[Mapping[str, ScoredNight]] = MappingProxyType({})


def sections(
    results: Mapping[str, Any], nights: Mapping[str, ScoredNight] = _NO_NIGHTS
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
        runs_section(runs, model["summary"], own),
        failed_section(results["failed"]),
        operating_point_section(runs, model["summary"], own[0]),
        confusion_section(confusion, own[0]),
        models_section(results),
        people_section(model["people"], own),
        spread_section(name, numbers_of_people(runs, own[0])),
        nights_section(nights, own[0]),
        curves_section(curves, confusion),
        calibration_section(curves["reliability"]),
        certainty_section(curves["certainty"]),
        rem_section(curves["rem_trade_off"], operating_point(runs, own[0])),
        bland_altman_section(model["bland_altman"]),
    ]
    return [section for section in found if section is not None]
