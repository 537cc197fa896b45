"""Pictures of a night. Knows arrays and stages only."""

from sleepstage.plotting.nights import STAGE_COLOURS, plot_explanation, plot_night, save_figure

__all__ = ["STAGE_COLOURS", "plot_explanation", "plot_night", "save_figure"]
