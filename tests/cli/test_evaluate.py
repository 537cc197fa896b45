"""sleepstage evaluate."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest

from sleepstage._utils import parallel
from sleepstage.evaluation import experiment
from sleepstage.ml.baselines import Logistic
from sleepstage.simulate.nights import write_dataset
from tests.helpers.command import invoke

pytestmark = [pytest.mark.usefixtures("quick"), pytest.mark.slow]


@pytest.fixture(autouse=True)
def code_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever edits the package meanwhile shall not make a test fail."""
    monkeypatch.setattr(experiment, "_code", lambda: "code")


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take seconds."""
    path = Path("a report")
    monkeypatch.setattr("sleepstage.evaluation.report.write_report", lambda *_, **__: path)


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize(
    ("protocol", "options", "n_runs"),
    [("holdout", ["--repeats", "2"], 2), ("kfold", ["--folds", "2"], 2), ("loso", [], 5)],
)
def test_every_run_of_every_protocol_is_shown(
    simulated_data: Path, tmp_path: Path, protocol: str, options: list[str], n_runs: int
) -> None:
    options += ["--model", "logistic", "--protocol", protocol, "--jobs", "1"]
    result = invoke("evaluate", "--data", simulated_data, "--out", tmp_path, *options)
    assert result.exit_code == 0, result.output
    for word in ("SIMULATED", *(f"run {number}" for number in range(1, n_runs + 1)), "mean", "std"):
        assert word in result.output
    content = json.loads((tmp_path / "results.json").read_text())
    tested = [run["split"]["test"] for run in content["runs"]]
    assert len(tested) == n_runs
    if protocol == "loso":
        people = sorted(name for (name,) in tested)
        assert people == [f"90000{number}" for number in range(1, 6)]
    summary = content["models"]["logistic"]["summary"]["four_class"]["accuracy"]
    (mean,) = [line for line in result.output.splitlines() if "mean" in line][:1]
    assert f"{summary['mean']:.3f}" in mean


def test_models_are_evaluated_together(
    simulated_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: list[str | Path] = [
        *("evaluate", "--data", simulated_data, "--model", "lstm", "--model", "majority"),
        *("--repeats", "1", "--jobs", "1", "--out", tmp_path, "--seed", "3"),
    ]
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "results.json").read_text())
    assert list(content["models"]) == ["lstm", "majority"]
    assert content["models"]["majority"]["against_first"] is not None
    assert "lstm: At the operating point, four classes" in result.output
    assert "lstm: Every run, two classes" in result.output
    together = result.output[result.output.index("Models compared, four classes") :]
    for name, model in content["models"].items():
        (line,) = [line for line in together.splitlines() if line.strip().startswith(name)]
        assert f"{model['people']['four_class']['kappa']['mean']:.3f}" in line
    assert f"report: {tmp_path / 'report.html'}" in result.output.replace("\n", "")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "SIMULATED" in page
    for folder in ("lstm/run-1", "majority/run-1"):
        assert (tmp_path / folder / "run.json").is_file()
    assert (tmp_path / "lstm" / "run-1" / "model.onnx").is_file()

    def fail(*_: object, **__: object) -> None:
        pytest.fail("it is done again")

    monkeypatch.setattr(experiment, "train_and_test", fail)
    again = invoke(*arguments)
    assert again.output == result.output
    assert json.loads((tmp_path / "results.json").read_text()) == content


@pytest.mark.usefixtures("no_report")
def test_results_lie_in_a_folder_named_by_protocol_and_seed(
    simulated_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("--model", "majority", "--repeats", "1", "--jobs", "1", "--seed", "4")
    result = invoke("evaluate", "--data", simulated_data, *options)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "runs" / "holdout-seed4" / "results.json").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "lstm", "--model", "lstn"], "no model lstn; there are ensemble, lstm, gru, "),
        (["--model", "majority", "--set", "noise=1"], "no 'noise' in the configuration; there"),
        (["--protocol", "kfold", "--folds", "9"], "9 folds of 5 people; choose 2 to 5 folds"),
    ],
)
def test_what_is_not_known_is_named(
    simulated_data: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    result = invoke("evaluate", "--data", simulated_data, "--out", tmp_path, *options)
    assert result.exit_code == 1
    assert message in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_report")
def test_a_setting_goes_to_the_models_that_know_it(simulated_data: Path, tmp_path: Path) -> None:
    options = ("--model", "majority", "--model", "logistic", "--repeats", "1", "--jobs", "1")
    settings = ("--set", "penalty=3")
    result = invoke("evaluate", "--data", simulated_data, *options, *settings, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    config = json.loads((tmp_path / "logistic" / "run-1" / "config.json").read_text())
    assert config == {"seed": 0, "penalty": 3.0}
    assert config["penalty"] != Logistic().penalty
    config = json.loads((tmp_path / "majority" / "run-1" / "config.json").read_text())
    assert config == {"seed": 0}


@pytest.fixture(scope="module")
def rare_rem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of four people of whom one alone has REM."""
    directory = tmp_path_factory.mktemp("rare")
    write_dataset(directory, 4, seed=3, hours=2.0)
    for path in sorted((directory / "labels").iterdir())[1:]:
        rows = [line.split() for line in path.read_text().splitlines()]
        path.write_text("".join(f"{time} {2 if stage == '5' else stage}\n" for time, stage in rows))
    first = sorted((directory / "labels").iterdir())[0]
    assert any(line.split()[1] == "5" for line in first.read_text().splitlines())
    return directory


