from __future__ import annotations

import builtins
import errno
import json
import math
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from sleepstage.core.hypnogram import Hypnogram
from sleepstage.errors import DataError, MissingExtraError
from sleepstage.plotting import STAGE_COLOURS, save_figure
from sleepstage.stages import FIVE_CLASS, FOUR_CLASS, SCHEMES, TWO_CLASS, Scheme, Stage

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

UNIX_NIGHT = 1_700_000_000.0  # 14 November 2023, 22:13:20 UTC


def night(*, simulated: bool = False, start: float = 0.0) -> Hypnogram:
    """Wake, light, unscored, deep, REM with probabilities."""
    codes = np.array([0, 1, -1, 2, 3], dtype=np.int8)
    p = np.full((5, 4), 0.1, dtype=np.float32)
    p[np.arange(5), codes] = 0.7
    p[2] = math.nan
    return Hypnogram(start, codes, FOUR_CLASS, p, subject="46343", simulated=simulated)


# The night itself


def test_names_and_times_of_the_epochs() -> None:
    one = night(start=10.0)
    assert one.stages.tolist() == ["wake", "light", "unscored", "deep", "rem"]
    assert one.times.tolist() == [10, 40, 70, 100, 130]
    assert len(one) == 5


def test_an_experts_stages_are_in_the_five_classes() -> None:
    one = Hypnogram.from_stages([Stage.N3, Stage.N1, Stage.UNSCORED], start=7.0, subject="1")
    assert one.stages.tolist() == ["n3", "n1", "unscored"]
    assert one.scheme is FIVE_CLASS
    assert (one.start, one.subject, one.probabilities) == (7.0, "1", None)


@pytest.mark.parametrize("shape", [(5, 5), (4, 4), (5,)])
def test_probabilities_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    codes = np.zeros(5, dtype=np.int8)
    with pytest.raises(DataError, match=r"probabilities have shape .*, expected \(5, 4\)"):
        Hypnogram(0.0, codes, FOUR_CLASS, np.zeros(shape, dtype=np.float32))


# Merging


@given(
    p=npst.arrays(np.float32, (6, 5), elements=st.floats(0, 1, width=32)),
    codes=npst.arrays(np.int8, 6, elements=st.integers(-1, 4)),
    scheme=st.sampled_from(list(SCHEMES.values())),
)
def test_merging_adds_probabilities_and_keeps_decisions(p: Any, codes: Any, scheme: Scheme) -> None:
    fine = Hypnogram(5.0, codes, FIVE_CLASS, p, "46343", simulated=True)
    coarse = fine.merge(scheme)
    assert coarse.probabilities is not None
    for code, members in enumerate(scheme.members):
        parts = [i for i, group in enumerate(FIVE_CLASS.members) if group <= members]
        assert coarse.probabilities[:, code] == pytest.approx(p[:, parts].sum(axis=1), abs=1e-6)
        assert np.array_equal(coarse.codes == code, np.isin(codes, parts))
    assert np.array_equal(coarse.codes == -1, codes == -1)
    assert (coarse.start, coarse.subject, coarse.simulated) == (5.0, "46343", True)


def test_one_decision_is_reported_in_all_schemes() -> None:
    # Sleep has 0.6 altogether, but the decision was wake.
    p = np.array([[0.4, 0.3, 0.2, 0.1]], dtype=np.float32)
    coarse = Hypnogram(0.0, np.zeros(1, dtype=np.int8), FOUR_CLASS, p).merge(TWO_CLASS)
    assert coarse.stages.tolist() == ["wake"]


def test_merging_leaves_the_finer_night_alone() -> None:
    one = night()
    assert one.probabilities is not None
    before = one.probabilities.copy()
    one.merge(TWO_CLASS)
    assert np.array_equal(one.probabilities, before, equal_nan=True)


def test_a_night_can_not_be_split_finer() -> None:
    with pytest.raises(DataError, match="'light' of four_class"):
        night().merge(FIVE_CLASS)


# Tables and files


def test_the_table_has_a_row_an_epoch_and_a_column_a_class() -> None:
    frame = night().to_frame()
    probabilities = ["p_wake", "p_light", "p_deep", "p_rem"]
    assert frame.columns == ["time", "stage", *probabilities, "confidence"]
    assert frame["stage"].to_list() == ["wake", "light", "unscored", "deep", "rem"]
    assert frame["p_light"][1] == pytest.approx(0.7)


def test_reasons_go_with_the_night(tmp_path: Path) -> None:
    one = replace(night(), reasons=np.array([0, 0, 1, 0, 0], dtype=np.int8))
    expected = ["", "", "not_worn", "", ""]
    for same in (one, one.merge(TWO_CLASS), one.decide({"rem": 2})):
        assert same.reason_names.tolist() == expected
        assert same.to_frame()["reason"].to_list() == expected
        assert (same.statistics().not_worn, same.statistics().no_data) == (0.5, 0)
    assert night().reason_names.tolist() == [""] * 5
    for name in ("one.csv", "one.json", "one.parquet"):
        one.save(tmp_path / name)
        assert [why or "" for why in read(tmp_path / name)["reason"]] == expected
    with pytest.raises(DataError, match=r"reasons have shape \(4,\), expected \(5,\)"):
        replace(one, reasons=np.zeros(4, dtype=np.int8))


