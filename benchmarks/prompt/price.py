"""What short tool texts cost: calls of the embedded model with the client's own tools, in full and as stubs.

A seeded order names everything a call needs; the answer is judged by the tool's schema as the client sent it. The
embedded model knows these tools by name, so this shows whether a shorter head breaks its calls, not how much a large
model learns from descriptions.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jsonschema
import orjson

from anyclaude_lab.engine import embedded
from anyclaude_lab.models.parsers import PARSERS
from anyclaude_lab.prompt.sections import TextCount
from anyclaude_lab.prompt.stubs import stub_tools
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.openai_dialect import MLX_LM
from anyclaude_lab.wire.openai_request import to_openai
from anyclaude_lab.wire.request import Request
from anyclaude_lab.wire.tool_names import ToolNames
from anyclaude_lab.wire.tool_text import CallPiece, OfferedTools
from benchmarks.embedded_model.conversations import HELD_OUT, Speaker
from benchmarks.embedded_model.evaluate import TOOLS, Model
from tests.prompt.live import Recording

PER_TOOL = 4
CHUNK_TOKENS = 512
SEED = 20


@dataclass(slots=True)
class Score:
    """`valid`: one call, of the tool and right by its original schema; `exact`: every argument as ordered."""

    n: int = 0
    valid: int = 0
    exact: int = 0
    prompt_tokens: int = 0  # up to the order


def table(recordings: Sequence[Recording], count: TextCount) -> Iterator[str]:
    """The rows, for a terminal. The head is computed once for each row, and every answer goes on from there."""
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
    found, head = Score(), Head(model, tools)
    for tool in sorted(set(TOOLS) & {each["function"]["name"] for each in tools}):
        for _ in range(PER_TOOL):
            text, [ordered] = speaker.orders(1, tool)
            calls = read(head.answer(text), schemas)
            found.n += 1
            found.valid += len(calls) == 1 and _is_valid(calls[0], tool, schemas)
            found.exact += calls == [(ordered.tool, ordered.arguments)]
    found.prompt_tokens = head.tokens
    return found


class Head:
    """A model that has read the tools."""

    def __init__(self, model: Model, tools: list[JsonObject]) -> None:
        import mlx.core as mx
        from mlx_lm import stream_generate
        from mlx_lm.models.cache import make_prompt_cache

        self._model, self._tools = model, tools
        self._generate = stream_generate
        one, other = self._prompt("a"), self._prompt("b")
        self.tokens = next(n for n, (x, y) in enumerate(zip(one, other, strict=False)) if x != y)
        self._cache = make_prompt_cache(model.model)
        for at in range(0, self.tokens, CHUNK_TOKENS):
            model.model(mx.array([one[at : min(at + CHUNK_TOKENS, self.tokens)]]), cache=self._cache)
            mx.eval([layer.state for layer in self._cache])

    def answer(self, text: str) -> str:
        prompt = self._prompt(text)
        given: dict[str, Any] = {"max_tokens": 200, "prompt_cache": copy.deepcopy(self._cache)}
        pieces = self._generate(self._model.model, self._model.tokenizer, prompt[self.tokens :], **given)
        return "".join(piece.text for piece in pieces)

    def _prompt(self, text: str) -> list[int]:
        messages = [{"role": "user", "content": text}]
        tokens: list[int] = self._model.tokenizer.apply_chat_template(
            messages, tools=self._tools, add_generation_prompt=True
        )
        return tokens


def read(text: str, schemas: OfferedTools) -> list[tuple[str, JsonObject]]:
    """The calls in an answer: name and arguments."""
    parser = PARSERS["hermes"](schemas)
    pieces = [*parser.feed(text), *parser.close()]
    return [(piece.name, orjson.loads(piece.arguments_json)) for piece in pieces if isinstance(piece, CallPiece)]


def _is_valid(call: tuple[str, JsonObject], tool: str, schemas: OfferedTools) -> bool:
    name, arguments = call
    return name == tool and jsonschema.Draft202012Validator(schemas[tool]).is_valid(arguments)


def _as_chat_tools(request: Request) -> list[JsonObject]:
    body, _ = to_openai(request, MLX_LM, model="", names=ToolNames.for_tools(request.offered_tools()))
    tools: list[JsonObject] = body["tools"]
    return tools
