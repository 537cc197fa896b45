"""Write docs/results.md, its pictures and the table in README.md: ``make results``.

Three evaluations: the default model on six random 90/10 splits; all models on ten folds by person;
and studies, in which one thing is changed in a single LSTM, on three other folds. 90 minutes on two
cores; what is done lies in runs/results and is not done again. With ``--shipped`` only the
models in the package and the baselines, and no studies: half as long.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sleepstage
from research import DOCS
from research.studies import STUDIES, run_studies
from research.study_report import study_sections
from sleepstage._utils.files import write_json
from sleepstage.cli.console import console, number, progress_bar
from sleepstage.evaluation.experiment import evaluate, plan
from sleepstage.evaluation.report import write_report
from sleepstage.evaluation.report.sections import sections
from sleepstage.evaluation.results import by_model, nights_of, results
from sleepstage.evaluation.run import load_nights
from sleepstage.io.sleep_accel.read import find_data
from sleepstage.ml.config import override
from sleepstage.ml.registry import CLASSIFIERS, DEFAULT
from sleepstage.plotting import save_figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sleepstage.evaluation.experiment import Task
    from sleepstage.evaluation.report.tables import Section
    from sleepstage.evaluation.schema import Results
    from sleepstage.ml.dataset import PreparedNight

OUT = Path("runs/results")
README = DOCS.parent / "README.md"
MARKER = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", re.DOTALL)
SEEDS: Final = {"holdout": 0, "kfold": 100, "studies": 200}
# Two dozen variations: one network for a fixed number of training epochs, the same for all.
LIGHT: Final = ("training_epochs=30",)
NIGHT: Final = "ensemble-night"
ALONE: Final = "heart-rate-night"
BASELINES: Final = ("logistic", "walch", "elapsed", "majority")
MODELS: Final = (
    *(DEFAULT, "lstm", NIGHT, ALONE, "boosting"),
    *BASELINES,
)

HEAD = """\
<!-- Written by `make results`, and by nothing else. -->
# Results

