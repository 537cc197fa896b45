from __future__ import annotations

import io
import math
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from research.study_plots import plot_ablation, plot_learning_curve
from sleepstage.evaluation.report.pictures import (
    RemChoice,
    plot_bland_altman,
    plot_certainty,
    plot_confusion,
    plot_curves,
    plot_models,
    plot_people,
    plot_reliability,
    plot_rem_trade_off,
)
from sleepstage.evaluation.schema import (
    BlandAltman,
    CertaintyPoint,
    Curve,
    Estimate,
    Numbers,
    Reliability,
    RemPoint,
    Spread,
)
from sleepstage.plotting import STAGE_COLOURS, drawable

CLASSES = ("wake", "light", "deep", "rem")
NOTHING = Estimate(mean=None, std=None, low=None, high=None, n=0)


def estimate(mean: float, reach: float = 0.1) -> Estimate:
    return Estimate(mean, std=0.2, low=mean - reach, high=mean + reach, n=9)


def texts(figure: Figure, panel: int = 0) -> list[str]:
    return [text.get_text() for text in figure.axes[panel].texts]


def names(figure: Figure, panel: int = 0) -> list[str]:
    return [label.get_text() for label in figure.axes[panel].get_yticklabels()]


def line(figure: Figure, label: str, panel: int = 0) -> Line2D:
    """The one line of a panel whose label starts so."""
    (found,) = [
        each for each in figure.axes[panel].lines if str(each.get_label()).startswith(label)
    ]
    return found


def xs(drawn: Line2D) -> list[float]:
    return np.asarray(drawn.get_xdata(), dtype=np.float64).tolist()  # type: ignore[no-any-return]


def ys(drawn: Line2D) -> list[float]:
    return np.asarray(drawn.get_ydata(), dtype=np.float64).tolist()  # type: ignore[no-any-return]


def xy(drawn: Line2D) -> list[tuple[float, float]]:
    return list(zip(xs(drawn), ys(drawn), strict=True))


def points(figure: Figure, panel: int = 0) -> list[list[float]]:
    """Places of the markers in a panel."""
    drawn = [each for each in figure.axes[panel].lines if each.get_marker() not in ("None", "")]
    return [np.column_stack(each.get_data()).ravel().tolist() for each in drawn]


def test_confusion_shows_epochs_and_shares_of_rows() -> None:
    figure = plot_confusion([[3, 1, 0, 0], [0, 6, 2, 0], [0, 0, 0, 0], [0, 0, 0, 5]], CLASSES)
    assert texts(figure, 0)[:6] == ["3", "1", "0", "0", "0", "6"]
    assert texts(figure, 1)[:6] == ["0.75", "0.25", "0.00", "0.00", "0.00", "0.75"]
    assert texts(figure, 1)[8:12] == ["-"] * 4  # nobody was in deep sleep
    assert names(figure) == list(CLASSES)
    assert figure.axes[0].get_ylabel() == "expert"


def test_curves_are_drawn_in_the_colour_of_their_class() -> None:
    roc = {"rem": Curve([0.0, 0.2, 1.0], [0.0, 0.9, 1.0], 0.85), "deep": None}
    recalls = {"rem": Curve([0.0, 1.0], [1.0, 0.3], 0.7), "deep": None}
    figure = plot_curves(roc, recalls, shares={"rem": 0.3, "deep": None})
    drawn = line(figure, "rem: area 0.850")
    assert xy(drawn) == [(0, 0), (0.2, 0.9), (1, 1)]
    assert to_hex(drawn.get_color()) == STAGE_COLOURS["rem"]
    assert xy(line(figure, "rem: average precision 0.700", 1)) == [(0, 1), (1, 0.3)]
    assert ys(figure.axes[1].lines[0]) == [0.3, 0.3]
    assert len(figure.axes[0].lines) == 2  # the diagonal and one class


def test_curves_of_no_class_at_all() -> None:
    figure = plot_curves({"rem": None}, {"rem": None}, shares={})
    assert figure.axes[0].get_legend() is None


def test_reliability_leaves_empty_bins_open_and_counts_epochs() -> None:
    figure = plot_reliability(
        Reliability(
            edges=[0.0, 0.5, 1.0],
            confidence=[None, 0.8],
            accuracy=[None, 0.6],
            n_epochs=[0, 7],
            expected_calibration_error=0.2,
        )
    )
    x, y = xs(line(figure, "the model")), ys(line(figure, "the model"))
    assert np.isnan(x[0])
    assert (x[1], y[1]) == (0.8, 0.6)
    (steps,) = figure.axes[1].patches
    assert steps.get_data().values.tolist() == [0, 7]  # type: ignore[attr-defined]
    assert "0.200" in figure.axes[0].get_title(loc="left")


