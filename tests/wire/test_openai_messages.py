"""Rules 1-9 and e.3: the history as chat messages, the same bytes in every request of a conversation."""

import base64
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.openai_dialect import DIALECTS, MLX_LM, OPENROUTER, Dialect, for_model
from anyclaude_lab.wire.openai_messages import INTERRUPTED, NO_OUTPUT, call_id, chat_messages
from anyclaude_lab.wire.request import Request
from anyclaude_lab.wire.tool_names import ToolNames

NAMES = ToolNames.for_tools(["Bash", "Read"])
PNG = base64.b64encode(b"\x89PNG" + b"\0" * 3000).decode()
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
SEEING = replace(MLX_LM, images=True)
STRICT = for_model(MLX_LM, "mistralai/Devstral-Small")


def user(*blocks: Any) -> JsonObject:
    return {"role": "user", "content": blocks[0] if len(blocks) == 1 and isinstance(blocks[0], str) else list(blocks)}


def assistant(*blocks: Any) -> JsonObject:
    return {**user(*blocks), "role": "assistant"}


def system(*blocks: Any) -> JsonObject:
    return {**user(*blocks), "role": "system"}


def text(text: str, **more: Any) -> JsonObject:
    return {"type": "text", "text": text, **more}


def call(id: str, name: str = "Bash", **arguments: Any) -> JsonObject:
    return {"type": "tool_use", "id": id, "name": name, "input": arguments}


def result(id: str, content: Any = "out", **more: Any) -> JsonObject:
    return {"type": "tool_result", "tool_use_id": id, "content": content, **more}


def rendered(*messages: JsonObject, system: Any = None, dialect: Dialect = MLX_LM) -> list[JsonObject]:
    body = {"model": "m", "max_tokens": 5, "messages": list(messages)} | ({"system": system} if system else {})
    return chat_messages(Request(body), dialect, NAMES)


def tools_of(messages: list[JsonObject]) -> list[tuple[str, str]]:
    return [(m["tool_call_id"], m["content"]) for m in messages if m["role"] == "tool"]


# --- rule 1


def test_the_system_prompt_is_one_leading_message_in_either_spelling() -> None:
    as_text = rendered(user("hi"), system="You help.\n\nBe brief.")
    assert as_text[0] == {"role": "system", "content": "You help.\n\nBe brief."}
    blocks = [text("You help.", cache_control={"type": "ephemeral"}), text("Be brief.")]
    assert rendered(user("hi"), system=blocks) == as_text
    assert rendered(user("hi"))[0]["role"] == "user"


def test_a_system_message_in_mid_conversation_stays_where_it_is() -> None:
    messages = rendered(user("a"), assistant("b"), user("c"), system("news"), assistant("d"), user("e"))
    assert [m["role"] for m in messages] == ["user", "assistant", "user", "user", "assistant", "user"]
    assert messages[3]["content"] == "<system-reminder>\nnews\n</system-reminder>"
    real = rendered(user("a"), system("news"), assistant("b"), dialect=replace(MLX_LM, mid_system="system"))
    assert real[1] == {"role": "system", "content": "news"}


def test_a_system_message_has_the_same_bytes_in_either_spelling() -> None:
    newest = system(text("news", cache_control={"type": "ephemeral", "ttl": "1h"}))
    assert rendered(user("a"), newest) == rendered(user("a"), system("news"))


def test_text_that_is_a_reminder_already_is_not_wrapped_again() -> None:
    wrapped = "<system-reminder>\nnews\n</system-reminder>"
    assert rendered(user("a"), system(wrapped))[1]["content"] == wrapped


def test_strict_templates_get_one_message_per_turn() -> None:
    messages = rendered(user("a"), system("news"), assistant("b"), assistant(call("t1", command="ls")),
                        user(result("t1"), text("go on")), system("more"), assistant("c"), dialect=STRICT)  # fmt: skip
    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "assistant"]
    assert messages[0]["content"] == "a\n\n<system-reminder>\nnews\n</system-reminder>"
    assert (messages[1]["content"], len(messages[1]["tool_calls"])) == ("b", 1)
    assert messages[2]["content"] == "out\n\ngo on\n\n<system-reminder>\nmore\n</system-reminder>"


