"""What every adapter owes, and what each does to its family."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.backends.openai_http import OpenAIBackend
from anyclaude_lab.models.adapters import ADAPTERS, AUTO, Adapter, adapter_for, adapter_named
from anyclaude_lab.models.adapters.flatten import flat_schema
from anyclaude_lab.models.families import family_of
from anyclaude_lab.prompt.deferred import place_deferred
from anyclaude_lab.prompt.spelling import spell_canonically
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.fold import fold
from anyclaude_lab.wire.openai_dialect import DIALECTS, LM_STUDIO, MLX_LM, Dialect
from anyclaude_lab.wire.openai_request import to_openai
from anyclaude_lab.wire.openai_stream import OpenAIStreamDecoder, reply_context
from anyclaude_lab.wire.request import Request, as_blocks
from anyclaude_lab.wire.tool_names import ToolNames
from tests.backends.calls import make_call, make_request, read_events
from tests.prompt.conversations import call, result, session, text, tool
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import ToolCall
from tests.standins.script import reply as script_reply

adapters = pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)
LLAMA = ADAPTERS["llama"]

SOURCE = {
    "type": "object",
    "description": "Where it is from.",
    "properties": {"file": {"type": "string", "description": "Its path."}, "line": {"type": "integer", "minimum": 1}},
    "required": ["file"],
    "additionalProperties": False,
}
REPORT: JsonObject = {
    "name": "Report",
    "description": "Reports something.",
    "input_schema": {
        "type": "object",
        "properties": {"source": SOURCE, "note": {"type": "string"}},
        "required": ["source", "note"],
        "additionalProperties": False,
    },
}
NESTED = {"source": {"file": "a.py", "line": 3}, "note": "wrong"}
FLAT = {"source.file": "a.py", "source.line": 3, "note": "wrong"}


def talk() -> list[Request]:
    """The session of the prompt tests, canonically spelled, with a nested call and two calls at once at its end."""
    requests = [place_deferred(spell_canonically(request)) for request in session()]
    both = [*call("toolu_7", "Bash", {"path": "."})["content"], *call("toolu_8", "Read", {"path": "a"})["content"]]
    more: list[JsonObject] = [
        {"role": "assistant", "content": both},
        {"role": "user", "content": [*result("toolu_7", "x")["content"], *result("toolu_8", "y")["content"]]},
        call("toolu_9", "Report", NESTED),
        result("toolu_9", "noted"),
    ]
    last = requests[-1].messages
    histories = [*(request.messages for request in requests), [*last, *more[:2]], [*last, *more]]
    return [
        Request({**requests[-1].body, "messages": messages, "tools": [*requests[-1].tools, REPORT]})
        for messages in histories
    ]


def body(adapter: Adapter, request: Request, base: Dialect = MLX_LM, model: str = "") -> JsonObject:
    names = ToolNames.for_tools(request.offered_tools())
    return to_openai(adapter.adapt(request), adapter.dialect(base, model), model=model, names=names)[0]


def pairs(request: Request) -> Iterator[tuple[str, str]]:
    for message in request.messages:
        for block in as_blocks(message["content"]):
            if block["type"] in ("tool_use", "tool_result"):
                yield block["type"], block.get("id") or block["tool_use_id"]


# -- what every adapter owes ---------------------------------------------------------------------------------------


@adapters
@pytest.mark.parametrize("number", range(7))
def test_pure_deterministic_idempotent(adapter: Adapter, number: int) -> None:
    request = talk()[number]
    before = copy.deepcopy(request.body)
    once = adapter.adapt(request)
    assert request.body == before
    assert orjson.dumps(adapter.adapt(Request(copy.deepcopy(before))).body) == orjson.dumps(once.body)
    assert adapter.adapt(once) == once
    assert list(pairs(once)) == list(pairs(request))


@adapters
@pytest.mark.parametrize("base", DIALECTS.values(), ids=DIALECTS)
def test_each_request_extends_the_one_before(adapter: Adapter, base: Dialect) -> None:
    bodies = [body(adapter, request, base) for request in talk()]
    for older, newer in itertools.pairwise(bodies):
        assert newer.get("tools") == older.get("tools")
        assert newer["messages"][: len(older["messages"])] == older["messages"]


@adapters
def test_every_call_keeps_its_one_result(adapter: Adapter) -> None:
    waiting: list[str] = []
    for message in body(adapter, talk()[-1])["messages"]:
        if message["role"] == "tool":
            assert message["tool_call_id"] in waiting
            waiting.remove(message["tool_call_id"])
        elif message["role"] == "assistant":
            assert not waiting
            waiting += [each["id"] for each in message.get("tool_calls", [])]
    assert not waiting


@adapters
def test_what_the_model_writes_comes_back_as_the_client_offered_it(adapter: Adapter) -> None:
    request = talk()[-1]
    [history] = [
        block for m in adapter.adapt(request).messages for block in m["content"] if block.get("id") == "toolu_9"
    ]
    reshape = adapter.reshapes(request).get("Report")
    assert (reshape(history["input"]) if reshape else history["input"]) == NESTED
    shown = adapter.shown_tools(request)["Report"]
    jsonschema.validate(history["input"], shown)
    assert shown == {each["name"]: each for each in adapter.adapt(request).tools}["Report"]["input_schema"]


@adapters
def test_plain_questions_are_left_alone(adapter: Adapter) -> None:
    for system in ({}, {"system": "Name this conversation."}):
        request = Request({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi."}], **system})
        assert adapter.adapt(request) is request


ODD: dict[str, Any] = {
    "true": True,
    "properties of another kind": {"properties": ["x"]},
    "required of another kind": {"properties": {"a": {"type": "object", "properties": {"b": True}}}, "required": "a"},
    "half a surrogate pair": {"properties": {"a": {"type": "object", "properties": {"\ud83d": {}}}}},
    "a cycle": {"properties": {"a": {"$ref": "#", "properties": {}}}},
}


@adapters
@pytest.mark.parametrize("schema", ODD.values(), ids=ODD)
def test_no_schema_is_too_odd(adapter: Adapter, schema: Any) -> None:
    odd = Request({"model": "m", "system": "s", "messages": [], "tools": [{"name": "odd", "input_schema": schema}]})
    assert adapter.adapt(odd).tools == odd.tools


# -- which one ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        ("mlx-community/Qwen3-8B-4bit", "qwen"),
        ("mistralai/Devstral-Small-2507", "mistral"),
        ("/models/Meta-Llama-3.3-70B-Instruct", "llama"),
        ("gemma3:27b", "generic"),
        ("NousResearch/Hermes-3-Llama-3.1-8B", "generic"),
        ("", "generic"),
        (None, "generic"),
    ],
)
def test_auto_goes_by_the_models_name(model_id: str | None, name: str) -> None:
    assert adapter_for(model_id).name == adapter_named(AUTO, model_id).name == name
    assert adapter_named("mistral", model_id).name == "mistral"


def test_the_names_are_those_of_the_setting() -> None:
    from anyclaude_lab.settings.rows.shared import ADAPTERS as NAMES

    assert {AUTO, *ADAPTERS} == set(NAMES)


def test_none_changes_nothing() -> None:
    for request in talk():
        assert ADAPTERS["none"].adapt(request) is request
    assert ADAPTERS["none"].dialect(MLX_LM, "something") == MLX_LM
    assert ADAPTERS["none"].dialect(MLX_LM, "mistral-7b").call_ids == "nine"  # or its template would refuse


# -- what each does ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["qwen", "llama", "generic"])
def test_the_hint_is_the_last_line_of_the_system_prompt(name: str) -> None:
    adapter = ADAPTERS[name]
    made = body(adapter, talk()[0])
    assert made["messages"][0]["content"].endswith(f"\n\n{adapter.hint}")
    assert len(adapter.hint.split()) <= 20


def test_mistral_whatever_the_id_says() -> None:
    messages = body(ADAPTERS["mistral"], talk()[-1], model="default_model")["messages"]
    ids = [each["id"] for message in messages for each in message.get("tool_calls", [])]
    assert all(len(each) == 9 and each.isalnum() for each in ids)
    assert [m["tool_call_id"] for m in messages if m["role"] == "tool"] == ids
    roles = [m["role"] for m in messages if m["role"] != "system"]
    assert not any(
        pair in (("user", "user"), ("assistant", "assistant"), ("tool", "user")) for pair in itertools.pairwise(roles)
    )


def test_llama_takes_one_call_in_a_message_and_a_fixed_date() -> None:
    made = body(LLAMA, talk()[-1])
    turns = [m for m in made["messages"] if m["role"] in ("assistant", "tool")]
    assert all(len(m.get("tool_calls", [None])) == 1 for m in turns)
    at = next(n for n, m in enumerate(turns) if m.get("tool_calls", [{}])[0].get("id") == "toolu_7")
    assert [m["role"] for m in turns[at : at + 4]] == ["assistant", "tool", "assistant", "tool"]
    assert [m["content"] for m in turns[at : at + 4] if m["role"] == "tool"] == ["x", "y"]
    assert made["chat_template_kwargs"]["date_string"] == "26 Jul 2024"
    assert "chat_template_kwargs" not in body(LLAMA, talk()[0], LM_STUDIO)  # which hands none on


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("qwen3-8b", True),
        ("Qwen3-30B-A3B", True),
        ("qwen3-coder-30b", False),
        ("Qwen3-4B-2507", False),
        ("qwen3.5-9b", False),
    ],
)
def test_qwen_is_told_in_words_not_to_think_where_there_is_no_switch(model: str, told: bool) -> None:
    qwen = ADAPTERS["qwen"]
    quiet = body(qwen, talk()[0], LM_STUDIO, model)["messages"][0]["content"]
    assert quiet.endswith("/no_think") is told
    thinking = talk()[0].with_(thinking={"type": "enabled", "budget_tokens": 1000})
    assert "/no_think" not in body(qwen, thinking, LM_STUDIO, model)["messages"][0]["content"]
    switched = body(qwen, talk()[0], MLX_LM, model)
    assert switched["chat_template_kwargs"] == {"enable_thinking": False}
    assert "/no_think" not in switched["messages"][0]["content"]


def test_llama_is_asked_for_dotted_parameters() -> None:
    adapted = LLAMA.adapt(talk()[-1])
    [report] = [each for each in adapted.tools if each["name"] == "Report"]
    assert report["input_schema"] == {
        "type": "object",
        "properties": {
            "source.file": {"type": "string", "description": "Where it is from. Its path."},
            "source.line": {"type": "integer", "minimum": 1},
            "note": {"type": "string"},
        },
        "required": ["source.file", "note"],
        "additionalProperties": False,
    }
    assert [block["input"] for m in adapted.messages for block in m["content"] if block.get("id") == "toolu_9"] == [
        FLAT
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"additionalProperties": True},
        {"additionalProperties": None},
        {"minProperties": 1},
        {"properties": {}},
        {"type": ["object", "null"]},
    ],
    ids=str,
)
def test_an_object_that_is_more_than_its_parts_stays(change: JsonObject) -> None:
    changed = {key: value for key, value in (SOURCE | change).items() if value is not None}
    assert flat_schema({"type": "object", "properties": {"source": changed}, "required": ["source"]}) is None


def test_an_object_that_may_be_left_out_stays_if_it_has_required_parts() -> None:
    assert flat_schema({"type": "object", "properties": {"source": SOURCE}}) is None
    free = {key: value for key, value in SOURCE.items() if key != "required"}
    assert flat_schema({"type": "object", "properties": {"source": free}}) is not None


def test_names_with_dots_and_references_into_the_schema_stay() -> None:
    properties = {"source": SOURCE, "a.b": {"type": "string"}}
    assert flat_schema({"type": "object", "properties": properties, "required": ["source"]}) is None
    refers = {"source": SOURCE, "other": {"$ref": "#/properties/source"}}
    assert flat_schema({"type": "object", "properties": refers, "required": ["source"]}) is None


values = st.one_of(st.integers(-2, 3), st.sampled_from(["x", ""]), st.none())
inner = st.dictionaries(st.sampled_from(["file", "line", "other"]), values, max_size=3)
arguments = st.dictionaries(st.sampled_from(["source", "note", "more"]), st.one_of(values, inner), max_size=3)
dotted = st.dictionaries(st.sampled_from(["source.file", "source.line", "note"]), values, max_size=3)


@st.composite
def reports(draw: st.DrawFn) -> JsonObject:
    """Schemas with one object that may or may not be required, with or without required parts."""
    required = draw(st.lists(st.sampled_from(["file", "line"]), unique=True))
    source = {**SOURCE, "required": required}
    properties = {"source": source, "note": {"type": "string"}}
    wanted = draw(st.lists(st.sampled_from(["source", "note"]), unique=True))
    return {"type": "object", "properties": properties, "required": wanted, "additionalProperties": False}


@given(reports(), arguments)
def test_there_and_back(schema: JsonObject, value: JsonObject) -> None:
    flat = flat_schema(schema)
    if flat is not None:
        missing: JsonObject = {name: {} for name in flat.required_objects if name not in value}
        assert flat.nested(flat.flattened(value)) == value | missing


@given(reports(), dotted)
def test_flat_arguments_are_valid_exactly_if_the_nested_ones_are(schema: JsonObject, value: JsonObject) -> None:
    flat = flat_schema(schema)
    if flat is not None:
        nested = flat.nested(value)
        assert jsonschema.Draft202012Validator(flat.schema).is_valid(value) == (
            jsonschema.Draft202012Validator(schema).is_valid(nested)
        )


@given(st.one_of(dotted, arguments))
def test_what_is_nested_already_stays(value: JsonObject) -> None:
    flat = flat_schema(REPORT["input_schema"])
    assert flat is not None
    assert flat.nested(flat.nested(value)) == flat.nested(value)


def answered(delivery: str, written: JsonObject, **context: Any) -> JsonObject:
    """The arguments of the call that the client gets when a model writes these."""
    request = Request(
        {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "?"}], "tools": [REPORT]}
    )
    spelled = json.dumps(written)
    deliveries: dict[str, list[JsonObject]] = {
        "in pieces": [
            {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "Report", "arguments": spelled[:9]}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": spelled[9:]}}]},
        ],
        "at once": [{"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "Report", "arguments": spelled}}]}],
        "as text": [{"content": f'{{"name": "Report", "parameters": {spelled}}}'}],
    }
    names = ToolNames.for_tools(request.offered_tools())
    parser = family_of("llama-3").parser
    decoder = OpenAIStreamDecoder(
        reply_context(request, message_id="msg_1", names=names, parser=parser, **context), MLX_LM
    )
    events = []
    for delta in deliveries[delivery]:
        events += decoder.feed(b"data: " + orjson.dumps({"choices": [{"index": 0, "delta": delta}]}) + b"\n\n")
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    events += decoder.feed(b"data: " + orjson.dumps(end) + b"\n\ndata: [DONE]\n\n") + decoder.close()
    found: JsonObject = fold(events)["content"][-1]["input"]
    return found


@pytest.mark.parametrize("written", [FLAT, NESTED], ids=["as asked", "nested all the same"])
@pytest.mark.parametrize("delivery", ["in pieces", "at once", "as text"])
def test_the_client_gets_the_call_nested(written: JsonObject, delivery: str) -> None:
    request = Request({"model": "m", "messages": [], "tools": [REPORT]})
    context = {"shown": LLAMA.shown_tools(request), "reshapes": LLAMA.reshapes(request)}
    assert answered(delivery, written, **context) == NESTED


def test_without_the_way_back_the_client_would_get_what_it_refuses() -> None:
    assert answered("at once", FLAT) == FLAT


def test_deferred_definitions_are_shown_as_they_are() -> None:
    deferred = Request({**talk()[-1].body, "tools": [tool("Bash"), {**REPORT, "defer_loading": True}]})
    assert LLAMA.reshapes(deferred) == {}
    assert text(LLAMA.hint) in LLAMA.adapt(deferred).system


async def test_a_backend_talks_to_its_model_as_the_setting_says() -> None:
    """Through a server: the model is asked for dotted parameters, the client gets what it offered."""
    async with OpenAIStandIn([script_reply(ToolCall("Report", FLAT))], profile="llama.cpp") as standin:
        backend = OpenAIBackend("node", f"{standin.url}/v1", server="llama.cpp", adapter="llama")
        request = make_request("What is wrong?", tools=[REPORT])
        events = await read_events(await backend.send(request, make_call(request)))
        await backend.close()
    assert fold(events)["content"][-1]["input"] == NESTED
    [asked] = standin.chats
    assert "source.file" in asked.json["tools"][0]["function"]["parameters"]["properties"]
    assert asked.json["messages"][0]["content"].endswith(LLAMA.hint)
