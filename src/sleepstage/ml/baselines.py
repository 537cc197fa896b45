"""What a network has to beat: the most frequent class, the clock, a straight line, trees."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sleepstage.core.motion import WINDOW_SECONDS
from sleepstage.core.recording import Recording
from sleepstage.engine.features import SUMMARIES
from sleepstage.ml.classifier import OneStep, Probabilities, scored_rows
from sleepstage.ml.dataset import PreparedNight
from sleepstage.stages import EPOCH_SECONDS, FOUR_CLASS, UNSCORED

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Majority(OneStep):
    """Predict the class shares of the training epochs; nothing to set, nothing drawn."""

    def _learn(self, nights: Sequence[PreparedNight]) -> Probabilities:
        return partial(_by_row, DummyClassifier(strategy="prior").fit(*scored_rows(nights)))


@dataclass(frozen=True)
class ElapsedTime(OneStep):
    """Class shares by the time since recording start; no signal is looked at, nothing drawn.

    Deep sleep comes early in the night, REM late.
    """

    bin_minutes: float = 30.0
    """Length of the stretches of time that share their shares; the last one is that of all later
    times. To each, one epoch of the overall shares is added."""

    def _learn(self, nights: Sequence[PreparedNight]) -> Probabilities:
        codes = np.concatenate([night.codes for night in nights])
        bins = np.concatenate([_bins(len(night.codes), self.bin_minutes) for night in nights])
        scored = codes != UNSCORED
        counts = np.zeros((bins.max() + 1, len(FOUR_CLASS)))
        np.add.at(counts, (bins[scored], codes[scored]), 1)
        counts += counts.sum(axis=0) / counts.sum()
        shares = counts / counts.sum(axis=1, keepdims=True)
        return partial(_by_time, shares, self.bin_minutes)


def _by_time(shares: Floats, bin_minutes: float, night: PreparedNight) -> Floats:
    bins = _bins(len(night.codes), bin_minutes)
    return np.asarray(shares[np.minimum(bins, len(shares) - 1)])


def _bins(n_epochs: int, minutes: float) -> NDArray[np.int64]:
    """Bin of the middle of each epoch."""
    return np.floor((np.arange(n_epochs) + 0.5) * EPOCH_SECONDS / 60 / minutes).astype(np.int64)


@dataclass(frozen=True)
class Logistic(OneStep):
    """Multinomial logistic regression on all features of each epoch by itself; nothing is drawn.

    What is unknown is put at the mean.
    """

    penalty: float = 1.0
    """Weight of the squared coefficients: one over scikit-learn's ``C``."""

    def _learn(self, nights: Sequence[PreparedNight]) -> Probabilities:
        model = make_pipeline(
            SimpleImputer(keep_empty_features=True),
            StandardScaler(),
            LogisticRegression(C=1 / self.penalty, max_iter=1000),
        )
        return partial(_by_row, model.fit(*scored_rows(nights)))


def _by_row(model: Any, night: PreparedNight) -> NDArray[np.floating]:
    return np.asarray(model.predict_proba(night.summaries))


_MARGIN: Final = 285  # s that a window reaches out of its epoch on either side
_COUNT_SIGMA: Final = 50  # s
_KERNEL: Final = 285  # s, length of the heart rate filter
_NARROW: Final = 120  # s
_BROAD: Final = 600  # s
_BROAD_SHARE: Final = 0.75  # of the broad Gaussian that is taken from the narrow one
_CLOCK_LOW: Final = 5  # h after the start, where the cosine is lowest
_STEADY: Final = 1e-6  # a filtered heart rate below is rounding


@dataclass(frozen=True)
class Walch(OneStep):
    """The neural network of Walch et al. 2019; the module states what differs from theirs.

    Not live: windows reach 285 s into the future, and heart rate is normalised by the whole night.
    """

    live: ClassVar[bool] = False
    alpha: float = 0.01
    """Weight of the squared coefficients."""
    max_steps: int = 1000
    """Steps of L-BFGS at most."""

    def _learn(self, nights: Sequence[PreparedNight]) -> Probabilities:
        network = MLPClassifier(
            (15, 15, 15),
            solver="lbfgs",
            alpha=self.alpha,
            max_iter=self.max_steps,
            random_state=self.seed,
        )
        model = make_pipeline(SimpleImputer(), network)
        seen = [replace(night, rows=walch_features(night.recording)) for night in nights]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return partial(_told, model.fit(*scored_rows(seen)))


def _told(model: Any, night: PreparedNight) -> NDArray[np.floating]:
    return np.asarray(model.predict_proba(walch_features(night.recording)))


