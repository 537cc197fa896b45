"""A trained model at work: recordings in, hypnograms out. Alone in running onnxruntime."""

import hashlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sleepstage._utils.arrays import Floats, Floats32
from sleepstage.core.hypnogram import Hypnogram, likeliest, temper
from sleepstage.core.recording import Recording
from sleepstage.core.samples import Time
from sleepstage.engine.features import FEATURE_NAMES, extract_features, mark_known
from sleepstage.engine.model_info import METADATA_KEY, ModelInfo
from sleepstage.engine.prior_correction import PriorCorrection
from sleepstage.engine.session import ModelState, Session
from sleepstage.engine.wear import never_worn, unscored_reasons
from sleepstage.errors import DataError, ModelFileError
from sleepstage.stages import NOT_WORN, SCHEMES, Scheme

SHIPPED_MODELS: Final = {
    name: Path(__file__).parent / "models" / f"{name}.onnx"
    for name in ("live", "live-int8", "night", "heart-rate")
}
"""Models that come with the package, by name."""


_TOGETHER: Final = 128
"""Epochs that are staged at a time: a Transformer attends to all of them and those before."""


class Stager:
    """A model, ready to stage nights. Loading one runs no code of its file.

    Parameters
    ----------
    source : path or bytes
        Model file, as `sleepstage train` writes it, or its content.

    Raises
    ------
    ModelFileError
        If the file is none of this package's models, or of another version.
    """

    info: ModelInfo
    scheme: Scheme
    digest: str
    """SHA-256 of the file."""

    def __init__(self, source: str | Path | bytes) -> None:
        name = "model" if isinstance(source, bytes) else str(source)
        content = source if isinstance(source, bytes) else _read(Path(source))
        self.digest = hashlib.sha256(content).hexdigest()
        self._graph = _open_graph(content, name)
        self._inputs = [(node.name, node.shape) for node in self._graph.get_inputs()]
        shape = self._inputs[0][1]
        of_one = all(isinstance(n, int) for n in shape)  # for small devices
        self._shape = shape if of_one else (1, -1, shape[-1])
        self._n_together = 1 if of_one else _TOGETHER
        try:
            self.info = self._read_info()
        except ModelFileError as error:
            raise ModelFileError(f"{name}: {error}") from error
        self.scheme = SCHEMES[self.info.scheme]
        self._prior_correction = PriorCorrection(self.info.typical)
        self._columns = [FEATURE_NAMES.index(name) for name in self.info.features]

    def __repr__(self) -> str:
        kind = "whole nights" if self.info.whole_night else "live"
        n_features = len(self.info.features)
        return f"<Stager {self.digest[:12]}: {kind}, {self.scheme.name}, {n_features} features>"

    def _read_info(self) -> ModelInfo:
        text = self._graph.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        if text is None:
            msg = "an ONNX file, but no sleepstage model (it does not describe its input)"
            raise ModelFileError(msg)
        info = ModelInfo.from_json(text)
        n_features = self._inputs[0][1][-1] // (4 if info.whole_night else 2)
        n_classes = self._graph.get_outputs()[0].shape[-1]
        for verb, there, what, named in (
            ("takes", n_features, "features", len(info.features)),
            ("gives", n_classes, "classes", len(SCHEMES[info.scheme])),
        ):
            if there != named:
                msg = f"{verb} {there} {what}, but names {named}: train the model again"
                raise ModelFileError(msg)
        return info

    @property
    def look_ahead(self) -> int:
        """Epochs that pass before a live model decides on one."""
        return self.info.look_ahead

    def session(self, *, start: Time, lateness: float = 5.0, find_rem: bool = False) -> Session:
        """Begin a night that is staged as it happens.

        Parameters
        ----------
        start : float or moment
            Start of the first epoch, in seconds on the clock of the samples, as Unix time; or a
            moment, see `sleepstage.core.samples.Time`.
        lateness : float
            Seconds that late samples are waited for: so much later an epoch is emitted.
        find_rem : bool
            Decide at the model's operating point for REM.

        Raises
        ------
        DataError
            If the model reads whole nights, `start` or `lateness` is no time, or `lateness` is
            negative.
        """
        self._require_live()
        class_weights = self.info.class_weights if find_rem else {}
        return Session(self, start=start, lateness=lateness, class_weights=class_weights)

    def restore(self, snapshot: bytes) -> Session:
        """Go on with a session exactly where `Session.snapshot` was called.

        Raises `SnapshotError` if the snapshot is damaged, of another version, or was taken
        with another model.
        """
        self._require_live()
        return Session.restore(self, snapshot)

    def _require_live(self) -> None:
        if self.info.whole_night:
            raise DataError("a whole-night model stages recordings, not epochs as they come")

    def initial_state(self) -> ModelState:
        """State before the first epoch."""
        shapes = ([n if isinstance(n, int) else 1 for n in shape] for _, shape in self._inputs[1:])
        of_graph = (np.zeros(shape, dtype=np.float32) for shape in shapes)
        return *of_graph, self._prior_correction.initial_state(len(self.scheme))

    def step(
        self, rows: NDArray[np.float32], state: ModelState, *, exact: bool = True
    ) -> tuple[NDArray[np.float32], ModelState]:
        """Probabilities of the next epochs.

        Parameters
        ----------
        rows : ndarray, shape (n_epochs, n_features)
            From `sleepstage.engine.features.push`.
        state : tuple of ndarray
            From the call before, or `initial_state`.
        exact : bool
            Give the same bits however a night is cut into calls. Otherwise within 1e-5 of them, a
            hundred epochs at a time: some ten times as fast.

        Returns
        -------
        probabilities : ndarray of float32, shape (n_epochs, n_classes)
        state : tuple of ndarray
            For the next call.
        """
        self._require_live()
        n_together = 1 if exact else self._n_together
        outputs, of_graph = self._run(rows[:, self._columns], state[:-1], n_together)
        probabilities, of_correction = self._settle(outputs[:, 0], state[-1])
        return probabilities, (*of_graph, of_correction)

    def _settle(self, outputs: Floats32, state: Floats) -> tuple[Floats32, Floats]:
        """Correct the prior of the networks' probabilities, and calibrate them."""
        centred, state = self._prior_correction.apply(outputs, state)
        return temper(centred, self.info.temperature), state

    def _run(
        self, rows: Floats32, state: ModelState, n_together: int
    ) -> tuple[Floats32, ModelState]:
        """Run the graph over so many epochs at a time: nearly all that a call costs is overhead.

        Returns what it gives, shape (n_epochs, n, n_classes), and the state after the last epoch.
        """
        names = [name for name, _ in self._inputs]
        outputs = [np.empty((0, 1, len(self.scheme)), dtype=np.float32)]
        for first in range(0, len(rows), n_together):
            some = mark_known(rows[first : first + n_together])
            given = (some.reshape(self._shape), *state)
            output, *state = self._graph.run(None, dict(zip(names, given, strict=True)))
            outputs.append(output.reshape(len(some), -1, len(self.scheme)))
        return np.concatenate(outputs[1:] or outputs), tuple(state)

    def _read_both_ways(self, rows: Floats32, backward_rows: Floats32) -> Floats32:
        """Probabilities of a whole night: each member's scores of both directions add up."""
        both = np.concatenate([rows[:, self._columns], backward_rows[::-1, self._columns]], axis=1)
        *of_graph, of_correction = self.initial_state()
        scores, _ = self._run(both, tuple(of_graph), self._n_together)
        ahead, back = np.split(scores, 2, axis=1)
        added = ahead + back[::-1]
        odds = np.exp(added - added.max(axis=-1, keepdims=True))
        probabilities = (odds / odds.sum(axis=-1, keepdims=True)).mean(axis=1)
        return self._settle(probabilities, of_correction)[0]

    def predict(self, recording: Recording) -> Hypnogram:
        """Stage a whole recording.

        A live model predicts each epoch from what was known at its end. An epoch is unscored where
        no data come or the watch is not worn; see `sleepstage.engine.wear.unscored_reasons`.
        """
        backward_rows = None
        if self.info.whole_night:
            backward_rows = extract_features(recording.reversed())[::-1]
        return self.predict_rows(recording, extract_features(recording), backward_rows)

    def predict_rows(
        self,
        recording: Recording,
        rows: NDArray[np.float32],
        backward_rows: NDArray[np.float32] | None = None,
    ) -> Hypnogram:
        """Do the same from features at hand; those made backwards are for whole-night models."""
        if self.info.whole_night and backward_rows is not None:
            probabilities = self._read_both_ways(rows, backward_rows)
        else:
            beyond = np.full((self.info.look_ahead, rows.shape[1]), np.nan, dtype=np.float32)
            rows_beyond = np.concatenate([rows, beyond])
            probabilities, _ = self.step(rows_beyond, self.initial_state(), exact=False)
            probabilities = probabilities[self.info.look_ahead :]
        reasons = unscored_reasons(rows)
        if never_worn(rows):
            reasons[:] = NOT_WORN
        probabilities[reasons > 0] = np.nan
        return Hypnogram(
            recording.start,
            likeliest(probabilities),
            self.scheme,
            probabilities,
            subject=recording.subject,
            simulated=recording.simulated or self.info.simulated,
            utc_offset=recording.utc_offset,
            reasons=reasons,
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        msg = f"{path}: no such model file; train one with: sleepstage train"
        raise ModelFileError(msg) from error
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror})") from error


def _open_graph(content: bytes, name: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a step is a few microseconds: threads only cost
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no other base
        raise ModelFileError(f"{name}: not a model file of sleepstage, or damaged") from error


def available_models() -> tuple[str, ...]:
    """Names of the models that come with the package, for `load_model`."""
    return tuple(SHIPPED_MODELS)


def load_model(model: str | Path = "live") -> Stager:
    """Load a model.

    Parameters
    ----------
    model : {"live", "live-int8", "night", "heart-rate"} or path
        One of those that come with the package, trained on all people at hand (`docs/models.md`):
        for epochs as they end, the same in weights of eight bits, for nights that are over, and for
        those among them that have no motion. Or a file that `sleepstage train` has written.

    Raises
    ------
    ModelFileError
        If the file is none of this package's models, or of another version.
    """
    return Stager(_path(model))


def read_model(model: str | Path) -> bytes:
    """Content of a model's file, which a `Stager` can be made of elsewhere.

    Raises `ModelFileError` if the file is none of this package's models, or of another version.
    """
    path = _path(model)
    Stager(path)  # raises at once what is wrong with it
    return path.read_bytes()


def _path(model: str | Path) -> Path:
    return SHIPPED_MODELS.get(str(model), Path(model))
