from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat

from sleepstage.core.recording import Recording, person_of
from sleepstage.errors import DataError, MissingExtraError
from sleepstage.evaluation.run import load_nights
from sleepstage.io.registry import FORMATS, find_sources, open_nights
from sleepstage.io.source import Options
from sleepstage.simulate.nights import simulate_night
from tests.helpers.apple_export import moment
from tests.helpers.command import invoke

pytestmark = pytest.mark.slow

FORMAT = FORMATS["bidsleep"]

START = moment("2024-03-12 23:00:00 -0400")
CLOCK = "2024-03-12 23:00:00"
N_EPOCHS = 120


def write_night(
    folder: Path,
    *,
    seed: int = 0,
    clock: object = CLOCK,
    start: float = START,
    codes: NDArray[np.uint8] | None = None,
    n_epochs: int = N_EPOCHS,
    early: float = 0.0,
) -> Path:
    """A night in the true layout: signals begin `early` seconds before the labels."""
    folder.mkdir(parents=True)
    night = simulate_night(seed, hours=max(n_epochs / 120, 1))
    rng = np.random.default_rng(seed)
    times = np.arange(start - early, start + 30 * n_epochs, 0.2)
    moved = rng.normal(0, 0.05, (len(times), 3)) * (rng.random((len(times), 1)) < 0.1) + [0, 0, 1]
    with (folder / "motion.csv").open("w") as file:
        file.write("Timestamp,x,y,z\n")
        np.savetxt(file, np.column_stack([times, moved]), delimiter=",", fmt="%.6f")
    pulse = night.heart_rate.between(0, 30 * n_epochs)
    beats = np.column_stack([pulse.times + start - early, pulse.values])
    np.savetxt(folder / "hr.csv", beats, delimiter=",", fmt="%.6f")
    assert night.reference is not None
    if codes is None:
        told = night.reference.codes[:n_epochs]
        codes = np.where(told < 0, 5, told).astype(np.uint8)
    labels = {"recStart": clock, "expert_label": codes, "dreem_label": codes[:-3]}
    savemat(folder / "labels.mat", labels)
    return folder


def read(folder: Path) -> Recording:
    (found,) = FORMAT.find(folder, sorted(folder.iterdir()))
    (night,) = FORMAT.read(found.files, None, Options())
    return night.read()


def test_a_night_is_on_the_clock_of_its_labels(tmp_path: Path) -> None:
    recording = read(write_night(tmp_path / "Bidslab07" / "2", early=400))
    assert (recording.start, recording.end) == (START, START + 30 * N_EPOCHS)
    assert (recording.subject, recording.utc_offset) == ("Bidslab07/2", -4 * 3600)
    assert recording.heart_rate.times[0] == pytest.approx(START - 400, abs=6)
    assert recording.motion.values.shape[1] == 4
    assert recording.reference is not None
    assert len(recording.reference) == N_EPOCHS
    assert recording.covered.mean() > 0.85


def test_codes_are_stages(tmp_path: Path) -> None:
    codes = np.tile(np.arange(6, dtype=np.uint8), 20)
    recording = read(write_night(tmp_path / "p" / "1", codes=codes))
    assert recording.reference is not None
    names = ["wake", "n1", "n2", "n3", "rem", "unscored"]
    assert recording.reference.stages[:6].tolist() == names


@pytest.mark.parametrize("early", [-2880.0, 420.0])
def test_signals_that_begin_apart_from_the_labels_keep_their_time(
    tmp_path: Path, early: float
) -> None:
    recording = read(write_night(tmp_path / "p" / "1", early=early))
    assert recording.start == START
    assert recording.heart_rate.times[0] == pytest.approx(START - early, abs=6)


@pytest.mark.parametrize(("offset", "hours"), [("-0400", -4), ("-0500", -5)])
@pytest.mark.parametrize("early", [420.0, 60.0, -2820.0])
def test_the_hour_that_comes_twice_is_told_by_the_signals(
    tmp_path: Path, offset: str, hours: int, early: float
) -> None:
    clock = "2024-11-03 01:30:00"
    start = moment(f"{clock} {offset}")
    folder = write_night(tmp_path / "p" / "1", clock=clock, start=start, early=early)
    recording = read(folder)
    assert (recording.start, recording.utc_offset) == (start, 3600 * hours)


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ({"recStart": CLOCK}, "has no expert_label; expected recStart and expert_label"),
        (
            {"recStart": "late", "expert_label": [0, 1]},
            "expected a time such as .* as recStart, found 'late'",
        ),
        (
            {"recStart": [], "expert_label": [0, 1]},
            "expected a time such as .* as recStart, found array",
        ),
        (
            {"recStart": CLOCK, "expert_label": [0, 9]},
            "unknown code 9 at epoch 2 of expert_label; expected 0 to 5",
        ),
        (
            {"recStart": CLOCK, "expert_label": []},
            "expected a number for each epoch as expert_label, found array",
        ),
    ],
)
def test_broken_labels_are_refused(
    tmp_path: Path, broken: dict[str, object], expected: str
) -> None:
    folder = write_night(tmp_path / "p" / "1")
    savemat(folder / "labels.mat", broken)
    with pytest.raises(DataError, match=expected) as caught:
        read(folder)
    assert "labels.mat" in str(caught.value)


