"""Write docs/features.md from the table in the code: ``make docs``."""

from __future__ import annotations

from research import DOCS
from sleepstage.engine.features import SUMMARIES, TRACE
from sleepstage.ml.config import DEFAULT_FEATURES

PAGE = DOCS / "features.md"

HEAD = """\
<!-- Written by `make docs`; edit src/sleepstage/engine/features.py in its place. -->
# Features

One row per 30 s epoch, made at the epoch's end from what was known by then, in
`sleepstage/engine/features.py`. What is not known is NaN, which the network
can see. *m* is minutes looked back, *h* hours; a *log* is
`log(1 + value)` but for posture, which is `log(value + 0.001 g)`. The default model
uses those marked ●; the others were measured not to help on people not trained on
([approach](approach.md)). `hr_overdue` and the drifts decide whether the watch is worn
([live](live.md#not-worn-no-data)).

| | name | from | unit | what it is for |
|---|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    rows = [
        f"| {'●' if feature.name in DEFAULT_FEATURES else ''} | `{feature.name}` "
        f"| {feature.signal.replace('_', ' ')} | {feature.unit} | {feature.reason} |\n"
        for feature in SUMMARIES
    ]
    first, last = TRACE[0], TRACE[-1]
    rows.append(
        f"| ● | `{first.name}` to `{last.name}` | {first.signal.replace('_', ' ')} | {first.unit} "
        f"| {first.reason} |\n"
    )
    return HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
