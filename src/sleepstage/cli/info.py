"""sleepstage info: what a model file is, was trained on, and how well it did."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from sleepstage._utils.files import check_ending, keep_apart, write_json
from sleepstage.cli.console import console, number, simulated_banner, table
from sleepstage.engine.stager import Stager, load_model

_File = click.Path(path_type=Path)


@click.command()
@click.argument("model", default="live")
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
@click.option("--out", type=_File, help="Write all of it to this .json file.")
def info(model: str, out: Path | None, *, as_json: bool) -> None:
    """Describe MODEL: live, live-int8, night, heart-rate, or a file.

    With --json or --out: features, classes, data and their licence, results, and all that a
    program in another language needs beside the file to run it (docs/edge.md).
    """
    keep_apart([out], [Path(model)])
    stager = load_model(model)
    description = {**json.loads(stager.info.to_json()), "classes": stager.scheme.classes}
    if out is not None:
        check_ending(out, (".json",))
        write_json(out, description)
        console.print(f"description of {model}: {out}")
    elif as_json:
        click.echo(json.dumps(description, indent=1))
    else:
        table(f"model {model}", ["", ""], _summary(stager), n_words=2)


def _summary(stager: Stager) -> list[tuple[str, str]]:
    about = stager.info
    features = f"{len(about.features)}, among them {', '.join(about.features[:3])}"
    rows = {
        "stages": "recordings" if about.whole_night else "epochs as they end, and recordings",
        "classes": ", ".join(stager.scheme.classes),
        "features": features,
        "data": about.data.get("name"),
        "people": str(about.data.get("people", "")),
        "licence": about.data.get("licence"),
        "attribution": about.data.get("attribution"),
        "results": _results(about.metrics.get(stager.scheme.name, {})),
        "written by": f"sleepstage {about.version}" if about.version else "",
    }
    if about.simulated:
        simulated_banner()
    return [(name, text) for name, text in rows.items() if text]


def _results(metrics: Mapping[str, Any]) -> str:
    """Of one run on its test people or, in the models of the package, means over folds."""
    found = {name: metrics.get(name) for name in ("accuracy", "kappa", "macro_f1")}
    means = {
        name: one["mean"] if isinstance(one, dict) else one for name, one in found.items() if one
    }
    return ", ".join(f"{name.replace('_', ' ')} {number(one)}" for name, one in means.items())
