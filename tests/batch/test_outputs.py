"""What scoring never touches, and how its results take the place of earlier ones."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
import pytest

from sleepstage._utils.files import temporary_folder
from sleepstage.batch import outputs
from sleepstage.batch import tasks as batch_tasks
from sleepstage.batch.night import SUMMARY, Summary, Wanted, read_summary
from sleepstage.batch.outputs import publish, read_result, recover
from sleepstage.batch.overview import write_overview
from sleepstage.batch.places import place
from sleepstage.batch.tasks import HEART_RATE_MODEL, Work, find_tasks, score_all
from sleepstage.core.hypnogram import Hypnogram
from sleepstage.core.recording import Recording
from sleepstage.engine.stager import Stager
from sleepstage.errors import DataError
from sleepstage.stages import FOUR_CLASS
from tests.batch.test_batch import MODELS, contents, run, write_night
from tests.helpers.command import invoke
from tests.utils.test_files import dead_process

pytestmark = pytest.mark.slow


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """A file of one night, called kim."""
    write_night(tmp_path / "one", "kim", motion=False)
    return tmp_path / "one" / "kim_hr.csv"


def score(*arguments: str | Path, status: int = 0) -> str:
    result = invoke("score", *arguments, "--no-pictures", "--jobs", "1", "--model", "live")
    assert result.exit_code == status, result.output
    return result.output


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Content of a whole summary."""
    folder = tmp_path_factory.mktemp("whole")
    write_night(folder / "in", "kim")
    run(folder / "in", folder / "out")
    content: dict[str, Any] = json.loads((folder / "out" / "kim" / SUMMARY).read_text())
    return content


def put(out: Path, content: Any, name: str = "kim") -> Path:
    """A folder of results, or one that only looks like it."""
    (out / name).mkdir(parents=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (out / name / SUMMARY).write_text(text)
    (out / name / "hypnogram.csv").write_text("old")
    return out / name


# What is never touched


def test_a_folder_that_holds_the_inputs_is_refused(tmp_path: Path) -> None:
    for name in ("p01", "p02"):
        write_night(tmp_path / "study" / name, name, motion=False)
    before = contents(tmp_path)
    told = score(tmp_path / "study", "--out", tmp_path / "study", status=1)
    assert "study holds an input, " in told
    assert "name another folder for the results with --out" in told
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "study")
    assert "holds an input" in score(tmp_path / "study", "--out", link, status=1)
    link.unlink()
    assert contents(tmp_path) == before


@pytest.mark.parametrize("linked", ["kim_hr.csv", "nights"])
def test_a_folder_that_links_to_the_inputs_is_refused(
    night: Path, tmp_path: Path, linked: str
) -> None:
    (tmp_path / "study").mkdir()
    link = tmp_path / "study" / linked
    link.symlink_to(night.parent if linked == "nights" else night)
    told = score(tmp_path / "study", "--out", tmp_path / "study", status=1)
    assert "study holds an input, " in told
    assert list((tmp_path / "study").iterdir()) == [link]


def test_an_unrelated_folder_of_a_nights_name_is_left_alone(night: Path, tmp_path: Path) -> None:
    write_night(tmp_path / "one", "lee", motion=False)
    home = tmp_path / "home"
    (home / "kim").mkdir(parents=True)
    (home / "kim" / "thesis.txt").write_text("years of work")
    told = score(night.parent, "--out", home, status=3)
    assert "kim exists and is not a result of this night" in told
    assert contents(home / "kim") == {"thesis.txt": b"years of work"}
    assert read_result(home / "lee") is not None


@pytest.mark.parametrize("content", ["{", '{"name": "kim"}', "[]", '{"night": "kim"}'])
def test_a_summary_that_is_not_ours_protects_its_folder(
    night: Path, tmp_path: Path, content: str
) -> None:
    put(tmp_path / "out", content)
    before = contents(tmp_path / "out" / "kim")
    score(night, "--out", tmp_path / "out", status=1)
    assert contents(tmp_path / "out" / "kim") == before


