"""Flags over variables over files over defaults, and what they come to together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
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
from anyclaude_lab.settings.sources import (
    FILE_NAME,
    Layer,
    Rank,
    Value,
    environment_layer,
    file_layer,
    flag_layer,
    given_layer,
)
from anyclaude_lab.settings.table import FLAGS, MODE_KEY, ROWS, TABLE
from anyclaude_lab.settings.trust import refuse_untrusted


class Resolved:
    """The winning value of every key."""

    def __init__(self, layers: list[Layer]) -> None:
        self.values = {row.key: Value(_default(row.key), Rank.DEFAULT, "default") for row in TABLE}
        for layer in sorted(layers, key=lambda layer: layer.rank):
            self.values |= layer.values
        self.used: set[str] = set()

    def of(self, key: str) -> Value:
        """The value with its origin."""
        self.used.add(key)
        return self.values[key]

    def __call__(self, key: str) -> Any:
        return self.of(key).value


def _default(key: str) -> Any:
    row = ROWS[key]
    return None if row.default is None else row.kind.read(row.default)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, what is to be said about them, and the value of every key."""

    settings: Settings
    warnings: list[str]
    resolved: Resolved


def load_settings(
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    *,
    cwd: Path,
    home: Path,
    config_file: Path | None = None,
    given: tuple[str, Mapping[str, Any]] | None = None,
) -> tuple[Settings, list[str]]:
    """The settings and the warnings to print.

    `flags` by name (`{"mode": "local", "filter_tier": "off"}`). Without `config_file` the file in `cwd` is read, and
    the one in `home` for what the first leaves open; that in `cwd` may not decide everything (see `trust`). `given`:
    who gives settings in code, and which, named as in a file; they are as strong as flags. Raises `SettingsError`:
    exit code 2.
    """
    loaded = load(flags, environ, cwd=cwd, home=home, config_file=config_file, given=given)
    return loaded.settings, loaded.warnings


def load(
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    *,
    cwd: Path,
    home: Path,
    config_file: Path | None = None,
    given: tuple[str, Mapping[str, Any]] | None = None,
) -> Loaded:
    """As `load_settings`, with every value."""
    layers = [flag_layer(flags, cwd), environment_layer(environ, cwd)]
    if given is not None:
        layers.append(given_layer(given[1], given[0], cwd))
    here, at_home = cwd / FILE_NAME, home / FILE_NAME
    project = None
    if config_file is not None:
        layers.append(file_layer(cwd / config_file, Rank.FILE))
    else:
        if at_home.is_file():
            layers.append(file_layer(at_home, Rank.HOME_FILE))
        if here.is_file() and here.resolve() != at_home.resolve():
            project = file_layer(here, Rank.FILE)
            layers.append(project)
    resolved = Resolved(layers)
    settings = build(resolved, home=home)
    if project is not None:
        starts = settings.mode == "local" and settings.local.source == "start"
        refuse_untrusted(
            project,
            here,
            home,
            loads_model=starts and model_to_load(resolved) in project.values.values(),
            gets_key=_addresses_with_keys(resolved, project),
        )
    mine = f"backends.{settings.mode}"
    warnings = [
        sentence
        for layer in layers
        for key, sentence in layer.warnings
        if not key.startswith("backends.") or key.startswith(mine)
    ]
    return Loaded(settings, [*dict.fromkeys(warnings), *_unused_flags(flags, settings.mode)], resolved)


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
        openrouter=OpenRouterSettings(
            base_url=resolved("backends.openrouter.baseUrl"),
            api_key=resolved("backends.openrouter.apiKey"),
            model=resolved("backends.openrouter.model"),
            providers=resolved("backends.openrouter.providers") or (),
            allow_fallbacks=resolved("backends.openrouter.allowFallbacks"),
            site_url=resolved("backends.openrouter.siteUrl"),
            app_title=resolved("backends.openrouter.appTitle"),
        ),
        claude=ClaudeSettings(base_url=resolved("backends.claude.baseUrl"), api_key=resolved("backends.claude.apiKey")),
        cluster=ClusterSettings(
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
        ),
        web_search=WebSearchSettings(
            searxng_url=resolved("webSearch.localSearxngUrl"),
            tavily_api_key=resolved("webSearch.tavilyApiKey"),
            brave_api_key=resolved("webSearch.braveApiKey"),
        ),
        breaker=_breaker(resolved),
        origins={key: value.origin for key, value in resolved.values.items()},
    )


def missing(settings: Settings) -> str | None:
    """What the chosen mode cannot start without, in one sentence; None when nothing is missing."""
    if settings.mode == "openrouter" and settings.openrouter.api_key is None:
        return (
            "Mode openrouter needs a key: set OPENROUTER_API_KEY, or backends.openrouter.apiKey in ~/.anyclauderc.json "
            "(keys are made at https://openrouter.ai/keys)."
        )
    if settings.mode == "mlx-cluster" and not settings.cluster.nodes:
        return (
            "Mode mlx-cluster needs nodes: list them in backends.mlx-cluster.discovery.nodes, or set "
            'MLX_CLUSTER_NODES=\'[{"id": "mac-1", "url": "http://10.0.0.2:8080/v1"}]\'.'
        )
    if settings.mode == "local" and settings.local.distributed.hosts and settings.local.source != "start":
        return (
            "backends.local.distributed says on which machines a model runs, but none is started: set "
            "backends.local.modelPath to a model that is at the same path on all of them."
        )
    if settings.mode == "local" and settings.local.source == "url" and settings.local.base_url is None:
        return "autoStartServer is false and no address is set: set LOCAL_URL (or backends.local.baseUrl)."
    return None


def _addresses_with_keys(resolved: Resolved, project: Layer) -> list[str]:
    """Addresses that a project's file decides although a key goes there: one set elsewhere, or the client's own."""
    keyed = [mode for mode in ("local", "openrouter") if resolved.of(f"backends.{mode}.apiKey").value is not None]
    addresses = [f"backends.{mode}.baseUrl" for mode in (*keyed, "claude")]
    if "local" in keyed and resolved.of("backends.local.baseUrl").value is None:
        addresses.append("backends.local.port")
    if resolved.of("backends.mlx-cluster.apiKey").value is not None:
        addresses.append("backends.mlx-cluster.discovery.nodes")
    return [key for key in addresses if key in project.values and resolved.of(key) is project.values[key]]


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
        distributed=DistributedSettings(
            hosts=resolved("backends.local.distributed") or (),
            backend=resolved("backends.local.distributedBackend"),
            sharding=resolved("backends.local.distributedSharding"),
            starting_port=resolved("backends.local.distributedPort"),
        ),
    )


def _existing(path: Value, home: Path) -> str | None:
    """A model folder as an absolute path; what is no folder here is left as it is: the id of a model on a hub."""
    if path.value is None:
        return None
    absolute = _absolute(path.value, path.folder, home)
    looks_like_path = path.value.startswith(("~", ".")) or Path(path.value).is_absolute()
    return absolute if looks_like_path or Path(absolute).is_dir() else str(path.value)


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


def _unused_flags(flags: Mapping[str, Any], mode: Mode) -> list[str]:
    """Flags that say something about other modes only (`--filter-tier` in mode claude)."""
    return [
        f"{flag.name} has no effect in mode {mode}."
        for flag in FLAGS.values()
        if flags.get(flag.setting) is not None
        and flag.off is (flags[flag.setting] is False and flag.setting != "proxy_only")
        and all(row.key.startswith("backends.") for row in flag.rows)
        and not any(row.key.startswith(f"backends.{mode}.") for row in flag.rows)
    ]
