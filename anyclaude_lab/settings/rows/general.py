"""What holds in every mode."""

from __future__ import annotations

from anyclaude_lab.settings.kinds import Choice, FolderOrSwitch, Integer, Key, Kind, Milliseconds, Switch, Text, Url
from anyclaude_lab.settings.model import MODES
from anyclaude_lab.settings.rows.row import Setting, Status

PREFERRED_PORT = 49152
MODE_KEY = "backend"
LEGACY_BLOCKS = ("lmstudio", "mlx", "mlx-lm", "mlx-textgen")  # old names of backends.local

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
        "probe",
        Switch(),
        "Ask a server that has its model loaded what it can do: three questions of a few tokens, after the start and "
        "before the first request; remembered for a week. Nothing is asked that costs money.",
        default=True,
        env=("ANYCLAUDE_PROBE",),
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
