"""Drives the real Claude Code, headless or in a terminal, in a home and a project of its own.

Nothing of the surrounding user reaches it: no credential, no setting, no proxy. Nothing it sends or prints is stored
beyond the test.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.requirements import require_claude, require_tmux
from tests.standins.http import JsonObject

LATEST = "2.1.330"
RELEASES = (LATEST, "2.0.30", "1.0.100")

KEY = "sk-ant-test"
PROMPT_SIGNS = (">", "\u276f")  # before 2.1, and since
LINES, LINE_CHARACTERS = 40, 300
SHOWN_S = 120.0  # for what a session that goes well shows in seconds
ENDED_S = 300.0  # a session that goes well is over long before, on a busy machine too
SCRUBBED_PREFIXES = (
    "ANTHROPIC_",
    "CLAUDE",
    "ANYCLAUDE_",
    "AWS_",
    "OTEL_",
    "npm_config_",
    "LOCAL_",
    "MLX_",
    "OPENROUTER_",
)
SCRUBBED_NAMES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "TMUX", "TMUX_PANE", "NODE_OPTIONS"}


@dataclass(frozen=True, slots=True)
class Place:
    """A home without an account and a project folder in it."""

    home: Path
    project: Path

    @classmethod
    def fresh(cls, folder: Path, project: str = "project") -> Place:
        """Make both below `folder`. The project is trusted and the onboarding done, as after a first start."""
        place = cls(folder / "home", folder / project)
        place.home.mkdir(parents=True, exist_ok=True)
        place.project.mkdir(parents=True, exist_ok=True)
        trusted = {"allowedTools": [], "hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
        onboarded: JsonObject = {
            "hasCompletedOnboarding": True,
            "theme": "dark",
            "numStartups": 3,
            "bypassPermissionsModeAccepted": True,
            "customApiKeyResponses": {"approved": [KEY], "rejected": []},
            "projects": {str(place.project): trusted},
        }
        (place.home / ".claude.json").write_text(json.dumps(onboarded))
        (place.home / ".claude").mkdir()
        (place.home / ".claude" / "settings.json").write_text(json.dumps({"skipDangerousModePermissionPrompt": True}))
        return place


@dataclass(frozen=True, slots=True)
class Result:
    """How a headless run ended."""

    stdout: str
    stderr: str
    rc: int
    seconds: float

    @property
    def json(self) -> JsonObject:
        """What `--output-format json` printed."""
        value: JsonObject = json.loads(self.stdout)
        return value

    def __str__(self) -> str:
        printed = _brief("stdout", self.stdout) + _brief("stderr", self.stderr)
        return f"exit code {self.rc} after {self.seconds:.1f} s\n{printed}"


def _brief(name: str, text: str) -> str:
    """The last lines of an output, each cut: a crash of the client prints its own source in lines of a megabyte."""
    lines = [line[:LINE_CHARACTERS] for line in text.splitlines()[-LINES:]]
    return "\n".join([f"--- {name}", *lines, ""])


def scrubbed() -> dict[str, str]:
    """The environment of the tests without anything that would change the client or the proxy."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(SCRUBBED_PREFIXES) and name.upper() not in SCRUBBED_NAMES
    }


