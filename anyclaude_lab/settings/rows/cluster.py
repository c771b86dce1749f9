"""Several servers behind one front."""

from __future__ import annotations

from anyclaude_lab.settings.kinds import Choice, Integer, Key, Milliseconds, Nodes, Share, Text
from anyclaude_lab.settings.rows.row import Setting
from anyclaude_lab.settings.rows.shared import every_backend, translating

STRATEGIES = ("round-robin", "least-loaded", "latency-based", "cache-aware")

CLUSTER = (
    *every_backend("mlx-cluster"),
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
    *translating("mlx-cluster", "aggressive"),
)
