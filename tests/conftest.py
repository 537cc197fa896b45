"""What tests share: the real nights where they are at hand, and a few simulated ones."""

from __future__ import annotations

import fcntl
import gc
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

# The process that starts the others needs none of the libraries that nights are staged with.
if TYPE_CHECKING:
    from sleepstage.evaluation.run import Outcome
    from sleepstage.evaluation.schema import Metrics
    from sleepstage.evaluation.splits import Split
    from sleepstage.ml.dataset import PreparedNight

# One process a core works already: threads of libraries would only wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"

settings.register_profile("sleepstage", deadline=None, max_examples=25)
settings.load_profile("sleepstage")

_SHARED = Path(__file__).parents[2] / "shared" / "sleep-accel"


def pytest_collection_finish() -> None:
    """Do not look for garbage among libraries and tests again and again: they stay to the end."""
    gc.freeze()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real nights."""
    directory = Path(os.environ.get("SLEEPSTAGE_DATA") or _SHARED)
    if not (directory / "heart_rate").is_dir():
        pytest.skip(f"no real nights at {directory}; name their folder in $SLEEPSTAGE_DATA")
    return directory


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of all processes of this run of the tests."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session", autouse=True)
def _graphs_of_one_structure_are_exported_once(common: Path) -> Iterator[None]:
    from tests.helpers import exports

    exports.folder = common / "graphs"
    exports.folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sleepstage.ml.neural.export_graph", exports.export_graph)
        yield


@pytest.fixture(scope="session", autouse=True)
def _libraries_are_not_traced() -> Iterator[None]:
    """Measuring coverage doubles the time of what draws and exports, hardly a line of it ours."""
    from matplotlib.figure import Figure

    from tests.helpers import exports

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", _untraced(Figure.savefig))
        patch.setattr(exports, "export_anew", _untraced(exports.export_anew))
        yield


def _untraced(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*given: Any, **options: Any) -> Any:
        tracer: Any = sys.gettrace()
        if not hasattr(tracer, "stop"):
            return function(*given, **options)
        tracer.stop()
        try:
            return function(*given, **options)
        finally:
            tracer.start()

    return call


@pytest.fixture(scope="session")
def simulated_data(common: Path) -> Path:
    """Folder of five simulated nights of two hours, in the true layout; not to be changed."""
    from sleepstage.simulate.nights import write_dataset

    directory = common / "simulated"
    with _made_once(directory) as made:
        if not made:
            write_dataset(directory, 5, seed=3, hours=2.0)
    return directory


@contextmanager
def _made_once(path: Path) -> Iterator[bool]:
    """True if another process of this run of the tests has made it; meanwhile, others wait."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield path.exists()


@dataclass(frozen=True)
class Run:
    """What `sleepstage train` leaves behind."""

    directory: Path
    outcome: Outcome

    @property
    def model(self) -> Path:
        from sleepstage.evaluation.run import MODEL_FILE

        return self.directory / MODEL_FILE

    @property
    def split(self) -> Split:
        return self.outcome.split

    @property
    def metrics(self) -> Metrics:
        return self.outcome.metrics


@pytest.fixture(scope="session")
def small_run(simulated_data: Path, common: Path) -> Run:
    """What training on the simulated nights leaves behind; not to be changed."""
    from sleepstage.evaluation.run import load_nights

    directory, kept = common / "run", common / "run.pickle"
    with _made_once(kept) as made:
        if not made:
            outcome = _trained(load_nights(simulated_data), directory)
            kept.write_bytes(pickle.dumps(outcome))
    return Run(directory, pickle.loads(kept.read_bytes()))


def _trained(nights: list[PreparedNight], directory: Path) -> Outcome:
    from sleepstage.evaluation.run import log_to, save, train_and_test
    from sleepstage.evaluation.splits import holdout
    from tests.helpers.small import SMALL

    with log_to(directory / "train.log"):
        split = holdout([night.subject for night in nights], seed=0)
        outcome = train_and_test(nights, SMALL, split)
    save(outcome, directory)
    return outcome


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train in a second, whatever the command says."""
    from sleepstage.ml.registry import CLASSIFIERS
    from tests.helpers.small import SMALL

    tiny = replace(SMALL, training_epochs=2)
    small = {**CLASSIFIERS, "lstm": tiny, "ensemble": tiny}
    monkeypatch.setattr("sleepstage.ml.registry.CLASSIFIERS", small)
