"""Write what the images install: the versions that were tested, with the hashes of their files.

Run it in the environment that the tests passed in, and let uv take PyTorch from where that has it:
``UV_TORCH_BACKEND=cpu .venv/bin/python deploy/pin.py``. It does not write torch.txt.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).parent
_PROJECT: Final = _HERE.parent / "pyproject.toml"
_IMAGES: Final = {"serve": ("serve",), "train": ("train", "score", "edf")}
_OPTIONS: Final = (
    # The images have one Python, but their rehearsal in the tests runs on any.
    *("--universal", "--python-version", "3.11"),
    *("--generate-hashes", "--no-annotate", "--no-header", "--no-emit-package", "torch"),
)


def compiled(constraints: Path, source: str, *options: str, given: str = "") -> str:
    """Return all that a source of requirements needs, as a file for pip."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", source, *options]
    command += [*_OPTIONS, "--constraint", str(constraints)]
    done = subprocess.run(command, input=given, text=True, stdout=subprocess.PIPE, check=True)  # noqa: S603
    return done.stdout


def main() -> None:
    """Write one file for each image, and one for what builds the package."""
    build = tomllib.loads(_PROJECT.read_text())["build-system"]["requires"]
    with tempfile.TemporaryDirectory() as folder:
        tested = Path(folder) / "tested.txt"
        tested.write_text("\n".join(f"{one.name}=={one.version}" for one in distributions()))
        written = {"build": compiled(tested, "-", given="\n".join(build))}
        for image, extras in _IMAGES.items():
            options = [f"--extra={extra}" for extra in extras]
            written[image] = compiled(tested, str(_PROJECT), *options)
    for name, lines in written.items():
        (_HERE / f"{name}.txt").write_text(f"# Written by deploy/pin.py.\n{lines}")


if __name__ == "__main__":
    main()
