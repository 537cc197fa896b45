from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

import edfio
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from sleepstage._utils.files import refuse_other_files
from sleepstage.batch import tasks
from sleepstage.batch.exports import write_edf, write_yasa
from sleepstage.batch.night import (
    EXPECTED,
    SUMMARY,
    Summary,
    Wanted,
    expected_accuracy,
    read_summary,
    score,
)
from sleepstage.batch.overview import MARKS, agreements, hours, write_overview
from sleepstage.batch.places import local_copies, place
from sleepstage.batch.tasks import HEART_RATE_MODEL, Work, find_tasks, score_all
from sleepstage.core.hypnogram import Hypnogram
from sleepstage.core.periods import sleep_periods
from sleepstage.core.recording import Recording
from sleepstage.core.samples import Samples
from sleepstage.engine.stager import load_model, read_model
from sleepstage.errors import DataError
from sleepstage.simulate.nights import simulate_night
from sleepstage.stages import FIVE_CLASS, FOUR_CLASS, UNSCORED
from tests.helpers.apple_export import beats, moment, sleep, staged, write_zip
from tests.helpers.scored import hypnogram

BED = moment("2024-03-12 23:00:00 +0100")
HOUR = 3600.0
MODELS = {name: read_model(name) for name in ("live", HEART_RATE_MODEL)}


def write_night(folder: Path, name: str, seed: int = 0, *, motion: bool = True) -> None:
    """A simulated night of an hour, as tables."""
    recording = simulate_night(seed, hours=1)
    folder.mkdir(parents=True, exist_ok=True)
    pulse = recording.heart_rate.between(recording.start, recording.end)
    pl.DataFrame({"time": pulse.times + BED, "bpm": pulse.values}).write_csv(
        folder / f"{name}_hr.csv"
    )
    if motion:
        columns = ("counts", "peak_x_g", "peak_y_g", "peak_z_g")
        table = dict(zip(columns, recording.motion.values.T, strict=True))
        frame = pl.DataFrame({"time": recording.motion.times + BED, **table})
        frame.write_csv(folder / f"{name}_motion.csv")


def write_study(folder: Path) -> None:
    for number in range(3):
        write_night(folder, f"n{number}", number)
    write_night(folder, "pulse", 3, motion=False)
    (folder / "bad_hr.csv").write_text("time,bpm\n0,60\n9,fast\n")


def run(
    source: str | Path, out: Path, *, wanted: Wanted | None = None, jobs: int = 1
) -> tuple[dict[str, Summary], list[str]]:
    """Summaries by name, and who had been done before."""
    tasks, broken = find_tasks([str(source)])
    work = Work(MODELS, wanted or Wanted(pictures=False), out)
    told = list(score_all(tasks, work, jobs=jobs))
    summaries = {one.night: one for one in broken} | {one.night: one for one, _ in told}
    return summaries, sorted(one.night for one, done in told if done)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "in"
    write_study(folder)
    return folder


def contents(out: Path) -> dict[str, bytes]:
    return {str(one.relative_to(out)): one.read_bytes() for one in out.rglob("*") if one.is_file()}


# A night's folder


def test_each_night_gets_a_folder_with_what_a_stager_tells(study: Path, tmp_path: Path) -> None:
    summaries, _ = run(study, tmp_path / "out")
    assert summaries["n0"].format == "tables"
    folder = tmp_path / "out" / "n0"
    assert sorted(one.name for one in folder.iterdir()) == [
        "hypnogram.csv",
        "hypnogram.yasa.json",
        SUMMARY,
    ]
    frame = pl.read_csv(folder / "hypnogram.csv")
    assert frame.columns[:3] == ["time", "clock", "stage"]
    summary = summaries["n0"]
    assert summary.n_epochs == len(frame) == sum(n for n, _ in summary.stages)
    told = [stage for n, stage in summary.stages for _ in range(n)]
    assert told == frame["stage"].to_list()
    codes = FOUR_CLASS.classes
    again = Hypnogram(
        BED, np.array([codes.index(stage) for stage in told], dtype=np.int8), FOUR_CLASS
    )
    assert summary.statistics == asdict(again.statistics())
    assert [
        (one["start"], one["end"], one["nap"], one["statistics"]) for one in summary.sleep_periods
    ] == [
        (one.start, one.end, True, asdict(again.statistics(mask=one.mask(again))))
        for one in sleep_periods(again)
    ]
    assert summary.sleep_periods
    assert summary.clock == ["2024-03-12T22:00:00+00:00", "2024-03-12T23:00:00+00:00"]
    assert summary.signals["motion"]["seconds_between"] == 15
    assert summary.model["sha256"] == load_model("live").digest