def test_a_result_that_was_renamed_or_linked_is_nobodys(
    night: Path, tmp_path: Path, summary: dict[str, Any]
) -> None:
    put(tmp_path / "kept", {**summary, "night": "other"})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kim").symlink_to(put(tmp_path / "linked", summary))
    before = {name: contents(tmp_path / name / "kim") for name in ("kept", "linked")}
    score(night, "--out", tmp_path / "kept", status=1)
    score(night, "--out", tmp_path / "out", status=1)
    assert {name: contents(tmp_path / name / "kim") for name in before} == before
    assert (tmp_path / "out" / "kim").is_symlink()


def test_a_page_or_table_of_others_is_not_written_over(night: Path, tmp_path: Path) -> None:
    for name in ("index.html", "nights.csv"):
        out = tmp_path / name.partition(".")[0]
        out.mkdir()
        (out / name).write_text("mine")
        assert f"{name} was not made by this command" in score(night, "--out", out, status=1)
        assert contents(out) == {name: b"mine"}


def test_remote_folders_of_others_are_left_alone(night: Path) -> None:
    out = place("memory://safety/others")
    (out / "kim").mkdir(parents=True)
    (out / "kim" / "raw.csv").write_bytes(b"raw")
    summaries, _ = run(night, out)
    assert "not a result of this night" in summaries["kim"].error
    assert [one.name for one in (out / "kim").iterdir()] == ["raw.csv"]
    (out / "lee_hr.csv").write_bytes(night.read_bytes())
    with pytest.raises(DataError, match="others holds an input, memory://"):
        run("memory://safety/others/lee_hr.csv", out)


# How a result takes the place of another


def test_a_result_of_an_older_version_is_replaced(
    night: Path, tmp_path: Path, summary: dict[str, Any]
) -> None:
    put(tmp_path / "out", {name: one for name, one in summary.items() if name != "others"})
    assert read_result(tmp_path / "out" / "kim") is None
    score(night, "--out", tmp_path / "out")
    assert read_result(tmp_path / "out" / "kim") is not None


