"""The models of an evaluation, each beside the nights that it was tested on, and work on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from sleepstage._utils.parallel import run_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sleepstage.core.agreement import ScoredNight
    from sleepstage.evaluation.run import Outcome
    from sleepstage.io.source import Progress
    from sleepstage.ml.dataset import PreparedNight

    HeldOut = tuple[bytes, Sequence[tuple[PreparedNight, ScoredNight]]]

__all__ = ["held_out", "in_order"]

Shared = TypeVar("Shared")
Task = TypeVar("Task")
Result = TypeVar("Result")


def held_out(outcomes: Sequence[Outcome], nights: Sequence[PreparedNight]) -> list[HeldOut]:
    """Model file of each run, and its test nights: what it read, and how it was scored.

    Parameters
    ----------
    outcomes : sequence of Outcome
        Runs with model files.
    nights : sequence of PreparedNight
        One for each person.
    """
    people = {night.subject: night for night in nights}
    return [
        (one.model, [(people[name], scored) for name, scored in one.scored.items()])
        for one in outcomes
    ]


def in_order(
    function: Callable[[Shared, Task], Result],
    shared: Shared,
    tasks: Sequence[Task],
    *,
    jobs: int = -1,
    on_run: Progress | None = None,
) -> list[Result]:
    """What `run_tasks` gives, in the order of the tasks; `on_run` gets done, of all, a remark."""
    found: dict[int, Result] = {}
    for index, result in run_tasks(function, shared, tasks, jobs=jobs):
        found[index] = result
        if on_run:
            on_run(len(found), len(tasks), "")
    return [found[index] for index in range(len(tasks))]
