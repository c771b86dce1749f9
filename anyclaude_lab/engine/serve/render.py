"""A conversation as the token ids that a model reads, and the two places at which its state is worth keeping."""

from __future__ import annotations

import hashlib
import json
import threading
from array import array
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from anyclaude_lab.engine.serve.call_forms import CallForm, call_form, in_words
from anyclaude_lab.engine.serve.grammar import Guide, call_grammar
from anyclaude_lab.engine.serve.job import Prompt
from anyclaude_lab.engine.serve.model import LoadedModel
from anyclaude_lab.engine.serve.prefixes import Tokens
from anyclaude_lab.engine.serve.request import ChatRequest, Conversation
from anyclaude_lab.errors import InvalidRequest, PromptTooLong, SettingsError
from anyclaude_lab.render.template import ChatTemplate
from anyclaude_lab.render.tokens import piece_starts
from anyclaude_lab.wire.events import JsonObject

MEMO_PIECES = 4096
MEMO_HEADS = 64
DEFAULT_MAX_TOKENS = 4096  # where neither the request nor a window bounds the answer
_STUB: list[JsonObject] = [{"role": "user", "content": "."}]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt, how many tokens its answer may have, and the tokens that may not come."""

    prompt: Prompt
    max_tokens: int
    banned: tuple[int, ...]
    guide: Guide | None = None


class Renderer:
    """Template and tokenizer of one model. Any thread may call; one at a time is served.

    Raises SettingsError where the template cannot be read.
    """

    def __init__(self, loaded: LoadedModel, *, grammar: bool = False) -> None:
        hub = loaded.tokenizer._tokenizer
        source = _template_source(hub.chat_template)
        self.window_tokens = loaded.window_tokens
        self._template = ChatTemplate(
            source,
            special_tokens={name: str(text) for name, text in hub.special_tokens_map.items() if isinstance(text, str)},
            strftime_now=lambda format_: datetime.now().strftime(format_),  # noqa: DTZ005 - the user's own date
        )
        self._form: CallForm | None = call_form(source)
        self._tokens = _Tokenizer(hub)
        self._grammar = call_grammar(hub, self._form, next(iter(loaded.end_tokens))) if grammar else None
        self._heads: dict[str, int] = {}
        self._one_at_a_time = threading.Lock()
        self._compile()

    def count(self, conversation: Conversation) -> int:
        """Prompt tokens. Raises InvalidRequest where the template refuses."""
        with self._one_at_a_time:
            return len(self._tokens.ids(self._text(conversation)))

    def render(self, request: ChatRequest) -> Rendered:
        """Raises InvalidRequest where the template refuses, PromptTooLong where no room is left for an answer."""
        with self._one_at_a_time:
            conversation, forced, banned = self._choice(request)
            text = self._text(conversation)
            ids = self._tokens.ids(text + forced)
            prompt = Prompt(
                ids,
                head_tokens=self._head(conversation, text, ids),
                turn_tokens=self._turn(conversation, text, ids),
                opens_reasoning=text.rstrip().endswith("<think>"),
                forced_text=forced,
            )
        return Rendered(prompt, self._room(len(ids), request.max_tokens), banned, self._guide(request))

    def _compile(self) -> None:
        """Raises SettingsError now rather than at the first request; whether it takes a greeting is no matter."""
        with suppress(InvalidRequest):
            self._template.render(_STUB)

    def _room(self, prompt_tokens: int, asked: int | None) -> int:
        if self.window_tokens is None:
            return asked or DEFAULT_MAX_TOKENS
        room = self.window_tokens - prompt_tokens
        if room < 1:
            raise PromptTooLong(prompt_tokens, self.window_tokens)
        return min(asked or room, room)

    def _choice(self, request: ChatRequest) -> tuple[Conversation, str, tuple[int, ...]]:
        """The conversation, the forced beginning of its answer, and what may not begin a call."""
        if request.tool_choice == "auto":
            return request.conversation, "", ()
        forbidden = request.tool_choice == "none"
        if self._grammar is not None and self._form is not None and not forbidden:
            return request.conversation, self._form.marker, ()  # the grammar sees to the rest
        if self._form is not None and not forbidden:
            return request.conversation, self._form.begin(request.forced_tool), ()
        marker = self._tokens.single(self._form.marker) if self._form else None
        if forbidden and marker is not None:
            return request.conversation, "", (marker,)
        words: JsonObject = {"role": "user", "content": in_words(request.forced_tool, forbidden=forbidden)}
        plain = request.conversation
        return Conversation([*plain.messages, words], plain.tools, plain.template_kwargs), "", ()

    def _guide(self, request: ChatRequest) -> Guide | None:
        if self._grammar is None or not request.callable:
            return None
        guide = self._grammar.guide(request.callable)
        if request.tool_choice == "required":
            guide.begin()
        return guide

    def _text(self, conversation: Conversation, **changes: Any) -> str:
        return self._template.render(
            conversation.messages, conversation.tools, **({**conversation.template_kwargs, **changes})
        )

    def _head(self, conversation: Conversation, text: str, ids: array[int]) -> int:
        """Tokens before the conversation proper: what the same system prompt and tools begin with, whoever speaks."""
        count = next((n for n, m in enumerate(conversation.messages) if m["role"] != "system"), 0)
        system = conversation.messages[:count]
        told = json.dumps([system, conversation.tools, conversation.template_kwargs], sort_keys=True)
        key = hashlib.blake2b(told.encode(), digest_size=16).hexdigest()
        if key not in self._heads:
            stub = Conversation([*system, *_STUB], conversation.tools, conversation.template_kwargs)
            while len(self._heads) >= MEMO_HEADS:
                del self._heads[next(iter(self._heads))]
            self._heads[key] = self._common(text, stub, ids)
        return self._heads[key]

    def _turn(self, conversation: Conversation, text: str, ids: array[int]) -> int:
        """Tokens up to the end of the last message: what stays when the next turn is rendered."""
        return self._common(text, conversation, ids, add_generation_prompt=False)

    def _common(self, text: str, other: Conversation, ids: array[int], **changes: Any) -> int:
        try:
            found = self._text(other, **changes)
        except (InvalidRequest, SettingsError):
            return 0
        shared = self._tokens.ids(text[: _common_length(text, found)])
        return Tokens(shared.tobytes()).common(Tokens(ids.tobytes()))


class _Tokenizer:
    """Encodes from special token to special token, each piece once: a growing conversation costs its tail."""

    def __init__(self, hub: Any) -> None:
        self._encode = hub.backend_tokenizer.encode
        hub.backend_tokenizer.no_truncation()
        hub.backend_tokenizer.no_padding()
        self._starts = piece_starts(hub.backend_tokenizer)
        self._memo: dict[str, array[int]] = {}

    def ids(self, text: str) -> array[int]:
        places = [match.start() for match in self._starts.finditer(text)] if self._starts else []
        ids = array("i")
        for begin, end in pairwise([0, *(place for place in places if place), len(text)]):
            ids += self._piece(text[begin:end])
        return ids

    def single(self, text: str) -> int | None:
        """The id of a text that is one token."""
        ids = self.ids(text)
        return ids[0] if len(ids) == 1 else None

    def _piece(self, piece: str) -> array[int]:
        ids = self._memo.pop(piece, None)
        if ids is None:
            ids = array("i", self._encode(piece, add_special_tokens=False).ids if piece else [])
            if len(self._memo) >= MEMO_PIECES:
                del self._memo[next(iter(self._memo))]
        self._memo[piece] = ids
        return ids


def _template_source(found: Any) -> str:
    """The template itself, or the one for tools out of several."""
    if isinstance(found, dict):
        found = found.get("tool_use") or found.get("default") or next(iter(found.values()))
    return str(found)


def _common_length(one: str, other: str) -> int:
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
