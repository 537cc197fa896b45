"""Whether one model stages people better than another: both on the same people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import wilcoxon

from sleepstage.errors import DataError
from sleepstage.evaluation.people import Estimate, estimate, per_person
from sleepstage.metrics import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sleepstage.metrics import ScoredNight
    from sleepstage.stages import Scheme

__all__ = ["Difference", "compare"]


@dataclass(frozen=True)
class Difference:
    """A number under two models, over the people for whom both define it.

    Attributes
    ----------
    one, other : float or None
        Mean over people of each; None where there are none.
    difference : Estimate
        Of one minus other, person by person, with its 95 % confidence interval.
    p_value : float or None
        Two-sided, of differences that lie evenly around zero (Wilcoxon signed-rank test, zeros
        dropped); 1 where every difference is zero, None where there are no people.
    """

    one: float | None
    other: float | None
    difference: Estimate
    p_value: float | None


def compare(
    one: Mapping[str, ScoredNight], other: Mapping[str, ScoredNight], scheme: Scheme
) -> dict[str, Difference]:
    """Compare accuracy, kappa and macro F1 of two models on the same people.

    Parameters
    ----------
    one, other : mapping of str to ScoredNight
        By subject. Each person counts as independent: where somebody was tested in several splits
        under several names, intervals are too narrow and p values too small.
    scheme : Scheme
        The classes to compare in.

    Returns
    -------
    dict
        By ``accuracy``, ``kappa`` and ``macro_f1``.

    Raises
    ------
    DataError
        If a person occurs in only one of the two.

    References
    ----------
    Demšar (2006), Statistical comparisons of classifiers over multiple data sets, JMLR 7, 1-30.
    """
    alone = sorted(one.keys() ^ other.keys())
    if alone:
        msg = f"only one of the two models staged {', '.join(alone)}: give the same people to both"
        raise DataError(msg)
    left, right = per_person(one, scheme), per_person(other, scheme)
    return {
        name: _difference([(left[person][name], right[person][name]) for person in left])
        for name in NUMBERS
    }


def _difference(pairs: Sequence[tuple[float | None, float | None]]) -> Difference:
    known = [(one, other) for one, other in pairs if one is not None and other is not None]
    differences = [one - other for one, other in known]
    return Difference(
        one=estimate(one for one, _ in known).mean,
        other=estimate(other for _, other in known).mean,
        difference=estimate(differences),
        p_value=_signed_rank(differences),
    )


def _signed_rank(differences: Sequence[float]) -> float | None:
    if not differences:
        return None
    rounded = np.round(differences, 12)  # else differences that are equal get unequal ranks
    return float(wilcoxon(rounded).pvalue) if rounded.any() else 1.0
