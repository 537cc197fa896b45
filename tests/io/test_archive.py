from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from sleepstage.errors import DataError
from sleepstage.io.archives import Place, member_names

CONTENT = bytes(range(256)) * 400


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "one.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.mkdir("folder")
        file.writestr("folder/a.bin", CONTENT)
    return path


def test_files_are_named_and_read_without_being_unpacked(archive: Path) -> None:
    assert member_names(archive) == ["folder/a.bin"]
    with Place(archive, "folder/a.bin").open() as (file, size):
        assert (file.read(), size) == (CONTENT, len(CONTENT))
    assert list(archive.parent.iterdir()) == [archive]


def test_what_finder_adds_to_an_archive_is_no_file_of_it(archive: Path) -> None:
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("__MACOSX/folder/._a.bin", "x")
        file.writestr("folder/.DS_Store", "x")
        file.writestr(".", "x")
    assert member_names(archive) == ["folder/a.bin"]


def test_what_is_no_archive_has_no_names(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("time,bpm\n")
    assert member_names(tmp_path / "a.zip") is None


def test_a_truncated_archive_is_told(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"one\.zip: a damaged zip archive .* copy it again"):
        member_names(archive)


def test_a_damaged_member_is_told(archive: Path) -> None:
    content = bytearray(archive.read_bytes())
    at = content.index(b"a.bin") + 40
    content[at : at + 20] = bytes(20)
    archive.write_bytes(content)
    with (
        pytest.raises(DataError, match=r"one\.zip: folder/a\.bin is damaged"),
        Place(archive, "folder/a.bin").open() as (file, _),
    ):
        file.read()


@pytest.mark.parametrize(
    "name", ["../evil.csv", "/etc/evil.csv", "a/../../b.csv", "..\\b", "C:\\b"]
)
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "slip.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(name, "x")
    with pytest.raises(DataError, match="leads out of the archive"):
        member_names(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_archive_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.zip: can't be read"):
        member_names(tmp_path / "none.zip")
