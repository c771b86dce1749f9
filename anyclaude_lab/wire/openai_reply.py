"""One reply put in order: text, reasoning and tool calls as they come in, content blocks as they go out.

One block is open at a time. While a call is still arriving, everything that comes behind it waits: later calls whose
pieces are interleaved with it, and text in between.

A call of a tool that nobody offered is passed on when the server says that it is a call: the client answers with an
error, and the model mends it. In text it is no call, whatever it looks like; the parsers see to that.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import orjson

from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.openai_blocks import BlockWriter
from anyclaude_lab.wire.openai_calls import Call, Calls, fits, repaired, structured_properties
from anyclaude_lab.wire.openai_content import json_text
from anyclaude_lab.wire.openai_text import SPECIAL_TOKENS, ReasoningSplitter, TokenFilter
from anyclaude_lab.wire.repeated import Run
from anyclaude_lab.wire.tool_names import ToolNames
from anyclaude_lab.wire.tool_text import CallPiece, OfferedTools, Piece, ToolTextParser, ToolTextParserFactory

# The arguments that the model was asked for -> those the client offered the tool with.
Reshape = Callable[[JsonObject], JsonObject]

# Up to this size a call goes out whole. A stream that breaks inside a call then looks to the client as if it broke
# before it: every release asks again, where older ones end the turn in silence if text came before half a call. A
# longer call is sent as it comes, so that the client does not take a slow model's long file for a dead connection.
HELD_CHARS = 8192


@dataclass(frozen=True, slots=True)
class ReplyContext:
    """What the decoder of one reply must know of its request.

    `model` is the id the client asked for, echoed whatever answered; `offered` the schemas as the client sent them;
    `prompt_tokens` our estimate, shown until the backend reports. `starts_in_reasoning`: the chat template opens the
    reasoning block, so that the reply begins inside it (learned from `closed_unopened_reasoning` of an earlier reply).
    `shown`: the schemas as the model knows them, where that is another form; `reshapes` brings calls back, by tool.
    """

    message_id: str
    model: str
    names: ToolNames
    offered: OfferedTools
    prompt_tokens: int | None = None
    show_thinking: bool = False
    parser: ToolTextParserFactory | None = None
    stop_sequences: tuple[str, ...] = ()
    cache_was_asked: bool = False
    special_tokens: tuple[str, ...] = SPECIAL_TOKENS
    starts_in_reasoning: bool = False
    shown: OfferedTools | None = None
    reshapes: Mapping[str, Reshape] = field(default_factory=dict)


@lru_cache(maxsize=64)
def _any_of(characters: str) -> re.Pattern[str]:
    return re.compile(f"[{re.escape(characters)}]")


class ReplyAssembler:
    """The content of one reply; its events are collected in `blocks`."""

    def __init__(self, context: ReplyContext) -> None:
        self.blocks = BlockWriter(context.message_id)
        self.splitter = ReasoningSplitter(starts_in_reasoning=context.starts_in_reasoning)
        self.delivered: list[tuple[str, str]] = []  # name and arguments of the calls that the client has whole
        self._context = context
        self._filter = TokenFilter(context.special_tokens)
        shown = context.shown or context.offered
        self._offered = shown
        if not context.names.verbatim:  # definitions that came later stand in the history with their full name
            self._offered = {context.names.to_backend(name): schema for name, schema in shown.items()} | dict(shown)
        self._parser: ToolTextParser | None = None  # of the text since the last flush
        self._text_since_flush = False
        self._calls = Calls()
        self._waiting: deque[Call | tuple[bool, str]] = deque()  # begins with the call that is still arriving

    @property
    def empty(self) -> bool:
        """Nothing has come that the client could see."""
        return not self.blocks.count and not self._waiting

    @property
    def waiting(self) -> bool:
        """Something is held back: a call that is not whole, and what came behind it."""
        return bool(self._waiting)

    @property
    def in_call(self) -> bool:
        """The client has seen half of a call."""
        return self.blocks.open == "tool_use"

    def runnable(self) -> bool:
        """Whether a delivered call is one that the client can run: offered, and right by its schema."""
        offered = self._context.offered
        return any(name in offered and fits(arguments, offered[name]) for name, arguments in self.delivered)

    def text(self, text: str) -> None:
        """A piece of what the model wrote."""
        if not text:
            return
        if not self._text_since_flush:
            self._text_since_flush = True
            self._parser = self._context.parser(self._offered) if self._context.parser else None
        if self.splitter.passes(text):
            if not self._waiting and (self._parser is None or self._parser.passes(text)):
                self.blocks.text(self._filter.feed(text))  # nearly every piece
            else:
                self._answer(text)
            return
        for is_reasoning, piece in self.splitter.feed(text):
            if is_reasoning:
                self._put(True, piece)
            else:
                self._answer(piece)

    def run(self, run: Run) -> None:
        """Pieces of what the model wrote, one after the other; looked at together where none can hold a marker."""
        text = "".join(run.texts)
        if self.plain(text):
            self.blocks.run(text, run.texts, run.insides)
        else:
            for text in run.texts:
                self.text(text)

    def plain(self, text: str) -> bool:
        """Whether a piece is more of the open text and nothing else; it is noted, and to be written without a look."""
        passes = self._text_since_flush and not self._waiting and self.blocks.open == "text"
        if not passes or not (self._filter.passes(text) and self.splitter.passes(text)):
            return False
        return self._parser is None or self._parser.passes(text)

    def alarm(self) -> re.Pattern[str] | None:
        """What a text must not hold to be plain, as long as none but plain ones come; None where no text is."""
        if self._waiting or self.blocks.open != "text" or not self._text_since_flush:
            return None
        alarms = [reader.alarms() for reader in (self._filter, self.splitter, self._parser) if reader is not None]
        return None if None in alarms else _any_of("".join(filter(None, alarms)))

    def reasoning(self, text: str) -> None:
        """A piece of reasoning that the server told apart itself."""
        if text:
            self.flush()
            self._put(True, text)

    def call_piece(self, delta: JsonObject) -> None:
        """An entry of `tool_calls`: a whole call or any part of one."""
        call, new = self._calls.of(delta)
        if new:
            self.flush()
            self._waiting.append(call)
        function = delta.get("function") or {}
        call.add_name(function.get("name") or "", self._context.names)
        call.add_arguments(function.get("arguments"))
        self._advance()

    def flush(self) -> None:
        """Something else than text comes next, or nothing: what was held back is text after all."""
        if not self._text_since_flush:
            return
        self._text_since_flush = False
        for is_reasoning, piece in self.splitter.close():
            if is_reasoning:
                self._put(True, piece)
            else:
                self._answer(piece)
        if self._parser is not None:
            self._pieces(self._parser.close())
            self._parser = None
        self._put(False, self._filter.close())

    def settle(self, *, cut_short: bool) -> None:
        """No more pieces will come: send the calls that waited, up to the first that is only half there.

        `cut_short`: max_tokens ended the reply, and the client will be told so; then the half call is sent as it is.
        """
        if not cut_short:
            for item in self._waiting:
                if isinstance(item, Call):
                    item.settle()
        self._advance()
        while cut_short and self._waiting:
            half = self._waiting.popleft()
            if isinstance(half, Call) and half.name and not half.opened:
                self.blocks.start_tool(self._context.names.to_client(half.name))
                self.blocks.arguments(half.arguments)
            self.blocks.close()
            self._advance()

    def _answer(self, text: str) -> None:
        if self._parser is None:
            self._put(False, self._filter.feed(text))
        else:
            self._pieces(self._parser.feed(text))

    def _pieces(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            if isinstance(piece, CallPiece):
                self._put(False, self._filter.close())
                self._whole_call(piece)
            else:
                self._put(False, self._filter.feed(piece.text))

    def _whole_call(self, piece: CallPiece) -> None:
        call = Call(None)
        call.name = piece.name
        call.add_arguments(piece.arguments_json)
        call.settle()
        self._waiting.append(call)
        self._advance()

    def _put(self, is_reasoning: bool, text: str) -> None:
        """Text for the client, behind whatever still waits for its turn."""
        if not text or (is_reasoning and not self._context.show_thinking):
            return
        if self._waiting:
            self._waiting.append((is_reasoning, text))
        else:
            self._write(is_reasoning, text)

    def _write(self, is_reasoning: bool, text: str) -> None:
        if is_reasoning:
            self.blocks.thinking(text)
        else:
            self.blocks.text(text)

    def _advance(self) -> None:
        """Send what can be sent: one call at a time, everything else behind it."""
        while self._waiting:
            head = self._waiting[0]
            if isinstance(head, tuple):
                self._write(*head)
            elif not self._send(head):
                return
            self._waiting.popleft()

    def _send(self, call: Call) -> bool:
        """Send what has arrived of a call; whether it is whole and sent."""
        if not call.name or not (call.pieces or call.whole):
            return False
        if not call.opened and not call.whole and call.chars < HELD_CHARS:
            return False
        name = self._context.names.to_client(call.name)
        schema = self._context.offered.get(name, {})
        if not call.opened and (not call.plain or structured_properties(schema) or name in self._context.reshapes):
            return call.whole and self._send_repaired(call, name, schema)
        if not call.opened:
            self.blocks.start_tool(name)
            call.opened = True
        if call.sent < len(call.pieces):
            self.blocks.arguments("".join(call.pieces[call.sent :]))
            call.sent = len(call.pieces)
        if not call.whole or not call.sound():
            return False  # still arriving, or no JSON although its braces are even: never closed as if it were
        self._deliver(name, call.arguments)
        return True

    def _send_repaired(self, call: Call, name: str, schema: JsonObject) -> bool:
        """A call whose arguments may need mending, or another form, is sent once it is whole."""
        arguments = repaired(call.arguments, schema)
        if arguments is None:
            return False
        if reshape := self._context.reshapes.get(name):
            arguments = json_text(reshape(orjson.loads(arguments)))
        self.blocks.start_tool(name)
        self.blocks.arguments("" if arguments == "{}" else arguments)
        self._deliver(name, arguments)
        return True

    def _deliver(self, name: str, arguments: str) -> None:
        self.blocks.close()
        self.delivered.append((name, arguments))
