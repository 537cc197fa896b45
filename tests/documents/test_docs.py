"""What the documents say is what the code does."""

from __future__ import annotations

import doctest
import importlib
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import sleepstage
from research import site
from sleepstage._utils.parallel import run_tasks
from sleepstage.engine import features
from sleepstage.simulate.nights import write_dataset
from tests.helpers.command import invoke

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("features", "features.md"),
        ("service", "service.md"),
        ("expected_table", "my-apple-watch.md"),
    ],
)
def test_a_page_has_the_table_that_is_in_the_code(name: str, written: str) -> None:
    module = importlib.import_module(f"research.make_{name}")
    assert (ROOT / "docs" / written).read_text() == module.page(), "run: make docs"


def test_examples_in_docstrings_hold() -> None:
    outcome = doctest.testmod(sleepstage)
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_the_readme_names_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake (\w+)", (ROOT / "README.md").read_text()))
    assert {"run", "test"} <= named <= targets


def test_links_between_documents_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} -> {link}"


def test_the_version_is_told_once() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"## [{sleepstage.__version__}]" in changelog
    assert f"version: {sleepstage.__version__}" in citation


def test_the_python_of_the_readme_runs_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL
    )
    assert snippets
    for snippet in snippets:
        exec(compile(snippet, "README.md", "exec"), {})
    assert (tmp_path / "night.png").stat().st_size > 10_000
    assert len(capsys.readouterr().out.splitlines()) == 1800 // 30


def test_the_reading_order_is_ten_files_of_the_length_that_it_states() -> None:
    page = (ROOT / "docs" / "reading-order.md").read_text("utf-8")
    files = re.findall(r"^\d+\. \[`(.+)`\]\(\.\./src/sleepstage/\1\)", page, re.MULTILINE)
    assert len(set(files)) == 10
    lines = sum(len((ROOT / "src/sleepstage" / name).read_text().splitlines()) for name in files)
    (stated,) = re.findall(r"about ([\d,]+) lines", page)
    assert int(stated.replace(",", "")) == pytest.approx(lines, rel=0.1), f"it is {lines} lines"


def test_the_api_reference_has_all_that_the_package_exports() -> None:
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    names = re.findall(r"^::: sleepstage\.(\w+)$", page, re.MULTILINE)
    assert sorted(names) == sorted(sleepstage.__all__)


@pytest.mark.parametrize("page", ["README.md", "docs/edge.md", "docs/docker.md"])
def test_links_of_the_repository_become_links_of_the_site(page: str) -> None:
    address = site.PAGES.get(page, page.removeprefix("docs/"))
    shown_page: Any = SimpleNamespace(file=SimpleNamespace(src_uri=address))
    shown = site.on_page_markdown((ROOT / page).read_text("utf-8"), page=shown_page)
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", shown)
    assert links
    for link in links:
        assert link in site.PAGES.values() or re.match(r"source/.+\.txt$|[\w/-]+\.(md|png)$", link)
        assert ".." not in link


def _python(page: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_the_recipe_of_an_own_model_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr("sleepstage.evaluation.report.write_report", lambda *_, **__: "a report")

    def in_this_process(*given: Any, **options: Any) -> Any:
        return run_tasks(*given, **{**options, "jobs": 1})

    # That other processes find such a class is tested in tests/ml/test_own_classifier.py.
    monkeypatch.setattr("sleepstage.evaluation.experiment.run_tasks", in_this_process)
    module, use = _python("my-model.md")
    (tmp_path / "my_model.py").write_text(module, "utf-8")
    write_dataset(tmp_path / "data" / "simulated", 5, hours=2.0)
    page = (ROOT / "docs" / "my-model.md").read_text("utf-8")
    commands = re.findall(r"^sleepstage (.*my_model.*)$", page, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["evaluate", "train", "predict"]
    for command in commands:
        result = invoke(*command.split())
        assert result.exit_code == 0, result.output
    capsys.readouterr()
    exec(compile(use, "my-model.md", "exec"), {})
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["forest", "large", "clock"]


def test_the_recipe_of_an_own_feature_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = _python("my-feature.md")
    head, line, *others = block.splitlines()
    assert others == ["    ...,", "]"]
    source = Path(features.__file__).read_text("utf-8")
    before, function, after = source.partition("def _heart_rate_columns(")
    changed = before + function + after.replace(f"    {head}\n", f"    {head}\n    {line}\n", 1)
    (tmp_path / "own_features.py").write_text(changed, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    own = importlib.import_module("own_features")
    assert len(own.FEATURE_NAMES) == len(features.FEATURE_NAMES) + 1
    beats = np.arange(0.0, 600.0, 5.0)
    night = sleepstage.Recording.from_arrays(heart_rate=(beats, 60 + beats / 60), start=0, end=600)
    found = own.extract_features(night)[:, own.FEATURE_NAMES.index("hr_range_5m")]
    assert found[[0, 1, 19]] == pytest.approx([25 / 60, 55 / 60, 295 / 60], rel=1e-5)
