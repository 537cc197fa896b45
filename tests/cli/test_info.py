"""sleepstage info."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sleepstage.engine.model_info import ModelInfo
from sleepstage.engine.stager import Stager
from tests.conftest import Run
from tests.engine.test_stager import rewrite
from tests.helpers.command import invoke


def test_info_is_what_the_model_says_of_itself_and_its_classes(small_run: Run) -> None:
    result = invoke("info", small_run.model, "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said.pop("classes") == ["wake", "light", "deep", "rem"]
    assert set(said) == set(json.loads(ModelInfo((), "four_class").to_json()))
    assert ModelInfo.from_json(json.dumps(said)) == Stager(small_run.model).info
    assert said["simulated"]


def test_info_is_written_whole_to_a_file(small_run: Run, tmp_path: Path) -> None:
    out = tmp_path / "new" / "info.json"
    result = invoke("info", small_run.model, "--out", out)
    assert result.exit_code == 0, result.output
    assert str(out) in result.output
    assert json.loads(out.read_text()) == json.loads(
        invoke("info", small_run.model, "--json").stdout
    )
    refused = invoke("info", small_run.model, "--out", tmp_path / "info.txt")
    assert refused.exit_code == 1
    assert "use one of .json" in refused.output
    assert list(tmp_path.iterdir()) == [out.parent]


def test_a_broken_file_is_one_clear_line(small_run: Run, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(small_run.model.read_bytes()[:5000])
    other = rewrite(small_run.model, tmp_path / "other.onnx", format=99, version="9.1")
    for path, message in (
        (damaged, "not a model file of sleepstage, or damaged"),
        (other, "model format 99 of sleepstage 9.1"),
        (tmp_path / "none.onnx", "no such model file"),
        (tmp_path, "can't be read"),
    ):
        out = tmp_path / "info.json"
        result = invoke("info", path, "--out", out)
        assert result.exit_code == 1
        assert f"{path}: " in result.output
        assert message in result.output
        assert result.output.count("\n") == 1
        assert not out.exists()


@pytest.mark.parametrize(("arguments", "whole_night"), [((), False), (("night",), True)])
def test_info_knows_the_models_of_the_package(
    arguments: tuple[str, ...], *, whole_night: bool
) -> None:
    result = invoke("info", *arguments, "--json")
    assert result.exit_code == 0
    said = json.loads(result.output)
    assert said["whole_night"] is whole_night
    assert said["data"]["licence"] == "ODC-By 1.0"


def test_info_is_a_summary_that_people_read(small_run: Run) -> None:
    for model, expected in (("night", "recordings"), ("live", "epochs as they end")):
        said = invoke("info", model).output
        assert "{" not in said
        for words in (
            f"model {model}",
            expected,
            "wake, light, deep, rem",
            "ODC-By 1.0",
            "Walch",
        ):
            assert words in said
    assert "kappa 0." in invoke("info", "live").output
    said = invoke("info", small_run.model).output
    assert "S I M U L A T E D" in said
    measured = small_run.outcome.metrics.schemes["four_class"]
    assert f"accuracy {measured.accuracy:.3f}, kappa {measured.kappa:.3f}" in said
