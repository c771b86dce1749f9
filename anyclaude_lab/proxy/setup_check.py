"""`--check-setup`: what is found on this machine, what is missing, what would get in the way. Nothing is started."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import socket
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from anyclaude_lab import __version__
from anyclaude_lab.errors import AnyclaudeError, SettingsError
from anyclaude_lab.settings import PREFERRED_PORT, Settings
from anyclaude_lab.settings.kinds import without_credentials

if TYPE_CHECKING:
    from anyclaude_lab.backends.capabilities import Capabilities
    from anyclaude_lab.backends.openai_http import OpenAIBackend
    from anyclaude_lab.compose import Composition

READY, NOT_READY = 0, 4
HEALTH_S = 10.0
LEARN_S = 30.0
VERSION_S = 20.0
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


class Level(Enum):
    """How much a finding matters; a failure is what the chosen mode cannot work with."""

    FINE = "ok"
    NOTE = "note"
    WARNING = "warn"
    FAILURE = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    level: Level
    about: str
    sentence: str


async def check_setup(settings: Settings, environ: Mapping[str, str], *, cwd: Path, home: Path) -> int:
    """Print every finding; returns 0 when the mode can work, 4 when something it needs is missing."""
    findings = await find(settings, environ, cwd=cwd, home=home)
    print(f"anyclaude {__version__}, mode {settings.mode} ({settings.origins.get('backend', 'default')})")
    for finding in findings:
        print(f"{finding.level.value:<5} {finding.about:<13} {finding.sentence}")
    failures = sum(finding.level is Level.FAILURE for finding in findings)
    print("Ready." if not failures else f"Not ready: {failures} of the lines above must be mended.")
    return NOT_READY if failures else READY


async def find(settings: Settings, environ: Mapping[str, str], *, cwd: Path, home: Path) -> list[Finding]:
    """Everything there is to say, in the order in which one would mend it."""
    backend, servers, claude = await asyncio.gather(
        check_backend(settings, home=home), running_servers(), check_claude(settings, environ)
    )
    return [
        Finding(Level.FINE, "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        check_engine(settings),
        *backend,
        *servers,
        check_port(settings),
        claude,
        *overriding_entries(our_variables(settings), claude_settings_files(environ, cwd=cwd, home=home)),
        *check_proxies(settings, environ),
    ]


def check_engine(settings: Settings) -> Finding:
    """Whether mlx-lm is there, and whether it is needed."""
    needed = settings.mode == "local" and settings.local.source != "url"
    try:
        return Finding(Level.FINE, "engine", f"mlx-lm {metadata.version('mlx-lm')}")
    except metadata.PackageNotFoundError:
        if not needed:
            return Finding(Level.NOTE, "engine", "mlx-lm is not installed, and not needed here")
        sentence = "mlx-lm is not installed, so no model can be run here: set LOCAL_URL to a server that runs one"
        return Finding(Level.FAILURE, "engine", sentence)


async def check_backend(settings: Settings, *, home: Path) -> list[Finding]:
    """Whether the parts of the mode fit together and its backend answers. A server of ours is not started for it."""
    from anyclaude_lab.compose import composed

    try:
        if settings.mode == "local" and settings.local.source != "url":
            _check_place(home / ".anyclaude")
            return [_check_model(settings)]
        async with asyncio.timeout(HEALTH_S + LEARN_S), composed(settings, state_folder=home / ".anyclaude") as parts:
            complaint = await parts.variant.backend.health()
            window = None if complaint else await parts.variant.window()
            able = await _learnt(parts) if complaint is None else []
    except AnyclaudeError as error:
        complaint = error.message
    except TimeoutError:
        complaint = f"no answer within {HEALTH_S + LEARN_S:g} s"
    if complaint is not None:
        address = _address(settings)
        where = f" ({address})" if address.removesuffix("/v1") not in complaint else ""
        return [Finding(Level.FAILURE, "backend", complaint + where)]
    findings = [Finding(Level.FINE, "backend", _described(settings))]
    if settings.translating:
        findings += [check_window(window, settings.mode), *able]
    if settings.mode == "claude" and settings.claude.api_key is None:
        findings.append(Finding(Level.NOTE, "key", "ANTHROPIC_API_KEY is not set; Claude Code's own login is used"))
    return findings


async def _learnt(parts: Composition) -> list[Finding]:
    """What each server can do: remembered, or asked now in a few tokens."""
    found = await asyncio.gather(*map(_learn, parts.askable))
    return [
        _abilities(f"{backend.name}: " if len(found) > 1 else "", able)
        for backend, able in zip(parts.askable, found, strict=True)
    ]


async def _learn(backend: OpenAIBackend) -> Capabilities | None:
    try:
        async with asyncio.timeout(LEARN_S):
            return await backend.learn()
    except (AnyclaudeError, TimeoutError):
        return None


def _abilities(whose: str, found: Capabilities | None) -> Finding:
    if found is None:
        return Finding(Level.NOTE, "abilities", f"{whose}the server did not say in time what it can do")
    if found.tools is False:
        sentence = f"{whose}this model takes no tools, which Claude Code needs: {found.told()}"
        return Finding(Level.WARNING, "abilities", sentence)
    return Finding(Level.FINE, "abilities", f"{whose}{found.told()}")


def check_window(window_tokens: int | None, mode: str) -> Finding:
    """Whether Claude Code's own prompt fits."""
    from anyclaude_lab.proxy.client_environment import LEAST_WINDOW_TOKENS

    if window_tokens is None:
        sentence = (
            f"the backend does not tell its context window: set backends.{mode}.contextLength in .anyclauderc.json"
        )
        return Finding(Level.WARNING, "window", sentence)
    if window_tokens < LEAST_WINDOW_TOKENS:
        sentence = f"{window_tokens} tokens are too few for Claude Code: load the model with 32768 or more"
        return Finding(Level.WARNING, "window", sentence)
    return Finding(Level.FINE, "window", f"{window_tokens} tokens")


