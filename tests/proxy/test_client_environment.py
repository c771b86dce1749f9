"""Which variables Claude Code is started with, by mode, and what becomes of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.proxy.client_environment import (
    CREDENTIALS,
    DETOURS,
    MAIN_MODELS,
    SMALL_MODELS,
    ClientEnvironment,
    client_environment,
    client_model_id,
    declared_window_tokens,
    start_line,
)
from anyclaude_lab.proxy.running import RunningProxy
from anyclaude_lab.settings import Secret, Settings

URL = "http://127.0.0.1:49152"
MODEL = "anthropic-local/qwen3"
TRANSLATING = ("local", "openrouter", "mlx-cluster")
WATCHDOGS = {"API_TIMEOUT_MS", "CLAUDE_STREAM_IDLE_TIMEOUT_MS", "CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS"}
PROXIES = {"NO_PROXY", "no_proxy"}


def environment(
    mode: Any = "local", user_env: Mapping[str, str] | None = None, window_tokens: int | None = 131_072, **settings: Any
) -> ClientEnvironment:
    return client_environment(
        Settings(mode=mode, **settings), URL, window_tokens=window_tokens, model_id=MODEL, user_env=user_env or {}
    )


@pytest.mark.parametrize("mode", TRANSLATING)
def test_translating_modes_name_the_model_in_every_place_and_need_no_account(mode: str) -> None:
    ours = environment(mode).set
    assert ours["ANTHROPIC_BASE_URL"] == URL
    assert ours["ANTHROPIC_AUTH_TOKEN"]
    assert all(ours[name] == MODEL for name in (*MAIN_MODELS, *SMALL_MODELS))
    assert ours["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "131072"
    assert ours["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "8192"
    assert ours["CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK"] == "1"
    assert ours["CLAUDE_CODE_ATTRIBUTION_HEADER"] == "0"
    assert ours["CLAUDE_CODE_GATEWAY_HINT_HEADERS"] == "1"


@pytest.mark.parametrize("mode", TRANSLATING)
def test_translating_modes_take_out_every_credential_and_every_way_past_the_proxy(mode: str) -> None:
    user_env = dict.fromkeys((*CREDENTIALS, *DETOURS), "secret-of-the-user") | {"HOME": "/home/u"}
    changes = environment(mode, user_env)
    child = changes.applied_to(user_env)
    assert "secret-of-the-user" not in child.values()
    assert child["HOME"] == "/home/u"
    assert not child.keys() & {*DETOURS}
    (told,) = [note for note in changes.notes if "Taken out" in note]
    assert "ANTHROPIC_API_KEY" in told
    assert "CLAUDE_CODE_USE_BEDROCK" in told
    assert "secret-of-the-user" not in "".join(changes.notes)


def test_claude_mode_touches_nothing_but_address_patience_and_hints() -> None:
    user_env = {"ANTHROPIC_API_KEY": "sk-ant-1", "CLAUDE_CODE_OAUTH_TOKEN": "t", "ANTHROPIC_MODEL": "opus"}
    changes = environment("claude", user_env)
    assert changes.set.keys() == {"ANTHROPIC_BASE_URL", "CLAUDE_CODE_GATEWAY_HINT_HEADERS"} | WATCHDOGS | PROXIES
    assert not changes.unset
    assert changes.applied_to(user_env).items() >= user_env.items()


def test_claude_mode_says_when_another_provider_goes_past_it() -> None:
    assert "CLAUDE_CODE_USE_BEDROCK" in "".join(environment("claude", {"CLAUDE_CODE_USE_BEDROCK": "1"}).notes)
    assert not environment("claude").notes


OURS_ALWAYS = {"ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN"} | PROXIES


@pytest.mark.parametrize("mode", [*TRANSLATING, "claude"])
def test_values_the_user_set_win(mode: str) -> None:
    for name in environment(mode).set.keys() - OURS_ALWAYS:
        assert environment(mode, {name: "users"}).applied_to({name: "users"})[name] == "users"


@pytest.mark.parametrize("mode", [*TRANSLATING, "claude"])
def test_an_empty_value_counts_as_not_set(mode: str) -> None:
    for name in environment(mode).set:
        assert environment(mode, {name: ""}).set[name] == environment(mode).set[name]


def test_a_model_the_user_set_is_kept_and_explained() -> None:
    changes = environment(user_env={"ANTHROPIC_MODEL": "claude-opus-4-8"})
    assert changes.set["ANTHROPIC_MODEL"] == "claude-opus-4-8"
    assert any("ANTHROPIC_MODEL" in note for note in changes.notes)


def test_base_url_is_ours_even_where_the_user_has_another() -> None:
    for mode in (*TRANSLATING, "claude"):
        user_env = {"ANTHROPIC_BASE_URL": "https://gateway.example"}
        assert environment(mode, user_env).applied_to(user_env)["ANTHROPIC_BASE_URL"] == URL


def test_small_model_goes_where_background_work_is_named() -> None:
    ours = environment(small_model="Qwen3-0.6B").set
    assert {ours[name] for name in SMALL_MODELS} == {"anthropic-local/qwen3-0.6b"}
    assert {ours[name] for name in MAIN_MODELS} == {MODEL}


@pytest.mark.parametrize("mode", [*TRANSLATING, "claude"])
@pytest.mark.parametrize(
    ("user_env", "kept"),
    [
        ({}, []),
        ({"NO_PROXY": "corp.example, 10.0.0.0/8"}, ["corp.example", "10.0.0.0/8"]),
        ({"no_proxy": "a", "NO_PROXY": "b"}, ["a", "b"]),
        ({"NO_PROXY": "localhost"}, []),
    ],
)
def test_loopback_is_never_sent_through_a_proxy(mode: str, user_env: dict[str, str], kept: list[str]) -> None:
    ours = environment(mode, user_env).set
    assert ours["NO_PROXY"] == ours["no_proxy"]
    names = ours["NO_PROXY"].split(",")
    assert {*names} == {"127.0.0.1", "localhost", "::1", *kept}
    assert len(names) == len({*names})


def test_client_waits_longer_than_the_proxy_within_its_own_bounds() -> None:
    slow, short = environment(request_timeout_s=3600.0).set, environment(request_timeout_s=30.0).set
    assert int(slow["API_TIMEOUT_MS"]) > 3_600_000
    assert int(slow["CLAUDE_STREAM_IDLE_TIMEOUT_MS"]) > 3_600_000
    assert int(slow["CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS"]) == 1_800_000
    assert int(short["CLAUDE_STREAM_IDLE_TIMEOUT_MS"]) == 300_000


def test_the_line_to_start_it_by_hand_tells_the_same_room() -> None:
    line = start_line(Settings(mode="local"), URL, MODEL, window_tokens=131_072)
    assert line.split(" claude ")[0].split() == [
        f"ANTHROPIC_BASE_URL={URL}",
        "ANTHROPIC_AUTH_TOKEN=local",
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS=131072",
    ]
    assert "CONTEXT" not in start_line(Settings(mode="local"), URL, MODEL)
    assert start_line(Settings(mode="claude"), URL, MODEL, window_tokens=200_000) == f"ANTHROPIC_BASE_URL={URL} claude"


@pytest.mark.parametrize("mode", [*TRANSLATING, "claude"])
def test_the_token_that_a_proxy_asks_for_goes_with_every_request(mode: Any) -> None:
    settings, mine = Settings(mode=mode), {"ANTHROPIC_CUSTOM_HEADERS": "x-mine: 1"}
    told = client_environment(settings, URL, window_tokens=None, model_id=MODEL, user_env=mine, token="t0ken").set
    line = start_line(settings, URL, MODEL, "t0ken")
    if settings.translating:
        assert told["ANTHROPIC_AUTH_TOKEN"] == "t0ken" and "ANTHROPIC_AUTH_TOKEN=t0ken " in line
    else:  # where the client's own login travels on
        assert told["ANTHROPIC_CUSTOM_HEADERS"] == "x-mine: 1\nx-anyclaude-token: t0ken"
        assert "ANTHROPIC_CUSTOM_HEADERS='x-anyclaude-token: t0ken' " in line and "AUTH_TOKEN" not in line


@pytest.mark.parametrize(("url", "asked"), [("http://10.0.0.5:1", True), ("http://[::1]:1", False), (URL, False)])
def test_a_client_of_this_machine_needs_the_token_at_an_address_for_all(url: str, asked: bool) -> None:
    nothing: Any = None
    server: Any = SimpleNamespace(url=url)
    assert RunningProxy(nothing, server, MODEL, Secret("t0ken")).client_token == ("t0ken" if asked else None)
    assert RunningProxy(nothing, server, MODEL, None).client_token is None


def test_unknown_window_is_not_invented() -> None:
    ours = environment(window_tokens=None).set
    assert "CLAUDE_CODE_MAX_CONTEXT_TOKENS" not in ours
    assert ours["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "8192"
    assert "CLAUDE_CODE_DISABLE_1M_CONTEXT" not in ours  # with it alone the client warns of a limit it does not keep
    assert "contextLength" in "".join(environment("openrouter", window_tokens=None).notes)
    assert not environment(user_env={"CLAUDE_CODE_MAX_CONTEXT_TOKENS": "50000"}, window_tokens=None).notes


@given(st.integers(24_000, 2_000_000))
def test_compaction_leaves_room_for_the_output_and_starts_past_half_of_the_window(window_tokens: int) -> None:
    ours = environment(window_tokens=window_tokens).set
    cap, declared = int(ours["CLAUDE_CODE_MAX_OUTPUT_TOKENS"]), int(ours["CLAUDE_CODE_MAX_CONTEXT_TOKENS"])
    compacts_at = declared - cap - 13_000  # measured with 2.1.330
    assert window_tokens * 0.5 <= compacts_at <= window_tokens - cap


def test_large_windows_are_declared_as_they_are() -> None:
    assert declared_window_tokens(65_536, 8192) == 65_536
    assert declared_window_tokens(32_768, 8192) == 42_768


def test_window_too_small_for_the_client_is_said() -> None:
    assert "8192" in "".join(environment(window_tokens=8192).notes)
    assert not environment(window_tokens=32_768).notes
    assert not environment("claude", window_tokens=8192).notes


@pytest.mark.parametrize(
    ("model", "known_as"),
    [
        ("Qwen3-Coder-30B", "anthropic-local/qwen3-coder-30b"),
        ("z-ai/glm-4.6", "anthropic-local/z-ai/glm-4.6"),
        ("gpt-oss:20b", "anthropic-local/gpt-oss:20b"),
        ("/Users/me/My Models/Qwen3/", "anthropic-local/qwen3"),
        (r"C:\models\Qwen3", "anthropic-local/c:/models/qwen3"),
        ("qwen3[1m]", "anthropic-local/qwen3"),
        ("", "anthropic-local/default"),
        (None, "anthropic-local/default"),
    ],
)
def test_name_for_the_client(model: str | None, known_as: str) -> None:
    assert client_model_id(model) == known_as


@given(st.text())
def test_name_for_the_client_survives_every_release(model: str) -> None:
    known_as = client_model_id(model)
    assert known_as == known_as.lower()
    assert known_as.startswith("anthropic-local/")
    assert known_as.isascii()
    assert not set(known_as) & set("[] \n")
