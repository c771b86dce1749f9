"""The clock of an exchange."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

from anyclaude_lab.backends.base import Call, Reply
from anyclaude_lab.exchange import Exchange, Variant
from anyclaude_lab.exchange.lanes import Lanes
from anyclaude_lab.wire.anthropic import AnthropicDecoder
from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.fold import unfold
from anyclaude_lab.wire.request import parse_request

MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "Hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}


async def test_content_that_arrives_with_the_end_is_timed_before_it() -> None:
    stream = b"".join(f"event: {e.type}\ndata: {json.dumps(e.data)}\n\n".encode() for e in unfold(MESSAGE))

    async def one_read() -> AsyncIterator[bytes]:
        yield stream

    async def close() -> None: ...

    request = parse_request(b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}')
    variant: Any = SimpleNamespace(counter=SimpleNamespace(learn=lambda *_: None), lanes=Lanes())
    exchange = Exchange(cast(Variant, variant), Call("1", "lane", request), request, (), None)
    exchange.reply = Reply(200, (), one_read(), AnthropicDecoder(), close)
    while await exchange.next() is not None:
        pass
    assert exchange.ending is Ending.COMPLETE
    assert exchange.first_content_s is not None and exchange.finished_s is not None
    assert exchange.first_content_s <= exchange.finished_s
