"""Sleep stages in real time from what a watch gives: heart rate, wrist motion, steps.

>>> import sleepstage
>>> "live" in sleepstage.available_models()
True
"""

from sleepstage.core.alarm import Alarm
from sleepstage.core.hypnogram import Epoch, Hypnogram
from sleepstage.core.periods import SleepEvent, SleepPeriod, sleep_periods
from sleepstage.core.recording import Recording
from sleepstage.core.samples import Samples
from sleepstage.engine.explanation import explain
from sleepstage.engine.session import Session
from sleepstage.engine.stager import Stager, available_models, load_model
from sleepstage.errors import DataError, ModelFileError, SleepstageError, SnapshotError
from sleepstage.evaluation import evaluate
from sleepstage.io import open_nights
from sleepstage.stages import Stage

__all__ = [
    "Alarm",
    "DataError",
    "Epoch",
    "Hypnogram",
    "ModelFileError",
    "Recording",
    "Samples",
    "Session",
    "SleepEvent",
    "SleepPeriod",
    "SleepstageError",
    "SnapshotError",
    "Stage",
    "Stager",
    "available_models",
    "evaluate",
    "explain",
    "load_model",
    "open_nights",
    "sleep_periods",
]

__version__ = "0.1.0"
