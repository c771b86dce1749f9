"""Settings to a way of answering: the only place that knows which parts go together."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from anyclaude_lab.backends.base import Backend
from anyclaude_lab.backends.breaker import Breaker, GatedBackend
from anyclaude_lab.backends.capabilities import CapabilityFile
from anyclaude_lab.backends.claude import ClaudeBackend
from anyclaude_lab.backends.cluster import ClusterBackend
from anyclaude_lab.backends.http import Budgets, credentials_of
from anyclaude_lab.backends.model_folder import model_folder
from anyclaude_lab.backends.openai_http import OpenAIBackend
from anyclaude_lab.backends.openrouter import OpenRouterBackend
from anyclaude_lab.backends.search import Brave, SearchService, SearXNG, Tavily
from anyclaude_lab.backends.started import StartedBackend
from anyclaude_lab.backends.tls import trust_also
from anyclaude_lab.engine import embedded
from anyclaude_lab.engine.spec import ServerSpec
from anyclaude_lab.errors import SettingsError
from anyclaude_lab.exchange import Variant
from anyclaude_lab.exchange.count import PromptCounter
from anyclaude_lab.exchange.model_files import FolderFiles
from anyclaude_lab.prompt.pipeline import Plan
from anyclaude_lab.settings import Secret, Settings, missing

EMBEDDED_NAME = "embedded"
EMBEDDED_WINDOW_TOKENS = 65_536
EMBEDDED_OUTPUT_TOKENS = 1024  # it writes short calls, or goes on for ever


@dataclass(frozen=True, slots=True)
class Composition:
    """The parts of one proxy."""

    variant: Variant
    breaker: Breaker | None
    askable: Sequence[OpenAIBackend] = ()  # what answers, where it can be asked what it can do


@asynccontextmanager
async def composed(settings: Settings, *, state_folder: Path) -> AsyncIterator[Composition]:
    """The parts these settings ask for, and their end. Raises `SettingsError` where the settings lack something.

    A model server that has to be started is being started when the block is entered; requests wait for it.
    """
    lacking = missing(settings)
    if lacking:
        raise SettingsError(lacking)
    trust_also(settings.ca_bundle)
    async with AsyncExitStack() as stack:
        gate = breaker(settings)

        def gated(answering: Backend) -> Backend:
            return GatedBackend(answering, gate, time.monotonic) if gate is not None else answering

        askable: Sequence[OpenAIBackend] = ()
        if settings.mode == "local" and settings.local.source != "url":
            backend = await _started(settings, state_folder, stack, gated)
        else:
            answering, askable = _backend(settings, CapabilityFile(state_folder / "capabilities.json"))
            if isinstance(answering, ClusterBackend):
                answering.start()
            backend = gated(answering)
        stack.push_async_callback(backend.close)
        folder = _model_folder(settings)
        variant = Variant(
            name=settings.mode,
            backend=backend,
            plan=plan(settings),
            counter=PromptCounter(backend, FolderFiles(folder) if folder else None),
            window_tokens=_known_window(settings) or settings.context_tokens,
            output_cap_tokens=EMBEDDED_OUTPUT_TOKENS if folder == embedded.folder() else None,
        )
        yield Composition(variant, gate, askable)


def plan(settings: Settings) -> Plan:
    """The prompt work these settings ask for."""
    return Plan(
        strip_billing=settings.strip_billing,
        tool_allowlist=settings.tool_allowlist,
        hide_web_search=not settings.web_search.configured,
        tier=settings.filter_tier,
        stub_tools=settings.stub_tools,
        whole_tools=frozenset(settings.whole_tools),
        defer_tools=settings.defer_mcp_tools,
        loop_hints=settings.loop_hint,
        stabilise=settings.stabilise,
    )


def search_services(settings: Settings) -> list[SearchService]:
    """The configured search services, in the order they are asked."""
    search = settings.web_search
    services: list[SearchService] = []
    if search.searxng_url:
        services.append(SearXNG(search.searxng_url))
    if search.tavily_api_key:
        services.append(Tavily(search.tavily_api_key.reveal()))
    if search.brave_api_key:
        services.append(Brave(search.brave_api_key.reveal()))
    return services


def secrets(settings: Settings) -> Iterable[Secret]:
    """Every key the settings hold, passwords in addresses too, to be kept out of logs."""
    held = (
        settings.access_token,
        settings.local.api_key,
        settings.openrouter.api_key,
        settings.claude.api_key,
        settings.cluster.api_key,
        settings.web_search.tavily_api_key,
        settings.web_search.brave_api_key,
    )
    addresses = (
        settings.local.base_url,
        settings.openrouter.base_url,
        settings.claude.base_url,
        settings.web_search.searxng_url,
        *(node.url for node in settings.cluster.nodes),
    )
    yield from (key for key in held if key is not None)
    for address in addresses:
        yield from map(Secret, credentials_of(address or ""))


def breaker(settings: Settings) -> Breaker | None:
    """The breaker these settings ask for; None where they switch it off."""
    chosen = settings.breaker
    if not chosen.enabled:
        return None
    return Breaker(
        chosen.failure_threshold,
        chosen.success_threshold,
        chosen.retry_s,
        latency_window_s=chosen.latency_window_s,
        latency_threshold_s=chosen.latency_threshold_s,
        latency_checks=chosen.latency_checks,
    )


def budgets(settings: Settings) -> Budgets:
    """How long their backend is waited for."""
    return Budgets(settings.connect_timeout_s, settings.request_timeout_s, gap_s=settings.gap_timeout_s)


def _backend(settings: Settings, remembered: CapabilityFile) -> tuple[Backend, Sequence[OpenAIBackend]]:
    """What answers where it runs already, and what of it can be asked what it can do."""
    waits = budgets(settings)
    if settings.mode == "claude":
        return ClaudeBackend(settings.claude.base_url, api_key=_reveal(settings.claude.api_key), budgets=waits), ()
    if settings.mode == "openrouter":
        router = settings.openrouter
        openrouter = OpenRouterBackend(
            base_url=router.base_url,
            api_key=_reveal(router.api_key) or "",
            model=settings.model or router.model,
            small_model=settings.small_model,
            providers=router.providers,
            allow_fallbacks=router.allow_fallbacks,
            site_url=router.site_url,
            app_title=router.app_title,
            adapter=settings.adapter,
            budgets=waits,
            remembered=remembered,
        )
        return openrouter, (openrouter,)
    if settings.mode == "mlx-cluster":
        nodes = [
            OpenAIBackend(
                node.id,
                node.url,
                model=settings.model,
                small_model=settings.small_model,
                api_key=_reveal(settings.cluster.api_key),
                adapter=settings.adapter,
                remembered=remembered,
                budgets=waits,
            )
            for node in settings.cluster.nodes
        ]
        return ClusterBackend(nodes, settings.cluster), nodes
    local = OpenAIBackend(
        "local",
        settings.local.base_url or "",
        server=settings.local.server,
        model=settings.model,
        small_model=settings.small_model,
        api_key=_reveal(settings.local.api_key),
        adapter=settings.adapter,
        remembered=remembered,
        budgets=waits,
    )
    return local, (local,)


def no_place(state_folder: Path, why: str) -> SettingsError:
    """What is said where the files of a model server that runs cannot be kept."""
    return SettingsError(
        f"No model server can be started, because {state_folder} cannot be used ({why}): "
        "make it a folder that can be written, or set HOME to one, or LOCAL_URL to a server that runs."
    )


async def _started(
    settings: Settings, state_folder: Path, stack: AsyncExitStack, gated: Callable[[Backend], Backend]
) -> Backend:
    """A model server brought up for the user. The breaker stands behind the start: loading is no failure."""
    from anyclaude_lab.engine.hub import command, is_hub_id
    from anyclaude_lab.engine.servers import shared_server

    model = str(_model_folder(settings) or settings.local.model_path)
    if is_hub_id(model):
        raise SettingsError(f"{model} is not on this machine. To download it: {command(model)}")
    spec, kind = _server_spec(settings, model, state_folder)
    try:
        server = await stack.enter_async_context(
            shared_server(spec, run_dir=state_folder / "run", log_dir=state_folder / "logs")
        )
    except OSError as error:
        raise no_place(state_folder, error.strerror or str(error)) from None
    name = EMBEDDED_NAME if settings.local.source == "embedded" else Path(settings.local.model_path or model).name

    def connect(url: str) -> Backend:
        waits = budgets(settings)
        return gated(OpenAIBackend(name, url, server=kind, model_path=model, adapter=settings.adapter, budgets=waits))

    return StartedBackend(name, server, connect)


def _server_spec(settings: Settings, model: str, state_folder: Path) -> tuple[ServerSpec, str]:
    """What to start for a model, and which kind of server that is."""
    from anyclaude_lab.engine.distributed import distributed_server
    from anyclaude_lab.engine.mlx_server import mlx_lm_server
    from anyclaude_lab.engine.own_server import EngineOptions, own_server

    port, patience_s = settings.local.port, settings.local.startup_timeout_s
    if settings.local.distributed.hosts:
        spec = distributed_server(model, settings.local.distributed, port=port, startup_timeout_s=patience_s)
        return spec, "mlx-lm"
    if settings.local.engine == "mlx_lm.server":
        return mlx_lm_server(model, port=port, startup_timeout_s=patience_s), "mlx-lm"
    chosen = settings.local.tool_grammar
    options = EngineOptions(
        window_tokens=_known_window(settings) or settings.context_tokens,
        disk=state_folder / "prefixes",
        grammar=settings.local.source == "embedded" if chosen is None else chosen,
    )
    return own_server(model, options, port=port, startup_timeout_s=patience_s), "anyclaude"


def _model_folder(settings: Settings) -> Path | None:
    """The folder of the model that answers, where it is on this machine."""
    if settings.mode != "local" or settings.local.source == "url":
        return None
    if settings.local.source == "embedded":
        return embedded.folder()
    return model_folder(settings.local.model_path or "")


def _known_window(settings: Settings) -> int | None:
    """The window in tokens where the model is ours to start; None where its server is to be asked.

    Raises SettingsError where the model, or the window that is asked for, does not fit in memory.
    """
    if settings.mode != "local" or settings.local.source == "url":
        return None
    if settings.local.source == "embedded":
        return settings.context_tokens or EMBEDDED_WINDOW_TOKENS
    from anyclaude_lab.engine.fit import fitting_window

    folder = _model_folder(settings)
    return None if folder is None else fitting_window(folder, settings.context_tokens)


def _reveal(secret: Secret | None) -> str | None:
    return secret.reveal() if secret is not None else None
