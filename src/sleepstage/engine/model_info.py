"""Description of a model, in the metadata of its ONNX graph."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Self

from sleepstage.core.recording import person_of
from sleepstage.engine.features import FEATURE_NAMES
from sleepstage.errors import ModelFileError
from sleepstage.stages import SCHEMES

FORMAT: Final = 5
"""Version of the model file: raised when the graph's contract or a feature's meaning changes."""

METADATA_KEY: Final = "sleepstage"
"""Where the ONNX file keeps its `ModelInfo`, as JSON."""

_FACTORS: Final = "factors"  # what files call the class weights


@dataclass(frozen=True)
class ModelInfo:
    """What a model takes and gives, how it was made, and how well it did."""

    features: tuple[str, ...]
    """Names of the input columns, a selection of `sleepstage.engine.features.FEATURES`."""
    scheme: str
    """Name of the scheme of its classes."""
    format: int = FORMAT
    version: str = ""
    """Version of the package that wrote it."""
    config: dict[str, Any] = field(default_factory=dict)
    """How it was trained."""
    split: dict[str, Any] = field(default_factory=dict)
    """Subjects of the training, validation and test parts."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Results on the test subjects."""
    data: dict[str, Any] = field(default_factory=dict)
    """Name, fingerprint, licence and attribution of the data it was trained on."""
    simulated: bool = False
    """True if trained on simulated nights."""
    whole_night: bool = False
    """True if the graph reads the night from both ends."""
    look_ahead: int = 0
    """Epochs that pass before it decides on one."""
    class_weights: dict[str, float] = field(default_factory=dict)
    """Operating point, chosen on validation people, for `Hypnogram.decide`; may be empty."""
    typical: tuple[tuple[float, ...], ...] = ()
    """See `sleepstage.engine.prior_correction.PriorCorrection`."""
    temperature: float = 1.0
    """Of the probabilities after it; see `sleepstage.core.hypnogram.temper`."""

    def trained_on(self, subject: str, dataset: str) -> bool:
        """Whether somebody was among the people whose nights it was fitted to or selected by."""
        parts = [self.split.get("train", ()), *self.split.get("validation", ())]
        people = {one for part in parts for one in ([part] if isinstance(part, str) else part)}
        return dataset in ("", self.data.get("name")) and person_of(subject) in people

    def to_json(self) -> str:
        """The text that goes into a model file."""
        values = asdict(self)
        values[_FACTORS] = values.pop("class_weights")
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises `ModelFileError` if it is damaged, of another format or names unknown features.
        """
        try:
            values = dict(json.loads(text))
        except ValueError as error:
            msg = "its description is damaged: train the model again, or get the file again"
            raise ModelFileError(msg) from error
        if values.get("format") != FORMAT:
            raise ModelFileError(
                f"model format {values.get('format')} of sleepstage {values.get('version')}; this "
                f"version reads {FORMAT}: train the model again, or install that version"
            )
        if not {"features", "scheme"} <= set(values):
            raise ModelFileError("its description lacks features or scheme: train the model again")
        known = {one.name for one in fields(cls)} - {"class_weights"} | {_FACTORS}
        unknown = sorted(set(values) - known)
        unknown += [name for name in values["features"] if name not in FEATURE_NAMES]
        if unknown or values["scheme"] not in SCHEMES:
            msg = f"unknown {', '.join(unknown) or values['scheme']}: train the model again"
            raise ModelFileError(msg)
        values["class_weights"] = values.pop(_FACTORS, {})
        values["features"] = tuple(values["features"])
        values["typical"] = tuple(tuple(knot) for knot in values.get("typical", ()))
        return cls(**values)
