"""A history that has outgrown the window, cut to fit: rarely, in big steps, and always at the same places.

The client's own compaction is better, for it summarises; this is for requests whose client cannot compact. What has to
go is found by walking the history as it grew: at each past request that would not have fitted, the oldest tool results
become a line, then the oldest exchanges go, until the prompt is down to the low-water mark. The next request that fits
changes nothing, so its prompt extends the one before; and whoever walks the same history cuts it at the same places.
"""

from __future__ import annotations

from dataclasses import dataclass

from anyclaude_lab.prompt.deferred import is_definition_text
from anyclaude_lab.prompt.sections import TextCount, as_json, message_size
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request, as_blocks

LOW_WATER = 0.6  # of the budget: what is left after a cut
DIGEST = "[An older result of {tokens} tokens was removed to save room. Call the tool again if it is needed.]"
GAP = "<system-reminder>\nOlder messages of this conversation were removed here to save room.\n</system-reminder>"
COMPACTION = "detailed summary of the conversation"  # what every release's request for a summary says
_WORTH_TOKENS = 100  # a result shorter than this is not worth a digest


def fit(request: Request, count: TextCount, budget_tokens: int) -> Request:
    """The request with `system`, `tools` and messages within `budget_tokens`, as far as cutting may go.

    Never cut: the system prompt, tools, the messages before the first answer, the last text of the user, and the
    newest exchange. A call and its result stay or go together. The same object where nothing had to go.
    """
    walk = _Walk(request, count)
    for end in walk.ends:
        if walk.total(end) > budget_tokens:
            walk.cut(int(budget_tokens * LOW_WATER))
    return walk.result()


def is_compaction(request: Request) -> bool:
    """Whether the client asks for the summary that is to replace the history."""
    last = next((m for m in reversed(request.messages) if m.get("role") == "user"), None)
    blocks = as_blocks(last.get("content")) if last is not None else []
    return any(COMPACTION in str(block.get("text") or "") for block in blocks if block.get("type") == "text")


@dataclass(slots=True)
class _Exchange:
    """An answer and what follows it, up to the next answer: `messages[start:end]`."""

    start: int
    end: int
    tokens: int
    digests: dict[int, JsonObject]  # messages with their results as digests
    digested_tokens: int
    said: bool  # the user speaks in it
    pinned: bool  # a tool was loaded in it, whose definition stands nowhere else
    cut: bool = False
    gone: bool = False

    @property
    def now_tokens(self) -> int:
        return 0 if self.gone else self.digested_tokens if self.cut else self.tokens


class _Walk:
    """The history as it grew, one request after the other."""

    def __init__(self, request: Request, count: TextCount) -> None:
        self._request, self._count = request, count
        self._messages = request.messages
        answers = [i for i, m in enumerate(self._messages) if m.get("role") == "assistant"]
        self.ends = [*answers, len(self._messages)]
        self._head_end = self.ends[0]
        tail = self.ends[1:]
        self._exchanges = [self._exchange(start, end) for start, end in zip(answers, tail, strict=True)]
        parts = [*(str(block.get("text") or "") for block in request.system), *map(as_json, request.tools)]
        self._fixed = sum(map(count, parts)) + sum(map(self._size, self._messages[: self._head_end]))
        self._total, self._counted = self._fixed, 0  # of the first `_counted` exchanges
        self._first_uncut = self._first_kept = 0
        self._last_said: int | None = None

    def total(self, end: int) -> int:
        """Tokens of the request that ended before message `end`, cuts so far included."""
        while self._counted < len(self._exchanges) and self._exchanges[self._counted].end <= end:
            self._total += self._exchanges[self._counted].now_tokens
            if self._exchanges[self._counted].said:
                self._last_said = self._counted
            self._counted += 1
        return self._total

    def cut(self, target_tokens: int) -> None:
        """Oldest results first, then oldest exchanges; the newest of that request and what the user said last stay."""
        newest = self._counted - 1
        while self._total > target_tokens and self._first_uncut < newest:
            self._change(self._exchanges[self._first_uncut], gone=False)
            self._first_uncut += 1
        while self._total > target_tokens and self._first_kept < newest:
            exchange = self._exchanges[self._first_kept]
            self._change(exchange, gone=not exchange.pinned and self._first_kept != self._last_said)
            self._first_kept += 1

    def result(self) -> Request:
        if not any(exchange.cut or exchange.gone for exchange in self._exchanges):
            return self._request
        messages = self._messages[: self._head_end]
        if any(exchange.gone for exchange in self._exchanges):
            messages.append({"role": "user", "content": [{"type": "text", "text": GAP}]})
        for exchange in self._exchanges:
            for i in range(exchange.start, exchange.end):
                if exchange.gone:
                    continue
                messages.append(exchange.digests.get(i, self._messages[i]) if exchange.cut else self._messages[i])
        return self._request if messages == self._messages else self._request.with_(messages=messages)

    def _exchange(self, start: int, end: int) -> _Exchange:
        tokens = digested = 0
        digests: dict[int, JsonObject] = {}
        for i in range(start, end):
            message = self._messages[i]
            size = self._size(message)
            tokens += size
            shorter = self._digest(message)
            if shorter is not message:
                digests[i], size = shorter, self._size(shorter)
            digested += size
        messages = self._messages[start:end]
        return _Exchange(
            start, end, tokens, digests, digested, any(map(_says_something, messages)), any(map(_loads_tools, messages))
        )

    def _change(self, exchange: _Exchange, *, gone: bool) -> None:
        before = exchange.now_tokens
        exchange.cut, exchange.gone = True, exchange.gone or gone
        self._total += exchange.now_tokens - before

    def _digest(self, message: JsonObject) -> JsonObject:
        content = message.get("content")
        if not isinstance(content, list):
            return message
        blocks = [self._digest_block(block) for block in content]
        return message if all(a is b for a, b in zip(blocks, content, strict=True)) else {**message, "content": blocks}

    def _digest_block(self, block: JsonObject) -> JsonObject:
        if block.get("type") != "tool_result" or _is_definition(block):
            return block
        tokens = self._size({"content": [block]})
        if tokens < _WORTH_TOKENS:
            return block
        return {**block, "content": [{"type": "text", "text": DIGEST.format(tokens=tokens)}]}

    def _size(self, message: JsonObject) -> int:
        return message_size(message, self._count)


def _says_something(message: JsonObject) -> bool:
    """Whether the user speaks in it, rather than a tool or the client."""
    if message.get("role") != "user":
        return False
    texts = [block.get("text") or "" for block in as_blocks(message.get("content")) if block.get("type") == "text"]
    return any(text.strip() and not text.lstrip().startswith("<system-reminder>") for text in texts)


def _loads_tools(message: JsonObject) -> bool:
    return any(_is_definition(block) for block in as_blocks(message.get("content")))


def _is_definition(block: JsonObject) -> bool:
    """Whether it is the result of a search for tools, which holds their definitions."""
    parts = block.get("content") if block.get("type") == "tool_result" else None
    return isinstance(parts, list) and any(is_definition_text(str(part.get("text"))) for part in parts)
