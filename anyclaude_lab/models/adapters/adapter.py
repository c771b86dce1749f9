"""What an adapter does: to a request, to the dialect it is sent in, and to the calls that come back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from anyclaude_lab.models.adapters.flatten import FlatSchema, flat_schema
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.openai_dialect import Dialect, for_model, for_template
from anyclaude_lab.wire.openai_reply import Reshape
from anyclaude_lab.wire.openai_request import in_head
from anyclaude_lab.wire.request import Request


@dataclass(frozen=True, slots=True)
class Adapter:
    """The habits of one family. Every method is a pure function, so a conversation is adapted alike in every request.

    `template` is a row of `openai_dialect.TEMPLATES` that holds whatever the model's id says; `hint` a last line of the
    system prompt of requests with tools; `flattens` asks for nested arguments as dotted ones.
    """

    name: str
    note: str
    template: str | None = None
    hint: str = ""
    flattens: bool = False
    thinking_in_words: re.Pattern[str] | None = None  # ids of models that are told in words not to think

    def adapt(self, request: Request) -> Request:
        """The request in the family's shape; the same object where nothing changes. Idempotent."""
        return self._flattened(self._hinted(request))

    def dialect(self, base: Dialect, model: str) -> Dialect:
        """A server's dialect for this model of it."""
        dialect = for_model(base, model)
        if self.template is not None:
            dialect = for_template(dialect, self.template)
        if dialect.thinking == "ignored" and self.thinking_in_words and self.thinking_in_words.search(model.casefold()):
            dialect = replace(dialect, thinking="words")
        return dialect

    def reshapes(self, original: Request) -> Mapping[str, Reshape]:
        """By tool, what turns the arguments that the model wrote into those the client offered `original` with."""
        return {name: flat.nested for name, flat in self._flat(original).items()}

    def shown_tools(self, original: Request) -> dict[str, JsonObject]:
        """Name -> schema of every tool as the model knows it."""
        return original.offered_tools() | {name: flat.schema for name, flat in self._flat(original).items()}

    def _flat(self, request: Request) -> dict[str, FlatSchema]:
        """Only tools of the head: deferred definitions stand in the history as they are."""
        if not self.flattens:
            return {}
        found = ((tool["name"], flat_schema(tool.get("input_schema"))) for tool in request.tools if in_head(tool))
        return {name: flat for name, flat in found if flat is not None}

    def _hinted(self, request: Request) -> Request:
        hint = {"type": "text", "text": self.hint}
        system = request.system
        if not self.hint or not system or hint in system or not any(map(in_head, request.tools)):
            return request
        return request.with_(system=[*system, hint])

    def _flattened(self, request: Request) -> Request:
        if not (flat := self._flat(request)):
            return request
        tools = [
            {**tool, "input_schema": flat[tool["name"]].schema} if in_head(tool) and tool["name"] in flat else tool
            for tool in request.tools
        ]
        return request.with_(tools=tools, messages=[_flatten_calls(message, flat) for message in request.messages])


def _flatten_calls(message: JsonObject, flat: Mapping[str, FlatSchema]) -> JsonObject:
    content = message.get("content")
    if message.get("role") != "assistant" or not isinstance(content, list):
        return message
    return {**message, "content": [_flatten_call(block, flat) for block in content]}


def _flatten_call(block: JsonObject, flat: Mapping[str, FlatSchema]) -> JsonObject:
    arguments = block.get("input")
    if block.get("type") != "tool_use" or block.get("name") not in flat or not isinstance(arguments, dict):
        return block
    return {**block, "input": flat[block["name"]].flattened(arguments)}