def test_certainty_is_drawn_against_the_share_set_aside() -> None:
    figure = plot_certainty(
        [
            CertaintyPoint(0.0, 100, certainty=0.1, accuracy=0.7, kappa=0.5),
            CertaintyPoint(0.5, 50, certainty=0.6, accuracy=0.9, kappa=None),
        ]
    )
    assert xy(line(figure, "accuracy")) == [(0, 0.7), (0.5, 0.9)]
    kappas = ys(line(figure, "kappa"))
    assert kappas[0] == 0.5
    assert np.isnan(kappas[1])
    formatter = figure.axes[0].xaxis.get_major_formatter()
    assert formatter(0.05, 0) == "5 %"


def rem_point(factor: float, recall: float | None) -> RemPoint:
    return RemPoint(factor, recall, 0.6, accuracy=0.7 - factor / 100, kappa=None, macro_f1=0.5)


def test_rem_trade_off_marks_the_plain_and_the_chosen_point() -> None:
    figure = plot_rem_trade_off(
        [rem_point(0.5, 0.4), rem_point(1.0, 0.6), rem_point(2.0, 0.8)],
        operating_point=RemChoice(factor=1.5, recall=0.7, accuracy=0.68),
    )
    assert ys(line(figure, "REM recall")) == [0.4, 0.6, 0.8]
    assert np.isnan(ys(line(figure, "kappa"))).all()
    plain, chosen = line(figure, "most probable class", 1), line(figure, "operating point", 1)
    assert xy(plain)[0] == pytest.approx((0.6, 0.69))
    assert xy(chosen) == [(0.7, 0.68)]
    assert [xs(each) for each in figure.axes[0].lines[-2:]] == [[1, 1], [1.5, 1.5]]


def test_rem_trade_off_without_an_operating_point() -> None:
    figure = plot_rem_trade_off([rem_point(2.0, None)])
    assert figure.axes[1].get_legend() is None


PEOPLE: dict[str, dict[str, float | None]] = {
    "good": {"kappa": 0.8, "accuracy": 0.9},
    "none": {"kappa": None, "accuracy": 0.5},
    "bad": {"kappa": -0.1, "accuracy": 0.4},
}


def test_people_of_one_model_are_sorted_by_kappa() -> None:
    figure = plot_people({"m": PEOPLE})
    assert [t.get_text() for t in figure.axes[1].get_xticklabels()] == ["bad", "good", "none"]
    kappas, accuracies = (ys(axis.lines[0]) for axis in figure.axes)
    assert kappas[:2] == [-0.1, 0.8]
    assert np.isnan(kappas[2])
    assert accuracies == [0.4, 0.9, 0.5]
    assert ys(line(figure, "mean 0.350")) == [pytest.approx(0.35)] * 2


def test_many_people_are_not_named() -> None:
    crowd = {str(number): PEOPLE["good"] for number in range(61)}
    figure = plot_people({"m": crowd})
    assert figure.axes[1].get_xticklabels() == []
    assert len(ys(figure.axes[1].lines[0])) == 61


def test_people_of_several_models_lie_in_their_model_s_row() -> None:
    figure = plot_people({"first": PEOPLE, "second": {"x": {"kappa": 0.3, "accuracy": 0.6}}})
    assert names(figure) == ["first", "second"]
    clouds = [each for each in figure.axes[0].lines if each.get_marker() == "o"]
    assert [sorted(xs(each)) for each in clouds] == [[-0.1, 0.8], [0.3]]
    for row, cloud in enumerate(clouds):
        assert np.abs(np.asarray(cloud.get_ydata()) - row).max() < 0.3
    bottom, top = figure.axes[0].get_ylim()
    assert bottom > top  # the first model on top


def test_people_none_of_whom_has_a_number() -> None:
    nobody: dict[str, Numbers] = {"x": {"kappa": None, "accuracy": None}}
    assert "mean" not in str(plot_people({"m": nobody}).axes[0].lines[0].get_label())
    assert names(plot_people({"m": nobody, "n": nobody})) == ["m", "n"]


