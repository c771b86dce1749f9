"""The official SDKs as judges: `openai` of the requests we make, `anthropic` of the replies."""

from __future__ import annotations

import typing
from typing import Any

import anthropic
import httpx2
import pytest
from openai.types import chat
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from pydantic import TypeAdapter

from anyclaude_lab.wire.events import Event
from anyclaude_lab.wire.openai_dialect import DIALECTS, Dialect
from anyclaude_lab.wire.openai_request import to_openai
from anyclaude_lab.wire.request import Request
from anyclaude_lab.wire.tool_names import ToolNames
from tests.wire.openai_streams import TOOLS, chunk, decode, piece, usage_chunk

# Fields that only local servers know.
EXTENSIONS = {"top_k", "chat_template_kwargs", "return_progress", "usage", "reasoning"}
MESSAGES = {
    "system": chat.ChatCompletionSystemMessageParam,
    "user": chat.ChatCompletionUserMessageParam,
    "assistant": chat.ChatCompletionAssistantMessageParam,
    "tool": chat.ChatCompletionToolMessageParam,
}
PARTS = {"text": chat.ChatCompletionContentPartTextParam, "image_url": chat.ChatCompletionContentPartImageParam}
SESSION: dict[str, Any] = {
    "model": "claude-opus-5-5",
    "max_tokens": 1000,
    "system": [{"type": "text", "text": "You help.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": "look"},
        {"role": "system", "content": "news"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": "Two calls."},
            {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}},
            {"type": "tool_use", "id": "toolu_2", "name": "Read", "input": {"file_path": "/a"}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_2", "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]},
            {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True, "content": "no"},
            {"type": "text", "text": "go on"},
        ]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_3", "name": "ListAgents", "input": {}}]},
    ],
    "tools": [{"name": name, "description": "d", "input_schema": schema} for name, schema in TOOLS.items()],
    "tool_choice": {"type": "tool", "name": "Bash", "disable_parallel_tool_use": True},
    "temperature": 1,
    "stop_sequences": ["END"],
    "thinking": {"type": "adaptive"},
    "output_config": {"effort": "high"},
}  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
@pytest.mark.parametrize("model", ["qwen3", "devstral", "gemma-3-27b"])
def test_the_openai_sdk_accepts_every_request(dialect: Dialect, model: str) -> None:
    request = Request(SESSION)
    body, _ = to_openai(request, dialect, model=model, names=ToolNames.for_tools(request.offered_tools()))
    accepted({key: value for key, value in body.items() if key not in EXTENSIONS}, CompletionCreateParamsStreaming)
    for message in body["messages"]:
        accepted(message, MESSAGES[message["role"]])
        for entry in message.get("tool_calls", ()):
            accepted(entry, chat.ChatCompletionMessageFunctionToolCallParam)
        for part in message["content"] if isinstance(message["content"], list) else ():
            accepted(part, PARTS[part["type"]])
    for tool in body["tools"]:
        accepted(tool, chat.ChatCompletionFunctionToolParam)


def accepted(value: Any, kind: Any) -> None:
    """No unknown key, none missing, no wrong type. Lists inside are lazy in the SDK's types: look into them apart."""
    assert set(value) <= set(typing.get_type_hints(kind))
    TypeAdapter(kind).validate_python(value)


def sdk_message(events: list[Event]) -> anthropic.types.Message:
    """What the official client makes of the bytes."""
    raw = b"".join(event.encode() for event in events)

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=raw)

    client = anthropic.Anthropic(
        api_key="x", max_retries=0, http_client=httpx2.Client(transport=httpx2.MockTransport(answer))
    )
    with client.messages.stream(model="m", max_tokens=5, messages=[{"role": "user", "content": "x"}]) as stream:
        return stream.get_final_message()


def test_the_anthropic_sdk_reads_every_reply() -> None:
    reply = decode([
        chunk(reasoning="hm"), chunk(content="Look: "), chunk(content="é😀"),
        piece('{"command": ', name="Bash", id="a", index=0), piece('"ls"}', index=0),
        piece(None, name="ListAgents", id="b", index=1), chunk("tool_calls"),
        usage_chunk(100, 7, prompt_tokens_details={"cached_tokens": 90}),
    ])  # fmt: skip
    message = sdk_message(reply.events)
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert message.model_dump(exclude_none=True)["content"][1]["text"] == "Look: é😀"
    assert [block.input for block in message.content if block.type == "tool_use"] == [{"command": "ls"}, {}]
    assert (message.stop_reason, message.model, message.id) == ("tool_use", "claude-opus-5-5", "msg_test")
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (10, 90)
    assert message.usage.output_tokens == 7


def test_the_anthropic_sdk_raises_our_error() -> None:
    failure = {"error": {"code": 400, "message": "prompt is too long: 9000 tokens > 8192 maximum"}}
    reply = decode([chunk(content="x"), failure])
    with pytest.raises(anthropic.APIStatusError, match="9000 tokens > 8192 maximum"):
        sdk_message(reply.events)
