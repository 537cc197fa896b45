"""The command line, through its entry point: what is installed, and the verbs about data."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import polars as pl
import pytest

from sleepstage.io.sleep_accel import download as fetching
from sleepstage.simulate.nights import write_dataset
from tests.conftest import Run
from tests.helpers.command import invoke

pytestmark = pytest.mark.slow

SCRIPT = Path(sysconfig.get_path("scripts")) / "sleepstage"


def test_the_installed_script_tells_its_version() -> None:
    output = subprocess.run([SCRIPT, "--version"], check=True, capture_output=True, text=True)
    assert output.stdout.startswith("sleepstage, version 0.")


def test_the_installed_script_shows_a_mistake_without_a_traceback(tmp_path: Path) -> None:
    command = [str(SCRIPT), "info", f"{tmp_path}/none.onnx"]
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
    for arguments, fault in (
        (["data", "check"], "not a sleep-accel dataset"),
        (["data", "prepare"], "not a sleep-accel dataset"),
        (["train", "--data"], "nothing that can be staged; expected one of these"),
    ):
        result = invoke(*arguments, tmp_path)
        assert result.exit_code == 1
        assert f"{tmp_path}: {fault}" in result.output


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


def test_simulate_a_day_around_the_night(tmp_path: Path) -> None:
    day = ("--subjects", "1", "--before", "3.5", "--after", "0.5", "--nap")
    invoke("data", "simulate", tmp_path, *day)
    labels = tmp_path.joinpath("labels/900001_labeled_sleep.txt").read_text().splitlines()
    assert (labels[0], len(labels)) == ("-12600 0", 12 * 120)
    result = invoke("data", "simulate", tmp_path, "--before", "2", "--nap")
    assert result.exit_code == 1
    assert "a nap needs 3 or more hours before lights off" in result.output


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


def test_run_module_is_the_command() -> None:
    command = [sys.executable, "-m", "sleepstage", "--help"]
    output = subprocess.run(command, check=True, capture_output=True, text=True)
    assert output.stdout.startswith("Usage: sleepstage")


def test_the_command_line_loads_without_any_extra() -> None:
    """With what ``pip install .`` brings, each command can at least say what it lacks."""
    extras = (
        *("cachetools", "distributed", "edfio", "fastapi", "fsspec", "jinja2", "joblib", "onnx"),
        *("matplotlib", "orjson", "pooch", "prometheus_client", "pydantic", "pydantic_settings"),
        *("redis", "scipy", "sklearn", "starlette", "torch", "uvicorn", "websockets"),
    )
    code = f"import sys; sys.modules.update(dict.fromkeys({extras})); import sleepstage.cli"
    subprocess.run([sys.executable, "-c", code], check=True)
