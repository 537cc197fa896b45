"""What can be seen from the end of each of some epochs: samples in windows that end there.

All epochs are computed at once, from whole arrays. Every value depends on the samples of its own
window only, added in the same order whatever is computed beside it.
"""

import math
from functools import partial
from typing import Final

import numpy as np

from sleepstage._utils.arrays import Floats, Indices
from sleepstage.core.samples import Samples

_SPREAD_VALUES: Final = 3  # at least


class Windows:
    """A window of samples for each of K epochs; windows may overlap, and be empty.

    `first` and `last`, of shape (K,), are the index of the first sample and that behind the last.
    """

    def __init__(self, first: Indices, last: Indices) -> None:
        self.first, self.last = first, last
        self.n = last - first
        self._known = self.n > 0
        self._n_or_nan = np.where(self._known, self.n, np.nan)
        self._edges = np.empty(2 * len(first), dtype=np.intp)
        self._edges[::2], self._edges[1::2] = first, last

    @property
    def pairs(self) -> "Windows":
        """The same windows over differences between neighbouring samples."""
        return Windows(self.first, np.maximum(self.last - 1, self.first))

    def mean(self, values: Floats) -> Floats:
        """Mean of the values, NaN in an empty window."""
        return self._reduce(np.add, values) / self._n_or_nan

    def max(self, values: Floats) -> Floats:
        """Largest of the values, NaN in an empty window."""
        return np.where(self._known, self._reduce(np.maximum, values), np.nan)

    def _reduce(self, operation: np.ufunc, values: Floats) -> Floats:
        # Two more values: an empty window can begin behind the last sample, and one of pairs
        # behind that, and an index has to be one of a value.
        longer = np.zeros(len(values) + 2)
        longer[:-2] = values
        return np.asarray(operation.reduceat(longer, self._edges)[::2])

    def spread(self, values: Floats) -> Floats:
        """Standard deviation, NaN of fewer than three values."""
        index, each = self._one_after_the_other()
        apart = values[index] - np.repeat(self.mean(values), self.n)
        return np.sqrt(np.where(self.n >= _SPREAD_VALUES, each.mean(apart * apart), np.nan))

    def _one_after_the_other(self) -> "tuple[Indices, Windows]":
        """Samples of the first window, then of the second, and so on, and where each is then."""
        ends = np.cumsum(self.n)
        begins = ends - self.n
        index = np.arange(self.n.sum()) + np.repeat(self.first - begins, self.n)
        return index, Windows(begins, ends)


class Lookback:
    """Samples of one signal, seen from the ends of K epochs, shape (K,), ascending.

    For `window_ends` see `Samples.n_before`.
    """

    def __init__(self, samples: Samples, ends: Floats, *, window_ends: bool = False) -> None:
        # What comes later is not seen, and days of it would be copied for every few epochs.
        samples = samples.between(-math.inf, ends[-1], window_ends=window_ends)
        self.times, self.values, self.ends = samples.times, samples.values, ends
        self._n_before = partial(samples.n_before, window_ends=window_ends)

    def last(self, seconds: float) -> Windows:
        """Samples of the last so many seconds of each epoch."""
        return Windows(self._n_before(self.ends - seconds), self._n_before(self.ends))

    def held(self, moments: Floats, seconds: float, *, of: Floats) -> Floats:
        """What holds at each moment: `of` the last sample of so many seconds, NaN without one."""
        at = self._n_before(moments) - 1
        known = at >= 0
        known[known] = moments[known] - self.times[at[known]] <= seconds
        held = np.full(moments.shape, np.nan)
        held[known] = of[at[known]]
        return held