Version {version}, {people} people of PhysioNet sleep-accel. Split by person; epochs that an expert
scored and that have both heart rate and motion. *Live*: an epoch is predicted from data up to its
own end. How these numbers came about, and what they do not show: [approach](approach.md).
"""
LEFT_OUT: Final = """
Written with `--shipped`: the other models and the studies are left out.
"""

NOTES: Final = {
    "study": (
        "Six LSTMs, 30 training epochs, three folds by person: smaller than the models above, so "
        "that two dozen variations can be tried. Compare within a table, not with the numbers "
        "above.\n\n"
    )
}


def real_nights() -> list[PreparedNight]:
    """All nights of the dataset; documents are written of real ones only."""
    data = find_data()
    with progress_bar("reading") as progress:
        nights = load_nights(data, on_progress=progress)
    if any(night.recording.simulated for night in nights):
        msg = f"{data} is simulated: documents and models are made from real nights only"
        raise SystemExit(msg)
    return nights


def run(
    nights: Sequence[PreparedNight], tasks: Sequence[Task], name: str
) -> tuple[Results, list[Section]]:
    """Do what is not done yet; results of an evaluation, and the sections of its report."""
    with progress_bar(name) as progress:
        outcomes = evaluate(nights, tasks, OUT / name, on_run=progress)
    content = results(outcomes)
    write_json(OUT / name / "results.json", content)
    first = nights_of(next(iter(by_model(outcomes).values())))
    write_report(content, first, OUT / name, title=f"{name}: {len(nights)} people")
    console.print(f"{name}: {OUT / name}/report.html")
    return content, sections(content, first)


def markdown(found: Iterable[Section], only: Iterable[str], prefix: str) -> str:
    """Chosen sections, each followed by its pictures, which are written, too."""
    chosen = {one.name: one for one in found}
    parts = []
    for name in only:
        if name in chosen:
            parts.append(chosen[name].to_markdown())
            words = name.removeprefix("study ").replace(" ", "-")
            for index, picture in enumerate(chosen[name].pictures, start=1):
                file = f"{prefix}-{words}-{index}.png"
                save_figure(picture.figure(), DOCS / "figures" / file)
                parts.append(f"![{picture.shows}](figures/{file})\n")
    return "\n".join(parts)


def summary_table(evaluations: Mapping[str, Results]) -> str:
    """What README shows: means over runs."""
    lines = ["| | accuracy | kappa | macro F1 | REM found |", "| --- | --: | --: | --: | --: |"]
    words = {"kfold": "ten folds by person", "holdout": "six random 90/10 splits"}
    for protocol, content in evaluations.items():
        summary = content.models[DEFAULT].summary
        rows = {"live, four classes": summary.schemes["four_class"]}
        if summary.operating_point:
            point = summary.operating_point["four_class"]
            rows["live, four classes, at the operating point for REM"] = point
        rows["live, three classes"] = summary.schemes["three_class"]
        rows["live, two classes"] = summary.schemes["two_class"]
        if NIGHT in content.models:
            night = content.models[NIGHT].summary.schemes["four_class"]
            rows["whole night, four classes"] = night
        for name, one in rows.items():
            values = [one.accuracy.mean, one.kappa.mean, one.macro_f1.mean, one.rem_recall]
            cells = " | ".join(map(number, values))
            lines.append(f"| {words[protocol]}, {name} | {cells} |")
    return "\n".join(lines) + "\n"


def study_of_one_lstm(nights: Sequence[PreparedNight], people: Sequence[str]) -> list[Section]:
    """One thing changed at a time; sections of the report."""
    light = {"lstm": override(CLASSIFIERS["lstm"], LIGHT)}
    tasks = plan(people, "kfold", light, number=3, seed=SEEDS["studies"])
    with progress_bar("studies") as progress:
        title = f"studies: {len(people)} people"
        names, out = tuple(STUDIES), OUT / "studies"
        studies = run_studies(names, nights, tasks, out, title=title, on_run=progress)
    return study_sections(studies.studies)


def main() -> None:
    """Run everything, and write it down."""
    nights = real_nights()
    people = [night.subject for night in nights]
    all_of_them = "--shipped" not in sys.argv
    default = {name: CLASSIFIERS[name] for name in (DEFAULT, "lstm")[: 1 + all_of_them]}
    models = {
        name: CLASSIFIERS[name]
        for name in (MODELS if all_of_them else (DEFAULT, NIGHT, ALONE, *BASELINES))
    }
    kfold, of_kfold = run(
        nights, plan(people, "kfold", models, number=10, seed=SEEDS["kfold"]), "kfold"
    )
    holdout, of_holdout = run(
        nights, plan(people, "holdout", default, number=6, seed=SEEDS["holdout"]), "holdout"
    )
    of_studies = study_of_one_lstm(nights, people) if all_of_them else []
    (DOCS / "figures").mkdir(exist_ok=True)
    page = HEAD.format(version=sleepstage.__version__, people=len(people))
    page += "" if all_of_them else LEFT_OUT
    for title, found, prefix, only in (
        ("The first run and five more, each on a fresh random 90/10 split", of_holdout, "holdout",
         ("runs", "operating point", "failed")),
        ("Ten folds: each person tests once", of_kfold, "kfold",
         ("runs", "operating point", "confusion", "models", "people", "spread", "nights",
          "curves", "calibration", "certainty", "rem", "bland-altman", "failed")),
        ("Studies: one thing changed", of_studies, "study",
         tuple(f"study {name}" for name in STUDIES)),
    ):  # fmt: skip
        shown = markdown(found, only, prefix)
        if not shown:
            continue
        page += f"\n# {title}\n\n{NOTES.get(prefix, '')}{shown}"
    (DOCS / "results.md").write_text(page, encoding="utf-8")
    table = summary_table({"kfold": kfold, "holdout": holdout})
    README.write_text(MARKER.sub(rf"\g<1>{table}\g<2>", README.read_text()), encoding="utf-8")
    console.print(f"wrote {DOCS / 'results.md'} and the table in {README}")


if __name__ == "__main__":
    main()
