"""The page on real time: it is made once an hour of training is over, and must not fail then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from research import make_realtime as page
from research import make_results as results
from research.alarms import KINDS, alarms
from research.cold_start import cold_start
from research.conditions import CONDITIONS, EVERYTHING, under_conditions
from research.days import DAYS, GAPS, days, gaps
from research.eight_bits import cost_of_int8
from sleepstage.evaluation.experiment import plan
from sleepstage.evaluation.run import load_nights
from sleepstage.ml.dataset import prepare_nights
from sleepstage.ml.registry import CLASSIFIERS, DEFAULT
from sleepstage.simulate.nights import simulate_night
from tests.conftest import Run


@pytest.mark.slow
def test_sections_hold_what_was_measured(small_run: Run, simulated_data: Path) -> None:
    nights, runs = load_nights(simulated_data), [small_run.outcome]
    signals = page.signals_section(under_conditions(runs, nights, jobs=1))
    (table,) = signals.tables
    assert [cells[0] for cells in table.cells] == list(CONDITIONS)
    everything = dict(zip(table.head, table.cells[0], strict=True))
    reported = small_run.metrics.schemes["four_class"]
    assert everything["what there is"] == EVERYTHING
    assert everything["kappa"] == f"{reported.kappa:z.3f}"
    assert everything["REM recall"] == f"{reported.recall['rem']:z.3f}"
    assert everything["difference of kappa"] == "-"

    started = page.cold_start_section(cold_start(runs, nights, jobs=1))
    assert [len(table.rows) for table in started.tables] == [4, 4]
    assert {len(cells) for table in started.tables for cells in table.cells} == {9}
    assert all(len(table.head) == 9 for table in started.tables)

    lived = page.days_section(days(runs, nights, jobs=1))
    silent = page.gaps_section(gaps(runs, nights, jobs=1))
    rung = page.alarms_section(alarms(runs, nights, jobs=1))
    for section, kinds in ((lived, DAYS), (silent, GAPS), (rung, KINDS)):
        (table,) = section.tables
        assert [cells[0] for cells in table.cells] == list(kinds)
        assert {len(cells) for cells in table.cells} == {len(table.head)}

    costs = cost_of_int8(runs, nights, jobs=1)
    (sizes,) = page.size_section([small_run.outcome.model], costs, nights[0]).tables
    kappas = next(cells for cells in sizes.cells if cells[0].startswith("kappa"))
    assert kappas[1:] == [f"{costs[0].kappa:z.3f}", f"{costs[0].kappa_int8:z.3f}"]
    for section in (signals, lived, silent, rung, started):
        assert section.to_markdown().startswith("## ")


def test_runs_are_those_of_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same tasks, so that what `make_results` did is found and not done again."""
    people = [str(number) for number in range(10)]
    asked: list[object] = []

    def remembered(_nights: object, tasks: list[object], out: Path, **_: object) -> dict[str, str]:
        asked.extend([*tasks, out])
        return {}

    monkeypatch.setattr(page, "evaluate", remembered)
    recording = simulate_night(11, hours=1.0)
    nights = prepare_nights(replace(recording, subject=one) for one in people)
    assert page.default_runs(nights) == []
    models = {name: CLASSIFIERS[name] for name in results.MODELS}
    tasks = plan(people, "kfold", models, number=10, seed=results.SEEDS["kfold"])
    expected = [task for task in tasks if task.name == DEFAULT]
    assert asked == [*expected, results.OUT / "kfold"]
