"""What one would use instead of sleepstage: agreement on the same nights, and cost, in one run.

``python benchmarks/peers.py [--whole-night] [--write]``: ``uv`` installs each peer into an
environment of its own, in a temporary folder; what can't be installed or run is listed with the
reason. pyActigraphy needs Python 3.10, which ``uv`` finds or downloads. What learns is trained by
fold: these runs lie in runs/peers and are not done again. With ``--whole-night`` ours for nights
that are over is among them. With ``--write`` the tables go into docs/performance.md. Half an hour
on two cores, ten minutes when all is trained.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from adapters.run import Night, write_nights
from cost import Cost, median
from environments import HOME, Environment, Peer, PeerError, install, work
from held_out import FOLDS, METHODS, WHOLE_NIGHT, Staged, stage_held_out
from page import aligned, write_section
from sleep_wake import KEPT, SleepWake, compare
from sleepstage.core.motion import MOTION_COLUMNS
from sleepstage.evaluation.run import load_nights
from sleepstage.io.sleep_accel.read import LAYOUT, find_data
from sleepstage.simulate.nights import simulate_night, write_dataset
from sleepstage.stages import TWO_CLASS, UNSCORED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sleepstage.core.recording import Recording
    from sleepstage.ml.dataset import PreparedNight

    Nights = Mapping[str, Staged]

PAGE: Final = HOME / "docs" / "performance.md"
RUNS: Final = HOME / "runs" / "peers"
ROUNDS: Final = 3
HOURS: Final = 8
NO_RAW: Final = (
    "agreement is not measured: it needs raw acceleration, which the prepared data no longer hold"
)
OURS: Final = Peer(
    "sleepstage",
    (str(HOME),),
    "with_sleepstage",
    {"night": "sleepstage, whole night", "live": "sleepstage, live"},
    wheels=(),
)
PEERS: Final = (
    OURS,
    OURS._replace(methods={"raw": "sleepstage, whole night, from raw motion"}, raw=True),
    Peer(
        "pyActigraphy",
        ("pyActigraphy==1.2.2", "numba==0.56.4"),
        "with_pyactigraphy",
        {
            "CK": "Cole-Kripke (pyActigraphy)",
            "Sadeh": "Sadeh (pyActigraphy)",
            "Scripps": "Scripps (pyActigraphy)",
        },
        python="3.10",
        wheels=("scikit-learn",),  # else a version is taken that can't be built
    ),
    Peer(
        "sleepecg",
        ("sleepecg==0.5.9", "tensorflow==2.21.0"),
        "with_sleepecg",
        {"ws-gru-mesa": "sleepecg, ws-gru-mesa", "wrn-gru-mesa": "sleepecg, wrn-gru-mesa"},
    ),
    Peer(
        "scikit-digital-health",
        ("scikit-digital-health==0.17.18",),
        "with_skdh",
        {"Sleep": "scikit-digital-health, Sleep"},
        raw=True,
    ),
    Peer("wristpy", ("wristpy==0.2.10",), "with_wristpy", {"GGIR": "wristpy, GGIR"}, raw=True),
)


def progress(text: str) -> None:
    """What is being done, beside the tables."""
    print(text, file=sys.stderr, flush=True)


def as_given(recording: Recording, raw: Path | None = None) -> Night:
    """A night as peers read it, from its start; with raw motion, without summaries."""
    beats, motion = recording.heart_rate, recording.motion
    ends, summaries = motion.times - recording.start, motion.values
    samples = np.empty((0, 4)) if raw is None else LAYOUT["motion"].read(raw)
    if raw is not None:
        ends, summaries = np.empty(0), np.empty((0, len(MOTION_COLUMNS)))
    return Night(
        recording.n_epochs,
        beats.times - recording.start,
        beats.values,
        ends,
        summaries,
        samples[:, 0],
        samples[:, 1:],
    )


def write_all(folder: Path, nights: Sequence[PreparedNight]) -> dict[str, Path]:
    """Files of all nights, of one that costs are measured on, and of that one's raw motion."""
    paths = {name: folder / f"{name}.npz" for name in ("all", "one", "raw")}
    write_nights(paths["all"], [as_given(night.recording) for night in nights])
    simulated = simulate_night(0, hours=HOURS)
    write_nights(paths["one"], [as_given(simulated)])
    (subject,) = write_dataset(folder / "raw", 1, hours=HOURS, raw_motion=True)
    motion = LAYOUT["motion"].path(folder / "raw", subject)
    write_nights(paths["raw"], [as_given(simulated, motion)])
    return paths


def install_all(folder: Path) -> tuple[list[tuple[Peer, Environment]], dict[str, str]]:
    """Peers that are there, and reasons why others are not."""
    there: list[tuple[Peer, Environment]] = []
    missing: dict[str, str] = {}
    made: dict[str, Environment] = {}
    for peer in PEERS:
        progress(f"installing {peer.package}")
        try:
            if peer.package not in made:
                made[peer.package] = install(peer, folder / peer.package)
            there.append((peer, made[peer.package]))
        except PeerError as error:
            missing |= dict.fromkeys(peer.methods.values(), str(error))
    return there, missing


