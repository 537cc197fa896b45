"""What the documents say is what the code does."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

import sleepstage

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
