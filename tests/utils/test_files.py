from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

from sleepstage._utils.files import (
    fingerprint,
    keep_apart,
    stale,
    temporary_folder,
    text_cell,
    write_atomically,
)
from sleepstage.errors import DataError


@cache
def dead_process() -> int:
    """Number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


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


# What killed runs leave behind


def test_what_a_killed_process_left_is_removed_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", dead_process)
        patch.setattr("sleepstage._utils.files.discard", lambda _: None)
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with suppress(KeyboardInterrupt), write_atomically(tmp_path / "b.csv") as path:
            path.write_text("half")
            raise KeyboardInterrupt
        with temporary_folder(tmp_path) as new:
            (new / "half").write_text("half")
    assert len(list(tmp_path.iterdir())) == 2
    with write_atomically(tmp_path / "c.csv") as path:
        path.write_text("whole")
    assert [one.name for one in tmp_path.iterdir()] == ["c.csv"]


def test_what_others_wrote_or_still_write_is_not_removed(tmp_path: Path) -> None:
    names = [".sleepstage-notes", ".sleepstage-1-2-3.csv", f".sleepstage-{'0' * 8}-1-{'0' * 8}.csv"]
    for name in names:
        (tmp_path / name).write_text("mine")
    with temporary_folder(tmp_path) as new:
        assert stale(tmp_path) == []
        with write_atomically(tmp_path / "c.csv") as path:
            path.write_text("whole")
        assert new.exists()
    assert {one.name for one in tmp_path.iterdir()} == {"c.csv", *names}


def test_what_another_machine_left_is_removed_after_a_day(tmp_path: Path) -> None:
    path = tmp_path / f".sleepstage-{'0' * 8}-1-{'0' * 8}"
    path.mkdir()
    os.utime(path, (time.time() - 90_000,) * 2)
    with temporary_folder(tmp_path):
        assert not path.exists()


def test_a_temporary_folder_may_keep_what_must_not_be_lost(tmp_path: Path) -> None:
    with temporary_folder(tmp_path) as new:
        kept = new.with_name("old") / "kept"
        kept.mkdir(parents=True)
    assert not new.exists()
    assert kept.exists()


# Inputs and outputs


def test_no_output_is_an_input_by_any_name(tmp_path: Path) -> None:
    given = tmp_path / "given.csv"
    given.write_text("raw")
    (tmp_path / "soft.csv").symlink_to(given)
    (tmp_path / "hard.csv").hardlink_to(given)
    (tmp_path / "folder").mkdir()
    for name in ("given.csv", "soft.csv", "hard.csv", "folder/../given.csv"):
        with pytest.raises(DataError, match=r"is an input \(.*given.csv\): name another place"):
            keep_apart([None, tmp_path / name], [None, tmp_path / "none", given])
    keep_apart([tmp_path / "new.csv", tmp_path / "none"], [given, tmp_path / "none"])


def test_two_outputs_have_two_paths(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is named for two results"):
        keep_apart([tmp_path / "a.csv", tmp_path / "." / "a.csv"], [])


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@a", "\t=1", "\r=1"])
def test_text_is_no_formula(text: str) -> None:
    assert text_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "a", "a=1", "1-1", " -"])
def test_other_text_stays(text: str) -> None:
    assert text_cell(text) == text
