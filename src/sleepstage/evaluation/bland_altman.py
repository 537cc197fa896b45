"""How far sleep statistics of predicted nights lie from the expert's, by Bland and Altman."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.stats import linregress

from sleepstage.core.statistics import sleep_statistics
from sleepstage.evaluation.people import Estimate, estimate
from sleepstage.stages import UNSCORED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sleepstage.core.agreement import ScoredNight
    from sleepstage.core.hypnogram import Hypnogram
    from sleepstage.stages import Scheme

__all__ = ["BlandAltman", "bland_altman"]

_MEASURES: Final = (
    "total_sleep_time",
    "sleep_efficiency",
    "sleep_onset_latency",
    "wake_after_sleep_onset",
)
_REACH: Final = 1.96  # standard deviations that hold 95 % of a normal distribution


@dataclass(frozen=True)
class BlandAltman:
    """Agreement of one sleep statistic, in its unit: minutes, or a share for efficiency.

    Attributes
    ----------
    people : list of str
        For whom the statistic is defined in both hypnograms.
    predicted, reference : list of float
        Its value for each of them.
    bias : Estimate
        Mean, standard deviation and confidence interval of predicted minus reference.
    lower_limit, upper_limit : float or None
        Limits of agreement, bias ± 1.96 standard deviations; None for fewer than two people.
    slope, intercept : float or None
        Line of the difference on the reference; a slope is a bias that grows with size. None for
        fewer than three people or where all have the same reference.
    p_value : float or None
        Of a slope of zero (t-test); None also where all differences are the same.
    """

    people: list[str]
    predicted: list[float]
    reference: list[float]
    bias: Estimate
    lower_limit: float | None
    upper_limit: float | None
    slope: float | None
    intercept: float | None
    p_value: float | None


def bland_altman(nights: Mapping[str, ScoredNight], scheme: Scheme) -> dict[str, BlandAltman]:
    """Compare sleep statistics, person by person, over the same epochs of both hypnograms.

    An epoch counts where the mask holds and both hypnograms are scored. A person without one is
    left out.

    Parameters
    ----------
    nights : mapping of str to ScoredNight
        By person.
    scheme : Scheme
        The classes whose minutes are compared.

    Returns
    -------
    dict
        By ``total_sleep_time``, ``sleep_efficiency``, ``sleep_onset_latency``,
        ``wake_after_sleep_onset`` and, for each class, such as ``minutes rem``.

    References
    ----------
    Bland and Altman (1999), Measuring agreement in method comparison studies, Statistical Methods
    in Medical Research 8, 135-160. Menghini et al. (2021), Sleep 44(2), zsaa170: differences
    against the reference instead of the mean of both, as the reference is the gold standard.
    """
    measured = {
        person: tuple(
            _measure(hypnogram.merge(scheme), counted)
            for hypnogram in (night.predicted, night.reference)
        )
        for person, night in nights.items()
        if (counted := night.counted & np.not_equal(night.predicted.codes, UNSCORED)).any()
    }
    return {
        name: _analyse({who: (one[name], two[name]) for who, (one, two) in measured.items()})
        for name in (*_MEASURES, *(f"minutes {name}" for name in scheme.classes))
    }


def _measure(hypnogram: Hypnogram, counted: NDArray[np.bool_]) -> dict[str, float | None]:
    found = sleep_statistics(hypnogram, mask=counted)
    values: dict[str, float | None] = {name: getattr(found, name) for name in _MEASURES}
    return values | {f"minutes {name}": minutes for name, minutes in found.minutes.items()}


def _analyse(pairs: Mapping[str, tuple[float | None, float | None]]) -> BlandAltman:
    known = {
        person: (predicted, reference)
        for person, (predicted, reference) in pairs.items()
        if predicted is not None and reference is not None
    }
    predictions, references = ([pair[side] for pair in known.values()] for side in (0, 1))
    differences = [predicted - reference for predicted, reference in known.values()]
    bias = estimate(differences)
    lower = upper = None
    if bias.mean is not None and bias.std is not None:
        lower, upper = bias.mean - _REACH * bias.std, bias.mean + _REACH * bias.std
    line = _line(references, differences)
    return BlandAltman(list(known), predictions, references, bias, lower, upper, *line)


def _line(
    references: Sequence[float], differences: Sequence[float]
) -> tuple[float | None, float | None, float | None]:
    if len(references) < 3 or len(set(references)) == 1:
        return None, None, None
    fit = linregress(references, differences)
    p_value = float(fit.pvalue) if np.isfinite(fit.pvalue) else None
    return float(fit.slope), float(fit.intercept), p_value
