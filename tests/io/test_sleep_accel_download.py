from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from sleepstage.errors import DataError, MissingExtraError
from sleepstage.io.sleep_accel.download import BASE_URL, MIRROR_VARIABLE, FetchReport, fetch
from tests.utils.test_files import dead_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pooch import Pooch

SUBJECTS = ("46343", "759667", "1066528")
KINDS = (
    ("heart_rate", "heartrate"),
    ("labels", "labeled_sleep"),
    ("motion", "acceleration"),
    ("steps", "steps"),
)
SUMS = "SHA256SUMS.txt"
HEART_RATE = "heart_rate/46343_heartrate.txt"
MOTION = "motion/759667_acceleration.txt"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path = self.path.removeprefix("/data/")
        self.server.requests.append(path)
        body = self.server.files.get(path)
        fault = next(self.server.faults.get(path, iter(())), None)
        if fault is not None:
            fault(self, body or b"")
        elif body is None:
            self.send_error(404)
        else:
            self.answer(body, len(body))

    def answer(self, body: bytes, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


class Server(ThreadingHTTPServer):
    """The dataset in its true layout, with small files, and what goes wrong with them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/data"
        self.requests: list[str] = []
        self.faults: dict[str, Iterator[Callable[[Handler, bytes], None]]] = {}
        self.released = threading.Event()
        self.files = {
            f"{folder}/{subject}_{name}.txt": f"{folder} of {subject}\n".encode() * 9
            for folder, name in KINDS
            for subject in SUBJECTS
        }
        self.files["LICENSE.txt"] = b"ODC-By 1.0\n"
        self.paths = set(self.files)
        self.files[SUMS] = "".join(
            f"{hashlib.sha256(body).hexdigest()} {path}\n"
            for path, body in sorted(self.files.items())
        ).encode()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def end(self) -> None:
        self.released.set()
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self.server_close()


def truncated(handler: Handler, body: bytes) -> None:
    handler.answer(body[: len(body) // 2], len(body))


def damaged(handler: Handler, body: bytes) -> None:
    handler.answer(body[::-1], len(body))


def dropped(handler: Handler, body: bytes) -> None:
    handler.close_connection = True


def stalled(handler: Handler, body: bytes) -> None:
    handler.server.released.wait(20)


def status(code: int) -> Callable[[Handler, bytes], None]:
    return lambda handler, _: handler.send_error(code)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.end()


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Keep proxies and waiting out of it; how long pooch would have waited between its tries."""
    waits: list[float] = []
    monkeypatch.setattr("pooch.core.time", SimpleNamespace(sleep=waits.append))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    return waits


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "sleep-accel"


def there(directory: Path) -> set[str]:
    """Every file below, temporary ones too."""
    return {
        path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()
    }


def failure(server: Server, target: Path) -> str:
    """Text of the error; what else is in the directory must be finished."""
    with pytest.raises(DataError) as caught:
        fetch(target, mirror=server.url)
    if target.is_dir():
        for path in there(target):
            assert (target / path).read_bytes() == server.files[path]
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_default_address_is_physionets() -> None:
    assert BASE_URL == "https://physionet.org/files/sleep-accel/1.0.0/"


@pytest.mark.parametrize("slash", ["", "/"])
def test_everything(
    server: Server, target: Path, slash: str, capfd: pytest.CaptureFixture[str]
) -> None:
    report = fetch(target, mirror=server.url + slash)
    assert there(target) == server.paths | {SUMS}
    for path in there(target):
        assert (target / path).read_bytes() == server.files[path]
    assert report == FetchReport(downloaded=tuple(sorted(server.paths)), already_there=())
    assert sorted(server.requests) == sorted([*server.paths, SUMS])
    assert server.requests[0] == SUMS
    assert capfd.readouterr() == ("", "")


def test_home_directory_is_understood(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    fetch("~/data", mirror=server.url)
    assert there(tmp_path / "data") == server.paths | {SUMS}


@pytest.mark.skipif(sys.platform == "win32", reason="file modes are POSIX")
def test_files_can_be_read_as_any_other(server: Server, target: Path) -> None:
    fetch(target, mirror=server.url)
    (target / "plain").touch()
    assert {path.stat().st_mode for path in target.rglob("*.txt")} == {
        (target / "plain").stat().st_mode
    }


def test_second_time_only_the_checksums(server: Server, target: Path) -> None:
    fetch(target, mirror=server.url)
    server.requests.clear()
    report = fetch(target, mirror=server.url)
    assert server.requests == [SUMS]
    assert report == FetchReport(downloaded=(), already_there=tuple(sorted(server.paths)))


def test_missing_and_damaged_files_are_mended(server: Server, target: Path) -> None:
    fetch(target, mirror=server.url)
    (target / MOTION).unlink()
    (target / HEART_RATE).write_text("half of i")
    server.requests.clear()
    report = fetch(target, mirror=server.url)
    assert report.downloaded == (HEART_RATE, MOTION)
    assert sorted(server.requests) == sorted([SUMS, HEART_RATE, MOTION])
    assert (target / HEART_RATE).read_bytes() == server.files[HEART_RATE]


def test_files_of_others_are_not_replaced(server: Server, target: Path) -> None:
    target.mkdir()
    (target / "LICENSE.txt").write_text("of my own project")
    with pytest.raises(DataError, match=r"LICENSE\.txt is there and is not the dataset's: move it"):
        fetch(target, mirror=server.url)
    assert there(target) == {"LICENSE.txt"}
    assert (target / "LICENSE.txt").read_text() == "of my own project"


def test_what_a_killed_download_left_is_removed(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(url: str, output: str, keeper: Pooch) -> None:
        Path(output).write_text("half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("sleepstage.io.sleep_accel.download._download", killed)
        patch.setattr("sleepstage._utils.files.discard", lambda _: None)
        patch.setattr("pooch.utils.os.remove", lambda _: None)
        patch.setattr(os, "getpid", dead_process)
        with pytest.raises(KeyboardInterrupt):
            fetch(target, mirror=server.url, jobs=1)
    assert any(path.startswith(".sleepstage-") for path in there(target))
    fetch(target, mirror=server.url)
    assert there(target) == server.paths | {SUMS}
    assert not list(target.glob(".*"))


def test_chosen_subjects(server: Server, target: Path) -> None:
    fetch(target, mirror=server.url, subjects=iter(["46343", "1066528"]))
    left_out = {path for path in server.paths if "759667" in path}
    assert there(target) == server.paths - left_out | {SUMS}


def test_without_motion(server: Server, target: Path) -> None:
    fetch(target, mirror=server.url, motion=False)
    assert there(target) == {path for path in server.files if not path.startswith("motion/")}


def test_unknown_subject(server: Server, target: Path) -> None:
    with pytest.raises(DataError, match=r"unknown subject: 12, 13;.* lists 3, such as 1066528, 46"):
        fetch(target, mirror=server.url, subjects=["13", "46343", "12"])
    assert server.requests == [SUMS]
    assert there(target) == {SUMS}


def test_no_subject_at_all(server: Server, target: Path) -> None:
    with pytest.raises(DataError, match="none named"):
        fetch(target, mirror=server.url, subjects=())


def test_progress(server: Server, target: Path) -> None:
    calls: list[tuple[int, int, str]] = []
    fetch(target, mirror=server.url, on_progress=lambda *call: calls.append(call))
    total = len(server.paths)
    assert [call[:2] for call in calls] == [(done, total) for done in range(1, total + 1)]
    assert {path for _, _, path in calls} == server.paths


def test_mirror_from_the_environment(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MIRROR_VARIABLE, server.url)
    fetch(target)
    assert there(target) == server.paths | {SUMS}


def test_argument_goes_before_the_environment(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MIRROR_VARIABLE, "http://127.0.0.1:1/")
    fetch(target, mirror=server.url)
    assert there(target) == server.paths | {SUMS}


@pytest.mark.parametrize("fault", [truncated, damaged, dropped, status(503), status(429)])
def test_passing_trouble_is_tried_again(
    server: Server, target: Path, waits: list[float], fault: Callable[[Handler, bytes], None]
) -> None:
    server.faults[MOTION] = iter([fault, fault])
    fetch(target, mirror=server.url)
    assert (target / MOTION).read_bytes() == server.files[MOTION]
    assert server.requests.count(MOTION) == 3
    assert waits == [1, 2]


@pytest.mark.parametrize(
    ("fault", "reason", "tries"),
    [
        (truncated, "it broke off", 4),
        (damaged, "wrong checksum", 4),
        (dropped, "it broke off", 4),
        (status(503), "503 Server Error: Service Unavailable", 4),
        (status(404), "404 Not Found", 1),
        (status(403), "403 Forbidden", 1),
    ],
)
def test_lasting_trouble_with_one_file_spares_the_others(
    server: Server,
    target: Path,
    fault: Callable[[Handler, bytes], None],
    reason: str,
    tries: int,
    capfd: pytest.CaptureFixture[str],
) -> None:
    server.faults[MOTION] = repeat(fault)
    text = failure(server, target)
    assert text.startswith("1 of 13 files could not be downloaded: ")
    assert MOTION in text
    assert reason in text
    assert "run it again: finished files are kept" in text
    assert server.requests.count(MOTION) == tries
    assert there(target) == server.paths - {MOTION} | {SUMS}
    assert capfd.readouterr() == ("", "")
    del server.faults[MOTION]
    assert fetch(target, mirror=server.url).downloaded == (MOTION,)


def test_server_that_stops_answering(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sleepstage.io.sleep_accel.download._TIMEOUT", 1)
    server.faults[MOTION] = iter([stalled])
    fetch(target, mirror=server.url)
    assert there(target) == server.paths | {SUMS}


def test_many_failures_are_counted(server: Server, target: Path) -> None:
    for path in server.paths:
        server.faults[path] = repeat(status(404))
    text = failure(server, target)
    assert text.startswith("13 of 13 files")
    assert " and 10 more; " in text
    assert text.count("404 Not Found") == 3
    assert there(target) == {SUMS}


def test_server_that_goes_away_in_between(server: Server, target: Path) -> None:
    with pytest.raises(DataError, match=r"no connection.* and \d+ more"):
        fetch(target, mirror=server.url, jobs=1, on_progress=lambda *_: server.end())
    assert len(there(target)) >= 2
    for path in there(target):
        assert (target / path).read_bytes() == server.files[path]


def test_interruption_keeps_finished_files_and_downloads_no_more(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(done: int, _total: int, _path: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    # Without this the thread might have finished any number of files by then.
    monkeypatch.setattr("sleepstage.io.sleep_accel.download._TIMEOUT", 1)
    fourth = sorted(server.paths)[3]
    server.faults[fourth] = iter([stalled])
    with pytest.raises(KeyboardInterrupt):
        fetch(target, mirror=server.url, jobs=1, on_progress=interrupt)
    assert 3 <= len(there(target)) <= 5, "the checksums, two files and what was under way"
    assert len(server.requests) <= 6
    for path in there(target):
        assert (target / path).read_bytes() == server.files[path]
    report = fetch(target, mirror=server.url)
    assert len(report.already_there) >= 2
    assert there(target) == server.paths | {SUMS}


def test_full_disk(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sleepstage.io.sleep_accel.download import _download

    def fill(url: str, output: str, keeper: Pooch) -> None:
        if "motion" in url:
            raise OSError(errno.ENOSPC, "No space left on device")
        _download(url, output, keeper)

    monkeypatch.setattr("sleepstage.io.sleep_accel.download._download", fill)
    text = failure(server, target)
    assert "No space left on device)" in text
    assert "check network and disk" in text
    assert not any("motion" in path for path in there(target))


@pytest.mark.parametrize("blocked", [".", "motion"])
def test_file_where_a_folder_should_be(server: Server, target: Path, blocked: str) -> None:
    (target / blocked).parent.mkdir(exist_ok=True)
    (target / blocked).write_text("in the way")
    with pytest.raises(DataError, match=r"File exists: '.*sleep-accel"):
        fetch(target, mirror=server.url)


def test_dead_connection_fails_at_once(server: Server, target: Path, waits: list[float]) -> None:
    server.end()
    text = failure(server, target)
    assert text.startswith(f"{server.url}/{SUMS}: no connection")
    assert "; check network" in text
    assert "--mirror" in text
    assert waits == []
    assert there(target) == set()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (status(404), "404 Client Error: Not Found"),
        (status(500), "500 Server Error: Internal Server Error"),
        (truncated, "it broke off"),
        (dropped, "it broke off"),
        (stalled, "it broke off: ReadTimeout"),
    ],
)
def test_no_checksums(
    server: Server,
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Handler, bytes], None],
    reason: str,
) -> None:
    monkeypatch.setattr("sleepstage.io.sleep_accel.download._TIMEOUT", 1)
    server.faults[SUMS] = repeat(fault)
    assert reason in failure(server, target)
    assert server.requests == [SUMS]
    assert there(target) == set()


def test_no_secure_connection(server: Server, target: Path) -> None:
    with pytest.raises(DataError, match=r"no connection.*SSLError"):
        fetch(target, mirror=server.url.replace("http:", "https:"))


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html>\n<title>Log in</title>\n",
        b"",
        b"\xff\xfe\x00binary",
        b"0" * 63 + b" LICENSE.txt\n",
        b"0" * 64 + b"\n",
    ],
)
def test_something_else_than_checksums(server: Server, target: Path, content: bytes) -> None:
    server.files[SUMS] = content
    text = failure(server, target)
    assert "line 1 is " in text
    assert "login page" in text
    assert there(target) == set()


@pytest.mark.parametrize(
    "path", ["../evil.txt", "/etc/evil", "steps/../../evil", "C:/evil", r"..\evil", "a//b", "./a"]
)
def test_paths_that_leave_the_directory_are_refused(
    server: Server, target: Path, path: str
) -> None:
    line = f"{'0' * 64} {path}"
    server.files[SUMS] += line.encode()
    assert f"line 14 is {line!r}" in failure(server, target)
    assert server.requests == [SUMS]
    assert there(target.parent) == set()


@pytest.mark.parametrize(
    "mirror",
    [
        "physionet.org/files",
        "ftp://127.0.0.1/",
        "http://",
        "http://[::1",
        f"http://{'a' * 70}.invalid",
    ],
)
def test_address_that_is_none(target: Path, mirror: str) -> None:
    with pytest.raises(DataError, match=r"SHA256SUMS.txt: .*; check network"):
        fetch(target, mirror=mirror)


def test_without_pooch(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(MissingExtraError, match=r"downloading the dataset .*sleepstage\[fetch\]"):
        fetch(target)


def test_import_stays_light() -> None:
    module = "sleepstage.io.sleep_accel.download"
    code = f"import sys, {module}; print({{'pooch', 'requests'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
