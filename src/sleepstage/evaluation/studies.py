"""What each choice is worth: a model with one thing changed, on the same splits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sleepstage.classifiers.neural import Neural
from sleepstage.errors import DataError
from sleepstage.evaluation.changes import LEAK_COLUMN
from sleepstage.evaluation.split import Split, fewer
from sleepstage.features import SUMMARIES
from sleepstage.training.config import DEFAULT_FEATURES, override
from sleepstage.training.network import RecurrentConfig
from sleepstage.training.transformer import TransformerConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sleepstage.evaluation.experiment import Task

__all__ = ["STUDIES", "Variation", "study_tasks"]


@dataclass(frozen=True)
class Variation:
    """One thing changed.

    Attributes
    ----------
    settings : tuple of str
        As for ``--set``.
    network : RecurrentConfig or TransformerConfig, optional
        In place of the model's own.
    change : str
        What is done to the nights; see `sleepstage.evaluation.changes.CHANGES`.
    people : int
        Training people that are kept; 0 for all.
    """

    settings: tuple[str, ...] = ()
    network: RecurrentConfig | TransformerConfig | None = None
    change: str = ""
    people: int = 0


def _features(*signals: str, without: str = "nothing") -> tuple[str, ...]:
    names = [
        feature.name
        for feature in SUMMARIES
        if feature.signal in signals
        and feature.name in DEFAULT_FEATURES
        and without not in feature.name
    ]
    trace = "true" if "heart_rate" in signals else "false"
    return (f"features={','.join(names)}", f"trace={trace}")


def _more(*names: str) -> tuple[str, ...]:
    return (f"features={','.join([*DEFAULT_FEATURES, *names])}",)


_ALL: Final = ("heart_rate", "motion", "time")

STUDIES: Final[Mapping[str, Mapping[str, Variation]]] = MappingProxyType(
    {
        "ablation": {
            "no elapsed time": Variation(_features("heart_rate", "motion")),
            "no motion": Variation(_features("heart_rate", "time")),
            "no heart rate": Variation(_features("motion", "time")),
            "heart rate alone": Variation(_features("heart_rate")),
            "motion alone": Variation(_features("motion")),
            "elapsed time alone": Variation(_features("time")),
            "steps, too": Variation(_more("steps_24h", "since_walk")),
            "no trace of heart rate": Variation(("trace=false",)),
            "no heart rate against the night so far": Variation(_features(*_ALL, without="night")),
            "heart rate each minute": Variation(change="heart rate each minute"),
            "heart rate each 5 minutes": Variation(change="heart rate each 5 minutes"),
            "no comparison of what is told with the night so far": Variation(("centring=false",)),
            "no class weights": Variation(("class_balance=0",)),
            "five classes": Variation(("scheme=five_class",)),
        },
        "look-ahead": {
            "1 minute": Variation(("look_ahead=2",)),
            "2.5 minutes": Variation(("look_ahead=5",)),
            "5 minutes": Variation(("look_ahead=10",)),
            "the whole night": Variation(("whole_night=true",)),
        },
        "network": {
            "GRU": Variation(network=RecurrentConfig(cell="gru")),
            "Transformer": Variation(network=TransformerConfig()),
        },
        "context": {
            f"Transformer of one layer, {minutes} minutes": Variation(
                network=TransformerConfig(layers=1, context=2 * minutes)
            )
            for minutes in (5, 60)
        },
        "people": {f"{people} people": Variation(people=people) for people in (5, 10, 15)},
        "leaks": {
            "whole-night normalisation": Variation(change="whole-night normalisation"),
            "random epochs": Variation(change="random epochs"),
            "true stage before": Variation(_more(LEAK_COLUMN), change="true stage before"),
        },
    }
)
"""Studies by name, each with its variations by name."""


def study_tasks(names: Sequence[str], baseline: Sequence[Task]) -> list[Task]:
    """Tasks of studies on the splits of a baseline.

    Parameters
    ----------
    names : sequence of str
        Of `STUDIES`.
    baseline : sequence of Task
        Of one network, from `sleepstage.evaluation.experiment.plan`; each variation begins from
        its settings.

    Raises
    ------
    DataError
        If the baseline is no network.
    """
    return [
        _vary(task, study, name, variation)
        for study in names
        for name, variation in STUDIES[study].items()
        for task in baseline
    ]


def _vary(task: Task, study: str, name: str, variation: Variation) -> Task:
    classifier = task.classifier
    if not isinstance(classifier, Neural):
        msg = f"studies vary a network, and {task.name} is none; name one first, as lstm"
        raise DataError(msg)
    if variation.network is not None:
        classifier = replace(classifier, network=variation.network)
    return replace(
        task,
        name=name,
        study=study,
        classifier=override(classifier, variation.settings),
        split=_split(task.split, variation, task.number),
        change=variation.change,
    )


def _split(split: Split, variation: Variation, seed: int) -> Split:
    if variation.change == "random epochs":  # everybody trains, and everybody tests
        everyone = (*split.train, *split.test)
        return replace(split, train=everyone, validation=(*split.validation, split.test))
    return fewer(split, variation.people, seed=seed) if variation.people else split
