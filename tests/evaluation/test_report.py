from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from sleepstage.core.agreement import NUMBERS, ScoredNight
from sleepstage.core.hypnogram import Hypnogram
from sleepstage.errors import DataError
from sleepstage.evaluation.experiment import Task
from sleepstage.evaluation.report import DATASET, key_numbers, verdict, write_report
from sleepstage.evaluation.report.pictures import plot_confusion
from sleepstage.evaluation.report.sections import chosen_nights, operating_point, sections
from sleepstage.evaluation.report.tables import Picture, Section, Table
from sleepstage.evaluation.schema import ModelResult, RemPoint, Results, Summary
from sleepstage.ml.baselines import Walch
from sleepstage.stages import FIVE_CLASS, THREE_CLASS, TWO_CLASS, Scheme
from tests.helpers.evaluated import evaluated, groups, night, runs
from tests.helpers.scored import night as scored_night

pytestmark = pytest.mark.slow

HOSTILE = "<script>alert('x')</script> | $x$ **b**"
MINE = Section(
    "mine",
    "What else there is",
    "A mistake.",
    (Table("", ("what", "kappa"), (("told beforehand", 0.9),)),),
    (Picture("a <picture>", lambda: plot_confusion([[3, 1], [0, 4]], ["wake", "sleep"])),),
    leaky=True,
)


def pictures(found: list[Section]) -> list[tuple[str, Picture]]:
    return [(section.name, picture) for section in found for picture in section.pictures]


@pytest.fixture(scope="module")
def several() -> tuple[Results, dict[str, ScoredNight]]:
    """Three models, one of which is hostile and needs the whole night, and a run that failed."""
    outcomes = runs("mine", groups(), factor=2.0)
    outcomes |= runs(HOSTILE, groups(skill=1.0), classifier=Walch())
    outcomes |= runs("other people", groups(2))
    first = next(iter(outcomes))
    reason = "no epoch of rem <b>at all</b>"
    outcomes[Task("mine", 4, first.classifier, first.split)] = DataError(reason)
    results, nights = evaluated(outcomes)
    return results, nights


@pytest.fixture(scope="module")
def page(
    several: tuple[Results, dict[str, ScoredNight]], tmp_path_factory: pytest.TempPathFactory
) -> str:
    out = tmp_path_factory.mktemp("report")
    return write_report(*several, out, title=HOSTILE, more=[MINE]).read_text(encoding="utf-8")


