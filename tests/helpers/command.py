"""The command line, called as a user would."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from sleepstage.cli import main


def invoke(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    # A SystemExit is how a command ends; anything else would be a traceback on the screen.
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result
