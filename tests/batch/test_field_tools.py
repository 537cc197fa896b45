"""What the field's tools make of hypnograms that are written for them."""

from __future__ import annotations

import importlib
import json
import os
from dataclasses import replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sleepstage.batch.exports import write_annot, write_edf, write_fhir, write_yasa
from sleepstage.core.hypnogram import Hypnogram
from sleepstage.stages import EPOCH_SECONDS, FIVE_CLASS, FOUR_CLASS

pytestmark = [
    pytest.mark.slow,
    # They are imported by our tests alone, and are not ours to mend.
    pytest.mark.filterwarnings("ignore"),
]

BED = 1710280800.4  # 12 March 2024, 23:00 in Paris, and a fraction that no file needs
CODES = np.repeat(np.array([0, 1, -1, 2, 3, 0, 1], dtype=np.int8), [20, 40, 15, 30, 20, 4, 31])
NIGHT = Hypnogram(BED, CODES, FOUR_CLASS, subject="p-7", utc_offset=3600)
STAGES = ["W", "N2", "?", "N3", "R", "W", "N2"]


def tool(name: str) -> Any:
    """A library of the extra *tools*; continuous integration has it."""
    if os.environ.get("CI"):
        return importlib.import_module(name)
    return pytest.importorskip(name, reason=f"{name} is not installed: pip install -e '.[tools]'")


@given(codes=st.lists(st.integers(-1, 3), min_size=1, max_size=60))
def test_yasa_counts_unscored_epochs_as_time_in_bed(
    tmp_path_factory: pytest.TempPathFactory, codes: list[int]
) -> None:
    path = tmp_path_factory.mktemp("yasa") / "a.json"
    night = Hypnogram(BED, np.array(codes, dtype=np.int8), FOUR_CLASS, utc_offset=3600)
    write_yasa(night, path)
    found = tool("yasa").Hypnogram.from_json(path)
    assert found.n_epochs == len(night)
    ours = night.statistics()
    if ours.total_sleep_time:
        theirs = found.sleep_statistics()
        unscored = codes.count(-1) / 2
        assert theirs["TST"] == ours.total_sleep_time
        assert theirs["TIB"] == ours.time_in_bed + unscored
        assert theirs["SE"] == pytest.approx(100 * theirs["TST"] / theirs["TIB"], abs=1e-3)
        before = codes[: next(at for at, code in enumerate(codes) if code > 0)]
        assert theirs["SOL"] == len(before) / 2
        assert ours.sleep_onset_latency == before.count(0) / 2


def recorded(folder: Path, start: time) -> Path:
    """A polysomnography that begins at this time of that evening."""
    import edfio

    wave = np.sin(np.arange(3 * len(CODES) * EPOCH_SECONDS) / 7)
    signal = edfio.EdfSignal(wave, sampling_frequency=1, label="C3", physical_dimension="uV")
    recording = edfio.Recording(startdate=date(2024, 3, 12))
    edfio.Edf([signal], recording=recording, starttime=start).write(folder / "psg.edf")
    return folder / "psg.edf"


@pytest.mark.parametrize(
    ("start", "epochs"), [(time(23), "EPOCH"), (time(22, 59, 47), "EPOCH align")]
)
def test_luna_scores_a_polysomnography_by_annotations(
    tmp_path: Path, start: time, epochs: str
) -> None:
    project = tool("lunapi").proj()
    project.silence(True)
    write_annot(NIGHT, tmp_path / "a.annot")
    one = project.inst("one")
    one.attach_edf(str(recorded(tmp_path, start)))
    one.attach_annot(str(tmp_path / "a.annot"))
    one.proc(f"{epochs} & HYPNO")
    stages = one.table("HYPNO", "SS").set_index("SS")
    ours = NIGHT.statistics()
    for name, label in (("light", "N2"), ("deep", "N3"), ("rem", "R")):
        assert float(stages.loc[label, "MINS"]) == ours.minutes[name]
    assert float(one.table("HYPNO").iloc[0]["TST"]) == ours.total_sleep_time


