"""sleepstage score: files of any kind in, every night in them staged."""

import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Final

import click

from sleepstage._utils.files import refuse_other_files
from sleepstage.batch.night import Summary, Wanted
from sleepstage.batch.overview import MARKS, TABLE, agreements, hours, write_overview
from sleepstage.batch.places import place
from sleepstage.batch.tasks import (
    HEART_RATE_MODEL,
    NIGHT_SECONDS,
    StagingTask,
    Work,
    find_tasks,
    score_all,
)
from sleepstage.cli.console import (
    console,
    errors,
    number,
    progress_bar,
    reading_options,
    simulated_banner,
    table,
    to_options,
    trained_banner,
)
from sleepstage.engine.stager import read_model
from sleepstage.errors import needs_extra
from sleepstage.io.registry import FORMATS

_AUTO: Final = "auto"
_SHOWN: Final = 30  # nights in the terminal; all are on the page
_SOME_FAILED: Final = 3


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--out", default="scored", help="Folder or address of results.")
@click.option(
    "--model",
    default=_AUTO,
    help="auto: night, or heart-rate where there is no motion; live, night, or a file.",
)
@click.option("--format", "format_", type=click.Choice(list(FORMATS)), help="Instead of looking.")
@reading_options
@click.option("--find-rem", is_flag=True, help="Decide at the model's operating point for REM.")
@click.option("--pictures/--no-pictures", default=True, help="Of each night.")
@click.option("--edf", is_flag=True, help="EDF+ annotations, too (needs sleepstage[edf]).")
@click.option("--annot", is_flag=True, help="Annotations for Luna, too.")
@click.option("--fhir", is_flag=True, help="Minutes of each stage as an Observation of FHIR, too.")
@click.option("--jobs", type=click.IntRange(1), help="Nights at a time; default: one a core.")
@click.option(
    "--night-seconds",
    type=click.FloatRange(min=0, min_open=True, max=1e6),
    default=NIGHT_SECONDS,
    help="A night that takes longer is reported as an error. Not enforced on a cluster or on "
    "Windows, nor while a library does not return to Python.",
)
@click.option("--cluster", metavar="ADDRESS", help="Of a Dask scheduler, to stage there.")
@click.pass_context
def score(
    ctx: click.Context,
    paths: tuple[str, ...],
    out: str,
    model: str,
    format_: str | None,
    timezone: str,
    dates: str | None,
    find_rem: bool,
    pictures: bool,
    edf: bool,
    annot: bool,
    fhir: bool,
    jobs: int | None,
    night_seconds: float,
    cluster: str | None,
) -> None:
    """Stage every night in files and folders.

    PATH is an export of Apple Health, a recording of Sensor Logger, a table, a dataset, or a folder
    of any of these; also an address as s3://bucket/folder. Its content shows what it is.

    Each night gets a folder with its hypnogram, a summary and a picture; index.html shows all of
    them, those of earlier runs included. Nights that were done before, of the same files, model and
    options, are not done again. A night that can't be staged is reported, and the others go on.
    Nothing but results of sleepstage is replaced.

    Exit status: 0 all nights staged, 3 some, 1 none.
    """
    ctx.with_resource(_ending_in_order())
    wanted = Wanted(find_rem=find_rem, pictures=pictures, edf=edf, annot=annot, fhir=fhir)
    names = ("night", HEART_RATE_MODEL) if model == _AUTO else (model,)
    models = {name: read_model(name) for name in names}
    work = Work(models, wanted, place(out), night_seconds)
    if edf:
        with needs_extra("writing EDF+", "edf"):  # it is named before the work
            import edfio  # noqa: F401
    options = to_options(timezone, dates)  # it is checked before the work
    refuse_other_files(work.out, MARKS)
    with progress_bar("reading") as progress:
        tasks, nights = find_tasks(paths, as_format=format_, options=options, on_progress=progress)
    nights += _stage(tasks, work, jobs or -1, cluster)
    page = write_overview(nights, work.out)
    _show(nights)
    console.print(f"all nights: {page}\ntable: {work.out / TABLE}")
    if all(night.error for night in nights):
        errors.print("no night could be staged", style="red")
        ctx.exit(1)
    if any(night.error for night in nights):
        ctx.exit(_SOME_FAILED)


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """On SIGTERM, leave by way of everyone who has a process to end or a file to remove."""
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(number: int, _: object) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _stage(
    tasks: Sequence[StagingTask], work: Work, jobs: int, cluster: str | None
) -> list[Summary]:
    """Summaries in the order of the tasks; logs how many were there already."""
    found: dict[str, Summary] = {}
    n_done = 0
    scored = score_all(tasks, work, jobs=jobs, cluster=cluster)
    with progress_bar("staging") as progress, closing(scored):
        for summary, done in scored:
            found[summary.night] = summary
            n_done += done
            progress(len(found), len(tasks), summary.night)
    if n_done:
        console.print(f"{n_done} of {len(tasks)} nights had been staged before")
    return [found[task.name] for task in tasks]


def _show(nights: Sequence[Summary]) -> None:
    staged = [night for night in nights if not night.error]
    if any(night.simulated for night in staged):
        simulated_banner()
    if staged:
        _show_staged(staged)
    for night in nights:
        if night.error:
            errors.print(f"not staged: {night.night}: {night.error}", style="red")


def _show_staged(staged: Sequence[Summary]) -> None:
    agreed = agreements(staged)
    columns = ["night", "asleep", "in bed", "efficiency", "light", "deep", "REM", "accuracy"]
    rows = [_row(night, agreed) for night in staged[-_SHOWN:]]
    left = f", the last {_SHOWN} of {len(staged)}" if len(staged) > _SHOWN else ""
    title = (
        f"nights{left}: h:min asleep and in bed, shares of the time asleep; accuracy, which is to "
        "be expected with such signals"
    )
    table(title, [*columns, *(f"as the {name}" for name in agreed)], rows)
    if any(night.sparse for night in staged):
        console.print("* less than half of the night could be staged: its numbers say little")
    trained_banner([night.night for night in staged if night.trained_on])
    for name, one in agreed.items():
        console.print(
            f"the same stage as the {name} in {one.accuracy:.1%} of {one.n_epochs} epochs, "
            f"kappa {number(one.kappa)}"
        )


def _row(night: Summary, compared: Iterable[str]) -> list[str]:
    statistics = night.statistics or {}
    shares = statistics["shares"]
    return [
        f"{night.night} *" if night.sparse else night.night,
        hours(statistics["total_sleep_time"]),
        hours(statistics["time_in_bed"]),
        _percent(statistics["sleep_efficiency"]),
        *(_percent(shares.get(name)) for name in ("light", "deep", "rem")),
        _percent(night.expected["accuracy"] if night.expected else None),
        *(_percent(night.agreement.get(name, {}).get("accuracy")) for name in compared),
    ]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