def test_a_run_that_can_not_be_done_is_told_after_the_report(
    rare_rem: Path, tmp_path: Path
) -> None:
    options = ("--model", "logistic", "--protocol", "loso", "--jobs", "1", "--out", tmp_path)
    result = invoke("evaluate", "--data", rare_rem, *options)
    assert result.exit_code == 1
    assert "1 of 4 runs could not be done:" in result.output
    assert "no epoch of rem in the 3 training nights; use another seed" in result.output
    content = json.loads((tmp_path / "results.json").read_text())
    (failed,) = content["failed"]
    assert f"logistic, run {failed['run']}: no epoch of rem" in result.output
    assert len(content["runs"]) == 3
    assert (tmp_path / "report.html").is_file()
    assert "mean" in result.output


def test_where_no_run_can_be_done_that_is_all_that_is_told(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    write_dataset(directory, 3, seed=3, hours=1.0)
    for path in (directory / "labels").iterdir():
        lines = path.read_text().splitlines()
        path.write_text("".join(f"{line.split()[0]} 0\n" for line in lines))
    options = ("--model", "logistic", "--repeats", "2", "--jobs", "1", "--out", tmp_path / "out")
    result = invoke("evaluate", "--data", directory, *options)
    assert result.exit_code == 1
    assert "none of 2 runs could be done; the first says: no epoch of light" in result.output
    assert not (tmp_path / "out" / "report.html").exists()


def test_a_cluster_that_does_not_answer_is_one_clear_line(
    simulated_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(parallel, "_PATIENCE", 1.0)
    with socket.socket() as closed:  # its port is nobody's while it is held and not listened on
        closed.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{closed.getsockname()[1]}"
        options = ("--model", "majority", "--repeats", "1", "--cluster", address)
        begin = time.monotonic()
        result = invoke("evaluate", "--data", simulated_data, *options, "--out", tmp_path)
    assert time.monotonic() - begin < 30
    assert result.exit_code == 1
    assert f"no cluster at {address}" in result.output
    assert "start 'dask scheduler' and 'dask worker'" in result.output
    assert "Traceback" not in result.output


@pytest.mark.usefixtures("no_report")
def test_what_is_done_already_needs_no_cluster(simulated_data: Path, tmp_path: Path) -> None:
    options = ("--model", "majority", "--repeats", "1", "--out", tmp_path)
    first = invoke("evaluate", "--data", simulated_data, *options, "--jobs", "1")
    again = invoke("evaluate", "--data", simulated_data, *options, "--cluster", "tcp://127.0.0.1:1")
    assert first.exit_code == again.exit_code == 0, again.output
    assert first.output == again.output


@pytest.mark.parametrize("option", ["--repeats", "--jobs", "--folds"])
def test_nothing_at_all_is_no_number_of_runs(option: str, tmp_path: Path) -> None:
    result = invoke("evaluate", option, "0", "--out", tmp_path)
    assert result.exit_code == 2
    assert "0 is not in the range x>=1" in result.output


@pytest.mark.parametrize("name", ["results.json", "report.html", "report.md"])
def test_files_of_others_are_not_replaced(simulated_data: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("of another program")
    result = invoke("evaluate", "--data", simulated_data, "--out", tmp_path)
    assert result.exit_code == 1
    assert f"{name} was not made by this command: move it away" in result.stderr
    assert [one.read_text() for one in tmp_path.iterdir()] == ["of another program"]
