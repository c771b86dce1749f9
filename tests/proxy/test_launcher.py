"""The launcher, with a program in the place of Claude Code that does what its arguments say."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.proxy.launcher import claude_processes, find_claude, run_claude
from tests.processes import DEADLINE_S, gone, until
from tests.standins.http import kept_port

LAUNCHER = """
import asyncio, os, sys
from anyclaude_lab.proxy import launcher
from anyclaude_lab.proxy.launcher import find_claude, launch
from anyclaude_lab.settings import Settings

launcher.END_GRACE_S = 1.0

async def main():
    code = await launch(
        Settings(mode=sys.argv[1]), sys.argv[3:], base_url=sys.argv[2], environ=os.environ,
        claude=find_claude(os.environ), model_id="anthropic-local/m", window_tokens=99_000,
    )
    print("launcher: ended by itself", flush=True)
    return code

sys.exit(asyncio.run(main()))
"""

CLAUDE = """#!{python}
import json, os, signal, subprocess, sys, time
def note(**facts):
    with open({notes!r}, "a") as file:
        file.write(json.dumps(facts) + "\\n")
detached = dict(start_new_session=True, stdin=-3, stdout=-3, stderr=-3)
deed = sys.argv[1] if len(sys.argv) > 1 else ""
if deed == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
for name in ("SIGTERM", "SIGHUP", "SIGINT"):
    if deed == "polite":
        signal.signal(getattr(signal, name), lambda number, frame: (note(got=number), sys.exit(70 + number)))
note(pid=os.getpid(), args=sys.argv[1:], env=dict(os.environ), tty=[os.isatty(i) for i in range(3)],
     ignored=[name for name in ("SIGINT", "SIGHUP") if signal.getsignal(getattr(signal, name)) == signal.SIG_IGN])
if deed == "exit":
    sys.exit(int(sys.argv[2]))
if deed == "die":
    os.kill(os.getpid(), int(sys.argv[2]))
if deed == "background":
    subprocess.Popen([sys.argv[0], "wait"], **detached)
    sys.exit(0)
if deed == "server":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], **detached)
    note(pid=child.pid)
    sys.exit(0)
if deed:
    time.sleep(600)