def test_files_that_others_put_into_a_result_are_kept(night: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    score(night, "--out", out, "--edf")
    (out / "kim" / "notes.txt").write_text("restless")
    (out / "kim" / "more").mkdir()
    (out / "kim" / "more" / "data.bin").write_text("raw")
    score(night, "--out", out, "--find-rem")
    found = contents(out / "kim")
    assert found["notes.txt"] == b"restless"
    assert found["more/data.bin"] == b"raw"
    assert "hypnogram.edf" not in found
    assert {one.name for one in out.iterdir()} == {"kim", "index.html", "nights.csv"}


def test_files_for_other_software_are_written_on_request(night: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    score(night, "--out", out)
    usual = set(contents(out / "kim"))
    score(night, "--out", out, "--edf", "--annot", "--fhir")
    more = set(contents(out / "kim")) - usual
    assert more == {"hypnogram.edf", "hypnogram.annot", "sleep.fhir.json"}
    score(night, "--out", out, "--annot")
    assert set(contents(out / "kim")) - usual == {"hypnogram.annot"}


@pytest.mark.parametrize("crash", [1, 2])
def test_a_crash_between_the_renames_loses_nothing(
    tmp_path: Path, summary: dict[str, Any], monkeypatch: pytest.MonkeyPatch, crash: int
) -> None:
    """The process is killed as it is about to rename for the first or the second time."""
    target = put(tmp_path, summary)
    (target / "notes.txt").write_text("mine")
    before = contents(target)
    rename, calls = Path.rename, []

    def killed(path: Path, to: Path) -> Path:
        calls.append(path)
        if len(calls) == crash:
            raise SystemExit
        return rename(path, to)

    monkeypatch.setattr(outputs, "_settle", lambda *_: None)
    monkeypatch.setattr("sleepstage._utils.files.discard", lambda _: None)
    monkeypatch.setattr(os, "getpid", dead_process)
    monkeypatch.setattr(Path, "rename", killed)
    with suppress(SystemExit), temporary_folder(tmp_path) as written:
        (written / SUMMARY).write_text(json.dumps(summary))
        publish(written, target)
    monkeypatch.undo()
    assert len(calls) == crash
    assert target.exists() == (crash == 1)
    recover(tmp_path)
    assert contents(target) == before
    assert list(tmp_path.iterdir()) == [target]


def test_a_crash_after_the_renames_keeps_the_new_result_and_what_others_put_there(
    tmp_path: Path, summary: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = put(tmp_path, summary)
    (target / "notes.txt").write_text("mine")
    monkeypatch.setattr(outputs, "_settle", lambda *_: None)
    monkeypatch.setattr(os, "getpid", dead_process)
    with temporary_folder(tmp_path) as written:
        (written / SUMMARY).write_text(json.dumps({**summary, "fingerprint": "new"}))
        publish(written, target)
    monkeypatch.undo()
    assert not (target / "notes.txt").exists()
    recover(tmp_path)
    found = contents(target)
    assert json.loads(found.pop(SUMMARY))["fingerprint"] == "new"
    assert found == {"notes.txt": b"mine"}
    assert list(tmp_path.iterdir()) == [target]


def test_a_remote_result_that_is_half_written_is_repaired(
    night: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = place("memory://safety/half")
    run(night, out)
    (out / "kim" / "notes.txt").write_bytes(b"mine")
    monkeypatch.setattr(outputs, "FILES", ("hypnogram.csv",))  # and no more: it is killed there
    run(night, out, wanted=Wanted(pictures=False, find_rem=True))
    half = read_result(out / "kim")
    assert half is not None
    assert "run it again" in half.error
    monkeypatch.undo()
    summaries, done = run(night, out)
    assert done == []
    assert not summaries["kim"].error
    assert read_result(out / "kim") == replace(summaries["kim"], stages=read_stages(out))
    assert (out / "kim" / "notes.txt").read_bytes() == b"mine"


def read_stages(out: Path) -> Any:
    return json.loads((out / "kim" / SUMMARY).read_bytes())["stages"]


# The overview of several runs


def nights_in(out: Path) -> list[str]:
    return pl.read_csv(out / "nights.csv")["night"].to_list()


def test_nights_of_earlier_runs_stay_in_the_overview(night: Path, tmp_path: Path) -> None:
    write_night(tmp_path / "two", "lee", motion=False)
    out = tmp_path / "out"
    score(night, "--out", out)
    score(tmp_path / "two", "--out", out)
    assert nights_in(out) == ["kim", "lee"]
    page = (out / "index.html").read_text()
    assert '<a href="kim/hypnogram.csv">kim</a>' in page
    assert '<a href="lee/hypnogram.csv">lee</a>' in page


def test_a_mistyped_path_does_not_empty_the_overview(night: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    score(night, "--out", out)
    score(tmp_path / "nowhere", "--out", out, status=1)
    assert nights_in(out) == ["kim", str(tmp_path / "nowhere")]
    night.write_text("time,bpm\n0,sixty\n")
    told = score(night, "--out", out, status=1)
    assert "sixty" in told
    assert nights_in(out) == ["kim", "kim"]  # the result of before, and why there is no new one
    assert "kim/hypnogram.csv" in (out / "index.html").read_text()


def test_sources_named_like_the_overview_get_another_folder(tmp_path: Path) -> None:
    for name in ("index.html", "nights.csv", "NIGHTS.csv"):
        write_night(tmp_path / "in", name, motion=False)
    score(tmp_path / "in", "--out", tmp_path / "out")
    assert nights_in(tmp_path / "out") == ["NIGHTS.csv (2)", "index.html (2)", "nights.csv (3)"]
    assert (tmp_path / "out" / "index.html").is_file()


@pytest.mark.parametrize(
    "wrong",
    [{"statistics": {"n": "x"}}, {"stages": [7]}, {"night": ["kim"]}, {"more": 1}, {"checksum": 1}],
)
def test_a_summary_with_wrong_values_is_none(
    tmp_path: Path, summary: dict[str, Any], wrong: dict[str, Any]
) -> None:
    assert read_summary(json.dumps(summary)) is not None
    assert read_summary(json.dumps({**summary, **wrong})) is None
    put(tmp_path, {**summary, **wrong})
    page = write_overview([Summary("a", "a", "", "why not")], tmp_path)
    assert "kim" not in page.read_text()


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"night": "' + "a" * (1 << 22) + '"}', "1" * 5000]
)
def test_a_huge_or_nested_summary_is_none(tmp_path: Path, text: str) -> None:
    assert read_result(put(tmp_path, text)) is None
    write_overview([Summary("a", "a", "", "why not")], tmp_path)


def test_a_tampered_result_is_done_again(night: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    score(night, "--out", out)
    file = out / "kim" / SUMMARY
    file.write_text(json.dumps({**json.loads(file.read_text()), "statistics": {"n": "x"}}))
    assert "before" not in score(night, "--out", out)
    assert read_result(out / "kim") is not None


def test_a_run_without_any_sleep_is_shown(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = Stager.predict

    def awake(stager: Stager, recording: Recording) -> Hypnogram:
        hypnogram = predict(stager, recording)
        codes = np.full(len(hypnogram), FOUR_CLASS.classes.index("wake"), dtype=np.int8)
        return replace(hypnogram, codes=codes)

    monkeypatch.setattr(Stager, "predict", awake)
    told = score(night, "--out", tmp_path / "out")
    assert re.search(r"kim +0:00 +1:00 +0% +- +- +- ", told)
    page = (tmp_path / "out" / "index.html").read_text()
    assert "<span>min to fall asleep</span><b>-</b>" in page
    assert "before" in score(night, "--out", tmp_path / "out")


def test_clocks_and_plain_seconds_go_into_one_column(tmp_path: Path) -> None:
    clock = ["2024-03-12T22:00:00+00:00", "2024-03-12T23:00:00+00:00"]
    failed = Summary("a", "a", "", "why not", clock=clock)
    write_overview([failed, replace(failed, night="b", clock=[], start=-5.0)], tmp_path)
    assert pl.read_csv(tmp_path / "nights.csv")["start"].to_list() == [clock[0], "-5.0"]


def test_no_name_or_reason_is_a_formula_for_a_spreadsheet(tmp_path: Path) -> None:
    signs = ["=1+1", "+1", "-1", "@A1", "\t=1", "\r=1"]
    nights = [Summary(sign, "a", "", f"{sign} failed", start=-1.5) for sign in signs]
    write_overview([*nights, Summary("a=b", "a", "", "why not")], tmp_path)
    with (tmp_path / "nights.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["night"] for row in rows] == [*(f"'{sign}" for sign in signs), "a=b"]
    assert [row["error"] for row in rows][:6] == [f"'{sign} failed" for sign in signs]
    assert rows[0]["start"] == "-1.5"


def test_names_that_no_screen_shows_become_folders(tmp_path: Path) -> None:
    for name in (b"a\nb", b"caf\xe9", b"\x1b[31m", b"=1+1"):
        write_night(tmp_path / "made", "n", motion=False)
        (tmp_path / "in").mkdir(exist_ok=True)
        to = tmp_path / "in" / f"{os.fsdecode(name)}_hr.csv"
        (tmp_path / "made" / "n_hr.csv").rename(to)
    (tmp_path / "in" / os.fsdecode(b"caf\xe9.zip")).write_bytes(b"PK\x03\x04")
    told = score(tmp_path / "in", "--out", tmp_path / "out", status=3)
    assert "\x1b" not in told
    folders = {one.name for one in (tmp_path / "out").iterdir() if one.is_dir()}
    assert folders == {"a_b_hr", "caf_", "_[31m", "=1+1"}
    assert set(nights_in(tmp_path / "out")) >= {"a_b_hr", "caf_", "_[31m", "'=1+1"}


def test_names_in_errors_do_not_steer_the_terminal(tmp_path: Path) -> None:
    name = "\x1b]0;title\x07kim\x9b2J_hr.csv"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_text("time,bpm\nsoon,60\n")
    told = score(tmp_path / "in", "--out", tmp_path / "out", status=1)
    told += (tmp_path / "out" / "nights.csv").read_text()
    told += (tmp_path / "out" / "index.html").read_text()
    told += invoke("predict", "--heart-rate", tmp_path / "in" / name).output
    told += score(tmp_path / "in" / "\x1b[2J", "--out", tmp_path / "out", status=1)
    assert "kim_2J_hr.csv, line 2" in told
    assert not {"\x1b", "\x07", "\x9b"} & set(told)


def test_a_folder_whose_name_is_not_unicode_is_refused(night: Path, tmp_path: Path) -> None:
    out = tmp_path / os.fsdecode(b"caf\xe9")
    assert "not Unicode: name another one" in score(night, "--out", out, status=1)
    assert not out.exists()


def test_an_address_of_this_machine_is_a_folder(night: Path, tmp_path: Path) -> None:
    score(f"file://{night}", "--out", f"file://{tmp_path}/out")
    assert read_result(tmp_path / "out" / "kim") is not None
    assert "holds an input" in score(night, "--out", f"file://{night.parent}", status=1)


@pytest.mark.parametrize("name", ["../evil", "..", "/evil", ".sleepstage-x", "a\\b"])
def test_no_name_leads_out_of_the_folder(
    night: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = find_tasks([str(night)])[0][0].source
    monkeypatch.setattr(
        batch_tasks, "find_sources", lambda *_, **__: ([replace(source, name=name)], [])
    )
    monkeypatch.setattr(batch_tasks, "read_source", lambda *_, **__: pytest.fail("only named"))
    ((task,), _) = find_tasks([str(night)])
    assert not set("/\\") & set(task.name)
    assert not task.name.startswith(".")


# How it ends


def test_a_night_that_takes_too_long_is_reported_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        write_night(tmp_path / "in", name, motion=False)
    whole = batch_tasks._read

    def slow(task: batch_tasks.StagingTask) -> Any:
        while task.name == "a":
            try:
                time.sleep(60)
            except Exception:  # as a library might
                continue
        return whole(task)

    monkeypatch.setattr(batch_tasks, "_read", slow)
    tasks, _ = find_tasks([str(tmp_path / "in")])
    models = {HEART_RATE_MODEL: MODELS[HEART_RATE_MODEL]}
    work = Work(models, Wanted(pictures=False), tmp_path / "out", seconds=5)
    told = {one.night: one.error for one, _ in score_all(tasks, work, jobs=1)}
    assert "not finished after 5 s" in told["a"]
    assert "--night-seconds" in told["a"]
    assert not told["b"]
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["b"]
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


def test_the_limit_is_an_option(night: Path, tmp_path: Path) -> None:
    told = score(night, "--out", tmp_path / "out", "--night-seconds", "0.001", status=1)
    assert "not finished after 0.001 s" in told


@pytest.fixture
def long_run(tmp_path: Path) -> Path:
    """Inputs that keep two workers busy for a while."""
    for number in range(60):
        write_night(tmp_path / "in", f"n{number}", number)
    return tmp_path / "in"


def begin(inputs: Path, out: Path) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A run that has results, and its workers."""
    command = [sys.executable, "-m", "sleepstage", "score", str(inputs), "--out", str(out)]
    process = subprocess.Popen(
        [*command, "--jobs", "2"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 120
    while not list(out.glob("n*/*")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()[0]
    return process, psutil.Process(process.pid).children(recursive=True)


def nothing_left(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=30)[1]


def test_a_run_that_is_terminated_ends_with_its_workers_and_leaves_whole_nights(
    long_run: Path, tmp_path: Path
) -> None:
    process, workers = begin(long_run, tmp_path / "out")
    process.terminate()
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in told
    assert len(workers) >= 2
    assert nothing_left(workers)
    found = list((tmp_path / "out").iterdir())
    assert 1 <= len(found) < 60
    assert all(read_result(folder) is not None for folder in found), found


def test_workers_of_a_run_that_is_killed_end_and_the_next_run_removes_what_is_left(
    long_run: Path, tmp_path: Path
) -> None:
    process, workers = begin(long_run, tmp_path / "out")
    process.kill()
    process.communicate(timeout=60)  # would wait for workers that hold the pipe
    assert nothing_left(workers)
    score(long_run / "n0_hr.csv", "--out", tmp_path / "out")
    assert not list((tmp_path / "out").glob(".*"))


def test_the_limit_is_not_enforced_in_a_thread(night: Path, tmp_path: Path) -> None:
    tasks, _ = find_tasks([str(night)])
    models = {HEART_RATE_MODEL: MODELS[HEART_RATE_MODEL]}
    work = Work(models, Wanted(pictures=False), tmp_path / "out", seconds=0.001)
    told: list[Summary] = []
    (tmp_path / "out").mkdir()
    thread = threading.Thread(target=lambda: told.append(batch_tasks._score(work, tasks[0])))
    thread.start()
    thread.join(timeout=60)
    assert [one.error for one in told] == [""]