def measure_costs(
    there: Sequence[tuple[Peer, Environment]], paths: Mapping[str, Path], missing: dict[str, str]
) -> list[tuple[str, ...]]:
    """A row for each method; all take turns, so that a busy moment meets none alone."""
    methods = [(*one, method) for one in there for method in one[0].methods]
    whole: dict[str, list[Cost]] = {}
    within: dict[str, list[Cost]] = {}
    for turn in range(ROUNDS):
        for peer, environment, method in methods:
            name, night = peer.methods[method], paths["raw" if peer.raw else "one"]
            if name in missing:
                continue
            progress(f"cost, round {turn + 1} of {ROUNDS}: {name}")
            try:
                once, _ = work(environment, peer, method, night, "once")
                _, warm = work(environment, peer, method, night, "warm")
            except PeerError as error:
                missing[name] = str(error)
                continue
            whole.setdefault(name, []).append(once)
            within.setdefault(name, []).append(Cost(float(warm["wall"]), float(warm["cpu"]), 0))
    return [
        cost_row(name, median(whole[name]), median(within[name]), environment)
        for peer, environment in there
        for name in peer.methods.values()
        if name in whole and name not in missing
    ]


def cost_row(name: str, whole: Cost, within: Cost, environment: Environment) -> tuple[str, ...]:
    """Cells of a table: a process that stages one night, a night in a process that did before."""
    return (
        name,
        *(f"{whole.cpu:.2f} s", f"{whole.wall:.2f} s", f"{whole.memory:.0f} MB"),
        *(f"{1000 * within.cpu:.0f} ms", f"{1000 * within.wall:.0f} ms"),
        f"{environment.installed:.0f} MB",
    )


def stage_all(
    there: Sequence[tuple[Peer, Environment]],
    subjects: Sequence[str],
    nights: Path,
    missing: dict[str, str],
) -> dict[str, Nights]:
    """All nights by each method of the peers that can stage them."""
    found: dict[str, Nights] = {}
    for peer, environment in there:
        if peer.package == OURS.package:
            continue
        for method, name in peer.methods.items():
            if peer.raw:
                missing.setdefault(name, NO_RAW)
            if name in missing:
                continue
            progress(f"staging {len(subjects)} nights: {name}")
            try:
                _, written = work(environment, peer, method, nights, "score")
            except PeerError as error:
                missing[name] = str(error)
                continue
            found[name] = {
                subject: Staged(written[f"asleep_{i}"], written.get(f"score_{i}"))
                for i, subject in enumerate(subjects)
            }
    return found


def agreement(nights: Sequence[PreparedNight], staged: Nights) -> SleepWake:
    """Over all epochs that count, of all nights."""

    def pooled(parts: Sequence[Any]) -> Any:
        masks = [night.codes != UNSCORED for night in nights]
        return np.concatenate([part[mask] for part, mask in zip(parts, masks, strict=True)])

    sleep = TWO_CLASS.classes.index("sleep")
    expert = pooled([night.codes_in(TWO_CLASS) == sleep for night in nights])
    asleep, scores = zip(*(staged[night.subject] for night in nights), strict=True)
    return compare(expert, pooled(asleep), None if scores[0] is None else pooled(scores))


def agreement_rows(
    nights: Sequence[PreparedNight], staged: Mapping[str, Nights]
) -> list[tuple[str, ...]]:
    """A row for each method."""
    rows = []
    for name, found in staged.items():
        values = agreement(nights, found)
        rows.append((name, *("" if value is None else f"{value:.3f}" for value in values)))
    return rows


def report(
    agreements: list[tuple[str, ...]], costs: list[tuple[str, ...]], missing: Mapping[str, str]
) -> str:
    """Both tables, and what is not in them."""
    at_kept = f"wake found at {KEPT:g} kept"
    parts = [
        *aligned(
            ("method", "accuracy", "kappa", "sleep kept", "wake found", at_kept, "AUC"), agreements
        ),
        "",
        *aligned(
            (
                *("method", "process: CPU", "wall", "memory"),
                *("in process: CPU", "wall", "installed"),
            ),
            costs,
        ),
    ]
    if missing:
        parts += ["", "Not measured:", "", *(f"- {name}: {why}" for name, why in missing.items())]
    return "\n".join(parts)


def main() -> None:
    """Compare, print and perhaps write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    parser.add_argument("--whole-night", action="store_true", help="train that model by fold, too")
    asked = parser.parse_args()
    nights = load_nights(find_data())
    if asked.write and any(night.recording.simulated for night in nights):
        sys.exit("these nights are simulated: documents are written of real ones only")

    def on_run(done: int, of: int, what: str) -> None:
        progress(f"trained {done} of {of}, {FOLDS} folds: {what}")

    methods = {**(WHOLE_NIGHT if asked.whole_night else {}), **METHODS}
    staged: dict[str, Nights] = {**stage_held_out(nights, methods, RUNS, on_run)}
    with TemporaryDirectory() as name:
        paths = write_all(Path(name), nights)
        there, missing = install_all(Path(name))
        costs = measure_costs(there, paths, missing)
        staged |= stage_all(there, [night.subject for night in nights], paths["all"], missing)
    text = report(agreement_rows(nights, staged), costs, missing)
    print(text)
    if asked.write:
        write_section(PAGE, "peers", text)


if __name__ == "__main__":
    main()
