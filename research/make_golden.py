"""Write docs/golden, by which a port in another language shows that it is right.

Samples of a simulated evening and night, and what the live model makes of them at each step; see
docs/edge.md. ``make models`` runs it after the models: ``python -m research.make_golden``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnxruntime

from research import DOCS
from sleepstage.cli.console import console
from sleepstage.core.hypnogram import temper
from sleepstage.core.motion import MOTION_COLUMNS, summarise_night
from sleepstage.core.recording import Recording
from sleepstage.core.samples import Samples
from sleepstage.engine.features import FEATURE_NAMES, extract_features, mark_known
from sleepstage.engine.model_info import FORMAT
from sleepstage.engine.prior_correction import PriorCorrection
from sleepstage.engine.stager import SHIPPED_MODELS, Stager
from sleepstage.simulate.nights import simulate_night
from sleepstage.simulate.waking import Day

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

GOLDEN: Final = DOCS / "golden"
MODEL: Final = "live"
SIGNALS: Final = {
    "heart_rate": ("bpm",),
    "motion": MOTION_COLUMNS,
    "steps": ("steps",),
}
GROUPS: Final = ("predicted", "corrected", "probability")
DAY: Final = Day(before=1.25, off_wrist=((-0.6, -0.3),), no_data=((0.9, 1.2),))
HOURS: Final = 2.75
HISTORY: Final = 1200.0  # s that are recorded before the first epoch
CLOCK: Final = 100_000.0  # s at lights off, so that no time is negative
RARE: Final = (5400.0, 7800.0)  # s with a heart rate each three minutes
STILL: Final = (8100.0, 8700.0)  # s without motion, heart rate goes on
CLEAR: Final = 1e-4  # of probability: what is closer may round to another stage


def night() -> Recording:
    """An evening and a night with gaps, a watch on the table, rare heart rate, and odd samples."""
    whole = simulate_night(5, DAY, hours=HOURS)
    beats = Samples(whole.heart_rate.times.round(3), whole.heart_rate.values)
    often = (beats.times < RARE[0]) | (beats.times > RARE[1])
    rare = beats.between(*RARE).thinned(180)
    moved = (whole.motion.times < STILL[0]) | (whole.motion.times > STILL[1])
    motion = Samples(whole.motion.times, whole.motion.values.round(4)).keep(moved)
    kept = beats.keep(often)
    beats = Samples(np.append(kept.times, rare.times), np.append(kept.values, rare.values))
    signals = {"heart_rate": beats, "motion": motion, "steps": whole.steps}
    return Recording.from_arrays(
        **{name: ((one.times + CLOCK).round(3), one.values) for name, one in signals.items()},  # type: ignore[arg-type]
        start=whole.start + HISTORY + CLOCK,
        end=whole.end + CLOCK,
        simulated=True,
    )


def with_odd_samples(beats: Samples) -> Samples:
    """Zeros as of a watch that has lost the pulse, and a sample twice: neither counts."""
    odd_times, odd_values = beats.times[[50, 900, 900]], [0.0, 0.0, beats.values[900]]
    times = np.append(beats.times, odd_times)
    order = np.argsort(times, kind="stable")
    return Samples(times[order], np.append(beats.values, odd_values)[order])


def acceleration() -> Samples:
    """Three minutes at about 10 Hz with a gap, two samples at one time, and a movement."""
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(-4, 180, 1800)).round(3)
    times = times[(times < 70) | (times > 96)]
    times[400] = times[399]
    moving = (times > 30) & (times < 50)
    xyz = np.array([0.2, -0.3, 0.9]) + rng.normal(
        0, np.where(moving, 0.4, 0.01)[:, np.newaxis], (len(times), 3)
    )
    return Samples(times, xyz.round(3))


def graph_outputs(content: bytes, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the graph gives, stepped once for each row of the model's columns."""
    graph = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [node.name for node in graph.get_inputs()]
    shapes = [[n if isinstance(n, int) else 1 for n in one.shape] for one in graph.get_inputs()]
    state: list[Any] = [np.zeros(shape, dtype=np.float32) for shape in shapes[1:]]
    outputs = []
    for row in mark_known(rows):
        output, *state = graph.run(None, dict(zip(names, [row[None, None], *state], strict=True)))
        outputs.append(output[0, 0])
    return np.array(outputs)


