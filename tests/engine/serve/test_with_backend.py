"""The proxy's backend in front of a real engine: what one says, the other reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from anyclaude_lab.backends.openai_http import OpenAIBackend
from anyclaude_lab.errors import PromptTooLong
from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.fold import fold
from tests.backends.calls import make_call, make_request, read_events
from tests.engine.serve.test_http import serving

pytestmark = pytest.mark.engine


async def test_a_conversation_is_counted_answered_and_warm(model_folders: dict[str, Path]) -> None:
    async with serving(model_folders["plain"]) as client:
        backend = OpenAIBackend("local", f"{client.url}/v1")
        try:
            request = make_request("Read the file, please. " * 20, max_tokens=6)
            first = await backend.send(request, make_call(request))
            message = fold(await read_events(first))
            assert backend.status()["server"] == "anyclaude"
            assert first.decoder is not None
            assert first.decoder.ending is Ending.COMPLETE
            prompt_tokens = first.decoder.usage.prompt_tokens
            assert prompt_tokens is not None
            assert prompt_tokens == await backend.count(request)
            assert first.decoder.progress is not None
            assert await backend.window_tokens() == 32768
            assert not backend.loses_prefill_on_abort

            history = [*request.messages, {"role": "assistant", "content": message["content"] or "."}]
            longer = request.with_(messages=[*history, {"role": "user", "content": "Go on."}])
            second = await backend.send(longer, make_call(longer))
            await read_events(second)
            assert second.decoder is not None
            assert second.decoder.usage.cached_tokens is not None
            assert second.decoder.usage.cached_tokens >= prompt_tokens
            lanes = (await client.get("/metrics"))["requests"]["lanes"]
            assert [lane["requests"] for lane in lanes.values()] == [2]
        finally:
            await backend.close()


async def test_a_side_call_is_kept_as_one(model_folders: dict[str, Path]) -> None:
    async with serving(model_folders["plain"]) as client:
        backend = OpenAIBackend("local", f"{client.url}/v1")
        request = make_request("A title for this, please.", max_tokens=2)
        await read_events(await backend.send(request, replace(make_call(request), background=True)))
        entries = (await client.get("/metrics"))["memory"]["entries"]
        await backend.close()
    assert entries == {"side": 1, "conversation": 0, "head": 0}


async def test_an_overflow_is_told_in_the_words_the_client_knows(model_folders: dict[str, Path]) -> None:
    async with serving(model_folders["plain"], window_tokens=300) as client:
        backend = OpenAIBackend("local", f"{client.url}/v1", server="anyclaude")
        request = make_request("x" * 400)
        with pytest.raises(PromptTooLong, match=r"prompt is too long: \d+ tokens > 300 maximum"):
            await backend.send(request, make_call(request))
        await backend.close()