@pytest.mark.parametrize("keep", [130, 200, 400])
def test_damaged_labels_are_refused(tmp_path: Path, keep: int) -> None:
    folder = write_night(tmp_path / "p" / "1")
    content = (folder / "labels.mat").read_bytes()
    (folder / "labels.mat").write_bytes(content[:keep])
    with pytest.raises(DataError, match=r"labels\.mat"):
        read(folder)


def test_what_goes_on_after_the_labels_is_cut(tmp_path: Path) -> None:
    folder = write_night(tmp_path / "p" / "1")
    with (folder / "hr.csv").open("a") as file:
        file.write(f"{START + 30 * N_EPOCHS + 1},60\n{START + 72 * 3600},60\n")
    assert read(folder).heart_rate.times[-1] < START + 30 * N_EPOCHS


def test_labels_of_another_night_are_refused(tmp_path: Path) -> None:
    folder = write_night(tmp_path / "p" / "1", clock="2024-05-12 23:00:00")
    with pytest.raises(DataError, match="no sample while it was scored: labels go from 2024-05-13"):
        read(folder)


def test_broken_signals_are_refused(tmp_path: Path) -> None:
    folder = write_night(tmp_path / "p" / "1")
    (folder / "hr.csv").write_text("0,60\n1,fast\n")
    with pytest.raises(DataError, match=r"hr\.csv, line 2"):
        read(folder)


def test_a_signal_may_be_missing(tmp_path: Path) -> None:
    folder = write_night(tmp_path / "p" / "1")
    (folder / "motion.csv").unlink()
    assert len(read(folder).motion) == 0


def test_without_scipy_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_night(tmp_path / "p" / "1")
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(MissingExtraError, match=r"BIDSleep .*sleepstage\[train\]"):
        read(folder)


def test_damaged_labels_are_not_passed_over(tmp_path: Path) -> None:
    folder = write_night(tmp_path / "Bidslab00" / "1")
    (folder / "labels.mat").write_text("no MATLAB")
    (night,) = open_nights(tmp_path)
    with pytest.raises(DataError, match=r"labels\.mat: can't be read as a file of MATLAB 5"):
        night.read()
    with pytest.raises(DataError, match=r"labels\.mat"):
        load_nights(tmp_path)


def test_it_is_told_from_other_folders(tmp_path: Path) -> None:
    write_night(tmp_path / "Bidslab00" / "1")
    write_night(tmp_path / "Bidslab00" / "2", seed=1)
    other = write_night(tmp_path / "Bidslab01" / "1", seed=2)
    (other / "labels.mat").unlink()
    sources, broken = find_sources(tmp_path)
    assert not broken
    assert {source.name: source.format for source in sources} == {
        "Bidslab00-1": "bidsleep",
        "Bidslab00-2": "bidsleep",
        "Bidslab01-1": "tables",
    }
    assert [night.read().subject for night in open_nights(tmp_path / "Bidslab00" / "2")] == [
        "Bidslab00/2"
    ]


# As a second dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four people, two nights each."""
    folder = tmp_path_factory.mktemp("bidsleep")
    for number in range(8):
        place = folder / f"Bidslab{number // 2:02}" / str(number % 2 + 1)
        write_night(place, seed=number, n_epochs=480)
    return folder


def test_all_its_nights_can_be_trained_on(dataset: Path) -> None:
    nights = load_nights(dataset)
    assert len(nights) == 8
    assert sorted({person_of(night.subject) for night in nights}) == [
        f"Bidslab0{number}" for number in range(4)
    ]


def test_training_and_test_share_no_person(dataset: Path, tmp_path: Path) -> None:
    result = invoke(
        *("train", "--data", dataset, "--out", tmp_path, "--model", "lstm"),
        *("--set", "training_epochs=1", "--set", "network.hidden=16"),
    )
    assert result.exit_code == 0, result.output
    split = json.loads((tmp_path / "split.json").read_text())
    assert len(split["test"]) == 2
    groups = [split["train"], split["test"], *split["validation"]]
    people = [{person_of(subject) for subject in group} for group in groups]
    assert not people[0] & people[1]
    assert sum(map(len, people[2:])) == len(people[0]) == 3


def test_each_person_is_left_out_with_all_their_nights(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []

    def write_report(*_: object, title: str, **__: object) -> Path:
        titles.append(title)
        return tmp_path / "report.html"

    monkeypatch.setattr("sleepstage.evaluation.report.write_report", write_report)
    options = ("--model", "logistic", "--protocol", "loso", "--jobs", "1", "--out", tmp_path)
    result = invoke("evaluate", "--data", dataset, *options)
    assert result.exit_code == 0, result.output
    runs = json.loads((tmp_path / "results.json").read_text())["runs"]
    tested = sorted(run["split"]["test"] for run in runs)
    assert tested == [[f"Bidslab0{number}/1", f"Bidslab0{number}/2"] for number in range(4)]
    for run in runs:
        train, test = (set(map(person_of, run["split"][part])) for part in ("train", "test"))
        assert not train & test
    assert titles == ["4 runs, loso, 4 people, 8 nights"]


def test_a_model_is_tested_on_it_from_outside(dataset: Path, tmp_path: Path) -> None:
    result = invoke(
        "score", dataset, "--out", tmp_path, "--model", "live", "--no-pictures", "--jobs", "1"
    )
    assert result.exit_code == 0, result.output
    assert "the same stage as the expert in" in result.output


def test_a_folder_without_nights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing that can be staged; .*BIDSleep.*sleep-accel"):
        load_nights(tmp_path)