@pytest.mark.parametrize(("model", "strict"), [("mistralai/Devstral-2", True), ("google/gemma-3-27b", True),
                                               ("Qwen3-Coder", False), ("default_model", False)])  # fmt: skip
def test_strict_templates_are_known_by_the_models_name(model: str, strict: bool) -> None:
    assert for_model(MLX_LM, model).alternating_roles is strict


@pytest.mark.parametrize(("model", "sees"), [("qwen2.5vl:7b", True), ("Qwen3-VL-30B", True), ("z-ai/glm-4.5v", True),
                                             ("anthropic/claude-opus-5", True), ("z-ai/glm-4.6", False),
                                             ("qwen3-coder-vllm", False), ("qwen3-claude-distill", False)])  # fmt: skip
def test_models_that_see_images_are_known_by_their_name(model: str, sees: bool) -> None:
    assert for_model(OPENROUTER, model).images is sees


# --- rule 2


def test_tool_messages_come_first_in_the_order_of_the_calls() -> None:
    messages = rendered(
        user("a"),
        assistant(text("b"), call("t1"), call("t2")),
        user(text("and this"), result("t2", "2"), result("t1", "1")),
    )
    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "tool", "user"]
    assert tools_of(messages) == [("t1", "1"), ("t2", "2")]
    assert messages[-1]["content"] == "and this"


def test_a_system_message_between_call_and_result_does_not_part_them() -> None:
    messages = rendered(user("a"), assistant(call("t1")), system("news"), user(result("t1")))
    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "user"]


# --- rule 3

RESULTS = {
    "text": ("out", "out"),
    "blocks": ([text("a"), text("b", cache_control={"type": "ephemeral"})], "a\n\nb"),
    "empty text": ("", NO_OUTPUT),
    "empty list": ([], NO_OUTPUT),
    "null": (None, NO_OUTPUT),
    "a reference nobody resolved": ([{"type": "tool_reference", "tool_name": "WebFetch"}],
                                    "[The tool WebFetch is available now.]"),
    "a later block": ([{"type": "hologram", "data": "x" * 999}], "[hologram block]"),
    "a search result": ([{"type": "search_result", "title": "T", "source": "u", "content": [text("c")]}], "T - u\nc"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "expected"), RESULTS.values(), ids=RESULTS)
def test_a_tool_result_is_always_a_string(content: Any, expected: str) -> None:
    assert tools_of(rendered(user("a"), assistant(call("t1")), user(result("t1", content)))) == [("t1", expected)]


def test_a_tool_result_without_content_is_a_string_too() -> None:
    block = {"type": "tool_result", "tool_use_id": "t1"}
    assert tools_of(rendered(user("a"), assistant(call("t1")), user(block))) == [("t1", NO_OUTPUT)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("no such file", "Error: no such file"),
        ("Error: no such file", "Error: no such file"),
        ("<tool_use_error>no</tool_use_error>", "<tool_use_error>no</tool_use_error>"),
        (None, "Error: the tool failed"),
    ],
)
def test_an_error_says_so(content: Any, expected: str) -> None:
    messages = rendered(user("a"), assistant(call("t1")), user(result("t1", content, is_error=True)))
    assert tools_of(messages) == [("t1", expected)]


def test_images_are_never_text() -> None:
    messages = rendered(user(text("see"), IMAGE), assistant(call("t1")), user(result("t1", [text("shot"), IMAGE])))
    assert PNG not in json.dumps(messages)
    assert messages[0]["content"] == "see\n\n[image, image/png, 2.9 KiB: this model cannot see images]"
    assert messages[2]["content"] == "shot\n\n[image, image/png, 2.9 KiB: this model cannot see images]"


