"""sleepstage as it is installed, with the models in the package."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import sleepstage

if TYPE_CHECKING:
    from adapters.run import Night

PACKAGE = "sleepstage"


def load(name: str, *, raw: bool = False) -> tuple[Any, None]:
    """Whether each epoch is sleep, by a model; its score is measured on people left out."""
    model = sleepstage.load_model(name)

    def asleep(night: Night) -> Any:
        recording = sleepstage.Recording.from_arrays(
            heart_rate=(night.beats, night.bpm),
            motion=(night.raw_times, night.raw) if raw else (night.ends, night.summaries),
            start=0,
            end=30 * night.n_epochs,
        )
        return model.predict(recording).codes != 0

    return asleep, None


METHODS = {
    "live": partial(load, "live"),
    "night": partial(load, "night"),
    "raw": partial(load, "night", raw=True),
}
