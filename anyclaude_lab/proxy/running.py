"""One proxy from settings to a port that answers, and its end. The program and `lab.Proxy` both run it."""

from __future__ import annotations

import contextlib
import os
import secrets as secrets_of_system
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from anyclaude_lab import __version__
from anyclaude_lab.backends.http import is_loopback
from anyclaude_lab.compose import EMBEDDED_NAME, composed, search_services, secrets
from anyclaude_lab.errors import SettingsError
from anyclaude_lab.proxy.client_environment import client_model_id
from anyclaude_lab.proxy.log import Log
from anyclaude_lab.proxy.server import Server
from anyclaude_lab.proxy.serving import Serving
from anyclaude_lab.settings import Secret, Settings, home_folder

if TYPE_CHECKING:
    from anyclaude_lab.trace.store import Recorder

LEAST_TOKEN = 16


@dataclass(frozen=True, slots=True)
class RunningProxy:
    """A proxy that listens. `model_id` is what Claude Code calls its model; `token`: what other machines send."""

    serving: Serving
    server: Server
    model_id: str
    token: Secret | None

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def client_token(self) -> str | None:
        """What a client of this machine has to send to `url`: nothing, unless that is an address for others too."""
        here = is_loopback(urlsplit(self.url).hostname or "")
        return None if here or self.token is None else self.token.reveal()


@asynccontextmanager
async def running(
    settings: Settings, *, state_folder: Path, console: bool = False, probe: bool = False
) -> AsyncIterator[RunningProxy]:
    """The proxy of these settings, until the block is left, however it is left.

    `console`: a line for each request on stderr; `probe`: what answers is asked what it can do, in the background and
    only until the first request. Raises `SettingsError` where the settings lack something, or where
    port, folder or address cannot be used.
    """
    token = _access_token(settings)
    _make_private(state_folder)
    log = Log(
        settings.debug,
        state_folder / "logs",
        json_lines=settings.log_format == "json",
        console=console,
        secrets=[*secrets(settings), *([token] if token else [])],
    )
    model_id = client_model(settings)
    async with composed(settings, state_folder=state_folder) as parts, AsyncExitStack() as stack:
        services = search_services(settings)
        serving = Serving(
            settings, parts.variant, log, parts.breaker, access_token=token, models=(model_id,), search=services
        )
        stack.callback(log.note, "stopped")
        stack.callback(_finish_recording, serving)
        serving.begin_recording = partial(_recorder, settings, serving, state_folder)
        if settings.record_dir is not None:
            serving.recorder = serving.begin_recording()
        server = Server(serving)
        stack.push_async_callback(server.stop)
        url = await server.start(settings.host, settings.port)
        log.note(f"anyclaude {__version__} {settings.mode} listening on {url}")
        for backend in parts.askable if probe else ():
            backend.learn_soon(log.note)
        yield RunningProxy(serving, server, model_id, token)


def client_model(settings: Settings) -> str:
    """The id Claude Code is told for the model of these settings."""
    if settings.mode == "local" and settings.local.source == "embedded":
        return client_model_id(EMBEDDED_NAME)
    return client_model_id(settings.model or settings.local.model_path)


def _finish_recording(serving: Serving) -> None:
    """Blocks: nothing else is left to do, and at the end of an interpreter there are no other threads to ask."""
    if serving.recorder is not None:
        serving.recorder.close()


def _make_private(folder: Path) -> None:
    with contextlib.suppress(OSError):  # whoever needs the folder complains about it
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)


def _access_token(settings: Settings) -> Secret | None:
    """What other machines have to send; None where the proxy listens to this one only."""
    if is_loopback(settings.host):
        return None
    if settings.access_token is None:
        return Secret(secrets_of_system.token_urlsafe(24))
    if len(settings.access_token.reveal()) < LEAST_TOKEN:
        raise SettingsError(f"accessToken is too short: at least {LEAST_TOKEN} characters keep strangers out.")
    return settings.access_token


def _recorder(settings: Settings, serving: Serving, state_folder: Path) -> Recorder:
    """Raises `SettingsError` where the folder cannot be used."""
    from anyclaude_lab.trace.redaction import Redaction
    from anyclaude_lab.trace.store import Recorder

    folder = settings.record_dir or state_folder / "traces"
    held = [*secrets(settings), *([serving.access_token] if serving.access_token else [])]
    known = tuple(secret.reveal() for secret in held if len(secret.reveal()) >= 8)
    redaction = Redaction(os.urandom(16), known, str(home_folder()))
    try:
        return Recorder(folder, redaction, on_drop=serving.metrics.trace_dropped.inc, on_trouble=serving.log.note)
    except OSError as error:
        raise SettingsError(
            f"Sessions cannot be recorded in {folder} ({error.strerror or error}): "
            "name another folder with --record DIR, or turn it off with --no-record."
        ) from None