def environment(place: Place, base_url: str | None, extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a client: that of the shell without anything that would change it."""
    ours = {
        "HOME": str(place.home),
        "IS_SANDBOX": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "SHELL": "/bin/bash",
    }
    if base_url is not None:
        ours |= {"ANTHROPIC_BASE_URL": base_url, "ANTHROPIC_API_KEY": KEY}
    return scrubbed() | ours | dict(extra)


def headless(
    version: str,
    prompt: str,
    *,
    place: Place,
    base_url: str | None = None,
    command: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    args: Sequence[str] = ("--dangerously-skip-permissions",),
    timeout: float = ENDED_S,
) -> Result:
    """Run `claude -p PROMPT` to its end.

    `base_url` points the client somewhere; `command` starts it through a launcher, which finds it on the PATH.
    Raises AssertionError with what was printed when it does not end in time.
    """
    claude = require_claude(version)
    variables = environment(place, base_url, env or {})
    variables["PATH"] = f"{claude.parent}{os.pathsep}{variables['PATH']}"
    line = [*(command or [str(claude)]), "-p", prompt, *args]
    started = time.monotonic()
    with subprocess.Popen(
        line,
        cwd=place.project,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            stdout, stderr = process.communicate()
            result = Result(stdout, stderr, -9, time.monotonic() - started)
            raise AssertionError(f"Claude Code {version} did not end: {result}") from None
    return Result(stdout, stderr, process.returncode, time.monotonic() - started)


@dataclass(slots=True)
class Terminal:
    """An interactive session in a tmux of its own. A context manager: leaving it ends everything it started."""

    version: str
    place: Place
    base_url: str | None = None
    command: Sequence[str] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    args: Sequence[str] = ()
    columns: int = 120
    rows: int = 50
    _socket: str = field(default_factory=lambda: f"anyclaude-{uuid.uuid4().hex[:12]}")
    _tmux: str = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            error.add_note(f"the terminal showed:\n{self.screen()}")
        self.stop()

    def start(self) -> None:
        self._tmux = str(require_tmux())
        claude = require_claude(self.version)
        variables = environment(self.place, self.base_url, self.env)
        variables["PATH"] = f"{claude.parent}{os.pathsep}{variables['PATH']}"
        line = shlex.join([*(self.command or [str(claude)]), *self.args])
        # The shell stays after the client, so that its last words and its exit code can be read.
        line = f'{line}; echo "exit code $?"; exec sleep 3600'
        size = ["-x", str(self.columns), "-y", str(self.rows)]
        new = ["-f", os.devnull, "new-session", "-d", *size, "-c", str(self.place.project), line]
        subprocess.run([self._tmux, "-L", self._socket, *new], env=variables, check=True, timeout=SHOWN_S)

    def screen(self, history: int = 500) -> str:
        """What the terminal shows, and what has scrolled off it."""
        return self._run("capture-pane", "-p", "-J", "-S", f"-{history}")

    def send(self, text: str, *, enter: bool = True) -> None:
        """Type a text as it stands and, with `enter`, submit it. Raises AssertionError when the client keeps it.

        2.0.30 takes an Enter that comes while it is busy for a part of pasted text, so Enter is pressed until the
        text has left the input line.
        """
        self._run("send-keys", "-l", text)
        self.wait_for(text[-20:])
        for tries in range(1, 11 if enter else 1):
            self.wait_for_rest(quiet_s=0.4 * tries)
            self.keys("Enter")
            self.wait_for_rest(quiet_s=0.4 * tries)
            if self._submitted(text):
                return
        assert not enter, f"{text!r} was not submitted:\n{self.screen()}"

    def _submitted(self, text: str) -> bool:
        """Whether the text has moved from the input line, the last that begins with the prompt sign, to above it."""
        prompts = [line for line in self.screen().splitlines() if line.lstrip("│ \u00a0").startswith(PROMPT_SIGNS)]
        return bool(prompts) and text not in prompts[-1] and any(text in line for line in prompts[:-1])

    def keys(self, *names: str) -> None:
        """Press keys by their tmux names: Enter, Escape, C-c, Up."""
        self._run("send-keys", *names)

    def wait_for(self, text: str, deadline_s: float = SHOWN_S) -> str:
        """Wait until the text is shown; the screen. Raises AssertionError with the screen after the deadline."""
        until = time.monotonic() + deadline_s
        while text not in (screen := self.screen()):
            if time.monotonic() > until:
                raise AssertionError(f"{text!r} was not shown within {deadline_s} s:\n{screen}")
            time.sleep(0.1)
        return screen

    def wait_for_rest(self, quiet_s: float = 0.4, deadline_s: float = 5) -> None:
        """Wait until the screen has not changed for a while, or it never rests."""
        until = time.monotonic() + deadline_s
        before, since = self.screen(), time.monotonic()
        while time.monotonic() - since < quiet_s and time.monotonic() < until:
            time.sleep(0.05)
            if (now := self.screen()) != before:
                before, since = now, time.monotonic()

    def stop(self) -> None:
        """End the session and every process in it."""
        pane = self._run("list-panes", "-F", "#{pane_pid}", check=False).strip()
        self._run("kill-server", check=False)
        if pane.isdigit():
            _end_group(int(pane))

    def _run(self, *arguments: str, check: bool = True) -> str:
        line = [self._tmux, "-L", self._socket, *arguments]
        return subprocess.run(line, capture_output=True, text=True, check=check, timeout=SHOWN_S).stdout


def _end_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
