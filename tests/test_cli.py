"""The command line, through its entry point."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from sleepstage import fetch as fetching
from sleepstage.cli import main
from sleepstage.errors import DataError
from sleepstage.readers.simulated import write_dataset
from sleepstage.training import config, run
from sleepstage.training.run import Run

from .conftest import SMALL

SCRIPT = Path(sysconfig.get_path("scripts")) / "sleepstage"


def invoke(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    # A SystemExit is how a command ends; anything else would be a traceback on the screen.
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train in a second, whatever the command says."""

    def small(seed: int) -> config.TrainingConfig:
        return replace(SMALL, seed=seed)

    monkeypatch.setattr(config, "TrainingConfig", small)


def test_the_installed_script_tells_its_version() -> None:
    output = subprocess.run([SCRIPT, "--version"], check=True, capture_output=True, text=True)
    assert output.stdout.startswith("sleepstage, version 0.")


def test_the_installed_script_shows_a_mistake_without_a_traceback(tmp_path: Path) -> None:
    command = [str(SCRIPT), "predict", f"{tmp_path}:1", "--model", f"{tmp_path}/none.onnx"]
    output = subprocess.run(command, check=False, capture_output=True, text=True)
    assert output.returncode == 1
    assert output.stderr.startswith("Error: ")
    assert "no such model file" in output.stderr
    assert "Traceback" not in output.stderr + output.stdout


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, sleepstage; print(*sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    loaded = set(output.stdout.split())
    heavy = {"matplotlib", "onnx", "onnxruntime", "polars", "scipy", "sklearn", "torch"}
    assert not heavy & loaded


def test_staging_needs_no_torch(small_run: Run, simulated_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "night.csv"
    subject = small_run.split.test[0]
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'scipy', 'sklearn', 'matplotlib', 'pandas', 'pooch'):\n"
        "    sys.modules[name] = None\n"
        "from sleepstage.cli import main\n"
        f"main(['predict', {f'{simulated_data}:{subject}'!r}, '--model', {str(small_run.model)!r}, "
        f"'--out', {str(out)!r}])"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert len(pl.read_csv(out)) == 240


def test_check_tells_by_exit_status(simulated_data: Path, tmp_path: Path) -> None:
    result = invoke("data", "check", simulated_data)
    assert result.exit_code in (0, 3)
    assert "SIMULATED" in result.output.replace(" ", "").upper()
    assert "900001" in result.output
    write_dataset(tmp_path, 1, hours=2.0)
    with (tmp_path / "heart_rate" / "900001_heartrate.txt").open("a") as file:
        file.write("12;60\n")
    broken = invoke("data", "check", tmp_path)
    assert broken.exit_code == 1
    assert "12;60" in broken.output


def test_check_as_json(simulated_data: Path) -> None:
    result = invoke("data", "check", simulated_data, "--json")
    report = json.loads(result.output)
    assert report["status"] == result.exit_code
    assert len(report["subjects"]) == 5


def test_a_folder_that_is_not_the_dataset_is_named(tmp_path: Path) -> None:
    for arguments in (["data", "check"], ["data", "prepare"], ["train", "--data"]):
        result = invoke(*arguments, tmp_path)
        assert result.exit_code == 1
        assert f"{tmp_path}: not a sleep-accel dataset" in result.output


def test_signs_in_a_folders_name_are_printed_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "data[red]"
    assert f"{folder}: 1 SIMULATED" in invoke("data", "simulate", folder, "--subjects", "1").output
    assert f"SIMULATED {folder}: epochs scored" in invoke("data", "check", folder).output


def test_no_data_anywhere_says_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLEEPSTAGE_DATA", raising=False)
    result = invoke("data", "check")
    assert result.exit_code == 1
    assert "sleepstage data fetch" in result.output


def test_simulate_then_prepare(tmp_path: Path) -> None:
    result = invoke("data", "simulate", tmp_path, "--subjects", "1", "--raw-motion")
    assert "SIMULATED" in result.output
    assert "1 nights prepared, 0 up to date" in invoke("data", "prepare", tmp_path).output
    assert "0 nights prepared, 1 up to date" in invoke("data", "prepare", tmp_path).output
    assert "1 nights prepared" in invoke("data", "prepare", tmp_path, "--csv").output


def test_fetch_passes_everything_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}

    def fake(directory: Path, **options: object) -> fetching.FetchReport:
        seen.update(options, directory=directory)
        return fetching.FetchReport(downloaded=("a", "b"), already_there=("c",))

    monkeypatch.setattr(fetching, "fetch", fake)
    result = invoke(
        *("data", "fetch", tmp_path, "--subjects", "1,2", "--no-motion", "--mirror", "http://m/")
    )
    assert "2 files downloaded, 1 were there" in result.output
    del seen["on_progress"]
    assert seen == {
        "directory": tmp_path,
        "subjects": ["1", "2"],
        "motion": False,
        "mirror": "http://m/",
        "jobs": 4,
    }


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


def test_a_setting_that_is_not_understood_is_named(simulated_data: Path) -> None:
    for verb in ("train", "evaluate"):
        result = invoke(verb, "--data", simulated_data, "--set", "mebmers=1")
        assert result.exit_code == 1
        assert "no 'mebmers' in the configuration; there are features" in result.output


