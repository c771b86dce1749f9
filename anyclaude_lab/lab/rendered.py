"""The tokens a local model really reads: request, chat template, tokenizer. Without a model's files there are none."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from anyclaude_lab.errors import InvalidRequest
from anyclaude_lab.lab.metrics.reuse import Tokens, shared_tokens, tokens_of
from anyclaude_lab.models.adapters import adapter_named
from anyclaude_lab.prompt.sections import Sections
from anyclaude_lab.render.template import ChatTemplate
from anyclaude_lab.wire import json_text
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.openai_dialect import MLX_LM
from anyclaude_lab.wire.openai_request import to_openai
from anyclaude_lab.wire.request import Request
from anyclaude_lab.wire.tool_names import ToolNames

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered prompt: its text, its tokens, and where each token begins in the text (characters)."""

    text: str
    tokens: Tokens
    starts: tuple[int, ...]


class Renderer:
    """Template and tokenizer of the model in `folder`, as `mlx_lm.server` applies them. `name` is for people.

    `adapter`: the family the model is talked to as, a key of `models.adapters.ADAPTERS`.
    """

    def __init__(self, folder: Path, adapter: str = "none") -> None:
        from tokenizers import Tokenizer

        self._adapter = adapter_named(adapter, folder.name)
        self.name = f"{folder.name} tokenizer"
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        config = json_text.loads((folder / "tokenizer_config.json").read_bytes())
        file = folder / "chat_template.jinja"
        text = file.read_text("utf-8") if file.is_file() else None
        self._heads: dict[bytes, tuple[int, int, int]] = {}  # by system and tools: tokens of all, of each
        self._template = ChatTemplate.from_tokenizer_config(config, template_file=text)

    def prompt(self, request: Request) -> Prompt | None:
        """What is sent for `request`; None where the template refuses it."""
        try:
            return self.read(self.body(request))
        except InvalidRequest:
            return None

    def read(self, body: JsonObject, *, open_answer: bool = True) -> Prompt:
        """A chat-completions body as the model reads it. Raises InvalidRequest where the template refuses it."""
        if self._template is None:
            raise InvalidRequest("The model has no chat template.")
        text = self._template.render(body["messages"], body.get("tools"), add_generation_prompt=open_answer)
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        return Prompt(text, tokens_of(encoded.ids), tuple(start for start, _ in encoded.offsets))

    def system_tokens(self, body: JsonObject) -> int:
        """Where `mlx_lm.server` finds the end of the system prompt: how far the body agrees with one without a talk."""
        system = list(takewhile(lambda message: message["role"] == "system", body["messages"]))
        if not system:
            return 0
        alone = self.read(body | {"messages": [*system, {"role": "user", "content": ""}]}, open_answer=False).tokens
        shared = shared_tokens(alone, self.read(body).tokens)
        return shared if shared < len(alone) else 0

    def continued(self, request: Request, answer: list[JsonObject]) -> Tokens | None:
        """The tokens of prompt and answer as one: what the server's cache holds afterwards."""
        message = {"role": "assistant", "content": answer or [{"type": "text", "text": ""}]}
        try:
            return self.read(self.body(request.with_(messages=[*request.messages, message])), open_answer=False).tokens
        except InvalidRequest:
            return None

    def count(self, text: str) -> int:
        """Tokens of a text that stands by itself."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def sections(self, request: Request, prompt: Prompt) -> Sections:
        """How many of the prompt's tokens are there for system, tools and messages: what is less without each."""
        bare = request.with_(messages=[{"role": "user", "content": ""}])
        key = hashlib.sha256(orjson.dumps([request.body.get("system"), request.body.get("tools")])).digest()
        if key not in self._heads:
            whole = self._size(bare)
            without = self._size(bare.with_(system=None)), self._size(bare.with_(tools=None))
            self._heads[key] = whole, whole - without[0], whole - without[1]
        head, system, tools = self._heads[key]
        return Sections(system=system, tools=tools, messages=len(prompt.tokens) - head)

    def _size(self, request: Request) -> int:
        prompt = self.prompt(request)
        return len(prompt.tokens) if prompt else 0

    def body(self, request: Request) -> JsonObject:
        """The chat-completions body that is sent for it."""
        names = ToolNames.for_tools(request.offered_tools())
        dialect = self._adapter.dialect(MLX_LM, "")
        body, _ = to_openai(self._adapter.adapt(request), dialect, model="", names=names)
        return body
