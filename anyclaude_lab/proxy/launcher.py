"""Starts Claude Code behind the proxy, leaves it the terminal, and ends with it.

While Claude Code runs nothing is printed here, and Ctrl-C is its own business. What asks this process to end is passed
on to it; if this process is killed instead, a guard ends it (see `guard.py`).
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.proxy.client_environment import client_environment
from anyclaude_lab.settings import Settings, home_folder

if TYPE_CHECKING:
    import psutil

PATH_VARIABLE = "ANYCLAUDE_CLAUDE_PATH"
# Where its installers put it, often without a line on the PATH.
INSTALLED = (".claude/local/claude", ".local/bin/claude")
CLAUDE_PACKAGE = "@anthropic-ai/claude-code"
END_GRACE_S = 10.0
POLL_S = 1.0


def find_claude(environ: Mapping[str, str]) -> str:
    """The program to start: the one named by ANYCLAUDE_CLAUDE_PATH, on the PATH, or where its installers put it.

    Raises SettingsError when there is none.
    """
    if given := environ.get(PATH_VARIABLE):
        with suppress(RuntimeError):  # ~somebody whom nobody knows
            if found := shutil.which(str(Path(given).expanduser())):
                return found
        raise SettingsError(f"{PATH_VARIABLE} names {given}, but no program is there: correct it, or unset it.")
    if found := shutil.which("claude", path=environ.get("PATH")):
        return found
    for place in INSTALLED:
        if found := shutil.which(str(Path(environ.get("HOME") or home_folder(), place))):
            return found
    raise SettingsError(
        "Claude Code was not found: there is no `claude` on the PATH. Install it (npm install -g "
        f"@anthropic-ai/claude-code), name it in {PATH_VARIABLE}, or start the proxy alone with --proxy-only."
    )


async def launch(
    settings: Settings,
    claude_args: Sequence[str],
    *,
    base_url: str,
    environ: Mapping[str, str],
    claude: str,
    model_id: str,
    window_tokens: int | None,
    token: str | None = None,
) -> int:
    """Run Claude Code through the proxy at `base_url` to its end; returns its exit code, 128 + n for signal n.

    Owns SIGINT, SIGTERM and SIGHUP meanwhile. Background sessions that still use the proxy are waited for.
    """
    changes = client_environment(
        settings, base_url, window_tokens=window_tokens, model_id=model_id, user_env=environ, token=token
    )
    for note in changes.notes:
        _say(note)
    code = await run_claude([claude, *claude_args], changes.applied_to(environ))
    await background_sessions_ended(base_url)
    return code


async def run_claude(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run it in the foreground of our terminal. Whatever ends this coroutine ends the program."""
    started: asyncio.Future[asyncio.subprocess.Process] = asyncio.get_running_loop().create_future()
    with _signals(lambda number: _pass_on(started, number)):
        try:
            child = await asyncio.create_subprocess_exec(*command, env=dict(environment))
        except OSError as error:
            raise SettingsError(f"{command[0]} could not be started: {error.strerror or error}.") from error
        started.set_result(child)
        guard = _guard(child.pid)
        try:
            code = await child.wait()
        finally:
            if child.returncode is None:
                await _end(child)
            guard.kill()
            guard.communicate()
    return code if code >= 0 else 128 - code


async def background_sessions_ended(base_url: str, *, poll_s: float = POLL_S) -> None:
    """Wait until no Claude Code that was started with this proxy runs any more, or we are told to end."""
    told = asyncio.Event()
    with _signals(lambda number: told.set()):
        pids = await asyncio.to_thread(claude_processes, base_url)
        if pids:
            _say(
                "Claude Code has ended, but a background session of it still uses this proxy, which stays until that "
                f"ends too (process {', '.join(map(str, pids))}; `claude agents` lists it). Ctrl-C ends the proxy now."
            )
        while pids and not told.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(told.wait(), poll_s)
            pids = await asyncio.to_thread(claude_processes, base_url)


def claude_processes(base_url: str) -> list[int]:
    """Pids of the running Claude Code processes whose environment names this proxy: sessions and their supervisor.

    Environments of other users are not readable and do not count. Anything else that inherited the variable, like a
    server a session has started, does not count either.
    """
    import psutil

    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if _is_claude(process) and process.environ().get("ANTHROPIC_BASE_URL") == base_url:
                found.append(process.pid)
    return found


def _is_claude(process: psutil.Process) -> bool:
    # Release 2 is a program of that name, release 1 a script of node that gives its process that name.
    first, second = [*process.cmdline()[:2], "", ""][:2]
    return any(Path(word).name.startswith("claude") for word in (process.name(), first)) or CLAUDE_PACKAGE in second


def _guard(pid: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", str(Path(__file__).with_name("guard.py")), str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C and the end of the terminal are not for the guard
    )


def _pass_on(started: asyncio.Future[asyncio.subprocess.Process], number: int) -> None:
    """Ctrl-C reaches Claude Code from the terminal by itself; the rest is told to it, and enforced after a while."""
    if number == signal.SIGINT:
        return
    if not started.done():
        started.add_done_callback(lambda _: _pass_on(started, number))
        return
    child = started.result()
    with suppress(ProcessLookupError):
        child.send_signal(number)
    asyncio.get_running_loop().call_later(END_GRACE_S, _kill, child)


async def _end(child: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        child.terminate()
    try:
        await asyncio.wait_for(child.wait(), END_GRACE_S)
    except TimeoutError:
        _kill(child)
        await child.wait()


def _kill(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        with suppress(ProcessLookupError):
            child.kill()


@contextmanager
def _signals(react: Callable[[int], None]) -> Iterator[None]:
    """Have `react` called in the loop for SIGINT, SIGTERM and SIGHUP; what was set before comes back after.

    A signal that is ignored, as SIGHUP under nohup, stays ignored, for Claude Code too.
    """
    loop = asyncio.get_running_loop()
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers if signal.getsignal(number) != signal.SIG_IGN}
    for number in before:
        # A Python handler, not SIG_IGN: the child must not inherit that a signal is ignored.
        signal.signal(number, lambda got, frame: loop.call_soon_threadsafe(react, got))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(sentence: str) -> None:
    print(f"anyclaude: {sentence}", file=sys.stderr, flush=True)
