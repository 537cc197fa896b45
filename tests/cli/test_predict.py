"""sleepstage predict."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from sleepstage.cli.predict import show_hypnogram
from sleepstage.core.recording import Recording
from sleepstage.engine.model_info import ModelInfo
from sleepstage.ml.export import model_file
from tests.conftest import Run
from tests.engine.test_stager import rewrite
from tests.helpers.command import invoke
from tests.helpers.exports import export_graph
from tests.helpers.networks import N_FEATURES, NAMES, whole_night
from tests.helpers.scored import hypnogram


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
    probabilities = {"p_wake", "p_light", "p_deep", "p_rem"}
    assert set(rows[0]) == {"time", "stage", *probabilities, "confidence", "simulated"}


def test_predict_finds_rem_at_the_operating_point(
    small_run: Run, simulated_data: Path, tmp_path: Path
) -> None:
    subject = small_run.split.test[0]
    path = rewrite(small_run.model, tmp_path / "eager.onnx", factors={"rem": 50.0})
    rem = []
    for options in ([], ["--find-rem"]):
        out = tmp_path / "night.json"
        night = f"{simulated_data}:{subject}"
        result = invoke("predict", night, "--model", path, "--out", out, *options)
        assert result.exit_code == 0, result.output
        epochs = json.loads(out.read_text())["epochs"]
        rem.append([epoch["stage"] == "rem" for epoch in epochs])
        probabilities = [epoch["p_rem"] for epoch in epochs]
    assert sum(rem[1]) > sum(rem[0])
    assert min(p for p, found in zip(probabilities, rem[1], strict=True) if found) < 0.3


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
    assert "at most 24 h; correct the times, or give its start and end" in result.output
    result = invoke("predict", *model, "--steps", steps)
    assert result.exit_code == 1
    assert "a recording needs heart rate or motion" in result.output


def test_predict_names_the_reason_of_what_is_unscored(small_run: Run, tmp_path: Path) -> None:
    motion, beats = tmp_path / "motion.csv", tmp_path / "beats.csv"
    still = [f"{15 * n},0,0,0,1" for n in range(1, 81)]  # 20 minutes
    motion.write_text("\n".join(["time,counts,peak_x_g,peak_y_g,peak_z_g", *still]))
    beats.write_text("\n".join(["time,bpm", *(f"{time},60" for time in range(0, 300, 5))]))
    night = ("--motion", motion, "--heart-rate", beats, "--start", "0", "--end", "2400")
    result = invoke("predict", "--model", small_run.model, *night, "--out", tmp_path / "night.csv")
    assert result.exit_code == 0, result.output
    rows = {line.split()[0]: line.split() for line in result.output.splitlines() if "%" in line}
    assert rows["not"][1:] == ["worn", "14.5", "36.2%"]
    assert rows["no"][1:] == ["data", "15.5", "38.8%"]
    assert "unscored" not in result.output
    found = pl.read_csv(tmp_path / "night.csv")["reason"].fill_null("").to_list()
    assert found == [""] * 20 + ["not_worn"] * 29 + ["no_data"] * 31


def test_predict_wants_either_a_recording_or_files(small_run: Run, simulated_data: Path) -> None:
    beats = simulated_data / "heart_rate" / "900001_heartrate.txt"
    neither = invoke("predict", "--model", small_run.model)
    both = invoke("predict", "a:1", "--heart-rate", beats, "--model", small_run.model)
    assert neither.exit_code == both.exit_code == 2
    assert "give either a RECORDING" in neither.output
    assert "expected DIR:SUBJECT" in invoke("predict", ":", "--model", small_run.model).output


def test_predict_takes_what_every_command_takes(
    small_run: Run, simulated_data: Path, tmp_path: Path
) -> None:
    beats = "".join(f"{time},60\n" for time in range(0, 605, 5))
    (tmp_path / "monday.csv").write_text(f"time,bpm\n{beats}")
    for path in (tmp_path, tmp_path / "monday.csv", f"{tmp_path}:monday"):
        result = invoke("predict", path, "--model", small_run.model)
        assert "20 epochs of 30 s" in result.output, result.output
    many = invoke("predict", simulated_data, "--model", small_run.model)
    assert many.exit_code == 1
    hint = f"5 nights; name one of them: {simulated_data}:900001"
    assert hint in many.output.replace("\n", "")
    wrong = invoke("predict", f"{simulated_data}:7", "--model", small_run.model)
    assert "no night '7'; there are 900001, 900002" in wrong.output.replace("\n", "")


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


def test_predict_explains_in_numbers_and_as_a_picture(
    small_run: Run, simulated_data: Path, tmp_path: Path
) -> None:
    night = f"{simulated_data}:{small_run.split.test[0]}"
    files = [tmp_path / name for name in ("why.csv", "why.json", "why.parquet", "why.png")]
    options = [part for file in files for part in ("--explain", file)]
    out = tmp_path / "night.csv"
    result = invoke("predict", night, "--model", small_run.model, "--out", out, *options)
    assert result.exit_code == 0, result.output
    for file in files:
        assert f"explanation: {file}" in result.output
    assert files[-1].read_bytes().startswith(b"\x89PNG")
    frame = pl.read_csv(files[0])
    assert frame.columns == pl.read_parquet(files[2]).columns
    assert frame.columns == list(json.loads(files[1].read_text())["epochs"][0])
    assert frame["stage"].to_list() == pl.read_csv(out)["stage"].to_list()
    assert frame["by_heart_rate"].abs().max() > 0  # type: ignore[operator]


def test_predict_explains_the_stage_it_decides(
    small_run: Run, simulated_data: Path, tmp_path: Path
) -> None:
    path = rewrite(small_run.model, tmp_path / "eager.onnx", factors={"rem": 1e6})
    out = tmp_path / "why.csv"
    night = f"{simulated_data}:900001"
    result = invoke("predict", night, "--model", path, "--find-rem", "--explain", out)
    assert result.exit_code == 0, result.output
    assert set(pl.read_csv(out)["stage"]) == {"rem"}


def test_predict_does_not_stage_what_it_can_not_write(
    small_run: Run, simulated_data: Path, tmp_path: Path
) -> None:
    night = f"{simulated_data}:900001"
    options = ("--explain", tmp_path / "why.csv", "--explain", tmp_path / "why.txt")
    result = invoke("predict", night, "--model", small_run.model, *options)
    assert result.exit_code == 1
    assert "unknown ending '.txt'; use one of .csv, .json, .parquet, .png" in result.output
    assert "epochs of 30 s" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_predict_says_that_a_whole_night_model_has_no_past(
    simulated_data: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model.onnx"
    info = ModelInfo(NAMES, "four_class", whole_night=True)
    model.write_bytes(model_file(export_graph([whole_night("lstm")], N_FEATURES), info))
    out = tmp_path / "why.csv"
    result = invoke("predict", f"{simulated_data}:900001", "--model", model, "--explain", out)
    assert result.exit_code == 0, result.output
    assert "no past minutes are explained" in result.output
    assert pl.read_csv(out).columns[-2:] == ["by_heart_rate", "simulated"]


def test_no_result_is_written_over_an_input(
    small_run: Run, simulated_data: Path, tmp_path: Path
) -> None:
    subject = small_run.split.test[0]
    night = tmp_path / "night.csv"
    shutil.copy(simulated_data / "heart_rate" / f"{subject}_heartrate.txt", night)
    (tmp_path / "link.png").symlink_to(night)
    (tmp_path / "hard.json").hardlink_to(night)
    before = night.read_bytes()
    forbidden: list[list[str | Path]] = [
        ["--out", night],
        ["--plot", tmp_path / "link.png"],
        ["--explain", tmp_path / "hard.json"],
        ["--out", tmp_path / "a.csv", "--explain", tmp_path / "a.csv"],
    ]
    for options in forbidden:
        result = invoke("predict", "--heart-rate", night, *options)
        assert result.exit_code == 1
        assert "is an input" in result.stderr or "is named for two results" in result.stderr
    assert night.read_bytes() == before
    assert (tmp_path / "link.png").is_symlink()
    model = tmp_path / "model.json"
    shutil.copy(small_run.model, model)
    for result in (
        invoke("predict", "--heart-rate", night, "--model", model, "--out", model),
        invoke("info", model, "--out", model),
    ):
        assert result.exit_code == 1
        assert "model.json is an input" in result.stderr
    assert model.read_bytes() == small_run.model.read_bytes()


def test_no_result_is_written_over_a_dataset(simulated_data: Path, tmp_path: Path) -> None:
    shutil.copytree(simulated_data, tmp_path / "data")
    labels = next((tmp_path / "data" / "motion_15s").iterdir())
    subject = labels.name.partition("_")[0]
    result = invoke("predict", f"{tmp_path / 'data'}:{subject}", "--out", labels)
    assert result.exit_code == 1
    assert f"{labels} is an input" in result.stderr
    for command in ("train", "evaluate"):
        for folder in (tmp_path / "data", tmp_path / "data" / "labels"):
            result = invoke(command, "--data", tmp_path / "data", "--out", folder)
            assert result.exit_code == 1
            assert f"{folder} is an input" in result.stderr
    assert not list((tmp_path / "data").glob("*.json"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLEEPSTAGE_DATA", raising=False)
    result = invoke("predict", "nihgt.csv")
    assert result.exit_code == 1
    assert "Error: nihgt.csv: no such file or folder" in result.output


def test_sleep_periods_are_shown_where_there_are_several(
    capsys: pytest.CaptureFixture[str],
) -> None:
    night = Recording.from_arrays(heart_rate=([0.0], [60.0]), start=0, end=30 * 520)
    show_hypnogram(hypnogram("l" * 380 + "w" * 120 + "l" * 20), night)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    shown = [" ".join(line) for line in lines if line and line[0] in {"sleep", "nap"}]
    assert shown[-2:] == ["sleep 0 s 11400 s 190.0 0.0", "nap 15000 s 15600 s 10.0 0.0"]
    show_hypnogram(hypnogram("l" * 520), night)
    assert "nap" not in capsys.readouterr().out
