"""An independent judge of a Messages stream: it knows the order of events from the documentation alone.

Source: docs.anthropic.com "Streaming messages", event flow; the three legal ends are those of the real client.
"""

from __future__ import annotations

import json
from typing import Any

DELTA_KINDS = {
    "text": {"text_delta", "citations_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    "tool_use": {"input_json_delta"},
    "server_tool_use": {"input_json_delta"},
}
STOP_REASONS = {
    "end_turn",
    "tool_use",
    "max_tokens",
    "stop_sequence",
    "refusal",
    "pause_turn",
    "model_context_window_exceeded",
}


def events(stream: bytes) -> list[tuple[str, dict[str, Any]]]:
    """The complete events of a stream, as (name, data). A torn last event is left out."""
    found = []
    for block in stream.decode("utf-8", errors="replace").replace("\r\n", "\n").split("\n\n")[:-1]:
        lines = [line.split(":", 1) for line in block.split("\n") if line and not line.startswith(":")]
        fields = {name: value.removeprefix(" ") for name, value in lines}
        if fields:
            found.append((fields.get("event", "message"), json.loads(fields["data"])))
    return found


def violations(stream: bytes) -> list[str]:
    """What is wrong with this stream, as sentences; an empty list for a legal one, cut ones included."""
    return list(_violations(events(stream)))


def _violations(seen: list[tuple[str, dict[str, Any]]]) -> list[str]:
    wrong: list[str] = []
    state = "new"  # new -> open -> closing -> done
    block: dict[str, Any] | None = None
    arguments = ""
    expected_index = 0
    tools = 0
    torn: list[str] = []
    for position, (name, data) in enumerate(seen):
        kind = data.get("type")
        where = f"event {position} ({kind})"
        if name != kind:
            wrong.append(f"{where}: is named {name!r}")
        if state == "done":
            wrong.append(f"{where}: comes after the end")
        if kind == "ping":
            if state == "new":
                wrong.append(f"{where}: comes before message_start")
        elif kind == "error":
            if not {"type", "message"} <= set(data.get("error", {})):
                wrong.append(f"{where}: has no error type and message")
            state = "done"
        elif kind == "message_start":
            if state != "new":
                wrong.append(f"{where}: comes twice")
            wrong += _message_start(where, data)
            state = "open"
        elif state != "open" and kind != "message_stop":
            wrong.append(f"{where}: comes while the message is {state}")
        elif kind == "content_block_start":
            if block is not None:
                wrong.append(f"{where}: opens a block inside another")
            if data["index"] != expected_index:
                wrong.append(f"{where}: has index {data['index']}, expected {expected_index}")
            block, arguments = data["content_block"], ""
            if block["type"] == "tool_use":
                tools += 1
                if block.get("input") != {} or not block.get("id") or not block.get("name"):
                    wrong.append(f"{where}: a tool_use opens with id, name and an empty input")
        elif kind == "content_block_delta":
            if block is None or data["index"] != expected_index:
                wrong.append(f"{where}: belongs to no open block")
            elif data["delta"]["type"] not in DELTA_KINDS.get(block["type"], {data["delta"]["type"]}):
                wrong.append(f"{where}: {data['delta']['type']} inside a {block['type']} block")
            arguments += data["delta"].get("partial_json", "")
        elif kind == "content_block_stop":
            if block is None or data["index"] != expected_index:
                wrong.append(f"{where}: closes no open block")
            elif block["type"] == "tool_use":
                torn += _arguments(where, arguments)
            block, expected_index = None, expected_index + 1
        elif kind == "message_delta":
            if block is not None:
                wrong.append(f"{where}: comes inside an open block")
            wrong += _message_delta(where, data, tools)
            # Arguments may be torn only where the length limit tore them.
            wrong += [] if data.get("delta", {}).get("stop_reason") == "max_tokens" else torn
            state = "closing"
        elif kind == "message_stop":
            if state != "closing":
                wrong.append(f"{where}: comes without a message_delta")
            state = "done"
        else:
            wrong.append(f"{where}: is no event of the Messages API")
    return wrong


def _message_start(where: str, data: dict[str, Any]) -> list[str]:
    message = data.get("message", {})
    missing = {"id", "type", "role", "content", "model", "stop_reason", "stop_sequence", "usage"} - set(message)
    wrong = [f"{where}: the message lacks {sorted(missing)}"] if missing else []
    if message.get("content") != []:
        wrong.append(f"{where}: the content is not empty")
    if "input_tokens" not in message.get("usage", {}):
        wrong.append(f"{where}: the usage has no input_tokens")
    return wrong


def _message_delta(where: str, data: dict[str, Any], tools: int) -> list[str]:
    stop = data.get("delta", {}).get("stop_reason")
    wrong = [] if stop in STOP_REASONS else [f"{where}: stop_reason {stop!r}"]
    if tools and stop == "end_turn":
        wrong.append(f"{where}: end_turn although a tool is called")
    if stop == "tool_use" and not tools:
        wrong.append(f"{where}: tool_use although no tool is called")
    if "output_tokens" not in data.get("usage", {}):
        wrong.append(f"{where}: the usage has no output_tokens")
    return wrong


def _arguments(where: str, text: str) -> list[str]:
    try:
        valid = isinstance(json.loads(text or "{}"), dict)
    except ValueError:
        valid = False
    return [] if valid else [f"{where}: the tool's input is no JSON object: {text[:80]!r}"]
