"""sleepstage data: fetch, check, prepare and simulate the dataset."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import click

from sleepstage.cli.console import console, number, progress_bar, simulated_banner, table
from sleepstage.io.sleep_accel.check_files import DatasetReport, Facts, Finding
from sleepstage.io.sleep_accel.read import find_data
from sleepstage.stages import FOUR_CLASS

_DEFAULT_FOLDER = "data/sleep-accel"


@click.group()
def data() -> None:
    """Fetch, check, prepare or simulate the dataset."""


@data.command()
@click.argument("directory", default=_DEFAULT_FOLDER, type=click.Path(path_type=Path))
@click.option("--subjects", help="Only these, separated by commas.")
@click.option("--no-motion", is_flag=True, help="Leave out raw motion (2 GB).")
@click.option("--mirror", help="Another address with the same files.", metavar="URL")
@click.option("--jobs", default=4, type=click.IntRange(1), help="Files at once.")
def fetch(
    directory: Path, subjects: str | None, no_motion: bool, mirror: str | None, jobs: int
) -> None:
    """Download the official files from PhysioNet to DIRECTORY; go on where it stopped."""
    from sleepstage.io.sleep_accel.download import fetch as fetch_files

    with progress_bar("fetching") as progress:
        report = fetch_files(
            directory,
            mirror=mirror,
            subjects=subjects.split(",") if subjects else None,
            motion=not no_motion,
            jobs=jobs,
            on_progress=progress,
        )
    console.print(
        f"{directory}: {len(report.downloaded)} files downloaded, "
        f"{len(report.already_there)} were there (PhysioNet sleep-accel 1.0.0, ODC-By 1.0)"
    )


@data.command()
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Everything found, as JSON.")
@click.pass_context
def check(ctx: click.Context, directory: Path | None, as_json: bool) -> None:
    """Validate every file of DIRECTORY.

    Exit status: 0 nothing found, 1 errors, 3 warnings only.
    """
    ctx.exit(check_and_show(find_data(directory), as_json=as_json))


def check_and_show(directory: Path, *, as_json: bool = False) -> int:
    """Validate the dataset, show what was found and return the exit status."""
    from sleepstage.io.sleep_accel.check import check_dataset

    with progress_bar("checking") as progress:
        report = check_dataset(directory, on_progress=progress)
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=1))
    else:
        _show_check(report)
    return report.status


def _show_check(report: DatasetReport) -> None:
    if report.simulated:
        simulated_banner()
    rows = []
    for night in report.subjects:
        found = Counter(finding.severity for finding in night.findings)
        counts = str(found["error"]), str(found["warning"])
        rows.append([*_facts_row(night.subject, night.facts), *counts])
    total = _facts_row(f"all {len(rows)}", report.totals)
    errors, warnings = report.counts["error"], report.counts["warning"]
    rows.append([*total, str(errors), str(warnings)])
    table(
        f"{report.directory}: epochs scored, share of them usable with heart rate and motion, "
        "stages, longest gaps in minutes",
        ["person", "scored", "usable", *FOUR_CLASS.classes, "hr gap", "motion", "err", "warn"],
        rows,
        simulated=report.simulated,
    )
    for night in report.subjects:
        for finding in night.findings:
            _show_finding(night.subject, finding)
    console.print(f"{errors} errors, {warnings} warnings")


def _facts_row(name: str, facts: Facts) -> list[str]:
    usable = f"{facts.n_scorable / facts.n_scored:.0%}" if facts.n_scored else "-"
    shares = [
        f"{facts.shares[stage]:.0%}" if stage in facts.shares else "-"
        for stage in FOUR_CLASS.classes
    ]
    gaps = [number(minutes, 1) for minutes in (facts.heart_rate_gap_min, facts.motion_gap_min)]
    return [name, str(facts.n_scored), usable, *shares, *gaps]


def _show_finding(who: str, finding: Finding) -> None:
    colour = "red" if finding.severity == "error" else "yellow"
    where = ""
    if finding.file is not None:
        where = f" {finding.file.name}" + (f":{finding.line}" if finding.line else "")
    console.print(finding.severity, style=colour, end=" ")
    console.print(f"{who} {finding.code}{where}: {finding.message}")


@data.command()
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@click.option("--jobs", type=click.IntRange(1), help="Nights at once; one a core by default.")
def prepare(directory: Path | None, jobs: int | None) -> None:
    """Summarise raw motion of DIRECTORY once; after that it may be deleted."""
    from sleepstage.io.sleep_accel.summarise import prepare as prepare_dataset

    directory = find_data(directory)
    with progress_bar("preparing") as progress:
        report = prepare_dataset(directory, jobs=jobs, on_progress=progress)
    console.print(
        f"{directory}: {len(report.made)} nights prepared, {len(report.kept)} up to date, "
        f"{len(report.without_motion)} without raw motion"
    )


@data.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--subjects", "n_subjects", default=20, help="Number of people.")
@click.option("--seed", default=0)
@click.option("--raw-motion", is_flag=True, help="Motion at 50 Hz in place of its summary.")
@click.option("--before", default=0.0, help="Hours of waking life before lights off.")
@click.option("--after", default=0.0, help="Hours of waking life after getting up.")
@click.option("--nap", is_flag=True, help="With a nap in the hours before.")
def simulate(directory: Path, before: float, after: float, nap: bool, **options: Any) -> None:
    """Write simulated nights to DIRECTORY in the dataset's layout."""
    from sleepstage.simulate.nights import write_dataset
    from sleepstage.simulate.waking import Day

    day = Day(before, after, nap)
    with progress_bar("simulating") as progress:
        names = write_dataset(directory, day=day, on_progress=progress, **options)
    console.print(f"{directory}: {len(names)} SIMULATED nights, {names[0]} to {names[-1]}")