"""


@dataclass
class Desk:
    """A folder with the stand-in for Claude Code, and every launcher started from it."""

    path: Path
    launchers: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The proxy's; like no other test's, which may run beside this one."""
        return f"http://127.0.0.1:1{self.path}"

    @property
    def claude(self) -> Path:
        return self.path / "bin" / "claude"

    @property
    def notes(self) -> list[dict[str, object]]:
        file = self.path / "notes"
        *whole, _ = file.read_text().split("\n") if file.exists() else [""]  # the last is being written
        return [json.loads(line) for line in whole]

    @property
    def pids(self) -> list[int]:
        return [pid for note in self.notes if isinstance(pid := note.get("pid"), int)]

    def launch(
        self, *args: str, mode: str = "local", prefix: tuple[str, ...] = (), **env: str
    ) -> subprocess.Popen[str]:
        inherited = {name: value for name, value in os.environ.items() if name not in ("PATH", "HOME")}
        process = subprocess.Popen(
            [*prefix, sys.executable, "-c", LAUNCHER, mode, self.url, *args],
            env={**inherited, "HOME": str(self.path), "PATH": f"{self.claude.parent}:/usr/bin:/bin", **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.launchers.append(process)
        return process

    def started(self, *args: str) -> subprocess.Popen[str]:
        process = self.launch(*args)
        until(lambda: bool(self.notes), "Claude Code runs")
        return process


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    desk.claude.parent.mkdir()
    desk.claude.write_text(CLAUDE.format(python=sys.executable, notes=str(tmp_path / "notes")))
    desk.claude.chmod(0o755)
    yield desk
    for launcher in desk.launchers:
        launcher.kill()
        launcher.communicate()
    for pid in desk.pids:
        if not gone(pid):
            psutil.Process(pid).kill()


def end(launcher: subprocess.Popen[str]) -> tuple[int, str, str]:
    stdout, stderr = launcher.communicate(timeout=DEADLINE_S)
    return launcher.returncode, stdout, stderr


@pytest.mark.parametrize("code", [0, 1, 42])
def test_exit_code_and_arguments_pass_through_and_nothing_is_printed(desk: Desk, code: int) -> None:
    args = ["exit", str(code), "-p", 'say "hi"', "--model=x", "--", "", "ä b"]
    assert end(desk.launch(*args)) == (code, "launcher: ended by itself\n", "")
    assert desk.notes[0]["args"] == args


def test_end_by_a_signal_is_told_as_a_shell_does(desk: Desk) -> None:
    assert end(desk.launch("die", str(int(signal.SIGKILL))))[0] == 128 + signal.SIGKILL


def test_child_gets_the_environment_of_its_mode(desk: Desk) -> None:
    end(desk.launch("exit", "0", ANTHROPIC_API_KEY="sk-ant-users", HTTPS_PROXY="http://127.0.0.1:9"))
    end(desk.launch("exit", "0", mode="claude", ANTHROPIC_API_KEY="sk-ant-users"))
    local, claude = (note["env"] for note in desk.notes)
    assert isinstance(local, dict)
    assert isinstance(claude, dict)
    assert local["ANTHROPIC_BASE_URL"] == claude["ANTHROPIC_BASE_URL"] == desk.url
    assert local["ANTHROPIC_MODEL"] == "anthropic-local/m"
    assert "127.0.0.1" in local["NO_PROXY"]
    assert "ANTHROPIC_API_KEY" not in local
    assert claude["ANTHROPIC_API_KEY"] == "sk-ant-users"
    assert "ANTHROPIC_MODEL" not in claude


def test_ctrl_c_is_claude_codes_business(desk: Desk) -> None:
    launcher = desk.started("wait")
    os.kill(launcher.pid, signal.SIGINT)
    # The proof that the launcher took it and lives on: it still passes the next signal on.
    os.kill(launcher.pid, signal.SIGTERM)
    assert end(launcher)[0] == 128 + signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_being_asked_to_end_is_passed_on(desk: Desk, number: signal.Signals) -> None:
    launcher = desk.started("polite")
    os.kill(launcher.pid, number)
    assert end(launcher)[0] == 70 + number
    assert desk.notes[1] == {"got": number}


def test_claude_code_that_will_not_end_is_killed(desk: Desk) -> None:
    launcher = desk.started("stubborn")
    os.kill(launcher.pid, signal.SIGTERM)
    assert end(launcher)[0] == 128 + signal.SIGKILL


def test_killed_launcher_takes_claude_code_along(desk: Desk) -> None:
    launcher = desk.started("wait")
    until(lambda: len(psutil.Process(launcher.pid).children()) == 2, "Claude Code and the guard run")
    guards = psutil.Process(launcher.pid).children()
    launcher.kill()
    until(lambda: all(map(gone, desk.pids)), "Claude Code ends with its launcher")
    until(lambda: all(gone(guard.pid) for guard in guards), "the guard ends")


def test_normal_end_leaves_no_guard(desk: Desk) -> None:
    launcher = desk.started("wait")
    until(lambda: len(psutil.Process(launcher.pid).children()) == 2, "Claude Code and the guard run")
    children = psutil.Process(launcher.pid).children()
    os.kill(desk.pids[0], signal.SIGTERM)
    end(launcher)
    assert all(gone(child.pid) for child in children)


def test_ignored_hangup_stays_ignored_for_both(desk: Desk) -> None:
    launcher = desk.launch("wait", prefix=("nohup",))
    until(lambda: bool(desk.notes), "Claude Code runs")
    assert desk.notes[0]["ignored"] == ["SIGHUP"]
    os.kill(launcher.pid, signal.SIGHUP)
    os.kill(launcher.pid, signal.SIGTERM)
    assert end(launcher)[0] == 128 + signal.SIGTERM


def test_background_session_keeps_the_launcher_until_it_ends(desk: Desk) -> None:
    launcher = desk.launch("background")
    until(lambda: len(desk.pids) == 2, "the background session runs")
    until(lambda: gone(desk.pids[0]), "the foreground session ended")
    assert launcher.stderr is not None
    assert f"process {desk.pids[1]}" in launcher.stderr.readline()
    assert launcher.poll() is None
    os.kill(desk.pids[1], signal.SIGTERM)
    assert end(launcher)[0] == 0


def test_waiting_for_a_background_session_can_be_broken_off(desk: Desk) -> None:
    launcher = desk.launch("background")
    assert launcher.stderr is not None
    assert "Ctrl-C" in launcher.stderr.readline()
    os.kill(launcher.pid, signal.SIGINT)
    code, stdout, _ = end(launcher)
    assert (code, stdout) == (0, "launcher: ended by itself\n")
    until(lambda: len(desk.pids) == 2, "the background session is up")
    assert not gone(desk.pids[1])


def test_server_started_by_a_session_does_not_keep_the_launcher(desk: Desk) -> None:
    assert end(desk.launch("server"))[0] == 0
    assert not gone(desk.pids[1])


def test_sessions_of_another_proxy_do_not_count(desk: Desk) -> None:
    other = subprocess.Popen([desk.claude, "wait"], env={"ANTHROPIC_BASE_URL": f"{desk.url}/other"})
    try:
        until(lambda: bool(desk.notes), "the other session runs")
        assert claude_processes(desk.url) == []
        assert other.pid in claude_processes(f"{desk.url}/other")
    finally:
        other.kill()
        other.wait()


async def test_program_that_cannot_run_is_one_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "claude"
    broken.write_bytes(b"\x7fELF but not really")
    broken.chmod(0o755)
    with pytest.raises(SettingsError, match="could not be started"):
        await run_claude([str(broken)], {})


def program(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_claude_code_is_looked_for_in_its_places_in_order(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "bin")}
    with pytest.raises(SettingsError, match="npm install -g @anthropic-ai/claude-code"):
        find_claude(env)
    installed = program(tmp_path / "home" / ".claude" / "local" / "claude")
    assert find_claude(env) == installed
    on_path = program(tmp_path / "bin" / "claude")
    assert find_claude(env) == on_path
    named = program(tmp_path / "elsewhere" / "claude-next")
    assert find_claude({**env, "ANYCLAUDE_CLAUDE_PATH": named}) == named
    with pytest.raises(SettingsError, match="ANYCLAUDE_CLAUDE_PATH names"):
        find_claude({**env, "ANYCLAUDE_CLAUDE_PATH": str(tmp_path / "absent")})


def test_a_backend_that_is_down_is_said_before_the_client_starts(tmp_path: Path) -> None:
    program = tmp_path / "claude"
    program.write_text(f"#!{sys.executable}\nprint('client')\n")
    program.chmod(0o755)
    with kept_port() as port:
        url = f"http://127.0.0.1:{port}"
        env = os.environ | {"HOME": str(tmp_path), "ANYCLAUDE_CLAUDE_PATH": str(program), "LOCAL_URL": url}
        line = [sys.executable, "-m", "anyclaude_lab.proxy", "--port", "0"]
        done = subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=DEADLINE_S)
    assert (done.returncode, done.stdout) == (0, "client\n")
    assert f"Nothing answers at {url}" in done.stderr
