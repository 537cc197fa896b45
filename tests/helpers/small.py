"""A network for tests that need one which was trained."""

from __future__ import annotations

from sleepstage.ml.networks import RecurrentConfig
from sleepstage.ml.neural import Neural

SMALL = Neural(
    network=RecurrentConfig(hidden=16),
    training_epochs=4,
    evenings=0.0,
    late_starts=0.0,
    thinning=0.0,
    crop_epochs=120,
    batch_size=2,
    device="cpu",
)
"""A configuration that trains in a second."""
