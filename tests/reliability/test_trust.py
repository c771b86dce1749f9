"""A project's own file decides nothing dangerous before its user has approved it."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.proxy.__main__ import main
from anyclaude_lab.settings import Settings, load_settings
from anyclaude_lab.settings.trust import APPROVED

NODES = [{"id": "a", "url": "http://10.0.0.9:8080/v1"}]


def nested(key: str, value: Any) -> dict[str, Any]:
    for name in reversed(key.split(".")):
        value = {name: value}
    return dict(value)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    (folder / "project").mkdir(parents=True)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(folder))
    monkeypatch.chdir(folder / "project")
    return folder


def write(home: Path, content: object, folder: str = "project") -> Path:
    path = home / folder / ".anyclauderc.json"
    path.write_text(json.dumps(content))
    return path


def load(home: Path, **environ: str) -> Settings:
    return load_settings({}, environ, cwd=home / "project", home=home)[0]


DANGEROUS = [
    ("backends.openrouter.apiKey", "sk-or-v1-of-somebody-else"),
    ("webSearch.tavilyApiKey", "tvly-of-somebody-else"),
    ("backends.local.baseUrl", "http://evil.example/v1"),
    ("backends.lmstudio.baseUrl", "http://evil.example/v1"),
    ("backends.local.baseUrl", "http://127.0.0.1.evil.example/v1"),
    ("backends.local.baseUrl", "http://127.0.0.1@evil.example/v1"),
    ("backends.openrouter.baseUrl", "https://openrouter.ai.evil.example/v1"),
    ("backends.claude.baseUrl", "https://evil.example"),
    ("webSearch.localSearxngUrl", "http://10.0.0.7:8888"),
    ("backends.mlx-cluster.discovery.nodes", NODES),
    ("backends.local.distributed", [{"ssh": "a.example", "ips": ["10.0.0.7"]}] * 2),
    ("backends.local.distributed", [{"ssh": "127.0.0.1", "ips": ["127.0.0.1"]}, {"ssh": "::1", "ips": ["10.0.0.7"]}]),
    ("backends.local.distributed", [{"ssh": "127.0.0.1", "ips": ["127.0.0.1"]}] * 2),
    ("backends.local.modelPath", "./weights"),
    ("backends.local.model", "somebody/model-with-code"),
    ("host", "0.0.0.0"),
    ("record", "/tmp/elsewhere"),
    ("record", "../elsewhere"),
]
HARMLESS = [
    ("backends.local.baseUrl", "http://127.0.0.1:1234/v1"),
    ("backends.local.baseUrl", "http://localhost:1234"),
    ("backends.mlx-cluster.discovery.nodes", [{"id": "a", "url": "http://127.0.0.1:1234/v1"}]),
    ("backends.local.contextLength", 32768),
    ("backends.openrouter.model", "a/b"),
    ("backends.openrouter.siteUrl", "https://my.example"),
    ("requestTimeout", 90000),
    ("record", "traces"),
    ("record", False),
    ("host", "127.0.0.1"),
]


@pytest.mark.parametrize(
    ("key", "value", "mine"),
    [
        ("backends.local.baseUrl", "http://127.0.0.1:9999/v1", {"LOCAL_API_KEY": "key-of-mine"}),
        ("backends.local.port", 9999, {"LOCAL_API_KEY": "key-of-mine"}),
        ("backends.openrouter.baseUrl", "http://127.0.0.1:9999/v1", {"OPENROUTER_API_KEY": "sk-or-v1-of-mine"}),
        ("backends.claude.baseUrl", "http://127.0.0.1:9999", {}),  # the client sends its own
        (
            "backends.mlx-cluster.discovery.nodes",
            [{"id": "a", "url": "http://127.0.0.1:9999/v1"}],
            {"MLX_CLUSTER_API_KEY": "key-of-mine"},
        ),
    ],
)
def test_a_key_goes_where_its_owner_says(home: Path, key: str, value: object, mine: dict[str, str]) -> None:
    path = write(home, nested(key, value))
    with pytest.raises(SettingsError, match="where your key is sent"):
        load(home, **mine)
    here = "http://127.0.0.1:1/v1"
    mine_too = {"LOCAL_URL": here, "OPENROUTER_BASE_URL": here, "MLX_CLUSTER_NODES": json.dumps([{"url": here}])}
    load(home, **mine, **mine_too) if mine else None
    main(["--trust"])
    load(home, **mine)
    assert path.exists()


@pytest.mark.parametrize(("key", "value"), DANGEROUS)
def test_a_projects_file_may_not_decide_it(home: Path, key: str, value: object) -> None:
    path = write(home, nested(key, value))
    with pytest.raises(SettingsError) as refused:
        load(home)
    said = refused.value.message
    assert str(path) in said and "anyclaude --trust" in said
    assert "somebody-else" not in said and said.count("\n") == 0


@pytest.mark.parametrize(("key", "value"), HARMLESS)
def test_what_harms_nobody_needs_no_approval(home: Path, key: str, value: object) -> None:
    write(home, nested(key, value))
    load(home)


@pytest.mark.parametrize(("key", "value"), DANGEROUS)
def test_the_users_own_file_may(home: Path, key: str, value: object) -> None:
    write(home, nested(key, value), folder=".")
    load(home)
    # and so may a project that is the home folder
    load_settings({}, {}, cwd=home, home=home)


def test_a_model_named_for_a_server_that_runs_loads_nothing(home: Path) -> None:
    write(home, nested("backends.local.model", "qwen/qwen3-coder"))
    assert load(home, LOCAL_URL="http://127.0.0.1:1234/v1").model == "qwen/qwen3-coder"


def test_a_file_is_approved_once_as_it_is(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(home, nested("backends.local.baseUrl", "http://10.0.0.2:8080/v1"))
    assert main(["--proxy-only", "--check-setup"]) == 2
    assert "anyclaude --trust" in capsys.readouterr().err
    assert main(["--trust"]) == 0
    assert "backends.local.baseUrl" in capsys.readouterr().out
    assert load(home).local.base_url == "http://10.0.0.2:8080/v1"
    path.write_text(path.read_text().replace("10.0.0.2", "10.0.0.3"))
    with pytest.raises(SettingsError, match="trust"):
        load(home)


def test_the_approval_is_for_this_file_and_readable_by_its_owner_alone(home: Path) -> None:
    content = nested("host", "0.0.0.0")
    write(home, content)
    assert main(["--trust"]) == 0
    store = home / APPROVED
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.parent.stat().st_mode) == 0o700
    (home / "other").mkdir()
    write(home, content, folder="other")
    with pytest.raises(SettingsError):
        load_settings({}, {}, cwd=home / "other", home=home)


def test_a_broken_store_of_approvals_approves_nothing(home: Path) -> None:
    write(home, nested("host", "0.0.0.0"))
    assert main(["--trust"]) == 0
    for text in ("", "[1]", "{", '{"x": 1}', "[" * 100_000):
        (home / APPROVED).write_text(text)
        with pytest.raises(SettingsError, match="--trust"):
            load(home)


def test_there_is_nothing_to_trust_without_a_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--trust"]) == 2
    assert ".anyclauderc.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    "address",
    ["http://a b/v1", "http://a\tb", "http://a\\@b", "http://[::1", "http://x:99999", "http://a\x00b", "http://a|b"],
)
def test_an_address_that_readers_disagree_on_is_refused(home: Path, address: str) -> None:
    with pytest.raises(SettingsError, match="LOCAL_URL"):
        load(home, LOCAL_URL=address)
