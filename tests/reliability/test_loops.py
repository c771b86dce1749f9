"""A model that goes round in a circle is counted and shown."""

from __future__ import annotations

from tests.prompt.test_loops import SAME, rounds
from tests.proxy.conftest import ASK, StartProxy, start
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import reply

__all__ = ["start"]


async def test_a_loop_is_counted_once_a_round_and_shown(start: StartProxy) -> None:
    async with OpenAIStandIn(lambda body: reply("hm")) as backend:
        proxy = await start(backend.url)
        for count in range(1, 6):
            messages = [{"role": "user", "content": "Go"}, *rounds(*[SAME] * count)]
            assert (await proxy.http.post("/v1/messages", json=ASK | {"messages": messages})).status_code == 200
        assert await proxy.metric("anyclaude_tool_loops_total") == 3  # the third, fourth and fifth time
        assert "the call of Bash was made 5 times" in proxy.log_file.read_text()
