"""The wheel as a user gets it: what is in it, and its programs, on a machine that has no mlx."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from anyclaude_lab import __version__
from tests.standins.http import running
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import reply

ROOT = Path(__file__).parents[2]
PACKAGE, TRACES = ROOT / "anyclaude_lab", ROOT / "traces"
NO_PIP_NETWORK = {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
# Mapped into the wheel's environment is what the tests' own has, but for the package itself and the engine.
LEFT_OUT = re.compile(r"anyclaude|_editable_impl_anyclaude|__editable__|mlx")
IMPORT_ALL = """
import importlib, pkgutil, anyclaude_lab
for found in pkgutil.walk_packages(anyclaude_lab.__path__, "anyclaude_lab."):
    if not found.name.endswith("__main__") and not found.name.startswith("anyclaude_lab.engine.serve."):
        importlib.import_module(found.name)
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links the environment's packages")


@dataclass(frozen=True, slots=True)
class Installed:
    """An environment with the wheel in it. Every program runs in an empty folder, with an empty home."""

    bin: Path
    home: Path

    def run(self, program: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        line = [str(self.bin / program), *arguments]
        return subprocess.run(
            line, cwd=self.home, env=self.environment(env), capture_output=True, text=True, timeout=300
        )

    def environment(self, extra: dict[str, str]) -> dict[str, str]:
        return {"PATH": f"{self.bin}{os.pathsep}/usr/bin", "HOME": str(self.home), "LANG": "C.UTF-8", **extra}

    @contextmanager
    def proxy(self, **env: str) -> Iterator[str]:
        """A running proxy's address."""
        line = [str(self.bin / "anyclaude"), "--proxy-only", "--port", "0"]
        with subprocess.Popen(line, cwd=self.home, env=self.environment(env), stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                found = re.search(rb"listening on (http://\S+)", process.stdout.readline())
                assert found is not None
                yield found[1].decode()
            finally:
                process.terminate()
        assert process.returncode == 0


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    line = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    result = subprocess.run(line, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / "bin" / "python"
    line = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(line, check=True, env={**os.environ, **NO_PIP_NETWORK}, timeout=600)
    dependencies = folder / "dependencies"
    dependencies.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not LEFT_OUT.match(entry.name):
            (dependencies / entry.name).symlink_to(entry)
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(str(dependencies))
    home = folder / "home"
    home.mkdir()
    return Installed(venv / "bin", home)


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_has_the_package_the_traces_and_nothing_else(wheel: Path) -> None:
    expected = {f"anyclaude_lab/{name}" for name in _files(PACKAGE)}
    expected |= {f"anyclaude_lab/data/traces/{name}" for name in _files(TRACES)}
    found = {name for name in names(wheel) if ".dist-info/" not in name}
    assert found == expected


def _files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(folder).as_posix()


@pytest.mark.parametrize(
    "name",
    [
        "py.typed",
        "proxy/pages/dashboard.html",
        "proxy/pages/dashboard.js",
        "proxy/pages/dashboard.css",
        "views/style.css",
        "engine/embedded/config.json",
        "engine/embedded/tokenizer.json",
        "engine/embedded/model.safetensors",
        "data/traces/short-fix.jsonl",
    ],
)
def test_the_wheel_has_what_it_needs_to_be_used_at_once(wheel: Path, name: str) -> None:
    assert f"anyclaude_lab/{name}" in names(wheel)


def test_the_wheel_is_small(wheel: Path) -> None:
    """The model may take 8 MB of it."""
    assert wheel.stat().st_size < 10_000_000


@pytest.mark.parametrize("program", ["anyclaude", "anyclaude-bench"])
def test_its_programs_say_their_version_and_help(installed: Installed, program: str) -> None:
    version = installed.run(program, "--version")
    assert (version.returncode, version.stdout.split()) == (0, [program, __version__])
    shown = installed.run(program, "--help")
    assert shown.returncode == 0
    assert program in shown.stdout


def test_its_settings_are_listed(installed: Installed) -> None:
    result = installed.run("anyclaude-bench", "settings", LOCAL_URL="http://127.0.0.1:9/v1")
    assert result.returncode == 0
    assert re.search(r'local\.baseUrl +"http://127\.0\.0\.1:9/v1" +environment LOCAL_URL', result.stdout)


def test_its_proxy_answers_without_mlx(installed: Installed) -> None:
    ask = {"model": "claude-x", "max_tokens": 50, "messages": [{"role": "user", "content": "Hello"}]}
    with (
        running(OpenAIStandIn([reply("Good day.")])) as backend,
        installed.proxy(LOCAL_URL=f"{backend.url}/v1", ANYCLAUDE_PROBE="no") as url,
        httpx.Client(base_url=url, trust_env=False, timeout=60) as client,
    ):
        assert client.get("/health/live").json() == {"status": "alive"}
        assert client.post("/v1/messages", json=ask).json()["content"] == [{"type": "text", "text": "Good day."}]
        assert "<html" in client.get("/").text


def test_everything_imports_without_mlx(installed: Installed) -> None:
    absent = installed.run("python", "-c", "import mlx_lm")
    assert "No module named 'mlx_lm'" in absent.stderr
    result = installed.run("python", "-c", IMPORT_ALL)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("arguments", [[], ["--model", "mlx-community/some-model"]])
def test_without_mlx_local_says_which_address_to_set(installed: Installed, arguments: list[str]) -> None:
    result = installed.run("anyclaude", "--proxy-only", "--port", "0", *arguments)
    assert result.returncode == 2
    assert "mlx-lm is not installed" in result.stderr
    assert "Set LOCAL_URL" in result.stderr
    assert "Traceback" not in result.stderr


def test_without_mlx_the_setup_check_says_so(installed: Installed) -> None:
    result = installed.run("anyclaude", "--check-setup")
    assert result.returncode == 4
    assert re.search(r"^FAIL .*LOCAL_URL", result.stdout, re.MULTILINE), result.stdout
