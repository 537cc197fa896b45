"""Write the models that come with the package, and docs/models.md: ``make models``.

The recipes that ``make results`` measured, fitted to all people at hand; the same people and
versions give the same files, byte for byte. ``make results`` must have left its numbers in
runs/results before: they are those of the recipe on people it was not fitted to, for of these
models nothing can be measured on people they know. A quarter of an hour on two cores; with names,
only those models are made.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from research import DOCS
from research.make_results import real_nights
from research.quantise import quantise
from sleepstage._utils.files import write_atomically
from sleepstage.cli.console import console, number, progress_bar
from sleepstage.engine.stager import SHIPPED_MODELS, load_model
from sleepstage.evaluation.splits import everyone
from sleepstage.ml.registry import CLASSIFIERS
from sleepstage.stages import FOUR_CLASS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sleepstage.ml.dataset import PreparedNight
    from sleepstage.ml.neural import FittedNetworks

CARD: Final = DOCS / "models.md"
RESULTS: Final = Path("runs/results/kfold/results.json")
RECIPES: Final = {
    "live": "ensemble",
    "night": "ensemble-night",
    "heart-rate": "heart-rate-night",
}
SMALL: Final = "live-int8"
SEED: Final = 0

HEAD: Final = """\
<!-- Written by `make models`, and by nothing else. -->
# Models in the package

`sleepstage.load_model()` gives *live*, for epochs as they end; `sleepstage.load_model("night")`
gives *night*, which reads a night that is over from both ends, and `load_model("heart-rate")` gives
*heart-rate*, the same for nights without motion, such as Apple Health has. *live-int8* is *live* in
weights of eight bits ({small:.2f} MB), for machines that have little room; what that costs: [real
time](realtime.md). `sleepstage info live` prints what a file holds, `--json` all of it.

"""

TAIL: Final = """
The numbers are means over ten folds by person of the same recipe, on people who were not trained on
([results](results.md)); where none stands, the recipe has changed since it was measured. The models
themselves are fitted to everybody, so nothing is left to test them on here.

**Made for** nights of adults from a watch on the wrist, whenever they begin: sleep
products, research, a picture of one's own nights. **Not made for** diagnosis or treatment: this is
no medical device.

**Trained on** {people} people of PhysioNet sleep-accel, each with one night in a sleep laboratory,
an Apple Watch on the wrist, and polysomnography scored by experts. One laboratory, one kind of
watch: nothing here shows how well they perform on others, on people with sleep disorders, with
arrhythmia, under medication, on children, in shift work or in naps. Evenings in training have drawn
movement.

**Known errors**: lying awake looks like light sleep; the share of deep sleep errs by person; at the
plain largest probability REM is missed more often than at the operating point (`--find-rem`). What
less of the signals costs: [real time](realtime.md).

**Uncertainty**: probabilities are calibrated by one temperature, on people who were left out in
turns; confidence is one less their normalised entropy.

**Made again** by `make results models`: same people, versions and kind of processor, same bytes. On
another processor sums round otherwise, and a run's kappa moves by some thousandths.

**Licence**: MIT, with this notice for the data: {attribution} ({licence}, [source]({source})).
"""


def build(nights: Sequence[PreparedNight], name: str) -> FittedNetworks:
    """Fit a recipe to everybody."""
    split = everyone([night.subject for night in nights], seed=SEED)
    with progress_bar(f"training {name}") as progress:
        fitted: FittedNetworks = CLASSIFIERS[RECIPES[name]].fit(  # type: ignore[assignment]
            nights, split.validation, on_epoch=progress
        )
    return fitted


def measured(name: str) -> dict[str, Any]:
    """Metrics of the recipe as measured by ``make results``, none if it was not."""
    if not RESULTS.exists():
        msg = f"{RESULTS} is missing: models contain the metrics of their recipe; run make results"
        raise SystemExit(msg)
    models = json.loads(RESULTS.read_text(encoding="utf-8"))["models"]
    if RECIPES[name] not in models:
        return {}
    summary = models[RECIPES[name]]["summary"]
    return {"protocol": "ten folds by person, of the recipe; means over folds", **summary}


def write(fitted: Mapping[str, FittedNetworks]) -> None:
    """Write the model files."""
    files = {}
    for name, one in fitted.items():
        split = asdict(everyone(one.info.split["train"], seed=SEED))
        files[name] = one.file(split=split, metrics=measured(name))
    if "live" in files:
        files[SMALL] = quantise(files["live"])
    for name, content in files.items():
        SHIPPED_MODELS[name].parent.mkdir(exist_ok=True)
        with write_atomically(SHIPPED_MODELS[name]) as temporary:
            temporary.write_bytes(content)
        console.print(f"{name}: {SHIPPED_MODELS[name]}")


def card() -> str:
    """The whole page, from the files as they are."""
    head = ["", *RECIPES]
    table = [head, ["---", *("--:" for _ in RECIPES)]]
    columns = [_describe(name) for name in RECIPES]
    table += [[key, *(column[key] for column in columns)] for key in columns[0]]
    lines = "".join(f"| {' | '.join(row)} |\n" for row in table)
    data = load_model().info.data
    small = SHIPPED_MODELS[SMALL].stat().st_size / 1e6
    return HEAD.format(small=small) + lines + TAIL.format(**data)


def _describe(name: str) -> Mapping[str, str]:
    content = SHIPPED_MODELS[name].read_bytes()
    info = load_model(name).info
    four, three = (info.metrics.get(name, {}) for name in ("four_class", "three_class"))
    point = info.metrics.get("operating_point", {}).get("four_class", {})

    def mean(summary: Mapping[str, Any], key: str) -> str:
        return number(summary[key]["mean"]) if summary else "not measured"

    def recall(summary: Mapping[str, Any], stage: str) -> str:
        return mean(summary and summary["recall"], stage)

    return {
        "recipe": f"`{RECIPES[name]}`",
        "size": f"{len(content) / 1e6:.2f} MB",
        "SHA-256": f"`{hashlib.sha256(content).hexdigest()[:16]}…`",
        "reads": "the past" if not info.whole_night else "the whole night",
        "four classes: accuracy": mean(four, "accuracy"),
        "four classes: kappa": mean(four, "kappa"),
        "four classes: macro F1": mean(four, "macro_f1"),
        "three classes: accuracy": mean(three, "accuracy"),
        "three classes: kappa": mean(three, "kappa"),
        **{f"{stage} found": recall(four, stage) for stage in FOUR_CLASS.classes},
        "at the operating point: accuracy": mean(point, "accuracy"),
        "at the operating point: REM found": recall(point, "rem"),
        "operating point: REM times": number(info.class_weights["rem"], 2),
        "temperature": number(info.temperature, 2),
        "written by version": info.version,
    }


def main() -> None:
    """Build the models that are named, or all, and write the card."""
    names = sys.argv[1:] or list(RECIPES)
    nights = real_nights()
    for name in names:
        measured(name)  # before the long work
    write({name: build(nights, name) for name in names})
    CARD.write_text(card(), encoding="utf-8")
    console.print(f"wrote {CARD}")


if __name__ == "__main__":
    main()