def test_an_experts_table_has_no_probabilities() -> None:
    frame = Hypnogram.from_stages([Stage.WAKE]).to_frame()
    assert frame.columns == ["time", "stage"]


def read(path: Path) -> pl.DataFrame:
    if path.suffix == ".csv":
        return pl.read_csv(path)
    if path.suffix == ".parquet":
        return pl.read_parquet(path)
    return pl.DataFrame(json.loads(path.read_text())["epochs"])


def probability_columns(frame: pl.DataFrame) -> list[str]:
    return [name for name in frame.columns if name.startswith("p_")]


def test_unix_time_is_told_as_clocks_showed_it_too() -> None:
    autumn = 1729984500  # 2024-10-27 01:15 in Berlin, an hour and three quarters before the change
    frame = replace(night(start=autumn), utc_offset=7200).to_frame()
    assert frame.columns[:3] == ["time", "clock", "stage"]
    assert frame["clock"][0] == "2024-10-27T01:15:00+02:00"
    assert frame["clock"][1] == "2024-10-27T01:15:30+02:00"


@pytest.mark.parametrize("ending", [".csv", ".json", ".parquet"])
@pytest.mark.parametrize("start", [0.0, UNIX_NIGHT + 0.25])
def test_a_saved_night_reads_back(tmp_path: Path, ending: str, start: float) -> None:
    path = tmp_path / f"night{ending}"
    night(start=start).save(path)
    frame = read(path)
    expected = night(start=start).to_frame().fill_nan(None)
    assert frame["time"].to_list() == expected["time"].to_list()
    assert frame["stage"].to_list() == expected["stage"].to_list()
    assert frame["confidence"][2] == 0  # unscored
    assert frame.columns == expected.columns
    for name in [*probability_columns(expected), "confidence"]:
        values = frame[name].to_list()
        assert name == "confidence" or values[2] is None
        assert values == pytest.approx(expected[name].to_list(), abs=1e-6)


def test_json_says_what_the_table_can_not(tmp_path: Path) -> None:
    night(simulated=True).save(tmp_path / "night.json")
    saved = json.loads((tmp_path / "night.json").read_text())
    del saved["epochs"]
    assert saved == {
        "subject": "46343",
        "simulated": True,
        "epoch_seconds": 30,
        "scheme": "four_class",
        "classes": ["wake", "light", "deep", "rem"],
    }


@pytest.mark.parametrize("ending", [".csv", ".json", ".parquet"])
def test_every_file_of_a_simulated_night_says_so(tmp_path: Path, ending: str) -> None:
    real, made = tmp_path / f"real{ending}", tmp_path / f"made{ending}"
    night().save(real)
    night(simulated=True).save(made)
    assert real.read_bytes() != made.read_bytes()
    if ending == ".csv":
        assert "simulated" in made.read_text().lower()


@pytest.mark.parametrize("name", ["night.xlsx", "night"])
def test_an_unknown_ending_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"unknown ending .*; use one of \.csv, \.json, \.parquet"):
        night().save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [".csv", ".json", ".parquet"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "disk full"), KeyboardInterrupt()])
