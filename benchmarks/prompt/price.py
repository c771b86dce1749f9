"""What short tool texts cost: calls of the embedded model with the client's own tools, in full and as stubs.

A seeded order names everything a call needs; the answer is judged by the tool's schema as the client sent it. The
embedded model knows these tools by name, so this shows whether a shorter head breaks its calls, not how much a large
model learns from descriptions.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jsonschema

from anyclaude_lab.engine import embedded
from anyclaude_lab.prompt.sections import TextCount
from anyclaude_lab.prompt.stubs import stub_tools
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.openai_dialect import MLX_LM
from anyclaude_lab.wire.openai_request import to_openai
from anyclaude_lab.wire.request import Request
from anyclaude_lab.wire.tool_names import ToolNames
from benchmarks.embedded_model.conversations import HELD_OUT, Call, Speaker
from benchmarks.embedded_model.evaluate import TOOLS, Model
from tests.prompt.live import Recording

PER_TOOL = 4
SEED = 20


@dataclass(slots=True)
class Score:
    """`valid`: one call, of the tool and right by its original schema; `exact`: every argument as ordered."""

    n: int = 0
    valid: int = 0
    exact: int = 0
    prompt_tokens: int = 0  # of the last answer


def table(recordings: Sequence[Recording], count: TextCount) -> Iterator[str]:
    """The rows, for a terminal; nothing is cached between two answers."""
    model = Model(embedded.folder())
    yield f"{'release':9}{'tools':8}{'prompt tokens':>14}{'n':>5}{'schema-valid':>14}{'exact':>8}"
    for recording in recordings:
        request = recording.first("work")
        for name, offered in (("raw", request), ("stubs", stub_tools(request))):
            found = score(model, offered, request)
            yield (
                f"{recording.release:9}{name:8}{found.prompt_tokens:14,}{found.n:5}"
                f"{found.valid / found.n:14.0%}{found.exact / found.n:8.0%}"
            )


def score(model: Model, shown: Request, original: Request) -> Score:
    """Answers to the same seeded orders, whatever the tools are told as."""
    schemas = original.offered_tools()
    speaker = Speaker(HELD_OUT, random.Random(SEED))
    tools = _as_chat_tools(shown)
    found = Score()
    for tool in sorted(set(TOOLS) & {each["function"]["name"] for each in tools}):
        for _ in range(PER_TOOL):
            text, [ordered] = speaker.orders(1, tool)
            answer = model.answer([{"role": "user", "content": text}], tools)
            calls = answer.calls()
            found.n += 1
            found.valid += len(calls) == 1 and _is_valid(calls[0], tool, schemas)
            found.exact += calls == [ordered]
            found.prompt_tokens = answer.prompt_tokens
    return found


def _is_valid(call: Call, tool: str, schemas: dict[str, JsonObject]) -> bool:
    return call.tool == tool and jsonschema.Draft202012Validator(schemas[tool]).is_valid(call.arguments)


def _as_chat_tools(request: Request) -> list[JsonObject]:
    body, _ = to_openai(request, MLX_LM, model="", names=ToolNames.for_tools(request.offered_tools()))
    tools: list[JsonObject] = body["tools"]
    return tools
