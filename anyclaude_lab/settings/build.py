"""The winning values of all keys, brought together as `Settings`."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.settings.model import (
    MODES,
    BreakerSettings,
    ClaudeSettings,
    ClusterSettings,
    DistributedSettings,
    LocalSettings,
    LocalSource,
    Mode,
    OpenRouterSettings,
    Settings,
    WebSearchSettings,
)
from anyclaude_lab.settings.resolved import Resolved
from anyclaude_lab.settings.rows.general import MODE_KEY
from anyclaude_lab.settings.sources import Value


def build(resolved: Resolved, *, home: Path) -> Settings:
    """The settings from the winning values. Raises `SettingsError` where they contradict each other."""
    mode = _mode(resolved)
    block = f"backends.{mode}."
    translating = mode != "claude"
    return Settings(
        mode=mode,
        host=resolved("host"),
        port=resolved("port"),
        access_token=resolved("accessToken"),
        ca_bundle=_file(resolved.of("caBundle"), home),
        proxy_only=resolved("proxyOnly"),
        probe=resolved("probe"),
        debug=resolved("debug.level"),
        log_format=resolved("logFormat"),
        request_timeout_s=resolved("requestTimeout"),
        connect_timeout_s=resolved("connectTimeout"),
        gap_timeout_s=resolved("gapTimeout"),
        retry_grace_s=resolved("retryGrace"),
        filter_tier=_filter_tier(resolved, mode),
        adapter=resolved(block + "adapter") if translating else "none",
        stub_tools=resolved(block + "stubToolDescriptions") if translating else False,
        whole_tools=(resolved(block + "fullToolDescriptions") or ()) if translating else (),
        defer_mcp_tools=resolved(block + "deferMcpTools") if translating else False,
        loop_hint=resolved(block + "loopHint") if translating else False,
        stabilise=resolved(block + "stabilisePrefix") if translating else False,
        tool_allowlist=resolved(block + "toolAllowlist") if translating else None,
        strip_billing=resolved(block + "stripBilling") if translating else False,
        record_dir=_record_dir(resolved, mode, home),
        model=resolved(block + "model"),
        small_model=resolved(block + "smallModel") if translating else None,
        context_tokens=resolved(block + "contextLength") if translating else None,
        local=_local(resolved, home),
        openrouter=_openrouter(resolved),
        claude=ClaudeSettings(base_url=resolved("backends.claude.baseUrl"), api_key=resolved("backends.claude.apiKey")),
        cluster=_cluster(resolved),
        web_search=WebSearchSettings(
            searxng_url=resolved("webSearch.localSearxngUrl"),
            tavily_api_key=resolved("webSearch.tavilyApiKey"),
            brave_api_key=resolved("webSearch.braveApiKey"),
        ),
        breaker=_breaker(resolved),
        origins={key: value.origin for key, value in resolved.values.items()},
    )


def _mode(resolved: Resolved) -> Mode:
    """`backend`, or the block that a stronger source enables; a block that is switched off cannot be chosen."""
    backend = resolved.of(MODE_KEY)
    enabled = {mode: resolved.of(f"backends.{mode}.enabled") for mode in MODES}
    stronger = [mode for mode in MODES if enabled[mode].value and enabled[mode].rank > backend.rank]
    if stronger:
        return max(stronger, key=lambda mode: enabled[mode].rank)
    mode: Mode = backend.value
    if enabled[mode].value is False and enabled[mode].rank >= backend.rank:
        raise SettingsError(
            f"The backend is {mode} ({backend.origin}), but backends.{mode}.enabled is false ({enabled[mode].origin}): "
            f"set it to true, or choose another backend ({', '.join(other for other in MODES if other != mode)})."
        )
    return mode


def _filter_tier(resolved: Resolved, mode: Mode) -> str:
    """The tier of the mode; `safeSystemFilter: false` is the older way to say off, unless something stronger chose."""
    if mode == "claude":
        return "off"
    tier = resolved.of(f"backends.{mode}.filterTier")
    switch = resolved.of("backends.local.safeSystemFilter")
    if mode == "local" and switch.value is False and switch.rank >= tier.rank:
        return "off"
    return str(tier.value)


def _record_dir(resolved: Resolved, mode: Mode, home: Path) -> Path | None:
    record, traces = resolved.of("record"), resolved.of("debug.enableTraces")
    chosen = record if record.value is not None else traces
    wanted = chosen.value if chosen.value is not None else mode in ("openrouter", "claude")
    if wanted is True:
        return home / ".anyclaude" / "traces"
    return Path(_absolute(str(wanted), chosen.folder, home)) if wanted else None


def model_to_load(resolved: Resolved) -> Value:
    """The model a server would be started for: `modelPath`, or a stronger source's `model` where no address is set."""
    path, model = resolved.of("backends.local.modelPath"), resolved.of("backends.local.model")
    unaddressed = resolved.of("backends.local.baseUrl").value is None
    return model if unaddressed and model.value is not None and model.rank > path.rank else path


