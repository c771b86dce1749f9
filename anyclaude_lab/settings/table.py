"""Every setting there is, as one table: what it is called, where it may stand, what it may be and what it does.

Reading files, variables and flags, the messages about wrong ones, `--help`, `anyclaude-bench settings` and
docs/configuration.md are all derived from these rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from anyclaude_lab.settings.kinds import (
    Choice,
    FolderOrSwitch,
    Hosts,
    Integer,
    Key,
    Kind,
    Milliseconds,
    Names,
    Nodes,
    Share,
    Switch,
    Text,
    Url,
)
from anyclaude_lab.settings.model import MODES

PREFERRED_PORT = 49152
MODE_KEY = "backend"


class Status(Enum):
    """What becomes of a setting."""

    WORKS = "works"
    NO_EFFECT = "accepted, no effect, warns"
    REMOVED = "removed, says what instead"


@dataclass(frozen=True, slots=True)
class Setting:
    """One row. `default` is written as in the file; None there means unset, and `unset` says what happens then."""

    key: str
    kind: Kind
    doc: str
    default: Any = None
    unset: str = ""
    env: tuple[str, ...] = ()
    off_env: tuple[str, ...] = ()  # true there means false here
    old_env: tuple[str, ...] = ()  # work with a deprecation warning
    flag: str | None = None
    off_flag: str | None = None
    flag_value: str | None = None  # how `--help` calls the value
    flag_alone: object = None  # what the flag means without a value
    status: Status = Status.WORKS
    instead: str = ""  # for the two other states: what to do instead
    harmless: tuple[object, ...] = ()  # values that ask for what happens anyway: not warned about
    in_file: bool = True

    @property
    def variables(self) -> tuple[str, ...]:
        """Every variable that sets it."""
        return self.env + self.off_env + self.old_env


TIERS = ("off", "minimal", "moderate", "aggressive", "extreme", "auto")
ADAPTERS = ("auto", "qwen", "mistral", "llama", "generic", "none")
SERVERS = ("auto", "anyclaude", "mlx-lm", "llama.cpp", "ollama", "lmstudio", "vllm", "generic")
LEGACY_BLOCKS = ("lmstudio", "mlx", "mlx-lm", "mlx-textgen")  # old names of backends.local
STRATEGIES = ("round-robin", "least-loaded", "latency-based", "cache-aware")

GENERAL = (
    Setting(
        MODE_KEY,
        Choice(MODES, legacy=dict.fromkeys(LEGACY_BLOCKS, "local")),
        "Who answers: a model on this machine, OpenRouter, Claude itself, or several machines.",
        default="local",
        env=("ANYCLAUDE_MODE",),
        flag="--mode",
        flag_value="MODE",
    ),
    Setting(
        "port",
        Integer(0, 65535),
        "Port of the proxy; 0 takes a free one. A port that is named here must be free.",
        unset=f"{PREFERRED_PORT}, or a free one if that is taken",
        env=("ANYCLAUDE_PORT",),
        flag="--port",
        flag_value="N",
    ),
    Setting(
        "host",
        Text("a host name or address"),
        "Address the proxy listens on.",
        default="127.0.0.1",
        env=("ANYCLAUDE_HOST",),
        flag="--host",
        flag_value="ADDRESS",
    ),
    Setting(
        "accessToken",
        Key(),
        "What other machines have to send, where `host` lets them in; at least 16 characters.",
        unset="one is made at each start, and shown",
        env=("ANYCLAUDE_ACCESS_TOKEN",),
    ),
    Setting(
        "caBundle",
        Text("a file of certificates (PEM)"),
        "Certificate authorities to trust besides the system's, as behind a company's proxy. SSL_CERT_FILE works too.",
        unset="none",
        env=("ANYCLAUDE_CA_BUNDLE",),
    ),
    Setting(
        "proxyOnly",
        Switch(),
        "Run the proxy alone, without starting Claude Code.",
        default=False,
        env=("PROXY_ONLY",),
        flag="--proxy-only",
        flag_alone=True,
    ),
    Setting(
        "debug.level",
        Integer(0, 3),
        "What ~/.anyclaude/logs holds: 0 errors, 1 a line per request, 2 bodies cut short, 3 everything.",
        default=0,
        env=("ANYCLAUDE_DEBUG",),
        flag="--debug",
        flag_value="0-3",
        flag_alone=1,
    ),
    Setting(
        "debug.enableTraces",
        Switch(),
        "An older word for `record`, which wins over it.",
        unset="see `record`",
    ),
    Setting(
        "debug.enableStreamLogging",
        Switch(),
        "Logged every chunk of a stream.",
        status=Status.NO_EFFECT,
        instead="debug level 3 logs streams",
    ),
    Setting(
        "logFormat",
        Choice(("text", "json")),
        "Form of the lines that the proxy prints.",
        default="text",
        env=("ANYCLAUDE_LOG_FORMAT",),
    ),
    Setting(
        "record",
        FolderOrSwitch(),
        "Record sessions: a folder, true for ~/.anyclaude/traces, false for no recording.",
        unset="true in openrouter and claude, false in local and mlx-cluster",
        env=("ANYCLAUDE_RECORD",),
        flag="--record",
        off_flag="--no-record",
        flag_value="DIR",
    ),
    Setting(
        "requestTimeout",
        Milliseconds(1000, 86_400_000, usual=(30_000, 3_600_000)),
        "How long a backend may stay silent before a request is given up, besides what its prompt may take (20 ms a "
        "token that has to be computed).",
        default=600_000,
        env=("ANYCLAUDE_REQUEST_TIMEOUT",),
    ),
    Setting(
        "connectTimeout",
        Milliseconds(100, 600_000, usual=(1000, 60_000)),
        "How long a connection to a backend may take, with its name and TLS.",
        default=10_000,
        env=("ANYCLAUDE_CONNECT_TIMEOUT",),
    ),
    Setting(
        "gapTimeout",
        Milliseconds(1000, 86_400_000, usual=(10_000, 3_600_000)),
        "How long a backend may pause in the middle of an answer; never longer than `requestTimeout`.",
        default=300_000,
        env=("ANYCLAUDE_GAP_TIMEOUT",),
    ),
    Setting(
        "retryGrace",
        Milliseconds(100, 60_000, zero=True),
        "How long an unfinished prefill runs on after its client hung up, for the client's own retry to join it.",
        default=2000,
        env=("ANYCLAUDE_RETRY_GRACE",),
    ),
    Setting(
        "webSearch.localSearxngUrl",
        Url(),
        "A SearXNG that answers Claude Code's web searches. Nothing configured hides the WebSearch tool.",
        env=("SEARXNG_URL",),
    ),
    Setting("webSearch.tavilyApiKey", Key(), "Key for searches with Tavily.", env=("TAVILY_API_KEY",)),
    Setting("webSearch.braveApiKey", Key(), "Key for searches with Brave.", env=("BRAVE_API_KEY",)),
    Setting(
        "webSearch.preferLocal",
        Switch(),
        "Which search comes first.",
        status=Status.NO_EFFECT,
        instead="SearXNG is always asked first, then Tavily, then Brave",
    ),
    Setting(
        "webSearch.enableFallback",
        Switch(),
        "Whether the next search is tried.",
        status=Status.NO_EFFECT,
        instead="the next configured search is always tried",
    ),
    Setting("circuitBreaker.enabled", Switch(), "Leave a backend alone that keeps failing.", default=True),
    Setting(
        "circuitBreaker.failureThreshold",
        Integer(1, 1000),
        "Failures in a row that open the breaker.",
        default=5,
    ),
    Setting(
        "circuitBreaker.successThreshold",
        Integer(1, 1000),
        "Successes in a row that close it again.",
        default=2,
    ),
    Setting(
        "circuitBreaker.retryTimeout",
        Milliseconds(100, 3_600_000),
        "How long a failing backend is left alone before it is tried again.",
        default=30_000,
    ),
    Setting(
        "circuitBreaker.requestTimeout",
        Kind(),
        "A second time limit for requests.",
        status=Status.NO_EFFECT,
        instead="requestTimeout, connectTimeout and gapTimeout are the time limits",
    ),
    Setting(
        "circuitBreaker.latencyThresholdMs",
        Milliseconds(1, 86_400_000, zero=True),
        "Time to the first data of an answer, beyond what its prompt may take (20 ms a token that has to be computed), "
        "from which on it is slow; 0 for never.",
        unset="slow answers do not open the breaker",
    ),
    Setting(
        "circuitBreaker.latencyConsecutiveChecks",
        Integer(1, 1000),
        "Slow answers in a row that open the breaker.",
        default=3,
    ),
    Setting(
        "circuitBreaker.latencyWindowMs",
        Milliseconds(1000, 86_400_000),
        "How far back slow answers count, and the reported latencies reach.",
        default=300_000,
    ),
    Setting(
        "circuitBreaker.autoCheckLatency",
        Switch(),
        "false: slow answers do not open the breaker, whatever the threshold.",
        default=True,
    ),
    Setting(
        "ANYCLAUDE_CLAUDE_PATH",
        Text("the path of a program"),
        "The Claude Code to start.",
        unset="`claude` on the PATH, or where its installers put it",
        env=("ANYCLAUDE_CLAUDE_PATH",),
        in_file=False,  # a project's file must not choose a program to run
    ),
    Setting(
        "ANYCLAUDE_SKIP_SETUP_CHECK",
        Kind(),
        "Skipped a check at every start.",
        env=("ANYCLAUDE_SKIP_SETUP_CHECK",),
        status=Status.NO_EFFECT,
        instead="nothing is checked at start unless --check-setup asks for it",
        in_file=False,
    ),
    Setting(
        "MODEL_CONTEXT_WINDOW",
        Kind(),
        "Was handed to Claude Code, which never read it.",
        env=("MODEL_CONTEXT_WINDOW",),
        status=Status.NO_EFFECT,
        instead="set LOCAL_CONTEXT_LENGTH",
        in_file=False,
    ),
)


def _every_backend(mode: str) -> tuple[Setting, ...]:
    """Keys that stand in the block of every mode."""
    chosen_if = "Whether this backend may be used. Where nothing names a `backend`, the one enabled here is taken."
    return (
        Setting(
            f"backends.{mode}.enabled",
            Switch(),
            chosen_if,
            unset="true",
            env=("MLX_CLUSTER_ENABLED",) if mode == "mlx-cluster" else (),
        ),
        Setting(f"backends.{mode}.description", Kind(), "A note to yourself.", unset="no note"),
    )


def _translating(mode: str, tier: str) -> tuple[Setting, ...]:
    """Keys that stand in the block of every mode that rewrites requests for another API."""
    return (
        Setting(
            f"backends.{mode}.smallModel",
            Text("the id of a model"),
            "Model for Claude Code's background requests (titles, summaries, checks).",
            unset="the same model",
            env=("ANYCLAUDE_SMALL_MODEL",),
        ),
        Setting(
            f"backends.{mode}.filterTier",
            Choice(TIERS),
            "How much of Claude Code's system prompt is left out: minimal the least, extreme the most; auto decides at "
            "the first request of a conversation, by the model's window.",
            default=tier,
            env=("ANYCLAUDE_FILTER_TIER",),
            flag="--filter-tier",
            flag_value="TIER",
        ),
        Setting(
            f"backends.{mode}.adapter",
            Choice(ADAPTERS),
            "Family whose habits the prompt is adapted to; auto goes by the model's name.",
            default="auto",
            env=("ANYCLAUDE_ADAPTER",),
            flag="--adapter",
            flag_value="FAMILY",
        ),
        Setting(
            f"backends.{mode}.stubToolDescriptions",
            Switch(),
            "Replace long tool descriptions by one line each.",
            default=False,
            env=("ANYCLAUDE_STUB_TOOLS",),
            flag="--stub-tools",
            off_flag="--no-stub-tools",
            flag_alone=True,
        ),
        Setting(
            f"backends.{mode}.fullToolDescriptions",
            Names(),
            "Tools whose descriptions are not replaced.",
            unset="none",
        ),
        Setting(
            f"backends.{mode}.deferMcpTools",
            Switch(),
            "Name the tools of MCP servers only, where they are many, and define one when the model asks for it.",
            default=False,
        ),
        Setting(
            f"backends.{mode}.loopHint",
            Switch(),
            "Tell a model that makes the same tool call with the same result a third time that it goes in a circle.",
            default=False,
            env=("ANYCLAUDE_LOOP_HINT",),
        ),
        Setting(
            f"backends.{mode}.stabilisePrefix",
            Switch(),
            "Tell what differs between sessions (folders, git status, date) in the first user turn, so that a prompt "
            "cache holds from one session to the next.",
            default=True,
            env=("ANYCLAUDE_STABILISE",),
        ),
        Setting(
            f"backends.{mode}.toolAllowlist",
            Names(),
            "Tools that the model may use; upper and lower case are the same. [] allows none.",
            unset="all tools",
            env=("ANYCLAUDE_TOOL_ALLOWLIST",),
        ),
        Setting(
            f"backends.{mode}.stripBilling",
            Switch(),
            "Remove the attribution block, which differs in every conversation and so defeats prompt caches.",
            default=True,
        ),
    )


LOCAL = (
    *_every_backend("local"),
    Setting(
        "backends.local.baseUrl",
        Url("/v1"),
        "Address of an OpenAI-compatible server that runs already.",
        unset="a server is started: for modelPath, or for the model that comes with the package",
        env=("LOCAL_URL", "MLX_URL"),
        old_env=("LMSTUDIO_URL",),
    ),
    Setting(
        "backends.local.port",
        Integer(1, 65535),
        "Port of the server that is started for modelPath; without a modelPath, of a server on this machine.",
        unset="a free one",
    ),
    Setting(
        "backends.local.apiKey",
        Key(),
        "Key of that server, if it wants one. Any text will do for most.",
        env=("LOCAL_API_KEY",),
        old_env=("LMSTUDIO_API_KEY",),
    ),
    Setting(
        "backends.local.model",
        Text("the id of a model", unset=("current-model",)),
        "Model that answers; where no server's address is set, one is started for it.",
        unset="the one it has",
        env=("LOCAL_MODEL", "ANYCLAUDE_MODEL"),
        old_env=("LMSTUDIO_MODEL",),
        flag="--model",
        flag_value="ID",
    ),
    Setting(
        "backends.local.modelPath",
        Text("a model folder, or the id of a model on a hub"),
        "Model that a server is started for; it ends with the last `anyclaude` that uses it.",
        env=("MLX_MODEL_PATH",),
    ),
    Setting(
        "backends.local.autoStartServer",
        Switch(),
        "Start a server when a model is configured (or nothing at all). False: `baseUrl` must answer.",
        default=True,
        off_env=("ANYCLAUDE_NO_AUTO_LAUNCH",),
    ),
    Setting(
        "backends.local.startupTimeout",
        Milliseconds(1000, 3_600_000),
        "How long that server may take to load its model.",
        default=120_000,
    ),
    Setting(
        "backends.local.engine",
        Choice(("anyclaude", "mlx_lm.server")),
        "Program that is started for a model: our own engine, which keeps conversations warm beside side calls and "
        "across restarts, or the stock server.",
        default="anyclaude",
    ),
    Setting(
        "backends.local.toolGrammar",
        Switch(),
        "Our own engine lets a model write only tool calls that fit the schemas of the request.",
        unset="true for the demonstration model, false for others",
    ),
    Setting(
        "backends.local.server",
        Choice(SERVERS),
        "Which server answers at baseUrl.",
        default="auto",
    ),
    Setting(
        "backends.local.contextLength",
        Integer(256, 100_000_000, "tokens"),
        "Context window of the model.",
        unset="what the server reports",
        env=("LOCAL_CONTEXT_LENGTH",),
        old_env=("LMSTUDIO_CONTEXT_LENGTH",),
    ),
    *_translating("local", "aggressive"),
    Setting(
        "backends.local.safeSystemFilter",
        Switch(),
        "false is the same as filterTier off.",
        unset="true",
    ),
    Setting(
        "backends.local.compatibility",
        Kind(),
        "Was a hint which server it is.",
        status=Status.NO_EFFECT,
        instead="the server is recognised by itself, or named by backends.local.server",
    ),
    Setting(
        "backends.local.stripPluginInstructions",
        Switch(),
        "Left out instructions of plugins.",
        status=Status.NO_EFFECT,
        instead="CLAUDE.md files are never cut: switch the plugin off in Claude Code",
    ),
    *(
        Setting(f"backends.local.{name}", Kind(), doc, status=Status.NO_EFFECT, instead="see filterTier")
        for name, doc in (
            ("smartSystemPrompt", "An older prompt filter."),
            ("smartPromptMode", "An older prompt filter."),
            ("truncateSystemPrompt", "An older prompt filter."),
            ("systemPromptMaxTokens", "An older prompt filter."),
        )
    ),
    Setting(
        "backends.local.maxTokens",
        Kind(),
        "An older word for the context window.",
        status=Status.NO_EFFECT,
        instead="set backends.local.contextLength",
    ),
    Setting(
        "backends.local.serverScript",
        Kind(),
        "Named the program of the server.",
        status=Status.NO_EFFECT,
        instead="see backends.local.engine",
    ),
    Setting(
        "backends.local.localSearch",
        Switch(),
        "Started a SearXNG in Docker.",
        status=Status.REMOVED,
        instead="Docker is never started: run SearXNG yourself and set webSearch.localSearxngUrl or SEARXNG_URL",
    ),
    Setting(
        "backends.local.distributed",
        Hosts(),
        "Machines that hold modelPath together, this one first. The others are reached by ssh without a password and "
        "have this package's Python and the model at the same paths. They talk without a key: on networks of your own.",
        unset="this machine alone",
        env=("ANYCLAUDE_DISTRIBUTED_HOSTS",),
    ),
    Setting(
        "backends.local.distributedBackend",
        Choice(("auto", "ring", "jaccl")),
        "How the machines talk: ring over TCP; jaccl over RDMA (Thunderbolt 5), which auto takes where every host "
        "names its rdma devices.",
        default="auto",
    ),
    Setting(
        "backends.local.distributedSharding",
        Choice(("tensor", "pipeline")),
        "Whether each machine has a part of every layer or some of the layers.",
        default="tensor",
    ),
    Setting(
        "backends.local.distributedPort",
        Integer(1024, 65000),
        "First of the ports on which the machines talk.",
        unset="32323; free ones where all ranks are on this machine",
    ),
)

OPENROUTER = (
    *_every_backend("openrouter"),
    Setting(
        "backends.openrouter.baseUrl",
        Url("/v1"),
        "Address of OpenRouter's API.",
        default="https://openrouter.ai/api/v1",
        env=("OPENROUTER_BASE_URL",),
    ),
    Setting("backends.openrouter.apiKey", Key(), "Key from openrouter.ai/keys.", env=("OPENROUTER_API_KEY",)),
    Setting(
        "backends.openrouter.model",
        Text("the id of a model such as z-ai/glm-4.6"),
        "Model that answers.",
        default="z-ai/glm-4.6",
        env=("OPENROUTER_MODEL", "ANYCLAUDE_MODEL"),
        flag="--model",
        flag_value="ID",
    ),
    Setting(
        "backends.openrouter.contextLength",
        Integer(256, 100_000_000, "tokens"),
        "Context window of the model.",
        unset="what OpenRouter reports",
    ),
    Setting(
        "backends.openrouter.providers",
        Names('["deepinfra", "z-ai"]'),
        "Providers to ask, in this order.",
        unset="OpenRouter's choice",
        env=("OPENROUTER_PROVIDERS",),
    ),
    Setting(
        "backends.openrouter.allowFallbacks",
        Switch(),
        "Whether other providers may answer when those fail.",
        unset="OpenRouter's default, which is true",
    ),
    Setting(
        "backends.openrouter.siteUrl", Url(), "Site that OpenRouter counts the requests for.", unset="none is sent"
    ),
    Setting(
        "backends.openrouter.appTitle",
        Text(),
        "Name that OpenRouter shows for the requests.",
        unset="none is sent",
    ),
    *_translating("openrouter", "off"),
)

CLAUDE = (
    *_every_backend("claude"),
    Setting(
        "backends.claude.baseUrl",
        Url(),
        "Address of the Messages API. ANTHROPIC_BASE_URL is not read: it is what points Claude Code at this proxy.",
        default="https://api.anthropic.com",
        env=("ANYCLAUDE_CLAUDE_URL",),
    ),
    Setting(
        "backends.claude.apiKey",
        Key(),
        "Key for requests that bring none of their own. A login of Claude Code needs no key.",
        env=("ANTHROPIC_API_KEY",),
    ),
    Setting(
        "backends.claude.model",
        Text("the id or alias of a Claude model"),
        "Handed to Claude Code as its own --model.",
        unset="Claude Code's choice",
        env=("ANYCLAUDE_MODEL",),
        flag="--model",
        flag_value="ID",
    ),
)

CLUSTER = (
    *_every_backend("mlx-cluster"),
    Setting(
        "backends.mlx-cluster.discovery.mode",
        Choice(("static",)),
        "How nodes are found: they are listed.",
        default="static",
    ),
    Setting(
        "backends.mlx-cluster.discovery.nodes",
        Nodes(),
        "The servers, each with an id and the address of an OpenAI-compatible API.",
        unset="none: mlx-cluster needs at least one",
        env=("MLX_CLUSTER_NODES",),
    ),
    Setting(
        "backends.mlx-cluster.discovery.refreshIntervalMs",
        Milliseconds(1000, 86_400_000),
        "How often each node is asked anew what kind of server it is and which model it has.",
        default=30_000,
    ),
    Setting(
        "backends.mlx-cluster.discovery.validationTimeoutMs",
        Milliseconds(100, 600_000),
        "How long it may take to say so.",
        default=5000,
    ),
    Setting(
        "backends.mlx-cluster.apiKey",
        Key(),
        "Key that every node is asked with, if they want one.",
        env=("MLX_CLUSTER_API_KEY",),
        unset="none is sent",
    ),
    Setting(
        "backends.mlx-cluster.routing.strategy",
        Choice(STRATEGIES),
        "Which node gets a request: the next one; the one with the fewest in flight; the one with the shortest wait "
        "for a first token lately; or the one with the fewest tokens to compute until this prompt is, by what it has "
        "seen of it and what is queued there.",
        default="cache-aware",
        env=("MLX_CLUSTER_STRATEGY",),
    ),
    Setting(
        "backends.mlx-cluster.routing.maxRetries",
        Integer(0, 63),
        "How many more nodes are tried where one fails before the first byte of its answer.",
        unset="all of them",
    ),
    Setting(
        "backends.mlx-cluster.routing.retryDelayMs",
        Milliseconds(1, 60_000, zero=True),
        "Pause before the next one is tried.",
        default=0,
    ),
    Setting(
        "backends.mlx-cluster.health.checkIntervalMs",
        Milliseconds(100, 3_600_000),
        "Time between two health checks of a node, and the longest rest of one that failed: it is looked at again "
        "after 1 s, 2 s, 4 s, ... up to this.",
        default=10_000,
        env=("MLX_CLUSTER_HEALTH_INTERVAL",),
    ),
    Setting(
        "backends.mlx-cluster.health.timeoutMs",
        Milliseconds(10, 600_000),
        "How long a health check may take.",
        default=3000,
    ),
    Setting(
        "backends.mlx-cluster.health.maxConsecutiveFailures",
        Integer(1, 1000),
        "Missed health checks in a row after which a node is down: what waits there for its first byte goes elsewhere.",
        default=3,
    ),
    Setting(
        "backends.mlx-cluster.health.unhealthyThreshold",
        Share(),
        "Share of a node's requests of the last minute that failed, from which on it is asked only where no other "
        "node can be.",
        default=0.5,
    ),
    Setting(
        "backends.mlx-cluster.cache.maxCacheAgeSec",
        Integer(1, 31_536_000, "seconds"),
        "How long a node is taken to hold a prompt that it computed (cache-aware).",
        default=3600,
    ),
    Setting(
        "backends.mlx-cluster.cache.minCacheHitRate",
        Share(),
        "Share of a prompt that some node must have seen for caches to outweigh queues (cache-aware).",
        default=0.5,
    ),
    Setting(
        "backends.mlx-cluster.cache.maxCacheSizeTokens",
        Integer(1024, 1_000_000_000, "tokens"),
        "Prompts that a node is taken to hold at most (cache-aware).",
        default=128_000,
    ),
    Setting(
        "backends.mlx-cluster.model",
        Text("the id of a model"),
        "Model the nodes are asked for.",
        unset="the one they have",
        env=("ANYCLAUDE_MODEL",),
        flag="--model",
        flag_value="ID",
    ),
    Setting(
        "backends.mlx-cluster.contextLength",
        Integer(256, 100_000_000, "tokens"),
        "Context window of the model.",
        unset="what the nodes report",
        env=("LOCAL_CONTEXT_LENGTH",),
        old_env=("LMSTUDIO_CONTEXT_LENGTH",),
    ),
    *_translating("mlx-cluster", "aggressive"),
)

TABLE: tuple[Setting, ...] = GENERAL + LOCAL + OPENROUTER + CLAUDE + CLUSTER
ROWS: dict[str, Setting] = {row.key: row for row in TABLE}


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag of the command line, with the rows that it sets."""

    name: str
    rows: tuple[Setting, ...]
    off: bool  # it is the `--no-` form

    @property
    def setting(self) -> str:
        """Its name in the mapping of flags: `filter_tier` for --filter-tier."""
        return str(self.rows[0].flag).removeprefix("--").replace("-", "_")


def _flags() -> dict[str, Flag]:
    found: dict[str, Flag] = {}
    for row in TABLE:
        for name, off in ((row.flag, False), (row.off_flag, True)):
            if name is not None:
                rows = found[name].rows if name in found else ()
                found[name] = Flag(name, (*rows, row), off)
    return found


FLAGS: dict[str, Flag] = _flags()
