"""What tests share: the real nights where they are at hand, and a few simulated ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from sleepstage.readers.simulated import write_dataset
from sleepstage.training.config import TrainingConfig
from sleepstage.training.network import LSTMConfig
from sleepstage.training.run import Run, load_nights, train_and_test

settings.register_profile("sleepstage", deadline=None, max_examples=25)
settings.load_profile("sleepstage")

_SHARED = Path(__file__).parents[2] / "shared" / "sleep-accel"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real nights."""
    directory = Path(os.environ.get("SLEEPSTAGE_DATA") or _SHARED)
    if not (directory / "heart_rate").is_dir():
        pytest.skip(f"no real nights at {directory}; name their folder in $SLEEPSTAGE_DATA")
    return directory


@pytest.fixture(scope="session")
def simulated_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of five simulated nights of two hours, in the true layout; not to be changed."""
    directory = tmp_path_factory.mktemp("simulated")
    write_dataset(directory, 5, seed=3, hours=2.0)
    return directory


SMALL = TrainingConfig(
    network=LSTMConfig(hidden=16),
    members=2,
    max_passes=4,
    crop_epochs=120,
    batch_size=2,
    device="cpu",
)
"""A configuration that trains in a second."""


@pytest.fixture(scope="session")
def small_run(simulated_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What training on the simulated nights leaves behind; not to be changed."""
    return train_and_test(load_nights(simulated_data), SMALL, tmp_path_factory.mktemp("run"))