def _check_place(state_folder: Path) -> None:
    """Raises `SettingsError` where a server that is started could not keep its files; makes nothing."""
    from anyclaude_lab.compose import no_place

    try:
        there = next(folder for folder in (state_folder, *state_folder.parents) if folder.exists())
    except OSError as error:
        raise no_place(state_folder, error.strerror or str(error)) from None
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise no_place(state_folder, f"{there} is no folder that can be written")


def _check_model(settings: Settings) -> Finding:
    """Whether a server could be started. Raises `SettingsError` where not."""
    from anyclaude_lab.backends.model_folder import model_folder
    from anyclaude_lab.engine import embedded
    from anyclaude_lab.engine.fit import fit_of, fitting_window
    from anyclaude_lab.engine.hub import command, is_hub_id
    from anyclaude_lab.engine.mlx_server import ground_for, missing_part

    if settings.local.model_path is None:
        ground_for(embedded.folder())
        sentence = "nothing is configured: the small demonstration model answers (LOCAL_URL or --model name a real one)"
        return Finding(Level.FINE, "backend", sentence)
    name = settings.local.model_path
    folder = model_folder(name)
    if is_hub_id(name) and (folder is None or missing_part(folder) is not None):
        return Finding(Level.WARNING, "backend", f"{name} is not on this machine as a whole: {command(name)}")
    ground_for(folder or name)
    window = fitting_window(folder, settings.context_tokens) if folder else None
    fit = f" ({fit_of(folder).told(window)})" if folder and window else ""
    return Finding(Level.FINE, "backend", f"a server is started for {name} when it is needed{fit}")


def _described(settings: Settings) -> str:
    if settings.mode == "mlx-cluster":
        return f"answers: {len(settings.cluster.nodes)} nodes configured"
    return f"answers at {_address(settings)}" + (f", model {settings.model}" if settings.model else "")


def _address(settings: Settings) -> str:
    """Where the backend is; "" where it is in no single place."""
    url = {
        "local": settings.local.base_url,
        "openrouter": settings.openrouter.base_url,
        "claude": settings.claude.base_url,
    }.get(settings.mode)
    return without_credentials(url or "")


async def running_servers() -> list[Finding]:
    """The model servers that run on this machine, with the address to set."""
    from anyclaude_lab.backends.probe import find_running

    found = await find_running()
    if not found:
        return [Finding(Level.NOTE, "servers", "no model server was found on the usual ports of this machine")]
    return [
        Finding(
            Level.NOTE,
            "servers",
            f"{server.label} runs here: LOCAL_URL={server.url}"
            + (f" (models: {', '.join(server.models[:3])}{', ...' if len(server.models) > 3 else ''})")
            * bool(server.models),
        )
        for server in found
    ]


def check_port(settings: Settings) -> Finding:
    """Whether the proxy can listen where it should."""
    port = PREFERRED_PORT if settings.port is None else settings.port
    where = f"{settings.host}:{port}"
    try:
        address = socket.getaddrinfo(settings.host, port, type=socket.SOCK_STREAM)[0]
        with socket.create_server(address[4][:2], family=address[0]):
            return Finding(Level.FINE, "port", f"{where} is free" if port else "a free one is taken")
    except socket.gaierror:
        return Finding(Level.FAILURE, "port", f"{settings.host} is no address of this machine")
    except OSError as error:
        if settings.port is None:
            return Finding(Level.NOTE, "port", f"{where} is taken, so a free one will be")
        reason = (error.strerror or str(error)).lower()
        return Finding(Level.FAILURE, "port", f"{where} cannot be listened on ({reason}): choose another --port")


