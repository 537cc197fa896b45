"""Whether stages are those that the models had when made: ``python -m research.same_stages``.

Every shipped model stages every person of the sleep-accel dataset; their stages are compared by one
SHA-256, measured on the 26 people of the training part.
"""

from __future__ import annotations

import hashlib
import sys
from typing import Final

from sleepstage import available_models, load_model
from sleepstage.cli.console import console, progress_bar
from sleepstage.io.sleep_accel.read import find_data, find_subjects, read_subject

EXPECTED: Final = "719c4f568f2499befd6df7a3ebc921a65e6bb1a185dc631045813f8011ebaae8"


def main() -> None:
    """Print the digest, and exit with 1 if it is another."""
    digest, data = hashlib.sha256(), find_data(None)
    subjects = sorted(find_subjects(data), key=str)
    models = [load_model(name) for name in available_models()]
    with progress_bar("staging") as progress:
        for number, subject in enumerate(subjects):
            progress(number, len(subjects), subject)
            recording = read_subject(data, subject)
            for model in models:
                digest.update(model.predict(recording).codes.tobytes())
    found = digest.hexdigest()
    console.print(f"{len(subjects)} people, {len(models)} models: {found}")
    sys.exit(int(found != EXPECTED))


if __name__ == "__main__":
    main()
