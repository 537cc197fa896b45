"""Does what `docker build` and `docker run` would do, in a folder: tests have no Docker.

The very commands of the Dockerfile are run, with its paths moved into the folder, an environment
with nothing in it but what the Dockerfile says (and how pip finds packages here), and, for root,
as the user that it names, without any capability. Every stage has its own tree, and gets from the
build context what `.dockerignore` lets through, so that what a `COPY` forgets is missing.

``python -m tests.helpers.docker_rehearsal train sleepstage info`` builds a target
and runs a command.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Template
from typing import Final

ROOT: Final = Path(__file__).parents[2]
OURS: Final = re.compile(r"(?<![\w./$])/(?=(?:opt|src|data|work)\b)")
"""Where a path of the image begins; the others are this machine's, as /usr/bin."""


@dataclass(frozen=True)
class Stage:
    """A stage of a Dockerfile: what it is built from, and its instructions."""

    name: str
    base: str
    instructions: Sequence[tuple[str, str]]


def read_dockerfile(text: str) -> dict[str, Stage]:
    """Stages by name, in order."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in filter(None, map(str.strip, joined.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()  # type: ignore[union-attr]
            stages.append(Stage(name, Template(base).substitute(arguments), []))
        elif not stages:
            arguments |= dict([rest.split("=")])
        else:
            stages[-1] = replace(
                stages[-1], instructions=[*stages[-1].instructions, (word, rest.strip())]
            )
    return {stage.name: stage for stage in stages}


def build_context(root: Path = ROOT) -> list[str]:
    """Files that Docker would be given, relative to `root`."""
    rules = [
        (line.removeprefix("!"), not line.startswith("!"))
        for line in (root / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    skipped = {".venv", ".git", "node_modules", "runs", "data"}  # large, and looked at by their top
    found = []
    for folder, folders, names in os.walk(root):
        at = Path(folder).relative_to(root)
        if at == Path():
            found += [name for name in skipped & set(folders) if not _ignored(name, rules)]
            folders[:] = [name for name in folders if name not in skipped]
        found += [path for name in names if not _ignored(path := (at / name).as_posix(), rules)]
    return sorted(found)


def _ignored(path: str, rules: Sequence[tuple[str, bool]]) -> bool:
    """Of the rules that fit a path or a folder above it, the last one tells."""
    parts = path.split("/")
    above = ["/".join(parts[: length + 1]) for length in range(len(parts))]
    verdict = False
    for pattern, ignore in rules:
        anywhere = pattern.removeprefix("**/")
        places = parts if anywhere != pattern else above
        if any(fnmatch.fnmatchcase(place, anywhere) for place in places):
            verdict = ignore
    return verdict


@dataclass(frozen=True)
class Image:
    """What a stage has come to: a tree, and how it is run."""

    root: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str = "/"

    def moved(self, text: str) -> str:
        """Its paths, where they lie on this machine."""
        return OURS.sub(f"{self.root}/", text)

    def run(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a command as `docker run` would."""
        return subprocess.Popen(
            [*self._as_user(), *map(self.moved, command)],
            cwd=self.moved(self.folder),
            env=self.variables(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def variables(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Its environment."""
        said = {**self.environment, **(more or {})}
        return {name: self.moved(value) for name, value in said.items()}

    def _as_user(self) -> list[str]:
        if os.getuid() != 0:
            return []  # only root can become another
        user, _, group = self.settings["USER"].partition(":")
        rights = ["--no-new-privs", "--inh-caps=-all", "--bounding-set=-all", "--clear-groups"]
        return ["setpriv", f"--reuid={user}", f"--regid={group}", *rights]

    def words(self, name: str) -> list[str]:
        """Words of CMD or HEALTHCHECK, which are written as JSON."""
        words: list[str] = json.loads(self.settings[name][self.settings[name].index("[") :])
        return words


class Rehearsal:
    """Builds targets of a Dockerfile in a folder of its own, which others may look into."""

    def __init__(self, dockerfile: Path = ROOT / "Dockerfile") -> None:
        python = usable_python()
        self.folder = Path(tempfile.mkdtemp(prefix="sleepstage-image-"))
        self.folder.chmod(0o755)
        self.root = self.folder / "root"
        self.stages = read_dockerfile(dockerfile.read_text())
        self.python = self.folder / "python"
        subprocess.run([python, "-m", "venv", self.python], check=True)

    def close(self) -> None:
        """Remove all that was built."""
        shutil.rmtree(self.folder)

    def build(self, target: str) -> Image:
        """Build a stage; what it copies from is built before."""
        stage = self.stages[target]
        for other in re.findall(r"--from=(\S+)", " ".join(rest for _, rest in stage.instructions)):
            if not self._tree(other).exists():
                self.build(other)
                self.root.rename(self._tree(other))
        if stage.base in self.stages:
            image = self.build(stage.base)
        else:
            self.root.mkdir()
            path = f"{self.python}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/bin"
            image = Image(self.root, environment={"PATH": path})
        arguments = _pip_settings()
        for word, rest in stage.instructions:
            image = self._do(image, word, rest, arguments)
        return image

    def _tree(self, stage: str) -> Path:
        return self.folder / f"stage-{stage}"

    def _do(self, image: Image, word: str, rest: str, arguments: dict[str, str]) -> Image:
        if word == "RUN":
            self._run(image, rest, arguments)
        elif word == "COPY":
            self._copy(image, shlex.split(rest))
        elif word == "ARG":
            name, _, value = rest.partition("=")
            arguments[name] = os.environ.get(name, value)
        elif word == "ENV":
            pairs = dict(pair.split("=", 1) for pair in shlex.split(rest))
            said = {n: Template(v).substitute(image.environment) for n, v in pairs.items()}
            return replace(image, environment={**image.environment, **said})
        elif word == "WORKDIR":
            Path(image.moved(rest)).mkdir(parents=True, exist_ok=True)
            return replace(image, folder=rest)
        else:
            return replace(image, settings={**image.settings, word: rest})
        return image

    def _run(self, image: Image, command: str, arguments: Mapping[str, str]) -> None:
        if os.getuid() != 0:  # who is not root can't give files away, and runs all by itself
            command = re.sub(r"--(?:owner|group)=\d+ ", "", command)
        done = subprocess.run(
            ["/bin/sh", "-euc", image.moved(command)],
            cwd=image.moved(image.folder),
            env={**image.variables(), **arguments},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            msg = f"RUN {command}: {done.stdout}{done.stderr}"
            raise RuntimeError(msg)

    def _copy(self, image: Image, words: list[str]) -> None:
        source = words[0].removeprefix("--from=") if words[0].startswith("--from=") else None
        *names, to = words[1:] if source else words
        target = Path(
            image.moved(to) if to.startswith("/") else image.moved(image.folder) + f"/{to}"
        )
        if source:
            tree = self._tree(source) / names[0][1:]
            shutil.copytree(tree, target, symlinks=True, dirs_exist_ok=True)
            return
        context = build_context()
        for name in names:
            files = [path for path in context if path == name or path.startswith(f"{name}/")]
            if not files:
                msg = f"COPY {name}: not in the build context"
                raise RuntimeError(msg)
            for path in files:
                inside = Path(path).relative_to(name) if path != name else Path(Path(path).name)
                (target / inside).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / path, target / inside)


def usable_python() -> str:
    """This Python, or another that any user may run."""
    for candidate in (sys._base_executable, "/usr/local/bin/python3", "/usr/bin/python3"):  # type: ignore[attr-defined]
        path = Path(candidate).resolve()
        if path.exists() and (os.getuid() != 0 or _open_to_all(path)):
            return str(candidate)
    msg = "no Python that another user than root may run"
    raise RuntimeError(msg)


def _open_to_all(path: Path) -> bool:
    return all(one.stat().st_mode & 0o001 for one in (path, *path.parents))


def _pip_settings() -> dict[str, str]:
    """How pip finds packages on this machine; a build gets no other variable from it."""
    names = ("PIP_", "SSL_CERT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    return {name: value for name, value in os.environ.items() if name.upper().startswith(names)}


def main(target: str, *command: str) -> Iterator[str]:
    """Build a target, run a command in it, and yield what it says."""
    rehearsal = Rehearsal()
    try:
        image = rehearsal.build(target)
        process = image.run(command or image.words("CMD"))
        yield from process.stdout or ()
        yield f"exit status {process.wait()}\n"
    finally:
        rehearsal.close()


if __name__ == "__main__":
    for line in main(*sys.argv[1:]):
        sys.stdout.write(line)
