"""The images and how they are run, by what is written: there is no Docker where tests run."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from packaging.requirements import Requirement

from sleepstage.server.settings import PREFIX, Settings
from tests.helpers.docker_rehearsal import ROOT, build_context, read_dockerfile

STAGES = read_dockerfile((ROOT / "Dockerfile").read_text())
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCUMENT = (ROOT / "docs" / "docker.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SERVICE_OF = {"serve": "server", "train": "training"}
IMAGES = {"serve": ["serve"], "train": ["train", "score", "edf"]}
WITH_VALUE = {"--cap-drop", "--env", "--name", "--publish", "--security-opt", "--stop-timeout"} | {
    *("--tmpfs", "--volume")
}


def requirements(name: str) -> list[tuple[Requirement, list[str]]]:
    """What a file in deploy/ installs, with the hashes of its files."""
    found: list[tuple[Requirement, list[str]]] = []
    for line in (ROOT / "deploy" / f"{name}.txt").read_text().splitlines():
        text = line.strip().removesuffix(" \\")
        if text.startswith("--hash="):
            found[-1][1].append(text.removeprefix("--hash="))
        elif not text.startswith("#"):
            found.append((Requirement(text), []))
    return found


def pinned(name: str) -> dict[str, str]:
    """Versions that a file in deploy/ installs on this Python, by name."""
    return {
        one.name: str(one.specifier).removeprefix("==")
        for one, _ in requirements(name)
        if one.marker is None or one.marker.evaluate()
    }


def instructions(stage: str, word: str) -> list[str]:
    return [rest for one, rest in STAGES[stage].instructions if one == word]


def needed(extras: Iterable[str]) -> Iterator[Requirement]:
    """What the package with extras needs itself."""
    project = PROJECT["project"]
    texts = [*project["dependencies"]]
    for extra in extras:
        texts += project["optional-dependencies"][extra]
    for one in map(Requirement, texts):
        if one.name == project["name"]:
            yield from needed(one.extras)
        elif one.marker is None or one.marker.evaluate():
            yield one


def documented(command: str) -> list[tuple[list[tuple[str, str]], list[str]]]:
    """Options with their values, and what follows them, of each such command in the document."""
    found = []
    for line in DOCUMENT.replace("\\\n", " ").splitlines():
        if line.startswith(f"{command} "):
            words = iter(shlex.split(line.removeprefix(command), comments=True))
            options, first = [], next(words)
            while first.startswith("-"):
                options.append((first, next(words) if first in WITH_VALUE else ""))
                first = next(words)
            found.append((options, [first, *words]))
    assert found
    return found


def test_images_are_pinned_by_digest() -> None:
    digest = re.compile(r"[a-z]+:\d+\.\d+\.\d+(-[a-z]+)*@sha256:[0-9a-f]{64}")
    for stage in STAGES.values():
        assert stage.base in STAGES or digest.fullmatch(stage.base), stage.base
    assert digest.fullmatch(SERVICES["redis"]["image"])


def test_actions_are_pinned_by_commit() -> None:
    used = re.findall(r"uses: (.*)", (ROOT / ".github/workflows/ci.yml").read_text())
    assert used
    for action in used:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)


@pytest.mark.parametrize("name", ["build", "serve", "torch", "train"])
def test_packages_are_pinned_by_hash(name: str) -> None:
    assert requirements(name)
    for one, hashes in requirements(name):
        assert re.fullmatch(r"==[\w.]+", str(one.specifier)), one
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", text) for text in hashes), one


@pytest.mark.parametrize("name", IMAGES)
def test_the_package_allows_what_is_pinned(name: str) -> None:
    pins = pinned(name) | (pinned("torch") if name == "train" else {})
    for requirement in needed(IMAGES[name]):
        assert pins[requirement.name] in requirement.specifier
    (build,) = map(Requirement, PROJECT["build-system"]["requires"])
    assert pinned("build")[build.name] in build.specifier


def test_the_training_image_has_one_torch_for_the_cpu() -> None:
    assert not [one for one in pinned("train") if one.startswith(("torch", "nvidia", "triton"))]
    runs = " ".join(instructions("train-build", "RUN"))
    assert set(re.findall(r"torch==([\w.]+)", runs)) == {pinned("torch")["torch"]}


@pytest.mark.parametrize("name", IMAGES)
def test_the_source_changes_no_layer_but_its_own(name: str) -> None:
    *packages, project = [copy for copy in instructions(name, "COPY") if "--from=" in copy]
    assert project == "--from=package /src/installed /opt/venv"
    assert packages == [f"--from={name}-build /opt/venv /opt/venv"]
    for copy in instructions(f"{name}-build", "COPY"):
        assert re.fullmatch(r"(deploy/\w+\.txt )+\./", copy)


def test_pip_installs_nothing_without_its_hash() -> None:
    runs = " && ".join(run for stage in STAGES for run in instructions(stage, "RUN"))
    commands = re.findall(r"pip (?:--python \S+ )?install [^&]+", runs)
    free = [one for one in commands if "--require-hashes --requirement" not in one]
    assert len(commands) - len(free) == 4
    torch, package = sorted(free, key=lambda one: "dist/*.whl" in one)
    assert torch.split()[-1].startswith("torch==")  # is there, with its hash, from the step before
    assert "--no-deps" in package


@pytest.mark.parametrize("name", IMAGES)
def test_images_run_as_nobody_in_particular(name: str) -> None:
    (user,) = instructions(name, "USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)
    assert not instructions(name, "ADD")


@pytest.mark.parametrize("name", IMAGES)
def test_images_own_a_folder_and_declare_no_volume(name: str) -> None:
    # With VOLUME, Docker makes a volume without a name for each container, which nobody deletes.
    user, _, group = instructions(name, "USER")[0].partition(":")
    folder = {"serve": "/data", "train": "/work"}[name]
    assert instructions(name, "RUN") == [
        f"install --directory --owner={user} --group={group} {folder}"
    ]
    assert not [one for stage in STAGES for one in instructions(stage, "VOLUME")]


def test_the_default_image_serves() -> None:
    assert list(STAGES)[-1] == "serve"
    assert instructions("serve", "STOPSIGNAL") == ["SIGTERM"]
    (check,) = instructions("serve", "HEALTHCHECK")
    assert "--start-period=" in check  # without which the next has no effect
    assert "--start-interval=1s" in check
    (environment,) = instructions("serve", "ENV")
    assert f"SLEEPSTAGE_PORT={instructions('serve', 'EXPOSE')[0]}" in environment.split()


def test_data_and_history_stay_out_of_the_build() -> None:
    context = build_context()
    assert {path.split("/")[0] for path in context} == {
        *("LICENSE", "README.md", "pyproject.toml", "deploy", "src")
    }
    assert not [path for path in context if "__pycache__" in path or path.endswith(".pyc")]
    assert "src/sleepstage/engine/models/live.onnx" in context


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_services_may_write_nowhere_but_in_their_volume(name: str) -> None:
    service = SERVICES[name]
    assert service["init"] is True
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    for volume in service.get("volumes", []):
        assert volume.split(":")[0] in COMPOSE["volumes"]


def test_only_the_server_is_published_and_to_this_machine() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"server"}
    (port,) = SERVICES["server"]["ports"]
    assert re.sub(r"\$\{\w+:-(.*?)\}", r"\1", port) == "127.0.0.1:8000:8000"
    assert COMPOSE["networks"]["store"]["internal"] is True
    assert SERVICES["redis"]["networks"] == ["store"]


def test_redis_writes_to_disk_before_it_answers() -> None:
    command = SERVICES["redis"]["command"]
    said = dict(zip(command[1::2], command[2::2], strict=True))
    assert said["--appendonly"] == "yes"
    assert said["--appendfsync"] == "always"
    assert SERVICES["server"]["depends_on"] == {"redis": {"condition": "service_healthy"}}


def test_every_setting_that_is_set_exists() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    named = {pair.split("=")[0] for pair in " ".join(instructions("serve", "ENV")).split()}
    assert named <= known
    assert set(SERVICES["server"]["environment"]) <= known


def test_the_document_runs_services_and_volumes_that_exist() -> None:
    for options, (service, *_) in documented("docker compose run"):
        assert service in SERVICES
        volumes = [value.split(":")[0] for option, value in options if option == "--volume"]
        assert all(one.startswith("/") or one in COMPOSE["volumes"] for one in volumes)
    assert set(re.findall(r"docker compose (?:exec|logs|restart) (\w+)", DOCUMENT)) <= set(SERVICES)
    named = re.findall(r"volume `(\w+)`", DOCUMENT)
    assert set(named) == {f"{COMPOSE['name']}_{volume}" for volume in COMPOSE["volumes"]}


def test_the_document_runs_images_that_exist() -> None:
    built = dict(re.findall(r"--target (\w+) .*--tag ([\w-]+)", DOCUMENT))
    assert built == {name: SERVICES[service]["image"] for name, service in SERVICE_OF.items()}
    for options, (tag, *_) in documented("docker run"):
        assert tag in built.values()
        assert ("--init", "") in options
        (volume,) = [value for option, value in options if option == "--volume"]
        source, folder = volume.split(":")
        assert source not in COMPOSE["volumes"]  # compose's has another name
        assert (tag, folder) == ("sleepstage", "/data")
