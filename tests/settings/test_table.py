"""Every key and variable that anyclaude-local knew stands in the table, and the page is the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.settings import MODES, load_settings
from anyclaude_lab.settings.document import markdown
from anyclaude_lab.settings.kinds import Kind, Refused
from anyclaude_lab.settings.load import load
from anyclaude_lab.settings.rows.general import LEGACY_BLOCKS
from anyclaude_lab.settings.rows.row import Setting, Status
from anyclaude_lab.settings.table import FLAGS, ROWS, TABLE

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"

OLD_KEYS = [
    "backend",
    "port",
    *(f"debug.{name}" for name in ("level", "enableTraces", "enableStreamLogging")),
    *(f"webSearch.{name}" for name in ("localSearxngUrl", "preferLocal", "enableFallback")),
    *(
        f"backends.local.{name}"
        for name in (
            *("enabled", "port", "baseUrl", "apiKey", "model", "modelPath", "compatibility", "description"),
            *("autoStartServer", "startupTimeout", "safeSystemFilter", "filterTier", "stubToolDescriptions"),
            *("toolAllowlist", "stripPluginInstructions", "localSearch", "distributed"),
            *("smartSystemPrompt", "smartPromptMode", "truncateSystemPrompt", "systemPromptMaxTokens"),
        )
    ),
    *(f"backends.openrouter.{name}" for name in ("enabled", "baseUrl", "apiKey", "model")),
    *(f"backends.claude.{name}" for name in ("enabled", "description")),
    *(f"backends.mlx-cluster.discovery.{name}" for name in ("mode", "nodes")),
    *(
        f"backends.mlx-cluster.health.{name}"
        for name in ("checkIntervalMs", "timeoutMs", "maxConsecutiveFailures", "unhealthyThreshold")
    ),
    *(f"backends.mlx-cluster.routing.{name}" for name in ("strategy", "maxRetries", "retryDelayMs")),
    *(f"backends.mlx-cluster.cache.{name}" for name in ("maxCacheAgeSec", "minCacheHitRate", "maxCacheSizeTokens")),
    *(
        f"circuitBreaker.{name}"
        for name in (
            *("enabled", "latencyThresholdMs", "latencyConsecutiveChecks", "latencyWindowMs", "autoCheckLatency"),
            *("failureThreshold", "successThreshold", "retryTimeout", "requestTimeout"),
        )
    ),
]
OLD_VARIABLES = [
    *(f"ANYCLAUDE_{name}" for name in ("MODE", "DEBUG", "PORT", "REQUEST_TIMEOUT", "LOG_FORMAT")),
    *("ANYCLAUDE_NO_AUTO_LAUNCH", "ANYCLAUDE_SKIP_SETUP_CHECK", "PROXY_ONLY", "MODEL_CONTEXT_WINDOW"),
    *(f"LOCAL_{name}" for name in ("URL", "API_KEY", "MODEL", "CONTEXT_LENGTH")),
    *(f"LMSTUDIO_{name}" for name in ("URL", "API_KEY", "MODEL", "CONTEXT_LENGTH")),
    *("MLX_MODEL_PATH", "MLX_URL", "ANTHROPIC_API_KEY", "SEARXNG_URL", "TAVILY_API_KEY", "BRAVE_API_KEY"),
    *(f"OPENROUTER_{name}" for name in ("API_KEY", "BASE_URL", "MODEL")),
    *(f"MLX_CLUSTER_{name}" for name in ("NODES", "STRATEGY", "HEALTH_INTERVAL", "ENABLED")),
]
OLD_FLAGS = ["--mode", "--port", "--host", "--proxy-only", "--model", "--filter-tier", "--adapter", "--stub-tools"]
OLD_FLAGS += ["--no-stub-tools", "--record", "--no-record", "--debug"]

# What the first README used: these must do what they say, or say that they do not.
README_SAMPLE: dict[str, Any] = {
    "backend": "local",
    "backends": {
        "local": {
            "enabled": True,
            "port": 8081,
            "baseUrl": "http://localhost:8081/v1",
            "modelPath": "/path/to/mlx-model",
            "autoStartServer": True,
            "safeSystemFilter": True,
            "filterTier": "aggressive",
            "stubToolDescriptions": True,
        },
        "openrouter": {"enabled": False, "apiKey": "sk-or-v1-YOUR_KEY", "model": "z-ai/glm-4.6"},
    },
}


@pytest.mark.parametrize("key", OLD_KEYS)
def test_every_old_key_stands_in_the_table_and_on_the_page(key: str) -> None:
    assert key in ROWS
    assert f"`{key}`" in PAGE.read_text()


@pytest.mark.parametrize("name", OLD_VARIABLES)
def test_every_old_variable_stands_in_the_table_and_on_the_page(name: str) -> None:
    assert any(name in row.variables for row in TABLE)
    assert f"`{name}`" in PAGE.read_text()


@pytest.mark.parametrize("name", OLD_FLAGS)
def test_every_promised_flag_exists(name: str) -> None:
    assert name in FLAGS


def test_the_page_is_the_table() -> None:
    assert PAGE.read_text() == markdown(), "run `make docs`"


def test_no_key_or_flag_is_there_twice_and_every_row_says_what_it_is() -> None:
    assert len(ROWS) == len(TABLE)
    for row in TABLE:
        assert row.doc.endswith(".")
        assert bool(row.instead) == (row.status is not Status.WORKS), row.key


@pytest.mark.parametrize("row", [row for row in TABLE if row.default is not None], ids=lambda row: row.key)
def test_every_default_is_a_value_of_its_kind(row: Setting) -> None:
    row.kind.read(row.default)


def test_every_setting_that_works_is_read_by_something(tmp_path: Path) -> None:
    used: set[str] = set()
    for mode in MODES:
        used |= load({"mode": mode}, {}, cwd=tmp_path, home=tmp_path).resolved.used
    notes = {row.key for row in TABLE if type(row.kind) is Kind}  # descriptions: for people only
    elsewhere = {
        "backends.mlx-cluster.discovery.mode",
        "ANYCLAUDE_CLAUDE_PATH",
    }  # one choice only; the launcher reads it
    assert {row.key for row in TABLE if row.status is Status.WORKS} - notes - elsewhere <= used


@pytest.mark.parametrize("row", [row for row in TABLE if row.status is Status.NO_EFFECT], ids=lambda row: row.key)
def test_what_has_no_effect_is_accepted_and_says_so(row: Setting, tmp_path: Path) -> None:
    value = next(value for value in ("aggressive", "qwen", True) if accepts(row, value))
    mode = next((mode for mode in MODES if row.key.startswith(f"backends.{mode}.")), "local")
    if row.in_file:
        (tmp_path / ".anyclauderc.json").write_text(json.dumps(nested(row.key, value)))
    environ = {} if row.in_file else {row.env[0]: "1"}
    _, warnings = load_settings({"mode": mode}, environ, cwd=tmp_path, home=tmp_path)
    assert len(warnings) == 1
    assert row.key in warnings[0]
    assert row.instead in warnings[0]
    for harmless in row.harmless:
        (tmp_path / ".anyclauderc.json").write_text(json.dumps(nested(row.key, harmless)))
        assert load_settings({"mode": mode}, {}, cwd=tmp_path, home=tmp_path)[1] == []


def accepts(row: Setting, value: object) -> bool:
    try:
        row.kind.read(value)
    except Refused:
        return False
    return True


@pytest.mark.parametrize("row", [row for row in TABLE if row.status is Status.REMOVED], ids=lambda row: row.key)
def test_what_was_removed_says_what_to_do_instead_unless_it_is_off(row: Setting, tmp_path: Path) -> None:
    file = tmp_path / ".anyclauderc.json"
    file.write_text(json.dumps(nested(row.key, True)))
    with pytest.raises(SettingsError) as refused:
        load_settings({}, {}, cwd=tmp_path, home=tmp_path)
    assert row.instead in refused.value.message
    assert row.key in refused.value.message
    file.write_text(json.dumps(nested(row.key, False)))
    assert load_settings({}, {}, cwd=tmp_path, home=tmp_path)[1] == []


def test_the_first_readmes_sample_starts_its_server_on_its_port(tmp_path: Path) -> None:
    (tmp_path / ".anyclauderc.json").write_text(json.dumps(README_SAMPLE))
    settings, warnings = load_settings({}, {}, cwd=tmp_path, home=tmp_path)
    assert (settings.local.source, settings.local.port) == ("start", 8081)
    assert settings.local.model_path == "/path/to/mlx-model"
    assert settings.filter_tier == "aggressive"
    assert settings.stub_tools is True
    assert settings.openrouter.model == "z-ai/glm-4.6"
    assert not [w for w in warnings if "no effect" not in w]


@pytest.mark.parametrize("block", LEGACY_BLOCKS)
def test_old_names_of_local_are_on_the_page(block: str) -> None:
    assert f"`{block}`" in PAGE.read_text()


def nested(key: str, value: object) -> dict[str, Any]:
    """`a.b` and 1 as {"a": {"b": 1}}."""
    result: Any = value
    for part in reversed(key.split(".")):
        result = {part: result}
    assert isinstance(result, dict)
    return result