class Page(HTMLParser):
    """What a browser would see: text, tables, pictures; complains of tags that don't match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.images: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in {"meta", "img"}:
            self.open.append(tag)
        if tag == "img":
            self.images.append(dict(attrs)["src"] or "")
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"style", "script"}:
            self.words.append(data)
            if self.open[-1] in {"td", "th"}:
                self.rows[-1][-1] += data


def find(found: list[Section], name: str) -> Section:
    return next(section for section in found if section.name == name)


def row(table: Table, name: str) -> list[str]:
    return next(cells for cells in table.cells if cells[0] == name)


def shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


# What a table is


def test_a_table_shows_three_decimals_counts_and_what_is_not_defined() -> None:
    table = Table("c", ("a", "b", "c", "d"), (("x", 0.12345, 7, None), ("sum", -0.0001, 1, 2.0)))
    assert table.cells == [["x", "0.123", "7", "-"], ["sum", "0.000", "1", "2.000"]]


def test_markdown_holds_names_as_they_are() -> None:
    table = Table("a_b", ("name", "n"), (("<i>|`*\n", 1), ("sum", 2)), totals=1)
    assert table.to_markdown() == (
        "**a\\_b**\n\n| name | n |\n| --- | --: |\n| &lt;i&gt;\\|\\`\\* | 1 |\n| **sum** | 2 |\n"
    )
    section = Section("s", "T_1", "a < b", (table,), leaky=True)
    assert section.to_markdown().startswith(
        "## T\\_1\n\n> **LEAK: these are no results.** a &lt; b\n\n**a\\_b**"
    )


# What the sections say


def test_every_run_and_their_mean_stand_in_the_tables(several: Any) -> None:
    results, nights = several
    for scheme, table in zip(
        ("four_class", "three_class", "two_class"),
        find(sections(results, nights), "runs").tables,
        strict=True,
    ):
        assert table.caption == scheme.replace("_", " ").replace("class", "classes")
        of_mine = [run for run in results.runs if run.model == "mine"]
        assert [cells[0] for cells in table.cells] == ["run 1", "run 2", "run 3", "mean", "std"]
        for cells, run in zip(table.cells, of_mine, strict=False):
            numbers = [getattr(run.metrics.schemes[scheme], key) for key in NUMBERS]
            numbers += run.metrics.schemes[scheme].recall.values()
            assert cells[1:] == [" ".join(run.split.test), *map(shown, numbers)]
        summary = results.summary.schemes[scheme]
        assert row(table, "mean")[2] == shown(summary.accuracy.mean)
        assert row(table, "std")[-1] == shown(list(summary.recall.values())[-1].std)


def test_failed_runs_are_listed_with_their_reason(several: Any) -> None:
    (table,) = find(sections(several[0]), "failed").tables
    assert table.cells == [["mine", "4", "no epoch of rem <b>at all</b>"]]


def test_operating_point_stands_beside_the_most_probable_class(several: Any) -> None:
    results, _ = several
    beside, each = find(sections(results), "operating point").tables
    decided = results.summary.operating_point["four_class"]
    assert row(beside, "operating point")[-1] == shown(decided.recall["rem"].mean)
    plain = results.summary.schemes["four_class"].recall["rem"].mean
    assert row(beside, "most probable class")[-1] == shown(plain)
    assert decided.recall["rem"].mean > plain
    assert row(each, "run 1")[1] == "REM 2.000"


def test_confusion_is_the_sum_of_the_runs(several: Any) -> None:
    results, nights = several
    counts, shares = find(sections(results), "confusion").tables
    reference, predicted = (
        np.concatenate(codes)
        for codes in zip(*(one.pair(one.predicted.scheme) for one in nights.values()), strict=True)
    )
    told = np.bincount(predicted[reference == 3], minlength=4)
    assert row(counts, "REM")[1:] == [*map(str, told), str(told.sum())]
    assert row(shares, "REM")[1:] == [shown(one / told.sum()) for one in told]


def test_models_are_compared_to_the_first(several: Any) -> None:
    results, _ = several
    table, each = find(sections(results), "models").tables
    assert row(table, "mine")[1:3] == ["live", "6"]
    assert row(table, "mine")[-3:] == ["-", "-", "-"]
    assert row(table, "other people")[-3:] == ["-", "-", "-"]
    against = results.models[HOSTILE].against_first["kappa"]
    cells = row(table, HOSTILE)
    assert cells[1] == "whole night"
    kappa = results.models[HOSTILE].people["four_class"]["kappa"].mean
    assert cells[4] == shown(kappa)
    assert cells[-3] == shown(against.difference.mean)
    assert cells[-1] == shown(against.p_value)
    assert row(each, "run 3")[-1] == "-"  # the third model has two runs


def test_people_count_and_not_epochs(several: Any) -> None:
    results, _ = several
    four, *_ = find(sections(results), "people").tables
    found = results.models["mine"].people["four_class"]["sensitivity rem"]
    assert found.n == 5  # the sixth has no REM
    bounds = f"{shown(found.low)} to {shown(found.high)}"
    cells = ["5", shown(found.mean), bounds, shown(found.std)]
    assert row(four, "sensitivity REM")[1:] == cells


def test_each_person_has_a_line_the_lowest_kappa_first(several: Any) -> None:
    results, _ = several
    (table,) = find(sections(results), "spread").tables
    kappas = [float(cells[2]) for cells in table.cells]
    assert kappas == sorted(kappas)
    assert row(table, "00")[-1] == "-"
    person = results.runs[0].metrics.per_person["00"]["four_class"]
    assert row(table, "00")[1:3] == [shown(person.accuracy), shown(person.kappa)]


def test_who_tests_in_several_runs_counts_once() -> None:
    once, twice = night(1), night(2)
    results, _ = evaluated(runs("m", [{"a": once}, {"a": twice}]))
    (table,) = find(sections(results), "spread").tables
    kappas = [run.metrics.schemes["four_class"].kappa for run in results.runs]
    assert [cells[:1] + cells[2:3] for cells in table.cells] == [
        ["a", shown(float(np.mean(np.array(kappas, dtype=float))))]
    ]


def test_best_median_and_worst_night(several: Any) -> None:
    results, nights = several
    (table,) = find(sections(results, nights), "nights").tables
    assert [cells[0] for cells in table.cells] == ["best", "median", "worst"]
    kappas = [float(cells[3]) for cells in table.cells]
    assert kappas == sorted(kappas, reverse=True)
    two = dict(list(nights.items())[:2])
    assert [which for which, *_ in chosen_nights(two, "four_class")] == ["best", "worst"]
    one = dict(list(nights.items())[:1])
    assert [which for which, *_ in chosen_nights(one, "four_class")] == ["only"]
    awake = Hypnogram(0.0, np.zeros(3, dtype=np.int8), TWO_CLASS)
    flat = {"x": ScoredNight(awake, awake, np.ones(3, dtype=np.bool_))}
    assert chosen_nights(flat, "two_class") == []


def test_nights_of_one_person_are_chosen_from_one_by_one() -> None:
    several = {"a/1": scored_night("wl", "ww"), "a/2": scored_night("wlll", "wlll")}
    found = {key: one.accuracy for _, key, one in chosen_nights(several, "four_class")}
    assert found == {"a/1": 1 / 2, "a/2": 1.0}


def test_curves_calibration_trade_off_and_sleep_statistics(several: Any) -> None:
    results, nights = several
    found, model = sections(results, nights), results.models["mine"]
    (curves,) = find(found, "curves").tables
    assert row(curves, "deep")[2] == shown(model.curves.roc["deep"].area)
    assert row(curves, "REM")[3] == shown(model.curves.precision_recall["rem"].area)
    (calibration,) = find(found, "calibration").tables
    reliability = model.curves.reliability
    assert shown(reliability.expected_calibration_error) in find(found, "calibration").text
    assert [int(cells[1]) for cells in calibration.cells] == [n for n in reliability.n_epochs if n]
    (certainty,) = find(found, "certainty").tables
    assert [cells[0] for cells in certainty.cells] == ["0 %", "5 %", "10 %", "20 %", "30 %", "50 %"]
    half = next(one for one in model.curves.certainty if one.set_aside == 0.5)
    assert row(certainty, "50 %")[1:] == [
        str(half.n_epochs),
        *(shown(one) for one in (half.certainty, half.accuracy, half.kappa)),
    ]
    (trade_off,) = find(found, "rem").tables
    assert row(trade_off, "1.000")[1] == shown(row_of_factor_one(model).recall)
    (statistics,) = find(found, "bland-altman").tables
    measure = model.bland_altman["minutes rem"]
    assert row(statistics, "REM (min)")[2] == shown(measure.bias.mean)
    assert row(statistics, "sleep efficiency (share)")[1] == "6"


def row_of_factor_one(model: ModelResult) -> RemPoint:
    return next(point for point in model.curves.rem_trade_off if point.factor == 1)


def test_without_failures_and_other_models_there_are_no_such_sections() -> None:
    results, _ = evaluated(runs("m", groups(1)))
    names = {section.name for section in sections(results)}
    assert not names & {"failed", "models", "operating point", "nights"}


# What the verdict says


def test_verdict_tells_the_numbers_of_the_results(several: Any) -> None:
    results, _ = several
    told, summary = " ".join(verdict(results)), results.summary
    four, decided = summary.schemes["four_class"], summary.operating_point["four_class"]
    accuracies = [
        r.metrics.schemes["four_class"].accuracy for r in results.runs if r.model == "mine"
    ]
    people = results.models["mine"].people["four_class"]["accuracy"]
    for value in (
        four.accuracy.mean,
        four.recall["rem"].mean,
        decided.recall["rem"].mean,
        decided.accuracy.mean,
        summary.schemes["three_class"].accuracy.mean,
        summary.schemes["two_class"].accuracy.mean,
        people.low,
        people.high,
        min(accuracies),
        max(accuracies),
    ):
        assert f"{100 * value:.1f} %" in told
    assert f"kappa, is {four.kappa.mean:.3f}" in told
    assert f"standard deviation of {four.accuracy.std:.3f}: consistent" in told
    assert "one of four stages" in told
    assert "1 of 9 runs could not be done" in told
    cards = {card.name: card.value for card in key_numbers(results)}
    assert cards["kappa"] == shown(four.kappa.mean)
    assert cards["REM recall at the operating point"] in told
    assert cards["accuracy, three classes"] in told


def test_runs_that_differ_are_not_called_consistent() -> None:
    results, _ = evaluated(runs("m", [{"a": night(1, skill=4.0)}, {"b": night(2, skill=0.5)}]))
    assert (results.summary.schemes["four_class"].accuracy.std or 0.0) > 0.05
    assert "not consistent" in " ".join(verdict(results))


def test_one_run_of_one_person_says_so() -> None:
    results, _ = evaluated(runs("m", [{"a": night(1)}], classifier=Walch()))
    told = " ".join(verdict(results))
    assert "(one run)" in told
    assert "once the night is over" in told
    assert "too few people for a confidence interval" in told
    assert "nothing about consistency" in told
    assert {card.note for card in key_numbers(results)} == {"one run"}


def test_nobody_with_rem_leaves_rem_out() -> None:
    results, _ = evaluated(runs("m", [{"a": night(1, rem=False), "b": night(2, rem=False)}]))
    assert "of REM sleep" not in " ".join(verdict(results))
    assert {card.name: card.value for card in key_numbers(results)}["REM recall"] == "-"


@pytest.mark.parametrize(
    ("scheme", "told"), [(THREE_CLASS, "right one of three stages"), (TWO_CLASS, "sleep from wake")]
)
def test_a_coarser_model_is_told_in_its_own_classes(
    scheme: Scheme, told: str, several: Any
) -> None:
    results = several[0]
    summary = {name: results.summary.schemes[name] for name in ("three_class", "two_class")}
    if scheme is TWO_CLASS:
        del summary["three_class"]
    point = results.summary.operating_point
    found = verdict(replace(results, summary=Summary(summary, point)))
    assert told in found[0]
    assert not any("three classes" in sentence for sentence in found)


# What is written


def test_page_is_whole_and_needs_nothing_else(page: str) -> None:
    parsed = Page(page)
    assert re.findall(r"\w+://\S*", page) == [f"{DATASET}."]
    assert len(page.encode()) < 3e6
    sources = [value for name, value in parsed.attributes if name in {"src", "href"}]
    assert all(one.startswith(("data:image/png;base64,", "#part-")) for one in sources)
    ids = {f"#{value}" for name, value in parsed.attributes if name == "id"}
    assert {value for name, value in parsed.attributes if name == "href"} == ids
    assert "url(" not in page
    assert "@import" not in page


def test_names_are_escaped(page: str) -> None:
    parsed = Page(page)
    assert "<script" not in page
    assert "<b>at all" not in page
    assert HOSTILE in parsed.words
    assert "no epoch of rem <b>at all</b>" in parsed.words


def test_pictures_are_sound_and_as_many_as_drawn(page: str, several: Any, tmp_path: Path) -> None:
    images = [one.removeprefix("data:image/png;base64,") for one in Page(page).images]
    names = [name for name, _ in pictures([*sections(*several), MINE])]
    assert len(images) == len(names)
    assert names == [
        *("confusion", "models", "models", "spread", "nights", "nights", "nights", "curves"),
        *("calibration", "certainty", "rem", "bland-altman", "mine"),
    ]
    for one in images:
        file = tmp_path / "one.png"
        file.write_bytes(base64.b64decode(one, validate=True))
        assert imread(file).std() > 0.01  # not blank


def test_html_and_markdown_hold_the_same_tables(several: Any, tmp_path: Path) -> None:
    results, nights = several
    page = write_report(results, nights, tmp_path, title="t", more=[MINE])
    rows = Page(page.read_text(encoding="utf-8")).rows
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    for section in [*sections(results, nights), MINE]:
        assert section.to_markdown().strip() in markdown
        for table in section.tables:
            assert all(cells in rows for cells in table.cells)
    assert "<script" not in markdown
    assert "LEAK: these are no results" in markdown
    assert "ODC Attribution License" in markdown
    assert "Not a medical device." in markdown
    assert sorted(file.name for file in tmp_path.iterdir()) == ["report.html", "report.md"]


def test_leaks_stand_in_a_marked_section(page: str) -> None:
    assert page.count('class="leak"') == 1
    section = page.split('class="leak"')[1].split("</section>")[0]
    assert "LEAK: these are no results." in section
    assert "told beforehand" in section
    assert 'alt="a &lt;picture&gt;"' in section


def test_simulated_nights_are_called_simulated(tmp_path: Path) -> None:
    results, nights = evaluated(runs("m", groups(1, simulated=True)))
    page = write_report(results, nights, tmp_path, title="t").read_text(encoding="utf-8")
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    for text in (page, markdown):
        assert "SIMULATED nights: these numbers say nothing about people." in text
        assert "Walch" not in text
    for _, picture in pictures(sections(results, nights)):
        figure = picture.figure(simulated=True)
        assert "SIMULATED" in [text.get_text() for text in figure.texts]


def test_people_may_have_any_name(tmp_path: Path) -> None:
    results, nights = evaluated(runs("m", [{HOSTILE: night(1), "漢 $\\frac$": night(2)}]))
    page = Page(write_report(results, nights, tmp_path, title="t").read_text(encoding="utf-8"))
    assert {HOSTILE, "漢 $\\frac$"} <= {cells[0] for cells in page.rows}
    drawn = [picture.figure() for _, picture in pictures(sections(results, nights))]
    titles = [figure.get_suptitle() for figure in drawn]
    assert any("? \\$\\frac\\$, kappa" in title for title in titles)


def test_five_classes_are_reported_in_five_to_two() -> None:
    codes = np.array([0, 1, 2, 3, 4, 4, 2, 1], dtype=np.int8)
    rows = np.full((8, 5), 0.1, dtype=np.float32) + 0.5 * np.eye(5, dtype=np.float32)[codes]
    told = Hypnogram(0.0, codes, FIVE_CLASS, rows)
    reference = Hypnogram(0.0, np.roll(codes, 1), FIVE_CLASS)
    scored = ScoredNight(told, reference, np.ones(8, dtype=np.bool_))
    results, nights = evaluated(runs("m", [{"a": scored}]))
    tables = find(sections(results, nights), "runs").tables
    captions = [f"{number} classes" for number in ("five", "four", "three", "two")]
    assert [table.caption for table in tables] == captions
    assert tables[0].head[-5:] == tuple(f"{n} recall" for n in ("wake", "N1", "N2", "N3", "REM"))
    assert "one of five stages" in verdict(results)[0]
    assert all(picture.figure().axes for _, picture in pictures(sections(results, nights)))


def test_real_nights_are_not_called_simulated(page: str) -> None:
    assert "SIMULATED" not in page
    assert "simulated" not in page


def test_operating_point_of_the_picture_is_of_all_runs_pooled(several: Any) -> None:
    results, nights = several
    found = operating_point(results.runs[:3], "four_class")
    pairs = [
        (one.reference.codes[one.mask], one.predicted.decide({"rem": 2.0}).codes[one.mask])
        for one in nights.values()
    ]
    reference, predicted = (np.concatenate(side) for side in zip(*pairs, strict=True))
    scored = reference >= 0
    assert found is not None
    assert found.factor == pytest.approx(2)
    assert found.accuracy == pytest.approx(np.mean((reference == predicted)[scored]))
    assert found.recall == pytest.approx(np.mean(predicted[reference == 3] == 3))
    assert operating_point(results.runs, "four_class") is None  # the other models have none


def test_a_report_that_can_t_be_drawn_leaves_what_was_there(tmp_path: Path, several: Any) -> None:
    (tmp_path / "report.html").write_text("before")
    broken = replace(several[0], failed=[None])
    with pytest.raises(AttributeError):
        write_report(broken, several[1], tmp_path, title="t")
    assert (tmp_path / "report.html").read_text() == "before"