def walch_features(recording: Recording) -> NDArray[np.float32]:
    """Smoothed activity counts, unrest of heart rate, and clock of each epoch, (n_epochs, 3).

    Counts per 15 s; standard deviation of the filtered heart rate (no unit); -1 to 1. NaN where
    there is no sample within the 10 min around the epoch.
    """
    starts = recording.start + EPOCH_SECONDS * np.arange(recording.n_epochs, dtype=np.float64)
    motion, heart_rate = (
        samples.keep((samples.times >= recording.start) & (samples.times <= recording.end))
        for samples in (recording.motion, recording.heart_rate)
    )
    seconds, counts = _each_second(motion.times - WINDOW_SECONDS / 2, motion.values[:, 0])
    smoothed = _by_window(starts, seconds, counts, _gaussian_mean)
    seconds, bpm = _each_second(heart_rate.times, heart_rate.values)
    unrest = _by_window(starts, seconds, _filtered(bpm), lambda _, values: values.std())
    hours = (starts - recording.start) / 3600
    clock = -np.cos((hours - _CLOCK_LOW) * 2 * np.pi / 24)
    return np.column_stack([smoothed, unrest, clock]).astype(np.float32)


def _each_second(times: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Straight lines between samples, from the first on."""
    if not len(times):
        return times, values
    seconds = np.arange(times[0], times[-1] + 1)
    return seconds, np.interp(seconds, times, values)


def _by_window(
    starts: Floats, seconds: Floats, values: Floats, summary: Callable[[Floats, Floats], float]
) -> Floats:
    """Summary, from seconds since the epoch's middle and values, of each epoch's surroundings."""
    firsts = np.searchsorted(seconds, starts - _MARGIN, side="right")
    ends = np.searchsorted(seconds, starts + EPOCH_SECONDS + _MARGIN)
    return np.array(
        [
            summary(seconds[a:b] - start - EPOCH_SECONDS / 2, values[a:b]) if b > a else np.nan
            for start, a, b in zip(starts, firsts, ends, strict=True)
        ]
    )


def _gaussian(offsets: Floats, sigma: float) -> Floats:
    return np.asarray(np.exp(-0.5 * (offsets / sigma) ** 2))


def _gaussian_mean(offsets: Floats, values: Floats) -> float:
    return float(np.average(values, weights=_gaussian(offsets, _COUNT_SIGMA)))


def _filtered(bpm: Floats) -> Floats:
    """Heart rate less its mean, through a difference of Gaussians, over its 90th percentile."""
    if not len(bpm):
        return bpm
    offsets = np.arange(_KERNEL, dtype=np.float64) - _KERNEL // 2
    broad = _BROAD_SHARE * _gaussian(offsets, _BROAD)
    kernel = np.asarray(_gaussian(offsets, _NARROW) - broad)
    padded = np.pad(bpm - bpm.mean(), _KERNEL // 2, mode="symmetric")
    line = np.asarray(np.convolve(padded, kernel, mode="valid"))
    scale = float(np.percentile(np.abs(line), 90))
    return line / scale if scale > _STEADY else np.zeros_like(line)


_LAGS: Final = (4, 10, 20, 40)  # epochs: 2, 5, 10 and 20 min
_SIGNALS: Final = [i for i, one in enumerate(SUMMARIES) if one.signal in {"heart_rate", "motion"}]


@dataclass(frozen=True)
class Boosting(OneStep):
    """Histogram gradient boosting (scikit-learn's, after LightGBM: Ke et al. 2017, NeurIPS 30)."""

    learning_rate: float = 0.05
    n_trees: int = 200
    max_leaves: int = 15
    min_leaf_epochs: int = 100
    l2: float = 10.0
    """These five: ``learning_rate``, ``max_iter``, ``max_leaf_nodes``, ``min_samples_leaf`` and
    ``l2_regularization`` of `sklearn.ensemble.HistGradientBoostingClassifier`."""
    column_share: float = 0.2
    """Share of the columns that each split may choose from, drawn by the seed."""

    def _learn(self, nights: Sequence[PreparedNight]) -> Probabilities:
        model = HistGradientBoostingClassifier(
            learning_rate=self.learning_rate,
            max_iter=self.n_trees,
            max_leaf_nodes=self.max_leaves,
            min_samples_leaf=self.min_leaf_epochs,
            l2_regularization=self.l2,
            max_features=self.column_share,
            early_stopping=False,
            random_state=self.seed,
        )
        seen = [(with_past(night.summaries), night.codes) for night in nights]
        rows = np.concatenate([past[codes != UNSCORED] for past, codes in seen])
        codes = np.concatenate([codes[codes != UNSCORED] for _, codes in seen])
        # Columns that never change, or that nobody has, carry nothing; the trees cannot take them.
        columns = np.flatnonzero(np.fmax.reduce(rows) > np.fmin.reduce(rows))
        model.fit(rows[:, columns], codes)
        return partial(_by_past, model, columns)


def _by_past(model: Any, columns: NDArray[np.intp], night: PreparedNight) -> NDArray[np.floating]:
    """Each epoch from itself and those before, by the columns that the trees look at."""
    return np.asarray(model.predict_proba(with_past(night.summaries)[:, columns]))


def with_past(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of one night beside what heart rate and motion were 2, 5, 10 and 20 min before.

    From shape (n_epochs, n_features) to (n_epochs, n_features + 4 * n_signal_features); NaN where
    the past lies before the night.
    """
    signals = rows[:, _SIGNALS]
    unknown = np.full((max(_LAGS), len(_SIGNALS)), np.nan, dtype=np.float32)
    history = np.vstack([unknown, signals])
    past = [history[max(_LAGS) - lag :][: len(rows)] for lag in _LAGS]
    return np.hstack([rows, *past])
