"""sleepstage train, and sleepstage run, which does it all."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from sleepstage._utils.files import refuse_other_files
from sleepstage.engine.stager import Stager
from sleepstage.errors import DataError
from sleepstage.evaluation.run import MARKS
from sleepstage.io.sleep_accel import download as fetching
from sleepstage.simulate.nights import write_dataset
from tests.conftest import Run
from tests.helpers.command import invoke

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("quick")
def test_train_prints_split_and_results(simulated_data: Path, tmp_path: Path) -> None:
    result = invoke("train", "--data", simulated_data, "--seed", "1", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert f"test ({len(split['test'])}): {' '.join(split['test'])}" in result.output
    assert "  |  ".join(" ".join(group) for group in split["validation"]) in result.output
    assert "four class" in result.output
    assert str(tmp_path / "run" / "model.onnx") in result.output.replace("\n", "")
    assert "SIMULATED" in result.output.replace(" ", "").upper()


@pytest.mark.usefixtures("quick")
def test_train_replaces_its_own_files_only(
    small_run: Run, simulated_data: Path, tmp_path: Path
) -> None:
    arguments = ("train", "--data", simulated_data, "--out", tmp_path)
    for name in ("config.json", "metrics.json", "split.json", "model.onnx"):
        (tmp_path / name).write_text('{"of": "another program"}')
        result = invoke(*arguments)
        assert result.exit_code == 1
        assert f"{name} was not made by this command: move it away" in result.stderr
        assert [one.read_text() for one in tmp_path.iterdir()] == ['{"of": "another program"}']
        (tmp_path / name).unlink()
        shutil.copy(small_run.directory / name, tmp_path)
        refuse_other_files(tmp_path, MARKS)
        (tmp_path / name).unlink()


@pytest.mark.usefixtures("quick")
def test_train_shows_what_it_finds_at_the_operating_point(
    simulated_data: Path, tmp_path: Path
) -> None:
    result = invoke(
        "train", "--data", simulated_data, "--out", tmp_path, "--set", "training_epochs=2"
    )
    assert result.exit_code == 0, result.output
    assert "four class, at the operating point for REM" in result.output
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    (line,) = [line for line in result.output.splitlines() if "operating point" in line]
    moved = metrics["operating_point"]["four_class"]
    assert f"{moved['accuracy']:.3f}" in line
    assert f"rem {moved['recall']['rem']:.2f}" in line
    assert [path.stem for path in tmp_path.glob("*.png")] == list(metrics["per_person"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lstn", "no model lstn; there are ensemble, lstm, gru,"),
        ("boosting", "boosting makes no model file; to test it: sleepstage evaluate"),
    ],
)
def test_what_train_can_not_train_is_named(simulated_data: Path, name: str, message: str) -> None:
    result = invoke("train", "--data", simulated_data, "--model", name)
    assert result.exit_code == 1
    assert message in result.output


@pytest.mark.usefixtures("quick")
def test_another_model_goes_to_a_folder_of_its_name(
    simulated_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = ["training_epochs=1", "network.hidden=8", "scheme=five_class", "trace=false"]
    options = [part for setting in settings for part in ("--set", setting)]
    result = invoke("train", "--data", simulated_data, "--model", "gru-night", *options)
    assert result.exit_code == 0, result.output
    info = Stager(tmp_path / "runs" / "gru-night-seed0" / "model.onnx").info
    assert (info.whole_night, info.scheme) == (True, "five_class")
    assert "five class" in result.output


def test_a_setting_that_is_not_understood_is_named(simulated_data: Path) -> None:
    for verb in ("train", "evaluate"):
        result = invoke(verb, "--data", simulated_data, "--set", "mebmers=1")
        assert result.exit_code == 1
        assert "no 'mebmers' in the configuration; there are lstm, transformer" in result.output


@pytest.mark.usefixtures("quick")
def test_train_refuses_too_few_people(tmp_path: Path) -> None:
    write_dataset(tmp_path, 2, hours=1.0)
    result = invoke("train", "--data", tmp_path, "--out", tmp_path / "run")
    assert result.exit_code == 1
    assert "2 people with stages; a split by person needs 3 or more" in result.output


@pytest.mark.usefixtures("quick")
def test_run_tells_the_whole_story(simulated_data: Path, tmp_path: Path) -> None:
    result = invoke("run", "--data", simulated_data, "--out", tmp_path / "first")
    assert result.exit_code == 0, result.output
    for word in ("usable", "take turns to validate", "four class", "a night", "picture:"):
        assert word in result.output
    (subject,) = json.loads((tmp_path / "first" / "split.json").read_text())["test"]
    assert (tmp_path / "first" / f"{subject}.csv").is_file()
    assert (tmp_path / "first" / f"{subject}.png").is_file()


@pytest.mark.usefixtures("quick")
def test_run_simulates_where_there_is_no_data_and_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(directory: Path, **options: object) -> None:
        msg = "cannot connect to the server"
        raise DataError(msg)

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLEEPSTAGE_DATA", raising=False)
    monkeypatch.setattr(fetching, "fetch", no_network)
    monkeypatch.setattr(sys.modules["sleepstage.cli.run"], "_SIMULATED_PEOPLE", 4)
    result = invoke("run")
    assert result.exit_code == 0, result.output
    assert "cannot connect to the server" in result.output
    assert result.output.replace(" ", "").count("SIMULATED") >= 3
    assert (tmp_path / "data" / "simulated" / "SIMULATED.txt").is_file()
    assert (tmp_path / "runs" / "first" / "model.onnx").is_file()


def test_run_does_not_fetch_because_a_folder_is_misspelt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fetching, "fetch", lambda *_, **__: pytest.fail("it fetches"))
    monkeypatch.setenv("SLEEPSTAGE_DATA", str(tmp_path / "misspelt"))
    wrong: list[list[str | Path]] = [[], ["--data", tmp_path / "wrong"]]
    for arguments in wrong:
        result = invoke("run", *arguments)
        assert result.exit_code == 1
        assert "no dataset at" in result.output
    assert list(tmp_path.iterdir()) == []


def test_training_without_its_libraries_says_what_to_install(
    simulated_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("sleepstage.evaluation.run", "sleepstage.evaluation.experiment"):
        monkeypatch.setitem(sys.modules, module, None)
    for verb in ("train", "evaluate"):
        result = invoke(verb, "--data", simulated_data)
        assert result.exit_code == 1
        assert "pip install 'sleepstage[train]'" in result.output
