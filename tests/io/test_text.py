from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sleepstage.errors import DataError
from sleepstage.io.files import read_text_table

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = ("seconds", "bpm")
GOOD = [[0.0, 60.0], [5.5, 61.0]]


def read(
    path: Path, text: str | bytes, *, separator: str = ",", header: bool = False
) -> list[list[float]]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    table = read_text_table(path, COLUMNS, separator=separator, header=header)
    assert table.dtype == np.float64
    rows: list[list[float]] = table.tolist()
    return rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "night.txt"


@pytest.mark.parametrize(
    "text",
    [
        "0,60\n5.5,61\n",
        "0,60\n5.5,61",
        "0,60\r\n5.5,61\r\n",
        "0,60\n\n\n5.5,61\n\n",
        "\n0,60\n5.5,61\n",
        " 0, 60\n 5.5, 61 \n",
        "0,60\n+5.5,6.1e1\n",
        "\ufeff0,60\n5.5,61\n",
        "0,60\n5.5,61\n" + "\r\n" * 3,
    ],
    ids=ascii,
)
def test_tables_that_differ_only_in_form_are_the_same(path: Path, text: str) -> None:
    assert read(path, text) == GOOD


@pytest.mark.parametrize(
    "text",
    [
        "seconds,bpm\n0,60\n5.5,61\n",
        "# source abc\nseconds,bpm\n0,60\n5.5,61\n",
        "# source abc\r\nseconds,bpm\r\n0,60\r\n5.5,61\r\n",
        "seconds,bpm\n0,60\n# a remark\n5.5,61\n",
        "\nseconds,bpm\n0,60\n5.5,61\n",
    ],
    ids=ascii,
)
def test_header_and_remarks_are_passed_over(path: Path, text: str) -> None:
    assert read(path, text, header=True) == GOOD


def test_remarks_are_passed_over_also_where_lines_are_read_one_by_one(path: Path) -> None:
    assert read(path, '\n"seconds", bpm\n0,60\n# a remark\n5.5,61\n', header=True) == GOOD


def test_a_header_of_other_names_is_refused(path: Path) -> None:
    with pytest.raises(DataError, match="header bpm,bpm; expected seconds,bpm"):
        read(path, "bpm,bpm\n0,60\n5.5,61\n", header=True)


@pytest.mark.parametrize(
    "line",
    [
        "5",
        "5,",
        ",61",
        "5,61,62",
        "5;61",
        "5 61",
        "5,nan",
        "5,inf",
        "-inf,61",
        "5,1e400",
        "5,6O",
        "5,1_000",
        "1_000,61",
        "5,true",
        "0x10,61",
        "2023-11-14,61",
        "#5,61",
        '"5,61',
        "seconds,bpm",
        "5,\x00",
    ],
)
@pytest.mark.parametrize("before", [0, 1, 300])
def test_a_broken_line_is_named(path: Path, line: str, before: int) -> None:
    lines = [*[f"{n},60" for n in range(before)], line, "900,60", "broken,too"]
    with pytest.raises(DataError) as caught:
        read(path, "\n".join(lines) + "\n")
    assert str(caught.value) == (
        f"{path}, line {before + 1}: expected 2 numbers (seconds, bpm), found {line!r}; "
        "correct or delete the line"
    )


def test_lines_are_counted_as_an_editor_counts_them(path: Path) -> None:
    with pytest.raises(DataError, match=r"night\.txt, line 6: .* found '5,x'"):
        read(path, "# source\n\nseconds,bpm\n0,60\n\n5,x\n", header=True)


def test_a_long_broken_line_is_cut_short(path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(path, "0,60\n" + "x" * 100_000 + "\n")
    assert len(str(caught.value)) < len(str(path)) + 200


@pytest.mark.parametrize("text", ["", "\n", "\n\r\n \n"], ids=ascii)
def test_an_empty_file_is_named(path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"night\.txt: the file is empty; expected .*seconds, bpm"):
        read(path, text)


@pytest.mark.parametrize("text", ["seconds,bpm\n", "# source\nseconds,bpm", "# source\n"])
def test_a_header_alone_is_an_empty_file(path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"night\.txt: the file is empty"):
        read(path, text, header=True)


@pytest.mark.parametrize(
    "junk", [b"\xff\xfe0\x00,\x00", b"\x1f\x8b\x08\x00abc\n", bytes(range(256))]
)
def test_a_file_that_is_no_text_is_refused(path: Path, junk: bytes) -> None:
    with pytest.raises(DataError, match=r"night\.txt"):
        read(path, junk)


def test_a_missing_file_is_named(path: Path) -> None:
    with pytest.raises(DataError, match=r"night\.txt: can't be read \(No such file"):
        read_text_table(path, COLUMNS, separator=",")


def test_a_folder_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "night.txt").mkdir()
    with pytest.raises(DataError, match=r"night\.txt: can't be read \(.*[Ii]s a directory"):
        read_text_table(tmp_path / "night.txt", COLUMNS, separator=",")


def test_other_separators(path: Path) -> None:
    assert read(path, "0 60\n5.5 61\n", separator=" ") == GOOD
    assert read(path, "0\t60\n5.5\t61\n", separator="\t") == GOOD
    assert read(path, " 0 60 \n 5.5 61 \n", separator=" ") == GOOD


@pytest.mark.parametrize("name", ["a*", "a?", "a[1]", "a{1}", "ä ö", "~"])
def test_signs_in_a_folders_name_mean_nothing(tmp_path: Path, name: str) -> None:
    # A folder beside it fits the name where it is taken for a pattern.
    for folder, text in (("a1", "0,99\n"), (name, "0,60\n5.5,61\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "night.txt").write_text(text)
    table = read_text_table(tmp_path / name / "night.txt", COLUMNS, separator=",")
    assert table.tolist() == GOOD


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9)), min_size=1))
def test_numbers_come_back_to_the_bit(path: Path, rows: list[tuple[float, float]]) -> None:
    text = "".join(f"{time!r},{value!r}\n" for time, value in rows)
    assert read(path, text) == [list(row) for row in rows]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text("01259.,-+eE_ \n\r\tnaifx#\"'", max_size=60))
def test_any_text_is_read_as_its_lines_say_or_refused(path: Path, text: str) -> None:
    try:
        rows = read(path, text)
    except DataError as error:
        assert str(path) in str(error)  # noqa: PT017 - either is right
    else:
        lines = [line for line in text.replace("\r", "\n").split("\n") if line.strip()]
        assert len(rows) == len(lines)
        assert np.isfinite(rows).all()
