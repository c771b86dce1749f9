"""The launcher with the real Claude Code: a newcomer's machine, an unhelpful environment, a terminal, three at once."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from anyclaude_lab.engine.lease import LeaseFolder
from tests.e2e.claude_code import LATEST, RELEASES, Place, Terminal, environment, headless
from tests.e2e.conftest import settings_for
from tests.e2e.session import PROMPT, EditSession
from tests.processes import DEADLINE_S, until
from tests.requirements import require_claude, require_mlx
from tests.standins.anthropic_api import AnthropicStandIn
from tests.standins.http import running
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import Policy, Turn, reply

LAUNCHER = (sys.executable, "-m", "anyclaude_lab.proxy", "--port", "0")
WINDOW_TOKENS = 32_768
SECRETS = ("sk-ant-of-the-user", "sk-ant-oat01-login", "sk-ant-api03-saved")


def backend(policy: Policy | list[Turn]) -> OpenAIStandIn:
    """A server with a window so small that the client has to be told a larger one."""
    standin = OpenAIStandIn(policy, profile="llama.cpp")
    standin.profile.window_tokens = WINDOW_TOKENS
    return standin


def log_in(place: Place) -> None:
    """Leave what an account leaves in a home: an OAuth login and a saved key."""
    login = {"accessToken": SECRETS[1], "refreshToken": "r", "expiresAt": 4102444800000, "scopes": ["user:inference"]}
    (place.home / ".claude" / ".credentials.json").write_text(json.dumps({"claudeAiOauth": login}))
    file = place.home / ".claude.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "primaryApiKey": SECRETS[2]}))


@pytest.mark.parametrize("version", RELEASES)
def test_session_through_the_launcher_in_a_home_without_an_account(version: str, place: Place) -> None:
    session = EditSession(place.project)
    with running(backend(session.policy)) as server:
        result = headless(version, PROMPT, place=place, command=LAUNCHER, env=settings_for("local", server))
    session.check(result)
    assert server.violations == []
    assert "launcher" not in result.stdout
    assert all("claude" not in str(chat.json["model"]) for chat in server.chats)


@pytest.mark.parametrize("version", RELEASES)
def test_dead_proxy_and_an_account_do_no_harm(version: str, place: Place) -> None:
    log_in(place)
    session = EditSession(place.project)
    dead = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"), "http://127.0.0.1:9")
    theirs = {"ANTHROPIC_API_KEY": SECRETS[0], "CLAUDE_CODE_USE_BEDROCK": "1", "CLAUDE_CODE_OAUTH_TOKEN": SECRETS[1]}
    with running(backend(session.policy)) as server:
        env = {**settings_for("local", server), **dead, **theirs}
        result = headless(version, PROMPT, place=place, command=LAUNCHER, env=env)
        told = b"".join(str(exchange.headers).encode() + exchange.body for exchange in server.exchanges)
    session.check(result)
    for secret in SECRETS:
        assert secret.encode() not in told
        for log in (place.home / ".anyclaude").rglob("*.log"):
            assert secret not in log.read_text()


@pytest.mark.parametrize("version", RELEASES)
def test_claude_mode_leaves_the_account_to_the_client(version: str, place: Place) -> None:
    log_in(place)
    session = EditSession(place.project)
    with running(AnthropicStandIn(session.policy)) as server:
        result = headless(
            version, PROMPT, place=place, command=(*LAUNCHER, "--mode", "claude"), env=settings_for("claude", server)
        )
    session.check(result)
    sent = {exchange.header("authorization") for exchange in server.messages}
    assert sent == {f"Bearer {SECRETS[1]}"}
    assert all(str(exchange.json["model"]).startswith("claude-") for exchange in server.messages)


def test_exit_code_and_arguments_are_claude_codes_own(place: Place) -> None:
    with running(backend([reply("Hello.")] * 2)) as server:
        env = settings_for("local", server)
        args = ("--output-format", "json")
        answered = headless(LATEST, "hi", place=place, command=LAUNCHER, env=env, args=args)
        refused = headless(LATEST, "hi", place=place, command=LAUNCHER, env=env, args=("--no-such-flag-of-claude",))
    assert answered.json["result"] == "Hello."
    (used,) = answered.json["modelUsage"].values()
    assert used["contextWindow"] == WINDOW_TOKENS + 10_000
    assert refused.rc == 1


def test_terminal_is_claude_codes_alone_and_suspends_and_resumes(place: Place) -> None:
    with running(backend([reply("First answer."), reply("Second answer.")])) as server:
        env = settings_for("local", server)
        with Terminal(LATEST, place, command=("bash", "--norc", "-i"), env=env) as terminal:
            wait_for_shell(terminal)
            type_in(terminal, shlex.join(LAUNCHER))
            terminal.wait_for("shift+tab")
            terminal.send("first")
            terminal.wait_for("First answer.")
            terminal.keys("C-z")
            wait_for_shell(terminal)
            type_in(terminal, "fg")
            terminal.wait_for_rest()
            terminal.send("second")
            terminal.wait_for("Second answer.")
            type_in(terminal, "/exit")
            wait_for_shell(terminal)
            type_in(terminal, "echo the launcher left $?")
            screen = terminal.wait_for("the launcher left 0")
    assert "Traceback" not in screen
    assert "anyclaude:" not in screen


@pytest.mark.timeout(900)  # three cold prefills of the client's prompt on a busy machine
@pytest.mark.engine
def test_three_at_once_share_one_model_and_a_kill_harms_only_its_own(tmp_path: Path) -> None:
    require_mlx()
    claude = require_claude(LATEST)
    home = Place.fresh(tmp_path).home
    launchers = []
    with ExitStack() as stack:
        for name in ("first", "second", "third"):
            place = Place(home, tmp_path / name)
            place.project.mkdir()
            env = environment(place, None, {"PATH": f"{claude.parent}:{os.environ['PATH']}"})
            line = [*LAUNCHER, "-p", f"Say hello to the {name}.", "--dangerously-skip-permissions"]
            process = subprocess.Popen(
                line,
                cwd=place.project,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            launchers.append(stack.enter_context(process))
            stack.callback(process.kill)
        run = home / ".anyclaude" / "run"
        until(
            lambda: [len(LeaseFolder(folder).holders()) for folder in run.glob("*")] == [3], "all three hold the server"
        )
        (folder,) = map(LeaseFolder, run.iterdir())
        lease = folder.read()
        assert lease is not None
        clients = clients_of(launchers[0], "the first runs Claude Code")
        launchers[0].send_signal(signal.SIGKILL)
        for launcher in launchers[1:]:
            _, stderr = launcher.communicate(timeout=500)
            assert launcher.returncode == 0, stderr.decode()
        until(lambda: not any(client.is_running() for client in clients), "the first client ended with its launcher")
        (log,) = (home / ".anyclaude" / "logs").glob("anyclaude-*.log")
        assert log.read_text().count("starting anyclaude") == 1
        until(lambda: folder.read() is None and not lease.keeper.alive, "the server ends with its last holder")


def test_background_session_keeps_the_proxy_until_it_is_stopped(place: Place, tmp_path: Path) -> None:
    claude = require_claude(LATEST)
    with running(backend(lambda body: reply("Hello from behind."))) as server:
        env = environment(place, None, settings_for("local", server))
        env["PATH"] = f"{claude.parent}{os.pathsep}{env['PATH']}"
        line = [*LAUNCHER, "--bg", "Say hello."]
        with ExitStack() as stack:
            output = tmp_path / "stderr"
            launcher = subprocess.Popen(
                line, cwd=place.project, env=env, stdout=subprocess.DEVNULL, stderr=output.open("wb")
            )
            stack.enter_context(launcher)
            stack.callback(launcher.kill)
            stop = [str(claude), "daemon", "stop", "--any"]
            stack.callback(subprocess.run, stop, env=env, cwd=place.project, capture_output=True, timeout=DEADLINE_S)
            until(lambda: "a background session" in output.read_text(), "the launcher says why it stays")
            until(lambda: bool(server.chats), "the background session asks")
            assert launcher.poll() is None
            subprocess.run(stop, env=env, cwd=place.project, capture_output=True, timeout=DEADLINE_S, check=True)
            assert launcher.wait(DEADLINE_S) == 0


def clients_of(launcher: subprocess.Popen[bytes], what: str) -> list[psutil.Process]:
    found: list[psutil.Process] = []

    def look() -> bool:
        found[:] = [p for p in psutil.Process(launcher.pid).children() if "claude" in p.name()]
        return bool(found)

    until(look, what)
    return found


def type_in(terminal: Terminal, text: str) -> None:
    terminal.send(text, enter=False)
    terminal.keys("Enter")


def wait_for_shell(terminal: Terminal) -> None:
    """Wait until the last line is the shell's prompt: the client throws away what is typed while it ends."""
    prompt = re.compile(r"bash-[\d.]+[#$]$")
    until(lambda: bool(prompt.search(terminal.screen().rstrip())), "the shell is back")