def test_the_summary_of_a_file_is_what_was_told(study: Path, tmp_path: Path) -> None:
    summaries, _ = run(study, tmp_path)
    for name in ("n0", "n1", "pulse"):
        read = read_summary((tmp_path / name / SUMMARY).read_text())
        assert read is not None
        assert json.dumps(asdict(read)) == json.dumps(asdict(summaries[name]))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"night": 1}', "\x00"])
def test_what_is_no_summary_is_none(text: str) -> None:
    assert read_summary(text) is None


def test_pictures_and_edf_are_written_if_wanted(study: Path, tmp_path: Path) -> None:
    run(study / "pulse_hr.csv", tmp_path, wanted=Wanted(pictures=True, edf=True))
    names = {one.name for one in (tmp_path / "pulse").iterdir()}
    assert {"night.png", "hypnogram.edf"} <= names


def test_nights_without_motion_have_a_model_of_their_own(study: Path, tmp_path: Path) -> None:
    summaries, _ = run(study, tmp_path)
    assert summaries["pulse"].model["name"] == HEART_RATE_MODEL
    assert summaries["n0"].model["name"] == "live"
    alone, _ = run_with(study / "pulse_hr.csv", tmp_path / "live", {"live": MODELS["live"]})
    assert alone["pulse"].model["name"] == "live"


def run_with(
    source: Path, out: Path, models: dict[str, bytes]
) -> tuple[dict[str, Summary], list[str]]:
    tasks, _ = find_tasks([str(source)])
    told = list(score_all(tasks, Work(models, Wanted(pictures=False), out), jobs=1))
    return {one.night: one for one, _ in told}, []


def test_the_operating_point_finds_more_rem(tmp_path: Path) -> None:
    write_night(tmp_path / "in", "n", 1)
    plain, _ = run(tmp_path / "in", tmp_path / "a")
    found, _ = run(tmp_path / "in", tmp_path / "b", wanted=Wanted(find_rem=True, pictures=False))
    minutes = [one["n"].statistics or {} for one in (plain, found)]
    assert minutes[1]["minutes"]["rem"] >= minutes[0]["minutes"]["rem"]


# What fails, and what was done before


def test_a_night_that_fails_is_told_and_the_others_go_on(study: Path, tmp_path: Path) -> None:
    summaries, _ = run(study, tmp_path)
    assert [name for name, one in summaries.items() if one.error] == ["bad"]
    assert "bad_hr.csv, line 3: expected a number as 'bpm', found 'fast'" in summaries["bad"].error
    assert not (tmp_path / "bad").exists()
    assert {one.name for one in tmp_path.iterdir()} == {"n0", "n1", "n2", "pulse"}


