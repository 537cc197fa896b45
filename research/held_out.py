"""The models of an evaluation, each beside the nights that it was tested on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sleepstage.evaluation.run import Outcome
    from sleepstage.metrics import ScoredNight
    from sleepstage.training.nights import Night

    HeldOut = tuple[bytes, Sequence[tuple[Night, ScoredNight]]]

__all__ = ["held_out"]


def held_out(outcomes: Sequence[Outcome], nights: Sequence[Night]) -> list[HeldOut]:
    """Model file of each run, and its test nights: what it read, and how it was scored.

    Parameters
    ----------
    outcomes : sequence of Outcome
        Runs with model files.
    nights : sequence of Night
        One for each person.
    """
    people = {night.subject: night for night in nights}
    return [
        (one.model, [(people[name], scored) for name, scored in one.scored.items()])
        for one in outcomes
    ]
