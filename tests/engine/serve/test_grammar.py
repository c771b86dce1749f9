"""Calls by construction: from a model with random weights, which never calls a tool by itself."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import mlx.core as mx
import pytest
from tokenizers import Tokenizer

from anyclaude_lab.engine import embedded
from anyclaude_lab.engine.serve import grammar
from anyclaude_lab.engine.serve.call_forms import HERMES, QWEN_CODER, CallForm
from anyclaude_lab.engine.serve.model import LoadedModel, load_model
from anyclaude_lab.engine.serve.render import Renderer
from anyclaude_lab.engine.serve.request import parse_chat
from tests.engine.serve.test_http import Client, serving
from tests.requirements import missing

pytestmark = pytest.mark.engine

SHORT = {"type": "string", "maxLength": 12}
SCHEMAS: dict[str, dict[str, Any]] = {
    "Read": {
        "type": "object",
        "properties": {"path": SHORT, "limit": {"type": "integer", "minimum": 1, "maximum": 2000}},
        "required": ["path"],
        "additionalProperties": False,
    },
    "Todo": {
        "type": "object",
        "properties": {
            "todos": {
                "type": "array",
                "maxItems": 2,
                "items": {
                    "type": "object",
                    "properties": {"text": SHORT, "state": {"enum": ["open", "done"]}, "urgent": {"type": "boolean"}},
                    "required": ["text", "state"],
                    "additionalProperties": False,
                },
            }
        },
        "required": ["todos"],
        "additionalProperties": False,
    },
}
TOOLS = [{"type": "function", "function": {"name": n, "parameters": s}} for n, s in SCHEMAS.items()]
USER = [{"role": "user", "content": "Do something."}]


@pytest.fixture
def library() -> None:
    if find_spec("llguidance") is None:
        missing("llguidance, which keeps tool calls valid")


async def calls(client: Client, **body: Any) -> list[tuple[str, dict[str, Any]]]:
    answer = await client.whole(USER, tools=TOOLS, max_tokens=300, temperature=1.0, **body)
    found = answer["choices"][0]["message"].get("tool_calls") or []
    return [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in found]


@pytest.mark.usefixtures("library")
async def test_every_forced_call_of_a_random_model_fits_its_schema(model_folders: dict[str, Path]) -> None:
    seen = set()
    async with serving(model_folders["plain"], grammar=True) as client:
        for seed in range(5):
            (name, arguments), *_ = await calls(client, tool_choice="required", seed=seed)
            jsonschema.validate(arguments, SCHEMAS[name])
            seen.add(name)
        assert seen == set(SCHEMAS)
        named = {"type": "function", "function": {"name": "Todo"}}
        for seed in range(2):
            (name, arguments), *_ = await calls(client, tool_choice=named, seed=seed)
            assert name == "Todo"
            jsonschema.validate(arguments, SCHEMAS["Todo"])


@pytest.mark.usefixtures("library")
async def test_calls_in_tags_fit_their_schemas_too(model_folders: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folders["plain"], folder)
    about = json.loads((folder / "tokenizer_config.json").read_text())
    about["chat_template"] = about["chat_template"].replace('{"name": ..., "arguments": ...}', "<function=name>")
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            "mode": {"type": "string", "enum": ["fast", "slow"]},
            "limit": {"type": "integer", "minimum": 1, "maximum": 2000},
            "todos": SCHEMAS["Todo"]["properties"]["todos"],
        },
        "required": ["mode", "todos"],
    }
    tools = [{"type": "function", "function": {"name": "Plan", "parameters": schema}}]
    async with serving(folder, grammar=True) as client:
        for seed in range(3):
            body = {"tools": tools, "tool_choice": "required", "max_tokens": 900, "temperature": 1.0, "seed": seed}
            answer = await client.whole(USER, **body)
            call = answer["choices"][0]["message"]["tool_calls"][0]["function"]
            assert call["name"] == "Plan"
            jsonschema.validate(json.loads(call["arguments"]), schema)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("form", "call", "fits"),
    [
        (HERMES, '{"name": "Write", "arguments": {"text": "a \\"<b>\\" c", "n": 3}}', True),
        (HERMES, '{"name": "Write", "arguments": {"n": 3}}', False),
        (HERMES, '{"name": "Erase", "arguments": {"text": ""}}', False),
        (HERMES, '{"name": "Write", "arguments": {"text": "", "share": -2.5}}', True),
        (HERMES, '{"name": "Write", "arguments": {"text": "", "share": 4e358}}', False),  # beyond any number
        (HERMES, '{"name": "Write", "arguments": {"text": "", "like": {"type": "number"}}}', True),  # data, no schema
        (HERMES, '{"name": "Write", "arguments": {"text": "", "enum": -2.5}}', True),
        (HERMES, '{"name": "Write", "arguments": {"text": "", "enum": 4e358}}', False),
        (HERMES, '{"name": "Write", "arguments": {"text": "", "type": {"default": 4e358}}}', False),
        (
            QWEN_CODER,
            "<function=Write>\n<parameter=text>\n\n</parameter>\n"
            '<parameter=type>\n{"default": 4e358}\n</parameter>\n</function>',
            False,
        ),
        (QWEN_CODER, "<function=Write>\n<parameter=text>\na\n</b>\n</parameter>\n</function>", True),
        (
            QWEN_CODER,
            "<function=Write>\n<parameter=text>\n\n</parameter>\n<parameter=n>\n3\n</parameter>\n</function>",
            True,
        ),
        (QWEN_CODER, "<function=Write>\n<parameter=n>\n3\n</parameter>\n</function>", False),
    ],
)
def test_what_fits_may_be_written_and_what_does_not_may_not(
    plain: LoadedModel, form: CallForm, call: str, fits: bool
) -> None:
    share = {"type": ["number", "null"]}
    schema = {
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "n": {"type": "integer"},
            "share": share,
            "like": {"enum": [{"type": "number"}, {"type": "string"}]},
            "enum": share,  # a name of ours, no keyword
            "type": {"type": "object", "properties": {"default": share}},
        },
        "required": ["text"],
        "additionalProperties": False,
    }
    hub = plain.tokenizer._tokenizer
    made = grammar.call_grammar(hub, form, next(iter(plain.end_tokens)))
    assert made is not None
    guide = made.guide({"Write": schema})
    every = mx.zeros((1, hub.backend_tokenizer.get_vocab_size() + 5))
    allowed = []
    for token in hub.backend_tokenizer.encode(f"<tool_call>\n{call}\n").ids:
        allowed.append(guide.allowed(every)[0, token].item() == 0)
        guide.took(token)
    closing = hub.backend_tokenizer.token_to_id("</tool_call>")
    assert all(allowed) == fits
    if fits:
        rest = guide.allowed(every)
        assert [i for i in range(rest.shape[-1]) if rest[0, i].item() == 0] == [closing]
        guide.took(closing)
        assert (guide.allowed(every) == every).all().item()  # free again


@pytest.mark.usefixtures("library")
async def test_calls_that_come_by_themselves_fit_and_text_is_left_alone(model_folders: dict[str, Path]) -> None:
    found: list[tuple[str, dict[str, Any]]] = []
    async with serving(model_folders["plain"], grammar=True) as client, serving(model_folders["plain"]) as free:
        for seed in range(8):
            found += await calls(client, seed=seed)
            plain = [await each.whole(USER, temperature=1.0, seed=seed, max_tokens=40) for each in (client, free)]
            assert plain[0]["choices"] == plain[1]["choices"]
    assert found
    for name, arguments in found:
        jsonschema.validate(arguments, SCHEMAS[name])


@pytest.mark.usefixtures("library")
async def test_a_cut_inside_a_call_is_no_call(model_folders: dict[str, Path]) -> None:
    async with serving(model_folders["plain"], grammar=True) as client:
        answer = await client.whole(USER, tools=TOOLS, tool_choice="required", max_tokens=10)
    choice = answer["choices"][0]
    assert choice["finish_reason"] == "length"
    assert "tool_calls" not in choice["message"]


@pytest.mark.usefixtures("library")
async def test_a_schema_that_cannot_be_enforced_is_loosened_with_a_note(
    model_folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    odd = {"type": "object", "properties": {"x": {"type": "string", "pattern": "^(?=a)b"}}}
    tools = [*TOOLS, {"type": "function", "function": {"name": "Odd", "parameters": odd}}]
    choice = {"type": "function", "function": {"name": "Read"}}
    request = parse_chat({"messages": USER, "tools": tools, "tool_choice": "required"}, {})
    renderer = Renderer(load_model(str(model_folders["plain"])), grammar=True)
    assert renderer.render(request).guide is not None
    assert [record.message.split(":")[0] for record in caplog.records if "Odd" in record.message]
    named = parse_chat({"messages": USER, "tools": tools, "tool_choice": choice}, {})
    assert renderer.render(named).guide is not None


@pytest.mark.parametrize("reason", ["llguidance is not installed", "no grammar is known"])
def test_without_a_grammar_the_reason_is_logged_and_calls_are_free(
    model_folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    reason: str,
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folders["plain"], folder)
    if "installed" in reason:
        monkeypatch.setattr(grammar, "find_spec", lambda name: None)
    else:
        monkeypatch.setattr(grammar, "find_spec", lambda name: object())
        about = json.loads((folder / "tokenizer_config.json").read_text())
        about["chat_template"] = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
        (folder / "tokenizer_config.json").write_text(json.dumps(about))
    renderer = Renderer(load_model(str(folder)), grammar=True)
    rendered = renderer.render(parse_chat({"messages": USER, "tools": TOOLS}, {}))
    assert rendered.guide is None
    assert reason in caplog.text


@pytest.mark.usefixtures("library")
async def test_a_tool_that_the_prompt_does_not_define_may_be_called_by_its_own_schema(
    model_folders: dict[str, Path],
) -> None:
    """As a proxy asks where a tool was deferred, or is told in one line."""
    body = {"tools": TOOLS[:1], "callable_tools": [TOOLS[1]], "tool_choice": "required", "temperature": 1.0}
    async with serving(model_folders["plain"], grammar=True) as client:
        answer = await client.whole(USER, **body, max_tokens=300, seed=1)
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "Todo"
    jsonschema.validate(json.loads(call["function"]["arguments"]), SCHEMAS["Todo"])


@pytest.mark.usefixtures("library")
def test_tokens_that_reach_beyond_what_is_certain_may_come() -> None:
    """The demonstration model has a tool's name, `arguments` and the first argument in one token."""
    tokenizer = Tokenizer.from_file(str(embedded.folder() / "tokenizer.json"))
    made = grammar.call_grammar(
        SimpleNamespace(backend_tokenizer=tokenizer), HERMES, tokenizer.token_to_id("<|im_end|>") or 0
    )
    assert made is not None
    properties = {"query": {"type": "string"}, "max_results": {"type": "number"}}
    guide = made.guide({"ToolSearch": {"type": "object", "properties": properties, "required": list(properties)}})
    call = '{"name": "ToolSearch", "arguments": {"query": "select:Fetch", "max_results": 5}}'
    tokens = tokenizer.encode(f"<tool_call>\n{call}\n</tool_call>", add_special_tokens=False).ids
    assert len(tokens) < len(call) / 4
    every = mx.zeros((1, tokenizer.get_vocab_size()))
    for token in tokens:
        assert guide.allowed(every)[0, token].item() == 0, tokenizer.id_to_token(token)
        guide.took(token)
