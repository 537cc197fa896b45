"""How well each person is staged, by one model or two; people, not epochs, count."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap, linregress, wilcoxon

from sleepstage.core.agreement import NUMBERS, ScoredNight, agreement
from sleepstage.core.hypnogram import Hypnogram
from sleepstage.core.recording import person_of
from sleepstage.errors import DataError
from sleepstage.evaluation.schema import BlandAltman, Difference, Estimate, Numbers, Spread
from sleepstage.stages import UNSCORED, Scheme

_RESAMPLES: Final = 9999
_SEED: Final = 0  # the same for every number, so that none depends on which were made before it


def estimate(values: Iterable[float | None]) -> Estimate:
    """Mean, spread and confidence interval of a number that each person has one of.

    The interval is a bootstrap over people, bias-corrected and accelerated (BCa). Sensitivities
    and the like crowd towards 1 with a tail of people for whom the model fails: a percentile
    interval errs with that skew by an order of 1 / n, BCa by less, and like it never leaves the
    range of the values (Efron 1987, JASA 82(397), 171-185). Neither makes up for few people: below
    about ten it is too narrow.

    People are taken as independent; None, where the number is not defined, is left out.
    """
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    low, high = _interval(known) if len(known) > 1 else (None, None)
    return Estimate(**vars(spread(known)), low=low, high=high, n=len(known))


def spread(values: Iterable[float | None]) -> Spread:
    """Mean and sample standard deviation of what is not None."""
    known = [value for value in values if value is not None]
    return Spread(
        mean=float(np.mean(known)) if known else None,
        std=float(np.std(known, ddof=1)) if len(known) > 1 else None,
    )


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    if np.allclose(values, values[0], rtol=1e-9, atol=1e-12):  # BCa divides by their spread
        return float(values.mean()), float(values.mean())
    found = bootstrap((values,), np.mean, n_resamples=_RESAMPLES, method="BCa", rng=_SEED)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def per_person(nights: Mapping[str, ScoredNight], scheme: Scheme) -> dict[str, Numbers]:
    """Agreement with the expert, person by person, over all nights that each of them has.

    ``accuracy``, ``kappa``, ``macro_f1`` (over the classes that occur) and for each class such as
    ``sensitivity rem``, ``specificity rem`` and ``precision rem``; None where a number is not
    defined: there is no such epoch, or none was predicted.
    """
    people: dict[str, list[ScoredNight]] = {}
    for subject, night in nights.items():
        people.setdefault(person_of(subject), []).append(night)
    return {person: _numbers(theirs, scheme) for person, theirs in people.items()}


def per_night(nights: Mapping[str, ScoredNight], scheme: Scheme) -> dict[str, Numbers]:
    """Do the same night by night."""
    return {subject: _numbers([night], scheme) for subject, night in nights.items()}


def _numbers(nights: Sequence[ScoredNight], scheme: Scheme) -> Numbers:
    pairs = [night.pair(scheme) for night in nights]
    reference, predicted = (np.concatenate(side) for side in zip(*pairs, strict=True))
    found = agreement(reference, predicted, scheme)
    numbers = {
        "accuracy": found.accuracy if found.n_epochs else None,
        "kappa": found.kappa,
        "macro_f1": found.macro_f1 if found.n_epochs else None,
    }
    for code, name in enumerate(scheme.classes):
        others = predicted[reference != code]
        numbers[f"sensitivity {name}"] = found.recall[name]
        numbers[f"specificity {name}"] = float(np.mean(others != code)) if len(others) else None
        numbers[f"precision {name}"] = found.precision[name]
    return numbers


def compare(
    one: Mapping[str, ScoredNight], other: Mapping[str, ScoredNight], scheme: Scheme
) -> dict[str, Difference]:
    """Compare accuracy, kappa and macro F1 of two models on the same people.

    Each person counts as independent: where somebody was tested in several splits under several
    names, intervals are too narrow and p values too small. See Demšar (2006), Statistical
    comparisons of classifiers over multiple data sets, JMLR 7, 1-30.

    Raises `DataError` if a person occurs in only one of the two.
    """
    alone = sorted(one.keys() ^ other.keys())
    if alone:
        msg = f"only one of the two models staged {', '.join(alone)}: give the same people to both"
        raise DataError(msg)
    left, right = per_person(one, scheme), per_person(other, scheme)
    found = {}
    for name in NUMBERS:
        pairs = [(left[person][name], right[person][name]) for person in left]
        known = [(mine, its) for mine, its in pairs if mine is not None and its is not None]
        differences = [mine - its for mine, its in known]
        p_value = 1.0 if differences else None
        rounded = np.round(differences, 12)  # else differences that are equal get unequal ranks
        if rounded.any():
            p_value = float(wilcoxon(rounded).pvalue)
        found[name] = Difference(
            one=spread(mine for mine, _ in known).mean,
            other=spread(its for _, its in known).mean,
            difference=estimate(differences),
            p_value=p_value,
        )
    return found


_MEASURES: Final = (
    "total_sleep_time",
    "sleep_efficiency",
    "sleep_onset_latency",
    "latency_to_persistent_sleep",
    "wake_after_sleep_onset",
    "rem_latency",
    "deep_latency",
)
_REACH: Final = 1.96  # standard deviations that hold 95 % of a normal distribution


def bland_altman(nights: Mapping[str, ScoredNight], scheme: Scheme) -> dict[str, BlandAltman]:
    """Compare sleep statistics, person by person, over the same epochs of both hypnograms.

    An epoch counts where the mask holds and both hypnograms are scored. A person without one is
    left out. Beside the statistics that a night has as a whole, the minutes of each class are
    compared, as ``minutes rem``.

    See Bland and Altman (1999), Statistical Methods in Medical Research 8, 135-160; differences
    against the reference, the gold standard, instead of the mean of both: Menghini et al. (2021),
    Sleep 44(2), zsaa170.
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
    found = hypnogram.statistics(mask=counted)
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