def test_images_are_content_parts_where_the_model_sees_them() -> None:
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    linked = {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}
    turn = rendered(user(text("a"), text("b"), IMAGE, linked), dialect=SEEING)[0]
    assert turn["content"] == [
        {"type": "text", "text": "a\n\nb"}, part, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    ]  # fmt: skip


def test_images_in_a_tool_result_follow_the_tool_messages() -> None:
    turn = user(result("t1", [IMAGE]), result("t2", [text("shot"), IMAGE]), text("so?"))
    messages = rendered(user("a"), assistant(call("t1"), call("t2")), turn, dialect=SEEING)
    assert [m["role"] for m in messages[2:]] == ["tool", "tool", "user", "user"]
    assert [m["content"] for m in messages[2:4]] == ["[image: shown below]", "shot"]
    assert [part["type"] for part in messages[4]["content"]] == ["image_url", "image_url"]
    assert messages[5]["content"] == "so?"


# --- rule 4


def test_a_call_without_a_result_gets_one() -> None:
    messages = rendered(user("a"), assistant(call("t1"), call("t2")), user(result("t2")), assistant("b"))
    assert tools_of(messages) == [("t1", INTERRUPTED), ("t2", "out")]
    assert tools_of(rendered(user("a"), assistant(call("t1")))) == [("t1", INTERRUPTED)]


def test_a_result_without_its_call_is_text() -> None:
    messages = rendered(user("a"), assistant("b"), user(result("t0", "late"), text("c")))
    assert [m["role"] for m in messages] == ["user", "assistant", "user", "user"]
    assert messages[2]["content"] == "[Result of an earlier call:]\nlate"


def test_ids_that_come_twice_are_made_two() -> None:
    turn = (assistant(call("t1", command="a")), user(result("t1", "first")))
    again = (assistant(call("t1", command="a")), user(result("t1", "second")))
    messages = rendered(user("x"), *turn, *again)
    ids = [c["id"] for m in messages for c in m.get("tool_calls", ())]
    assert len(set(ids)) == 2
    assert tools_of(messages) == [(ids[0], "first"), (ids[1], "second")]
    both = rendered(user("x"), assistant(call("t1"), call("t1")), user(result("t1", "1"), result("t1", "2")))
    assert [content for _, content in tools_of(both)] == ["1", "2"]


# --- rule 5


@given(st.text(max_size=90))
def test_call_ids_fit_the_backend_and_depend_on_nothing_else(client_id: str) -> None:
    plain, nine = call_id(client_id, MLX_LM), call_id(client_id, STRICT)
    assert 0 < len(plain) <= 64
    assert re.fullmatch("[A-Za-z0-9_-]+", plain)
    assert len(nine) == 9
    assert nine.isascii()
    assert nine.isalnum()
    assert (call_id(client_id, MLX_LM), call_id(client_id, STRICT)) == (plain, nine)


def test_ids_that_fit_stay_and_others_stay_apart() -> None:
    assert call_id("toolu_01AbC-x", MLX_LM) == "toolu_01AbC-x"
    assert call_id("aB3456789", STRICT) == "aB3456789"
    assert call_id("functions.Bash:0", MLX_LM) != call_id("functions.Bash:1", MLX_LM)
    assert call_id("toolu_1", STRICT) != call_id("toolu_2", STRICT)


# --- rule 6


def test_arguments_are_json_text_with_the_keys_in_their_order() -> None:
    block = call("t1", zebra=1, alpha={"y": [1.5, None, True], "x": "ü\n"})
    (function,) = (c["function"] for c in rendered(user("a"), assistant(block))[1]["tool_calls"])
    assert function["arguments"] == '{"zebra": 1, "alpha": {"y": [1.5, null, true], "x": "ü\\n"}}'