def test_mne_needs_the_start_that_it_drops(tmp_path: Path) -> None:
    mne = tool("mne")
    write_edf(NIGHT, tmp_path / "a.edf")
    read = mne.read_annotations(tmp_path / "a.edf")
    assert read.orig_time is None
    # As in docs/my-study.md, with the summary's clock: mne takes the clock of an EDF file for UTC.
    start = datetime.fromisoformat("2024-03-12T23:00:00+01:00").replace(tzinfo=UTC)
    raw = mne.io.read_raw_edf(recorded(tmp_path, time(22, 50)), verbose="error")
    placed = mne.Annotations(read.onset, read.duration, read.description, orig_time=start)
    raw.set_annotations(placed, verbose="error")
    assert raw.annotations.onset[0] == 600
    assert [text.removeprefix("Sleep stage ") for text in raw.annotations.description] == STAGES


def test_pyedflib_reads_the_whole_second_and_why_light_sleep_is_n2(tmp_path: Path) -> None:
    write_edf(NIGHT, tmp_path / "a.edf")
    with tool("pyedflib").EdfReader(str(tmp_path / "a.edf")) as read:
        assert read.getStartdatetime() == datetime(2024, 3, 12, 23)
        assert "light_sleep_is_N2" in read.getHeader()["recording_additional"]
        onsets, durations, texts = read.readAnnotations()
    assert onsets.tolist() == [0, *durations.cumsum()[:-1].tolist()]
    assert [text.removeprefix("Sleep stage ") for text in texts] == STAGES


@pytest.mark.parametrize("module", ["fhir.resources.R4B.observation", "fhir.resources.observation"])
@pytest.mark.parametrize("scheme", [FOUR_CLASS, FIVE_CLASS])
def test_fhir_takes_the_observation(tmp_path: Path, module: str, scheme: Any) -> None:
    night = NIGHT
    if scheme == FIVE_CLASS:
        night = Hypnogram(0.0, np.array([0, 1, 2, 3, 4, -1], dtype=np.int8), FIVE_CLASS)
    write_fhir(night, tmp_path / "a.json")
    read = tool(module).Observation.model_validate_json((tmp_path / "a.json").read_text())
    assert read.valueQuantity.value == night.statistics().total_sleep_time
    durations = [float(one.valueQuantity.value) for one in read.component]
    assert sum(durations) == read.valueQuantity.value
    assert [one.code.coding[0].code for one in read.component] == ["93830-8", "93831-6", "93829-0"]
    if scheme == FIVE_CLASS:  # times on no calendar: FHIR has nothing to say of when
        assert read.effectivePeriod is None
        assert durations == [1.0, 0.5, 0.5]
    else:
        period = read.effectivePeriod
        assert (period.end - period.start).total_seconds() == EPOCH_SECONDS * len(CODES)
        assert period.start.isoformat() == "2024-03-12T23:00:00+01:00"
        assert read.subject.display == "p-7"


def test_annotations_begin_at_midnight_where_time_has_no_date(tmp_path: Path) -> None:
    write_annot(replace(NIGHT, start=0.0), tmp_path / "a.annot")
    why, head, first, second, *_ = (tmp_path / "a.annot").read_text().splitlines()
    assert why == "# N2 | light sleep, N1 or N2"
    assert head.split("\t") == ["class", "instance", "channel", "start", "stop", "meta"]
    assert first.split("\t") == ["W", ".", ".", "00:00:00", "+600", "."]
    assert second.split("\t") == ["N2", ".", ".", "00:10:00", "+1200", "."]


def test_no_stage_is_left_out_of_json(tmp_path: Path) -> None:
    write_fhir(replace(NIGHT, codes=np.full(4, -1, dtype=np.int8)), tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["valueQuantity"]["value"] == 0
    assert [one["valueQuantity"]["value"] for one in content["component"]] == [0, 0, 0]
