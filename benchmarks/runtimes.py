"""The live model on other runtimes: ``python benchmarks/runtimes.py [--people N] [--write]``.

Each pinned runtime is installed from its registry in an environment of its own, and steps the
model, its shapes fixed to one night and one epoch, through the nights of the dataset. With
``--write`` the table goes into docs/edge.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import onnx

from environments import HOME, THREADS, Peer, PeerError, install, reason

sys.path.insert(0, str(HOME))

from research.footprint import of_one_epoch
from sleepstage.core.hypnogram import temper
from sleepstage.engine.features import FEATURE_NAMES, extract_features, mark_known
from sleepstage.engine.prior_correction import PriorCorrection
from sleepstage.engine.stager import SHIPPED_MODELS, Stager
from sleepstage.io.sleep_accel.read import find_data, find_subjects, read_subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

ADAPTER: Final = Path(__file__).parent / "adapters" / "runtime.py"
PAGE: Final = HOME / "docs" / "edge.md"
MARKS: Final = ("<!-- runtimes -->\n", "<!-- end of runtimes -->\n")
HEAD: Final = """\
| runtime | version | loads | largest difference | stages that differ | µs a step | MB installed |
|---|---|---|--:|--:|--:|--:|
"""


class Runtime(NamedTuple):
    """A runtime, pinned, and how the adapter steps the model with it."""

    name: str
    requirements: tuple[str, ...]
    method: str

    @property
    def version(self) -> str:
        """Of its package, the first that is required."""
        return self.requirements[0].partition("==")[2]


RUNTIMES: Final = (
    Runtime("onnxruntime", ("onnxruntime==1.32.0",), "onnxruntime"),
    Runtime("onnxruntime", ("onnxruntime==1.15.1", "numpy<2"), "onnxruntime"),
    Runtime("OpenVINO, f32", ("openvino==2026.4.1",), "openvino"),
    Runtime("OpenVINO, bf16", ("openvino==2026.4.1",), "openvino-bf16"),
    Runtime("tract", ("tract==0.23.9",), "tract"),
    Runtime("MNN", ("MNN==3.6.1", "numpy"), "mnn"),
    Runtime("IREE", ("iree-base-compiler[onnx]==3.13.0", "iree-base-runtime==3.13.0"), "iree"),
)


class Nights(NamedTuple):
    """Rows of all nights, one after the other."""

    rows: NDArray[np.float32]
    first: NDArray[np.bool_]
    """Of each row, whether a night begins with it."""

    def stages(self, stager: Stager, predicted: NDArray[np.floating]) -> NDArray[np.int64]:
        """Classes by what a graph gave."""
        correction = PriorCorrection(stager.info.typical)
        begin = correction.initial_state(predicted.shape[1])
        nights = np.split(predicted, np.flatnonzero(self.first)[1:])
        centred = [correction.apply(night, begin)[0] for night in nights]
        shares = temper(np.concatenate(centred), stager.info.temperature)
        return np.asarray(shares.argmax(axis=1))


def read_nights(stager: Stager, n_people: int) -> Nights:
    """Rows of the first people of the dataset, as the graph reads them."""
    data = find_data(None)
    columns = [FEATURE_NAMES.index(name) for name in stager.info.features]
    people = sorted(find_subjects(data), key=str)[:n_people]
    tables = [extract_features(read_subject(data, one))[:, columns] for one in people]
    first = np.concatenate([np.arange(len(table)) == 0 for table in tables])
    return Nights(mark_known(np.concatenate(tables)), first)


def step(runtime: Runtime, python: Path, folder: Path) -> dict[str, Any]:
    """Step all rows in the runtime's environment; raises `PeerError` where that fails."""
    model, rows, out = (folder / name for name in ("model.onnx", "rows.npz", "out.npz"))
    command = [str(one) for one in (python, ADAPTER, runtime.method, model, rows, out)]
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment = clean | dict.fromkeys(THREADS, "1")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerError(reason(done.stderr))
    found = dict(np.load(out))
    out.unlink()
    return found


def line(runtime: Runtime, nights: Nights, stager: Stager, folder: Path) -> str:
    """Line of the table; the first runtime is what the others are compared with."""
    peer = Peer(runtime.name, runtime.requirements, "", {})
    try:
        with TemporaryDirectory() as name:
            environment = install(peer, Path(name))
            found = step(runtime, environment.python, folder)
    except PeerError as error:
        return f"| {runtime.name} | {runtime.version} | no: {error} | | | | |\n"
    predicted = found["predicted"]
    reference = folder / "reference.npy"
    if not reference.exists():
        np.save(reference, predicted)
    expected = np.load(reference)
    gap = np.abs(predicted - expected).max()
    other = np.mean(nights.stages(stager, predicted) != nights.stages(stager, expected))
    cells = (
        *(runtime.name, runtime.version, "yes", f"{gap:.1e}", f"{other:.3%}"),
        *(f"{found['microseconds']:.0f}", f"{environment.installed:.0f}"),
    )
    return f"| {' | '.join(cells)} |\n"


def main() -> None:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=26)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    content = SHIPPED_MODELS["live"].read_bytes()
    stager, model = Stager(content), of_one_epoch(content)
    nights = read_nights(stager, given.people)
    shapes = {
        f"shape_{one.name}": [size.dim_value for size in one.type.tensor_type.shape.dim]
        for one in model.graph.input
    }
    table = HEAD
    with TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(model, folder / "model.onnx")
        np.savez(folder / "rows.npz", rows=nights.rows, first=nights.first, **shapes)  # type: ignore[arg-type]
        for runtime in RUNTIMES:
            added = line(runtime, nights, stager, folder)
            table += added
            print(added, end="", flush=True)
    table += f"\nOver {len(nights.rows)} epochs of {nights.first.sum()} people.\n"
    if given.write:
        head, _, rest = PAGE.read_text(encoding="utf-8").partition(MARKS[0])
        tail = rest.partition(MARKS[1])[2]
        PAGE.write_text(head + MARKS[0] + table + MARKS[1] + tail, encoding="utf-8")


if __name__ == "__main__":
    main()