def test_a_failing_write_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, error: BaseException
) -> None:
    path = tmp_path / f"night{ending}"
    path.write_text("old")

    def fail(_: object, temporary: Path, *args: Any, **kwargs: Any) -> None:
        temporary.write_bytes(b"half")
        raise error

    def fail_json(temporary: Path, text: str, **_: Any) -> None:
        temporary.write_bytes(text.encode()[:40])
        raise error

    monkeypatch.setattr(pl.DataFrame, "write_csv", fail)
    monkeypatch.setattr(pl.DataFrame, "write_parquet", fail)
    monkeypatch.setattr("pathlib.Path.write_text", fail_json)
    with pytest.raises(type(error)):
        night().save(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# Pictures


def drawn(figure: Figure, row: int) -> dict[str, tuple[float, list[int]]]:
    """Height of each class's label and the epochs (in order) drawn in its colour."""
    from matplotlib.colors import to_hex
    from matplotlib.patches import StepPatch

    axis = figure.axes[row]
    heights = {label.get_text(): label.get_position()[1] for label in axis.get_yticklabels()}
    bars: dict[str, list[int]] = {}
    for steps in axis.patches:
        if not isinstance(steps, StepPatch) or steps.get_fill():
            continue
        colour = to_hex(steps.get_edgecolor())
        name = next(name for name in heights if STAGE_COLOURS[name] == colour)
        values, edges, _ = steps.get_data()
        np.testing.assert_allclose(edges * 120, np.arange(len(values) + 1))
        bars[name] = np.flatnonzero(~np.isnan(values)).tolist()
        assert set(values[bars[name]]) <= {heights[name]}
    return {name: (height, bars[name]) for name, height in heights.items()}


@pytest.mark.parametrize(
    ("scheme", "top_down"),
    [
        (FIVE_CLASS, ["wake", "rem", "n1", "n2", "n3"]),
        (FOUR_CLASS, ["wake", "rem", "light", "deep"]),
        (SCHEMES["three_class"], ["wake", "rem", "nrem"]),
        (TWO_CLASS, ["wake", "sleep"]),
    ],
)
def test_wake_is_on_top_rem_below_it_and_deep_sleep_at_the_bottom(
    scheme: Scheme, top_down: list[str]
) -> None:
    one = Hypnogram.from_stages([0, 1, 2, 3, 5]).merge(scheme)
    lanes = drawn(one.plot(), 0)
    assert sorted(lanes, key=lambda name: -lanes[name][0]) == top_down


def test_each_epoch_is_drawn_in_its_lane() -> None:
    codes = np.array([0, 0, 1, -1, 2, 3, 1], dtype=np.int8)
    lanes = drawn(Hypnogram(0.0, codes, FOUR_CLASS).plot(), 0)
    assert {name: bars for name, (_, bars) in lanes.items()} == {
        "wake": [0, 1],
        "light": [2, 6],
        "deep": [4],
        "rem": [5],
    }


def test_unscored_epochs_are_greyed(tmp_path: Path) -> None:
    from matplotlib.patches import StepPatch

    one = night()
    figure = one.plot()
    patches = [one for one in figure.axes[0].patches if isinstance(one, StepPatch)]
    (shade,) = [patch for patch in patches if patch.get_fill()]
    values, edges, _ = shade.get_data()
    assert np.flatnonzero(values).tolist() == [2]
    np.testing.assert_allclose(edges * 120, np.arange(len(one) + 1))
    save_figure(figure, tmp_path / "night.png")
    assert (tmp_path / "night.png").read_bytes().startswith(b"\x89PNG")


def test_the_hypnodensity_stacks_to_one() -> None:
    drawn = night()
    axis = drawn.plot().axes[-1]
    bands = {str(band.get_label()): band.get_paths() for band in axis.collections}
    assert list(bands) == ["deep", "light", "rem", "wake"]
    heights = np.arange(0.0005, 1, 0.001)
    middles = (drawn.times + 15) / 3600
    assert drawn.probabilities is not None
    for x, shares in zip(middles, drawn.probabilities, strict=True):
        covered = {
            name: np.any(
                [path.contains_points([(x, y) for y in heights]) for path in paths], axis=0
            )
            for name, paths in bands.items()
        }
        layers = np.sum(list(covered.values()), axis=0)
        assert (layers == (0 if np.isnan(shares[0]) else 1)).all()
        for name, share in zip(drawn.scheme.classes, np.nan_to_num(shares), strict=True):
            assert covered[name].mean() == pytest.approx(share, abs=0.002)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_pictures_of_simulated_nights_say_so_and_others_do_not() -> None:
    assert "SIMULATED" in texts(night(simulated=True).plot())
    assert "SIMULATED" not in texts(night().plot())


def test_the_experts_night_is_shown_in_the_same_classes() -> None:
    expert = Hypnogram.from_stages([0, 1, 2, 3, 5], subject="46343")
    figure = night().plot(reference=expert)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["scored", "predicted", ""]
    assert {name: bars for name, (_, bars) in drawn(figure, 0).items()} == {
        "wake": [0],
        "light": [1, 2],
        "deep": [3],
        "rem": [4],
    }


def test_the_subject_is_the_title_unless_another_is_given() -> None:
    assert night().plot().get_suptitle() == "46343"
    assert night().plot(title="my night").get_suptitle() == "my night"


def test_unix_time_is_shown_as_clock_time(tmp_path: Path) -> None:
    codes = np.zeros(960, dtype=np.int8)
    figure = Hypnogram(UNIX_NIGHT, codes, FOUR_CLASS).plot()
    save_figure(figure, tmp_path / "night.svg")
    axis = figure.axes[-1]
    labels = [label.get_text() for label in axis.get_xticklabels()]
    assert axis.get_xlabel() == "clock time (UTC)"
    assert "02:00" in labels
    assert all(len(label) == 5 and label[2] == ":" for label in labels)
    ticks = dict(zip(labels, axis.get_xticks(), strict=True))
    assert ticks["02:00"] * 86400 == pytest.approx(1_700_013_600)  # 15 November 2023, 02:00 UTC


def test_other_time_is_shown_in_hours() -> None:
    figure = Hypnogram(0.0, np.zeros(960, dtype=np.int8), FOUR_CLASS).plot()
    assert figure.axes[-1].get_xlabel() == "hours"
    assert figure.axes[-1].get_xlim() == (0, 8)


def test_a_picture_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"unknown ending '\.bmp'; use one of \.png, \.svg, \.pdf"):
        save_figure(night().plot(), tmp_path / "night.bmp")


def test_without_matplotlib_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def hide(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return found(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "matplotlib.figure", raising=False)
    monkeypatch.setattr(builtins, "__import__", hide)
    with pytest.raises(MissingExtraError, match=r"drawing needs .*sleepstage\[plot\]"):
        night().plot()
