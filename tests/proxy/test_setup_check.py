"""`--check-setup` names what is missing and what is in the way, by file and variable, and starts nothing."""

from __future__ import annotations

import importlib.metadata
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from anyclaude_lab.proxy import setup_check
from anyclaude_lab.proxy.setup_check import (
    Finding,
    Level,
    check_engine,
    check_port,
    check_proxies,
    check_window,
    claude_settings_files,
    managed_folder,
    our_variables,
    overriding_entries,
)
from anyclaude_lab.settings import MODES, LocalSettings, Settings
from tests.requirements import require_mlx
from tests.standins.http import Exchange, Responder, StandIn, running
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import Refusal, Text, reply

OURS: dict[str, str | None] = {
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:49152",
    "CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1",
    "ANTHROPIC_API_KEY": None,
}

# Claude Code's files


def written(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_each_overriding_entry_is_named_with_its_file(tmp_path: Path) -> None:
    user = written(tmp_path / "a.json", {"env": {"ANTHROPIC_API_KEY": "sk-ant-secret", "OTHER": "1"}})
    project = written(tmp_path / "b.json", {"env": {"ANTHROPIC_BASE_URL": "https://elsewhere"}, "model": "opus"})
    findings = overriding_entries(OURS, [project, user, tmp_path / "absent.json"])
    assert [finding.level for finding in findings] == [Level.FAILURE, Level.WARNING]
    assert str(project) in findings[0].sentence and "ANTHROPIC_BASE_URL" in findings[0].sentence
    assert str(user) in findings[1].sentence and "ANTHROPIC_API_KEY" in findings[1].sentence
    assert "secret" not in findings[1].sentence


@pytest.mark.parametrize(
    "content", [{}, {"env": {}}, {"env": None}, {"env": []}, [], {"env": {"CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1"}}]
)
def test_a_file_that_overrides_nothing_is_not_named(tmp_path: Path, content: object) -> None:
    assert overriding_entries(OURS, [written(tmp_path / "a.json", content)]) == []


def test_a_broken_file_is_named_and_does_no_harm(tmp_path: Path) -> None:
    (finding,) = overriding_entries(OURS, [written(tmp_path / "a.json", "{")])
    assert finding.level is Level.WARNING
    assert str(tmp_path / "a.json") in finding.sentence


def test_the_files_that_the_client_reads(tmp_path: Path) -> None:
    repository, home = tmp_path / "repo", tmp_path / "home"
    cwd = repository / "a"
    (repository / ".git").mkdir(parents=True)
    cwd.mkdir()
    files = claude_settings_files({}, cwd=cwd, home=home)
    assert files[-4:] == [
        cwd / ".claude" / "settings.local.json",
        repository / ".claude" / "settings.local.json",
        cwd / ".claude" / "settings.json",
        home / ".claude" / "settings.json",
    ]
    assert files[-5].name == "managed-settings.json"
    elsewhere = claude_settings_files({"CLAUDE_CONFIG_DIR": str(tmp_path / "c")}, cwd=repository, home=home)
    assert elsewhere[-1] == tmp_path / "c" / "settings.json"
    assert len(set(elsewhere)) == len(elsewhere)


def test_where_an_organisation_puts_its_settings() -> None:
    assert managed_folder("linux", {}) == Path("/etc/claude-code")
    assert managed_folder("darwin", {}) == Path("/Library/Application Support/ClaudeCode")
    assert managed_folder("win32", {"PROGRAMFILES": "/x"}) == Path("/x/ClaudeCode")


def test_what_would_lead_past_the_proxy_fails_in_every_mode(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", {"env": {"CLAUDE_CODE_USE_BEDROCK": "1", "NO_PROXY": "localhost,127.0.0.1,x"}})
    for mode in MODES:
        (finding,) = overriding_entries(our_variables(Settings(mode=mode)), [path])
        assert finding.level is Level.FAILURE
        assert "CLAUDE_CODE_USE_BEDROCK" in finding.sentence


def test_in_passthrough_the_users_own_credential_and_model_are_no_matter(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", {"env": {"ANTHROPIC_API_KEY": "sk-ant-x", "ANTHROPIC_MODEL": "opus"}})
    assert overriding_entries(our_variables(Settings(mode="claude")), [path]) == []
    assert len(overriding_entries(our_variables(Settings()), [path])) == 2


# The model


def test_the_window_is_told_and_judged() -> None:
    assert check_window(65_536, "local") == Finding(Level.FINE, "window", "65536 tokens")
    small, unknown = check_window(4096, "local"), check_window(None, "openrouter")
    assert small.level is unknown.level is Level.WARNING
    assert "4096" in small.sentence and "32768" in small.sentence
    assert "backends.openrouter.contextLength" in unknown.sentence


async def test_a_demonstration_model_without_its_weights_cannot_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_mlx()
    monkeypatch.setattr("anyclaude_lab.engine.embedded.folder", lambda: tmp_path)
    (finding,) = await setup_check.check_backend(Settings(), home=tmp_path)
    assert finding.level is Level.FAILURE
    assert str(tmp_path) in finding.sentence and "config.json" in finding.sentence


# This machine


def test_a_named_port_must_be_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finding = check_port(Settings(port=port))
        assert finding.level is Level.FAILURE
        assert str(port) in finding.sentence and "--port" in finding.sentence
    assert check_port(Settings(port=port)).level is Level.FINE
    assert check_port(Settings(port=0)).level is Level.FINE


def test_the_usual_port_may_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(setup_check, "PREFERRED_PORT", taken.getsockname()[1])
        assert check_port(Settings()).level is Level.NOTE


def test_a_host_that_is_not_here() -> None:
    assert check_port(Settings(host="no.such.host.invalid", port=0)).level is Level.FAILURE
    assert check_port(Settings(host="192.0.2.1", port=0)).level is Level.FAILURE


@pytest.mark.parametrize(
    ("environ", "proxy_only", "level"),
    [
        ({}, True, None),
        ({"NO_PROXY": ""}, True, None),
        ({"HTTPS_PROXY": "http://p:1"}, True, Level.WARNING),
        ({"https_proxy": "http://p:1", "NO_PROXY": "localhost"}, True, Level.WARNING),
        ({"ALL_PROXY": "http://p:1"}, False, Level.NOTE),
        ({"HTTP_PROXY": "http://p:1", "no_proxy": "localhost, 127.0.0.1"}, True, Level.FINE),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "*"}, True, Level.FINE),
    ],
)
def test_a_proxy_that_would_swallow_this_machines_traffic(
    environ: Mapping[str, str], proxy_only: bool, level: Level | None
) -> None:
    findings = check_proxies(Settings(proxy_only=proxy_only), environ)
    assert [finding.level for finding in findings] == ([] if level is None else [level])
    assert all("http://p:1" not in finding.sentence for finding in findings)


def test_without_mlx_local_says_which_address_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", nothing)
    needed = check_engine(Settings())
    assert needed.level is Level.FAILURE
    assert "LOCAL_URL" in needed.sentence
    there = LocalSettings(source="url", base_url="http://127.0.0.1:1/v1")
    assert check_engine(Settings(local=there)).level is Level.NOTE


# The whole command


class Machine:
    """A folder, a home folder and a `claude` that tells its version."""

    def __init__(self, root: Path) -> None:
        self.cwd, self.home, self.bin = root / "project", root / "home", root / "bin"
        for folder in (self.cwd, self.home, self.bin):
            folder.mkdir()

    def install_claude(self) -> None:
        program = written(self.bin / "claude", "#!/bin/sh\necho '9.9.9 (Claude Code)'\n")
        program.chmod(0o755)

    def check(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        kept = {name: os.environ[name] for name in ("SYSTEMROOT", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        home = {"HOME": str(self.home), "USERPROFILE": str(self.home), "PATH": str(self.bin) + os.pathsep + "/bin"}
        return subprocess.run(
            [sys.executable, "-m", "anyclaude_lab.proxy", "--check-setup", "--port", "0", *words],
            cwd=self.cwd,
            env=kept | home | environ,
            capture_output=True,
            text=True,
            timeout=600,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


posix_only = pytest.mark.skipif(os.name == "nt", reason="the stand-in for claude is a shell script")


def lines(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """The report: what a line is about, and its mark and sentence."""
    found: dict[str, Any] = {}
    for line in done.stdout.splitlines()[1:-1]:
        mark, about, sentence = line.split(maxsplit=2)
        found[about] = found.get(about, "") + f"{mark} {sentence}\n"
    return found


@posix_only
def test_everything_there(machine: Machine) -> None:
    machine.install_claude()
    with running(OpenAIStandIn([reply(Text("OK"))] * 3, profile="llama.cpp")) as server:
        done = machine.check(LOCAL_URL=f"{server.url}/v1")
    report = lines(done)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert report["backend"].startswith("ok") and server.url in report["backend"]
    assert report["claude"].startswith("ok 9.9.9 (Claude Code)")
    assert "tools yes" in report["abilities"] and "cached tokens yes" in report["abilities"]
    assert report["window"].startswith("warn 8192 tokens are too few")  # what llama.cpp has without -c
    assert done.stdout.rstrip().endswith("Ready.")


@posix_only
def test_nothing_configured_needs_nothing_and_starts_nothing(machine: Machine) -> None:
    require_mlx()
    machine.install_claude()
    done = machine.check()
    assert done.returncode == 0, done.stdout
    assert "demonstration" in lines(done)["backend"]
    assert not (machine.home / ".anyclaude" / "run").exists()


@posix_only
def test_a_home_in_which_no_server_could_be_started(machine: Machine) -> None:
    require_mlx()
    machine.install_claude()
    (machine.home / ".anyclaude").touch()
    done = machine.check()
    assert done.returncode == 4, done.stdout
    assert "No model server can be started" in lines(done)["backend"]


class Elsewhere(StandIn):
    """A web server that is no model server."""

    async def answer(self, exchange: Exchange, responder: Responder) -> None:
        await responder.full(404, b"<html>Not here</html>")


def test_a_complaint_names_the_address(machine: Machine) -> None:
    with running(Elsewhere()) as server:
        done = machine.check(LOCAL_URL=server.url)
    assert done.returncode == 4
    assert lines(done)["backend"].startswith("FAIL") and server.url in lines(done)["backend"]


@posix_only
def test_a_backend_that_is_down_an_absent_claude_and_an_entry_in_the_way(machine: Machine) -> None:
    entry = written(machine.cwd / ".claude" / "settings.local.json", {"env": {"ANTHROPIC_BASE_URL": "http://other"}})
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    done = machine.check(LOCAL_URL=f"http://127.0.0.1:{port}/v1")
    report = lines(done)
    assert done.returncode == 4
    assert report["backend"].startswith("FAIL") and str(port) in report["backend"]
    assert report["claude"].startswith("FAIL")
    assert str(entry) in report["overridden"] and "ANTHROPIC_BASE_URL" in report["overridden"]
    assert "Not ready: 3" in done.stdout
    assert "Traceback" not in done.stderr


@posix_only
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--mode", "openrouter"], "OPENROUTER_API_KEY"),
        (["--mode", "mlx-cluster"], "MLX_CLUSTER_NODES"),
        (["--model", "./no-such-model"], "no-such-model"),
    ],
)
def test_what_the_mode_lacks(machine: Machine, words: list[str], named: str) -> None:
    if "--model" in words:
        require_mlx()
    machine.install_claude()
    done = machine.check(*words)
    assert done.returncode == 4, done.stdout
    assert lines(done)["backend"].startswith("FAIL")
    assert named in lines(done)["backend"]


def test_the_proxy_alone_needs_no_claude(machine: Machine) -> None:
    with running(OpenAIStandIn(profile="ollama")) as server:
        done = machine.check("--proxy-only", LOCAL_URL=f"{server.url}/v1")
    assert lines(done)["claude"].startswith("note")
    assert done.returncode == 0, done.stdout


def test_of_a_cluster_each_node_is_told(machine: Machine) -> None:
    able = OpenAIStandIn([reply(Text("OK"))] * 3, profile="vllm")
    with running(able) as a, running(OpenAIStandIn([Refusal(500)], profile="vllm")) as b:
        nodes = json.dumps([{"id": "a", "url": a.url}, {"id": "b", "url": b.url}])
        done = machine.check("--proxy-only", "--mode", "mlx-cluster", MLX_CLUSTER_NODES=nodes)
    told = lines(done)["abilities"]
    assert "ok a: streaming yes" in told and "note b: the server did not say" in told, done.stdout
