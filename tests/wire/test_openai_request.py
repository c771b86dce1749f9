"""Rules 10-16: tools, choice, sampling, limits, thinking and answer format, per server."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.openai_dialect import (
    DIALECTS,
    GENERIC,
    LLAMA_CPP,
    LM_STUDIO,
    MLX_LM,
    OLLAMA,
    OPENROUTER,
    VLLM,
    Dialect,
)
from anyclaude_lab.wire.openai_request import to_openai
from anyclaude_lab.wire.request import Request
from anyclaude_lab.wire.tool_names import ToolNames

BASH = {
    "name": "Bash",
    "description": "Runs a command.",
    "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
}
READ = {"name": "Read", "input_schema": {"type": "object"}}
TITLE = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
every_server = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)


def translated(dialect: Dialect = MLX_LM, model: str = "qwen", **fields: Any) -> tuple[JsonObject, list[str]]:
    body = {
        "model": "claude-opus-5-5[1m]",
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": "hi"}],
    } | fields
    request = Request(body)
    return to_openai(request, dialect, model=model, names=ToolNames.for_tools(request.offered_tools()))


def body(dialect: Dialect = MLX_LM, **fields: Any) -> JsonObject:
    return translated(dialect, **fields)[0]


def last_words(body: JsonObject) -> str:
    return str(body["messages"][-1]["content"])


# --- the frame


@every_server
def test_it_streams_and_asks_for_usage_under_the_backends_model(dialect: Dialect) -> None:
    made = body(dialect)
    assert (made["stream"], made["stream_options"], made["model"]) == (True, {"include_usage": True}, "qwen")
    assert "claude" not in orjson.dumps(made).decode()


@every_server
def test_what_has_no_counterpart_is_left_out(dialect: Dialect) -> None:
    ignored = {
        "metadata": {"user_id": "secret-user"},
        "context_management": {"edits": []},
        "service_tier": "auto",
        "mcp_servers": [],
        "container": "c",
        "betas": ["b"],
        "speed": "fast",
        "safeguards": {"cwd": "/home/secret-user"},
    }
    made = body(dialect, **ignored)
    assert not set(made) & set(ignored)
    assert "secret-user" not in orjson.dumps(made).decode()


@every_server
def test_the_same_request_gives_the_same_bytes(dialect: Dialect) -> None:
    fields: JsonObject = {"tools": [BASH, READ], "thinking": {"type": "adaptive"}, "temperature": 1}
    assert orjson.dumps(body(dialect, **fields)) == orjson.dumps(body(dialect, **fields))


# --- rule 10


@every_server
def test_tools_are_functions_and_lack_nothing(dialect: Dialect) -> None:
    bash, read = body(dialect, tools=[BASH | {"cache_control": {"type": "ephemeral"}, "strict": True}, READ])["tools"]
    assert bash == {
        "type": "function",
        "function": {"name": "Bash", "description": "Runs a command.", "parameters": BASH["input_schema"]},
    }
    assert read["function"] == {"name": "Read", "description": "", "parameters": {"type": "object", "properties": {}}}


def test_server_tools_are_dropped_and_custom_ones_kept() -> None:
    server = [
        {"type": kind, "name": "x"} for kind in ("web_search_20250305", "bash_20250124", "tool_search_tool_regex")
    ]
    made, notes = translated(tools=[*server, BASH | {"type": "custom"}])
    assert [tool["function"]["name"] for tool in made["tools"]] == ["Bash"]
    assert any("web_search_20250305" in note for note in notes)


def test_deferred_tools_and_the_placeholder_never_enter_the_head() -> None:
    tools = [BASH, READ | {"defer_loading": True}, {"name": "DeferredToolPlaceholder", "input_schema": {}}]
    assert [tool["function"]["name"] for tool in body(tools=tools)["tools"]] == ["Bash"]


@every_server
@pytest.mark.parametrize("tools", [[], None, [{"type": "web_search_20250305", "name": "web_search"}]])
def test_without_tools_nothing_about_tools_is_sent(dialect: Dialect, tools: Any) -> None:
    made = body(dialect, tools=tools, tool_choice={"type": "any", "disable_parallel_tool_use": True})
    assert not set(made) & {"tools", "tool_choice", "parallel_tool_calls"}
    assert len(made["messages"]) == 1


def test_long_names_are_cut_and_removed_keywords_reported() -> None:
    name = "mcp__" + "x" * 80
    schema = {"type": "object", "properties": {"u": {"type": "string", "format": "uri"}}}
    made, notes = translated(OPENROUTER, tools=[{"name": name, "input_schema": schema}])
    assert len(made["tools"][0]["function"]["name"]) == 64
    assert notes == ["tool schemas: format removed for OpenRouter"]


# --- rule 12

FULL = {"auto": "auto", "none": "none", "any": "required", "tool": {"type": "function", "function": {"name": "Bash"}}}
WORDS = FULL | {"tool": "required"}


@pytest.mark.parametrize("kind", FULL)
@pytest.mark.parametrize(("dialect", "expected"), [(VLLM, FULL), (OPENROUTER, FULL), (GENERIC, FULL),
                                                   (LLAMA_CPP, WORDS), (LM_STUDIO, WORDS)],
                         ids=lambda v: getattr(v, "name", ""))  # fmt: skip
def test_tool_choice_is_mapped(dialect: Dialect, expected: JsonObject, kind: str) -> None:
    made = body(dialect, tools=[BASH, READ], tool_choice={"type": kind, "name": "Bash"})
    assert made["tool_choice"] == expected[kind]
    assert len(made["tools"]) == 2
    named_in_words = kind == "tool" and expected is WORDS
    assert ("tool Bash" in last_words(made)) is named_in_words


@pytest.mark.parametrize("dialect", [MLX_LM, OLLAMA], ids=lambda d: d.name)
@pytest.mark.parametrize(
    ("kind", "words"), [("none", "without calling"), ("any", "a call of one of the tools"), ("tool", "the tool Bash")]
)
def test_where_tool_choice_is_ignored_it_is_said_at_the_tail(dialect: Dialect, kind: str, words: str) -> None:
    plain = body(dialect, tools=[BASH, READ])
    made = body(dialect, tools=[BASH, READ], tool_choice={"type": kind, "name": "Bash"})
    assert "tool_choice" not in made
    assert made["tools"] == plain["tools"]
    assert made["messages"][:-1] == plain["messages"]
    assert words in last_words(made)


def test_auto_needs_no_words() -> None:
    assert body(tools=[BASH], tool_choice={"type": "auto"})["messages"] == body(tools=[BASH])["messages"]


def test_words_for_a_strict_template_join_the_last_message() -> None:
    made = body(replace(MLX_LM, alternating_roles=True), tools=[BASH], tool_choice={"type": "any"})
    assert len(made["messages"]) == 1


def test_a_choice_of_a_tool_that_is_not_defined_is_dropped() -> None:
    made, notes = translated(VLLM, tools=[BASH], tool_choice={"type": "tool", "name": "Missing"})
    assert "tool_choice" not in made
    assert any("Missing" in note for note in notes)


@every_server
def test_parallel_calls_are_switched_off_where_the_server_listens(dialect: Dialect) -> None:
    made = body(dialect, tools=[BASH], tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    assert made.get("parallel_tool_calls") == (False if dialect.parallel_tool_calls else None)
    assert "parallel_tool_calls" not in body(dialect, tools=[BASH])


# --- rules 13, 14


def test_sampling_passes_and_nulls_do_not() -> None:
    made = body(temperature=0.5, top_p=0.9, top_k=40)
    assert (made["temperature"], made["top_p"], made["top_k"]) == (0.5, 0.9, 40)
    # quirk(mlx-lm): null is answered with 400, a top_k of -1 with a dropped connection
    assert not set(body(temperature=None, top_p=None, top_k=-1)) & {"temperature", "top_p", "top_k"}
    assert "top_k" not in body(GENERIC, top_k=40)


def test_stop_sequences_up_to_what_the_server_takes() -> None:
    stops = ["a", "b", "c", "d", "e"]
    assert body(stop_sequences=stops)["stop"] == stops
    made, notes = translated(GENERIC, stop_sequences=stops)
    assert made["stop"] == stops[:4]
    assert any("1 stop sequences dropped" in note for note in notes)
    assert "stop" not in body(stop_sequences=[])


@every_server
def test_the_limit_is_always_sent(dialect: Dialect) -> None:
    assert body(dialect, max_tokens=31_000)["max_tokens"] == 31_000
    newer = replace(dialect, max_tokens_field="max_completion_tokens")
    assert body(newer, max_tokens=7)["max_completion_tokens"] == 7


# --- rule 15

ADAPTIVE = {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "low"}}
DISABLED = {"thinking": {"type": "disabled"}}
THINKING: list[tuple[Dialect, JsonObject, JsonObject]] = [
    (MLX_LM, ADAPTIVE, {"chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": "low"}}),
    (MLX_LM, DISABLED, {"chat_template_kwargs": {"enable_thinking": False}}),
    (MLX_LM, {}, {"chat_template_kwargs": {"enable_thinking": False}}),
    (LLAMA_CPP, {"thinking": {"type": "enabled", "budget_tokens": 10_000}},
     {"chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": "medium"}}),
    (VLLM, ADAPTIVE, {"chat_template_kwargs": {"enable_thinking": True}, "reasoning_effort": "low"}),
    (VLLM, {"thinking": {"type": "enabled", "budget_tokens": 32_000}},
     {"chat_template_kwargs": {"enable_thinking": True}, "reasoning_effort": "high"}),
    (OLLAMA, ADAPTIVE, {}),
    (OLLAMA, DISABLED, {"reasoning_effort": "none"}),
    (OPENROUTER, ADAPTIVE | {"output_config": {"effort": "max"}}, {"reasoning": {"effort": "high"}}),
    (OPENROUTER, DISABLED, {"reasoning": {"effort": "low", "exclude": True}}),
    (LM_STUDIO, ADAPTIVE, {}),
    (GENERIC, ADAPTIVE, {}),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "fields", "expected"), THINKING, ids=lambda v: getattr(v, "name", str(v))[:40])
def test_thinking_and_effort(dialect: Dialect, fields: JsonObject, expected: JsonObject) -> None:
    made = body(dialect, **fields)
    found = {key: made[key] for key in ("chat_template_kwargs", "reasoning_effort", "reasoning") if key in made}
    assert found == expected


@pytest.mark.parametrize("spelling", ["output_config", "output_format"])
def test_an_answer_format_is_enforced_where_the_server_can(spelling: str) -> None:
    wanted = {"type": "json_schema", "schema": TITLE}
    fields = {"output_config": {"format": wanted}} if spelling == "output_config" else {"output_format": wanted}
    made = body(LLAMA_CPP, **fields)
    assert made["response_format"] == {"type": "json_schema", "json_schema": {"name": "answer", "schema": TITLE}}
    assert len(made["messages"]) == 1


@pytest.mark.parametrize("fields", [{"dialect": MLX_LM}, {"dialect": LLAMA_CPP, "tools": [BASH]}])
def test_elsewhere_the_format_is_said_at_the_tail(fields: Any) -> None:
    made = body(**fields, output_config={"format": {"type": "json_schema", "schema": TITLE}})
    assert "response_format" not in made
    assert '"title"' in last_words(made)


# --- a prefilled answer


def test_a_prefilled_answer_is_continued_where_it_must_be_said() -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "{"}]
    made = body(VLLM, messages=messages)
    assert (made["continue_final_message"], made["add_generation_prompt"]) == (True, False)
    assert "continue_final_message" not in body(VLLM)
    assert body(MLX_LM, messages=messages)["messages"][-1] == {"role": "assistant", "content": "{"}


# --- by the model's name


def test_what_the_models_name_tells_counts() -> None:
    made, _ = translated(OLLAMA, model="mistral-small3.2", messages=[
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}]},
    ])  # fmt: skip
    assert len(made["messages"][1]["tool_calls"][0]["id"]) == 9
