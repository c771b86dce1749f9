"""A model on this machine, or at an address."""

from __future__ import annotations

from anyclaude_lab.settings.kinds import Choice, Integer, Key, Kind, Milliseconds, Switch, Text, Url
from anyclaude_lab.settings.rows.distributed import DISTRIBUTED
from anyclaude_lab.settings.rows.row import Setting, Status
from anyclaude_lab.settings.rows.shared import every_backend, translating

SERVERS = ("auto", "anyclaude", "mlx-lm", "llama.cpp", "ollama", "lmstudio", "vllm", "generic")

LOCAL = (
    *every_backend("local"),
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
    *translating("local", "aggressive"),
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
    *DISTRIBUTED,
)