def epochs(recording: Recording, content: bytes) -> list[list[str]]:
    """Table of what the model says of each epoch, from step to step."""
    stager = Stager(content)
    rows = extract_features(recording)
    columns = [FEATURE_NAMES.index(name) for name in stager.info.features]
    predicted = graph_outputs(content, rows[:, columns])
    correction = PriorCorrection(stager.info.typical)
    corrected, _ = correction.apply(predicted, correction.initial_state(predicted.shape[1]))
    calibrated = temper(corrected, stager.info.temperature)
    told = stager.predict_rows(recording, rows)
    second, first = np.sort(calibrated[told.codes >= 0], axis=1)[:, -2:].T
    if (first - second).min() < CLEAR:
        console.print("[yellow]two stages of an epoch are as likely: choose another seed[/]")
    numbers = np.concatenate([predicted, corrected, calibrated], axis=1)
    head = ["time", "stage", "stage_find_rem", "reason", "confidence"]
    head += [f"{group}_{name}" for group in GROUPS for name in stager.scheme.classes]
    found = told.decide(stager.info.class_weights)
    words = zip(told.stages, found.stages, told.reason_names, strict=True)
    lines = zip(told.times, words, told.confidence, numbers, strict=True)
    return [
        head,
        *(
            [number(time), *word, number(sure), *map(number, row)]
            for time, word, sure, row in lines
        ),
    ]


def number(value: np.floating) -> str:
    """Fewest digits that give the same bits; nothing where unknown."""
    return "" if np.isnan(value) else np.format_float_positional(value, trim="-")


def write_table(path: Path, lines: Sequence[Sequence[str]]) -> None:
    """Write a CSV file."""
    path.write_text("".join(",".join(line) + "\n" for line in lines), encoding="utf-8")


def write_samples(name: str, columns: Sequence[str], samples: Samples) -> None:
    """Write a CSV file of times and values."""
    rows = np.column_stack([samples.times, samples.values])
    write_table(
        GOLDEN / f"{name}.csv",
        [["time", *columns], *([number(one) for one in row] for row in rows)],
    )


def main() -> None:
    """Write all files."""
    GOLDEN.mkdir(exist_ok=True)
    recording, content = night(), SHIPPED_MODELS[MODEL].read_bytes()
    signals = {name: getattr(recording, name) for name in SIGNALS}
    signals["heart_rate"] = with_odd_samples(recording.heart_rate)
    for name, columns in SIGNALS.items():
        write_samples(name, columns, signals[name])
    write_samples("acceleration", ("x_g", "y_g", "z_g"), acceleration())
    write_samples(
        "acceleration_summaries",
        MOTION_COLUMNS,
        summarise_night(acceleration(), name="acceleration"),
    )
    rows = [[number(value) for value in row] for row in extract_features(recording)]
    write_table(GOLDEN / "features.csv", [FEATURE_NAMES, *rows])
    write_table(GOLDEN / "epochs.csv", epochs(recording, content))
    about = {
        "format": FORMAT,
        "model": f"{MODEL}.onnx",
        "sha256": Stager(content).digest,
        "start": recording.start,
        "epochs": recording.n_epochs,
        "simulated": True,
    }
    (GOLDEN / "about.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    n_bytes = sum(path.stat().st_size for path in GOLDEN.iterdir())
    console.print(f"wrote {GOLDEN}: {n_bytes / 1000:.0f} KB")


if __name__ == "__main__":
    main()