def test_a_night_without_any_signal_in_time_fails(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a_hr.csv").write_text("0,300\n100,20\n200,60\n300,61\n400,60\n")
    summaries, _ = run(tmp_path / "in", tmp_path / "out")
    assert not summaries["a"].error
    (tmp_path / "in" / "a_hr.csv").write_text("0,60\n1,60\n")
    summaries, _ = run(tmp_path / "in", tmp_path / "out")
    assert "at least one epoch" in summaries["a"].error


def test_a_fault_of_ours_stays_with_its_night(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong(recording: Recording, *more: object) -> object:
        if len(recording.motion):
            return score(recording, *more)  # type: ignore[arg-type]
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(tasks, "score", wrong)
    summaries, _ = run(study, tmp_path)
    assert (
        "ZeroDivisionError: by nothing; this is a fault of sleepstage" in summaries["pulse"].error
    )
    assert not summaries["n0"].error


def test_what_is_done_is_not_done_again(study: Path, tmp_path: Path) -> None:
    first, done = run(study, tmp_path)
    assert done == []
    before = contents(tmp_path)
    again, done = run(study, tmp_path)
    assert done == ["n0", "n1", "n2", "pulse"]
    assert contents(tmp_path) == before
    assert json.dumps(asdict(again["n1"])) == json.dumps(asdict(first["n1"]))


def test_what_has_changed_is_done_again(tmp_path: Path) -> None:
    study, out = tmp_path / "in", tmp_path / "out"
    write_study(study)
    run(study, out)
    write_night(study, "n1", 9)
    (out / "n2" / SUMMARY).unlink()
    _, done = run(study, out)
    assert done == ["n0", "pulse"]
    _, done = run(study, out, wanted=Wanted(find_rem=True, pictures=False))
    assert done == []


def test_a_newer_export_of_the_same_nights_is_not_done_again(tmp_path: Path) -> None:
    def night(start: float) -> str:
        return beats(start, start + 3 * HOUR) + sleep(start, start + 3 * HOUR, "InBed")

    write_zip(tmp_path / "export.zip", night(BED))
    _, done = run(tmp_path / "export.zip", tmp_path / "out")
    assert done == []
    write_zip(tmp_path / "export.zip", night(BED), night(BED + 24 * HOUR))
    summaries, done = run(tmp_path / "export.zip", tmp_path / "out")
    assert done == ["export-2024-03-13"]
    assert set(summaries) == {"export-2024-03-13", "export-2024-03-14"}


def test_nights_of_one_name_are_numbered(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_night(tmp_path / folder, "n")
    tasks, _ = find_tasks([str(tmp_path / "a"), str(tmp_path / "b")])
    assert [task.name for task in tasks] == ["n", "n (2)"]


def test_an_address_that_leads_nowhere_is_told_beside_the_others(study: Path) -> None:
    tasks, broken = find_tasks([str(study), "/nowhere", "gopher://x/y", str(study / "bad_hr.csv")])
    assert len(tasks) == 6
    assert [one.night for one in broken] == ["/nowhere", "gopher://x/y"]
    assert "no such file or folder" in broken[0].error
    assert "gopher" in broken[1].error


def test_nothing_half_written_is_left_when_a_file_can_not_be_written(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sleepstage.batch.night.write_yasa", full)
    summaries, _ = run(study, tmp_path)
    assert "No space left" in summaries["n0"].error
    assert list(tmp_path.iterdir()) == []


# The same elsewhere


def test_two_processes_write_the_same_as_one(study: Path, tmp_path: Path) -> None:
    run(study, tmp_path / "one", jobs=1)
    run(study, tmp_path / "two", jobs=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_file_system_in_memory_gives_the_same(study: Path, tmp_path: Path) -> None:
    far = place("memory://scoring/in")
    for file in study.iterdir():
        (far / file.name).parent.mkdir(parents=True, exist_ok=True)
        (far / file.name).write_bytes(file.read_bytes())
    out = place("memory://scoring/out")
    near, _ = run(study, tmp_path)
    there, _ = run("memory://scoring/in", out)
    assert {one.name for one in out.iterdir()} == {"n0", "n1", "n2", "pulse"}
    for name in ("hypnogram.csv", "hypnogram.yasa.json"):
        assert (out / "n0" / name).read_bytes() == (tmp_path / "n0" / name).read_bytes()
    for name, summary in near.items():
        assert comparable(there[name]) == comparable(summary)
    assert "line 3: expected a number" in there["bad"].error
    _, done = run("memory://scoring/in", out)
    assert done == ["n0", "n1", "n2", "pulse"]
    page = write_overview(list(there.values()), out)
    assert b"n0" in page.read_bytes()


def comparable(summary: Summary) -> Summary:
    """Without where it was read, and when that was written."""
    return replace(summary, source="", fingerprint="", error="")


def test_copies_of_remote_files_are_removed() -> None:
    far = place("memory://copies/a/b/c.csv")
    far.parent.mkdir(parents=True, exist_ok=True)
    far.write_bytes(b"time,bpm\n")
    with local_copies([far]) as (copy,):
        assert copy.read_bytes() == b"time,bpm\n"
        assert copy.parts[-3:] == ("a", "b", "c.csv")
    assert not copy.exists()


def test_local_files_are_used_where_they_are(study: Path) -> None:
    with local_copies([study / "n0_hr.csv"]) as copies:
        assert copies == (study / "n0_hr.csv",)


# Beside others


def test_agreement_with_the_watch_is_told_and_drawn(tmp_path: Path) -> None:
    end = BED + 3 * HOUR
    stages = staged(BED, [("AsleepCore", 100), ("AsleepDeep", 40), ("AsleepREM", 30)])
    write_zip(tmp_path / "export.zip", beats(BED, end), sleep(BED, end, "InBed"), stages)
    summaries, _ = run(tmp_path / "export.zip", tmp_path / "out", wanted=Wanted())
    (summary,) = summaries.values()
    told = summary.agreement["watch"]
    assert told["n_epochs"] == 340
    assert np.array(told["confusion"]).sum(axis=1).tolist() == [0, 200, 80, 60]
    assert summary.others["watch"] == [(200, "light"), (80, "deep"), (60, "rem"), (20, "unscored")]
    assert agreements([summary, summary])["watch"].n_epochs == 680
    assert agreements([summary])["watch"].kappa == pytest.approx(told["kappa"])


def test_agreement_with_an_expert_is_told(tmp_path: Path) -> None:
    from sleepstage.simulate.nights import write_dataset

    write_dataset(tmp_path / "in", 1, hours=1)
    summaries, _ = run(tmp_path / "in", tmp_path / "out")
    (summary,) = summaries.values()
    assert summary.simulated
    assert summary.agreement["expert"]["n_epochs"] > 60
    page = write_overview([summary], tmp_path / "out").read_text()
    assert "SIMULATED" in page
    assert "Beside the expert" in page


# The page and the table


def test_the_page_shows_every_night_and_why_others_are_missing(study: Path, tmp_path: Path) -> None:
    summaries, _ = run(study, tmp_path, wanted=Wanted())
    page = write_overview(list(summaries.values()), tmp_path).read_text()
    for name in ("n0", "n1", "n2", "pulse"):
        assert f'<a href="{name}/night.png">{name}</a>' in page
        assert (tmp_path / name / "night.png").exists()
    assert "line 3: expected a number" in page
    assert page.count("<svg") == 4
    assert "http" not in page
    table = pl.read_csv(tmp_path / "nights.csv")
    assert table["night"].to_list() == list(summaries)
    assert table.filter(pl.col("night") == "bad")["error"][0].endswith("nothing was measured")
    told = summaries["n0"].statistics or {}
    row = table.row(by_predicate=pl.col("night") == "n0", named=True)
    assert row["total_sleep_time"] == told["total_sleep_time"]
    assert row["expected_accuracy"] == (summaries["n0"].expected or {})["accuracy"]


def test_minutes_without_a_stage_are_shown_and_nights_of_before_have_none(
    study: Path, tmp_path: Path
) -> None:
    summaries, _ = run(study, tmp_path)
    known = [one for one in summaries.values() if one.statistics]
    now, before = known[0].statistics or {}, dict(known[1].statistics or {})
    del before["not_worn"], before["no_data"]
    nights = [
        replace(known[0], statistics={**now, "not_worn": 123.0, "no_data": 45.0}),
        replace(known[1], statistics=before),
    ]
    page = write_overview(nights, tmp_path / "new").read_text()
    assert "<td>123</td><td>45</td>" in page
    assert "<td>-</td><td>-</td>" in page
    table = pl.read_csv(tmp_path / "new" / "nights.csv")
    assert table["not_worn"].to_list() == [123.0, None]
    assert table["no_data"].to_list() == [45.0, None]


def test_a_watch_on_a_table_is_no_night() -> None:
    still = np.tile([0.0, 0.0, 0.0, 1.0], (960, 1))
    motion = Samples(15.0 * np.arange(-59.0, 901), still)
    table = replace(night_of(5), heart_rate=Samples.empty(), motion=motion)
    with pytest.raises(DataError, match=r"none of the 240 epochs .* was the watch worn"):
        score(table, load_model("live"), "live", Wanted())


def test_names_are_escaped(tmp_path: Path) -> None:
    write_night(tmp_path / "in", "<b>&#")
    summaries, _ = run(tmp_path / "in", tmp_path / "out")
    page = write_overview(list(summaries.values()), tmp_path / "out")
    text = page.read_text()
    assert "<b>&#" not in text
    assert "%3Cb%3E%26%23/hypnogram.csv" in text


def test_nights_without_sleep_and_sparse_ones_are_shown(study: Path, tmp_path: Path) -> None:
    one = run(study, tmp_path / "out")[0]["n0"]
    awake = asdict(hypnogram("wwww").statistics())
    sparse = replace(one, night="b", n_unscored=one.n_epochs // 2 + 1)
    page = write_overview([replace(one, night="a", statistics=awake)], tmp_path / "a").read_text()
    assert "<b>-</b>" in page
    page = write_overview([replace(one, night="a"), sparse], tmp_path / "b").read_text()
    assert "</a> *</td>" in page
    frame = pl.read_csv(tmp_path / "b" / "nights.csv")
    assert frame["sparse"].to_list() == [False, True]
    assert page.count(hours((one.statistics or {})["total_sleep_time"])) == 3  # two rows, a median


def test_people_that_the_model_was_trained_on_are_no_test(study: Path, tmp_path: Path) -> None:
    info = load_model("live").info
    person = info.split["train"][0]
    assert info.trained_on(f"{person}/2", info.data["name"])
    assert info.trained_on(person, "")
    assert not info.trained_on(person, "another set")
    assert not info.trained_on("somebody", "")
    values = score(replace(night_of(5), subject=person), load_model("live"), "live", Wanted())[1]
    assert values["trained_on"]
    known = replace(run(study, tmp_path / "out")[0]["n0"], night="known", trained_on=True)
    page = write_overview([known], tmp_path / "page").read_text()
    assert "NOT A TEST" in page
    assert pl.read_csv(tmp_path / "page" / "nights.csv")["trained_on"].to_list() == [True]


def test_files_of_one_folder_are_one_night_if_their_names_say_so(tmp_path: Path) -> None:
    write_night(tmp_path / "in", "kim")
    files = sorted(map(str, (tmp_path / "in").iterdir()))
    tasks, broken = find_tasks(files)
    assert ([task.name for task in tasks], broken) == (["kim"], [])
    (tmp_path / "in" / "notes.txt").write_text("hello")
    tasks, broken = find_tasks([*files, str(tmp_path / "in" / "notes.txt")])
    assert [task.name for task in tasks] == ["kim"]
    assert ["notes.txt: nothing that can be staged" in one.error for one in broken] == [True]


def test_a_mistyped_path_empties_nothing(study: Path, tmp_path: Path) -> None:
    summaries, _ = run(study, tmp_path)
    write_overview(list(summaries.values()), tmp_path)
    _, broken = find_tasks([str(tmp_path / "nowhere")])
    write_overview(broken, tmp_path)
    nights = pl.read_csv(tmp_path / "nights.csv")["night"].to_list()
    assert {"n0", "n1", "n2", "pulse"} < set(nights)
    write_overview([], tmp_path / "new")
    refuse_other_files(tmp_path / "new", MARKS)  # an empty table is known as ours, too


@pytest.mark.parametrize(("hours", "begins"), [(8, 3.5), (1, None), (13, None)])
def test_a_day_is_cut_to_its_sleep(hours: int, begins: float | None) -> None:
    codes = np.zeros(2400, dtype=np.int8)
    codes[480 : 480 + 120 * hours] = 1
    day = Hypnogram(0.0, codes, FOUR_CLASS, np.eye(4, dtype=np.float32)[codes])
    recording = replace(night_of(60), end=72_000, heart_rate=Samples(*[np.arange(0, 72e3, 60)] * 2))

    class Stager:
        def predict(self, _: Recording) -> Hypnogram:
            return day

    if begins is None:
        with pytest.raises(DataError, match="no night can be found in this day: cut the table"):
            tasks._around_sleep(recording, Stager())  # type: ignore[arg-type]
    else:
        night = tasks._around_sleep(recording, Stager())  # type: ignore[arg-type]
        assert (night.start, night.end) == (begins * HOUR, (4 + hours + 0.5) * HOUR)


def test_no_night_at_all_is_a_page_too(tmp_path: Path) -> None:
    page = write_overview([Summary("a", "a", "", "why not")], tmp_path)
    assert "why not" in page.read_text()


# What to expect


def night_of(seconds: float, *, motion: bool = True) -> Recording:
    times = np.arange(0, 7200, seconds)
    table = Samples(np.arange(15.0, 7200, 15), np.ones((479, 4)))
    return Recording(
        start=0,
        end=7200,
        heart_rate=Samples(times, np.full(len(times), 60.0)),
        motion=table if motion else Samples.empty(4),
    )


def test_rarer_heart_rate_promises_less() -> None:
    told = [expected_accuracy(HEART_RATE_MODEL, night_of(s, motion=False)) for s in (5, 70, 310)]
    accuracies = [one["accuracy"] for one in told if one]
    assert accuracies == sorted(accuracies, reverse=True)
    assert len(accuracies) == 3
    assert [one["seconds"] for one in told if one][1:] == [60, 300]


@pytest.mark.parametrize("model", ["live", "night"])
def test_motion_promises_more(model: str) -> None:
    both, alone = (expected_accuracy(model, night_of(5, motion=one)) for one in (True, False))
    assert both is not None
    assert both["motion"]
    if alone:
        assert alone["kappa"] < both["kappa"]


def test_nothing_is_promised_of_what_was_not_measured() -> None:
    assert expected_accuracy("my.onnx", night_of(5)) is None
    assert expected_accuracy("live", replace(night_of(5), heart_rate=Samples.empty())) is None
    assert expected_accuracy(HEART_RATE_MODEL, night_of(5)) is None


def test_a_burst_promises_no_more_than_its_time() -> None:
    times = np.concatenate([np.arange(0, 1200, 5), np.arange(1200, 7200, 300)])
    night = replace(night_of(5, motion=False), heart_rate=Samples(times, np.full(len(times), 60.0)))
    found = expected_accuracy(HEART_RATE_MODEL, night)
    dense, rare = (expected_accuracy(HEART_RATE_MODEL, night_of(s, motion=False)) for s in (5, 300))
    assert found is not None
    assert dense is not None
    assert rare is not None
    assert found["seconds"] == 300
    mixed = (dense["accuracy"] + 5 * rare["accuracy"]) / 6
    assert found["accuracy"] == pytest.approx(mixed, abs=0.005)


def test_nothing_is_promised_for_half_a_night() -> None:
    night = night_of(5)
    half = replace(night, heart_rate=night.heart_rate.between(0, 3000))
    assert expected_accuracy("live", half) is None
    assert expected_accuracy(HEART_RATE_MODEL, night_of(900, motion=False)) is None
    assert expected_accuracy("night", replace(night_of(900), end=7200)) is None
    short = replace(night, motion=night.motion.between(0, 3000))
    found = expected_accuracy("live", short)
    assert found is not None
    assert not found["motion"]


def test_every_number_to_expect_is_a_share() -> None:
    table = json.loads(EXPECTED.read_text())
    assert set(table) == {"live", "night", HEART_RATE_MODEL}
    for rows in table.values():
        for row in rows:
            assert set(row) == {"motion", "seconds", "accuracy", "kappa", "macro_f1", "people"}
            assert all(0 < row[key] < 1 for key in ("accuracy", "kappa", "macro_f1"))


# Other software


def codes_of(text: Sequence[str], classes: Sequence[str]) -> NDArray[np.int8]:
    return np.array([classes.index(x) if x in classes else UNSCORED for x in text], dtype=np.int8)


@pytest.mark.parametrize("start", [0.0, BED, BED + 0.25])
def test_edf_holds_the_stages(tmp_path: Path, start: float) -> None:
    night = replace(hypnogram("wwll-ddr"), start=start, utc_offset=3600)
    write_edf(night, tmp_path / "a.edf")
    read = edfio.read_edf(tmp_path / "a.edf")
    told = [(one.onset, one.duration, one.text) for one in read.annotations]
    assert told == [
        (0, 60, "Sleep stage W"),
        (60, 60, "Sleep stage N2"),
        (120, 30, "Sleep stage ?"),
        (150, 60, "Sleep stage N3"),
        (210, 30, "Sleep stage R"),
    ]
    begun = datetime.combine(read.startdate, read.starttime)
    expected = datetime(2024, 3, 12, 23) if start else datetime(1985, 1, 1)
    assert begun.replace(microsecond=0) == expected


def test_edf_needs_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from sleepstage.errors import MissingExtraError

    monkeypatch.setitem(sys.modules, "edfio", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'sleepstage\[edf\]'"):
        write_edf(hypnogram("wl"), tmp_path / "a.edf")


def test_yasa_json_has_its_keys(tmp_path: Path) -> None:
    shares = np.array([[0.7, 0.1, 0.1, 0.1], [np.nan] * 4], dtype=np.float32)
    night = replace(hypnogram("w-"), start=BED, utc_offset=3600, probabilities=shares)
    write_yasa(night, tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "values": ["WAKE", "UNS"],
        "n_stages": 4,
        "freq": "30s",
        "start": "2024-03-12T23:00:00+01:00",
        "scorer": "sleepstage",
        "proba": {
            "WAKE": [0.7, 0.25],
            "LIGHT": [0.1, 0.25],
            "DEEP": [0.1, 0.25],
            "REM": [0.1, 0.25],
        },
    }


@pytest.mark.parametrize("scheme", [FOUR_CLASS, FIVE_CLASS])
def test_yasa_reads_it(tmp_path: Path, scheme: object) -> None:
    yasa = pytest.importorskip("yasa", reason="yasa is not installed")
    night = hypnogram("wwll-ddr")
    if scheme == FIVE_CLASS:
        night = Hypnogram(BED, codes_of(["wake", "n1", "rem"], FIVE_CLASS.classes), FIVE_CLASS)
    write_yasa(night, tmp_path / "a.json")
    read = yasa.Hypnogram.from_json(tmp_path / "a.json")
    assert read.n_epochs == len(night)
    assert read.sleep_statistics()["TST"] == night.statistics().total_sleep_time


def test_a_folder_whose_summary_is_damaged_is_left_as_it_is(study: Path, tmp_path: Path) -> None:
    run(study / "pulse_hr.csv", tmp_path)
    (tmp_path / "pulse" / SUMMARY).write_text("{")
    before = contents(tmp_path)
    summaries, done = run(study / "pulse_hr.csv", tmp_path)
    assert done == []
    assert "pulse exists and is not a result of this night" in summaries["pulse"].error
    assert contents(tmp_path) == before


def test_a_night_of_nothing_known_is_refused() -> None:
    lost = replace(night_of(5), heart_rate=Samples.empty(), motion=Samples.empty(4))
    with pytest.raises(DataError, match="none of the 240 epochs has heart rate or motion"):
        score(lost, load_model("live"), "live", Wanted())
