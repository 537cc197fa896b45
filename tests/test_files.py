from __future__ import annotations

import errno
import hashlib
from typing import TYPE_CHECKING

import pytest

from sleepstage.errors import DataError
from sleepstage.files import fingerprint, write_atomically

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_appears_under_its_name_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "night.csv"
    with write_atomically(path) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == path.parent
        assert temporary.suffix == ".csv"
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError()]
)
def test_what_goes_wrong_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "night.csv"
    path.write_text("old")

    def write_half() -> None:
        with write_atomically(path) as temporary:
            temporary.write_text("ha")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_was_never_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "night.csv"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), write_atomically(path):
        pass
    assert path.read_text() == "old"


def test_a_folder_in_the_way_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "night.csv"
    path.mkdir()
    with pytest.raises(OSError, match=r"night\.csv"), write_atomically(path) as temporary:
        temporary.write_text("new")
    assert list(tmp_path.iterdir()) == [path]


def test_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "night.csv"
    with write_atomically(path) as one, write_atomically(path) as other:
        one.write_text("one")
        other.write_text("other")
        assert one != other
    assert path.read_text() == "one"  # the last to finish
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["night.xls", "night", ".csv", "night.csv.gz", "night.CSV2"])
def test_an_ending_that_is_not_understood_is_named_before_anything_is_made(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / "new" / name
    with (
        pytest.raises(DataError, match=r"unknown ending '.*'; use one of \.csv, \.json"),
        write_atomically(path, suffixes=(".csv", ".json")),
    ):
        pytest.fail("nothing may be written")
    assert not path.parent.exists()


def test_fingerprint_is_the_sha256_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "any"
    path.write_bytes(b"\r\n\x00" * 10_000)
    assert fingerprint(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert fingerprint(str(path)) == fingerprint(path)
