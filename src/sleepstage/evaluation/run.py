"""One run: fit to the training people of a split, and stage people never seen, once."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from sleepstage._utils.files import encode, write_atomically, write_json
from sleepstage.core.agreement import ScoredNight, report
from sleepstage.core.hypnogram import Hypnogram
from sleepstage.core.recording import Recording
from sleepstage.errors import DataError
from sleepstage.evaluation.schema import Metrics, OperatingPoint
from sleepstage.evaluation.splits import Split
from sleepstage.io import open_nights
from sleepstage.io.source import Progress
from sleepstage.ml.classifier import Classifier, Fitted
from sleepstage.ml.dataset import PreparedNight, prepare_nights
from sleepstage.plotting import save_figure
from sleepstage.stages import UNSCORED

_log = logging.getLogger(__name__)

MODEL_FILE: Final = "model.onnx"
MARKS: Final = {
    "config.json": b'"seed"',
    "split.json": b'"validation"',
    "metrics.json": b'"per_person"',
    MODEL_FILE: b"sleepstage",
}
"""What `sleepstage._utils.files.refuse_other_files` knows the files of a trained network by."""

_SAME: Final = 1e-5  # of a probability: sums of a matrix depend a little on its shape


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came out of one run."""

    classifier: Classifier
    split: Split
    scored: dict[str, ScoredNight]
    """Each night of the test people, decided by the largest probability."""
    class_weights: dict[str, float]
    """Operating point that validation people chose; empty where the classifier has none."""
    model: bytes = b""
    """Content of the model file; empty where the classifier has none."""

    @cached_property
    def metrics(self) -> Metrics:
        """`report` of the test people, and at the operating point in addition."""
        point = None
        if self.class_weights:
            decided = {
                subject: replace(night, predicted=night.predicted.decide(self.class_weights))
                for subject, night in self.scored.items()
            }
            point = OperatingPoint(**vars(report(decided)), factors=self.class_weights)
        return Metrics(**vars(report(self.scored)), operating_point=point)


def load_nights(
    directory: str | Path, *, on_progress: Progress | None = None
) -> list[PreparedNight]:
    """Read all nights that can be trained on or tested; those that no expert scored are left out.

    Raises `DataError` if `open_nights` finds none, or a file is broken.
    """
    stored = list(open_nights(directory))

    def recordings() -> Iterator[Recording]:
        for done, night in enumerate(stored, start=1):
            yield night.read()
            if on_progress:
                on_progress(done, len(stored), night.name)

    return prepare_nights(recordings())


def train_and_test(
    nights: Sequence[PreparedNight],
    classifier: Classifier,
    split: Split,
    *,
    on_epoch: Progress | None = None,
) -> Outcome:
    """Fit to the training people and stage the test people; writes nothing.

    Raises `DataError` if a stage is missing in the training part, or the classifier is not `live`
    as it claims.
    """
    people = {night.subject: night for night in nights}
    _log.info("split: %s", asdict(split))
    training = [people[subject] for subject in split.train]
    fitted = classifier.fit(training, split.validation, on_epoch=on_epoch)
    scored = stage_nights(fitted, [people[subject] for subject in split.test])
    if classifier.live:
        _check_live(fitted, people[split.test[0]])
    outcome = Outcome(classifier, split, scored, dict(fitted.class_weights))
    if not getattr(classifier, "exports", False):
        return outcome
    model = fitted.file(split=asdict(split), metrics=encode(outcome.metrics))  # type: ignore[attr-defined]
    return replace(outcome, model=model)


def _check_live(fitted: Fitted, night: PreparedNight) -> None:
    """Raise a `DataError` if predictions change when all that comes after them is removed."""
    whole, n_epochs = _predict(fitted, night), len(night.codes)
    for known in {max(1, n_epochs * quarter // 4) for quarter in (1, 2, 3)}:
        then = _predict(fitted, night.until(known))
        before, after = np.asarray(then.probabilities), np.asarray(whole.probabilities)[:known]
        decided = np.ptp(np.sort(after)[:, -2:], axis=1) > _SAME
        changed = decided & (then.codes != whole.codes[:known])
        changed |= np.abs(before - after).max(axis=1) > _SAME
        if changed.any():
            raise DataError(
                f"live is True, but the prediction of epoch {int(np.argmax(changed)) + 1} of "
                f"{night.subject} changes if all that was recorded after epoch {known}, and the "
                "expert's stages, are removed; look back only, or set live to False"
            )


def _predict(fitted: Fitted, night: PreparedNight) -> Hypnogram:
    """Hypnogram of a night, checked: the classifier may be anybody's."""
    predicted = fitted.predict(night)
    if len(predicted) != len(night.codes) or predicted.probabilities is None:
        raise DataError(
            f"predict gave {len(predicted)} epochs of {night.subject}, expected "
            f"{len(night.codes)} with probabilities"
        )
    return predicted


def stage_nights(fitted: Fitted, nights: Sequence[PreparedNight]) -> dict[str, ScoredNight]:
    """Stage nights, beside the expert's stages."""
    return {
        night.subject: ScoredNight(
            _predict(fitted, night), night.recording.reference, night.codes != UNSCORED
        )
        for night in nights
        if night.recording.reference is not None
    }


def save(outcome: Outcome, out: Path) -> None:
    """Write ``config.json``, ``split.json``, ``metrics.json`` and the model file, if it has one."""
    config = asdict(outcome.classifier)  # type: ignore[call-overload]  # a dataclass
    write_json(out / "config.json", config)
    write_json(out / "split.json", outcome.split)
    write_json(out / "metrics.json", outcome.metrics)
    if outcome.model:
        with write_atomically(out / MODEL_FILE) as temporary:
            temporary.write_bytes(outcome.model)


def save_pictures(scored: Mapping[str, ScoredNight], out: Path) -> None:
    """Draw each test night beside the expert's stages."""
    for subject, night in scored.items():
        figure = night.predicted.plot(reference=night.reference, title=f"test person {subject}")
        save_figure(figure, out / f"{subject}.png")


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Write what the package logs meanwhile to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
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
