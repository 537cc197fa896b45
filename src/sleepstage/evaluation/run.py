"""One run: fit to the training people of a split, and stage people never seen, once."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sleepstage._utils.codec import encode
from sleepstage._utils.files import write_atomically, write_json
from sleepstage.core.agreement import ScoredNight, report
from sleepstage.errors import DataError
from sleepstage.evaluation.schema import Metrics, OperatingPoint
from sleepstage.io.registry import find_sources, read_source
from sleepstage.io.sleep_accel.read import find_subjects, read_subject
from sleepstage.ml.dataset import PreparedNight, prepare_nights
from sleepstage.ml.neural import FittedNetworks
from sleepstage.plotting import save_figure
from sleepstage.stages import UNSCORED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sleepstage.core.recording import Recording
    from sleepstage.evaluation.splits import Split
    from sleepstage.io.source import Progress
    from sleepstage.ml.classifier import Classifier, Fitted

__all__ = [
    "MARKS",
    "MODEL_FILE",
    "Outcome",
    "load_nights",
    "log_to",
    "save",
    "save_pictures",
    "stage_nights",
    "train_and_test",
]

_log = logging.getLogger(__name__)

MODEL_FILE: Final = "model.onnx"
MARKS: Final = {
    "config.json": b'"device"',
    "split.json": b'"validation"',
    "metrics.json": b'"per_person"',
    MODEL_FILE: b"sleepstage",
}
"""What `sleepstage._utils.files.refuse_other_files` knows the files of a trained network by."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came out of one run.

    Attributes
    ----------
    classifier : Classifier
        What was fitted.
    split : Split
        Who trained, who tested.
    scored : dict of str to ScoredNight
        Each night of the test people, decided by the largest probability.
    class_weights : dict of str to float
        Operating point that validation people chose; empty where the classifier has none.
    model : bytes
        Content of the model file; empty where the classifier has none.
    """

    classifier: Classifier
    split: Split
    scored: dict[str, ScoredNight]
    class_weights: dict[str, float]
    model: bytes = b""

    @cached_property
    def metrics(self) -> Metrics:
        """`report` of the test people, and at the operating point in addition."""
        plain, point = report(self.scored), None
        if self.class_weights:
            decided = report(
                {
                    subject: replace(night, predicted=night.predicted.decide(self.class_weights))
                    for subject, night in self.scored.items()
                }
            )
            point = OperatingPoint(decided.schemes, decided.per_person, self.class_weights)
        return Metrics(plain.schemes, plain.per_person, point)


def load_nights(
    directory: str | Path, *, on_progress: Progress | None = None
) -> list[PreparedNight]:
    """Read all nights of a dataset that can be trained on or tested.

    Parameters
    ----------
    directory : path
        In the layout of sleep-accel or of BIDSleep.
    on_progress : callable, optional
        Called with nights read, of all, and a name.

    Raises
    ------
    DataError
        If it is neither, or a file is broken.
    """
    readers = _readers(Path(directory))

    def recordings() -> Iterator[Recording]:
        for done, (name, read) in enumerate(readers.items(), start=1):
            yield read()
            if on_progress:
                on_progress(done, len(readers), name)

    return prepare_nights(recordings())


def _readers(directory: Path) -> dict[str, Callable[[], Recording]]:
    """What reads each night, by its name."""
    try:
        subjects = find_subjects(directory)
    except DataError as error:
        try:
            sources, _ = find_sources(directory, as_format="bidsleep")
        except DataError:
            raise error from None
        found = [(source, read_source(source, source.files)) for source in sources]
        return {source.name: night.read for source, (night,) in found}
    return {subject: partial(read_subject, directory, subject) for subject in subjects}


def train_and_test(
    nights: Sequence[PreparedNight],
    classifier: Classifier,
    split: Split,
    *,
    on_epoch: Progress | None = None,
) -> Outcome:
    """Fit to the training people and stage the test people; writes nothing.

    Raises
    ------
    DataError
        If a stage is missing in the training part.
    """
    people = {night.subject: night for night in nights}
    _log.info("split: %s", asdict(split))
    training = [people[subject] for subject in split.train]
    fitted = classifier.fit(training, split.validation, on_epoch=on_epoch)
    scored = stage_nights(fitted, [people[subject] for subject in split.test])
    outcome = Outcome(classifier, split, scored, dict(fitted.class_weights))
    if not isinstance(fitted, FittedNetworks):
        return outcome
    model = fitted.file(split=asdict(split), metrics=encode(outcome.metrics))
    return replace(outcome, model=model)


def stage_nights(fitted: Fitted, nights: Sequence[PreparedNight]) -> dict[str, ScoredNight]:
    """Stage nights, beside the expert's stages."""
    return {
        night.subject: ScoredNight(
            fitted.predict(night), night.recording.reference, night.codes != UNSCORED
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
