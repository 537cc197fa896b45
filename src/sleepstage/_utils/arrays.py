"""Short names of array types, for signatures that are not part of the public interface."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Codes = NDArray[np.int8]
"""Class codes of `sleepstage.stages`, or other small whole numbers."""
Counts = NDArray[np.int64]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]
