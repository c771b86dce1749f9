"""The lock holds on every platform, and says what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock")
PYTHONS = ("3.11", "3.12", "3.13")
# What `platform` and `sys` say there.
PLATFORMS = {
    "macOS arm64": ("darwin", "Darwin", "arm64", "posix"),
    "macOS x86-64": ("darwin", "Darwin", "x86_64", "posix"),
    "Linux x86-64": ("linux", "Linux", "x86_64", "posix"),
    "Linux aarch64": ("linux", "Linux", "aarch64", "posix"),
    "Windows x86-64": ("win32", "Windows", "AMD64", "nt"),
}
HAVE_MLX = {"macOS arm64", "Linux x86-64", "Linux aarch64"}
FOREIGN = re.compile(r"https?://|file:|--(extra-)?index-url|--find-links|--trusted-host")


def environment(platform: str, python: str) -> dict[str, str]:
    sys_platform, system, machine, os_name = PLATFORMS[platform]
    return {
        **{name: str(value) for name, value in default_environment().items()},
        "sys_platform": sys_platform,
        "platform_system": system,
        "platform_machine": machine,
        "os_name": os_name,
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }


def applies(requirement: Requirement, where: dict[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({**where, "extra": ""})


def lines(lock: str) -> list[Requirement]:
    text = (ROOT / lock).read_text("utf-8")
    return [
        Requirement(line.split("  #")[0]) for line in text.splitlines() if line and not line.lstrip().startswith("#")
    ]


def installed(lock: str, platform: str, python: str) -> dict[str, Version]:
    """What that lock installs there."""
    where = environment(platform, python)
    versions: dict[str, Version] = {}
    for requirement in lines(lock):
        if applies(requirement, where):
            name = canonicalize_name(requirement.name)
            assert name not in versions, f"{name} is locked twice for {platform}, Python {python}"
            (pin,) = requirement.specifier
            assert pin.operator == "=="
            versions[name] = Version(pin.version)
    return versions


def asked(*extras: str) -> list[Requirement]:
    """The direct requirements of pyproject.toml, with those of these extras and of the extras they name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    found = [Requirement(text) for text in project["dependencies"]]
    pending = list(extras)
    while pending:
        for text in project["optional-dependencies"][pending.pop()]:
            requirement = Requirement(text)
            if requirement.name == project["name"]:
                pending += requirement.extras
            else:
                found.append(requirement)
    return found


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(("lock", "extras"), [("requirements.lock", ()), ("requirements-dev.lock", ("dev",))])
def test_what_is_asked_for_is_locked(lock: str, extras: tuple[str, ...], platform: str, python: str) -> None:
    versions = installed(lock, platform, python)
    for requirement in asked(*extras):
        if applies(requirement, environment(platform, python)):
            version = versions.get(canonicalize_name(requirement.name))
            assert version is not None, f"{requirement} is not in {lock}; run: make lock"
            assert requirement.specifier.contains(version, prereleases=True), f"{requirement}: locked is {version}"


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("lock", LOCKS)
def test_mlx_is_installed_where_it_exists(lock: str, platform: str, python: str) -> None:
    found = {name for name in installed(lock, platform, python) if name.startswith("mlx")}
    expected: set[str] = {"mlx", "mlx-lm"} if platform in HAVE_MLX else set()
    if platform.startswith("Linux"):
        expected.add("mlx-cpu")
    if platform == "macOS arm64":
        expected.add("mlx-metal")
    assert found == expected


@pytest.mark.parametrize("platform", PLATFORMS)
def test_both_locks_agree(platform: str) -> None:
    product, development = (installed(lock, platform, "3.12") for lock in LOCKS)
    assert product.items() <= development.items()


def test_what_the_project_asks_for_of_pythons_is_what_is_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = [text.rpartition(" ")[2] for text in project["classifiers"] if re.search(r":: 3\.\d+$", text)]
    assert tuple(named) == PYTHONS
    assert project["requires-python"] == f">={PYTHONS[0]}"


@pytest.mark.parametrize("file", [*LOCKS, "pyproject.toml", "Makefile", ".ci/run", ".ci/venv.py"])
def test_no_registry_is_named(file: str) -> None:
    assert not FOREIGN.search((ROOT / file).read_text("utf-8"))


def test_the_check_for_registries_can_fail() -> None:
    assert FOREIGN.search("--extra-index-url https://packages.example")