@pytest.mark.usefixtures("quick")
def test_train_refuses_too_few_people(tmp_path: Path) -> None:
    write_dataset(tmp_path, 2, hours=1.0)
    result = invoke("train", "--data", tmp_path, "--out", tmp_path / "run")
    assert result.exit_code == 1
    assert "2 people with stages; a split by person needs 3 or more" in result.output


@pytest.mark.parametrize("ending", [".csv", ".json", ".parquet"])
def test_predict_writes_the_hypnogram(
    small_run: Run, simulated_data: Path, tmp_path: Path, ending: str
) -> None:
    subject = small_run.split.test[0]
    out, plot = tmp_path / f"night{ending}", tmp_path / "night.png"
    result = invoke(
        *("predict", f"{simulated_data}:{subject}", "--model", small_run.model),
        *("--out", out, "--plot", plot),
    )
    assert result.exit_code == 0, result.output
    assert "agrees with the expert in" in result.output
    assert plot.read_bytes().startswith(b"\x89PNG")
    if ending == ".json":
        rows = json.loads(out.read_text())["epochs"]
    else:
        rows = (pl.read_csv if ending == ".csv" else pl.read_parquet)(out).to_dicts()
    assert len(rows) == 240
    columns = {"time", "stage", "p_wake", "p_light", "p_deep", "p_rem", "simulated"}
    assert set(rows[0]) == columns


def test_predict_from_files_with_any_of_them_missing(
    small_run: Run, simulated_data: Path, tmp_path: Path
) -> None:
    beats = simulated_data / "heart_rate" / "900001_heartrate.txt"
    motion = simulated_data / "motion_15s" / "900001_motion_15s.csv"
    steps = simulated_data / "steps" / "900001_steps.txt"
    model = ("--model", small_run.model, "--out", tmp_path / "night.csv")
    for files in (
        ("--heart-rate", beats, "--motion", motion, "--steps", steps),
        ("--heart-rate", beats, "--start", "0", "--end", "7200"),
        ("--motion", motion),
    ):
        result = invoke("predict", *model, *files)
        assert result.exit_code == 0, result.output
        assert len(pl.read_csv(tmp_path / "night.csv")) >= 230
    result = invoke("predict", *model, "--heart-rate", beats)
    assert result.exit_code == 1
    assert "at most 24 h; mend the times, or give its start and end" in result.output
    result = invoke("predict", *model, "--steps", steps)
    assert result.exit_code == 1
    assert "a recording needs heart rate or motion" in result.output


def test_predict_wants_either_a_recording_or_files(small_run: Run, simulated_data: Path) -> None:
    beats = simulated_data / "heart_rate" / "900001_heartrate.txt"
    neither = invoke("predict", "--model", small_run.model)
    both = invoke("predict", "a:1", "--heart-rate", beats, "--model", small_run.model)
    assert neither.exit_code == both.exit_code == 2
    assert "give either a RECORDING" in neither.output
    assert "expected DIR:SUBJECT" in invoke("predict", ":", "--model", small_run.model).output


def test_a_wrong_ending_leaves_nothing(
    small_run: Run, simulated_data: Path, tmp_path: Path
) -> None:
    night = f"{simulated_data}:900001"
    result = invoke("predict", night, "--model", small_run.model, "--out", tmp_path / "n.xls")
    assert result.exit_code == 1
    assert "use one of .csv, .json, .parquet" in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_clear_line(
    small_run: Run, simulated_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: pl.DataFrame, path: Path, **options: object) -> None:
        Path(path).write_text("time,sta")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(pl.DataFrame, "write_csv", full)
    night = f"{simulated_data}:900001"
    result = invoke("predict", night, "--model", small_run.model, "--out", tmp_path / "n.csv")
    assert result.exit_code == 1
    assert "No space left on device" in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("protocol", "number"), [("holdout", "--repeats"), ("kfold", "--folds")])
def test_evaluate_shows_every_run(
    simulated_data: Path, tmp_path: Path, protocol: str, number: str
) -> None:
    result = invoke(
        *("evaluate", "--data", simulated_data, "--protocol", protocol, number, "2"),
        *("--jobs", "1", "--out", tmp_path),
    )
    assert result.exit_code == 0, result.output
    for word in ("run 1", "run 2", "mean", "std"):
        assert word in result.output
    assert len(json.loads((tmp_path / "results.json").read_text())["runs"]) == 2


@pytest.mark.usefixtures("quick")
def test_run_tells_the_whole_story(simulated_data: Path, tmp_path: Path) -> None:
    result = invoke("run", "--data", simulated_data, "--out", tmp_path / "first")
    assert result.exit_code == 0, result.output
    for word in ("usable", "take turns to validate", "four class", "one night", "picture:"):
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
    for module in ("sleepstage.training.run", "sleepstage.evaluation.experiment"):
        monkeypatch.setitem(sys.modules, module, None)
    for verb in ("train", "evaluate"):
        result = invoke(verb, "--data", simulated_data)
        assert result.exit_code == 1
        assert "pip install 'sleepstage[train]'" in result.output


def test_run_module_is_the_command() -> None:
    command = [sys.executable, "-m", "sleepstage", "--help"]
    output = subprocess.run(command, check=True, capture_output=True, text=True)
    assert output.stdout.startswith("Usage: sleepstage")
    assert run.MODEL_FILE == "model.onnx"
