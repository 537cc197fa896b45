"""How peers are compared: agreement, one threshold for all, and the tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from environments import reason
from page import aligned, write_section
from sleep_wake import compare, wake_found_at

EXPERT = np.array([True] * 8 + [False] * 2)


def test_agreement_by_hand() -> None:
    asleep = np.array([True] * 7 + [False] + [True, False])
    found = compare(EXPERT, asleep)
    assert (found.accuracy, found.sleep_kept, found.wake_found) == (0.8, 7 / 8, 0.5)
    assert found.kappa == pytest.approx((0.8 - 0.68) / (1 - 0.68))
    assert found.auc is None
    assert found.wake_found_at_kept is None


@pytest.mark.parametrize(("kept", "expected"), [(1.0, 0.5), (7 / 8, 1.0), (0.9, 0.5), (0.5, 1.0)])
def test_wake_found_at_the_highest_threshold_that_keeps_enough_sleep(
    kept: float, expected: float
) -> None:
    score = np.array([0.9] * 7 + [0.2] + [0.3, 0.1])
    assert wake_found_at(EXPERT, score, kept) == pytest.approx(expected)


def test_epochs_of_one_score_are_not_split() -> None:
    score = np.ones(10)
    assert wake_found_at(EXPERT, score, 0.5) == 0
    assert compare(EXPERT, EXPERT, score).auc == 0.5


def test_a_score_that_knows_all_finds_all_wake() -> None:
    found = compare(EXPERT, EXPERT, EXPERT.astype(np.float64))
    assert found[:6] == (1, 1, 1, 1, 1, 1)


def test_the_table_is_aligned_and_is_markdown() -> None:
    assert aligned(("method", "n"), [("a", "10")]) == [
        "| method |  n |",
        "| ------ | -: |",
        "| a      | 10 |",
    ]


def test_a_section_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x -->\nold\n<!-- /x -->\nb\n")
    write_section(page, "x", "new")
    assert page.read_text() == "a\n<!-- x -->\nnew\n<!-- /x -->\nb\n"
    with pytest.raises(SystemExit, match="add the lines <!-- y --> and <!-- /y -->"):
        write_section(page, "y", "new")
    assert page.read_text() == "a\n<!-- x -->\nnew\n<!-- /x -->\nb\n"


def test_a_reason_names_no_place_of_this_machine() -> None:
    printed = "Traceback\n  error sending request (https://host/pkg.tar.gz): no route at /tmp/x\n\n"
    assert reason(printed) == "error sending request … no route at …"
    assert reason("") == "no reason given"