@pytest.mark.parametrize("value", [None, {}, "", [], 7])
def test_odd_arguments_are_still_an_object(value: Any) -> None:
    # mlx-lm parses them before it renders, and answers 404 to anything else
    messages = rendered(user("a"), assistant(call("t1") | {"input": value}))
    assert isinstance(json.loads(messages[1]["tool_calls"][0]["function"]["arguments"]), dict)


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_a_turn_of_calls_alone_has_the_content_the_server_wants(dialect: Dialect) -> None:
    turn = rendered(user("a"), assistant(call("t1")), dialect=dialect)[1]
    assert turn["content"] == dialect.call_content
    assert (OPENROUTER.call_content, MLX_LM.call_content) == (None, "")


def test_text_blocks_of_an_assistant_turn_are_joined_and_cited_fragments_are_one_sentence() -> None:
    cited = [text("Cats "), text("sleep", citations=[{"type": "x"}]), text(" a lot.")]
    assert rendered(user("a"), assistant(*cited))[1]["content"] == "Cats sleep a lot."
    assert rendered(user("a"), assistant(text("a"), text(""), text("b")))[1]["content"] == "a\n\nb"


def test_long_tool_names_are_short_in_the_history_too() -> None:
    name = "mcp__" + "x" * 80
    messages = rendered(user("a"), assistant(call("t1", name=name)))
    assert messages[1]["tool_calls"][0]["function"]["name"] == ToolNames.for_tools([name]).to_backend(name)


# --- rule 7


def test_thinking_in_history_is_dropped_or_put_where_the_template_wants_it() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "foreign"}
    turns = (user("a"), assistant(thought, {"type": "redacted_thinking", "data": "zzz"}, text("b")))
    assert rendered(*turns)[1] == {"role": "assistant", "content": "b"}
    kept = rendered(*turns, dialect=replace(MLX_LM, reasoning_field="reasoning_content"))[1]
    assert kept == {"role": "assistant", "content": "b", "reasoning_content": "hm"}
    assert "foreign" not in json.dumps(kept)


def test_a_turn_of_thinking_alone_leaves_no_empty_message() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    assert [m["role"] for m in rendered(user("a"), assistant(thought), user("b"))] == ["user", "user"]


# --- rule 8

DOCUMENTS = {
    "plain text": ({"source": {"type": "text", "media_type": "text/plain", "data": "hello"}}, "hello"),
    "encoded text": (
        {"title": "n.txt",
         "source": {"type": "base64", "media_type": "text/plain", "data": base64.b64encode(b"hello").decode()}},
        "[document 'n.txt']\nhello"),
    "content": ({"source": {"type": "content", "content": [text("a"), text("b")]}, "citations": {"enabled": True}},
                "a\n\nb"),
    "PDF": ({"title": "p.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": "QUI="}},
            "[document 'p.pdf', application/pdf, 2 bytes: not readable as text]"),
    "broken": ({"source": {"type": "base64", "media_type": "text/plain", "data": "!"}},
               "[document, text/plain, 0 bytes: not readable as text]"),
    "URL": ({"source": {"type": "url", "url": "https://x/y"}}, "[document, url, https://x/y: not readable as text]"),
}  # fmt: skip


