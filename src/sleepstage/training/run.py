"""One training run: split by person, fit, save, and test the saved model on people never seen."""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sleepstage.files import write_atomically
from sleepstage.metrics import ScoredNight, report
from sleepstage.plotting import save_figure
from sleepstage.readers.sleep_accel import find_subjects, read_subject
from sleepstage.stager import ModelInfo, Stager
from sleepstage.stages import FOUR_CLASS, UNSCORED
from sleepstage.training.export import export_step, save_model
from sleepstage.training.fit import fit_members
from sleepstage.training.nights import Night, prepare_nights
from sleepstage.training.split import Split, holdout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sleepstage.recording import Recording
    from sleepstage.training.config import TrainingConfig

__all__ = ["Run", "load_nights", "stage_nights", "train_and_test"]

_log = logging.getLogger(__name__)

MODEL_FILE: Final = "model.onnx"

_ATTRIBUTION: Final = {
    "name": "PhysioNet sleep-accel 1.0.0",
    "source": "https://doi.org/10.13026/hmhs-py35",
    "licence": "ODC-By 1.0",
    "attribution": (
        "Contains information from 'Motion and heart rate from a wrist-worn wearable and labeled "
        "sleep from polysomnography' (Walch 2019), made available under the ODC Attribution License"
    ),
}


@dataclass(frozen=True)
class Run:
    """What a training run left behind."""

    directory: Path
    model: Path
    split: Split
    metrics: dict[str, Any]


def load_nights(
    directory: str | Path, *, on_progress: Callable[[int, int, str], None] | None = None
) -> list[Night]:
    """Read all people of a dataset who can be trained on or tested."""
    subjects = find_subjects(directory)

    def recordings() -> Iterator[Recording]:
        for done, subject in enumerate(subjects, start=1):
            yield read_subject(directory, subject)
            if on_progress:
                on_progress(done, len(subjects), subject)

    return prepare_nights(recordings())


def train_and_test(
    nights: Sequence[Night],
    config: TrainingConfig,
    out: str | Path,
    *,
    split: Split | None = None,
    on_pass: Callable[[int, int, str], None] | None = None,
) -> Run:
    """Train on 90 % of the people and test the saved model on the others.

    Parameters
    ----------
    nights : sequence of Night
        One for each person.
    config : TrainingConfig
        How to train.
    out : path
        Folder for ``model.onnx``, ``config.json``, ``split.json``, ``metrics.json``, a picture of
        each test night and ``train.log``.
    split : Split, optional
        Who trains and who tests; drawn from the seed by default.
    on_pass : callable, optional
        See `fit_members`.

    Raises
    ------
    DataError
        If there are too few people or a stage is missing in the training part.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    people = {night.subject: night for night in nights}
    if split is None:
        split = holdout(list(people), seed=config.seed, n_groups=config.groups)
    with _log_to(out / "train.log"):
        _log.info("split: %s", asdict(split))
        networks, n_passes = fit_members(
            [people[subject] for subject in split.train],
            split.validation,
            config,
            on_pass=on_pass,
        )
        info = _describe(nights, config, split, n_passes)
        graph, model = export_step(networks), out / MODEL_FILE
        save_model(graph, info, model)
        scored = stage_nights(Stager(model), [people[subject] for subject in split.test])
        metrics = report(scored)
        save_model(graph, replace(info, metrics=metrics), model)
        _log.info("test accuracy %.3f", metrics["four_class"]["accuracy"])
    for name, content in (
        ("config", asdict(config)),
        ("split", asdict(split)),
        ("metrics", metrics),
    ):
        with write_atomically(out / f"{name}.json") as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for subject in people:  # of an earlier run with another split
        (out / f"{subject}.png").unlink(missing_ok=True)
    for subject, night in scored.items():
        figure = night.predicted.plot(reference=night.reference, title=f"test person {subject}")
        save_figure(figure, out / f"{subject}.png")
    return Run(out, model, split, metrics)


def stage_nights(stager: Stager, nights: Sequence[Night]) -> dict[str, ScoredNight]:
    """Stage nights as a user would, from the recordings, beside the expert's stages."""
    scored = {}
    for night in nights:
        if night.recording.reference is not None:
            predicted = stager.predict(night.recording)
            counted = night.codes != UNSCORED
            scored[night.subject] = ScoredNight(predicted, night.recording.reference, counted)
    return scored


def _describe(
    nights: Sequence[Night],
    config: TrainingConfig,
    split: Split,
    n_passes: int,
) -> ModelInfo:
    """What the model file says of itself before it is tested."""
    simulated = any(night.recording.simulated for night in nights)
    digest = hashlib.sha256()
    for night in sorted(nights, key=lambda night: night.subject):
        digest.update(night.recording.fingerprint().encode())
    origin = {"name": "simulated nights"} if simulated else _ATTRIBUTION
    return ModelInfo(
        features=config.features,
        scheme=FOUR_CLASS.name,
        version=version("sleepstage"),
        config={**asdict(config), "passes": n_passes},
        split=asdict(split),
        data={**origin, "people": len(nights), "fingerprint": digest.hexdigest()},
        simulated=simulated,
    )


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Write what the package logs meanwhile to a file."""
    logger = logging.getLogger("sleepstage")
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()
