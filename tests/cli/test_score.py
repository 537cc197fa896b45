"""sleepstage score, here, on a cluster, and in an object store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import psutil
import pytest
from click.testing import CliRunner

from sleepstage.batch.night import SUMMARY, read_summary
from sleepstage.cli import main
from tests.batch.test_batch import contents, write_night, write_study
from tests.helpers.apple_export import beats, moment, sleep, staged, write_zip
from tests.helpers.command import invoke
from tests.helpers.serving import free_port
from tests.utils.test_parallel import running

pytestmark = pytest.mark.slow

BED = moment("2024-03-12 23:00:00 +0100")
DAY, HOUR = 86400.0, 3600.0


def write_export(path: Path, n_nights: int = 2) -> Path:
    parts = []
    for number in range(n_nights):
        start = BED + number * DAY
        parts.append(beats(start, start + 3 * HOUR) + sleep(start, start + 3 * HOUR, "InBed"))
        parts.append(staged(start, [("AsleepCore", 120), ("AsleepREM", 50)]))
    return write_zip(path, *parts)


def test_an_export_becomes_nights_with_the_accuracy_to_expect_beside(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = invoke("score", write_export(tmp_path / "export.zip"), "--out", out)
    assert result.exit_code == 0, result.output
    assert "export-2024-03-13" in result.output
    assert "the same stage as the watch in" in result.output
    assert f"all nights: {out}/index.html" in result.output
    summary = read_summary((out / "export-2024-03-13" / SUMMARY).read_text())
    assert summary is not None
    assert summary.model["name"] == "heart-rate"
    assert summary.expected is not None
    assert f"{summary.expected['accuracy']:.0%}" in result.output
    assert (out / "export-2024-03-13" / "night.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "nights.csv").read_text().count("\n") == 3


def test_a_second_run_says_what_was_done_before(tmp_path: Path) -> None:
    write_night(tmp_path / "in", "a", motion=False)
    arguments = ("score", tmp_path / "in", "--out", tmp_path / "out", "--no-pictures")
    assert "before" not in invoke(*arguments).output
    assert "1 of 1 nights had been staged before" in invoke(*arguments).output


def test_an_export_without_a_night_is_a_failure(tmp_path: Path) -> None:
    export = write_zip(tmp_path / "export.zip", sleep(BED, BED + 8 * HOUR, "InBed"))
    result = invoke("score", export, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "export.xml: has no heart rate; export it as well" in result.stderr
    assert result.stderr.splitlines()[-1] == "no night could be staged"


def test_some_failed_is_another_exit_status_than_all(tmp_path: Path) -> None:
    write_study(tmp_path / "in")
    (tmp_path / "in" / "cut.zip").write_bytes(b"PK\x03\x04")
    (tmp_path / "notes").mkdir()
    result = invoke(
        "score", tmp_path / "in", tmp_path / "notes", "--out", tmp_path / "out", "--no-pictures"
    )
    assert result.exit_code == 3
    assert "not staged: bad: " in result.stderr
    assert "line 3: expected a number as 'bpm', found 'fast'" in result.stderr
    assert "cut.zip: a damaged zip archive" in result.stderr
    assert f"{tmp_path}/notes: nothing that can be staged; expected one of" in result.stderr
    page = (tmp_path / "out" / "index.html").read_text()
    assert "Not staged" in page
    assert "damaged zip archive" in page


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["s4://bucket/x"], "s4"),
        (["."], "nothing that can be staged"),
    ],
)
def test_nothing_to_stage_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("hello")
    result = invoke("score", *arguments)
    assert result.exit_code == 1
    assert expected in result.stderr


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--model", "none.onnx"], "none.onnx: no such model file"),
        (["--format", "csv"], "Invalid value for '--format'"),
        (["--jobs", "0"], "Invalid value for '--jobs'"),
        (["--timezone", "Mars/Olympus"], "unknown time zone 'Mars/Olympus'; expected a name as"),
        (["--out", "nope://x"], "nope"),
        (["--cluster", "tcp://127.0.0.1:1"], "no cluster at tcp://127.0.0.1:1"),
    ],
)
def test_a_wrong_option_is_told_before_the_work(
    tmp_path: Path, options: list[str], expected: str
) -> None:
    write_night(tmp_path / "in", "a", motion=False)
    result = invoke("score", tmp_path / "in", "--out", tmp_path / "out", *options)
    assert result.exit_code in (1, 2)
    assert expected in result.output
    assert not list((tmp_path / "out").glob("*"))


def test_what_is_missing_for_edf_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_night(tmp_path / "in", "a", motion=False)
    monkeypatch.setitem(sys.modules, "edfio", None)
    result = invoke("score", tmp_path / "in", "--out", tmp_path / "out", "--edf")
    assert result.exit_code == 1
    assert "writing EDF+ needs more libraries: pip install 'sleepstage[edf]'" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    write_night(tmp_path / "in", "a", motion=False)
    (tmp_path / "file").write_text("")
    result = invoke("score", tmp_path / "in", "--out", tmp_path / "file" / "out")
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert "file" in result.stderr


def test_a_model_of_ones_own_stages(tmp_path: Path) -> None:
    from sleepstage.engine.stager import SHIPPED_MODELS

    write_night(tmp_path / "in", "a")
    arguments = ["score", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--no-pictures"]
    mine = tmp_path / "mine.onnx"
    mine.write_bytes(SHIPPED_MODELS["live"].read_bytes())
    result = invoke(*arguments, "--model", mine)
    assert result.exit_code == 0, result.output
    summary = read_summary((tmp_path / "out" / "a" / SUMMARY).read_text())
    assert summary is not None
    assert summary.model["name"] == str(mine)
    assert summary.expected is None


def test_only_the_last_nights_are_shown_of_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["sleepstage.cli.score"], "_SHOWN", 1)
    export = write_export(tmp_path / "export.zip")
    result = invoke("score", export, "--out", tmp_path / "out", "--no-pictures")
    assert "nights, the last 1 of 2" in result.output
    assert "export-2024-03-13" not in result.output


# On a cluster


def test_a_cluster_gives_the_same_and_a_killed_worker_costs_no_night(tmp_path: Path) -> None:
    for number in range(8):
        write_night(tmp_path / "in", f"n{number}", number)
    (tmp_path / "in" / "bad_hr.csv").write_text("time,bpm\n0,sixty\n")
    arguments = ["score", str(tmp_path / "in"), "--no-pictures", "--model", "live"]
    assert invoke(*arguments, "--out", tmp_path / "here").exit_code == 3
    (tmp_path / "dask").mkdir()
    there = tmp_path / "there"
    with running(tmp_path / "dask", workers=2) as (address, process):
        killer = threading.Thread(target=kill_a_worker, args=(process.pid, there))
        killer.start()
        result = invoke(*arguments, "--out", there, "--cluster", address)
        killer.join(timeout=60)
    assert result.exit_code == 3, result.output
    assert not killer.is_alive()
    # Who is killed while writing leaves a hidden folder behind, and no half of a night.
    left = {name: one for name, one in contents(there).items() if not name.startswith(".")}
    assert left == contents(tmp_path / "here")


def kill_a_worker(cluster: int, out: Path) -> None:
    """Once the first night is there, by a signal that none survives."""
    deadline = time.monotonic() + 60
    while not list(out.glob("n*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    workers = [
        child
        for child in psutil.Process(cluster).children(recursive=True)
        if "spawn_main" in " ".join(child.cmdline())
    ]
    assert workers
    workers[0].kill()


# In an object store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment that leads to a server of S3's protocol, a process of its own."""
    port = free_port()
    log = (tmp_path_factory.mktemp("s3") / "log").open("w")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            client = boto3.client(
                "s3",
                endpoint_url=url,
                region_name="us-east-1",
                aws_access_key_id="x",
                aws_secret_access_key="x",
            )
            for _ in range(100):
                try:
                    client.create_bucket(Bucket="study")
                    break
                except Exception:
                    time.sleep(0.1)
            yield {
                "AWS_ENDPOINT_URL": url,
                "AWS_ACCESS_KEY_ID": "x",
                "AWS_SECRET_ACCESS_KEY": "x",
                "AWS_DEFAULT_REGION": "us-east-1",
            }
        finally:
            process.kill()


