"""Counting for one backend."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import cast

from anyclaude_lab.backends.base import Backend
from anyclaude_lab.exchange.count import PromptCounter
from anyclaude_lab.render.template import ChatTemplate
from anyclaude_lab.wire.request import Request


class Slow:
    """A tokenizer that is only done once the event loop has done something else."""

    method, exact = "tokenizer", True
    template: ChatTemplate | None = None

    def __init__(self) -> None:
        self.loop_ran = threading.Event()

    @property
    def counter(self) -> Slow:
        return self

    def count(self, text: str) -> int:
        assert self.loop_ran.wait(60), "the event loop stood still"
        return len(text)

    def count_pieces(self, pieces: list[str]) -> int:
        return self.count("".join(pieces))


async def test_others_are_served_while_a_prompt_is_tokenised() -> None:
    files, request = Slow(), Request({"model": "m", "messages": [{"role": "user", "content": "Hello"}]})
    counting = asyncio.create_task(PromptCounter(cast(Backend, SimpleNamespace(name="b")), files).count(request))
    await asyncio.sleep(0)
    files.loop_ran.set()
    assert (await counting).tokens >= len("Hello")
