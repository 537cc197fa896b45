"""Pictures. Knows arrays and stages only; the one place that knows matplotlib."""

from sleepstage.plotting.explanation import plot_explanation
from sleepstage.plotting.nights import STAGE_COLOURS, plot_night, save_figure
from sleepstage.plotting.people import plot_bland_altman, plot_models, plot_people
from sleepstage.plotting.results import (
    plot_certainty,
    plot_confusion,
    plot_curves,
    plot_reliability,
    plot_rem_trade_off,
)

__all__ = [
    "STAGE_COLOURS",
    "plot_bland_altman",
    "plot_certainty",
    "plot_confusion",
    "plot_curves",
    "plot_explanation",
    "plot_models",
    "plot_night",
    "plot_people",
    "plot_reliability",
    "plot_rem_trade_off",
    "save_figure",
]
