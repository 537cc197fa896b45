"""What the checks say of small datasets in the true layout, each broken in one way."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sleepstage._utils.files import fingerprint
from sleepstage.errors import DataError
from sleepstage.io.sleep_accel.check import check_dataset, check_subject
from sleepstage.io.sleep_accel.check_files import DatasetReport, Finding, SubjectReport
from sleepstage.io.sleep_accel.read import LAYOUT, SIMULATED_MARKER, read_subject

if TYPE_CHECKING:
    from collections.abc import Callable

    from sleepstage.io.sleep_accel.check_files import Severity

    Lines = list[str]
    Break = Callable[[Lines], Lines]

ERROR: Severity = "error"
WARNING: Severity = "warning"
N_EPOCHS = 240
END = 30 * N_EPOCHS
STAGES = (0, 1, 2, 3, 5)
SHARED = Path(__file__).parents[3] / "shared" / "sleep-accel"


def clean_lines() -> dict[str, Lines]:
    """A night of two hours, and the day before, without a flaw."""
    labels = [f"{30 * i} {STAGES[i * 5 // N_EPOCHS]}" for i in range(N_EPOCHS)]
    summary = [f"{t},0.0,0.1,0.2,0.97" for t in range(15, END + 1, 15)]
    return {
        "heart_rate": [f"{t},{60 + i % 7}" for i, t in enumerate(range(0, END, 5))],
        "labels": labels,
        "steps": [f"{t},{700 if t < 0 else 0}" for t in range(-86400, END, 600)],
        "summary_csv": ["t_s,counts,peak_x_g,peak_y_g,peak_z_g", *summary],
    }


@dataclass
class Fake:
    """A subject whose files can be broken before they are written."""

    directory: Path
    subject: str = "123"
    lines: dict[str, Lines] = field(default_factory=clean_lines)

    def path(self, name: str) -> Path:
        path = self.directory / LAYOUT[name].folder / f"{self.subject}{LAYOUT[name].ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def break_file(self, name: str, how: Break) -> Fake:
        self.lines[name] = how(self.lines[name])
        return self

    def check(self) -> SubjectReport:
        for name, lines in self.lines.items():
            self.path(name).write_text("".join(f"{line}\n" for line in lines))
        return check_subject(self.directory, self.subject)

    def find(self, code: str) -> Finding:
        """The only finding of a kind."""
        found = self.check().findings
        assert [finding.code for finding in found].count(code) == 1, found
        return next(finding for finding in found if finding.code == code)


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


def line(number: int, text: str) -> Break:
    """Replace a line, counted from 1."""
    return lambda lines: [*lines[: number - 1], text, *lines[number:]]


def insert(number: int, text: str) -> Break:
    """Put a line before another, counted from 1."""
    return lambda lines: [*lines[: number - 1], text, *lines[number - 1 :]]


def cut(first: int, last: int) -> Break:
    """Leave lines out, counted from 1."""
    return lambda lines: [*lines[: first - 1], *lines[last:]]


def swap(first: int) -> Break:
    """Put a line behind the next."""
    return lambda lines: [*lines[: first - 1], lines[first], lines[first - 1], *lines[first + 1 :]]


def column(index: int, how: Callable[[float], float], start: int = 1) -> Break:
    """Compute a column anew, from line `start` on."""

    def change(text: str) -> str:
        separator = "," if "," in text else " "
        fields = text.split(separator)
        fields[index] = f"{how(float(fields[index])):.10g}"
        return separator.join(fields)

    return lambda lines: [*lines[: start - 1], *map(change, lines[start - 1 :])]


class Case(NamedTuple):
    """How to break which file, and what is to be said of it."""

    name: str
    how: Break
    severity: Severity
    code: str
    line: int | None
    said: str
    n: int = 1


CASES = [
    Case("heart_rate", line(3, "abc,60"), ERROR, "parse", 3, "'abc,60'"),
    Case("heart_rate", line(4, "15,nan"), ERROR, "parse", 4, "'15,nan'"),
    Case("heart_rate", line(5, "20,60,1"), ERROR, "parse", 5, "expected 2 numbers (seconds, bpm)"),
    Case("summary_csv", line(1, "t,a,b,c,d"), ERROR, "parse", 1, "header t,a,b,c,d; expected t_s"),
    Case("heart_rate", lambda _: [], ERROR, "empty-file", None, "empty"),
    Case("heart_rate", swap(10), WARNING, "unsorted", 11, "at 45 s"),
    Case(
        "heart_rate",
        lambda x: x * 3,
        WARNING,
        "duplicate-samples",
        1441,
        "stored 3 times over",
        2880,
    ),
    Case("heart_rate", insert(9, "40,61"), WARNING, "duplicate-samples", 10, "1 of 1441 rows"),
    Case("heart_rate", insert(6, "20,99"), WARNING, "conflicting-samples", 6, "first 99 at 20 s"),
    Case("heart_rate", cut(101, 180), WARNING, "gap", 100, "longest of 6.8 min from 495 s"),
    Case("heart_rate", cut(1201, 1440), WARNING, "gap", 1200, "longest of 20.1 min from 5995 s"),
    Case("heart_rate", cut(1, 240), WARNING, "gap", 1, "longest of 20.0 min from 0 s"),
    Case("heart_rate", line(7, "30,0"), WARNING, "implausible-bpm", 7, "first 0 at 30 s"),
    Case("heart_rate", line(7, "30,400"), WARNING, "implausible-bpm", 7, "first 400 at 30 s"),
    Case(
        "heart_rate", column(1, lambda _: 0, 801), ERROR, "implausible-bpm", 801, "640 of 1440", 640
    ),
    Case(
        "heart_rate",
        lambda x: [",".join(reversed(text.split(","))) for text in x],
        ERROR,
        "swapped-columns",
        1,
        "first 0 at 60 s",
        1440,
    ),
    Case("heart_rate", column(0, lambda t: t + 1.5e9), ERROR, "no-overlap", None, "1500000000"),
    Case("labels", line(2, "30 wake"), ERROR, "parse", 2, "'30 wake'"),
    Case(
        "labels",
        line(2, "30 6"),
        ERROR,
        "unknown-stage",
        2,
        "codes: 1 of 240 rows, first 6 at 30 s",
    ),
    Case("labels", line(2, "30 1.5"), ERROR, "unknown-stage", 2, "first 1.5 at 30 s"),
    Case(
        "labels", line(3, "61 0"), ERROR, "off-grid", 3, "30 s grid: 1 of 240 rows, first 0 at 61 s"
    ),
    Case(
        "labels", line(1, "7 0"), ERROR, "off-grid", 1, "30 s grid: 1 of 240 rows, first 0 at 7 s"
    ),
    Case("labels", insert(3, "60 0"), ERROR, "duplicate-samples", 4, "2 times over"),
    Case("labels", insert(3, "60 2"), ERROR, "conflicting-samples", 3, "first 2 at 60 s"),
    Case("labels", swap(2), WARNING, "unsorted", 3, "at 30 s"),
    Case("labels", cut(5, 7), WARNING, "missing-epochs", 5, "without a line: 3", 1),
    Case("labels", line(9, "240 4"), WARNING, "old-stage-4", 9, "counted as N3"),
    Case("labels", column(1, lambda s: min(s, 3)), WARNING, "missing-stage", None, "no rem in"),
    Case("labels", column(1, lambda _: -1, 221), WARNING, "unscored", None, "20 of 240 epochs", 1),
    Case("labels", column(1, lambda _: -1), WARNING, "unscored", None, "240 of 240 epochs"),
    Case("labels", line(240, "90000 5"), ERROR, "night-length", None, "0 to 90030 s"),
    Case("labels", lambda _: [], ERROR, "empty-file", None, "empty"),
    Case(
        "labels",
        lambda x: [" ".join(reversed(text.split())) for text in x],
        ERROR,
        "swapped-columns",
        1,
        "first 0 at 0 s",
        240,
    ),
    Case("steps", line(8, "-82200,many"), ERROR, "parse", 8, "'-82200,many'"),
    Case("steps", line(8, "-82200,-3"), ERROR, "negative-steps", 8, "first -3 at -82200 s"),
    Case("steps", cut(1, 30), WARNING, "short-steps", None, "cover 19.0 of the 24 h"),
    Case("summary_csv", column(4, lambda g: g * 9.81, 2), ERROR, "unit", None, "by 9.80665"),
    Case("summary_csv", cut(101, 130), WARNING, "gap", 100, "longest of 7.8 min from 1485 s"),
    Case("summary_csv", cut(100, 481), WARNING, "low-coverage", None, "49 of 240 scored", 191),
    Case("summary_csv", lambda x: x[:1], ERROR, "empty-file", None, "empty"),
]


def at_fault(case: Case) -> str:
    return "labels" if case.code == "low-coverage" else case.name


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{case.code}-{case.said}")
def test_each_flaw_is_found(fake: Fake, case: Case) -> None:
    found = fake.break_file(case.name, case.how).find(case.code)
    assert found.severity == case.severity
    assert found.file == fake.path(at_fault(case))
    assert found.line == case.line
    assert case.said in found.message
    assert found.count == case.n


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{case.code}-{case.said}")
def test_what_the_reader_refuses_is_an_error(fake: Fake, case: Case) -> None:
    report = fake.break_file(case.name, case.how).check()
    try:
        read_subject(fake.directory, fake.subject)
    except DataError:
        assert any(finding.severity == ERROR for finding in report.findings)


def test_what_no_check_knows_is_told_as_the_reader_says(fake: Fake) -> None:
    found = fake.break_file("summary_csv", line(3, "30,-1,0,0,1")).find("refused")
    assert (found.severity, found.file) == (ERROR, None)
    assert "activity count -1 at 30 s" in found.message
    assert str(fake.path("summary_csv")) in found.message


def test_clean_subject_has_no_findings(fake: Fake) -> None:
    report = fake.check()
    assert report.findings == ()
    facts = report.facts
    assert (facts.n_scored, facts.n_scorable) == (240, 240)
    assert facts.shares == pytest.approx({"wake": 0.2, "light": 0.4, "deep": 0.2, "rem": 0.2})
    assert facts.heart_rate_gap_min == pytest.approx(5 / 60)
    assert facts.motion_gap_min == pytest.approx(15 / 60)
    assert facts.motion_rate_hz is None
    assert facts.steps_day == 144 * 700


# Broken lines


def test_first_broken_line_is_named_and_all_are_counted(fake: Fake) -> None:
    fake.lines["heart_rate"][10:20] = [f"broken{i}" for i in range(10)]
    parse = fake.find("parse")
    assert (parse.line, parse.count) == (11, 10)
    assert "'broken0'" in parse.message
    assert "10 broken, 1430 good" in parse.message


def test_broken_line_hides_nothing_else(fake: Fake) -> None:
    fake.break_file("heart_rate", line(2, "?")).break_file("heart_rate", line(90, "445,0"))
    codes = {finding.code: finding.line for finding in fake.check().findings}
    assert codes == {"parse": 2, "implausible-bpm": 90}


def test_blank_line_is_no_reason_to_lose_the_file(fake: Fake) -> None:
    report = fake.break_file("heart_rate", insert(5, "")).check()
    assert (report.findings, report.facts.n_scorable) == ((), 240)


def test_broken_summary_line_after_a_remark(fake: Fake) -> None:
    fake.break_file("summary_csv", line(4, "45,x,0,0,1"))
    found = fake.break_file("summary_csv", insert(1, "# source 0123")).find("parse")
    assert found.line == 5


def test_binary_file_is_an_error(fake: Fake) -> None:
    fake.check()
    fake.path("steps").write_bytes(bytes(range(256)) * 20)
    codes = [finding.code for finding in check_subject(fake.directory, "123").findings]
    assert set(codes) == {"parse"}


def test_several_flaws_at_once(fake: Fake) -> None:
    fake.break_file("heart_rate", cut(101, 180)).break_file("heart_rate", lambda x: x * 2)
    fake.break_file("labels", line(9, "240 4")).break_file("steps", line(8, "-82200,-3"))
    found = {(finding.code, finding.severity) for finding in fake.check().findings}
    assert found == {
        ("gap", WARNING),
        ("unsorted", WARNING),
        ("duplicate-samples", WARNING),
        ("old-stage-4", WARNING),
        ("negative-steps", ERROR),
    }


def test_times_of_labels_are_decimal_numbers(fake: Fake) -> None:
    fake.lines["labels"] = [text.replace(" ", ".00001 ") for text in fake.lines["labels"]]
    fake.break_file("labels", line(2, "30.00002 0"))
    assert fake.check().findings == ()
    found = fake.break_file("labels", insert(3, "30.000025 0")).find("duplicate-samples")
    assert (found.severity, found.line) == (ERROR, 3)
    with pytest.raises(DataError, match="twice"):
        read_subject(fake.directory, fake.subject)


def test_lines_are_counted_past_blank_and_broken_ones(fake: Fake) -> None:
    fake.break_file("heart_rate", line(90, "445,0")).break_file("heart_rate", insert(5, ""))
    assert fake.find("implausible-bpm").line == 91
    assert fake.break_file("heart_rate", line(2, "?")).find("implausible-bpm").line == 91


# Files that are missing


@pytest.mark.parametrize("name", ["heart_rate", "labels", "steps", "summary_csv"])
def test_missing_file_is_a_warning(fake: Fake, name: str) -> None:
    del fake.lines[name]
    found = fake.find("missing-file")
    assert found.severity == WARNING
    assert found.file == fake.path("motion" if name == "summary_csv" else name)
    read_subject(fake.directory, fake.subject)


def test_labels_without_any_signal_are_an_error(fake: Fake) -> None:
    fake.lines = {"labels": fake.lines["labels"]}
    report = fake.check()
    errors = [finding for finding in report.findings if finding.severity == ERROR]
    assert [finding.file for finding in errors] == [fake.path("heart_rate"), fake.path("motion")]
    assert report.facts.n_scorable == 0


def test_night_without_labels_is_that_of_the_motion(fake: Fake) -> None:
    del fake.lines["labels"]
    fake.break_file("heart_rate", cut(1, 240))
    assert "longest of 20.0 min from 0 s" in fake.find("gap").message
    facts = fake.check().facts
    assert (facts.n_scored, facts.n_scorable, facts.shares) == (0, 0, {})


def test_unknown_subject(fake: Fake) -> None:
    fake.check()
    with pytest.raises(DataError, match="'999'"):
        check_subject(fake.directory, "999")


# Raw motion and its summary


@pytest.fixture
def raw(fake: Fake) -> Fake:
    """A night of ten minutes with raw motion at 50 Hz in place of the summary."""
    fake.lines["labels"] = [f"{30 * i} {STAGES[i // 4]}" for i in range(20)]
    fake.lines["motion"] = raw_lines(50)
    del fake.lines["summary_csv"]
    return fake


def raw_lines(rate: float) -> Lines:
    times = np.arange(0, 600, 1 / rate)
    return [f"{time:.4f} 0.1 0.2 {0.97 + 0.01 * (i % 3):.2f}" for i, time in enumerate(times)]


RAW_CASES = [
    Case("motion", column(3, lambda g: g * 9.80665), ERROR, "unit", None, "by 9.80665"),
    Case("motion", column(3, lambda g: g * 1000), ERROR, "unit", None, "write it in g"),
    Case("motion", swap(3), WARNING, "unsorted", 4, "at 0.04 s"),
    Case("motion", lambda x: [*x, *x[:9]], WARNING, "duplicate-samples", 30001, "2 times over", 9),
    Case("motion", insert(2, "0.00 0 0 1"), WARNING, "conflicting-samples", 1, "at 0 s"),
    Case("motion", lambda _: raw_lines(25), WARNING, "sampling-rate", None, "25 Hz"),
    Case("motion", cut(10001, 26001), WARNING, "gap", 10000, "longest of 5.3 min from 199.98 s"),
    Case("motion", line(2, "0.02 0 0"), ERROR, "parse", 2, "'0.02 0 0'"),
]


@pytest.mark.parametrize("case", RAW_CASES, ids=lambda case: f"{case.code}-{case.said}")
def test_each_flaw_of_raw_motion_is_found(raw: Fake, case: Case) -> None:
    found = raw.break_file(case.name, case.how).find(case.code)
    assert (found.severity, found.line, found.count) == (case.severity, case.line, case.n)
    assert found.file == raw.path("motion")
    assert case.said in found.message


def test_clean_raw_motion(raw: Fake) -> None:
    report = raw.check()
    assert report.findings == ()
    assert report.facts.n_scorable == 20
    assert report.facts.motion_rate_hz == pytest.approx(50)


def test_rate_that_changes_within_the_night(raw: Fake) -> None:
    raw.lines["motion"] = [*raw_lines(50)[:15000], *raw_lines(10)[3000:]]
    assert "10 to 50 Hz over the night" in raw.find("sampling-rate").message


@pytest.mark.parametrize("is_fresh", [True, False])
def test_summary_of_other_raw_motion_is_stale(raw: Fake, is_fresh: bool) -> None:
    raw.check()
    source = fingerprint(raw.path("motion")) if is_fresh else "0" * 64
    raw.lines["summary_csv"] = [f"# source {source}", *clean_lines()["summary_csv"]]
    codes = [finding.code for finding in raw.check().findings]
    assert codes == ([] if is_fresh else ["stale-summary"])


def test_summary_stands_in_for_unreadable_raw_motion(raw: Fake) -> None:
    raw.lines |= {"motion": [], "summary_csv": clean_lines()["summary_csv"]}
    report = raw.check()
    assert [finding.code for finding in report.findings] == ["empty-file"]
    assert report.facts.motion_gap_min == pytest.approx(15 / 60)


def test_parquet_summary(fake: Fake) -> None:
    header, *rows = fake.lines.pop("summary_csv")
    table = np.array([text.split(",") for text in rows], dtype=np.float64)
    table[5, 1] = np.nan
    frame = pl.DataFrame(table, schema=header.split(","))
    frame.write_parquet(fake.path("summary"))
    found = fake.find("refused")
    assert found.severity == ERROR
    assert str(fake.path("summary")) in found.message
    assert "[90.0, nan" in found.message
    fake.path("summary").write_bytes(b"PAR1 no more")
    assert "not a motion summary" in fake.find("parse").message
    frame.with_columns(t_s=pl.lit("soon")).write_parquet(fake.path("summary"))
    assert "soon" in fake.find("parse").message


# Whole datasets


def test_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a sleep-accel dataset"):
        check_dataset(tmp_path)


def test_dataset_report(tmp_path: Path) -> None:
    steps: list[tuple[int, int, str]] = []
    for subject in ("20", "3"):
        Fake(tmp_path, subject).break_file("heart_rate", line(1, f"0,6{subject[0]}")).check()
    report = check_dataset(tmp_path, on_progress=lambda *step: steps.append(step))
    assert steps == [(1, 2, "3"), (2, 2, "20")]
    assert [subject.subject for subject in report.subjects] == ["3", "20"]
    assert (report.status, report.counts) == (0, {})
    assert (report.totals.n_scored, report.totals.n_scorable) == (480, 480)
    assert report.totals.shares == pytest.approx(report.subjects[0].facts.shares)
    assert not report.simulated


def test_status_follows_the_worst_finding(tmp_path: Path) -> None:
    fake = Fake(tmp_path).break_file("heart_rate", line(7, "30,0"))
    fake.check()
    (tmp_path / SIMULATED_MARKER).touch()
    report = check_dataset(tmp_path)
    assert (report.status, report.counts) == (3, {WARNING: 1})
    assert report.simulated
    fake.break_file("steps", line(8, "-82200,-3")).check()
    report = check_dataset(tmp_path)
    assert (report.status, report.counts) == (1, {ERROR: 1, WARNING: 1})


def test_a_day_without_steps_is_not_a_day_of_none(fake: Fake) -> None:
    report = fake.break_file("steps", cut(1, 144)).check()
    assert [finding.code for finding in report.findings] == ["short-steps"]
    assert report.facts.steps_day is None


def test_json_round_trip(fake: Fake) -> None:
    fake.break_file("heart_rate", line(3, "abc,60")).break_file("steps", cut(1, 999)).check()
    report = check_dataset(fake.directory)
    stored = json.dumps(report.to_json(), allow_nan=False)
    assert json.loads(stored) == report.to_json()
    loaded = json.loads(stored)
    assert loaded["status"] == 1
    assert loaded["totals"]["people"] == 1
    assert loaded["subjects"][0]["facts"]["n_scored"] == 240
    first = loaded["subjects"][0]["findings"][0]
    assert first["severity"] == "error"
    assert (first["file"], first["line"]) == (str(fake.path("heart_rate")), 3)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from(["heart_rate", "labels", "steps", "summary_csv"]),
    number=st.integers(1, 5),
    fields=st.lists(
        st.one_of(
            st.sampled_from(["nan", "1e308", "-1e308", "1e-320", "inf", "", "x", "{n}", "1_0"]),
            st.floats(-1e6, 1e6).map(str),
        ),
        max_size=5,
    ),
)
def test_any_line_is_survived(tmp_path: Path, name: str, number: int, fields: list[str]) -> None:
    fake = Fake(tmp_path)
    fake.break_file(name, line(number, LAYOUT[name].separator.join(fields))).check()
    json.dumps(check_dataset(tmp_path).to_json(), allow_nan=False)


# The real data, as far as they are at hand


@pytest.fixture(scope="module")
def real() -> DatasetReport:
    directory = Path(os.environ.get("SLEEPSTAGE_DATA") or SHARED)
    if not directory.is_dir():
        pytest.skip(f"no sleep-accel data at {directory}; name them with SLEEPSTAGE_DATA")
    return check_dataset(directory)


def real_findings(report: DatasetReport, subject: str, code: str) -> list[Finding]:
    (one,) = (one for one in report.subjects if one.subject == subject)
    return [finding for finding in one.findings if finding.code == code]


REAL = [
    ("1066528", "duplicate-samples", "3 times over"),
    ("781756", "duplicate-samples", "3 times over"),
    ("9961348", "duplicate-samples", "3 times over"),
    ("1066528", "gap", "min in motion: 4, the longest of 27."),
    ("1449548", "gap", "min in motion: 4, the longest of 12."),
    ("759667", "gap", "min in motion: 1, the longest of 11."),
    ("7749105", "gap", "in motion: 1, the longest of 415.2 min"),
    ("7749105", "gap", "in heart rate: 40, the longest of 7.9 min"),
    ("7749105", "low-coverage", "118 of 945 scored epochs (12%)"),
    ("5132496", "missing-stage", "no rem in"),
    ("5383425", "old-stage-4", "stage 4 (old rules): 190"),
    ("8258170", "old-stage-4", "stage 4 (old rules): 83"),
]


@pytest.mark.parametrize(("subject", "code", "said"), REAL)
def test_known_flaws_of_the_real_data(
    real: DatasetReport, subject: str, code: str, said: str
) -> None:
    assert any(said in finding.message for finding in real_findings(real, subject, code))


def test_real_data_have_warnings_only(real: DatasetReport) -> None:
    assert real.counts[ERROR] == 0
    assert real.status == 3
    scored = [report.facts.n_scored for report in real.subjects]
    assert 415 <= min(scored) <= max(scored) <= 981
    assert sum(real.totals.shares.values()) == pytest.approx(1)