def test_models_are_drawn_with_their_interval_and_hollow_unless_live() -> None:
    models = {
        "live one": {"kappa": estimate(0.5), "accuracy": estimate(0.7)},
        "late one": {"kappa": estimate(0.6), "accuracy": NOTHING},
    }
    figure = plot_models(models, live={"live one": True, "late one": False})
    assert names(figure) == ["live one", "late one"]
    assert points(figure) == [[0.5, 0], [0.6, 1]]
    low, high = figure.axes[0].collections[0].get_segments()[0][:, 0]  # type: ignore[attr-defined]
    assert (low, high) == (pytest.approx(0.4), pytest.approx(0.6))
    faces = [each.get_markerfacecolor() for each in figure.axes[0].lines]
    assert faces[1] == "white" != faces[0]
    assert "whole night" in figure.axes[0].get_title(loc="left")
    assert math.isnan(points(figure, 1)[1][0])
    assert plot_models(models, live=dict.fromkeys(models, True)).axes[0].get_title(loc="left") == ""


def test_ablation_leaves_out_the_default_and_tells_by_colour_what_is_sure() -> None:
    figure = plot_ablation(
        {"default": None, "worse": estimate(-0.3), "same": estimate(0.05), "better": estimate(0.3)}
    )
    assert names(figure) == ["worse", "same", "better"]
    assert points(figure) == [[-0.3, 0], [0.05, 1], [0.3, 2]]
    colours = [each.get_color() for each in figure.axes[0].lines[1:]]
    assert len(set(colours)) == 3
    assert xs(figure.axes[0].lines[0]) == [0, 0]
    assert plot_ablation({"one person": replace(estimate(-0.3), low=None, high=None)}).axes


def test_learning_curve_is_drawn_in_the_order_of_people() -> None:
    figure = plot_learning_curve([(20, Spread(0.5, 0.1)), (5, Spread(0.3, None))])
    assert points(figure) == [[5, 0.3, 20, 0.5]]
    assert figure.axes[0].get_ylabel() == "kappa, ± 1 std over runs"
    assert plot_learning_curve([(5, Spread(None, None))]).axes


MEASURE = BlandAltman(
    people=["a", "b", "c"],
    reference=[10.0, 20.0, 30.0],
    predicted=[12.0, 21.0, 30.0],
    bias=estimate(1.0),
    lower_limit=-0.96,
    upper_limit=2.96,
    slope=-0.1,
    intercept=3.0,
    p_value=0.01,
)


def test_bland_altman_draws_differences_bias_limits_and_a_significant_slope() -> None:
    figure = plot_bland_altman({"REM (min)": MEASURE, "other (min)": replace(MEASURE, p_value=0.4)})
    assert points(figure) == [[10, 2, 20, 1, 30, 0]]
    heights = [ys(each) for each in figure.axes[0].lines]
    assert [1.0, 1.0] in heights
    assert [-0.96, -0.96] in heights
    assert [2.96, 2.96] in heights
    assert heights[-1] == pytest.approx([2.0, 0.0])
    assert to_hex(figure.axes[0].lines[1].get_color()) == STAGE_COLOURS["rem"]
    assert len(figure.axes[1].lines) == len(figure.axes[0].lines) - 1
    assert [axis.get_title(loc="left") for axis in figure.axes[:2]] == ["REM (min)", "other (min)"]
    assert not figure.axes[3].axison


def test_bland_altman_of_nobody() -> None:
    nobody = BlandAltman([], [], [], NOTHING, None, None, None, None, None)
    figure = plot_bland_altman({"x (min)": nobody})
    assert len(figure.axes[0].lines) == 2
    assert plot_bland_altman({}).axes


def test_every_picture_can_be_saved() -> None:
    figures = [
        plot_confusion([[1, 0], [0, 1]], ["wake", "sleep"]),
        plot_curves({"rem": None}, {"rem": None}, shares={}),
        plot_reliability(Reliability([0, 1], [None], [None], [0], 0.0)),
        plot_certainty([CertaintyPoint(0.0, 9, 0.1, accuracy=0.7, kappa=None)]),
        plot_rem_trade_off([rem_point(1.0, 0.5)]),
        plot_people({"m": PEOPLE}),
        plot_models({"m": {"kappa": NOTHING, "accuracy": NOTHING}}, live={"m": True}),
        plot_ablation({"v": estimate(0.1)}),
        plot_learning_curve([(5, Spread(None, None))]),
        plot_bland_altman({"REM (min)": MEASURE}),
    ]
    for figure in figures:
        figure.savefig(io.BytesIO(), format="png", dpi=40)  # layout and glyph warnings are errors


def test_any_name_can_be_drawn() -> None:
    assert drawable("cost $x_1$") == r"cost \$x_1\$"
    assert drawable("漢 é\n<b>") == "? é <b>"
    assert len(drawable("x" * 100)) == 40
    named = {"漢字 $\\frac$ {}": estimate(0.1)}
    figure = plot_ablation(named)
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    assert names(figure) == [r"?? \$\frac\$ {}"]
