"""Write the table of accuracy to expect into docs/my-apple-watch.md: ``make docs``."""

from __future__ import annotations

import json
from typing import Final

from research import DOCS
from sleepstage._utils.files import write_atomically
from sleepstage.batch.night import EXPECTED
from sleepstage.batch.tasks import HEART_RATE_MODEL

PAGE: Final = DOCS / "my-apple-watch.md"
BEGIN: Final = "<!-- expected -->\n"
END: Final = "<!-- /expected -->"


def table() -> str:
    """What the model for nights without motion reaches, by how often there is heart rate."""
    rows = json.loads(EXPECTED.read_text(encoding="utf-8"))[HEART_RATE_MODEL]
    lines = ["| a heart rate in | accuracy | kappa | macro F1 |", "| --- | --: | --: | --: |"]
    lines += [
        f"| {row['seconds']:g} s | {row['accuracy']:.3f} | {row['kappa']:.3f} "
        f"| {row['macro_f1']:.3f} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def page() -> str:
    """The page with the table in its place."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}"


def main() -> None:
    """Write the page anew."""
    content = page()
    with write_atomically(PAGE) as temporary:
        temporary.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
