"""The example in C against the package, over all real nights: ``python -m research.c_port``.

Another model file may be named. Prints the share of epochs whose stage differs, the largest
difference of probabilities, and what the code takes: state, stack, code, weights, processor time
and multiply-accumulates of an epoch.
"""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from research import DOCS
from sleepstage import load_model
from sleepstage.cli.console import console, progress_bar
from sleepstage.engine.features import FEATURE_NAMES
from sleepstage.engine.stager import SHIPPED_MODELS
from sleepstage.io.sleep_accel.read import find_data, find_subjects, read_subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sleepstage.core.recording import Recording

EXAMPLE: Final = DOCS.parent / "examples" / "c"
FLAGS: Final = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-O2")
HEADERS: Final = {
    "heart_rate": "time,bpm",
    "motion": "time,counts,peak_x_g,peak_y_g,peak_z_g",
    "steps": "time,steps",
    "acceleration": "time,x_g,y_g,z_g",
}


class Staged(NamedTuple):
    """What the program says of a night."""

    stages: list[str]
    reasons: list[str]
    predicted: NDArray[np.float64]
    corrected: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    features: NDArray[np.float64]
    state_bytes: int
    microseconds: float
    """Of processor time an epoch, files read."""


def build(model: Path, folder: Path) -> Path:
    """Compile the example for a model; returns the program. Objects are left beside it."""
    _run(sys.executable, EXAMPLE / "export_model.py", model, folder)
    sources = [*sorted(EXAMPLE.glob("*.c")), folder / "model.c"]
    include = ("-I", EXAMPLE, "-I", folder, "-fstack-usage")
    for source in sources:
        _run("cc", *FLAGS, *include, "-c", source, "-o", folder / f"{source.stem}.o")
    program = folder / "stage"
    _run("cc", *sorted(folder.glob("*.o")), "-lm", "-o", program)
    return program


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        msg = f"{command[0]}: {done.stderr}"
        raise RuntimeError(msg)
    return done


def write_signals(folder: Path, **signals: Any) -> list[str]:
    """Write a CSV file for each signal that has samples; returns the program's options for them."""
    options = []
    for name, samples in signals.items():
        if len(samples):
            path = folder / f"{name}.csv"
            rows = np.column_stack([samples.times, samples.values]).tolist()
            lines = [",".join(map(repr, row)) for row in rows]
            path.write_text("\n".join([HEADERS[name], *lines, ""]), encoding="utf-8")
            options += [f"--{name.replace('_', '-')}", str(path)]
    return options


def stage(program: Path, options: Sequence[str], start: float, n_epochs: int) -> Staged:
    """Run the program."""
    span = ("--start", repr(float(start)), "--epochs", str(n_epochs), "--features", "--cost")
    done = _run(program, *options, *span)
    rows = list(csv.DictReader(done.stdout.splitlines()))

    def table(prefix: str) -> NDArray[np.float64]:
        names = [name for name in rows[0] if name.startswith(prefix)]
        return np.array([[float(row[name] or "nan") for name in names] for row in rows])

    features = [[float(row[name] or "nan") for name in FEATURE_NAMES] for row in rows]
    state_bytes, microseconds = map(float, re.findall(r"[\d.]+", done.stderr))
    return Staged(
        stages=[row["stage"] for row in rows],
        reasons=[row["reason"] for row in rows],
        predicted=table("predicted_"),
        corrected=table("corrected_"),
        probabilities=table("probability_"),
        features=np.array(features),
        state_bytes=int(state_bytes),
        microseconds=microseconds,
    )


def stage_recording(program: Path, night: Recording, folder: Path) -> Staged:
    """Run the program on a recording."""
    signals = {name: getattr(night, name) for name in ("heart_rate", "motion", "steps")}
    return stage(program, write_signals(folder, **signals), night.start, night.n_epochs)


def stack_bytes(folder: Path) -> int:
    """Stack of all functions but those that read files, together: more than any chain of calls."""
    lines = [
        line
        for path in folder.glob("*.su")
        if path.stem != "main"
        for line in path.read_text("utf-8").splitlines()
    ]
    return sum(int(re.split(r"\t", line)[1]) for line in lines)


def multiply_accumulates(header: str) -> int:
    """Of an epoch, by the sizes in model.h; what goes through values one by one is left out."""
    size = {name: int(value) for name, value in re.findall(r"#define (\w+) (\d+)", header)}
    channels, hidden, width = size["CHANNELS"], size["HIDDEN"], size["WIDTH"]
    half = -(-size["N_TRACE_STEPS"] // 2)
    n_inputs = 2 * (size["N_COLUMNS"] - size["N_TRACE_STEPS"]) + channels
    trace = channels * (2 * 7 * half + 5 * channels * -(-half // 2) + 2 * channels)
    lstm = 4 * hidden * (n_inputs + hidden) + hidden * size["N_CLASSES"]
    # Query, what is asked of each head, scores, means, values, projection, and feed-forward.
    attention = width * (4 * width + 2 * size["HEADS"] * size["CONTEXT"])
    layers = size["LAYERS"] * (attention + 4 * width * width)
    transformer = width * n_inputs + layers + width * size["N_CLASSES"]
    members = size["N_LSTMS"] * (trace + lstm), size["N_TRANSFORMERS"] * (trace + transformer)
    return sum(members)


def main() -> None:
    """Compare all nights, and print."""
    model = Path(sys.argv[1]) if len(sys.argv) > 1 else SHIPPED_MODELS["live"]
    stager, data = load_model(model), find_data(None)
    subjects = sorted(find_subjects(data), key=str)
    n_epochs, n_other, gaps, costs = 0, 0, [], []
    with tempfile.TemporaryDirectory() as name, progress_bar("staging") as progress:
        folder = Path(name)
        program = build(model, folder)
        for number, subject in enumerate(subjects):
            progress(number, len(subjects), subject)
            night = read_subject(data, subject)
            found, expected = stage_recording(program, night, folder), stager.predict(night)
            n_epochs += night.n_epochs
            n_other += int((np.array(found.stages) != expected.stages).sum())
            expected_shares = np.array(expected.probabilities)  # every model gives them
            gaps.append(np.nanmax(np.abs(found.probabilities - expected_shares)))
            costs.append(found.microseconds)
        sizes = _run("size", *sorted(folder.glob("*.o"))).stdout
        stack, work = stack_bytes(folder), multiply_accumulates((folder / "model.h").read_text())
    console.print(
        f"{len(subjects)} nights, {n_epochs} epochs: {n_other} stages differ "
        f"({n_other / n_epochs:.3%}), probabilities by {max(gaps):.1e} at most\n"
        f"state {found.state_bytes} bytes, stack at most {stack} bytes without libm\n"
        f"{work} multiply-accumulates and {min(costs):.0f} us an epoch; code and weights in bytes:"
    )
    console.print(sizes)


if __name__ == "__main__":
    main()