def in_store(store: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sleepstage", *map(str, arguments)],
        env={**os.environ, **store},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_nights_in_an_object_store_are_staged_into_it(
    store: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    write_night(folder / "people", "a", 1)
    write_night(folder / "people", "b", motion=False)
    write_export(folder / "export.zip", 1)
    (folder / "bad_hr.csv").write_text("time,bpm\n0,sixty\n")
    client = boto3.client(
        "s3",
        endpoint_url=store["AWS_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )
    for file in folder.rglob("*.*"):
        client.upload_file(str(file), "study", f"in/{file.relative_to(folder)}")
    there = ("score", "s3://study/in", "--out", "s3://study/out", "--jobs", "2")
    result = in_store(store, *there)
    assert result.returncode == 3, result.stderr
    assert "sixty" in result.stderr
    assert invoke("score", folder, "--out", tmp_path / "out").exit_code == 3
    listed = client.list_objects_v2(Bucket="study", Prefix="out/")["Contents"]
    keys = {one["Key"].removeprefix("out/") for one in listed}
    expected = contents(tmp_path / "out")
    assert keys == set(expected)
    for name in expected:
        if name.endswith(("hypnogram.csv", "yasa.json", "night.png")):
            body = client.get_object(Bucket="study", Key=f"out/{name}")["Body"].read()
            assert body == expected[name], name
    again = in_store(store, *there)
    assert "3 of 4 nights had been staged before" in again.stdout


def test_a_bucket_that_is_not_there_is_told(store: dict[str, str]) -> None:
    result = in_store(store, "score", "s3://nobody/in", "--out", "s3://study/none")
    assert result.returncode == 1
    assert "s3://nobody/in" in result.stderr
    assert "Traceback" not in result.stderr


def test_help_says_what_can_be_given() -> None:
    told = CliRunner().invoke(main, ["score", "--help"]).output
    assert "export of Apple Health" in told
    assert json.dumps("auto") not in told


def test_stage_is_another_name_of_score() -> None:
    assert main.commands["stage"] is main.commands["score"]
    assert "Stage every night" in invoke("stage", "--help").output