@pytest.mark.parametrize(("document", "expected"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_documents_are_text_or_a_line_about_them(document: JsonObject, expected: str) -> None:
    assert rendered(user({"type": "document", **document}))[0]["content"] == expected


def test_blocks_of_a_session_with_claude_are_text() -> None:
    blocks = [
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [
            {"type": "web_search_result", "title": "T", "url": "https://t", "encrypted_content": "SECRET" * 99}]},
        {"type": "web_search_tool_result", "tool_use_id": "s1",
         "content": {"type": "web_search_tool_result_error", "error_code": "unavailable"}},
        {"type": "mcp_tool_use", "id": "m1", "name": "do", "input": {}},
        {"type": "mcp_tool_result", "tool_use_id": "m1", "content": [text("done")]},
        {"type": "container_upload", "file_id": "f1"},
    ]  # fmt: skip
    content = rendered(user("a"), assistant(*blocks), user("b"))[1]["content"]
    assert content.split("\n\n") == [
        '[web_search was called with {"query": "x"}]', "T - https://t", "[failed: unavailable]",
        "[do was called with {}]", "done", "[file f1 was uploaded]",
    ]  # fmt: skip


# --- rule 9, e.3: the prefix law

CACHE = {"cache_control": {"type": "ephemeral", "ttl": "1h", "scope": "global"}}


def marked(message: JsonObject) -> JsonObject:
    """The same message as a block list with cache markers everywhere, as the newest message of a request comes."""
    content = message["content"]
    blocks = [text(content)] if isinstance(content, str) else content
    nested = [
        b | {"content": [p | CACHE for p in b["content"]]} if isinstance(b.get("content"), list) else b for b in blocks
    ]
    return message | {"content": [b | CACHE for b in nested]}


@st.composite
def conversations(draw: st.DrawFn) -> list[JsonObject]:
    """User turn, assistant turn, ... with calls, results in any order, system messages and odd blocks."""
    words = st.text("ab \n<`", min_size=1, max_size=6)
    turns: list[JsonObject] = [user(draw(words))]
    for number in range(draw(st.integers(0, 5))):
        ids = [f"t{draw(st.integers(0, 3))}_{number % 2}" for _ in range(draw(st.integers(0, 2)))]
        said = [text(draw(words))] if draw(st.booleans()) or not ids else []
        thought = [{"type": "thinking", "thinking": "hm", "signature": "s"}] if draw(st.booleans()) else []
        turns.append(assistant(*thought, *said, *(call(i, command=draw(words)) for i in ids)))
        answers = [result(i, draw(words | st.none() | st.just([text("r"), IMAGE]))) for i in ids if draw(st.booleans())]
        more = [text(draw(words))] if draw(st.booleans()) or not answers else []
        turns.append(user(*draw(st.permutations([*answers, *more]))))
        if draw(st.booleans()):
            turns.append(system(draw(words)))
    return turns


def requests_of(conversation: list[JsonObject]) -> Iterator[list[JsonObject]]:
    """The messages of each request of the session: all up to an assistant turn, the newest one marked."""
    for at in [i for i, m in enumerate(conversation) if m["role"] == "assistant"] + [len(conversation)]:
        yield [*conversation[: at - 1], marked(conversation[at - 1])]


@pytest.mark.parametrize("dialect", [MLX_LM, OPENROUTER, STRICT, SEEING, replace(MLX_LM, mid_system="system")],
                         ids=lambda d: f"{d.name} {d.mid_system} {d.alternating_roles} {d.images}")  # fmt: skip
@settings(max_examples=30)
@given(conversations())
def test_each_request_is_a_prefix_of_the_next(dialect: Dialect, conversation: list[JsonObject]) -> None:
    before = b""
    for messages in requests_of(conversation):
        now = orjson.dumps(rendered(*messages, system="S", dialect=dialect))[:-1]
        assert now.startswith(before)
        before = now


@given(conversations())
def test_every_call_has_exactly_one_result_right_behind_it(conversation: list[JsonObject]) -> None:
    for dialect in (MLX_LM, STRICT):
        owed: list[str] = []
        for message in rendered(*conversation, dialect=dialect):
            if message["role"] == "tool":
                assert message["tool_call_id"] == owed.pop(0)
                assert isinstance(message["content"], str)
            else:
                assert owed == []
                owed = [c["id"] for c in message.get("tool_calls", ())]
        assert owed == []


@given(conversations())
def test_strict_templates_never_see_two_turns_of_one_role(conversation: list[JsonObject]) -> None:
    # What the Mistral templates check: user and assistant in turn, calls and results not counted.
    spoken = [
        m["role"] for m in rendered(*conversation, dialect=STRICT) if m["role"] != "tool" and "tool_calls" not in m
    ]
    assert all(a != b for a, b in itertools.pairwise(spoken))


@given(conversations())
def test_cache_markers_change_nothing(conversation: list[JsonObject]) -> None:
    assert rendered(*conversation) == rendered(*map(marked, conversation))
