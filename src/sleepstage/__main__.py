"""``python -m sleepstage`` is the command ``sleepstage``."""

from sleepstage.cli import main

main(prog_name="sleepstage")