def _local(resolved: Resolved, home: Path) -> LocalSettings:
    """Where local answers come from. A stronger source's address, model folder or model id beats a weaker one's."""
    base_url, path = resolved.of("backends.local.baseUrl"), model_to_load(resolved)
    model, port = resolved.of("backends.local.model"), resolved.of("backends.local.port")
    auto_start: bool = resolved("backends.local.autoStartServer")
    here = base_url.value is None or _is_loopback(base_url.value)
    source: LocalSource
    if auto_start and path.value is not None and here and path.rank >= base_url.rank:
        source = "start"
    elif base_url.value is not None or port.value is not None or not auto_start:
        source = "url"
    else:
        source = "embedded"
    address = base_url.value
    if address is None and source == "url" and port.value is not None:
        address = f"http://127.0.0.1:{port.value}/v1"
    server = resolved("backends.local.server")
    return LocalSettings(
        source=source,
        base_url=address if source == "url" else None,
        port=_port(base_url.value) or port.value if source == "start" else None,
        api_key=resolved("backends.local.apiKey"),
        model=model.value,
        model_path=_existing(path, home),
        auto_start_server=auto_start,
        startup_timeout_s=resolved("backends.local.startupTimeout"),
        engine=resolved("backends.local.engine"),
        tool_grammar=resolved("backends.local.toolGrammar"),
        server=None if server == "auto" else server,
        distributed=_distributed(resolved),
    )


def _distributed(resolved: Resolved) -> DistributedSettings:
    return DistributedSettings(
        hosts=resolved("backends.local.distributed") or (),
        backend=resolved("backends.local.distributedBackend"),
        sharding=resolved("backends.local.distributedSharding"),
        starting_port=resolved("backends.local.distributedPort"),
    )


def _openrouter(resolved: Resolved) -> OpenRouterSettings:
    return OpenRouterSettings(
        base_url=resolved("backends.openrouter.baseUrl"),
        api_key=resolved("backends.openrouter.apiKey"),
        model=resolved("backends.openrouter.model"),
        providers=resolved("backends.openrouter.providers") or (),
        allow_fallbacks=resolved("backends.openrouter.allowFallbacks"),
        site_url=resolved("backends.openrouter.siteUrl"),
        app_title=resolved("backends.openrouter.appTitle"),
    )


def _cluster(resolved: Resolved) -> ClusterSettings:
    return ClusterSettings(
        nodes=resolved("backends.mlx-cluster.discovery.nodes") or (),
        strategy=resolved("backends.mlx-cluster.routing.strategy"),
        api_key=resolved("backends.mlx-cluster.apiKey"),
        model=resolved("backends.mlx-cluster.model"),
        refresh_s=resolved("backends.mlx-cluster.discovery.refreshIntervalMs"),
        refresh_timeout_s=resolved("backends.mlx-cluster.discovery.validationTimeoutMs"),
        health_interval_s=resolved("backends.mlx-cluster.health.checkIntervalMs"),
        health_timeout_s=resolved("backends.mlx-cluster.health.timeoutMs"),
        max_missed_checks=resolved("backends.mlx-cluster.health.maxConsecutiveFailures"),
        unhealthy_share=resolved("backends.mlx-cluster.health.unhealthyThreshold"),
        max_retries=resolved("backends.mlx-cluster.routing.maxRetries"),
        retry_delay_s=resolved("backends.mlx-cluster.routing.retryDelayMs"),
        cache_age_s=float(resolved("backends.mlx-cluster.cache.maxCacheAgeSec")),
        least_cached_share=resolved("backends.mlx-cluster.cache.minCacheHitRate"),
        cache_tokens=resolved("backends.mlx-cluster.cache.maxCacheSizeTokens"),
    )


def _breaker(resolved: Resolved) -> BreakerSettings:
    checked = resolved("circuitBreaker.autoCheckLatency")
    return BreakerSettings(
        enabled=resolved("circuitBreaker.enabled"),
        failure_threshold=resolved("circuitBreaker.failureThreshold"),
        success_threshold=resolved("circuitBreaker.successThreshold"),
        retry_s=resolved("circuitBreaker.retryTimeout"),
        latency_threshold_s=(resolved("circuitBreaker.latencyThresholdMs") or None) if checked else None,
        latency_checks=resolved("circuitBreaker.latencyConsecutiveChecks"),
        latency_window_s=resolved("circuitBreaker.latencyWindowMs"),
    )


def _existing(path: Value, home: Path) -> str | None:
    """A model folder as an absolute path; what is no folder here is left as it is: the id of a model on a hub."""
    if path.value is None:
        return None
    absolute = _absolute(path.value, path.folder, home)
    looks_like_path = path.value.startswith(("~", ".")) or Path(path.value).is_absolute()
    try:
        is_here = Path(absolute).is_dir()
    except OSError as error:  # a name that is too long, a folder of somebody else
        raise SettingsError(f"The model {path.value[:80]!r} cannot be looked up ({error.strerror}).") from None
    return absolute if looks_like_path or is_here else str(path.value)


def _file(path: Value, home: Path) -> Path | None:
    return None if path.value is None else Path(_absolute(path.value, path.folder, home))


def _absolute(text: str, folder: Path | None, home: Path) -> str:
    if text == "~" or text.startswith(("~/", "~\\")):
        return str(home / text[2:])
    return str((folder or home) / text)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "localhost" or host == "::1" or host.startswith("127.")


def _port(url: str | None) -> int | None:
    return urlsplit(url).port if url else None
