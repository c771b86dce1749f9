"""Flags over variables over files over defaults; wrong ones are refused in one sentence that says where and what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.settings import ClusterSettings, Secret, Settings, load_settings, missing
from anyclaude_lab.settings.document import listing
from anyclaude_lab.settings.kinds import (
    Choice,
    FolderOrSwitch,
    Hosts,
    Integer,
    Key,
    Milliseconds,
    Names,
    Nodes,
    Share,
    Switch,
    Text,
    Url,
)
from anyclaude_lab.settings.load import load
from anyclaude_lab.settings.rows.row import Setting, Status
from anyclaude_lab.settings.table import FLAGS, ROWS, TABLE
from anyclaude_lab.settings.trust import approve
from tests.settings.test_table import nested


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


class Given:
    """A folder and a home folder with files in them."""

    def __init__(self, cwd: Path, home: Path) -> None:
        self.cwd, self.home = cwd, home

    def file(self, content: object, folder: Path | None = None) -> Path:
        path = (folder or self.cwd) / ".anyclauderc.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        approve(path, self.home)  # what a file may not decide by itself is tested elsewhere
        return path

    def load(
        self, environ: Mapping[str, str] | None = None, config_file: Path | None = None, **flags: Any
    ) -> tuple[Settings, list[str]]:
        return load_settings(flags, environ or {}, cwd=self.cwd, home=self.home, config_file=config_file)

    def settings(self, environ: Mapping[str, str] | None = None, **flags: Any) -> Settings:
        return self.load(environ, **flags)[0]

    def refusal(self, environ: Mapping[str, str] | None = None, **flags: Any) -> str:
        with pytest.raises(SettingsError) as refused:
            self.load(environ, **flags)
        return refused.value.message


@pytest.fixture
def here(cwd: Path, home: Path) -> Given:
    return Given(cwd, home)


# Who wins


def samples(row: Setting) -> tuple[Any, Any]:
    """Two values as a file has them; for a switch the two that there are."""
    kind = row.kind
    if isinstance(kind, Switch):
        return False, True
    if isinstance(kind, Choice):
        return kind.values[0], kind.values[-1]
    if isinstance(kind, Integer | Milliseconds):
        return kind.lowest, kind.highest
    if isinstance(kind, Share):
        return 0.25, 1
    if isinstance(kind, Url):
        return "http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"
    if isinstance(kind, Names):
        return ["a"], ["b", "c"]
    if isinstance(kind, Hosts):
        here, there = {"ssh": "127.0.0.1", "ips": ["10.0.0.1"]}, {"ssh": "mac-2", "ips": ["10.0.0.2"]}
        return [here, there], [here, here]
    if isinstance(kind, Nodes):
        return [{"id": "a", "url": "http://a/v1"}], [{"id": "b", "url": "http://b/v1"}]
    assert isinstance(kind, Text | Key | FolderOrSwitch)
    return "one", "two"


def as_text(value: object) -> str:
    if isinstance(value, list) and value and isinstance(value[0], str):
        return ",".join(value)
    return value if isinstance(value, str) else json.dumps(value)


CONTRADICTION = ".enabled"  # both values of it decide the mode, which has its own tests
KINDS = (Choice, FolderOrSwitch, Hosts, Integer, Key, Milliseconds, Names, Nodes, Share, Switch, Text, Url)
ROWS_WITH_VALUES = [
    row
    for row in TABLE
    if isinstance(row.kind, KINDS) and row.status is not Status.REMOVED and not row.key.endswith(CONTRADICTION)
]


@pytest.mark.parametrize("row", ROWS_WITH_VALUES, ids=lambda row: row.key)
def test_the_stronger_source_wins(row: Setting, here: Given) -> None:
    weak, strong = samples(row)

    def value_and_origin(environ: Mapping[str, str], flags: Mapping[str, Any]) -> tuple[Any, str]:
        found = load(flags, environ, cwd=here.cwd, home=here.home).resolved.values[row.key]
        return found.value, found.origin

    if row.in_file:
        at_home = here.file(nested(row.key, weak), here.home)
        assert value_and_origin({}, {}) == (row.kind.read(weak), f"file {at_home}")
        in_folder = here.file(nested(row.key, strong))
        assert value_and_origin({}, {}) == (row.kind.read(strong), f"file {in_folder}")
    for variable in (*row.env, *row.old_env):
        assert value_and_origin({variable: as_text(weak)}, {}) == (row.kind.read(weak), f"environment {variable}")
    if row.flag:
        environ = {row.env[0]: as_text(weak)}
        name = FLAGS[row.flag].setting
        assert value_and_origin(environ, {name: as_text(strong)}) == (row.kind.read(strong), f"flag {row.flag}")


def test_nothing_configured_is_the_model_that_comes_along(here: Given) -> None:
    settings, warnings = here.load()
    assert (settings.mode, settings.host, settings.port, settings.proxy_only) == ("local", "127.0.0.1", None, False)
    assert (settings.local.source, settings.local.base_url) == ("embedded", None)
    assert settings == Settings()
    assert warnings == []
    assert set(settings.origins.values()) == {"default"}


@pytest.mark.parametrize(
    ("mode", "tier", "strip", "records"),
    [
        ("local", "aggressive", True, False),
        ("mlx-cluster", "aggressive", True, False),
        ("openrouter", "off", True, True),
        ("claude", "off", False, True),
    ],
)
def test_defaults_of_each_mode(here: Given, mode: str, tier: str, strip: bool, records: bool) -> None:
    settings = here.settings(mode=mode)
    assert (settings.filter_tier, settings.strip_billing) == (tier, strip)
    assert settings.record_dir == (here.home / ".anyclaude" / "traces" if records else None)
    assert settings.stub_tools is False
    assert settings.adapter == ("none" if mode == "claude" else "auto")


def test_what_the_folder_leaves_open_the_home_folder_says(here: Given) -> None:
    here.file({"backends": {"openrouter": {"apiKey": "sk-or-home"}}, "port": 1}, here.home)
    here.file({"backend": "openrouter", "port": 2})
    settings = here.settings()
    assert settings.openrouter.api_key == Secret("sk-or-home")
    assert (settings.mode, settings.port) == ("openrouter", 2)


def test_a_named_file_stands_for_both(here: Given, tmp_path: Path) -> None:
    here.file({"port": 1}, here.home)
    here.file({"port": 2})
    other = tmp_path / "other.json"
    other.write_text('{"host": "0.0.0.0"}')
    settings, _ = here.load(config_file=other)
    assert (settings.host, settings.port) == ("0.0.0.0", None)
    with pytest.raises(SettingsError, match=r"absent\.json cannot be read"):
        here.load(config_file=Path("absent.json"))


def test_an_empty_variable_is_unset(here: Given) -> None:
    assert here.settings({"LOCAL_URL": "", "ANYCLAUDE_PORT": "  "}) == Settings()


def test_a_null_in_a_file_is_unset_and_comments_are_skipped(here: Given) -> None:
    here.file({"port": None, "// why": {"a": 1}, "$schema": "x", "backends": {"local": {"// note": 3, "model": None}}})
    assert here.settings() == Settings()


# Where local answers come from


@pytest.mark.parametrize(
    ("file", "environ", "flags", "expected"),
    [
        ({}, {"LOCAL_URL": "http://localhost:1234"}, {}, ("url", "http://localhost:1234/v1", None, None)),
        ({}, {"LMSTUDIO_URL": "http://localhost:1234/v1/"}, {}, ("url", "http://localhost:1234/v1", None, None)),
        ({"port": 8081}, {}, {}, ("url", "http://127.0.0.1:8081/v1", None, None)),
        ({}, {"MLX_MODEL_PATH": "/m"}, {}, ("start", None, None, "/m")),
        ({}, {}, {"model": "mlx-community/m-4bit"}, ("start", None, None, "mlx-community/m-4bit")),
        ({"modelPath": "/m"}, {}, {"model": "/other"}, ("start", None, None, "/other")),
        ({"modelPath": "/m", "baseUrl": "http://localhost:8081/v1"}, {}, {}, ("start", None, 8081, "/m")),
        ({"modelPath": "/m", "port": 8090}, {}, {}, ("start", None, 8090, "/m")),
        ({"modelPath": "/m"}, {"LOCAL_URL": "http://localhost:1/v1"}, {}, ("url", "http://localhost:1/v1", None, "/m")),
        ({"modelPath": "/m", "baseUrl": "http://mac:1/v1"}, {}, {}, ("url", "http://mac:1/v1", None, "/m")),
        (
            {"modelPath": "/m", "autoStartServer": False, "baseUrl": "http://localhost:1/v1"},
            {},
            {},
            ("url", "http://localhost:1/v1", None, "/m"),
        ),
        (
            {"modelPath": "/m", "baseUrl": "http://localhost:1/v1"},
            {"ANYCLAUDE_NO_AUTO_LAUNCH": "1"},
            {},
            ("url", "http://localhost:1/v1", None, "/m"),
        ),
        ({"baseUrl": "http://localhost:1/v1"}, {}, {"model": "x"}, ("url", "http://localhost:1/v1", None, None)),
        ({"model": "current-model"}, {}, {}, ("embedded", None, None, None)),
    ],
)
def test_where_local_answers_come_from(
    here: Given, file: dict[str, Any], environ: dict[str, str], flags: dict[str, Any], expected: tuple[object, ...]
) -> None:
    here.file({"backends": {"local": file}})
    local = here.settings(environ, **flags).local
    assert (local.source, local.base_url, local.port, local.model_path) == expected


def test_without_a_server_to_start_or_to_ask_the_sentence_says_what_to_set(here: Given) -> None:
    here.file({"backends": {"local": {"autoStartServer": False}}})
    assert "LOCAL_URL" in str(missing(here.settings()))


def test_a_relative_model_folder_starts_at_the_file_that_names_it(here: Given) -> None:
    (here.home / "models" / "m").mkdir(parents=True)
    here.file({"backends": {"local": {"modelPath": "models/m"}}}, here.home)
    assert here.settings().local.model_path == str(here.home / "models" / "m")
    assert here.settings({"MLX_MODEL_PATH": "~/models/m"}).local.model_path == str(here.home / "models" / "m")
    assert here.settings({"MLX_MODEL_PATH": "models/m"}).local.model_path == "models/m"  # no folder here: a hub id


# The other modes


def test_each_mode_has_its_own_model(here: Given) -> None:
    here.file({"backends": {"openrouter": {"model": "a/b"}, "mlx-cluster": {"model": "c"}, "local": {"model": "d"}}})
    assert [here.settings(mode=mode).model for mode in ("openrouter", "mlx-cluster", "local", "claude")] == [
        "a/b",
        "c",
        "d",
        None,
    ]
    assert here.settings(mode="openrouter", model="e").model == "e"


def test_cluster_nodes_from_file_and_variable(here: Given) -> None:
    here.file({"backends": {"mlx-cluster": {"discovery": {"nodes": [{"nodeId": "a", "url": "http://10.0.0.2:8080"}]}}}})
    (node,) = here.settings().cluster.nodes
    assert (node.id, node.url) == ("a", "http://10.0.0.2:8080/v1")
    nodes = here.settings({"MLX_CLUSTER_NODES": '[{"url": "http://b/v1"}, {"url": "http://c/v1"}]'}).cluster.nodes
    assert [node.id for node in nodes] == ["node-1", "node-2"]


def test_every_key_of_a_cluster_is_heard(here: Given) -> None:
    block = {
        "apiKey": "sk-nodes",
        "discovery": {"refreshIntervalMs": 2000, "validationTimeoutMs": 300},
        "health": {"checkIntervalMs": 4000, "timeoutMs": 500, "maxConsecutiveFailures": 6, "unhealthyThreshold": 0.7},
        "routing": {"strategy": "latency-based", "maxRetries": 1, "retryDelayMs": 80},
        "cache": {"maxCacheAgeSec": 9, "minCacheHitRate": 0.1, "maxCacheSizeTokens": 1100},
    }
    here.file({"backends": {"mlx-cluster": block}})
    settings, warnings = here.load({}, mode="mlx-cluster")
    assert warnings == []
    assert settings.cluster == ClusterSettings(
        strategy="latency-based",
        api_key=Secret("sk-nodes"),
        refresh_s=2.0,
        refresh_timeout_s=0.3,
        health_interval_s=4.0,
        health_timeout_s=0.5,
        max_missed_checks=6,
        unhealthy_share=0.7,
        max_retries=1,
        retry_delay_s=0.08,
        cache_age_s=9.0,
        least_cached_share=0.1,
        cache_tokens=1100,
    )
    assert here.settings({"MLX_CLUSTER_STRATEGY": "cache-aware"}, mode="mlx-cluster").cluster.strategy == "cache-aware"


@pytest.mark.parametrize(
    ("mode", "named"), [("openrouter", "OPENROUTER_API_KEY"), ("mlx-cluster", "MLX_CLUSTER_NODES")]
)
def test_what_a_mode_cannot_start_without(here: Given, mode: str, named: str) -> None:
    assert named in str(missing(here.settings(mode=mode)))
    assert missing(here.settings(mode="local")) is None


def test_an_enabled_block_chooses_the_mode_where_nothing_names_a_backend(here: Given) -> None:
    here.file({"backends": {"openrouter": {"enabled": True}, "local": {"enabled": False}}})
    assert here.settings().mode == "openrouter"
    assert here.settings({"ANYCLAUDE_MODE": "claude"}).mode == "claude"
    assert here.settings(mode="local").mode == "local"
    assert here.settings({"MLX_CLUSTER_ENABLED": "true"}).mode == "mlx-cluster"


def test_beside_a_named_backend_other_blocks_may_be_enabled(here: Given) -> None:
    here.file({"backend": "local", "backends": {"openrouter": {"enabled": True}}})
    assert here.settings().mode == "local"
    assert here.settings({"MLX_CLUSTER_ENABLED": "true"}).mode == "mlx-cluster"


def test_a_block_that_is_switched_off_cannot_be_chosen_beside_it(here: Given) -> None:
    path = here.file({"backend": "openrouter", "backends": {"openrouter": {"enabled": False}}})
    sentence = here.refusal()
    assert str(path) in sentence
    assert "backends.openrouter.enabled" in sentence


def test_the_older_word_for_recording_and_the_stronger_one(here: Given) -> None:
    usual = here.home / ".anyclaude" / "traces"
    here.file({"debug": {"enableTraces": True}})
    assert here.settings().record_dir == usual
    assert here.settings(record=False).record_dir is None
    assert here.settings(record="traces").record_dir == here.cwd / "traces"
    assert here.settings({"ANYCLAUDE_RECORD": "~/t"}).record_dir == here.home / "t"
    here.file({"debug": {"enableTraces": False}, "backend": "claude"})
    assert here.settings().record_dir is None


def test_the_older_word_for_no_filter(here: Given) -> None:
    here.file({"backends": {"local": {"safeSystemFilter": False, "filterTier": "extreme"}}})
    assert here.settings().filter_tier == "off"
    assert here.settings(filter_tier="minimal").filter_tier == "minimal"


def test_flags_about_prompts_mean_nothing_in_passthrough_and_say_so(here: Given) -> None:
    settings, warnings = here.load(mode="claude", filter_tier="extreme", stub_tools=True, model="opus")
    assert (settings.filter_tier, settings.stub_tools, settings.model) == ("off", False, "opus")
    assert warnings == [
        "--filter-tier has no effect in mode claude.",
        "--stub-tools has no effect in mode claude.",
    ]


# Old names


@pytest.mark.parametrize("name", ["lmstudio", "mlx", "mlx-lm", "mlx-textgen"])
def test_old_backends_and_blocks_work_with_a_warning(here: Given, name: str) -> None:
    here.file({"backend": name, "backends": {name: {"baseUrl": "http://localhost:1234/v1", "apiKey": "lm-studio"}}})
    settings, warnings = here.load()
    assert settings.mode == "local"
    assert settings.local.base_url == "http://localhost:1234/v1"
    assert len(warnings) == 2
    assert all("deprecated" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("LMSTUDIO_URL", "LOCAL_URL", "http://localhost:1/v1"),
        ("LMSTUDIO_MODEL", "LOCAL_MODEL", "m"),
        ("LMSTUDIO_API_KEY", "LOCAL_API_KEY", "k"),
        ("LMSTUDIO_CONTEXT_LENGTH", "LOCAL_CONTEXT_LENGTH", "4096"),
    ],
)
def test_old_variables_work_with_a_warning(here: Given, old: str, new: str, value: str) -> None:
    settings, warnings = here.load({old: value})
    assert settings == here.settings({new: value})
    assert warnings == [f"environment {old} is deprecated: use {new}."]
    assert here.load({old: "x" if old.endswith("MODEL") else value, new: value})[1] == []


def test_of_several_old_blocks_the_named_one_is_used(here: Given) -> None:
    blocks = {"lmstudio": {"baseUrl": "http://a/v1"}, "mlx-lm": {"baseUrl": "http://b/v1"}}
    here.file({"backend": "mlx-lm", "backends": blocks})
    settings, warnings = here.load()
    assert settings.local.base_url == "http://b/v1"
    assert any("backends.lmstudio" in warning and "not used" in warning for warning in warnings)
    here.file({"backend": "local", "backends": blocks | {"local": {"baseUrl": "http://c/v1"}}})
    assert here.settings().local.base_url == "http://c/v1"


# Mistakes


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ({"backend": "lokal"}, ["backend", '"lokal"', "local, openrouter, claude, mlx-cluster", 'mean "local"']),
        ({"port": "8080"}, ["port", '"8080"', "0 to 65535"]),
        ({"port": 70000}, ["port", "70000", "0 to 65535"]),
        ({"port": True}, ["port", "true", "0 to 65535"]),
        ({"debug": 3}, ["debug", "3", "object", "level"]),
        ({"debug": {"level": 4}}, ["debug.level", "4", "0 to 3"]),
        (
            {"backends": {"local": {"filterTeir": "x"}}},
            ["backends.local.filterTeir", 'mean "backends.local.filterTier"'],
        ),
        ({"filterTier": "off"}, ["filterTier", "allowed there: backend", "backends.local.filterTier"]),
        (
            {"backends": {"local": {"baseUrl": "localhost:8080"}}},
            ["backends.local.baseUrl", "http://127.0.0.1:8080/v1"],
        ),
        ({"backends": {"local": {"toolAllowlist": "Bash"}}}, ["toolAllowlist", '"Bash"', "list"]),
        ({"backends": {"local": {"contextLength": 32768.5}}}, ["contextLength", "32768.5", "whole number"]),
        ({"backends": {"lmstudio": {"baseURL": 1}}}, ["backends.lmstudio.baseURL", 'mean "backends.lmstudio.baseUrl"']),
        ({"backends": {"lmstudio": 1}}, ["backends.lmstudio", "1", "object"]),
        ({"retryGrace": 2}, ["retryGrace", "2", "100 to 60000", "milliseconds"]),
        ({"ANYCLAUDE_SKIP_SETUP_CHECK": 1}, ["ANYCLAUDE_SKIP_SETUP_CHECK", "unknown key"]),
        ([], ["[]", "JSON object"]),
        ('{"port": 1,\n  "host" "x"}', ["not JSON", "line 2, column 10"]),
        ("", ["not JSON", "line 1"]),
        ("[" * 100_000, ["cannot be read"]),
        ('{"port": ' + "9" * 5000 + "}", ["cannot be read"]),
    ],
)
def test_a_wrong_file_is_refused_with_place_found_and_allowed(here: Given, content: object, parts: list[str]) -> None:
    path = here.file(content)
    sentence = here.refusal()
    for part in (str(path), *parts):
        assert part in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("environ", "flags", "parts"),
    [
        ({"ANYCLAUDE_MODE": "cloud"}, {}, ["ANYCLAUDE_MODE", '"cloud"', "openrouter"]),
        ({"ANYCLAUDE_PORT": "http"}, {}, ["ANYCLAUDE_PORT", '"http"', "65535"]),
        ({"PROXY_ONLY": "maybe"}, {}, ["PROXY_ONLY", '"maybe"', "true or false"]),
        ({"LOCAL_CONTEXT_LENGTH": "32k"}, {}, ["LOCAL_CONTEXT_LENGTH", '"32k"', "whole number"]),
        ({"ANYCLAUDE_REQUEST_TIMEOUT": "600s"}, {}, ["ANYCLAUDE_REQUEST_TIMEOUT", '"600s"', "milliseconds"]),
        ({"MLX_CLUSTER_NODES": "http://a"}, {}, ["MLX_CLUSTER_NODES", "not JSON"]),
        ({"MLX_CLUSTER_NODES": '[{"id": "a", "url": "b"}]'}, {}, ["MLX_CLUSTER_NODES", "node 1"]),
        (
            {"ANYCLAUDE_DISTRIBUTED_HOSTS": '[{"ssh": "127.0.0.1", "ips": ["127.0.0.1"]}]'},
            {},
            ["ANYCLAUDE_DISTRIBUTED_HOSTS", "two or more"],
        ),
        (
            {
                "ANYCLAUDE_DISTRIBUTED_HOSTS": '[{"ssh": "-oProxyCommand=x", "ips": ["1.1.1.1"]},'
                '{"ssh": "a", "ips": ["1.1.1.1"]}]'
            },
            {},
            ["ANYCLAUDE_DISTRIBUTED_HOSTS", "host 1 is no host name"],
        ),
        ({}, {"filter_tier": "agressive"}, ["--filter-tier", '"agressive"', 'mean "aggressive"']),
        ({}, {"mode": "lokal"}, ["--mode", '"lokal"', "local"]),
        ({}, {"debug": "7"}, ["--debug", '"7"', "0 to 3"]),
    ],
)
def test_wrong_variables_and_flags(
    here: Given, environ: dict[str, str], flags: dict[str, Any], parts: list[str]
) -> None:
    sentence = here.refusal(environ, **flags)
    assert [part for part in parts if part not in sentence] == []


def test_an_unusual_time_limit_is_accepted_with_a_warning(here: Given) -> None:
    settings, warnings = here.load({"ANYCLAUDE_REQUEST_TIMEOUT": "5000"})
    assert settings.request_timeout_s == 5.0
    assert len(warnings) == 1
    assert "30000" in warnings[0]


def test_warnings_are_about_the_mode_that_runs(here: Given) -> None:
    here.file({"backends": {"local": {"compatibility": "legacy"}}})
    assert len(here.load()[1]) == 1
    assert here.load(mode="claude")[1] == []


# Keys

KEY_ROWS = [row for row in TABLE if isinstance(row.kind, Key)]


@pytest.mark.parametrize("row", KEY_ROWS, ids=lambda row: row.key)
def test_a_key_is_shown_nowhere(row: Setting, here: Given) -> None:
    marker = "sk-or-v1-0123456789abcdef"
    loaded = load({}, {row.env[0]: marker}, cwd=here.cwd, home=here.home)
    shown = [repr(loaded), str(loaded.settings), *(f"{line.value} {line.origin}" for line in listing(loaded.resolved))]
    assert marker not in " ".join(shown)
    assert loaded.resolved.values[row.key].value.reveal() == marker
    here.file(nested(row.key, [marker]))
    assert marker not in here.refusal()
    for wrong in (" with spaces", "\x1b[2J", "\r\nx-forged: yes", "\x00"):
        here.file(nested(row.key, f"{marker}{wrong}!"))
        assert marker not in here.refusal()


def test_a_duration_longer_than_any_number_of_the_machine_is_refused(here: Given) -> None:
    here.file(nested("requestTimeout", 10**400))
    assert "requestTimeout" in here.refusal()


def test_a_text_that_would_forge_a_header_is_refused(here: Given) -> None:
    here.file(nested("backends.openrouter.appTitle", "mine\r\nx-forged: yes"))
    assert "control character" in here.refusal()


def test_credentials_in_an_address_are_shown_nowhere(here: Given) -> None:
    loaded = load({}, {"LOCAL_URL": "http://me:hunter2@localhost:1/v1"}, cwd=here.cwd, home=here.home)
    assert "hunter2" not in " ".join(line.value for line in listing(loaded.resolved))
    assert "hunter2" not in here.refusal({"LOCAL_URL": "ftp://me:hunter2@localhost:1/v1"})


# Anything at all

words = st.sampled_from(sorted({part for key in ROWS for part in key.split(".")} | {"lmstudio", "mlx", "x"}))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


@given(content=st.dictionaries(words, json_values, max_size=5))
@hypothesis_settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_any_file_is_read_or_refused_in_one_sentence(here: Given, content: dict[str, Any]) -> None:
    path = here.file(content)
    try:
        settings, warnings = here.load()
    except SettingsError as refused:
        assert str(path) in refused.message
        return
    assert settings.mode in ("local", "openrouter", "claude", "mlx-cluster")
    assert all("\n" not in warning for warning in warnings)


@given(
    environ=st.dictionaries(st.sampled_from([name for row in TABLE for name in row.variables]), st.text(max_size=12))
)
@hypothesis_settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_any_environment_is_read_or_refused(here: Given, environ: dict[str, str]) -> None:
    try:
        here.load(environ)
    except SettingsError as refused:
        assert any(name in refused.message for name in environ) or "enabled" in refused.message


@pytest.mark.parametrize("name", ["a\0b", "half \ud800"])
@pytest.mark.parametrize("key", ["record", "caBundle", "host", "backends.local.modelPath"])
def test_a_text_that_no_file_can_be_called(here: Given, key: str, name: str) -> None:
    path = here.file(nested(key, name))
    assert here.refusal().startswith(f"{path}: {key} is ")
