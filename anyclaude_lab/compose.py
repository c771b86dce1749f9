"""Settings to a way of answering: the only place that knows which parts go together."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anyclaude_lab.backends.base import Backend
from anyclaude_lab.backends.breaker import Breaker, GatedBackend
from anyclaude_lab.backends.claude import ClaudeBackend
from anyclaude_lab.backends.cluster import ClusterBackend
from anyclaude_lab.backends.http import Budgets
from anyclaude_lab.backends.openai_http import OpenAIBackend
from anyclaude_lab.backends.openrouter import OpenRouterBackend
from anyclaude_lab.backends.starting import StartingBackend
from anyclaude_lab.engine import embedded
from anyclaude_lab.errors import SettingsError
from anyclaude_lab.exchange import Variant
from anyclaude_lab.exchange.count import PromptCounter
from anyclaude_lab.prompt.pipeline import Plan
from anyclaude_lab.settings import Secret, Settings, missing

if TYPE_CHECKING:
    from anyclaude_lab.engine.servers import Running

EMBEDDED_NAME = "embedded"
EMBEDDED_WINDOW_TOKENS = 65_536


@dataclass(frozen=True, slots=True)
class Composition:
    """The parts of one proxy. `starting` is the server being brought up for the user, where there is one."""

    variant: Variant
    breaker: Breaker | None
    starting: StartingBackend[Running] | None = None


def compose(settings: Settings, *, state_folder: Path) -> Composition:
    """Choose the parts. Raises `SettingsError` where the settings lack what the mode needs."""
    lacking = missing(settings)
    if lacking:
        raise SettingsError(lacking)
    backend, starting = _backend(settings, state_folder)
    breaker = None
    if settings.breaker.enabled:
        breaker = Breaker(
            failure_threshold=settings.breaker.failure_threshold,
            success_threshold=settings.breaker.success_threshold,
            retry_s=settings.breaker.retry_s,
        )
        backend = GatedBackend(backend, breaker, time.monotonic)
    variant = Variant(
        name=settings.mode,
        backend=backend,
        plan=plan(settings),
        counter=PromptCounter(backend),
        window_tokens=settings.context_tokens or embedded_window(settings),
    )
    return Composition(variant, breaker, starting)


def plan(settings: Settings) -> Plan:
    """The prompt work these settings ask for."""
    return Plan(
        strip_billing=settings.strip_billing,
        tool_allowlist=settings.tool_allowlist,
        hide_web_search=not settings.web_search.configured,
    )


def secrets(settings: Settings) -> Iterable[Secret]:
    """Every key the settings hold, to be kept out of logs."""
    held = (
        settings.local.api_key,
        settings.openrouter.api_key,
        settings.claude.api_key,
        settings.web_search.tavily_api_key,
        settings.web_search.brave_api_key,
    )
    return (key for key in held if key is not None)


def _backend(settings: Settings, state_folder: Path) -> tuple[Backend, StartingBackend[Running] | None]:
    budgets = Budgets(silence_s=settings.request_timeout_s)
    if settings.mode == "claude":
        return ClaudeBackend(settings.claude.base_url, api_key=_reveal(settings.claude.api_key), budgets=budgets), None
    if settings.mode == "openrouter":
        router = settings.openrouter
        return (
            OpenRouterBackend(
                base_url=router.base_url,
                api_key=_reveal(router.api_key) or "",
                model=settings.model or router.model,
                small_model=settings.small_model,
                providers=router.providers,
                allow_fallbacks=router.allow_fallbacks,
                site_url=router.site_url,
                app_title=router.app_title,
                budgets=budgets,
            ),
            None,
        )
    if settings.mode == "mlx-cluster":
        nodes = [
            OpenAIBackend(node.id, node.url, model=settings.model, small_model=settings.small_model, budgets=budgets)
            for node in settings.cluster.nodes
        ]
        return ClusterBackend(nodes), None
    return _local(settings, budgets, state_folder)


def _local(settings: Settings, budgets: Budgets, state_folder: Path) -> tuple[Backend, StartingBackend[Running] | None]:
    local = settings.local
    if local.source == "url":
        assert local.base_url is not None, "missing() has seen to it"
        backend = OpenAIBackend(
            "local",
            local.base_url,
            server=local.server,
            model=settings.model,
            small_model=settings.small_model,
            api_key=_reveal(local.api_key),
            budgets=budgets,
        )
        return backend, None
    from anyclaude_lab.engine.servers import ServerSpec, shared_server

    is_embedded = local.source == "embedded"
    model_path = str(embedded.folder()) if is_embedded else local.model_path
    assert model_path is not None, "source `start` has a model"
    name = EMBEDDED_NAME if is_embedded else Path(model_path).name

    def connect(running: Running) -> Backend:
        return OpenAIBackend(name, running.url, server="mlx-lm", model_path=Path(model_path), budgets=budgets)

    spec = ServerSpec.mlx_lm(model_path, port=local.port, startup_timeout_s=local.startup_timeout_s)
    server: AbstractAsyncContextManager[Running] = shared_server(spec, state_folder=state_folder)
    starting = StartingBackend(name, server, connect)
    return starting, starting


def embedded_window(settings: Settings) -> int | None:
    """The window of the model that comes with the package; None where another one answers."""
    return EMBEDDED_WINDOW_TOKENS if settings.mode == "local" and settings.local.source == "embedded" else None


def _reveal(secret: Secret | None) -> str | None:
    return secret.reveal() if secret is not None else None
