"""sleepstage info: what a model file says of itself."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sleepstage._utils.files import keep_apart, write_json
from sleepstage.cli.console import console
from sleepstage.engine.stager import load_model

__all__ = ["info"]

_File = click.Path(path_type=Path)


@click.command()
@click.argument("model", default="live")
@click.option("--out", type=_File, help="Write to this .json file.")
def info(model: str, out: Path | None) -> None:
    """Say what MODEL is, as JSON: live, night, or a file.

    Its features, classes, data and their licence, results, and all that a program in another
    language needs beside the file to run it (docs/edge.md).
    """
    keep_apart([out], [Path(model)])
    stager = load_model(model)
    description = {**json.loads(stager.info.to_json()), "classes": stager.scheme.classes}
    if out is None:
        click.echo(json.dumps(description, indent=1))
        return
    write_json(out, description, suffixes=(".json",))
    console.print(f"what {model} says of itself: {out}")
