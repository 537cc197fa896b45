"""The command line: one thin module a verb. The only place that prints."""

import logging
from typing import Any

import click

from sleepstage import __version__
from sleepstage._utils.files import visible
from sleepstage.cli.data import data
from sleepstage.cli.evaluate import evaluate
from sleepstage.cli.info import info
from sleepstage.cli.live import live
from sleepstage.cli.predict import predict
from sleepstage.cli.run import run
from sleepstage.cli.score import score
from sleepstage.cli.serve import open_page, serve, token
from sleepstage.cli.train import train
from sleepstage.errors import SleepstageError

__all__ = ["main"]


class _Group(click.Group):
    """Turns what a user can correct into one message and exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SleepstageError as error:
            raise click.ClickException(visible(str(error))) from error
        except BrokenPipeError:
            raise  # whoever read has had enough: click ends quietly
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            msg = f"{where}{error.strerror or error}; nothing half-written was left behind"
            raise click.ClickException(visible(msg)) from error


@click.group(cls=_Group, invoke_without_command=True, context_settings={"show_default": True})
@click.version_option(__version__, prog_name="sleepstage")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Predict sleep stages (wake, light, deep, REM) from a watch's heart rate, motion and steps.

    Without a command, open a page in the browser that takes an export and shows its nights.
    """
    shown = logging.StreamHandler()
    shown.setLevel(logging.WARNING)
    logging.basicConfig(handlers=[shown], format="%(levelname)s: %(message)s", force=True)
    if ctx.invoked_subcommand is None:
        open_page()


for _verb in (run, score, predict, live, serve, token, info, data, train, evaluate):
    main.add_command(_verb)
main.add_command(score, "stage")  # experts score; both names work
