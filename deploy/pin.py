"""Write what the images install, in the versions that were tested: those of this environment.

Run it with the environment that the tests have passed in: ``.venv/bin/python deploy/pin.py``.
"""

from __future__ import annotations

import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator

_HERE: Final = Path(__file__).parent
_IMAGES: Final = {"serve": ("serve",), "train": ("train", "score", "edf")}


def direct(project: dict[str, Any], extra: str) -> Iterator[Requirement]:
    """Yield what the package with an extra needs itself."""
    for text in project["dependencies"] + project["optional-dependencies"][extra]:
        requirement = Requirement(text)
        if requirement.name == project["name"]:
            for other in requirement.extras:
                yield from direct(project, other)
        else:
            yield requirement


def add(requirement: Requirement, found: dict[str, str]) -> None:
    """Add the name and version of a requirement, and of all that it needs, to `found`."""
    installed = distribution(requirement.name)
    # A build's own mark, as +cpu, is for the index to choose.
    found[canonicalize_name(requirement.name)] = installed.version.partition("+")[0]
    for text in installed.requires or ():
        one = Requirement(text)
        extras = ("", *requirement.extras)
        wanted = one.marker is None or any(
            one.marker.evaluate({"extra": extra}) for extra in extras
        )
        if wanted and (canonicalize_name(one.name) not in found or one.extras):
            add(one, found)


def main() -> None:
    """Write one file for each image."""
    project = tomllib.loads((_HERE.parent / "pyproject.toml").read_text())["project"]
    for image, extras in _IMAGES.items():
        found: dict[str, str] = {}
        for requirement in (one for extra in extras for one in direct(project, extra)):
            add(requirement, found)
        package = f"sleepstage[{','.join(extras)}]"
        lines = [f"# Written by deploy/pin.py: what {package} was tested with."]
        lines += [f"{name}=={version}" for name, version in sorted(found.items())]
        (_HERE / f"{image}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
