"""The same tool call with the same result, again and again: noticed, and on wish answered with a hint at the tail.

Small models fall into it. Both functions look at what the history says and at nothing else, so that a hint stands at
the same place, in the same words, in every later request of the conversation.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request, as_blocks

LOOP_CALLS = 3  # so often is a loop
RECENT_CALLS = 10  # among so many: a loop may alternate between calls
# Calls that wait for something are repeated on purpose. Source: Claude Code's tools reference.
WAITING = frozenset(
    {"AgentOutputTool", "BashOutput", "ListAgents", "Monitor", "TaskGet", "TaskList", "TaskOutput", "WaitForMcpServers"}
)
HINT = (
    "[The last call of {name} has now been made {times} times with the same input and the same result. Making it again "
    "will not change anything. Try something else, or say what is in the way.]"
)


@dataclass(frozen=True, slots=True)
class Loop:
    """A call that was made `times` times with the same input and the same result."""

    name: str
    times: int


def loop_at_end(request: Request) -> Loop | None:
    """The loop that the newest tool result belongs to; None where there is none."""
    return deque((loop for _, loop in _loops(_recent(request.messages))), maxlen=1).pop() if request.messages else None


def hint_at_loops(request: Request) -> Request:
    """A sentence behind every tool result that closed a round of a loop; the same object where there is none."""
    messages = [_with_hint(message, loop) for message, loop in _loops(request.messages)]
    return request if messages == request.messages else request.with_(messages=messages)


def _recent(messages: list[JsonObject]) -> list[JsonObject]:
    """The end of a history, as much of it as says whether its newest message is one more round of a loop."""
    older = 0
    for start in range(len(messages) - 2, -1, -1):
        if older >= RECENT_CALLS and messages[start].get("role") == "assistant":
            return messages[start:]
        older += sum(block.get("type") == "tool_result" for block in as_blocks(messages[start].get("content")))
    return messages


def _loops(messages: list[JsonObject]) -> Iterator[tuple[JsonObject, Loop | None]]:
    """Every message, with the loop that it is one more round of."""
    called: dict[str, JsonObject] = {}
    recent: deque[str] = deque(maxlen=RECENT_CALLS)
    for message in messages:
        blocks = as_blocks(message.get("content"))
        results = [block for block in blocks if block.get("type") == "tool_result"]
        called |= {str(b.get("id")): b for b in blocks if b.get("type") == "tool_use"}
        if message.get("role") == "user" and not results:
            recent.clear()  # a person spoke: what comes now is meant
        longest = None
        for result in results:
            call = called.get(str(result.get("tool_use_id")), {})
            round_ = _round(call, result)
            recent.append(round_)
            times = recent.count(round_)
            if times >= LOOP_CALLS and call.get("name") not in WAITING:
                longest = max(longest or Loop("", 0), Loop(str(call.get("name")), times), key=lambda loop: loop.times)
        yield message, longest


def _round(call: JsonObject, result: JsonObject) -> str:
    said = [block.get("text", block) for block in as_blocks(result.get("content"))]
    return json.dumps([call.get("name"), call.get("input"), said], sort_keys=True)  # orjson refuses large numbers


def _with_hint(message: JsonObject, loop: Loop | None) -> JsonObject:
    if loop is None:
        return message
    hint = {"type": "text", "text": HINT.format(name=loop.name, times=loop.times)}
    blocks = as_blocks(message.get("content"))
    return message if hint in blocks else {**message, "content": [*blocks, hint]}