async def check_claude(settings: Settings, environ: Mapping[str, str]) -> Finding:
    """Whether Claude Code is there, and which release."""
    from anyclaude_lab.proxy.launcher import find_claude

    try:
        program = str(find_claude(environ))
    except SettingsError as error:
        return Finding(Level.NOTE if settings.proxy_only else Level.FAILURE, "claude", error.message)
    version = await _version(program, environ)
    if version is None:
        return Finding(Level.WARNING, "claude", f"{program} is there but does not tell its version")
    return Finding(Level.FINE, "claude", f"{version}, {program}")


async def _version(program: str, environ: Mapping[str, str]) -> str | None:
    process = None
    try:
        async with asyncio.timeout(VERSION_S):
            process = await asyncio.create_subprocess_exec(
                program,
                "--version",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=dict(environ),
            )
            output, _ = await process.communicate()
    except (OSError, TimeoutError):
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()
        return None
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[0] if process.returncode == 0 and lines else None


def claude_settings_files(environ: Mapping[str, str], *, cwd: Path, home: Path) -> list[Path]:
    """Claude Code's settings files, the strongest first. Sources: code.claude.com/docs/en/settings, and 2.1.330 itself:
    of the folders above the current one, only the repository's settings.local.json is read.
    """
    managed = managed_folder(sys.platform, environ)
    user = Path(environ.get("CLAUDE_CONFIG_DIR") or home / ".claude")
    repository = next((folder for folder in (cwd, *cwd.parents) if (folder / ".git").exists()), cwd)
    files = [
        *sorted((managed / "managed-settings.d").glob("*.json"), reverse=True),
        managed / "managed-settings.json",
        cwd / ".claude" / "settings.local.json",
        repository / ".claude" / "settings.local.json",
        cwd / ".claude" / "settings.json",
        user / "settings.json",
    ]
    return list(dict.fromkeys(files))


def managed_folder(system: str, environ: Mapping[str, str]) -> Path:
    """Where an organisation puts its settings. `system` is a `sys.platform`."""
    if system == "darwin":
        return Path("/Library/Application Support/ClaudeCode")
    if system == "win32":
        return Path(environ.get("PROGRAMFILES") or r"C:\Program Files") / "ClaudeCode"
    return Path("/etc/claude-code")


def our_variables(settings: Settings) -> dict[str, str | None]:
    """What Claude Code is started with in this mode, None for what is taken out or would lead past the proxy."""
    from anyclaude_lab.proxy.client_environment import DETOURS, client_environment, client_model_id

    environment = client_environment(
        settings, "", window_tokens=None, model_id=client_model_id(settings.model), user_env={}
    )
    return {**dict.fromkeys((*environment.unset, *DETOURS)), **environment.set}


def overriding_entries(ours: Mapping[str, str | None], files: Iterable[Path]) -> list[Finding]:
    """`env` entries of Claude Code's settings files that beat the variables we start it with, each one by name.

    `ours`: name to value, None for a variable that we take out. An entry with our own value does no harm.
    """
    from anyclaude_lab.proxy.client_environment import DETOURS

    findings = []
    for path in files:
        if not path.is_file():
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError):
            findings.append(Finding(Level.WARNING, "overridden", f"{path} cannot be read as JSON"))
            continue
        entries = content.get("env") if isinstance(content, dict) else None
        for name, value in entries.items() if isinstance(entries, dict) else ():
            if name not in ours or ours[name] == value or (name.upper() == "NO_PROXY" and _exempts_loopback(value)):
                continue
            bypassed = name == "ANTHROPIC_BASE_URL" or name in DETOURS
            why = "Claude Code will not talk to this proxy" if bypassed else "it beats what anyclaude sets"
            level = Level.FAILURE if bypassed else Level.WARNING
            findings.append(Finding(level, "overridden", f"{path} sets {name} in its env: {why}; take it out there"))
    return findings


def _exempts_loopback(no_proxy: object) -> bool:
    exempt = {host.strip() for host in str(no_proxy).split(",")}
    return "*" in exempt or {"127.0.0.1", "localhost"} <= exempt


def check_proxies(settings: Settings, environ: Mapping[str, str]) -> list[Finding]:
    """An HTTP proxy that Claude Code would send even this machine's traffic through."""
    names = [name for upper in PROXY_VARIABLES for name in (upper, upper.lower()) if environ.get(name)]
    if not names:
        return []
    if _exempts_loopback(f"{environ.get('NO_PROXY', '')},{environ.get('no_proxy', '')}"):
        return [Finding(Level.FINE, "proxy", f"{', '.join(names)} set, this machine is exempt")]
    if not settings.proxy_only:
        return [
            Finding(Level.NOTE, "proxy", f"{', '.join(names)} set; Claude Code is started with this machine exempt")
        ]
    sentence = f"{', '.join(names)} set: start Claude Code with NO_PROXY=127.0.0.1,localhost,::1"
    return [Finding(Level.WARNING, "proxy", sentence)]
