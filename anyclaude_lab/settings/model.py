"""What the settings come to: frozen values with units in their names. Every default is that of `local` mode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from anyclaude_lab.settings.secret import Secret

Mode = Literal["local", "openrouter", "claude", "mlx-cluster"]
MODES: tuple[Mode, ...] = ("local", "openrouter", "claude", "mlx-cluster")

LocalSource = Literal["embedded", "start", "url"]


@dataclass(frozen=True, slots=True)
class HostSettings:
    """One machine of a distributed model, as in mlx's host files."""

    ssh: str
    ips: tuple[str, ...]
    rdma: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True)
class DistributedSettings:
    """One model on several machines; on one where `hosts` is empty."""

    hosts: tuple[HostSettings, ...] = ()
    backend: str = "auto"
    sharding: str = "tensor"
    starting_port: int | None = None


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """Mode `local`. `source` says which of the three it is:

    `url`: a server that runs already answers at `base_url`; `start`: a server is started for `model_path` (a folder or
    a hub id), on `port` or a free one; `embedded`: nothing is configured, the model that comes with the package
    answers. No address is assumed when none is given: anyclaude-local's `http://localhost:8082/v1` would send a
    newcomer to a port where nothing listens.
    """

    source: LocalSource = "embedded"
    base_url: str | None = None
    port: int | None = None
    api_key: Secret | None = None
    model: str | None = None
    model_path: str | None = None
    auto_start_server: bool = True
    startup_timeout_s: float = 120.0
    engine: str = "anyclaude"
    tool_grammar: bool | None = None  # None: for the demonstration model only
    server: str | None = None  # name of the server's profile; None: found out by asking it
    distributed: DistributedSettings = DistributedSettings()


@dataclass(frozen=True, slots=True)
class OpenRouterSettings:
    """Mode `openrouter`. `providers` are tried in this order; nothing pinned when empty."""

    base_url: str = "https://openrouter.ai/api/v1"
    api_key: Secret | None = None
    model: str = "z-ai/glm-4.6"
    providers: tuple[str, ...] = ()
    allow_fallbacks: bool | None = None  # None: OpenRouter's own default
    site_url: str | None = None
    app_title: str | None = None


@dataclass(frozen=True, slots=True)
class ClaudeSettings:
    """Mode `claude`. The key is used only where the client sends none of its own."""

    base_url: str = "https://api.anthropic.com"
    api_key: Secret | None = None


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """One server of a cluster."""

    id: str
    url: str


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Mode `mlx-cluster`: servers behind one front. What each key means stands in the settings table."""

    nodes: tuple[NodeSettings, ...] = ()
    strategy: str = "cache-aware"
    api_key: Secret | None = None
    model: str | None = None
    refresh_s: float = 30.0
    refresh_timeout_s: float = 5.0
    health_interval_s: float = 10.0  # also the longest rest of a node that failed
    health_timeout_s: float = 3.0
    max_missed_checks: int = 3
    unhealthy_share: float = 0.5
    max_retries: int | None = None  # None: every node is tried
    retry_delay_s: float = 0.0
    cache_age_s: float = 3600.0
    least_cached_share: float = 0.5
    cache_tokens: int = 128_000


@dataclass(frozen=True, slots=True)
class WebSearchSettings:
    """Where a web search is asked, in this order; none configured hides the tool."""

    searxng_url: str | None = None
    tavily_api_key: Secret | None = None
    brave_api_key: Secret | None = None

    @property
    def configured(self) -> bool:
        """Whether a search can be answered at all."""
        return any((self.searxng_url, self.tavily_api_key, self.brave_api_key))


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When a failing backend is left alone, and for how long."""

    enabled: bool = True
    failure_threshold: int = 5
    success_threshold: int = 2
    retry_s: float = 30.0
    latency_threshold_s: float | None = None  # None: slow answers do not open it
    latency_checks: int = 3
    latency_window_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that was decided before the first request. `origins` tells by dotted key where each value is from."""

    mode: Mode = "local"
    host: str = "127.0.0.1"
    port: int | None = None  # None: 49152, or a free one if that is taken; 0: a free one
    access_token: Secret | None = None  # None: made at the start, where other machines are let in
    ca_bundle: Path | None = None
    proxy_only: bool = False
    probe: bool = True
    debug: int = 0
    log_format: Literal["text", "json"] = "text"
    request_timeout_s: float = 600.0
    connect_timeout_s: float = 10.0
    gap_timeout_s: float = 300.0
    retry_grace_s: float = 2.0
    filter_tier: str = "aggressive"
    adapter: str = "auto"
    stub_tools: bool = False
    whole_tools: tuple[str, ...] = ()  # tools that keep their descriptions
    defer_mcp_tools: bool = False
    loop_hint: bool = False
    stabilise: bool = True
    tool_allowlist: tuple[str, ...] | None = None  # None allows every tool, () none
    strip_billing: bool = True
    record_dir: Path | None = None
    model: str | None = None  # what the backend is asked for; None: what it has
    small_model: str | None = None  # for background requests; None: the same model
    context_tokens: int | None = None  # None: what the backend reports
    local: LocalSettings = LocalSettings()
    openrouter: OpenRouterSettings = OpenRouterSettings()
    claude: ClaudeSettings = ClaudeSettings()
    cluster: ClusterSettings = ClusterSettings()
    web_search: WebSearchSettings = WebSearchSettings()
    breaker: BreakerSettings = BreakerSettings()
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def translating(self) -> bool:
        """Whether requests are rewritten for another API; `claude` mode passes bytes through."""
        return self.mode != "claude"
